"""Planted bugs: the simulator finds each, and shrinks the seed to a few steps."""

from collections.abc import Callable
from typing import Any

import pytest

from meshwire_reference.core.sending.outbound import Outbound
from meshwire_reference.core.sending.relay import Routing
from meshwire_reference.core.state.durability import Durability
from meshwire_reference.core.state.tombstones import Tombstones
from meshwire_reference.core.streams import Streams
from meshwire_reference.simulation.judging import Invariant, judge
from meshwire_reference.simulation.plan import Scale, draw_plan
from meshwire_reference.simulation.shrinking import Shrinking

SCALE = Scale(nodes=(3, 3), edits=25, deletes=4, faults=6, documents=6, span_s=20.0)
SEEDS = 30
STEPS_MAX = 6


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


PLANTED: list[tuple[Invariant, type, str, Callable[..., Any]]] = [
    (Invariant.KEPT, Durability, "admit", show_before_durable),
    (Invariant.CONVERGED, Routing, "pass_on_document", pass_nothing_on),
    (Invariant.DELETED, Tombstones, "active", guard_nothing),
    (Invariant.NO_MISTAKE, Streams, "release", keep_handlers),
    (Invariant.FREE, Outbound, "note_over", keep_bytes),
]


@pytest.mark.parametrize(("invariant", "owner", "name", "bug"), PLANTED)
def test_a_planted_bug_is_found_and_shrunk(
    invariant: Invariant,
    owner: type,
    name: str,
    bug: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One of a few seeds breaks the invariant, and still does with at most six steps."""
    monkeypatch.setattr(owner, name, bug)
    verdicts = (judge(draw_plan(seed, SCALE)) for seed in range(SEEDS))
    failed = next(
        verdict
        for verdict in verdicts
        if verdict.problems and verdict.problems[0].invariant is invariant
    )
    smallest = Shrinking(failed).shrink()

    assert any(problem.invariant is invariant for problem in smallest.problems)
    assert len(smallest.plan.steps) <= STEPS_MAX
