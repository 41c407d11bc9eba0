"""Connections of a single case: wrong preambles, wrong handshakes, hand-written records.

A connection that the target has dialled is a `Call`, which the suite accepts message by message.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from meshwire_conformance.errors import SuiteFault
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.case_streams import CALLED, no_connection, not_dialled
from meshwire_conformance.socket_suite.evidence import CaseFailed, NotApplicable, Sending
from meshwire_conformance.targets.handshake import (
    CHALLENGES,
    EARLY,
    FIRSTS,
    H2,
    OTHER,
    RESPONSES,
    Formation,
    Gate,
    HandshakeFailed,
    challenge_bytes,
    first_bytes,
    read_challenge,
    read_formation_id,
    read_response,
    read_result,
    read_version,
    response_bytes,
    spoken_dialect,
)
from meshwire_conformance.targets.lab_records import Preamble, Windows, record
from meshwire_conformance.targets.listening import Listener
from meshwire_conformance.targets.tcp import TcpConnection, TcpDialler
from meshwire_conformance.targets.transport import Connection, Dial, NotDialled, Stream
from meshwire_spec.codec import encode, from_value
from meshwire_spec.numbers import (
    ALPN,
    HMAC,
    LAB_MAGIC,
    LAB_VERSION,
    NONCE,
    REASONS,
    RESULT_ACCEPTED,
    RESULT_REJECTED,
)
from meshwire_spec.schemas.steps import ConnectSpec, HandshakeSpec

Taken = TypeVar("Taken", bound=Connection)
_PREAMBLE = "lab_preamble"
_PING = bytes.fromhex("6469616c6c696e67")
"""Bytes that come back once everything before them has."""


async def connect(run: CaseRun, name: str, options: ConnectSpec) -> None:
    """Connect a peer of the case's own, normally or with the faults that `options` names."""
    peer = run.own_peer(name)
    if peer.is_called:
        await run.connection(name)
        return
    dial = peer.dial()
    if options.same_as is not None:
        dial = Dial(run.peer(options.same_as).identity, dial.on_stream, dial.order)
    try:
        peer.adopt(await _dial(run, name, dial, options))
    except ConnectionError as exc:
        raise no_connection(exc) from exc


async def _dial(run: CaseRun, name: str, dial: Dial, options: ConnectSpec) -> Connection:
    target = run.session.target
    preamble = _wrong_preamble(dial.identity, options)
    if preamble is not None:
        if not isinstance(target.dialler, TcpDialler | Listener):
            raise SuiteFault(f"{run.case_id}: only the lab binding has a preamble")
        dial = Dial(dial.identity, dial.on_stream, dial.order, preamble)
        run.evidence.sent.append(Sending(name, None, "preamble", preamble.encode(), _PREAMBLE))
        return await target.dialler.dial_raw(dial, run.deadline_s)
    if not options.handshake:
        return await target.dial(dial, run.deadline_s)
    return await run.session.connect(dial)


def _wrong_preamble(identity: bytes, options: ConnectSpec) -> Preamble | None:
    """Return the preamble with the faults that `options` names, or None if it names none."""
    if options.preamble is not None:
        return Preamble(identity, whole=bytes.fromhex(options.preamble))
    alpn = None if options.alpn is None else options.alpn.encode()
    if options.alpn_hex is not None:
        alpn = bytes.fromhex(options.alpn_hex)
    if (options.magic, options.version, alpn) == (None, None, None):
        return None
    return Preamble(
        identity,
        alpn=ALPN.encode() if alpn is None else alpn,
        magic=LAB_MAGIC if options.magic is None else bytes.fromhex(options.magic),
        version=LAB_VERSION if options.version is None else options.version,
    )


async def adopt_lab(run: CaseRun, on: str, windows: Windows) -> TcpConnection:
    """Connect a peer of the case's own with these windows.

    Raises NotApplicable if the target dials and the windows grant no stream for its handshake.
    """
    target = run.session.target
    if target.is_called and target.formation is not None and not windows.max_streams_bidi:
        raise NotApplicable("the handshake of a target that dials takes a stream")
    peer = run.own_peer(on)
    dial = peer.dial()
    preamble = Preamble(dial.identity, windows=windows)
    connection = await run.session.connect(replace(dial, preamble=preamble))
    if not isinstance(connection, TcpConnection):
        raise SuiteFault(f"{run.case_id} needs the lab binding, which its `needs` does not list")
    peer.adopt(connection)
    return connection


async def lab_connection(run: CaseRun, on: str) -> TcpConnection:
    """Return the connection of a peer, which must use the lab binding."""
    connection = run.peer(on).last or await run.connection(on)
    if not isinstance(connection, TcpConnection):
        raise SuiteFault(f"{run.case_id} needs the lab binding, which its `needs` does not list")
    return connection


def _in_its_role(run: CaseRun, value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a record with the stream number that fits the side of the suite.

    Cases number streams as the dialling side does, except cases about a target that dials.
    """
    body = value.get("body", {})
    if "stream_id" not in body or run.terms.dials or not run.session.target.is_called:
        return value
    number = int(body["stream_id"]) ^ 1
    return {**value, "body": {**body, "stream_id": str(number)}}


async def send_record(
    run: CaseRun, on: str, value: Mapping[str, Any], *, echo: str | None = None
) -> None:
    """Write one record by hand: a value of the schema, or `type` and `hex` for a wrong one."""
    connection = await lab_connection(run, on)
    if "hex" in value:
        body = bytes.fromhex(value["hex"])
        data = record(value["type"], body)
        if "length" in value:
            data = data[:1] + int(value["length"]).to_bytes(4, "big") + body
    else:
        data = encode(from_value("lab_record", _in_its_role(run, value)))
    run.evidence.sent.append(Sending(on, None, "lab record", data, "lab_record"))
    await connection.raw(data)
    if echo is None:
        return
    wanted = bytes.fromhex(echo)
    await connection.signal.wait_for(
        lambda: wanted in connection.pongs or connection.closed is not None, run.deadline_s
    )
    run.check_connection(connection)
    if wanted not in connection.pongs:
        raise CaseFailed(
            "no-pong",
            "the PING was not echoed",
            expected=(f"PONG {echo}",),
            received=tuple(f"PONG {pong.hex()}" for pong in connection.pongs) or ("nothing",),
            missed=True,
        )


async def check_echo(run: CaseRun, connection: TcpConnection) -> None:
    """Fail unless a PING comes back: the records that the target sent before have then arrived."""
    if not await connection.ping(_PING, run.deadline_s):
        run.check_connection(connection)
        raise CaseFailed("no-pong", "the PING was not echoed", missed=True)
    connection.pongs.clear()


_ANSWERS: dict[str, Callable[[bytes], bytes]] = {
    "right": lambda response: response,
    "wrong": lambda response: (
        response[:-HMAC] + bytes((response[-HMAC] ^ 0x01,)) + response[1 - HMAC :]
    ),
    "short": lambda response: response[:-1],
    "long": lambda response: response + b"\x5a",
    "none": lambda response: response[:0],
}


async def run_handshake(run: CaseRun, on: str, name: str, spec: HandshakeSpec) -> None:
    """Run one handshake as `spec` says, on a new connection."""
    formation = run.session.target.formation
    if formation is None:
        raise SuiteFault(f"{run.case_id} needs a formation, which its `needs` does not list")
    stream = await run.stream(on, name)
    dialect = _dialect_of(spec, formation)
    if not spec.resume:
        await _take_challenge(run, on, stream, spec, formation)
    response = response_bytes(formation.answer(run.nonces[-1]), dialect)
    if spec.dialect == "early":
        # Its length went before the challenge.
        response = response[len(EARLY) :]
    answer = _ANSWERS[spec.answer](response)
    if answer:
        what = f"{spec.answer} answer"
        kind = "" if spec.dialect == "early" else RESPONSES[dialect]
        await run.write(stream, answer, what, on, kind=kind)
    if spec.answer == "short":
        await stream.finish()
    if spec.result != "nothing":
        await _check_result(run, stream, spec.result)


def _dialect_of(spec: HandshakeSpec, formation: Formation) -> str:
    if spec.dialect == "early":
        return H2
    return OTHER[formation.dialect] if spec.dialect == "other" else formation.dialect


async def _take_challenge(
    run: CaseRun, on: str, stream: Stream, spec: HandshakeSpec, formation: Formation
) -> None:
    dialect = _dialect_of(spec, formation)
    data, kind = first_bytes(run.scope.text(spec.formation_id), dialect), FIRSTS[dialect]
    if spec.dialect == "early":
        data, kind = EARLY, ""
    await run.write(stream, data, "first message", on, kind=kind)
    try:
        formation_id, nonce = await read_challenge(stream, run.deadline_s, dialect)
    except HandshakeFailed as exc:
        raise CaseFailed("no-challenge", str(exc), missed=True) from exc
    if formation_id != formation.formation_id:
        raise CaseFailed(
            "wrong-formation",
            "the challenge names another formation",
            expected=(formation.formation_id,),
            received=(formation_id,),
        )
    if nonce in run.nonces:
        raise CaseFailed(
            "same-nonce",
            "two challenges have one nonce",
            expected=("32 bytes that no challenge before had",),
            received=(nonce.hex(),),
        )
    run.nonces.append(nonce)


async def _check_result(run: CaseRun, stream: Stream, wanted: str) -> None:
    accepted = wanted == "accepted"
    try:
        result = await read_result(stream, run.deadline_s)
    except HandshakeFailed as exc:
        # Deployed acceptors close so fast that their result byte is lost.
        closed = stream.connection.closed
        if not run.strict and not accepted and closed is not None:
            run.evidence.unbound = True
            return
        raise CaseFailed("no-result", str(exc), missed=True) from exc
    if result != (RESULT_ACCEPTED if accepted else RESULT_REJECTED):
        raise CaseFailed(
            "accepted" if result == RESULT_ACCEPTED else f"result {result}",
            f"the result is {result}",
            expected=(f"result {wanted}",),
            received=(f"result {result}",),
        )


# --- Connections that the target has dialled -----------------------------------------------------


@dataclass(slots=True)
class Call:
    """A connection that the target has dialled and that the suite has not accepted yet."""

    run: CaseRun
    connection: TcpConnection
    gate: Gate
    formation: Formation
    name: str
    dialect: str

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
        if named != self.formation.formation_id:
            raise CaseFailed(
                "wrong-formation",
                "the first message names another formation",
                expected=(self.formation.formation_id,),
                received=(named,),
            )

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
        wanted = self.formation.answer(nonce)
        if response != wanted:
            raise CaseFailed(
                "wrong-response",
                "the response is not that of the formation and the nonce",
                expected=(wanted.hex(),),
                received=(response.hex(),),
            )

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
    if windows is not None:
        dial = replace(dial, preamble=Preamble(dial.identity, windows=windows))
    if preamble is not None:
        dial = replace(dial, preamble=Preamble(dial.identity, whole=preamble))
        run.evidence.sent.append(Sending(name, None, "preamble", preamble, _PREAMBLE))
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
    dial = peer.dial()
    identity = identity or dial.identity
    dial = replace(dial, preamble=Preamble(identity, windows=windows or Windows()))
    connection = await _taken(run, lambda: session.connect(dial, called=True))
    assert isinstance(connection, TcpConnection), "targets dial over the lab binding"
    peer.adopt(connection)
    return connection


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
