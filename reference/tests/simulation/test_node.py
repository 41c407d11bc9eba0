"""A node of a run: its worker dies at every moment, and nothing acknowledged is lost."""

from __future__ import annotations

from random import Random

import pytest

from meshwire_reference.core.document_calls import Edit, Write
from meshwire_reference.core.effects import WriteStore
from meshwire_reference.core.inputs import LocalOperation
from meshwire_reference.simulation import node as simulated
from meshwire_reference.simulation.node import SimulatedNode
from meshwire_reference.simulation.record import RunRecord
from meshwire_reference.simulation.schedule import START_S, Schedule
from meshwire_reference.simulation.visitor import ACKNOWLEDGED
from meshwire_reference.simulation.world import ROOMY

KEY = "beacons:1"
CALL_S, COMMIT_S = 1.0, 10.0
END_S = 100.0


class Scene:
    """A node whose calls and commits each take the same time, and what its user has learnt."""

    def __init__(self) -> None:
        self.schedule = Schedule()
        self.record = RunRecord()
        self.ended: dict[int, str] = {}
        self.node = SimulatedNode(0, Random(1), self.schedule, self.record, ROOMY, None)
        self.node.on_operation = self.ended.__setitem__
        self.node.start()

    def edit(self, number: int) -> None:
        """Let the user write a field of its own name."""
        self.node.feed(LocalOperation(number, Edit(KEY, {f"e{number}": "x"})))

    def run(self, until_s: float) -> None:
        """Run up to a time after the start."""
        self.schedule.run(START_S + until_s)


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    """Return a node that has begun with nothing."""
    monkeypatch.setattr(simulated, "CALL_S", (CALL_S, CALL_S))
    monkeypatch.setattr(simulated, "COMMIT_S", (COMMIT_S, COMMIT_S))
    return Scene()


@pytest.mark.parametrize("death_s", [0.5, 1.5, 5.0, 11.5, 12.5, 25.0])
def test_a_death_loses_no_acknowledged_edit(scene: Scene, death_s: float) -> None:
    """The worker dies before, at and after the second of three edits, and during their commits."""
    for number in (1, 2, 3):
        scene.edit(number)
    scene.run(death_s)
    scene.node.kill_worker()
    scene.run(END_S)

    assert scene.ended == dict.fromkeys((1, 2, 3), ACKNOWLEDGED)
    assert {"e1", "e2", "e3"} <= scene.node.fields(KEY).keys()


def test_a_call_at_a_death_begins_again_once_the_disk_has_what_it_needs(scene: Scene) -> None:
    """Its document was in the memory of the worker, with a change that no disk has yet."""
    scene.edit(1)
    scene.edit(2)
    scene.run(CALL_S * 1.5)
    scene.node.kill_worker()
    scene.run(COMMIT_S)
    assert scene.node.disk.read(KEY) is None
    assert scene.ended == {}

    scene.run(END_S)
    assert scene.ended == {1: ACKNOWLEDGED, 2: ACKNOWLEDGED}
    assert {"e1", "e2"} <= scene.node.fields(KEY).keys()


def test_a_crash_during_a_commit_leaves_the_whole_group_or_nothing() -> None:
    """Either happens, and what waits for its turn is lost in any case."""
    found = set()
    for seed in range(20):
        node = SimulatedNode(0, Random(seed), Schedule(), RunRecord(), ROOMY, None)
        node.start()
        group = [WriteStore(number, f"notes:{number}", Write(b"x", b"")) for number in (1, 2, 3)]
        for effect in group:
            node.write_store(effect)
        node.crash()
        kept = [effect.key for effect in group if node.disk.read(effect.key) is not None]
        found.add(tuple(kept))

    assert found == {(), ("notes:1",)}
