"""The course of a simulated run of `oplog/1`, and what is judged of it.

When the last step is over every fault ends, and the run waits until nothing is sent any more. Then
every operation that any node has ever stored must be with all of them, and all strict nodes must
show one document. A node at level `wire` may show another value of a register where two writes tie
in sequence and inner author (D-162), and another order of elements that do (D-164); authors that
sign two operations with one sequence occur, and nothing else may differ.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Final

from meshwire_reference.oplog.frames import encode_live
from meshwire_reference.oplog.nodes import ListNode, StructNode
from meshwire_reference.oplog.operations import Operation, SignedOperation
from meshwire_reference.oplog.spelling import operation_json, read_operation_json
from meshwire_reference.oplog.values import JsonValue
from meshwire_reference.simulation.oplog_world import FIELDS, OplogHost, OplogWorld, send
from meshwire_reference.simulation.plan import Plan, PlanStep, Scale, Sort, StepKind, draw_plan
from meshwire_reference.simulation.record import RunRecord
from meshwire_reference.simulation.schedule import START_S
from meshwire_reference.simulation.steps import FAULT_S, FLAPS_MAX, split_off

KINDS: Final = (
    StepKind.DELAY,
    StepKind.SLOW,
    StepKind.DISCONNECT,
    StepKind.FLAP,
    StepKind.PARTITION,
    StepKind.CRASH,
    StepKind.CRASH_COMMIT,
    StepKind.STORE_FAILURE,
    StepKind.HOSTILE,
)
"""Faults that exist between nodes of `oplog/1`, whose hubs have no clock."""
SCALE: Final = Scale(
    edits=60, deletes=4, faults=12, documents=8, span_s=40.0, kinds=KINDS, sorts=(Sort.PLAIN,)
)
QUIET_S: Final = 40.0
"""Seconds without a message after which a run is silent: longer than any wait before a dial."""
ITEM_DEPTH: Final = 2
"""Segments in the path of an item: the list and its id."""
SETTLE_MAX_S: Final = 600.0
"""Seconds after which a run that is not silent never will be."""
BAD_MESSAGES: Final = (
    "nonsense", b"nonsense", '{"type":"other"}', '{"type":"bulk","ops":[{}]}', b"\xff\xfe",
    '{"type":"bulk","ops":["{}"]}', "[" * 500, '{"type":"op","op":"x"}',
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class OplogMix:
    """Which nodes of a plan live at level `wire`, as numbers below the count of its nodes."""

    deployed: frozenset[int]


MIXES: Final = {
    "strict": OplogMix(frozenset()),
    "wire": OplogMix(frozenset(range(5))),
    "mixed": OplogMix(frozenset({1, 3})),
}


@dataclass(frozen=True, slots=True)
class OplogVerdict:
    """What is wrong with the run of a seed, and what occurred in it."""

    seed: int
    problems: list[str]
    counts: Counter[str]
    ties: int
    """Registers and orders that a node at level `wire` shows otherwise, in a tie."""


def judge_oplog(seed: int, mix: OplogMix) -> OplogVerdict:
    """Return what is wrong with the run of a seed."""
    plan = draw_plan(seed, SCALE)
    world = OplogWorld(plan, mix.deployed & frozenset(plan.nodes), RunRecord())
    problems: list[str] = []
    _carry_out(world, plan)
    if not _settle(world):
        problems.append("messages are sent without end")
    stored = {text for node in world.nodes.values() for text in node.disk}
    problems += _lost(world, stored)
    ties = list(_differing(world, problems))
    return OplogVerdict(seed, problems, world.record.counts, len(ties))


def _carry_out(world: OplogWorld, plan: Plan) -> None:
    for number in plan.nodes:
        world.start(number)
    for step in plan.steps:
        world.schedule.at(START_S + 1 + step.at_s, partial(STEPS[step.kind], world, step))
    last_s = max((step.at_s for step in plan.steps), default=0.0)
    world.schedule.run(START_S + 1 + last_s + FAULT_S)
    world.groups.clear()
    for node in world.nodes.values():
        node.heal()
        if not node.is_up:
            world.start(node.number)
    for kept in world.kept.values():
        kept.short_lives = 0
        if kept.link is not None:
            for side in kept.link.sides:
                side.delay_s = 0.0


def _settle(world: OplogWorld) -> bool:
    """Wait until nothing is sent any more; return False if that never comes."""
    end_s = world.schedule.now_s + SETTLE_MAX_S
    while world.schedule.now_s < end_s:
        begin_s = world.schedule.now_s
        world.schedule.run(begin_s + QUIET_S)
        if world.last_message_s < begin_s:
            return True
    return False


# --- what is judged --------------------------------------------------------------------------


def _lost(world: OplogWorld, stored: set[str]) -> Iterator[str]:
    """Yield which nodes lack an operation that any of them has stored."""
    digests = {read_operation_json(text).signed_digest for text in stored}
    for node in world.nodes.values():
        missing = digests - node.hub.replica.received
        if missing:
            yield f"n{node.number} lacks {len(missing)} of {len(digests)} operations"
        if set(node.disk) != {entry.text for entry in node.hub.log}:
            yield f"n{node.number} has stored other operations than it has applied"


def _differing(world: OplogWorld, problems: list[str]) -> Iterator[str]:
    """Yield what differs in a tie; what differs otherwise is a problem."""
    nodes = list(world.nodes.values())
    first = next((node for node in nodes if node.number not in world.deployed), nodes[0])
    inner = [read_operation_json(entry.text).inner for entry in first.hub.log]
    writes, is_order_tied = _writes(inner), _has_tied_siblings(inner)
    for node in nodes:
        is_deployed = bool({node.number, first.number} & world.deployed)
        if node.items != first.items:
            if sorted(node.items) != sorted(first.items):
                problems.append(f"n{node.number} shows other items than n{first.number}")
                continue
            if not (is_deployed and is_order_tied):
                problems.append(f"n{node.number} orders items otherwise than n{first.number}")
            else:
                yield f"order at n{node.number}"
        for item, name in product(node.items, FIELDS):
            if _value(node, item, name) == _value(first, item, name):
                continue
            if is_deployed and _is_tied(writes[item, name]):
                yield f"{name} at n{node.number}"
            else:
                problems.append(f"n{node.number} and n{first.number} differ in {name}")


def _writes(operations: list[Operation]) -> dict[tuple[bytes, str], list[Operation]]:
    """Return the writes of each field of each item."""
    found: dict[tuple[bytes, str], list[Operation]] = defaultdict(list)
    for inner in operations:
        match inner.path:
            case (_, bytes() as item, str() as name, _):
                found[item, name].append(inner)
    return found


def _has_tied_siblings(operations: list[Operation]) -> bool:
    """Return True if an author has inserted two items behind one with one sequence."""
    names = [
        (inner.origin, inner.author, inner.sequence)
        for inner in operations
        if len(inner.path) == ITEM_DEPTH and not inner.is_deleted
    ]
    return len(set(names)) < len(names)


def _is_tied(writes: list[Operation]) -> bool:
    """Return True if the first of the writes are several, by sequence and inner author."""
    ranked = sorted(writes, key=lambda one: (-one.sequence, one.author))
    return len(ranked) > 1 and (ranked[0].sequence, ranked[0].author) == (
        ranked[1].sequence,
        ranked[1].author,
    )


def _value(node: OplogHost, item: bytes, name: str) -> JsonValue:
    items = node.hub.replica.document.fields["items"]
    assert isinstance(items, ListNode)
    struct = items.elements[item].node
    assert isinstance(struct, StructNode)
    return struct.fields[name].view()


# --- steps -----------------------------------------------------------------------------------


def _edit(world: OplogWorld, step: PlanStep) -> None:
    node = world.nodes[step.node]
    if node.is_up:
        node.edit(step.amount, step.number)
        world.record.count("step", "edit")


def _delete(world: OplogWorld, step: PlanStep) -> None:
    node = world.nodes[step.node]
    if node.is_up:
        node.delete(step.amount)
        world.record.count("step", "delete")


def _delay(world: OplogWorld, step: PlanStep) -> None:
    side = world.side_between(step.node, step.other)
    if side is None:
        return
    side.delay_s = 1.0 if step.kind is StepKind.DELAY else 8.0
    world.note_fault(step.kind)

    def end() -> None:
        side.delay_s = 0.0

    world.schedule.after(1 + step.amount * (FAULT_S - 1), end)


def _disconnect(world: OplogWorld, step: PlanStep) -> None:
    side = world.side_between(step.node, step.other)
    if side is not None:
        world.note_fault(step.kind)
        side.link.cut()


def _flap(world: OplogWorld, step: PlanStep) -> None:
    for ends, kept in world.kept.items():
        if set(ends) == {step.node, step.other}:
            kept.short_lives = 1 + int(step.amount * FLAPS_MAX)
            if kept.link is not None:
                kept.link.cut(at_once=True)


def _divide(world: OplogWorld, step: PlanStep) -> None:
    group = split_off(world, step)
    for ends, kept in world.kept.items():
        if kept.link is not None and len(group & set(ends)) == 1:
            kept.link.cut()


def _crash(world: OplogWorld, step: PlanStep) -> None:
    world.end_node(world.nodes[step.node], step.kind, 0.1 + step.amount * FAULT_S / 2)


def _crash_at_commit(world: OplogWorld, step: PlanStep) -> None:
    world.nodes[step.node].crash_at_commit()


def _attack(world: OplogWorld, step: PlanStep) -> None:
    """Let a peer send what breaks a rule, as an operation with the sequence of another one.

    To a strict node also a forged copy.
    """
    side = world.side_between(step.node, step.other)
    if side is None or not world.nodes[step.node].is_up:
        return
    world.note_fault(step.kind)
    node = world.nodes[step.node]
    send(side, BAD_MESSAGES[step.number % len(BAD_MESSAGES)])
    # OP-029, OP-032
    unsaid = node.contradict(step.amount, step.number)
    send(side, encode_live(operation_json(unsaid)))
    world.record.count("author", "contradicts itself")
    if node.hub.durable and step.other not in world.deployed and not world.deployed:
        genuine = node.hub.log[int(step.amount * node.hub.durable)].text
        send(side, f'{{"v":1,"op":{_forged(read_operation_json(genuine))}}}'.encode())


def _forged(signed: SignedOperation) -> str:
    """Return an operation with another sequence under the signature of the genuine one."""
    text = operation_json(signed)
    return text.replace(f'"seq":{signed.inner.sequence}', f'"seq":{signed.inner.sequence + 1}', 1)


STEPS: Final[dict[StepKind, Callable[[OplogWorld, PlanStep], None]]] = {
    StepKind.EDIT: _edit,
    StepKind.LOCAL_EDIT: _edit,
    StepKind.DEPLOYED_EDIT: _edit,
    StepKind.DELETE: _delete,
    StepKind.LOCAL_DELETE: _delete,
    StepKind.DELAY: _delay,
    StepKind.SLOW: _delay,
    StepKind.DISCONNECT: _disconnect,
    StepKind.FLAP: _flap,
    StepKind.PARTITION: _divide,
    StepKind.CRASH: _crash,
    StepKind.CRASH_COMMIT: _crash_at_commit,
    StepKind.STORE_FAILURE: _crash,
    StepKind.HOSTILE: _attack,
}
"""How each step is carried out; a node whose store fails ends, and starts again."""
