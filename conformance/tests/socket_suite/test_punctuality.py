"""A deadline of the target counts against it only where the suite itself was in time."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from meshwire_conformance.catalogue.circumstances import NARROW, WIDE, Circumstances
from meshwire_conformance.contracts import Settings
from meshwire_conformance.socket_suite.calibration import Deadline
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.case_streams import Terms
from meshwire_conformance.socket_suite.composing import Scope
from meshwire_conformance.socket_suite.content import Contents, Mismatch, Wanted
from meshwire_conformance.socket_suite.evidence import CaseFailed
from meshwire_conformance.socket_suite.expecting import OFFER_PATIENCE, PART_MIN, Expectation
from meshwire_conformance.socket_suite.inbox import Arrival, Inbox
from meshwire_conformance.socket_suite.peers import Session
from meshwire_conformance.socket_suite.transcript_steps import _close
from meshwire_conformance.targets import transport
from meshwire_conformance.targets.attach import Target
from meshwire_conformance.targets.facts import Facts
from meshwire_conformance.targets.transport import Address, Closed, Connection, Dial, Stream
from meshwire_spec.codec import Message
from meshwire_spec.numbers import REASONS, FrameType
from meshwire_spec.schemas import steps

FRAME_STALL = REASONS["frame-stall"].code
HANDSHAKE_TIMEOUT = REASONS["handshake-timeout"].code
AUTHENTICATION_FAILED = REASONS["authentication-failed"].code
DECLARED_S = 2.0
FACTS = Facts(deadlines={"handshake_s": DECLARED_S, "frame_stall_s": DECLARED_S})


class Silent(Connection):
    """A connection that takes everything and carries nothing."""

    async def open(self, *, uni: bool = False) -> Stream:
        """Return a stream."""
        return Stream(self, 4, uni=uni, ours=True)

    async def write(self, stream: Stream, data: bytes) -> None:
        """Drop the bytes."""

    async def finish(self, stream: Stream) -> None:
        """Do nothing."""

    async def reset(self, stream: Stream, code: int) -> None:
        """Do nothing."""

    async def stop(self, stream: Stream, code: int) -> None:
        """Do nothing."""

    async def close(self, code: int = 0, text: str = "") -> None:
        """Do nothing."""


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of every stream and connection."""
    clock = Clock()
    monkeypatch.setattr(transport.time, "monotonic", clock)
    return clock


def case_run(kind: type[Session] = Session) -> CaseRun:
    """A case with a connection of its own, on which nothing was written yet."""
    target = Target(Address("tcp", "", 0), FACTS, dialler=None, formation=None)  # type: ignore[arg-type]
    session = kind(target, Settings(), "n", Inbox())
    run = CaseRun(
        "MW-5001",
        session,
        Terms("strict", Deadline(0.01, 1.0), own_peers=True),
        Scope({"case": "c"}, 0),
        Contents(None),
    )
    run.peer("A").adopt(Silent())
    return run


@pytest.mark.parametrize(
    ("pauses_s", "late"),
    [((0.1, 0.9), False), ((0.1, 1.1), True), ((1.1, 0.1), True), ((30.0,), True)],
)
def test_a_stalled_stream_is_judged_only_if_the_suite_wrote_in_time(
    clock: Clock, pauses_s: tuple[float, ...], *, late: bool
) -> None:
    """The pause before the last byte counts like every other; half of a deadline is in time."""

    async def run() -> bool | None:
        run = case_run()
        stream = await run.open("A")
        for pause_s in pauses_s:
            await stream.write(b"\x2a")
            clock.now_s += pause_s
        stream.stop_code = stream.reset_code = FRAME_STALL
        return run.gave_up()

    assert asyncio.run(run()) is late


@pytest.mark.parametrize(("before_s", "late"), [(0.1, False), (1.1, True)])
def test_the_wait_for_a_refusal_is_no_pause(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, before_s: float, *, late: bool
) -> None:
    """A target that finds no fault and gives up later fails; the time before the wait counts."""

    async def run() -> bool | None:
        run = case_run()
        stream = await run.open("A")
        await stream.write(b"\x2a")
        clock.now_s += before_s

        async def give_up(*_: object) -> bool:
            clock.now_s += 10.0
            stream.stop_code = stream.reset_code = FRAME_STALL
            return True

        monkeypatch.setattr(stream, "wait_for", give_up)
        with pytest.raises(CaseFailed, match="another reason"):
            await run.refused(["bad-key"])
        return run.gave_up()

    assert asyncio.run(run()) is late


@pytest.mark.parametrize(("before_s", "late"), [(0.1, False), (1.1, True)])
def test_the_wait_for_an_answer_is_no_pause_on_other_streams(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, before_s: float, *, late: bool
) -> None:
    """A target that owes an answer cannot excuse it with a stream that stalls meanwhile."""

    async def run() -> bool | None:
        run = case_run()
        stalled, other = await run.open("A", "stalled"), await run.open("A", "other")
        await stalled.write(b"\x2a")
        await other.finish()
        clock.now_s += before_s

        async def give_up(*_: object) -> bool:
            clock.now_s += 10.0
            stalled.stop_code = stalled.reset_code = FRAME_STALL
            return False

        monkeypatch.setattr(other, "wait_for", give_up)
        with pytest.raises(CaseFailed) as failed:
            await run.wait_finished(other)
        assert failed.value.missed
        return run.gave_up(missed=True)

    assert asyncio.run(run()) is late


@pytest.mark.parametrize("by_reset", [False, True])
def test_what_came_whole_and_in_time_stays_in_time(clock: Clock, *, by_reset: bool) -> None:
    """After FIN or RESET nothing is left to be late with."""

    async def run() -> bool | None:
        run = case_run()
        stream = await run.open("A")
        await stream.write(b"\x2a")
        await (stream.reset(0) if by_reset else stream.finish())
        clock.now_s += 100.0
        stream.reset_code = FRAME_STALL
        return run.gave_up()

    assert asyncio.run(run()) is False


@pytest.mark.parametrize(("answered_after_s", "late"), [(0.9, False), (1.1, True)])
def test_a_handshake_is_judged_only_if_the_suite_answered_in_time(
    clock: Clock, answered_after_s: float, *, late: bool
) -> None:
    """Measured from the moment at which the suite began to dial."""

    async def run() -> bool | None:
        run = case_run()
        stream = await run.open("A")
        clock.now_s += answered_after_s
        await stream.write(b"\x2a")
        stream.connection.closed = Closed(HANDSHAKE_TIMEOUT, "")
        return run.gave_up()

    assert asyncio.run(run()) is late


def test_an_earlier_connection_of_a_peer_that_timed_out_leads_to_a_repetition() -> None:
    """A case about two connections of one peer does not only use the later one."""

    async def run() -> bool | None:
        run = case_run()
        earlier = (await run.open("A")).connection
        run.peer("A").adopt(Silent())
        earlier.closed = Closed(HANDSHAKE_TIMEOUT, "")
        return run.gave_up()

    assert asyncio.run(run()) is False


@pytest.mark.parametrize(
    ("ending", "has_timers", "found"),
    [
        (Closed(None, "timed out"), True, False),
        (Closed(0, ""), True, False),
        (Closed(None, "timed out"), False, None),
        (Closed(0, "done"), True, None),
        (Closed(REASONS["internal"].code, ""), True, None),
        (Closed(None, "", by_suite=True), True, None),
    ],
)
def test_a_connection_that_quic_may_have_lost_is_judged_by_a_repetition(
    monkeypatch: pytest.MonkeyPatch, ending: Closed, *, has_timers: bool, found: bool | None
) -> None:
    """A case that failed beside others runs again alone; over TCP nothing is lost by itself."""

    async def run() -> bool | None:
        run = case_run()
        connection = (await run.open("A")).connection
        monkeypatch.setattr(Silent, "has_timers", has_timers)
        connection.closed = ending
        return run.gave_up()

    assert asyncio.run(run()) is found


def test_a_lost_connection_of_a_case_is_not_dialled_anew() -> None:
    """Also not by a step that had begun to dial: how it ended has to be seen."""
    dials: list[Closed] = []

    class Losing(Session):
        async def connect(self, dial: Dial, *, called: bool = False) -> Connection:
            """Return a connection that the target closes at once."""
            connection = Silent()
            connection.closed = Closed(HANDSHAKE_TIMEOUT, "")
            dials.append(connection.closed)
            return connection

    async def run() -> tuple[CaseRun, list[BaseException | Stream]]:
        run = case_run(Losing)
        steps = (run.open("B", str(number)) for number in range(3))
        return run, await asyncio.gather(*steps, return_exceptions=True)

    found, ended = asyncio.run(run())

    assert len(dials) == 1
    assert all(isinstance(one, CaseFailed) for one in ended)
    assert found.gave_up() is False


@pytest.mark.parametrize(
    ("pause_s", "lost", "late"),
    [(0.4, True, False), (0.6, True, True), (0.6, False, None), (0.4, False, None)],
)
def test_the_end_of_a_rejected_connection_is_judged_only_if_the_suite_was_in_time(
    clock: Clock, pause_s: float, *, lost: bool, late: bool | None
) -> None:
    """It ends a second after the result, and fails a case only where it was still needed."""

    async def run() -> bool | None:
        run = case_run()
        stream = await run.open("A")
        await stream.write(b"\x2a")
        stream.connection.rejected_at = clock.now_s
        clock.now_s += pause_s
        stream.connection.gone(Closed(AUTHENTICATION_FAILED, ""))
        clock.now_s += 100.0
        return run.gave_up(lost=lost)

    assert asyncio.run(run()) is late


def test_an_accepted_peer_that_is_closed_is_not_excused(clock: Clock) -> None:
    """However late the suite was: nothing was rejected before."""

    async def run() -> bool | None:
        run = case_run()
        stream = await run.open("A")
        clock.now_s += 100.0
        stream.connection.gone(Closed(AUTHENTICATION_FAILED, ""))
        return run.gave_up(lost=True)

    assert asyncio.run(run()) is None


def test_other_endings_are_facts(clock: Clock) -> None:
    """Only a deadline of the target excuses a case."""

    async def run() -> bool | None:
        run = case_run()
        stream = await run.open("A")
        await stream.write(b"\x2a")
        clock.now_s += 100.0
        stream.stop_code = REASONS["bad-key"].code
        stream.connection.closed = Closed(REASONS["shutdown"].code, "")
        return run.gave_up()

    assert asyncio.run(run()) is None


def test_a_case_about_the_deadline_is_not_excused(clock: Clock) -> None:
    """There the suite is late on purpose."""

    async def run() -> bool | None:
        run = case_run()
        stream = await run.open("A")
        await stream.write(b"\x2a")
        clock.now_s += 100.0
        stream.stop_code = stream.reset_code = FRAME_STALL
        await run.refused(["frame-stall"], "A")
        return run.gave_up()

    assert asyncio.run(run()) is None


def test_other_content_before_the_deadline_leaves_open_what_comes_after_it() -> None:
    """Whole-store pushes are legal, so content that does not fit is no answer to a read."""
    heads = bytes.fromhex("4200000100000002010200")
    pushed = Arrival("A", 9, 1, FrameType.DELTA, "a:b", heads, FrameType.DELTA)
    mismatch = Mismatch("heads", "none", "one")

    async def run() -> CaseFailed:
        wanted = Wanted("a:b", heads=frozenset(("2a" * 32,)))
        return case_run()._nothing_fits(wanted, "A", [(pushed, mismatch)])

    failed = asyncio.run(run())

    assert failed.symptom == "wrong-content heads"
    assert failed.missed


@pytest.mark.parametrize(
    ("name", "windows", "offered", "waits"),
    [
        ("late", WIDE, 5, 7),
        ("late", WIDE, 100, OFFER_PATIENCE),
        ("A", WIDE, 5, 1),
        ("A", NARROW, 5, 7),
    ],
)
def test_an_offer_of_other_documents_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, name: str, windows: str, offered: int, waits: int
) -> None:
    """A deadline that is over while further documents come says nothing about the next one."""
    run = case_run()
    if name == "A":
        # A peer that cases share is sent what any of them changes, slowly with narrow windows.
        shared = Terms("strict", Deadline(0.01, 1.0), circumstances=Circumstances(windows=windows))
        run = CaseRun("MW-5001", run.session, shared, run.scope, Contents(None))
    peer = run.peer(name)
    peer.adopt(Silent())
    made: list[str] = []

    async def in_vain(
        _expectation: Expectation, *_arguments: object, **_options: object
    ) -> list[object]:
        made.append(f"notes:{min(len(made), offered)}")
        fields = {"key": made[-1], "type": int(FrameType.SNAPSHOT), "payload": b""}
        run.session.inbox.take(peer.name, 4, Message("stream_frame", fields))
        return []

    monkeypatch.setattr(Expectation, "match", in_vain)
    with pytest.raises(CaseFailed) as found:
        asyncio.run(run.expect(Wanted("notes:wanted"), name))

    assert found.value.missed
    assert len(made) == waits
    assert run.evidence.was_slow is (waits > 1)


@pytest.mark.parametrize(("more", "waits"), [(PART_MIN, 4), (PART_MIN - 1, 1)])
def test_a_large_document_that_is_offered_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, more: int, waits: int
) -> None:
    """Its frame takes several deadlines through narrow windows; no other document comes then."""
    run = case_run()
    connection = Silent()
    run.peer("late").adopt(connection)
    connection.streams[5] = arriving = Stream(connection, 5, uni=False, ours=False)
    made: list[int] = []

    async def in_vain(*_arguments: object, **_options: object) -> list[object]:
        made.append(len(arriving.received))
        if len(made) < 4:
            arriving.received += bytes(more)
        return []

    monkeypatch.setattr(Expectation, "match", in_vain)
    with pytest.raises(CaseFailed):
        asyncio.run(run.expect(Wanted("notes:wanted"), "late"))

    assert len(made) == waits


@pytest.mark.parametrize(
    ("closed", "fails"),
    [
        (Closed(REASONS["authentication-failed"].code, ""), False),
        (Closed(REASONS["internal"].code, ""), True),
        (Closed(None, "connection lost"), True),
    ],
)
def test_what_the_target_has_rejected_is_closed_by_either_side(
    closed: Closed, *, fails: bool
) -> None:
    """A suite that is late finds the connection closed that it was to close."""
    run = case_run()
    last = run.peer("A").last
    assert last is not None
    last.gone(closed)
    step = steps.Close(close=0, on="A")
    found = pytest.raises(CaseFailed) if fails else contextlib.nullcontext()

    with found:
        asyncio.run(_close(run, step))
