"""The judge: each fault that it is there for is found in the end of a run that had none."""

from __future__ import annotations

from functools import partial

import pytest

from meshwire_reference.core.document_calls import KeptTombstone, Write
from meshwire_reference.core.effects import WriteStore
from meshwire_reference.core.inputs import ConnectionOpened
from meshwire_reference.simulation.course import run
from meshwire_reference.simulation.judging import CHECKS, Invariant, Problem, Verdict
from meshwire_reference.simulation.plan import DELETES, EDITS, Plan, PlanStep, StepKind
from meshwire_reference.simulation.record import RunRecord
from meshwire_reference.simulation.shrinking import Shrinking
from meshwire_reference.simulation.world import World
from meshwire_reference.testing import author
from meshwire_reference.wire.tombstones import Tombstone, encode_tombstone
from meshwire_spec.numbers import ENDPOINT_ID, Direction

NODES = (0, 1, 2)
KEY = "notes:1"
STEPS = tuple(
    PlanStep(number, number * 0.1, StepKind.LOCAL_EDIT, node, key=KEY)
    for number, node in enumerate(NODES)
)
PLAN = Plan(3, NODES, ((0, 1), (1, 2)), STEPS)


@pytest.fixture
def world() -> World:
    """Return a run in which everything went well."""
    world = World(PLAN, RunRecord())
    run(world)
    assert problems(world) == []
    assert world.nodes[2].fields(KEY).keys() >= {"e0", "e1", "e2"}
    return world


def problems(world: World) -> list[tuple[Invariant, str]]:
    """Return what the judge says."""
    return [(invariant, text) for invariant, check in CHECKS.items() for text in check(world)]


def remove(world: World, number: int) -> None:
    """Remove the document from the disk of a node."""
    world.nodes[number].disk.apply([WriteStore(99, KEY, None)])


def test_a_document_that_one_node_lacks_is_no_convergence(world: World) -> None:
    """Though the nodes that have it agree."""
    remove(world, 2)

    assert problems(world) == [
        (Invariant.CONVERGED, f"document {KEY} differs, ['n2'] lack it"),
    ]


@pytest.mark.parametrize("kind", EDITS)
def test_every_kind_of_acknowledged_edit_must_be_there(world: World, kind: StepKind) -> None:
    """Of an application, of the user, and of a deployed peer."""
    world.outcome.acknowledged.append(PlanStep(9, 0.5, kind, 1, key=KEY))

    assert problems(world) == [(Invariant.KEPT, f"step 9: {KEY} of n1 has lost a field")]


@pytest.mark.parametrize("kind", DELETES)
def test_every_kind_of_acknowledged_deletion_must_be_there(world: World, kind: StepKind) -> None:
    """Of an application and of the user."""
    world.outcome.acknowledged.append(PlanStep(9, 0.5, kind, 1, key="tracks:1"))

    assert problems(world) == [(Invariant.DELETED, "step 9: n1 has no tombstone of tracks:1")]


def test_a_disk_that_has_another_document_than_its_node_is_noted(world: World) -> None:
    """The node shows what it has in memory, and would lose it at the next start."""
    replaced = Write(author.snapshot(KEY).payload, b"")
    world.nodes[0].disk.apply([WriteStore(99, KEY, replaced)])

    assert problems(world) == [(Invariant.STORED, f"n0 has stored another {KEY} than it holds")]


def test_a_document_beside_its_tombstone_is_noted(world: World) -> None:
    """Though the node has the tombstone."""
    tombstone = Tombstone("notes", "1", 7, 1, "user", "", Direction.BIDIRECTIONAL)
    kept = KeptTombstone(encode_tombstone(tombstone), 7)
    content = world.nodes[1].disk.read(KEY)
    world.nodes[1].disk.apply([WriteStore(99, KEY, Write(content, b""), kept, 1)])

    assert problems(world) == [
        (Invariant.DELETED, f"n1 holds {KEY} beside its tombstone"),
        (Invariant.CONVERGED, f"tombstone {KEY} differs, ['n0', 'n2'] lack it"),
    ]


def test_what_stays_in_use_is_noted(world: World) -> None:
    """A connection that nobody knows of, and a stream that nobody has released."""
    world.nodes[2].feed(ConnectionOpened(99, bytes(ENDPOINT_ID), dialled=False))
    link = world.dialled[0, 1].link
    assert link is not None
    link.sides[0].new_stream(bidi=True)
    found = problems(world)

    assert {invariant for invariant, _ in found} == {Invariant.FREE}
    assert "n2 has 2 sessions of 1" in [text for _, text in found]
    assert "(0, 1): 1 streams are still there" in [text for _, text in found]


def test_what_the_run_has_noted_is_a_problem(world: World) -> None:
    """Budgets, the deployed peer, a write that a crash has lost, and frames without end."""
    outcome = world.outcome
    outcome.exceeded.append("too much")
    outcome.unheard.append("nothing")
    outcome.lost.append(STEPS[1])
    outcome.is_silent = False

    assert [invariant for invariant, _ in problems(world)] == [
        Invariant.KEPT,
        Invariant.HEARD,
        Invariant.BOUNDED,
        Invariant.SILENT,
    ]


def test_a_write_of_just_now_that_a_crash_has_lost_is_noted() -> None:
    """Before its peers bring it back."""
    world = World(PLAN, RunRecord())
    for number in NODES:
        world.start(number)
    world.schedule.run(world.schedule.now_s + 1)
    step = STEPS[1]
    world.outcome.acknowledged.append(step)
    world.end_node(world.nodes[1], StepKind.CRASH, 0.1)
    world.schedule.run(world.schedule.now_s + 1)

    assert world.outcome.lost == [step]


def test_shrinking_keeps_the_invariant_that_was_broken() -> None:
    """A smaller plan that breaks another one is no smaller case of the same."""

    def judged(plan: Plan, *, first: bool) -> Verdict:
        is_whole = any(step.number == 1 for step in plan.steps)
        broken = Invariant.KEPT if is_whole or first else Invariant.SILENT
        return Verdict(plan, (Problem(broken, "so"),), RunRecord())

    smallest = Shrinking(judged(PLAN, first=True), partial(judged, first=False)).shrink()

    assert [step.number for step in smallest.plan.steps] == [1]
    assert smallest.problems[0].invariant is Invariant.KEPT
