"""The simulator: honest nodes pass every judgement, whatever happens to them."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from meshwire_reference.simulation.expectations import expected_names
from meshwire_reference.simulation.judging import judge
from meshwire_reference.simulation.plan import (
    BRIEF,
    DELETES,
    EDITS,
    FAULTS,
    Scale,
    Sort,
    StepKind,
    draw_plan,
)

TOOL = Path(__file__).parents[3] / "tools" / "simulate.py"
SMALL = Scale(nodes=(2, 3), edits=12, deletes=2, faults=4, documents=4, span_s=15.0)
SEEDS = range(6)
"""One of each sort of plan."""


@pytest.mark.parametrize("seed", range(20))
def test_a_small_mesh_holds_every_invariant(seed: int) -> None:
    """Two or three nodes with a few faults."""
    verdict = judge(draw_plan(seed, SMALL))

    assert verdict.problems == ()


def test_the_copy_of_a_stream_is_ended_where_its_run_goes_on() -> None:
    """The first message of a run arrives twice; the copy held a stream of the peer for ever."""
    plan = draw_plan(1518).only(nodes=[0, 2, 4], steps=[167, 169, 191])
    assert [step.kind for step in plan.steps].count(StepKind.DUPLICATE) == 1
    assert judge(plan).problems == ()


def test_a_document_reaches_the_other_node() -> None:
    """The least run: two nodes, one document, no fault."""
    scale = Scale(nodes=(2, 2), edits=1, deletes=0, faults=0, documents=1, sorts=(Sort.FORMATION,))
    verdict = judge(draw_plan(1, scale))

    assert verdict.problems == ()
    assert verdict.record.counts["local edit: acknowledged"] == 1
    assert verdict.record.counts["applied: changes"] == 1


def test_a_plan_can_be_made_smaller() -> None:
    """Steps at nodes that are left out go too, and the numbers of the others stay."""
    plan = draw_plan(3, SMALL)
    smaller = plan.only(nodes=plan.nodes[:2], steps=[0, 3, 5])

    assert smaller.nodes == plan.nodes[:2]
    assert {step.number for step in smaller.steps} <= {0, 3, 5}
    assert all(step.node in smaller.nodes for step in smaller.steps)
    assert all(set(link) <= set(smaller.nodes) for link in smaller.links)


@pytest.mark.parametrize("seed", range(30))
def test_a_plan_connects_its_nodes(seed: int) -> None:
    """However the links are drawn; without a node in between it may not."""
    plan = draw_plan(seed)

    assert plan.is_connected
    assert not replace(plan, links=plan.links[:1]).is_connected


def test_a_plan_has_what_its_scale_says() -> None:
    """Every seed has its edits, deletions and faults."""
    plan = draw_plan(5)
    kinds = [step.kind for step in plan.steps]

    assert len(plan.nodes) == 5
    assert sum(kind in EDITS for kind in kinds) == 200
    assert sum(kind in DELETES for kind in kinds) == 20
    assert sum(kind in FAULTS for kind in kinds) == 10


def test_what_must_occur_is_known() -> None:
    """Every fault and reason must, and every transition that has no reason to be exempt."""
    names = list(expected_names())

    assert {f"fault: {kind}" for kind in FAULTS} <= set(names)
    assert "refused: frame-stall" in names
    assert "transition: session: unproven, result rejected" in names
    assert "transition: own run: opening, no answer in time" not in names


@pytest.mark.process
def test_a_seed_is_the_same_in_every_process() -> None:
    """Traces do not depend on the order of sets, which another PYTHONHASHSEED changes."""
    digests = [
        subprocess.run(
            [sys.executable, TOOL, "--seeds", f"{SEEDS[0]}..{SEEDS[-1]}", "--brief", "--digests"],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]

    plans = [draw_plan(seed, BRIEF) for seed in SEEDS]
    assert any(plan.deployed_at is not None for plan in plans)
    assert any(plan.dialects for plan in plans)
    assert any(plan.is_tight for plan in plans)
    assert not all(plan.has_large_documents for plan in plans)
    assert digests[0].count("\n") == len(SEEDS)
    assert digests[0] == digests[1]
