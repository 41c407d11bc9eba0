"""Cases about the documents of a node: what it offers, in which order, and how much it accepts."""

from __future__ import annotations

import asyncio

from meshwire_conformance.cases.planting import send_snapshot
from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.connecting import adopt_lab
from meshwire_conformance.socket_suite.content import BASE, Wanted
from meshwire_conformance.socket_suite.evidence import CaseFailed, Sending, bad_frames
from meshwire_conformance.socket_suite.inbox import Arrival
from meshwire_conformance.socket_suite.shortfall import line_of
from meshwire_conformance.targets.lab_records import Windows
from meshwire_spec.numbers import SNAPSHOT_ANSWER_INTERVAL_S, FrameType
from meshwire_spec.schemas.steps import DocumentSpec, FrameSpec

TOMBSTONES = 20_000
OFFERED = 600
"""Tombstones that a new connection is offered: more than many nodes put into one batch."""
SHOWN = 3
PATIENCE = 8
"""Deadlines that twenty thousand tombstones may take."""
STALE_SNAPSHOTS = 8
SHUT_ROUNDS = 4
"""Stale snapshots of a peer without stream credit, at least an interval apart."""
NO_FRAME = "the target has sent no frame"
LATER = {
    **BASE,
    "later": DocumentSpec(actor="0a0b0c0d", merge=["base"], edits=[{"name": "bravo"}]),
}
"""A document, and the same with a later change."""


@case(
    "MW-5922",
    "tombstones must be sent before documents on a new connection",
    part="tombstones",
    rules=("TS-042", "TS-036"),
    isolation="peer",
    let={"dead": "nodes:$case-dead", "live": "beacons:$case", "full": "notes:$case"},
)
async def tombstones_first(run: CaseRun) -> None:
    """A document arrives before its tombstone, and a deleted document reappears."""
    await run.documents(BASE)
    for key in ("$live", "$full"):
        await run.send(FrameSpec(type="snapshot", key=key, document="base"))
    await run.send(FrameSpec(type="tombstone", key="$dead", lamport=771))
    await run.barrier()
    await run.own_peer("late").connection()
    names, heads = run.scope.names, run.contents.made["base"].heads
    live = await run.expect(Wanted(names["live"], heads=heads), "late")
    full = await run.expect(Wanted(names["full"], heads=heads), "late")
    tombstone = {"lamport": 771}
    dead = await run.expect(Wanted(names["dead"], FrameType.TOMBSTONE, None, tombstone), "late")
    if dead.order > min(live.order, full.order):
        raise CaseFailed(
            "documents-first",
            "a document arrived before a tombstone",
            expected=("every tombstone, then the documents",),
            received=tuple(line_of(one) for one in sorted((live, full, dead), key=_order)),
        )


def _order(arrival: Arrival) -> int:
    return arrival.order


@case(
    "MW-5840",
    "a repeated stale snapshot must be answered again, but at most once per interval",
    part="documents",
    rules=("DC-026", "DC-027", "DC-024"),
    isolation="peer",
    let={"key": "tracks:$case"},
)
async def stale_snapshots_are_answered_in_their_time(run: CaseRun) -> None:
    """A repeated snapshot of a few bytes is answered with a whole document each time."""
    await run.documents(LATER)
    whole = await send_snapshot(run, "A", document="later")
    await run.own_peer("stale").connection()
    # The offers of the node come first; after them it has no other reason to send.
    await run.expect(whole, "stale")
    arrivals = run.subscription(whole.key).arrivals
    offered, start_s = len(arrivals), asyncio.get_running_loop().time()
    for _ in range(STALE_SNAPSHOTS):
        await run.send(FrameSpec(type="snapshot", document="base"), "stale")
        await run.barrier("stale")
    first = await run.expect(whole, "stale", after=offered)
    await run.expect(whole, "stale", after=arrivals.index(first) + 1)
    elapsed_s = asyncio.get_running_loop().time() - start_s
    # The first answer was due at the start at the earliest, so more cannot be due by now.
    most = 1 + int(elapsed_s / SNAPSHOT_ANSWER_INTERVAL_S)
    answers = [
        one
        for one in arrivals[offered:]
        if one.peer == first.peer and one.carrier == FrameType.SNAPSHOT
    ]
    if len(answers) > most:
        raise CaseFailed(
            "too-many-answers",
            f"{len(answers)} answers in {elapsed_s:.1f} s",
            expected=(f"at most one in {SNAPSHOT_ANSWER_INTERVAL_S:g} s, {most} by now",),
            received=tuple(line_of(one) for one in answers),
        )


@case(
    "MW-5772",
    "stale snapshots of a peer that grants no streams must draw one answer when it grants some",
    part="documents",
    rules=("DC-026", "DC-027", "DC-024"),
    needs=("documents", "binding:tcp"),
    isolation="process",
    serial=True,
    let={"key": "tracks:$case"},
)
async def answers_do_not_pile_up(run: CaseRun) -> None:
    """The interval counts from the queueing, so that answers pile up and leave all at once."""
    await run.documents(LATER)
    whole = await send_snapshot(run, "A", document="later")
    arrivals = run.subscription(whole.key).arrivals
    shut = await adopt_lab(run, "shut", Windows(max_streams_bidi=0))
    await run.own_peer("clock").connection()
    seen = await run.expect(whole, "clock")
    for _ in range(SHUT_ROUNDS):
        # The answers to another peer show that the interval is over each time.
        for peer in ("shut", "clock"):
            await run.send(FrameSpec(type="snapshot", document="base"), peer)
            await run.barrier(peer)
        seen = await run.expect(whole, "clock", after=arrivals.index(seen) + 1)
    start_s = asyncio.get_running_loop().time()
    shut.lab.allow_streams(2 * SHUT_ROUNDS)
    shut.flush()
    # One snapshot is the offer, the next one the answer; what was queued comes before the read.
    offer = await run.expect(whole, "shut")
    await run.expect(whole, "shut", after=arrivals.index(offer) + 1)
    await run.read(whole, "shut")
    elapsed_s = asyncio.get_running_loop().time() - start_s
    most = 2 + int(elapsed_s / SNAPSHOT_ANSWER_INTERVAL_S)
    came = [one for one in arrivals if one.peer == offer.peer and one.carrier == FrameType.SNAPSHOT]
    if len(came) > most:
        raise CaseFailed(
            "too-many-answers",
            f"{len(came)} snapshots within {elapsed_s:.1f} s of the first credit",
            expected=("the offer, and at most one answer in each interval",),
            received=tuple(line_of(one) for one in came),
        )


@case(
    "MW-5623",
    "a delta in a batch must carry every change if nothing is known of its receiver",
    part="documents",
    rules=("DC-038", "DC-034"),
    isolation="peer",
    let={"full": "notes:$case"},
)
async def first_delta_carries_the_changes(run: CaseRun) -> None:
    """A batch of heads alone moves no document until each has been answered."""
    await run.documents(BASE)
    await run.own_peer("early").connection()
    wanted = await send_snapshot(run, "A", key="$full")
    await run.own_peer("late").connection()
    for on, how in (("early", "pushed"), ("late", "offered")):
        first = await run.expect(wanted, on)
        why_not = await run.contents.mismatch(wanted, first, strict=True)
        # A delta alone in a frame may announce heads (DC-030).
        if why_not is not None and first.carrier == FrameType.BATCH:
            raise CaseFailed(
                "no-changes",
                f"a document is {how} without its changes",
                expected=(f"every change of {wanted.key}",),
                received=(line_of(first), why_not.line()),
            )


@case(
    "MW-5923",
    "a tombstone batch of 20,000 must be processed from its first to its last",
    part="tombstones",
    rules=("TS-027", "TS-020"),
    isolation="peer",
    serial=True,
    let={"first": "nodes:$case-first", "last": "nodes:$case-last", "rest": "notes:$case"},
)
async def twenty_thousand(run: CaseRun) -> None:
    """The count is limited by a constant instead of by the remaining bytes."""
    # All but the first and last are for a collection whose policy ignores tombstones, so that the
    # target does not offer 20,000 tombstones to every later connection.
    ignored = FrameSpec(type="tombstone", key="$rest")
    first, last = (FrameSpec(type="tombstone", key=key) for key in ("$first", "$last"))
    one = run.composer.tombstone(ignored)
    outer = [run.composer.tombstone(spec) for spec in (first, last)]
    elements = [outer[0], *[one] * (TOMBSTONES - 2), outer[1]]
    body = b"".join(len(element).to_bytes(4, "big") + element for element in elements)
    payload = len(elements).to_bytes(4, "big") + body
    stream = await run.send(FrameSpec(type="tombstone-batch", key="$rest", hex=payload.hex()))
    told = f"a tombstone batch of {TOMBSTONES}, {stream.sent} bytes"
    run.evidence.sent[:] = [Sending("A", stream.number, told)]
    await run.barrier(patience=PATIENCE)
    for name in ("first", "last"):
        await run.read(Wanted(run.scope.names[name], FrameType.TOMBSTONE))


@case(
    "MW-6963",
    "of hundreds of tombstones each must be offered before the first document",
    part="tombstones",
    rules=("TS-042",),
    needs=("documents", "binding:tcp"),
    isolation="peer",
    let={"key": "notes:$case"},
)
async def every_tombstone_is_offered(run: CaseRun) -> None:
    """A tombstone is lost where one batch of an offer ends and the next one begins."""
    await run.documents(BASE)
    keys = [f"tracks:{run.scope.names['case']}-{number}" for number in range(OFFERED)]
    specs = [FrameSpec(type="tombstone", key=key) for key in keys]
    await run.send(FrameSpec(type="tombstone-batch", key="$key", tombstones=specs), "B")
    await run.barrier("B", patience=PATIENCE)
    planted = await send_snapshot(run)
    offered = [run.subscription(key) for key in keys]
    await run.own_peer("late").connection()
    document = await run.expect(planted, "late", patience=PATIENCE)
    # All of them were sent before the stream of the document was opened. Order counts: a loaded
    # suite may have read later frames too before it goes on.
    missing = [
        key
        for key, found in zip(keys, offered, strict=True)
        if not any(
            one.peer == document.peer and one.order < document.order for one in found.arrivals
        )
    ]
    if missing:
        raise CaseFailed(
            "not-offered",
            f"{len(missing)} of {OFFERED} tombstones were not offered before a document",
            expected=("every tombstone, then the documents",),
            received=(f"all but those of {', '.join(missing[:SHOWN])}",),
        )


@case(
    "MW-5924",
    "every frame the target has sent in the whole run must be valid and have the key of its type",
    part="frames",
    rules=("FR-001", "FR-013", "FR-014", "TS-001", "TS-010", "TS-020", "BT-010"),
    level="wire",
    needs=(),
    final=True,
)
async def everything_is_legal(run: CaseRun) -> None:
    """The sender emits frames that only its own receiver accepts."""
    inbox = run.session.inbox
    run.note(
        f"{inbox.counts.frames} frames on {inbox.counts.streams} streams, "
        f"{inbox.counts.foreign} pieces for keys of no case, {inbox.counts.heartbeats} heartbeats"
    )
    if inbox.faults:
        raise bad_frames(inbox.faults)
    if not inbox.counts.frames:
        raise CaseFailed("no-answer", NO_FRAME)


@case(
    "MW-5925",
    "each frame the target has sent must be the only one on its stream, which ends after it",
    part="transport",
    rules=("TR-004",),
    level="wire",
    needs=(),
    final=True,
)
async def one_frame_a_stream(run: CaseRun) -> None:
    """Several frames come on one stream, of which deployed receivers read only the first.

    Or a stream stays open after its frame, which uses up one stream credit for ever.
    """
    inbox = run.session.inbox
    counts = inbox.counts
    if not counts.frames:
        raise bad_frames(inbox.faults) if inbox.faults else CaseFailed("no-answer", NO_FRAME)
    if counts.frames_after_the_first:
        raise CaseFailed(
            "frames-together",
            f"{counts.frames_after_the_first} frames follow others on their stream",
        )
    await inbox.signal.wait_for(lambda: not inbox.unended(), run.deadline_s)
    unended = inbox.unended()
    if unended:
        peer, stream = unended[0]
        raise CaseFailed(
            "no-fin",
            f"{len(unended)} streams carried a frame and have no end, "
            f"the first is stream {stream.number} to {peer}",
            missed=True,
        )
