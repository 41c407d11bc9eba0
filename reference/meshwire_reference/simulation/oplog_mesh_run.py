"""The course of a simulated mesh of `oplog/1`, and what is judged of it.

Three scans after the last node has started the mesh must be connected. Then one node is cut off for
a while, and two scans after it is back the mesh must be connected again. No node ever has more
links than its cap, and its dials within a minute are bounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from meshwire_reference.simulation.oplog_mesh import MeshWorld
from meshwire_spec.numbers import OPLOG_MESH_FIRST_SCAN_S, OPLOG_MESH_SCAN_S

MARGIN_S: Final = 12.0
"""Time that a dial at the last scan takes at most."""
CUT_OFF_S: Final = (30.0, 1500.0)
"""Least and greatest time that a node is cut off: also longer than its record is fresh."""
DIALS: Final = 8
"""Passes in a minute, of which each dials at most as many as the cap: a scan, and one after each
wait of 1, 2, 4, 8, 16 and 30 seconds; and a scan at the other end of the minute."""


@dataclass(frozen=True, slots=True)
class MeshPlan:
    """How large a mesh is, and which of its nodes live at level `wire`."""

    size: int
    cap: int
    deployed: frozenset[int] = frozenset()


MESHES: Final = {
    "small": MeshPlan(10, 2),
    "large": MeshPlan(100, 4),
    "mixed": MeshPlan(12, 3, frozenset(range(0, 12, 3))),
    "deployed": MeshPlan(10, 1, frozenset(range(10))),
}


@dataclass(frozen=True, slots=True)
class MeshVerdict:
    """What is wrong with the course of a seed, and what it has come to at most."""

    seed: int
    problems: list[str]
    most_links: int
    most_dials: int
    most_sessions: int
    """Sessions of a node at once, with those that it refuses and ends."""


def judge_mesh(seed: int, shape: MeshPlan) -> MeshVerdict:
    """Return what is wrong with the mesh of a seed."""
    world = MeshWorld(seed, shape.size, shape.cap, shape.deployed)
    problems: list[str] = []
    last_s = world.start()
    world.schedule.run(last_s + OPLOG_MESH_FIRST_SCAN_S + 2 * OPLOG_MESH_SCAN_S + MARGIN_S)
    _judge_parts(world, "three scans after the start", problems)
    chance = world.chance("cut off")
    node = chance.choice(world.nodes)
    world.cut_off(node)
    world.schedule.run(world.schedule.now_s + chance.uniform(*CUT_OFF_S))
    world.bring_back(node)
    world.schedule.run(world.schedule.now_s + 2 * OPLOG_MESH_SCAN_S)
    _judge_parts(world, f"two scans after n{node.number} is back", problems)
    strict = [one for one in world.nodes if one.number not in shape.deployed]
    most_links = max((one.most_links for one in strict), default=0)
    if most_links > shape.cap:
        problems.append(f"a node has {most_links} links, and not {shape.cap} at most")
    most_dials = world.most_dials(OPLOG_MESH_SCAN_S)
    if most_dials > DIALS * shape.cap:
        problems.append(f"a node dials {most_dials} times in a minute")
    most_sessions = max(one.most_sessions for one in world.nodes)
    return MeshVerdict(seed, problems, most_links, most_dials, most_sessions)


def _judge_parts(world: MeshWorld, when: str, problems: list[str]) -> None:
    parts = [sorted(part) for part in world.parts()]
    if len(parts) > 1:
        problems.append(f"{when} the mesh has {len(parts)} parts: {parts[1:]}")
