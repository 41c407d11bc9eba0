"""One run: the nodes of a plan, their connections, its steps, and the time after the last fault.

Theory of operation. Each pair of nodes that the plan links is kept connected by the first of the
two, as by the dialler of a node. At every node an application writes. When the last step is over
everything heals: no partition is left, every node is up, clocks are as at the start. The run waits
until no frame is sent any more. Then each connection on which something was lost without a word is
lost itself, since nothing else makes that good, and the run waits once more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from random import Random
from typing import Final

from meshwire_reference.core.document_calls import Edit, Scalar
from meshwire_reference.core.formation import FormationKey
from meshwire_reference.core.inputs import ConnectionOpened, Deletion, LocalOperation
from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.node.dialler import Backoff
from meshwire_reference.simulation.deployed import POLL_S, DeployedPeer
from meshwire_reference.simulation.links import STREAM_STEP, UNI, Host, Side, SimulatedLink
from meshwire_reference.simulation.node import SimulatedNode
from meshwire_reference.simulation.plan import DELETES, Plan, PlanStep, StepKind
from meshwire_reference.simulation.record import RunRecord
from meshwire_reference.simulation.schedule import START_S, Schedule
from meshwire_reference.simulation.visitor import ACKNOWLEDGED, TEXT_MAX, Visitor
from meshwire_reference.store.base import new_identity
from meshwire_reference.wire.frames import FrameReader
from meshwire_spec.numbers import LAB_MAX_STREAMS

REDIAL_MAX_S: Final = 8.0
HEARTBEAT_S: Final = 20.0
FAULT_S: Final = 12.0
"""Greatest duration of a fault that lasts."""
QUIET_S: Final = 20.0
"""Seconds without a frame after which a run is silent: more than any wait before an answer."""
SECRET_TEXT: Final = b"a secret of thirty-two bytes ..."
DEPLOYED_S: Final = 16.0
"""Seconds after the last fault in which a deployed peer must have got everything across."""
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
FLAPS_MAX: Final = 6
RESTS_MAX: Final = 6
"""Half seconds in which a silent run has no stream in use at some time."""
RECENT_S: Final = 30.0
"""Age up to which the writes of a node are looked at after a crash."""
SETTLE_MAX_S: Final = 300.0
"""Seconds after which a run that is not silent never will be."""
ROUNDS_MAX: Final = 60
"""Greatest number of frames about one key of which each was caused by the one before."""
CLOCK_STEP_MAX_MS: Final = 600_000
READING_SHARE: Final = 0.5
"""Share of the edits before which the application reads the document."""
GROUP_SHARE: Final = 0.4
"""Share of the nodes that a partition keeps with the one that it is about."""


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
    """The run of one plan."""

    def __init__(self, plan: Plan, record: RunRecord) -> None:
        self.plan = plan
        self.record = record
        self.outcome = Outcome()
        self.schedule = Schedule()
        is_open = not plan.dialects
        self._key = None if is_open else FormationKey.derive("simulated", SECRET_TEXT)
        self.nodes = {
            number: SimulatedNode(
                number,
                self._chance("node", number),
                self.schedule,
                record,
                self._settings(number),
                self._key,
            )
            for number in plan.nodes
        }
        self.visitors = {
            number: Visitor(number, self._chance("visitor", number), self._note_write)
            for number in plan.nodes
        }
        self.dialled = {
            ends: Dialling(Backoff(self._chance("backoff", *ends).random, REDIAL_MAX_S))
            for ends in plan.links
        }
        self.deployed_peer = DeployedPeer(self._chance("deployed"))
        self._numbers = count(1)
        self._owners: dict[int, tuple[int, int]] = {}
        self._groups: list[frozenset[int]] = []
        self._steps = {step.number: step for step in plan.steps}
        self._last_frame_s = 0.0
        self._largest = 0
        self._counts_rounds = False
        self._rounds: Counter[tuple[int, str]] = Counter()
        self._under_way: dict[tuple[int, int], list[tuple[str, int]]] = {}

    def _chance(self, *what: object) -> Random:
        """Return the source of numbers of a part of the run, whatever the other parts do."""
        return Random(f"{self.plan.seed} {what}")  # noqa: S311 - a seed, no secret

    def _settings(self, number: int) -> Settings:
        plan = self.plan
        return replace(
            TIGHT if plan.is_tight else ROOMY,
            dialect=plan.dialects[number] if plan.dialects else Dialect.OPEN,
            detects=bool(plan.dialects),
            payload_cap=plan.payload_cap,
            heads_peers=frozenset(
                self._endpoint_id(peer).hex()
                for peer in plan.nodes
                if plan.compares_heads and peer != number
            ),
        )

    def _endpoint_id(self, number: int) -> bytes:
        """Return the endpoint id of a node, which need not exist yet."""
        return new_identity(self._chance("node", number).randbytes).endpoint_id

    # --- the run -----------------------------------------------------------------------------

    def run(self) -> None:
        """Carry out the plan, and wait until it is silent."""
        for number, skew_ms in zip(self.plan.nodes, self._skews(), strict=True):
            self.nodes[number].skew_ms = skew_ms
            self._start(number)
        if self.plan.deployed_at is not None:
            self.schedule.after(1.0, self._poll)
        for step in self.plan.steps:
            self.schedule.at(START_S + 1 + step.at_s, self._step(step))
        last_s = max((step.at_s for step in self.plan.steps), default=0.0)
        self.schedule.run(START_S + 1 + last_s + FAULT_S)
        self._heal()
        self._end_deployed()
        self._counts_rounds = True
        self._settle()
        if self.outcome.is_silent:
            self._make_good()
            self._settle()
        for node in self.nodes.values():
            self.record.count_statistics(node.core.statistics)

    def _skews(self) -> list[int]:
        skews = self.plan.skews_ms
        return [skews[number] if number < len(skews) else 0 for number in self.plan.nodes]

    def _step(self, step: PlanStep) -> Callable[[], None]:
        def act() -> None:
            self.record.note(self.schedule.now_s, f"n{step.node}", f"step {step.kind}")
            STEPS[step.kind](self, step)
            self._check_budgets(self.nodes[step.node])

        return act

    def _check_budgets(self, node: SimulatedNode) -> None:
        """Note if a node holds more bytes than its budgets allow.

        Each connection may have one message beyond them, whatever its size.
        """
        now, settings = node.core.outstanding, self._settings(node.number)
        # What is being made counts as much as its document has on the disk.
        largest = max((self._largest, *node.disk.contents(node.identity).sizes.values()))
        beyond = now.sessions * largest
        for name, held, most in (
            ("made", now.outbound_bytes, settings.all_answer_bytes_max),
            ("received", now.inbound_bytes, settings.inbound_bytes_max),
        ):
            if held > most + beyond:
                self.outcome.exceeded.append(f"{node.name} holds {held} bytes that were {name}")

    def _heal(self) -> None:
        """End every fault."""
        self._groups.clear()
        for number, skew_ms in zip(self.plan.nodes, self._skews(), strict=True):
            node = self.nodes[number]
            node.heal()
            node.skew_ms = skew_ms
            if not node.is_up:
                self._start(number)
            self.visitors[number].leave()
        for dialling in self.dialled.values():
            link = dialling.link
            dialling.short_lives = 0
            if link is not None:
                for side in link.sides:
                    side.faults.clear()
                    side.delay_s = 0.0

    def _end_deployed(self) -> None:
        """Let a deployed peer say all that it has to say, judge it, and let it leave."""
        if self.plan.deployed_at is None:
            return
        self.schedule.run(self.schedule.now_s + DEPLOYED_S)
        peer, node = self.deployed_peer, self.nodes[self.plan.deployed_at]
        if peer.is_broken:
            self.outcome.unheard.append("it sends nothing more for good")
        buried = node.stored_tombstones()
        for key in peer.keys:
            if key not in buried and peer.heads(key) != node.heads(key):
                self.outcome.unheard.append(f"it holds another {key} than {node.name}")
        peer.leave()

    def _poll(self) -> None:
        """Let the deployed peer offer its documents, and dial again if it has to."""
        peer, number = self.deployed_peer, self.plan.deployed_at
        if number is None or self._counts_rounds:
            return
        node = self.nodes[number]
        if peer.side is None and node.is_up:
            one, other = next(self._numbers), next(self._numbers)
            chance = self._chance("deployed link", one)
            link = SimulatedLink(self.schedule, self, chance, ((peer, one), (node, other)))
            side, node.sides[other] = link.sides
            peer.attach(side)
            node.feed(ConnectionOpened(other, peer.peer_id, dialled=False))
        peer.poll()
        self.schedule.after(POLL_S, self._poll)

    def _make_good(self) -> None:
        """Lose each connection on which something was lost without a word."""
        for dialling in self.dialled.values():
            if dialling.link is not None and dialling.has_lost:
                dialling.link.cut(at_once=True)

    def _settle(self) -> None:
        """Run until nothing has been sent for a while."""
        self.outcome.is_silent = False
        began_s = self._last_frame_s = self.schedule.now_s
        while self.schedule.now_s - began_s < SETTLE_MAX_S and self.outcome.rounds <= ROUNDS_MAX:
            self.schedule.run(self.schedule.now_s + 1.0)
            are_up = all(one.link is not None for one in self.dialled.values())
            if are_up and self.schedule.now_s - self._last_frame_s > QUIET_S:
                self.outcome.is_silent = True
                self._rest()
                return

    def _rest(self) -> None:
        """Let a heartbeat that is under way end."""
        for _ in range(RESTS_MAX):
            if not any(one.link is not None and one.link.streams for one in self.dialled.values()):
                return
            self.schedule.run(self.schedule.now_s + 0.5)

    # --- connections -------------------------------------------------------------------------

    def _start(self, number: int) -> None:
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

    def _connect_visitor(self, number: int) -> None:
        visitor, node = self.visitors[number], self.nodes[number]
        chance = self._chance("visit", number, self.schedule.happened)
        one, other = next(self._numbers), next(self._numbers)
        link = SimulatedLink(
            self.schedule, self, chance, ((visitor, one), (node, other)), (LAB_MAX_STREAMS, 0)
        )
        visitor.side, node.sides[other] = link.sides
        node.feed(ConnectionOpened(other, visitor.peer_id, dialled=False))

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
        if not other.is_up or any(len(group & set(ends)) == 1 for group in self._groups):
            self.record.count("dial", "unreachable")
            self._dial_after(ends, dialling.backoff.after(0.0))
            return
        self.record.count("dial", "connected")
        dialling.ordinal += 1
        in_other, dialling.in_other_dialect = dialling.in_other_dialect, False
        numbers = next(self._numbers), next(self._numbers)
        chance = self._chance("link", *ends, dialling.ordinal)
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

    def _links_of(self, number: int) -> Iterator[Dialling]:
        return (one for ends, one in self.dialled.items() if number in ends)

    def _side_between(self, step: PlanStep) -> Side | None:
        """Return the side of the node of a step, on its connection with the other node."""
        for ends in ((step.node, step.other), (step.other, step.node)):
            dialling = self.dialled.get(ends)
            if dialling is not None and dialling.link is not None:
                return dialling.link.sides[ends.index(step.node)]
        return None

    # --- steps -------------------------------------------------------------------------------

    def edit(self, step: PlanStep) -> None:
        """Let the application of a node write a field."""
        node, visitor = self.nodes[step.node], self.visitors[step.node]
        if not node.is_up or visitor.side is None:
            self.record.count("edit", "no node")
            return
        has_read = self.plan.has_large_documents and step.amount < READING_SHARE
        stored = node.disk.read(step.key) if has_read else None
        if not visitor.edit(step.number, step.key, step.amount, stored, self.plan.payload_cap):
            self.record.count("edit", "above the cap")

    def delete(self, step: PlanStep) -> None:
        """Let the application of a node delete a document."""
        node, visitor = self.nodes[step.node], self.visitors[step.node]
        if node.is_up and visitor.side is not None:
            visitor.delete(step.number, step.key, node.now.wall_ms)
        else:
            self.record.count("delete", "no node")

    def edit_locally(self, step: PlanStep) -> None:
        """Let the user of a node write a field."""
        text = "y" * int(step.amount * TEXT_MAX)
        fields: dict[str, Scalar] = {f"e{step.number}": text, "by": step.node}
        self._operate(step, Edit(step.key, dict(fields)))

    def delete_locally(self, step: PlanStep) -> None:
        """Let the user of a node delete a document."""
        self._operate(step, Deletion(step.key, f"u{step.node}"))

    def _operate(self, step: PlanStep, operation: Edit | Deletion) -> None:
        node = self.nodes[step.node]
        if node.is_up:
            node.feed(LocalOperation(step.number, operation))
        else:
            self.record.count(str(step.kind), "no node")

    def edit_deployed(self, step: PlanStep) -> None:
        """Let a deployed peer write a field."""
        self.deployed_peer.edit(step.number, step.key)
        self.record.count(str(step.kind), ACKNOWLEDGED)

    def attack(self, step: PlanStep) -> None:
        """Let the application of a node break a rule."""
        visitor = self.visitors[step.node]
        if self.nodes[step.node].is_up and visitor.side is not None:
            self.note_fault(step.kind)
            self.record.count("hostile", visitor.attack(step.amount))

    def _note_write(self, number: int, how: str) -> None:
        step = self._steps[number]
        self.record.count(str(step.kind), how)
        self.record.note(self.schedule.now_s, f"n{step.node}", f"{step.kind} {number} {how}")
        if how == ACKNOWLEDGED:
            self.outcome.acknowledged.append(step)

    def meet_streams(self, step: PlanStep) -> None:
        """Let a fault meet the next streams of a node on one connection."""
        side = self._side_between(step)
        if side is not None:
            side.faults.extend([step.kind] * (1 + int(step.amount * 3)))

    def delay(self, step: PlanStep) -> None:
        """Let the streams of a node on one connection be late for a while, each by another time."""
        side = self._side_between(step)
        if side is None:
            return
        side.delay_s = 1.0 if step.kind is StepKind.DELAY else 8.0
        self.note_fault(step.kind)

        def end() -> None:
            side.delay_s = 0.0

        self.schedule.after(1 + step.amount * (FAULT_S - 1), end)

    def disconnect(self, step: PlanStep) -> None:
        """Lose the connection of two nodes."""
        side = self._side_between(step)
        if side is not None:
            self.note_fault(step.kind)
            side.link.cut()

    def flap(self, step: PlanStep) -> None:
        """Lose the connection of two nodes, and the next ones too while they begin."""
        side = self._side_between(step)
        for ends, dialling in self.dialled.items():
            if set(ends) == {step.node, step.other}:
                dialling.short_lives = 1 + int(step.amount * FLAPS_MAX)
        if side is not None:
            side.link.cut(at_once=True)

    def divide(self, step: PlanStep) -> None:
        """Keep some nodes and the others apart for a while."""
        chance = self._chance("partition", step.number)
        group = frozenset(
            n for n in self.plan.nodes if n == step.node or chance.random() < GROUP_SHARE
        )
        self._groups.append(group)
        self.note_fault(step.kind)
        for ends, dialling in self.dialled.items():
            if dialling.link is not None and len(group & set(ends)) == 1:
                dialling.link.cut()

        def end() -> None:
            if group in self._groups:
                self._groups.remove(group)

        self.schedule.after(1 + step.amount * (FAULT_S - 1), end)

    def crash(self, step: PlanStep) -> None:
        """End a node now, or at the end of a commit; it starts again after a while."""
        node = self.nodes[step.node]
        if not node.is_up:
            return

        def end() -> None:
            self._end_node(node, step.kind, 0.1 + step.amount * FAULT_S / 2)

        if step.kind is StepKind.CRASH:
            end()
        else:
            node.crash_at_commit(end)

    def _end_node(self, node: SimulatedNode, why: StepKind, wait_s: float) -> None:
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
                self._start(node.number)

        self.schedule.after(wait_s, restart)

    def misconfigure(self, step: PlanStep) -> None:
        """Start a node with the secret of another formation, and after a while with its own."""
        node, own = self.nodes[step.node], self._key
        node.key = FormationKey.derive("simulated", SECRET_TEXT[::-1])
        self._end_node(node, step.kind, 0.1)

        def mend() -> None:
            node.key = own
            self._end_node(node, StepKind.CRASH, 0.1)

        self.schedule.after(1 + step.amount * (FAULT_S - 2), mend)

    def _note_lost(self, node: SimulatedNode) -> None:
        """Note which of the last writes that a node has acknowledged its disk does not have."""
        since_s = self.schedule.now_s - START_S - 1 - RECENT_S
        stored = node.stored_tombstones()
        for step in self.outcome.acknowledged:
            if step.node != node.number or step.at_s < since_s or step.key in stored:
                continue
            if step.kind in DELETES or f"e{step.number}" not in node.fields(step.key):
                self.outcome.lost.append(step)

    def kill_worker(self, step: PlanStep) -> None:
        """Let the worker of a node die."""
        node = self.nodes[step.node]
        if not node.is_up:
            return
        self.note_fault(step.kind)
        if step.kind is StepKind.WORKER_DEATH:
            node.kill_worker()
        else:
            node.kill_workers_at_call()
        # What was refused, and changes that waited for others, come with the next connection.
        for dialling in self._links_of(step.node):
            dialling.has_lost = True

    def set_clock(self, step: PlanStep) -> None:
        """Set the clock of a node forward or back."""
        self.note_fault(step.kind)
        self.nodes[step.node].skew_ms += round((2 * step.amount - 1) * CLOCK_STEP_MAX_MS)

    def break_store(self, step: PlanStep) -> None:
        """Let the store of a node fail for a while."""
        node = self.nodes[step.node]
        if not node.is_up:
            return
        self.note_fault(step.kind)
        node.break_store()
        self.schedule.after(1 + step.amount * (FAULT_S - 1), node.mend_store)

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
        self._last_frame_s = self.schedule.now_s
        self._largest = max(self._largest, len(data))
        if not self._counts_rounds:
            return
        keys = [frame.key for frame in FrameReader().feed(data)]
        caused = [(key, self._rounds[id(side.host), key] + 1) for key in keys]
        self._under_way.setdefault((id(side.link), stream), []).extend(caused)

    def note_arrival(self, side: Side, stream: int, data: bytes) -> None:
        """Note in which round frames arrive."""
        if not self._counts_rounds:
            return
        for key, rounds in self._under_way.pop((id(side.link), stream), ()):
            place = id(side.host), key
            self._rounds[place] = max(self._rounds[place], rounds)
            self.outcome.rounds = max(self.outcome.rounds, rounds)


STEPS: Final[dict[StepKind, Callable[[World, PlanStep], None]]] = {
    StepKind.EDIT: World.edit,
    StepKind.LOCAL_EDIT: World.edit_locally,
    StepKind.DEPLOYED_EDIT: World.edit_deployed,
    StepKind.DELETE: World.delete,
    StepKind.LOCAL_DELETE: World.delete_locally,
    StepKind.HOSTILE: World.attack,
    StepKind.LOSE: World.meet_streams,
    StepKind.DUPLICATE: World.meet_streams,
    StepKind.CUT: World.meet_streams,
    StepKind.CUT_LATE: World.meet_streams,
    StepKind.DELAY: World.delay,
    StepKind.SLOW: World.delay,
    StepKind.DISCONNECT: World.disconnect,
    StepKind.FLAP: World.flap,
    StepKind.PARTITION: World.divide,
    StepKind.CRASH: World.crash,
    StepKind.CRASH_COMMIT: World.crash,
    StepKind.WRONG_KEY: World.misconfigure,
    StepKind.WORKER_DEATH: World.kill_worker,
    StepKind.WORKER_DEATHS: World.kill_worker,
    StepKind.CLOCK_STEP: World.set_clock,
    StepKind.STORE_FAILURE: World.break_store,
}
"""How each step is carried out."""
