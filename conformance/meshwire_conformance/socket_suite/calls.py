"""Connections that the target has dialled, which the suite accepts message by message."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from meshwire_conformance.errors import SuiteFault
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.case_streams import CALLED, no_connection, not_dialled
from meshwire_conformance.socket_suite.connecting import (
    LAB,
    ONLY_LAB,
    PREAMBLE,
    check_echo,
    check_formation,
    check_response,
)
from meshwire_conformance.socket_suite.evidence import CaseFailed, NotApplicable, Sending
from meshwire_conformance.targets.handshake import (
    CHALLENGES,
    H2,
    OTHER,
    Formation,
    Gate,
    HandshakeFailed,
    challenge_bytes,
    read_formation_id,
    read_response,
    read_version,
    spoken_dialect,
)
from meshwire_conformance.targets.lab_records import Preamble, Windows
from meshwire_conformance.targets.listening import Listener, NamedDoor
from meshwire_conformance.targets.tcp import TcpConnection
from meshwire_conformance.targets.transport import Connection, NotDialled, ProbedConnection, Stream
from meshwire_spec.numbers import NONCE, REASONS, RESULT_ACCEPTED

Taken = TypeVar("Taken", bound=Connection)


@dataclass(slots=True)
class Call:
    """A connection that the target has dialled and that the suite has not accepted yet."""

    run: CaseRun
    connection: ProbedConnection
    gate: Gate
    formation: Formation
    name: str
    dialect: str

    @property
    def lab(self) -> TcpConnection:
        """The connection, for what the lab binding alone has; raises NotApplicable over another."""
        if not isinstance(self.connection, TcpConnection):
            raise NotApplicable(ONLY_LAB)
        return self.connection

    async def stream(self) -> Stream:
        """Return the stream of the handshake; raises CaseFailed if the target opens none."""
        try:
            return await self.gate.handshake_stream(self.connection, self.run.deadline_s)
        except HandshakeFailed as exc:
            raise CaseFailed("no-handshake", str(exc), missed=True) from exc

    async def speaks(self, dialect: str) -> bool:
        """Return True unless the target, which may dial in either dialect, speaks the other one."""
        try:
            stream = await self.gate.handshake_stream(self.connection, self.run.deadline_s)
            return await spoken_dialect(stream, self.formation, self.run.deadline_s) == dialect
        except HandshakeFailed:
            # A first message that is missing is for the case to judge.
            return True

    async def take_first(self) -> None:
        """Take the first message; raises CaseFailed unless it is that of dialect and formation."""
        stream, deadline_s = await self.stream(), self.run.deadline_s
        try:
            if self.dialect == H2:
                await read_version(stream, deadline_s)
                return
            named = await read_formation_id(stream, deadline_s)
        except HandshakeFailed as exc:
            symptom = "no-version" if self.dialect == H2 else "no-formation-id"
            raise CaseFailed(symptom, str(exc), missed=True) from exc
        check_formation(named, self.formation, "first message")

    async def send_challenge(
        self, formation_id: str | None = None, nonce: bytes | None = None
    ) -> bytes:
        """Send a challenge, of the right formation unless another is named; return its nonce."""
        nonce = nonce or secrets.token_bytes(NONCE)
        await self.write(self.challenge(nonce, formation_id), "challenge", CHALLENGES[self.dialect])
        return nonce

    def challenge(self, nonce: bytes, formation_id: str | None = None) -> bytes:
        """Return a challenge, of the right formation unless another is named."""
        named = self.formation.formation_id if formation_id is None else formation_id
        return challenge_bytes(named, nonce, self.dialect)

    async def take_response(self, nonce: bytes) -> None:
        """Take the response; raises CaseFailed unless it answers the nonce."""
        try:
            response = await read_response(await self.stream(), self.run.deadline_s, self.dialect)
        except HandshakeFailed as exc:
            raise CaseFailed("no-response", str(exc), missed=True) from exc
        check_response(response, self.formation, nonce)

    async def send_result(self, result: int) -> None:
        """Send the result, which ends the handshake."""
        self.gate.admitted = True
        await self.write(bytes((result,)), f"result {result}", "formation_result")

    async def take_proof(self) -> None:
        """Take the handshake up to the response; raises CaseFailed."""
        await self.take_first()
        await self.take_response(await self.send_challenge())

    async def accept(self) -> None:
        """Complete the handshake from the first message on; raises CaseFailed."""
        await self.take_proof()
        await self.send_result(RESULT_ACCEPTED)
        await self.finish()

    async def finish(self) -> None:
        """Send FIN on the stream of the handshake."""
        await (await self.stream()).finish()

    async def write(self, data: bytes, what: str, kind: str = "") -> None:
        """Write bytes on the stream of the handshake."""
        await self.run.write(await self.stream(), data, what, self.name, kind=kind)

    async def check_echo(self) -> None:
        """Fail unless a PING comes back: all that the target sent before has then arrived."""
        await check_echo(self.run, self.connection)

    async def check_abandoned(self) -> None:
        """Fail unless the target ends the connection, without a response and before a deadline."""
        closed = await self.connection.wait_closed(self.run.deadline_s)
        late = closed is not None and closed.code == REASONS["handshake-timeout"].code
        if closed is None or late:
            raise CaseFailed(
                "not-abandoned",
                "the target did not abandon the connection",
                expected=("the end of the connection",),
                received=("the end at its deadline" if late else "an open connection",),
                missed=closed is None,
            )
        if closed.fault is not None:
            self.run.check_connection(self.connection)
        came = bytes((await self.stream()).received)
        if came:
            raise CaseFailed(
                "answered",
                "the target went on with the handshake before it ended the connection",
                expected=("no further bytes of the handshake",),
                received=(came.hex(),),
            )


async def take_call(run: CaseRun, name: str = CALLED, *, preamble: bytes | None = None) -> Call:
    """Return the next connection that the target dials, before its handshake.

    One in the other dialect, of a target that may dial in either, is ended and another taken.
    `preamble` replaces that of the suite, in which case nothing is waited for. Raises CouldNotRun
    if the target does not dial.
    """
    formation, listener = run.session.target.formation, run.session.target.listener
    if formation is None or listener is None:
        raise SuiteFault(f"{run.case_id} needs a formation and a target that dials")
    call = await _next_call(run, name, formation, listener, preamble)
    for _ in listener.addresses:
        if preamble is not None or not formation.detects or await call.speaks(call.dialect):
            break
        await call.connection.close()
        call = await _next_call(run, name, formation, listener, preamble)
    return call


async def take_call_granting(run: CaseRun, windows: Windows) -> Call:
    """Return the next connection that the target dials, whatever its dialect, with these windows.

    Raises CouldNotRun if the target does not dial.
    """
    formation, listener = run.session.target.formation, run.session.target.listener
    if formation is None or listener is None:
        raise SuiteFault(f"{run.case_id} needs a formation and a target that dials")
    return await _next_call(run, CALLED, formation, listener, windows=windows)


async def take_call_in_other_dialect(
    run: CaseRun, name: str, take_own: Callable[[Call], Awaitable[None]]
) -> Call:
    """Return a connection that the target dials in the other dialect than it states.

    `take_own` ends each one in its own. Raises CaseFailed if it keeps to that; the case is then
    repeated.
    """
    formation, listener = run.session.target.formation, run.session.target.listener
    if formation is None or listener is None:
        raise SuiteFault(f"{run.case_id} needs a formation and a target that dials")
    other = OTHER[formation.dialect]
    # Connections that were dialled before may wait at each address.
    for _ in range(2 * len(listener.addresses)):
        call = await _next_call(run, name, formation, listener, None)
        if await call.speaks(other):
            return replace(call, dialect=other)
        await take_own(call)
    raise CaseFailed(
        "not-in-other-dialect",
        "the target did not dial again in the other dialect",
        expected=(f"a connection in {other}",),
        received=(f"connections in {formation.dialect}",),
        # Once is enough for a target, and a suite that is late drops what has waited for long.
        missed=True,
    )


async def _next_call(
    run: CaseRun,
    name: str,
    formation: Formation,
    listener: Listener,
    preamble: bytes | None = None,
    windows: Windows | None = None,
) -> Call:
    peer = run.own_peer(name)
    gate = Gate(peer.dial())
    dial = replace(peer.dial(), on_stream=gate)
    if listener.binding != LAB and (preamble is not None or windows is not None):
        raise NotApplicable(ONLY_LAB)
    if windows is not None:
        dial = replace(dial, preamble=Preamble(dial.identity, windows=windows))
    if preamble is not None:
        dial = replace(dial, preamble=Preamble(dial.identity, whole=preamble))
        run.evidence.sent.append(Sending(name, None, "preamble", preamble, PREAMBLE))
    take = listener.dial if preamble is None else listener.dial_raw
    connection = await _taken(run, lambda: take(dial, run.deadline_s))
    peer.adopt(connection)
    return Call(run, connection, gate, formation, name, formation.dialect)


async def accept_call(
    run: CaseRun, name: str, *, windows: Windows | None = None, identity: bytes = b""
) -> TcpConnection:
    """Return a connection that the target dials, after its handshake if it needs one.

    `windows` is the credit given to the target, `identity` another endpoint id of the suite.
    """
    session, peer = run.session, run.own_peer(name)
    listener = session.target.listener
    if listener is None or listener.binding != LAB:
        raise NotApplicable(ONLY_LAB)
    dial = peer.dial()
    identity = identity or dial.identity
    dial = replace(dial, preamble=Preamble(identity, windows=windows or Windows()))
    connection = await _taken(run, lambda: session.connect(dial, called=True))
    assert isinstance(connection, TcpConnection), "its listener is of the lab binding"
    peer.adopt(connection)
    return connection


async def take_served(run: CaseRun, name: str) -> Connection:
    """Return a connection that the target dials over any transport, after its handshake if any."""
    peer = run.own_peer(name)
    connection = await _taken(run, lambda: run.session.connect(peer.dial(), called=True))
    peer.adopt(connection)
    return connection


async def take_named(run: CaseRun, name: str) -> Connection:
    """Return a connection that the target dials at an address which names its peer, who answers."""
    named, peer = named_of(run), run.own_peer(name)
    dial = replace(peer.dial(), identity=named.identity)
    connection = await _taken(
        run, lambda: run.session.connect(dial, called=True, at=named.listener)
    )
    peer.adopt(connection)
    return connection


async def answer_named_as_another(run: CaseRun, name: str) -> Connection:
    """Return a connection that the target dials at such an address, where another one answers."""
    named, peer = named_of(run), run.own_peer(name)
    connection = await _taken(run, lambda: named.listener.dial_raw(peer.dial(), run.deadline_s))
    peer.adopt(connection)
    return connection


def named_of(run: CaseRun) -> NamedDoor:
    """Return where the suite listens under an address that names an endpoint."""
    if run.session.target.named is None:
        raise SuiteFault(f"{run.case_id} needs such an address, which its `needs` does not list")
    return run.session.target.named


async def _taken(run: CaseRun, take: Callable[[], Awaitable[Taken]]) -> Taken:
    """Return a connection of the target; the case fails if the target has ended, or ends it.

    A target that runs but does not dial is not judged: how often it dials is its own choice.
    """
    try:
        await run.session.make_room()
        return await take()
    except NotDialled as exc:
        if not run.session.target.is_called:
            await run.probe()
        raise not_dialled(exc) from exc
    except ConnectionError as exc:
        raise no_connection(exc) from exc
