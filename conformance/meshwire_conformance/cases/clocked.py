"""Cases of time: they move the clock of the target and never wait for it.

Each has a process of its own, since a clock that was put forward is never put back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final

from meshwire_conformance.cases import user
from meshwire_conformance.cases.controlled import NEEDS, expect_tombstone, hold_time
from meshwire_conformance.cases.planting import NOTHING, send_snapshot, stored
from meshwire_conformance.cases.store import LATER
from meshwire_conformance.catalogue.python_cases import CaseFunction, case
from meshwire_conformance.socket_suite.calls import accept_call
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.content import BASE, Wanted
from meshwire_conformance.socket_suite.evidence import CaseFailed
from meshwire_conformance.socket_suite.transcript_steps import synchronise
from meshwire_conformance.targets.tcp import TcpConnection
from meshwire_conformance.targets.transport import Connection, Stream
from meshwire_spec.codec import Malformed, decode
from meshwire_spec.numbers import (
    CLOCK_AHEAD_MAX_MS,
    CREATED_AHEAD_MAX_MS,
    SNAPSHOT_ANSWER_INTERVAL_S,
    TOMBSTONE_ANSWER_INTERVAL_S,
    TOMBSTONE_GRACE_PERCENT,
    FrameType,
    collection_of,
)
from meshwire_spec.schemas.steps import FrameSpec

HOUR_S: Final = 3600
DAY_S: Final = 24 * HOUR_S
MARGIN_S: Final = 60
"""Seconds beyond a time or before it: more than a case takes."""
LIFETIME_S: Final = collection_of("tracks:t").ttl_s or 0
"""Lifetime of the tombstones of a collection whose documents may return."""
EXPIRED_S: Final = LIFETIME_S * (100 + TOMBSTONE_GRACE_PERCENT) // 100
"""Age above which they have expired."""
STEPS: Final = 4
STEP_S: Final = TOMBSTONE_ANSWER_INTERVAL_S * 7 / 30
"""Seconds of a step: of four the sum is within the minute of an answer, and of five it is not."""
AHEAD_S: Final = CLOCK_AHEAD_MAX_MS // 1000


def clock_case(
    case_id: str,
    title: str,
    *,
    part: str,
    rules: Iterable[str],
    let: Mapping[str, str] | None = None,
    needs: Iterable[str] = (),
) -> Callable[[CaseFunction], CaseFunction]:
    """Register a case that moves the clock of a process of its own."""
    return case(
        case_id,
        title,
        part=part,
        rules=rules,
        needs=(*NEEDS, "test-control", *needs),
        isolation="process",
        let=let,
    )


async def bury(run: CaseRun, key: str = "$key", *, deleted_at: int | str = "now-1s") -> None:
    """Have the peer B delete a document, and wait until the peer A has its tombstone."""
    await run.connection("A")
    await run.send(FrameSpec(type="tombstone", key=key, lamport=771, deleted_at=deleted_at), "B")
    await run.barrier("B")
    await expect_tombstone(run, key, "A")


@clock_case(
    "MW-7020",
    "a document must be accepted again once its tombstone has expired",
    part="tombstones",
    rules=("TS-043",),
    let={"key": "tracks:$case"},
)
async def expired_tombstone(run: CaseRun) -> None:
    """A tombstone guards for ever, or until the node happens to remove it."""
    await run.documents(BASE)
    await bury(run)
    await user.advance(run, EXPIRED_S + MARGIN_S)
    await run.read(Wanted(run.scope.names["key"], heads=NOTHING), "A")
    await run.read(await send_snapshot(run), "A")


@clock_case(
    "MW-7021",
    "a tombstone in grace must guard, and must not be offered",
    part="tombstones",
    rules=("TS-033", "TS-040", "TS-041", "DC-005"),
    let={"key": "tracks:$case", "live": "notes:$case"},
)
async def tombstone_in_grace(run: CaseRun) -> None:
    """A tombstone ends with its lifetime, and a document in flight brings itself back."""
    await run.documents(BASE)
    await bury(run)
    live = await send_snapshot(run, key="$live")
    await user.advance(run, LIFETIME_S + MARGIN_S)
    run.watch(run.scope.names["key"], "late", ("tombstone",))
    await run.own_peer("late").connection()
    await run.expect(live, "late")
    after = len(run.subscription(run.scope.names["key"]).arrivals)
    await send_snapshot(run)
    await expect_tombstone(run, "$key", "B", after=after)
    await run.read(Wanted(run.scope.names["key"], FrameType.TOMBSTONE), "A")


@clock_case(
    "MW-7022",
    "a tombstone from the future must expire as one that was made when it came",
    part="tombstones",
    rules=("TS-035", "TS-043"),
    let={"key": "tracks:$case"},
)
async def tombstone_from_the_future(run: CaseRun) -> None:
    """A time in the future keeps a tombstone for as long, or ends it early."""
    await run.documents(BASE)
    await bury(run, deleted_at="now+30d")
    await user.advance(run, EXPIRED_S + MARGIN_S)
    await run.read(Wanted(run.scope.names["key"], FrameType.TOMBSTONE), "A")
    await user.advance(run, AHEAD_S)
    await run.read(await send_snapshot(run), "A")


@clock_case(
    "MW-7023",
    "the answer that the minute of a guard does not permit must not come later",
    part="tombstones",
    rules=("TS-045", "TS-041"),
    let={"key": "tracks:$case", "other": "notes:$case"},
)
async def answers_of_the_guard(run: CaseRun) -> None:
    """An answer of the guard is delayed in place of dropped, so that a queue of them grows."""
    await run.documents(BASE)
    await bury(run)
    arrivals = run.subscription(run.scope.names["key"]).arrivals
    for _ in range(2):
        known = len(arrivals)
        await send_snapshot(run)
        await expect_tombstone(run, "$key", "B", after=known)
        known = len(arrivals)
        await send_snapshot(run)
        await user.advance(run, TOMBSTONE_ANSWER_INTERVAL_S + 1)
        # An answer that was due is sent before that to a read.
        await run.read(Wanted(run.scope.names["other"], heads=NOTHING), "B")
        if len(arrivals) > known:
            raise CaseFailed(
                "late-answer",
                "a second answer of the guard came for one minute",
                expected=("one tombstone a minute",),
                received=("another one, at once or afterwards",),
            )


@clock_case(
    "MW-7024",
    "a document that returns must come to a peer that had it before it was deleted",
    part="tombstones",
    rules=("TS-046", "TS-043", "DC-030"),
    let={"key": "alerts:$case"},
)
async def exchange_after_a_tombstone(run: CaseRun) -> None:
    """The state of an exchange outlives its document, and says that the peer has everything."""
    await run.documents(BASE)
    wanted = stored(run)
    await synchronise(run, "base", wanted, "B", 8)
    await bury(run)
    # However long a node may remember the tombstone (TS-048).
    await user.advance(run, 100 * DAY_S)
    known = len(run.subscription(wanted.key).arrivals)
    await send_snapshot(run, "A")
    await run.expect(replace(wanted, type=int(FrameType.DELTA)), "B", after=known)


@clock_case(
    "MW-7025",
    "an answer to a snapshot that waits for its interval must come once that is over",
    part="documents",
    rules=("DC-027", "DC-024"),
    let={"key": "tracks:$case"},
)
async def snapshot_after_its_interval(run: CaseRun) -> None:
    """An answer that the interval does not permit is dropped, so that its peer stays behind."""
    await run.documents(LATER)
    whole = await send_snapshot(run, "A", document="later")
    arrivals = run.subscription(whole.key).arrivals
    await run.own_peer("stale").connection()
    await run.expect(whole, "stale")
    for seconds in (0, SNAPSHOT_ANSWER_INTERVAL_S, SNAPSHOT_ANSWER_INTERVAL_S):
        known = len(arrivals)
        await run.send(FrameSpec(type="snapshot", document="base"), "stale")
        await run.barrier("stale")
        await user.advance(run, seconds)
        await run.expect(whole, "stale", after=known)


@clock_case(
    "MW-6964",
    "guarded frames that come within the minute of an answer must not begin it anew",
    part="tombstones",
    rules=("TS-041",),
    let={"key": "tracks:$case"},
)
async def minute_that_is_not_extended(run: CaseRun) -> None:
    """A peer that goes on to send a deleted document gets one answer and no other."""
    await run.documents(BASE)
    await bury(run)
    arrivals = run.subscription(run.scope.names["key"]).arrivals
    for _ in range(2):
        known = len(arrivals)
        await send_snapshot(run)
        await expect_tombstone(run, "$key", "B", after=known)
        known = len(arrivals)
        for _ in range(STEPS):
            await user.advance(run, STEP_S)
            await send_snapshot(run)
        # The steps and the time that they took may be a minute themselves: then one has its answer.
        was_answered = len(arrivals) > known
        await user.advance(run, TOMBSTONE_ANSWER_INTERVAL_S if was_answered else STEP_S)


@clock_case(
    "MW-7026",
    "a heartbeat must have the time of the clock of its node",
    part="liveness",
    rules=("LV-001",),
)
async def time_of_a_heartbeat(run: CaseRun) -> None:
    """The time of a heartbeat is that since the start, or seconds for milliseconds."""
    connection = await run.connection("A")
    before_ms = await user.wall_ms(run)
    sent_at = await _next_heartbeat(run, connection, DAY_S)
    after_ms = await user.wall_ms(run)
    if sent_at is None:
        run.note("no heartbeat came in a day: when one is sent is the choice of the target")
    else:
        hold_time("sent_at", sent_at, before_ms, after_ms)


@clock_case(
    "MW-7027",
    "a node must write 0 for the time where its clock shows one before 1970",
    part="time",
    rules=("TM-007",),
    let={"key": "tracks:$case"},
)
async def time_before_1970(run: CaseRun) -> None:
    """The clock of a machine without a battery ends the task that sends, or the node."""
    connection = await run.connection("A")
    await user.put(run, "$key", name="alpha")
    await user.advance(run, 0, wall_ms=-DAY_S * 1000 * 365)
    sent_at = await _next_heartbeat(run, connection, DAY_S)
    await user.delete(run, "$key")
    deleted_at = (await expect_tombstone(run, "$key", "A"))["deleted_at"]
    if sent_at or deleted_at:
        raise CaseFailed(
            "wrong-time",
            "a time before 1970 was not written as 0",
            expected=("sent_at 0", "deleted_at 0"),
            received=(f"sent_at {sent_at}", f"deleted_at {deleted_at}"),
        )


async def _next_heartbeat(run: CaseRun, connection: Connection, seconds: float) -> int | None:
    """Put the clock forward and return the time of the heartbeat that follows, None without one."""
    known = set(connection.streams)
    await user.advance(run, seconds)

    def beats() -> list[Stream]:
        new = (one for number, one in connection.streams.items() if number not in known)
        return [one for one in new if one.uni and not one.ours and one.finished]

    await connection.signal.wait_for(lambda: bool(beats()), run.deadline_s)
    run.check_connection(connection)
    for stream in beats()[:1]:
        try:
            return int(decode("heartbeat", bytes(stream.received)).fields["sent_at"])
        except Malformed as exc:
            raise CaseFailed("bad-heartbeat", f"no heartbeat: {exc}") from exc
    return None


@clock_case(
    "MW-7028",
    "after each wait the target must offer everything again, as the same endpoint",
    part="documents",
    rules=("DC-035", "TR-028"),
    needs=("dials",),
    let={"key": "notes:$case"},
)
async def dial_after_a_wait(run: CaseRun) -> None:
    """A connection that is dialled again counts as the old one, and brings nothing."""
    first = await accept_call(run, "first")
    await user.put(run, "$key", name="alpha")
    await run.expect(Wanted(run.scope.names["key"]), "first")
    for name in ("second", "third"):
        await first.close()
        first = await _accept_again(run, name, first)


async def _accept_again(run: CaseRun, name: str, before: TcpConnection) -> TcpConnection:
    """Return the connection that follows a lost one after a wait, with the document, as `name`."""
    await user.wait_for_loss(run)
    await user.advance(run, HOUR_S)
    again = await accept_call(run, name)
    await run.expect(Wanted(run.scope.names["key"]), name)
    if again.endpoint_id != before.endpoint_id:
        raise CaseFailed("other-endpoint", "the target shows another endpoint id than before")
    return again


@clock_case(
    "MW-7029",
    "a stream must stay open for a day between two frames, and before the first",
    part="transport",
    rules=("TR-013", "TM-002"),
    let={"key": "tracks:$case", "other": "tracks:$case-other"},
)
async def a_day_between_frames(run: CaseRun) -> None:
    """Streams are closed after an hour without a frame, which no test waits for."""
    await run.documents(BASE)
    await run.open("B", "later")
    await run.send(FrameSpec(type="snapshot", document="base"), "B", "begun")
    await run.read(stored(run), "A")
    await user.advance(run, DAY_S)
    await run.send(FrameSpec(type="snapshot", key="$other", document="base"), "B", "begun")
    await run.barrier("B", "begun")
    await run.send(FrameSpec(type="snapshot", key="$other", document="base"), "B", "later")
    await run.barrier("B", "later")
    await run.read(stored(run, key="$other"), "A")


@clock_case(
    "MW-7030",
    "a batch must be judged by the clock as it is when the batch comes",
    part="batches",
    rules=("BT-018",),
    let={"key": "tracks:$case"},
)
async def batch_of_tomorrow(run: CaseRun) -> None:
    """The clock is read when the node starts, so that in time every batch is refused."""
    await run.documents(BASE)
    batch = FrameSpec(
        type="batch",
        created_at=run.scope.now_ms + CREATED_AHEAD_MAX_MS + HOUR_S * 1000,
        entries=[FrameSpec(type="snapshot", document="base")],
        wrong=True,
    )
    await run.send(batch, "B")
    await run.refused(["created-ahead"], "B")
    await run.read(Wanted(run.scope.names["key"], heads=NOTHING), "A")
    await user.advance(run, HOUR_S + MARGIN_S)
    await run.send(batch, "B")
    await run.barrier("B")
    await run.read(stored(run), "A")


@clock_case(
    "MW-7031",
    "a document that is deleted again must get a greater tombstone of the present",
    part="tombstones",
    rules=("TS-050", "TS-043"),
    let={"key": "nodes:$case"},
)
async def deleted_again(run: CaseRun) -> None:
    """The old tombstone is sent again, which every other node takes for expired.

    A node that has forgotten it takes the document instead.
    """
    await run.documents(BASE)
    await bury(run)
    lifetime_s = collection_of("nodes:n").ttl_s or 0
    await user.advance(run, lifetime_s * (100 + TOMBSTONE_GRACE_PERCENT) // 100 + MARGIN_S)
    before_ms = await user.wall_ms(run)
    arrivals = run.subscription(run.scope.names["key"]).arrivals
    known = len(arrivals)
    await send_snapshot(run)
    answer = await run.read(Wanted(run.scope.names["key"]), "A")
    if answer.type != FrameType.TOMBSTONE:
        run.note("the target does not remember expired tombstones: the document is back")
        return
    found = await expect_tombstone(run, "$key", "B", after=known)
    if found["lamport"] <= 771 or found["deleted_at"] < before_ms:  # noqa: PLR2004 - as in `bury`
        raise CaseFailed(
            "wrong-content tombstone",
            "the second tombstone does not exceed the first, or has its time",
            expected=("lamport above 771", f"deleted_at {before_ms} or later"),
            received=(f"lamport {found['lamport']}", f"deleted_at {found['deleted_at']}"),
        )


@clock_case(
    "MW-7032",
    "a peer that answers the probes of the target must be kept",
    part="liveness",
    rules=("TM-002",),
    needs=("dials",),
    let={"key": "notes:$case"},
)
async def a_peer_that_answers(run: CaseRun) -> None:
    """A connection is left although its peer has answered, since it has sent no frame."""
    connection = await accept_call(run, "A")
    for _ in range(8):
        await user.advance(run, DAY_S / 3 + 1)
        # What the target has opened meanwhile is answered.
        await asyncio.sleep(0)
    await run.read(Wanted(run.scope.names["key"], heads=NOTHING), "A")
    run.check_connection(connection)


@clock_case(
    "MW-7033",
    "a connection that was left since nothing came on it must be followed by another one",
    part="liveness",
    rules=("TR-028", "DC-035"),
    needs=("dials", "binding:tcp"),
    let={"key": "notes:$case"},
)
async def a_silent_peer(run: CaseRun) -> None:
    """A peer whose process hangs is left for good: its address is not dialled again."""
    connection = await accept_call(run, "A")
    await user.put(run, "$key", name="alpha")
    await run.expect(Wanted(run.scope.names["key"]), "A")
    with connection.unread():
        # The last of three steps of silence follows two probes without an answer (LV-010).
        for _ in range(6):
            await user.advance(run, DAY_S / 3 + 1)
            await user.wall_ms(run)
    if await connection.wait_closed(run.deadline_s) is None:
        run.note("the target keeps a silent connection, which is against a recommendation alone")
        return
    await _accept_again(run, "again", connection)
