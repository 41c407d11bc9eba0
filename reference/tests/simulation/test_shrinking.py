"""Planted bugs: the simulator finds each, and shrinks the seed to a few steps."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from meshwire_reference.core.context import Context
from meshwire_reference.core.document_calls import Write
from meshwire_reference.core.limits.quotas import OutboundQuota
from meshwire_reference.core.peer.polls import Polls
from meshwire_reference.core.sending.outbound import Making, Outbound
from meshwire_reference.core.sending.relay import Routing
from meshwire_reference.core.sending.snapshots import PushedSnapshots
from meshwire_reference.core.state.durability import Durability
from meshwire_reference.core.state.tombstones import HeldTombstone, OfferOutcome, Tombstones
from meshwire_reference.core.streams import Streams
from meshwire_reference.documents import exchanges
from meshwire_reference.simulation.judging import Invariant, judge
from meshwire_reference.simulation.plan import Scale, Sort, StepKind, draw_plan
from meshwire_reference.simulation.shrinking import Shrinking
from meshwire_reference.wire.batches import StreamFrame
from meshwire_spec.numbers import FrameType

SCALE = Scale(nodes=(3, 3), edits=25, deletes=4, faults=6, documents=6, span_s=20.0)
CRASHES = replace(SCALE, kinds=(StepKind.CRASH_COMMIT,))
LOSSES = replace(
    SCALE,
    documents=3,
    faults=16,
    kinds=(StepKind.LOSE, StepKind.CUT_LATE, StepKind.WORKER_DEATHS),
    sorts=(Sort.PLAIN,),
    collections=("notes",),
    deletes=0,
)
DELETIONS = replace(SCALE, deletes=20)
LARGE = replace(SCALE, documents=2, faults=0, sorts=(Sort.SMALL_CAP,))
TIGHT = replace(
    SCALE, edits=40, documents=12, span_s=2.0, sorts=(Sort.TIGHT,), kinds=(StepKind.DISCONNECT,)
)
DEPLOYED = replace(SCALE, faults=0, deletes=0, sorts=(Sort.DEPLOYED,), collections=("notes",))
SEEDS = 30
STEPS_MAX = 6
NEVER = 2**30


@dataclass(frozen=True)
class Planted:
    """A bug, as another function in place of the right one, and what it must break."""

    breaks: Invariant
    owner: Any
    name: str
    bug: Callable[..., Any]
    scale: Scale = SCALE


def show_before_durable(*_: Any) -> bool:
    """Hold no effect."""
    return True


def pass_nothing_on(*_: Any) -> None:
    """Pass no change on."""


def guard_nothing(*_: Any) -> None:
    """Find no tombstone."""


def keep_handlers(streams: Streams, stream: int, after: int | None = None) -> None:
    """Forget to forget the handler of a stream."""
    streams.note_unread(stream, 0)


def keep_bytes(outbound: Outbound, size: int) -> None:
    """Never give back the bytes of a frame that has left."""
    outbound._under_way -= 1


def find_nothing_starved(*_: Any) -> bool:
    """Never see that a peer asks for what was sent: it is answered without changes (D-166)."""
    return False


def lose_above_the_cap(making: Making, frame_type: FrameType, message: bytes) -> None:
    """Drop a message above the payload cap without a word (D-167)."""
    if len(message) > making._outbound.payload_cap:
        making._skip()
    else:
        making._dispatch(StreamFrame(making._item.key, frame_type, message))


def answer_no_poll(*_: Any, **__: Any) -> bool:
    """Take no delta for a poll (D-169)."""
    return False


def keep_first_tombstone(held: HeldTombstone, offered: HeldTombstone) -> OfferOutcome:
    """Take no tombstone in place of one that is held, however they compare (D-71)."""
    is_same = offered.content == held.content
    return OfferOutcome.DUPLICATE if is_same else OfferOutcome.LESSER


def write_nothing(context: Context, key: str, _write: Write) -> int | None:
    """Hold a document without storing it."""
    context.documents[key] = 1
    return None


def find_room(*_: Any) -> bool:
    """Find room for whatever is to be made."""
    return True


PLANTED = {
    "shows what is not durable": Planted(
        Invariant.KEPT, Durability, "admit", show_before_durable, CRASHES
    ),
    "passes nothing on": Planted(Invariant.CONVERGED, Routing, "pass_on_document", pass_nothing_on),
    "guards nothing": Planted(Invariant.DELETED, Tombstones, "active", guard_nothing),
    "keeps the first tombstone": Planted(
        Invariant.CONVERGED, Tombstones, "_compare", staticmethod(keep_first_tombstone), DELETIONS
    ),
    "stores nothing": Planted(Invariant.KEPT, Context, "write", write_nothing),
    "keeps handlers": Planted(Invariant.NO_MISTAKE, Streams, "release", keep_handlers),
    "keeps bytes": Planted(Invariant.FREE, Outbound, "note_over", keep_bytes),
    "makes without bound": Planted(Invariant.BOUNDED, OutboundQuota, "has_room", find_room, TIGHT),
    "talks without end": Planted(
        Invariant.SILENT, exchanges, "is_starved", find_nothing_starved, LOSSES
    ),
    "loses what is above the cap": Planted(
        Invariant.CONVERGED, Making, "post", lose_above_the_cap, LARGE
    ),
    "answers no poll": Planted(Invariant.HEARD, Polls, "take", answer_no_poll, DEPLOYED),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found_and_shrunk(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of a few seeds breaks the invariant, and still does with at most six steps."""
    planted = PLANTED[name]
    monkeypatch.setattr(planted.owner, planted.name, planted.bug)
    if planted.breaks is Invariant.SILENT:
        # The second defence against the same: a read after two requests in vain.
        monkeypatch.setattr(exchanges, "VAIN_MAX", NEVER)
    if planted.bug is lose_above_the_cap:
        # The same: a delta of what has changed is below the cap where the snapshot is not (DC-058).
        monkeypatch.setattr(PushedSnapshots, "has_delta", lambda *_: False)
    verdicts = (judge(draw_plan(seed, planted.scale)) for seed in range(SEEDS))
    failed = next(
        verdict
        for verdict in verdicts
        if verdict.problems and verdict.problems[0].invariant is planted.breaks
    )
    smallest = Shrinking(failed).shrink()

    assert any(problem.invariant is planted.breaks for problem in smallest.problems)
    assert len(smallest.plan.steps) <= STEPS_MAX
