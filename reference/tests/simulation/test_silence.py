"""A mesh of own nodes that has converged: one hour in which nothing but heartbeats is sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import permutations

import pytest

from meshwire_reference.core.settings import Dialect
from meshwire_reference.simulation.course import run
from meshwire_reference.simulation.links import Side
from meshwire_reference.simulation.plan import Plan, PlanStep, StepKind
from meshwire_reference.simulation.record import RunRecord
from meshwire_reference.simulation.world import HEARTBEAT_S, World
from meshwire_reference.wire.liveness import decode_heartbeat

NODES = (0, 1, 2)
HOUR_S = 3600.0
COLLECTIONS = ("notes", "beacons", "tracks")


class Listening(World):
    """A run that notes what each side of a connection sends."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan, RunRecord())
        self.sent: list[tuple[Side, bytes]] = []

    def note_sent(self, side: Side, stream: int, data: bytes) -> None:
        """Note the bytes; a probe is a stream without any."""
        super().note_sent(side, stream, data)
        if data:
            self.sent.append((side, data))


def steps() -> Iterator[PlanStep]:
    """Yield edits of every node, half of them of documents that all edit, and deletions."""
    for number in range(60):
        node = number % len(NODES)
        key = f"{COLLECTIONS[number % 2]}:{number if number % 4 < 2 else 'shared'}"
        yield PlanStep(number, number * 0.1, StepKind.LOCAL_EDIT, node, key=key, amount=0.1)
    for number in range(60, 66):
        key = f"tracks:{number // 2}"
        kind = StepKind.LOCAL_DELETE if number % 2 else StepKind.LOCAL_EDIT
        yield PlanStep(number, number * 0.1, kind, number % len(NODES), key=key, amount=0.1)


def mesh(*, compares_heads: bool) -> Plan:
    """Return a plan of three nodes of one formation, each of which dials both others."""
    return Plan(
        7,
        NODES,
        tuple(permutations(NODES, 2)),
        tuple(steps()),
        dialects=(Dialect.H1,) * len(NODES),
        compares_heads=compares_heads,
    )


@pytest.mark.parametrize("compares_heads", [False, True])
def test_a_mesh_that_has_converged_sends_nothing_but_heartbeats(*, compares_heads: bool) -> None:
    """Six connections, and each side of each sends one in each interval, for an hour."""
    world = Listening(mesh(compares_heads=compares_heads))
    run(world)
    assert world.outcome.is_silent
    first, *others = world.nodes.values()
    keys = first.disk.contents(first.identity).sizes
    assert len(keys) > 30
    for node in others:
        assert {key: node.heads(key) for key in keys} == {key: first.heads(key) for key in keys}
    world.sent.clear()
    world.schedule.run(world.schedule.now_s + HOUR_S)
    beats = Counter(side.number for side, _ in world.sent)

    assert len(beats) == 12
    assert set(beats.values()) == {HOUR_S / HEARTBEAT_S}
    for _, data in world.sent:
        decode_heartbeat(data)


def test_the_nodes_of_such_a_mesh_have_reconciled_once_on_each_connection() -> None:
    """NG-068: both sides of each of the six."""
    world = Listening(mesh(compares_heads=True))
    run(world)

    assert world.record.counts["frame: 8"] == 12
