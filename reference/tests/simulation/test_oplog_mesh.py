"""Meshes of many managers of `oplog/1`: connected, within their caps, without storms."""

from dataclasses import replace

import pytest

from meshwire_reference.simulation.oplog_mesh_run import MESHES, judge_mesh

SEEDS = range(12)
SMALL = MESHES["small"]
LARGE = MESHES["large"]


@pytest.mark.parametrize("size", [2, 3, 5, 10])
def test_small_meshes_are_connected(size: int) -> None:
    """With a cap of two, within three scans, and again once a node that was cut off is back."""
    problems = [
        problem
        for seed in SEEDS
        for problem in judge_mesh(seed, replace(SMALL, size=size)).problems
    ]

    assert problems == []


def test_a_mesh_of_a_hundred_is_connected() -> None:
    """With a cap of four."""
    verdict = judge_mesh(1, LARGE)

    assert verdict.problems == []
    assert verdict.most_links <= LARGE.cap


def test_a_mesh_with_deployed_peers_keeps_the_caps_of_its_strict_nodes() -> None:
    """Deployed ones choose the first of the list, and are not told from a rendezvous."""
    verdict = judge_mesh(1, MESHES["mixed"])

    assert verdict.problems == []


def test_a_seed_has_one_course() -> None:
    """What has happened is drawn from the seed alone."""
    first, second = (judge_mesh(7, SMALL) for _ in range(2))

    assert first == second


def test_deployed_peers_make_hubs_and_strict_ones_do_not() -> None:
    """All dial the first of the list, whose connections nobody counts (D-131)."""
    deployed = judge_mesh(1, MESHES["deployed"])
    strict = judge_mesh(1, SMALL)

    assert deployed.most_sessions >= MESHES["deployed"].size - 1
    assert strict.most_sessions <= SMALL.cap + 2
