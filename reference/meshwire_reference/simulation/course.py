"""The course of a run: the steps of its plan, and the time after the last fault.

Theory of operation. When the last step is over everything heals: no partition is left, every node
is up, clocks are as at the start. The run waits until no frame is sent any more. Then each
connection on which something was lost without a word is lost itself, since nothing else makes that
good, and the run waits once more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from meshwire_reference.simulation.node import SimulatedNode
from meshwire_reference.simulation.plan import PlanStep
from meshwire_reference.simulation.schedule import START_S
from meshwire_reference.simulation.steps import FAULT_S, STEPS
from meshwire_reference.simulation.world import World
from meshwire_spec.numbers import NEGENTROPY_FRAME_LIMIT

DEPLOYED_S: Final = 16.0
"""Seconds after the last fault in which a deployed peer must have got everything across."""
QUIET_S: Final = 20.0
"""Seconds without a frame after which a run is silent: more than any wait before an answer."""
RESTS_MAX: Final = 6
"""Half seconds in which a silent run has no stream in use at some time."""
SETTLE_MAX_S: Final = 300.0
"""Seconds after which a run that is not silent never will be."""
ROUNDS_MAX: Final = 60
"""Greatest number of frames about one key of which each was caused by the one before."""


def run(world: World) -> None:
    """Carry out the plan, and wait until it is silent."""
    for number, skew_ms in zip(world.plan.nodes, world.skews(), strict=True):
        world.nodes[number].skew_ms = skew_ms
        world.start(number)
    if world.plan.deployed_at is not None:
        world.schedule.after(1.0, world.poll)
    for step in world.plan.steps:
        world.schedule.at(START_S + 1 + step.at_s, _step(world, step))
    last_s = max((step.at_s for step in world.plan.steps), default=0.0)
    world.schedule.run(START_S + 1 + last_s + FAULT_S)
    _heal(world)
    _end_deployed(world)
    world.counts_rounds = True
    _settle(world)
    if world.outcome.is_silent:
        _make_good(world)
        _settle(world)
    for node in world.nodes.values():
        world.record.count_statistics(node.core.statistics)


def _step(world: World, step: PlanStep) -> Callable[[], None]:
    def act() -> None:
        world.record.note(world.schedule.now_s, f"n{step.node}", f"step {step.kind}")
        STEPS[step.kind](world, step)
        _check_budgets(world, world.nodes[step.node])

    return act


def _check_budgets(world: World, node: SimulatedNode) -> None:
    """Note if a node holds more bytes than its budgets allow.

    Each connection may have one message beyond them, whatever its size, and answers of runs.
    """
    now, settings = node.core.outstanding, world.settings(node.number)
    # What is being made counts as much as its document has, also before that is on the disk.
    core, stored = node.core, node.disk.contents(node.identity).sizes
    sizes = (core.size_of(key) or 0 for key in core.keys)
    largest = max((world.largest, *stored.values(), *sizes))
    beyond = now.sessions * largest
    for name, held, most in (
        (
            "made",
            now.outbound_bytes - node.core.run_answers * NEGENTROPY_FRAME_LIMIT,
            settings.all_answer_bytes_max,
        ),
        ("received", now.inbound_bytes, settings.inbound_bytes_max),
    ):
        if held > most + beyond:
            world.outcome.exceeded.append(f"{node.name} holds {held} bytes that were {name}")


def _heal(world: World) -> None:
    """End every fault."""
    world.groups.clear()
    for number, skew_ms in zip(world.plan.nodes, world.skews(), strict=True):
        node = world.nodes[number]
        node.heal()
        node.skew_ms = skew_ms
        if not node.is_up:
            world.start(number)
        world.visitors[number].leave()
    for dialling in world.dialled.values():
        link = dialling.link
        dialling.short_lives = 0
        if link is not None:
            for side in link.sides:
                side.faults.clear()
                side.delay_s = 0.0


def _end_deployed(world: World) -> None:
    """Let a deployed peer say all that it has to say, judge it, and let it leave."""
    if world.plan.deployed_at is None:
        return
    world.schedule.run(world.schedule.now_s + DEPLOYED_S)
    peer, node = world.deployed_peer, world.nodes[world.plan.deployed_at]
    if peer.is_broken:
        world.outcome.unheard.append("it sends nothing more for good")
    buried = node.stored_tombstones()
    for key in peer.keys:
        if key not in buried and peer.heads(key) != node.heads(key):
            world.outcome.unheard.append(f"it holds another {key} than {node.name}")
    peer.leave()


def _make_good(world: World) -> None:
    """Lose each connection on which something was lost without a word."""
    for dialling in world.dialled.values():
        if dialling.link is not None and dialling.has_lost:
            dialling.link.cut(at_once=True)


def _settle(world: World) -> None:
    """Run until nothing has been sent for a while."""
    world.outcome.is_silent = False
    began_s = world.last_frame_s = world.schedule.now_s
    while world.schedule.now_s - began_s < SETTLE_MAX_S and world.outcome.rounds <= ROUNDS_MAX:
        world.schedule.run(world.schedule.now_s + 1.0)
        are_up = all(one.link is not None for one in world.dialled.values())
        if are_up and world.schedule.now_s - world.last_frame_s > QUIET_S:
            world.outcome.is_silent = True
            _rest(world)
            return


def _rest(world: World) -> None:
    """Let a heartbeat that is under way end."""
    for _ in range(RESTS_MAX):
        if not any(one.link is not None and one.link.streams for one in world.dialled.values()):
            return
        world.schedule.run(world.schedule.now_s + 0.5)
