"""The steps of a plan: what users write, and what befalls nodes and their connections."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final, Protocol

from meshwire_reference.core.document_calls import Edit, Scalar
from meshwire_reference.core.formation import FormationKey
from meshwire_reference.core.inputs import Deletion, LocalOperation
from meshwire_reference.simulation.plan import Plan, PlanStep, StepKind
from meshwire_reference.simulation.schedule import Schedule
from meshwire_reference.simulation.visitor import ACKNOWLEDGED, TEXT_MAX
from meshwire_reference.simulation.world import SECRET_TEXT, World

FAULT_S: Final = 12.0
"""Greatest duration of a fault that lasts."""
FLAPS_MAX: Final = 6
CLOCK_STEP_MAX_MS: Final = 600_000
READING_SHARE: Final = 0.5
"""Share of the edits before which the application reads the document."""
GROUP_SHARE: Final = 0.4
"""Share of the nodes that a partition keeps with the one that it is about."""


def edit(world: World, step: PlanStep) -> None:
    """Let the application of a node write a field."""
    node, visitor = world.nodes[step.node], world.visitors[step.node]
    if not node.is_up or visitor.side is None:
        world.record.count("edit", "no node")
        return
    has_read = world.plan.has_large_documents and step.amount < READING_SHARE
    stored = node.disk.read(step.key) if has_read else None
    if not visitor.edit(step.number, step.key, step.amount, stored, world.plan.payload_cap):
        world.record.count("edit", "above the cap")


def delete(world: World, step: PlanStep) -> None:
    """Let the application of a node delete a document."""
    node, visitor = world.nodes[step.node], world.visitors[step.node]
    if node.is_up and visitor.side is not None:
        visitor.delete(step.number, step.key, node.now.wall_ms)
    else:
        world.record.count("delete", "no node")


def edit_locally(world: World, step: PlanStep) -> None:
    """Let the user of a node write a field."""
    text = "y" * int(step.amount * TEXT_MAX)
    fields: dict[str, Scalar] = {f"e{step.number}": text, "by": step.node}
    _operate(world, step, Edit(step.key, dict(fields)))


def delete_locally(world: World, step: PlanStep) -> None:
    """Let the user of a node delete a document."""
    _operate(world, step, Deletion(step.key, f"u{step.node}"))


def _operate(world: World, step: PlanStep, operation: Edit | Deletion) -> None:
    node = world.nodes[step.node]
    if node.is_up:
        node.feed(LocalOperation(step.number, operation))
    else:
        world.record.count(str(step.kind), "no node")


def edit_deployed(world: World, step: PlanStep) -> None:
    """Let a deployed peer write a field."""
    world.deployed_peer.edit(step.number, step.key)
    world.record.count(str(step.kind), ACKNOWLEDGED)


def attack(world: World, step: PlanStep) -> None:
    """Let the application of a node break a rule."""
    visitor = world.visitors[step.node]
    if world.nodes[step.node].is_up and visitor.side is not None:
        world.note_fault(step.kind)
        world.record.count("hostile", visitor.attack(step.amount))


def meet_streams(world: World, step: PlanStep) -> None:
    """Let a fault meet the next streams of a node on one connection."""
    side = world.side_between(step)
    if side is not None:
        side.faults.extend([step.kind] * (1 + int(step.amount * 3)))


def delay(world: World, step: PlanStep) -> None:
    """Let the streams of a node on one connection be late for a while, each by another time."""
    side = world.side_between(step)
    if side is None:
        return
    side.delay_s = 1.0 if step.kind is StepKind.DELAY else 8.0
    world.note_fault(step.kind)

    def end() -> None:
        side.delay_s = 0.0

    world.schedule.after(1 + step.amount * (FAULT_S - 1), end)


def disconnect(world: World, step: PlanStep) -> None:
    """Lose the connection of two nodes."""
    side = world.side_between(step)
    if side is not None:
        world.note_fault(step.kind)
        side.link.cut()


def flap(world: World, step: PlanStep) -> None:
    """Lose the connection of two nodes, and the next ones too while they begin."""
    side = world.side_between(step)
    for ends, dialling in world.dialled.items():
        if set(ends) == {step.node, step.other}:
            dialling.short_lives = 1 + int(step.amount * FLAPS_MAX)
    if side is not None:
        side.link.cut(at_once=True)


class Divisible(Protocol):
    """A simulated mesh of which a step can keep nodes apart."""

    plan: Plan
    groups: list[frozenset[int]]
    schedule: Schedule

    def chance(self, *what: object) -> Random:
        """Return a source of random numbers for one step."""

    def note_fault(self, kind: StepKind, /) -> None:
        """Note that a fault has begun."""


def split_off(world: Divisible, step: PlanStep) -> frozenset[int]:
    """Keep some nodes and the others apart for a while; return the nodes on one side."""
    chance = world.chance("partition", step.number)
    group = frozenset(
        n for n in world.plan.nodes if n == step.node or chance.random() < GROUP_SHARE
    )
    world.groups.append(group)
    world.note_fault(step.kind)

    def end() -> None:
        if group in world.groups:
            world.groups.remove(group)

    world.schedule.after(1 + step.amount * (FAULT_S - 1), end)
    return group


def divide(world: World, step: PlanStep) -> None:
    """Keep some nodes and the others apart for a while."""
    group = split_off(world, step)
    for ends, dialling in world.dialled.items():
        if dialling.link is not None and len(group & set(ends)) == 1:
            dialling.link.cut()


def crash(world: World, step: PlanStep) -> None:
    """End a node now, or at the end of a commit; it starts again after a while."""
    node = world.nodes[step.node]
    if not node.is_up:
        return

    def end() -> None:
        world.end_node(node, step.kind, 0.1 + step.amount * FAULT_S / 2)

    if step.kind is StepKind.CRASH:
        end()
    else:
        node.crash_at_commit(end)


def misconfigure(world: World, step: PlanStep) -> None:
    """Start a node with the secret of another formation, and after a while with its own."""
    node, own = world.nodes[step.node], world.key
    node.key = FormationKey.derive("simulated", SECRET_TEXT[::-1])
    world.end_node(node, step.kind, 0.1)

    def mend() -> None:
        node.key = own
        world.end_node(node, StepKind.CRASH, 0.1)

    world.schedule.after(1 + step.amount * (FAULT_S - 2), mend)


def kill_worker(world: World, step: PlanStep) -> None:
    """Let the worker of a node die."""
    node = world.nodes[step.node]
    if not node.is_up:
        return
    world.note_fault(step.kind)
    if step.kind is StepKind.WORKER_DEATH:
        node.kill_worker()
    else:
        node.kill_workers_at_call()
    # What was refused, and changes that waited for others, come with the next connection.
    for dialling in world.links_of(step.node):
        dialling.has_lost = True


def set_clock(world: World, step: PlanStep) -> None:
    """Set the clock of a node forward or back."""
    world.note_fault(step.kind)
    world.nodes[step.node].skew_ms += round((2 * step.amount - 1) * CLOCK_STEP_MAX_MS)


def break_store(world: World, step: PlanStep) -> None:
    """Let the store of a node fail for a while."""
    node = world.nodes[step.node]
    if not node.is_up:
        return
    world.note_fault(step.kind)
    node.break_store()
    world.schedule.after(1 + step.amount * (FAULT_S - 1), node.mend_store)


STEPS: Final[dict[StepKind, Callable[[World, PlanStep], None]]] = {
    StepKind.EDIT: edit,
    StepKind.LOCAL_EDIT: edit_locally,
    StepKind.DEPLOYED_EDIT: edit_deployed,
    StepKind.DELETE: delete,
    StepKind.LOCAL_DELETE: delete_locally,
    StepKind.HOSTILE: attack,
    StepKind.LOSE: meet_streams,
    StepKind.DUPLICATE: meet_streams,
    StepKind.CUT: meet_streams,
    StepKind.CUT_LATE: meet_streams,
    StepKind.DELAY: delay,
    StepKind.SLOW: delay,
    StepKind.DISCONNECT: disconnect,
    StepKind.FLAP: flap,
    StepKind.PARTITION: divide,
    StepKind.CRASH: crash,
    StepKind.CRASH_COMMIT: crash,
    StepKind.WRONG_KEY: misconfigure,
    StepKind.WORKER_DEATH: kill_worker,
    StepKind.WORKER_DEATHS: kill_worker,
    StepKind.CLOCK_STEP: set_clock,
    StepKind.STORE_FAILURE: break_store,
}
"""How each step is carried out."""
