"""What the edges of a triangle carry while one of its nodes edits documents, and what loss does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import pytest

from meshwire_reference.core.document_calls import Edit, Value
from meshwire_reference.core.inputs import LocalOperation
from meshwire_reference.simulation.links import Side
from meshwire_reference.simulation.mesh_convergence import (
    Circumstances,
    MeasuredMesh,
    Topology,
)
from meshwire_reference.simulation.plan import StepKind

TRIANGLE = Circumstances(
    documents=1, changed=0, peers=3, loss=0.0, latency_ms=10.0, shape=Topology.FULL
)
LINE = replace(TRIANGLE, shape=Topology.LINE)
EDITS = 60
PAUSE_S = 0.3
"""Between two edits: more than a few round trips."""
QUIET_S = 20.0
"""More than what an announcement without an answer is given."""
AB, AC, BC = range(3)
"""The links of the triangle, in their order."""
NUMBERS = 1000


def count_of(fields: Mapping[str, object]) -> int:
    """Return the number of an edit from the fields of a document; 0 without it."""
    value = fields.get("count")
    return value.value if isinstance(value, Value) and isinstance(value.value, int) else 0


class EditedMesh(MeasuredMesh):
    """A mesh whose first node edits its document, and the bytes on each link meanwhile."""

    def __init__(self, circumstances: Circumstances, seed: int) -> None:
        self.sent: Counter[int] = Counter()
        self._count = 0
        super().__init__(circumstances, seed)
        self._begin()
        self._link()
        self.wait(QUIET_S)
        self.sent.clear()

    def wait(self, seconds: float) -> None:
        """Let virtual time pass."""
        self._schedule.run(self._schedule.now_s + seconds)

    def edit(self, size: int, pause_s: float = PAUSE_S) -> None:
        """Edit the document at the first node."""
        self._count += 1
        edit = Edit(self.key, {"count": self._count, "text": "x" * size})
        self._nodes[0].feed(LocalOperation(NUMBERS + self._count, edit))
        self.wait(pause_s)

    @property
    def key(self) -> str:
        """The key of the document."""
        return self.circumstances.key(0)

    @property
    def counts(self) -> list[int]:
        """The number of the last edit that each node holds."""
        return [count_of(node.fields(self.key)) for node in self._nodes]

    def cut(self, link: int) -> None:
        """Lose a link for good."""
        self._links[link].cut(at_once=True)

    def fail(self, link: int) -> None:
        """Have the next stream of each side of a link taken by its peer and dropped."""
        for side in self._links[link].sides:
            side.faults.append(StepKind.LOSE)

    def note_sent(self, side: Side, stream: int, data: bytes) -> None:
        """Count the bytes of a link."""
        self.sent[self._links.index(side.link)] += len(data)
        super().note_sent(side, stream, data)


@pytest.mark.parametrize("collection", ["notes", "beacons"])
def test_the_third_edge_carries_no_copies(collection: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """DC-085: it carries heads; both deltas and snapshots cross the other two alone."""
    monkeypatch.setattr("meshwire_reference.simulation.mesh_convergence.COLLECTION", collection)
    mesh = EditedMesh(TRIANGLE, seed=1)
    mesh.edit(10)
    mesh.wait(QUIET_S)
    before = mesh.sent.copy()
    mesh.edit(10)
    mesh.sent.clear()
    for number in range(EDITS):
        mesh.edit(4000 + number * 7)

    assert mesh.counts == [EDITS + 2] * 3
    assert before[BC] > 0
    # Announcements in both directions and their answers, whatever the size of the change.
    assert mesh.sent[BC] < EDITS * 500


def test_a_line_relays_each_change_at_once() -> None:
    """DC-085: no peer has it from elsewhere, so nothing is announced."""
    mesh = EditedMesh(LINE, seed=1)
    for number in range(EDITS):
        mesh.edit(4000 + number)
    line = mesh.sent.copy()

    assert mesh.counts == [EDITS] * 3
    assert line[0] == line[1]


@pytest.mark.parametrize("lost", [AB, AC])
def test_a_triangle_that_loses_an_edge_converges(lost: int) -> None:
    """DC-085: the node at its end asks for the first change, and is relayed the next ones."""
    mesh = EditedMesh(TRIANGLE, seed=2)
    for _ in range(10):
        mesh.edit(400)
    mesh.cut(lost)
    for _ in range(10):
        mesh.edit(400)

    assert mesh.counts == [20] * 3


@pytest.mark.parametrize("seed", range(1, 9))
@pytest.mark.parametrize("edge", [AB, AC, BC])
def test_a_lost_frame_of_a_triangle_is_made_good_by_the_others(seed: int, edge: int) -> None:
    """A peer has taken a frame and dropped it: what it lacks is announced by the other one."""
    mesh = EditedMesh(TRIANGLE, seed)
    for _ in range(5):
        mesh.edit(400)
    mesh.fail(edge)
    mesh.edit(400)
    mesh.wait(QUIET_S)

    assert mesh.counts == [6] * 3


def test_edits_in_a_burst_and_lost_packets_change_nothing() -> None:
    """Frames overtake each other, and the race for the third edge is lost now and then."""
    mesh = EditedMesh(replace(TRIANGLE, loss=0.3, latency_ms=50.0), seed=3)
    for number in range(EDITS):
        mesh.edit(400, pause_s=0.01 * (number % 7))
    mesh.wait(QUIET_S)

    assert mesh.counts == [EDITS] * 3
