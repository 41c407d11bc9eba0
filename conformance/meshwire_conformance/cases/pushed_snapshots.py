"""Cases about how changes of long documents go to peers that have sent no delta of them."""

from __future__ import annotations

from hashlib import sha256

from meshwire_conformance.cases.planting import send_snapshot
from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.protocol.automerge_bytes import MAGIC
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.content import Wanted
from meshwire_conformance.socket_suite.evidence import CaseFailed
from meshwire_conformance.socket_suite.inbox import Arrival
from meshwire_conformance.socket_suite.shortfall import line_of
from meshwire_spec.numbers import FrameType
from meshwire_spec.schemas.steps import DocumentSpec, FrameSpec

BLOCKS = 40
"""Blocks of 64 characters in the document, whose snapshot is longer than a delta of a change."""
READER, BEHIND, ELSEWHERE = "reader", "behind", "elsewhere"
"""Peers: one that reads, one whose snapshot lacks a change, one that sends deltas of others."""


def _documents() -> dict[str, DocumentSpec]:
    text = "".join(sha256(f"long {number}".encode()).hexdigest() for number in range(BLOCKS))
    return {
        "long": DocumentSpec(actor="1a1b1c1d", fields={"text": text}),
        "both": DocumentSpec(actor="1a1b1c1d", merge=["long"], edits=[{"course": 258}]),
        "later": DocumentSpec(actor="0b0b0b0b", merge=["both"], edits=[{"course": 386}]),
        "own": DocumentSpec(actor="2c2c2c2c", fields={"speed": 513}),
    }


@case(
    "MW-6961",
    "changes of snapshot collections must go as snapshots to peers that have answered no delta",
    part="documents",
    rules=("DC-033",),
    isolation="peer",
    let={"key": "tracks:$case", "windowed": "track_history:$case", "full": "notes:$case"},
)
async def changes_go_as_snapshots(run: CaseRun) -> None:
    """A read or a snapshot of a peer counts as a delta, so that later changes go as deltas."""
    await run.documents(_documents())
    await run.contents.prepare_delta("own")
    await run.connection(ELSEWHERE)
    for key in ("$key", "$windowed"):
        planted = await send_snapshot(run, document="both", key=key)
        await run.read(planted, READER)
        await send_snapshot(run, BEHIND, document="long", key=key)
        await run.expect(planted, BEHIND)
        await run.send(FrameSpec(type="delta", key="$full", document="own"), ELSEWHERE)
        await run.barrier(ELSEWHERE)
        await run.expect(planted, ELSEWHERE)
        for on in (READER, BEHIND, ELSEWHERE):
            # What is offered at first goes as a snapshot in any case.
            await run.settle(on)
        known = len(run.subscription(planted.key).arrivals)
        later = await send_snapshot(run, document="later", key=key)
        for on in (READER, BEHIND, ELSEWHERE):
            await _check_pushed(run, later, on, known)


async def _check_pushed(run: CaseRun, later: Wanted, on: str, known: int) -> None:
    """Fail unless a peer is sent a snapshot of a change, or an announcement of it."""
    arrived = run.subscription(later.key)
    peer = run.peer(on).name
    assert later.heads is not None, "the document was made here"
    (head,) = later.heads

    def told() -> Arrival | None:
        """Return the first frame that brings the change or announces it."""
        for one in arrived.arrivals[known:]:
            if one.peer == peer and (
                one.type == FrameType.SNAPSHOT or bytes.fromhex(head) in one.payload
            ):
                return one
        return None

    await arrived.signal.wait_for(lambda: told() is not None, run.deadline_s)
    one = told()
    if one is None or (one.type == FrameType.DELTA and MAGIC in one.payload):
        raise CaseFailed(
            "wrong-type" if one else "no-answer",
            f"a change of {later.key} did not go to {on} as a snapshot",
            expected=("a snapshot, or a delta that only announces the change",),
            received=(line_of(one) if one else "nothing within the deadline",),
            missed=one is None,
        )
