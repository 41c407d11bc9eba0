"""The judgement of a run: safety and liveness apart, each by invariants with a name.

Safety is what no fault may break: an acknowledged write is kept, a deleted document stays deleted,
what a node shows is what it has stored. Liveness is what must follow once the faults have ended:
every node holds the same, all fall silent, and what was in use for it is free again.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePath
from typing import Final

from meshwire_reference.core.document_calls import Save, Saved
from meshwire_reference.documents.table import Table
from meshwire_reference.simulation.course import ROUNDS_MAX, run
from meshwire_reference.simulation.plan import DELETES, EDITS, Plan
from meshwire_reference.simulation.record import RunRecord
from meshwire_reference.simulation.transitions import counted
from meshwire_reference.simulation.world import World


class Invariant(StrEnum):
    """What must hold after every run."""

    NO_MISTAKE = "no exception in the node"
    KEPT = "no acknowledged write is lost"
    DELETED = "tombstones are respected"
    STORED = "what a node holds is what it has stored"
    CONVERGED = "every node holds the same"
    HEARD = "a deployed peer goes on"
    BOUNDED = "memory is bounded"
    SILENT = "silent after the last fault"
    FREE = "nothing stays in use"


@dataclass(frozen=True, slots=True)
class Problem:
    """An invariant that does not hold, and how."""

    invariant: Invariant
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement of one run."""

    plan: Plan
    problems: tuple[Problem, ...]
    record: RunRecord
    rounds: int = 0


def judge(plan: Plan, *, keeps_lines: bool = False) -> Verdict:
    """Run a plan and judge it."""
    record = RunRecord(keeps_lines=keeps_lines)
    world = World(plan, record)
    try:
        with counted(record):
            run(world)
        problems = [
            Problem(invariant, text) for invariant, check in CHECKS.items() for text in check(world)
        ]
    except Exception as exc:  # noqa: BLE001 - a mistake of the node is what the run looks for
        place = traceback.extract_tb(exc.__traceback__)[-1]
        where = f"{PurePath(place.filename).name}:{place.lineno}"
        problems = [Problem(Invariant.NO_MISTAKE, f"{type(exc).__name__}: {exc} at {where}")]
    for problem in problems:
        record.count("problem", problem.invariant)
    return Verdict(plan, tuple(problems), record, world.outcome.rounds)


def _heads(world: World) -> dict[str, Mapping[str, tuple[bytes, ...]]]:
    """Return the heads of every document of each node."""
    return {
        node.name: {key: node.heads(key) for key in node.disk.contents(node.identity).sizes}
        for node in world.nodes.values()
    }


def _tombstones(world: World) -> dict[str, dict[str, bytes]]:
    """Return the stored tombstones of each node by the key of their document."""
    return {node.name: node.stored_tombstones() for node in world.nodes.values()}


def _check_kept(world: World) -> Iterator[str]:
    """Yield the acknowledged writes that no longer exist where they were acknowledged."""
    for step in world.outcome.lost:
        yield f"step {step.number}: {step.key} of n{step.node} was not on its disk after a crash"
    buried = set().union(*_tombstones(world).values())
    fields: dict[tuple[str, tuple[bytes, ...]], Mapping[str, object]] = {}
    for step in world.outcome.acknowledged:
        if step.kind not in EDITS or step.key in buried:
            continue
        node = world.nodes[step.node]
        state = step.key, node.heads(step.key)
        if state not in fields:
            fields[state] = node.fields(step.key)
        if f"e{step.number}" not in fields[state]:
            yield f"step {step.number}: {step.key} of n{step.node} has lost a field"


def _check_deleted(world: World) -> Iterator[str]:
    """Yield the documents that exist beside their tombstone, and deletions that were forgotten."""
    tombstones = _tombstones(world)
    for node in world.nodes.values():
        documents = node.disk.contents(node.identity).sizes
        for key in sorted(documents.keys() & tombstones[node.name].keys()):
            yield f"{node.name} holds {key} beside its tombstone"
    for step in world.outcome.acknowledged:
        if step.kind in DELETES and step.key not in tombstones[f"n{step.node}"]:
            yield f"step {step.number}: n{step.node} has no tombstone of {step.key}"


def _check_stored(world: World) -> Iterator[str]:
    """Yield the documents that a node would read back otherwise than it holds them."""
    # One node of each run, and every node over the seeds.
    nodes = list(world.nodes.values())
    for node in nodes[world.plan.seed % len(nodes) :][:1]:
        table = Table(node.identity.actor)
        for key in node.disk.contents(node.identity).sizes:
            saved = table.answer(Save(key), node.disk.read(key))
            if not isinstance(saved, Saved) or saved.heads != node.heads(key):
                yield f"{node.name} has stored another {key} than it holds"


def _check_converged(world: World) -> Iterator[str]:
    """Yield the documents and tombstones that are not the same at every node, once all is said."""
    if not world.outcome.is_silent:
        return
    for what, held in (("document", _heads(world)), ("tombstone", _tombstones(world))):
        for key in sorted(set().union(*held.values())):
            there = {name: of_node.get(key) for name, of_node in held.items()}
            if len(set(there.values())) > 1:
                without = [name for name, value in there.items() if not value]
                yield f"{what} {key} differs" + (f", {without} lack it" if without else "")


def _check_heard(world: World) -> Iterator[str]:
    """Yield what has become of the deployed peer."""
    yield from world.outcome.unheard


def _check_bounded(world: World) -> Iterator[str]:
    """Yield the budgets that were exceeded."""
    yield from world.outcome.exceeded[:1]


def _check_silent(world: World) -> Iterator[str]:
    """Yield how the run went on after its last fault."""
    outcome = world.outcome
    if not outcome.is_silent:
        yield f"frames are still sent, after {outcome.rounds} rounds of at most {ROUNDS_MAX}"


def _check_free(world: World) -> Iterator[str]:
    """Yield what nodes still use though nothing happens."""
    if not world.outcome.is_silent:
        return
    for node in world.nodes.values():
        outstanding = node.core.outstanding
        expected = sum(node.number in ends for ends in world.dialled)
        if outstanding.sessions != expected:
            yield f"{node.name} has {outstanding.sessions} sessions of {expected}"
        if outstanding.is_any:
            yield f"{node.name}: {outstanding}"
    for ends, dialling in world.dialled.items():
        if dialling.link is not None and dialling.link.streams:
            yield f"{ends}: {len(dialling.link.streams)} streams are still there"


CHECKS: Final[Mapping[Invariant, Callable[[World], Iterator[str]]]] = {
    Invariant.KEPT: _check_kept,
    Invariant.DELETED: _check_deleted,
    Invariant.STORED: _check_stored,
    Invariant.CONVERGED: _check_converged,
    Invariant.HEARD: _check_heard,
    Invariant.BOUNDED: _check_bounded,
    Invariant.SILENT: _check_silent,
    Invariant.FREE: _check_free,
}
