"""Cases about two connections with one node, and addresses that name an endpoint."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast

from meshwire_conformance.cases.planting import NOTHING
from meshwire_conformance.catalogue.case import DIALS_OVER
from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.errors import SuiteFault
from meshwire_conformance.socket_suite.calls import (
    answer_named_as_another,
    take_named,
    take_served,
)
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.case_streams import no_connection
from meshwire_conformance.socket_suite.content import Wanted
from meshwire_conformance.socket_suite.evidence import CaseFailed
from meshwire_conformance.socket_suite.peers import Peer
from meshwire_conformance.targets.transport import Connection, ProbedConnection
from meshwire_spec.numbers import REASONS
from meshwire_spec.schemas.steps import FrameSpec

if TYPE_CHECKING:
    from meshwire_conformance.targets.quic import QuicDialler

OVER_QUIC = ("binding:quic", f"{DIALS_OVER}:quic", "accepts")
PROBE = bytes.fromhex("63726f7373000102")
"""A probe that only a connection which still stands answers."""

crossing_case = partial(case, part="transport", needs=OVER_QUIC, isolation="peer")
"""Registers a case about a target that the suite dials, and that dials the suite, over QUIC."""


@dataclass(slots=True)
class Rivals:
    """Connections of one identity of the suite with the target, in their order."""

    run: CaseRun
    peer: Peer
    name: str
    open: list[Connection]

    async def dial(self) -> Connection:
        """Add a connection that the suite dials."""
        try:
            connection = await self.run.session.connect(self.peer.dial())
        except ConnectionError as exc:
            raise no_connection(exc) from exc
        return self._add(connection)

    async def take(self) -> Connection:
        """Add a connection that the target has dialled."""
        return self._add(await take_served(self.run, self.name))

    def _add(self, connection: Connection) -> Connection:
        self.peer.adopt(connection)
        self.open.append(connection)
        return connection

    async def beat(self, connection: Connection) -> None:
        """Send a heartbeat over a connection."""
        stream = await connection.open(uni=True)
        await stream.write(self.run.composer.heartbeat(FrameSpec(type="heartbeat")))
        await stream.finish()

    async def check_open(self, *connections: Connection) -> None:
        """Fail unless each of these connections still stands."""
        for one in connections:
            assert isinstance(one, ProbedConnection), "the bindings of these cases answer probes"
            if not await one.ping(PROBE, self.run.deadline_s):
                self.run.check_connection(one)
                raise CaseFailed("no-answer", "the target answers no probe", missed=True)
            self.run.check_connection(one)

    async def check_closed(self, connection: Connection, reason: str) -> None:
        """Fail unless the target closes a connection for this reason."""
        code = REASONS[reason].code
        closed = await connection.wait_closed(self.run.deadline_s)
        if closed is None or closed.code != code:
            raise CaseFailed(
                "not-closed" if closed is None else "wrong-code",
                "one of two connections was not closed as it has to be",
                expected=(f"the end of the connection with code {code} ({reason})",),
                received=("an open connection" if closed is None else f"code {closed.code}",),
                missed=closed is None,
            )

    async def end(self) -> None:
        """Close what is open."""
        for one in self.open:
            await one.close()


def _rivals(run: CaseRun, *, is_lower: bool | None = None) -> Rivals:
    """Return an identity whose endpoint id is lower than that of the target, or not."""
    stated = run.session.target.facts.endpoint_id
    for number in range(256):
        name = f"rival {number}"
        peer = run.own_peer(name)
        if is_lower is None:
            return Rivals(run, peer, name, [])
        dialler = cast("QuicDialler", run.session.target.dialler)
        if (dialler.endpoint_id(peer.identity) < bytes.fromhex(stated)) is is_lower:
            return Rivals(run, peer, name, [])
    raise SuiteFault(f"no endpoint id of the suite is on that side of {stated}")


async def _with(rivals: Rivals, steps: Callable[[Rivals], Awaitable[None]]) -> None:
    try:
        await steps(rivals)
    finally:
        await rivals.end()


def _one_of_each_side(
    case_id: str, rules: tuple[str, ...], *, is_lower: bool, target_is_last: bool, reason: str
) -> None:
    """Register a case in which both sides dial; the lower endpoint id has dialled what stays."""

    async def steps(rivals: Rivals) -> None:
        dialled = None if target_is_last else await rivals.take()
        own = await rivals.dial()
        dialled = dialled or await rivals.take()
        stays, goes = (own, dialled) if is_lower else (dialled, own)
        await rivals.check_open(stays, goes)
        await rivals.beat(stays)
        await rivals.check_closed(goes, reason)
        await rivals.check_open(stays)

    async def crosses(run: CaseRun) -> None:
        await _with(_rivals(run, is_lower=is_lower), steps)

    crosses.__doc__ = "The tie-break goes by something else than the endpoint ids, or has no code."
    theirs = "lower" if not is_lower else "higher"
    order = "after its peer" if target_is_last else "before its peer"
    crossing_case(
        case_id,
        f"a target of the {theirs} endpoint id that has dialled {order} must close with {reason}",
        rules=rules,
    )(crosses)


_one_of_each_side(
    "MW-7093",
    ("TR-040", "TR-043"),
    is_lower=False,
    target_is_last=True,
    reason="conflict-lower-wins",
)
_one_of_each_side(
    "MW-7094", ("TR-040", "TR-043"), is_lower=True, target_is_last=True, reason="conflict-yield"
)
_one_of_each_side(
    "MW-7095", ("TR-040", "TR-043"), is_lower=True, target_is_last=False, reason="conflict-outgoing"
)
_one_of_each_side(
    "MW-7096",
    ("TR-040", "TR-043"),
    is_lower=False,
    target_is_last=False,
    reason="conflict-incoming",
)


@crossing_case(
    "MW-7097",
    "two crossing connections must both stand while no heartbeat comes on the one that stays",
    rules=("TR-040",),
    negative=True,
    control="MW-7095",
)
async def waits_for_a_heartbeat(run: CaseRun) -> None:
    """One is closed at once, and the other is that of a process which has ended."""

    async def steps(rivals: Rivals) -> None:
        dialled, own = await rivals.take(), await rivals.dial()
        await rivals.beat(dialled)
        await rivals.check_open(dialled, own)
        await run.read(Wanted(f"notes:{run.scope.names['case']}", heads=NOTHING), rivals.name)
        await rivals.check_open(dialled, own)

    await _with(_rivals(run, is_lower=True), steps)


def _two_of_one_side(case_id: str, rules: tuple[str, ...], title: str, side: str) -> None:
    """Register a case in which one side dials twice."""

    async def steps(rivals: Rivals) -> None:
        older = await (rivals.take() if side == "target" else rivals.dial())
        newer = await (rivals.take() if side == "target" else rivals.dial())
        await rivals.check_open(older, newer)
        await rivals.beat(newer)
        await rivals.check_closed(older, "shutdown")
        await rivals.check_open(newer)

    async def replaces(run: CaseRun) -> None:
        await _with(_rivals(run), steps)

    replaces.__doc__ = "The older connection stays, as if its process had not been started again."
    crossing_case(case_id, title, rules=rules)(replaces)


_two_of_one_side(
    "MW-7098",
    ("TR-041",),
    "of two connections that its peer has dialled a target must close the older",
    "suite",
)
_two_of_one_side(
    "MW-7099",
    ("TR-041",),
    "of two connections that it has dialled itself a target must close the older",
    "target",
)


@crossing_case(
    "MW-7100",
    "a target must send a heartbeat on each of two connections with one node at once",
    rules=("TR-042",),
)
async def beats_on_both(run: CaseRun) -> None:
    """Neither side learns which connection is alive until the next interval."""

    async def steps(rivals: Rivals) -> None:
        first = await rivals.dial()
        await rivals.check_open(first)
        before = _beats(first)
        second = await rivals.dial()
        for one, count in ((first, before), (second, 0)):
            await one.signal.wait_for(lambda: _beats(one) > count, run.deadline_s)  # noqa: B023 - awaited in this turn
            run.check_connection(one)
            if _beats(one) <= count:
                raise CaseFailed("no-heartbeat", "no heartbeat came on a connection", missed=True)

    await _with(_rivals(run), steps)


def _beats(connection: Connection) -> int:
    """Return the number of uni streams that the target has opened."""
    return sum(one.uni and not one.ours for one in connection.streams.values())


@case(
    "MW-7101",
    "two connections with one endpoint id that nothing proves must both stand after a heartbeat",
    part="transport",
    rules=("TR-044",),
    needs=("binding:tcp", "accepts"),
    isolation="peer",
)
async def keeps_both_where_nothing_is_proven(run: CaseRun) -> None:
    """A peer that claims the id of a node can end its connections."""

    async def steps(rivals: Rivals) -> None:
        older, newer = await rivals.dial(), await rivals.dial()
        await rivals.beat(newer)
        await rivals.check_open(newer, older)
        await run.read(Wanted(f"notes:{run.scope.names['case']}", heads=NOTHING), rivals.name)
        await rivals.check_open(older)

    await _with(_rivals(run), steps)


@crossing_case(
    "MW-7102",
    "a target must not dial again while the connection stands in whose favour its own was closed",
    rules=("TR-045",),
)
async def does_not_dial_again(run: CaseRun) -> None:
    """The node dials for ever, and each of its connections is closed again."""

    async def steps(rivals: Rivals) -> None:
        listener = run.session.target.listener
        assert listener is not None, "the case needs a target that dials"
        dialled = await rivals.take()
        assert isinstance(dialled, ProbedConnection), "the target has dialled it"
        own = await rivals.dial()
        await rivals.beat(own)
        await rivals.check_closed(dialled, "conflict-outgoing")
        before, wait_s = listener.dials[dialled.port], run.terms.deadline.beyond(listener.redial_s)
        await own.wait_closed(wait_s)
        run.check_connection(own)
        if listener.dials[dialled.port] > before:
            raise CaseFailed("dialled", "the target has dialled again, and its peer is connected")

    await _with(_rivals(run, is_lower=True), steps)


# --- Addresses that name an endpoint -----------------------------------------------------------


@case(
    "MW-7103",
    "a target must leave another endpoint than the one that its address names",
    part="transport",
    rules=("TR-036",),
    needs=("dials-named", "documents"),
    isolation="peer",
    negative=True,
    control="MW-7104",
)
async def leaves_another_endpoint(run: CaseRun) -> None:
    """The endpoint id of an address is not compared, or only noted."""
    connection = await answer_named_as_another(run, "X")
    closed = await connection.wait_closed(run.deadline_s)
    code = REASONS["authentication-failed"].code
    if closed is None or closed.code != code:
        raise CaseFailed(
            "not-closed" if closed is None else "wrong-code",
            "the target did not leave an endpoint that its address does not name",
            expected=(f"the end of the connection with code {code}",),
            received=("an open connection" if closed is None else closed.text or f"{closed.code}",),
            missed=closed is None,
        )
    opened = [one.number for one in connection.streams.values() if not one.ours]
    if opened:
        raise CaseFailed("sent", f"the target opened the streams {opened} to another endpoint")


@case(
    "MW-7104",
    "a target must serve the endpoint that its address names",
    part="transport",
    rules=("TR-036",),
    needs=("dials-named", "documents"),
    isolation="peer",
)
async def serves_who_is_named(run: CaseRun) -> None:
    """No endpoint is good enough, such as one whose id is written in other letters."""
    await take_named(run, "X")
    await run.read(Wanted(f"notes:{run.scope.names['case']}", heads=NOTHING), "X")
