"""The nodes of a run and their connections, and what the network takes note of.

Each pair of nodes that the plan links is kept connected by the first of the two, as by the dialler
of a node. At every node an application writes. A node that has crashed starts again after a while.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from random import Random
from typing import Final

from meshwire_reference.core.formation import FormationKey
from meshwire_reference.core.inputs import ConnectionOpened
from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.node.dialler import Backoff
from meshwire_reference.simulation.deployed import POLL_S, DeployedPeer
from meshwire_reference.simulation.links import STREAM_STEP, UNI, Host, Side, SimulatedLink
from meshwire_reference.simulation.node import SimulatedNode
from meshwire_reference.simulation.plan import DELETES, Plan, PlanStep, StepKind
from meshwire_reference.simulation.record import RunRecord
from meshwire_reference.simulation.schedule import START_S, Schedule
from meshwire_reference.simulation.visitor import ACKNOWLEDGED, Visitor
from meshwire_reference.store.base import new_identity
from meshwire_reference.wire.frames import FrameReader
from meshwire_spec.numbers import LAB_MAX_STREAMS

REDIAL_MAX_S: Final = 8.0
HEARTBEAT_S: Final = 20.0
SECRET_TEXT: Final = b"a secret of thirty-two bytes ..."
STRANGERS_EVERY: Final = 4
"""Of this number of seeds in a row one has nodes that are not configured as own ones."""
ROOMY: Final = Settings(Dialect.OPEN, heartbeat_s=HEARTBEAT_S)
TIGHT: Final = replace(
    ROOMY,
    answer_bytes_max=200,
    all_answer_bytes_max=300,
    inbound_bytes_max=3000,
    inbound_share_bytes=500,
)
"""The settings of a node that may hold the bytes of a few messages alone."""
BEGINNING_S: Final = 0.08
"""Greatest age of a connection that is lost while it begins."""
RECENT_S: Final = 30.0
"""Age up to which the writes of a node are looked at after a crash."""


@dataclass(slots=True)
class Dialling:
    """What keeps two nodes connected."""

    backoff: Backoff
    link: SimulatedLink | None = None
    since_s: float = 0.0
    ordinal: int = 0
    is_due: bool = False
    in_other_dialect: bool = False
    """True if the next connection begins in the dialect that is not the configured one."""
    short_lives: int = 0
    """How many of the next connections are lost while they begin."""
    has_lost: bool = False
    """True if something was lost on the connection, or on an earlier one, without a word."""


@dataclass(slots=True)
class Outcome:
    """What a run has left, besides what its nodes hold."""

    acknowledged: list[PlanStep] = field(default_factory=list)
    lost: list[PlanStep] = field(default_factory=list)
    """Steps that were acknowledged just before a crash, and were gone after it."""
    unheard: list[str] = field(default_factory=list)
    """What is wrong with the deployed peer."""
    exceeded: list[str] = field(default_factory=list)
    """Budgets that a node has exceeded."""
    rounds: int = 0
    is_silent: bool = False


class World:
    """What the run of one plan is about; `simulation.course` carries it out."""

    def __init__(self, plan: Plan, record: RunRecord) -> None:
        self.plan = plan
        self.record = record
        self.outcome = Outcome()
        self.schedule = Schedule()
        is_open = not plan.dialects
        self.key = None if is_open else FormationKey.derive("simulated", SECRET_TEXT)
        self.nodes = {
            number: SimulatedNode(
                number,
                self.chance("node", number),
                self.schedule,
                record,
                self.settings(number),
                self.key,
            )
            for number in plan.nodes
        }
        self.visitors = {
            number: Visitor(number, self.chance("visitor", number), self._note_write)
            for number in plan.nodes
        }
        self.dialled = {
            ends: Dialling(Backoff(self.chance("backoff", *ends).random, REDIAL_MAX_S))
            for ends in plan.links
        }
        self.deployed_peer = DeployedPeer(self.chance("deployed"))
        self._numbers = count(1)
        self._owners: dict[int, tuple[int, int]] = {}
        self.groups: list[frozenset[int]] = []
        """Nodes that a partition keeps apart from all others."""
        self._steps = {step.number: step for step in plan.steps}
        self.last_frame_s = 0.0
        self.largest = 0
        """Bytes of the largest message so far."""
        self.counts_rounds = False
        """True once the last fault is over."""
        self._rounds: Counter[tuple[int, str]] = Counter()
        self._under_way: dict[tuple[int, int], list[tuple[str, int]]] = {}

    def chance(self, *what: object) -> Random:
        """Return the source of numbers of a part of the run, whatever the other parts do."""
        return Random(f"{self.plan.seed} {what}")  # noqa: S311 - a seed, no secret

    def settings(self, number: int) -> Settings:
        """Return the settings of a node."""
        plan = self.plan
        others = frozenset(self._endpoint_id(peer).hex() for peer in plan.nodes if peer != number)
        return replace(
            TIGHT if plan.is_tight else ROOMY,
            dialect=plan.dialects[number] if plan.dialects else Dialect.OPEN,
            detects=bool(plan.dialects),
            payload_cap=plan.payload_cap,
            heads_peers=others if plan.compares_heads else frozenset(),
            own_peers=others if plan.seed % STRANGERS_EVERY else frozenset(),
        )

    def _endpoint_id(self, number: int) -> bytes:
        """Return the endpoint id of a node, which need not exist yet."""
        return new_identity(self.chance("node", number).randbytes).endpoint_id

    def skews(self) -> list[int]:
        """Return how far the clock of each node is off at the start, in milliseconds."""
        skews = self.plan.skews_ms
        return [skews[number] if number < len(skews) else 0 for number in self.plan.nodes]

    # --- nodes --------------------------------------------------------------------------------

    def start(self, number: int) -> None:
        """Start a node, and the application at it, and let it dial."""
        node = self.nodes[number]
        node.on_closed = self._note_closed
        node.on_operation = self._note_write
        node.on_other_dialect = self._note_other_dialect
        node.start()
        if not self.plan.dialects:
            self._connect_visitor(number)
        for ends in self.dialled:
            if ends[0] == number:
                self._dial_after(ends, 0.0)

    def end_node(self, node: SimulatedNode, why: StepKind, wait_s: float) -> None:
        """Crash a node, and start it again after a while."""
        if not node.is_up:
            return
        self.note_fault(why)
        node.crash()
        for ends, dialling in self.dialled.items():
            if ends[0] == node.number:
                dialling.link = None
        self._owners = {n: ends for n, ends in self._owners.items() if ends[0] != node.number}

        def restart() -> None:
            if not node.is_up:
                self._note_lost(node)
                self.start(node.number)

        self.schedule.after(wait_s, restart)

    def _note_lost(self, node: SimulatedNode) -> None:
        """Note which of the last writes that a node has acknowledged its disk does not have."""
        since_s = self.schedule.now_s - START_S - 1 - RECENT_S
        stored = node.stored_tombstones()
        for step in self.outcome.acknowledged:
            if step.node != node.number or step.at_s < since_s or step.key in stored:
                continue
            if step.kind in DELETES or f"e{step.number}" not in node.fields(step.key):
                self.outcome.lost.append(step)

    def _note_write(self, number: int, how: str) -> None:
        step = self._steps[number]
        self.record.count(str(step.kind), how)
        self.record.note(self.schedule.now_s, f"n{step.node}", f"{step.kind} {number} {how}")
        if how == ACKNOWLEDGED:
            self.outcome.acknowledged.append(step)

    # --- connections -------------------------------------------------------------------------

    def _connect_visitor(self, number: int) -> None:
        visitor, node = self.visitors[number], self.nodes[number]
        chance = self.chance("visit", number, self.schedule.happened)
        one, other = next(self._numbers), next(self._numbers)
        link = SimulatedLink(
            self.schedule, self, chance, ((visitor, one), (node, other)), (LAB_MAX_STREAMS, 0)
        )
        visitor.side, node.sides[other] = link.sides
        node.feed(ConnectionOpened(other, visitor.peer_id, dialled=False))

    def poll(self) -> None:
        """Let the deployed peer offer its documents, and dial again if it has to."""
        peer, number = self.deployed_peer, self.plan.deployed_at
        if number is None or self.counts_rounds:
            return
        node = self.nodes[number]
        if peer.side is None and node.is_up:
            one, other = next(self._numbers), next(self._numbers)
            chance = self.chance("deployed link", one)
            link = SimulatedLink(self.schedule, self, chance, ((peer, one), (node, other)))
            side, node.sides[other] = link.sides
            peer.attach(side)
            node.feed(ConnectionOpened(other, peer.peer_id, dialled=False))
        peer.poll()
        self.schedule.after(POLL_S, self.poll)

    def _dial_after(self, ends: tuple[int, int], wait_s: float) -> None:
        dialling = self.dialled[ends]
        if dialling.is_due:
            return
        dialling.is_due = True

        def dial() -> None:
            dialling.is_due = False
            if dialling.link is None and self.nodes[ends[0]].is_up:
                self._dial(ends, dialling)

        self.schedule.after(wait_s, dial)

    def _dial(self, ends: tuple[int, int], dialling: Dialling) -> None:
        one, other = (self.nodes[number] for number in ends)
        if not other.is_up or any(len(group & set(ends)) == 1 for group in self.groups):
            self.record.count("dial", "unreachable")
            self._dial_after(ends, dialling.backoff.after(0.0))
            return
        self.record.count("dial", "connected")
        dialling.ordinal += 1
        in_other, dialling.in_other_dialect = dialling.in_other_dialect, False
        numbers = next(self._numbers), next(self._numbers)
        chance = self.chance("link", *ends, dialling.ordinal)
        hosts: tuple[tuple[Host, int], tuple[Host, int]] = (one, numbers[0]), (other, numbers[1])
        link = SimulatedLink(self.schedule, self, chance, hosts)
        dialling.link, dialling.since_s, dialling.has_lost = link, self.schedule.now_s, False
        self._owners[numbers[0]] = ends
        one.sides[numbers[0]], other.sides[numbers[1]] = link.sides
        other.feed(ConnectionOpened(numbers[1], one.identity.endpoint_id, dialled=False))
        one.feed(
            ConnectionOpened(
                numbers[0],
                other.identity.endpoint_id,
                dialled=True,
                reconciles=self.plan.reconciles,
                in_other_dialect=in_other,
            )
        )
        if dialling.short_lives and link is dialling.link:
            dialling.short_lives -= 1
            self.note_fault(StepKind.FLAP)
            self.schedule.after(chance.random() * BEGINNING_S, partial(link.cut, at_once=True))

    def _note_closed(self, number: int) -> None:
        """Dial again where the side that has dialled has learnt of the end."""
        ends = self._owners.pop(number, None)
        if ends is None:
            return
        dialling = self.dialled[ends]
        dialling.link = None
        stood_s = self.schedule.now_s - dialling.since_s
        # HS-065: at once, before the next attempt in the configured one.
        wait_s = 0.0 if dialling.in_other_dialect else dialling.backoff.after(stood_s)
        self._dial_after(ends, wait_s)

    def _note_other_dialect(self, number: int) -> None:
        """Dial the next time in the other dialect, if that is not what was just tried."""
        ends = self._owners.get(number)
        if ends is not None:
            self.dialled[ends].in_other_dialect = True

    def links_of(self, number: int) -> Iterator[Dialling]:
        """Return what keeps a node connected with others."""
        return (one for ends, one in self.dialled.items() if number in ends)

    def side_between(self, step: PlanStep) -> Side | None:
        """Return the side of the node of a step, on its connection with the other node."""
        for ends in ((step.node, step.other), (step.other, step.node)):
            dialling = self.dialled.get(ends)
            if dialling is not None and dialling.link is not None:
                return dialling.link.sides[ends.index(step.node)]
        return None

    # --- what the network takes note of ------------------------------------------------------

    def note_fault(self, kind: StepKind) -> None:
        """Count a fault that has taken effect."""
        self.record.count("fault", kind)

    def note_loss(self, link: SimulatedLink) -> None:
        """Remember that something was lost on a connection without a word."""
        for dialling in self.dialled.values():
            if dialling.link is link:
                dialling.has_lost = True

    def note_sent(self, side: Side, stream: int, data: bytes) -> None:
        """Count the rounds that a frame continues."""
        if stream % STREAM_STEP >= UNI or not data:
            return
        self.last_frame_s = self.schedule.now_s
        self.largest = max(self.largest, len(data))
        if not self.counts_rounds:
            return
        keys = [frame.key for frame in FrameReader().feed(data)]
        caused = [(key, self._rounds[id(side.host), key] + 1) for key in keys]
        self._under_way.setdefault((id(side.link), stream), []).extend(caused)

    def note_arrival(self, side: Side, stream: int, data: bytes) -> None:
        """Note in which round frames arrive."""
        if not self.counts_rounds:
            return
        for key, rounds in self._under_way.pop((id(side.link), stream), ()):
            place = id(side.host), key
            self._rounds[place] = max(self._rounds[place], rounds)
            self.outcome.rounds = max(self.outcome.rounds, rounds)
