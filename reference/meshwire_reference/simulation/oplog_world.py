"""Nodes of `oplog/1` under the virtual clock: hubs with sessions over simulated connections.

Theory of operation. The plan, its faults, the clock and the connections are those of the simulation
of `sync/1`. A message is what one `Send` on the one stream of a connection carries, so connections
keep messages whole and in order, as WebSockets do. Faults of streams, of document workers and of
handshakes do not exist here. A node stores its log in groups and sends nothing before that, and one
whose store fails ends, as the node on asyncio does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from itertools import count
from random import Random
from typing import Final

from meshwire_reference.core.effects import CloseConnection, Send
from meshwire_reference.core.inputs import ConnectionClosed, ConnectionEvent, StreamData
from meshwire_reference.oplog.authoring import OperationAuthor
from meshwire_reference.oplog.hub import OWN, Hub, OplogSession
from meshwire_reference.oplog.nodes import ListNode
from meshwire_reference.oplog.operations import SignedOperation
from meshwire_reference.oplog.outcomes import Level
from meshwire_reference.oplog.rendezvous import RendezvousBackoff
from meshwire_reference.oplog.replica import Replica, ReplicaSettings
from meshwire_reference.oplog.signatures import Signer
from meshwire_reference.oplog.values import JsonValue
from meshwire_reference.simulation.links import Side, SimulatedLink
from meshwire_reference.simulation.node import COMMIT_S, HALF
from meshwire_reference.simulation.oplog_mesh import BINARY, STREAM, TEXT, message_of
from meshwire_reference.simulation.plan import Plan, StepKind
from meshwire_reference.simulation.record import RunRecord
from meshwire_reference.simulation.schedule import Schedule

GOING_AWAY: Final = 1001
OPEN_S: Final = 0.05
"""Greatest time that the opening of a WebSocket takes."""
ITEM: Final[dict[str, JsonValue]] = {
    "story_id": "", "stage": "", "name": "", "agent": "", "retry_count": 0.0, "blocked": False,
    "depends_on": "", "claimed_by": "", "claimed_at": 0.0,
}  # fmt: skip
FIELDS: Final = ("stage", "name")
ITEMS_MAX: Final = 3
"""Items that are there at once: few, so that authors write the same fields."""


@dataclass(slots=True)
class HubSession:
    """A session of a node; `ends` are those of a link that this node keeps dialled."""

    side: Side
    session: OplogSession
    since_s: float
    ends: tuple[int, int] | None = None


class OplogHost:
    """One node: `start`, then `crash` and `start` again as often as wanted."""

    def __init__(self, world: OplogWorld, number: int, level: Level) -> None:
        self.number = number
        self.level = level
        self.is_up = False
        self.disk: list[str] = []
        self.sessions: dict[int, HubSession] = {}
        self._world = world
        self._signer = Signer(world.chance("key", number).randbytes(32))
        self._chance = world.chance("node", number)
        self._crash_due = False
        self._begin()

    def _begin(self) -> None:
        self.hub = Hub(Replica(ReplicaSettings(level=self.level)))
        self.hub.node_id = self._signer.author.hex()
        self.author = OperationAuthor(self._signer, self.hub.replica)
        self._is_committing = False
        self.sessions = {}

    # --- life --------------------------------------------------------------------------------

    def start(self) -> None:
        """Start on what the disk has."""
        self._begin()
        self.hub.load(self.disk)
        self.is_up = True

    def crash(self) -> None:
        """End at once; the group that is being written is on the disk or not."""
        if self._is_committing and self._chance.random() < HALF:
            self._keep()
        self.is_up = False
        for session in self.sessions.values():
            session.side.link.drop(self)
        self._begin()

    def crash_at_commit(self) -> None:
        """Crash at the end of the next commit, before anything of it is sent."""
        self._crash_due = True

    def heal(self) -> None:
        """End the faults that are still to come."""
        self._crash_due = False

    # --- operations --------------------------------------------------------------------------

    @property
    def items(self) -> list[bytes]:
        """The ids of the items that are shown."""
        found = self.hub.replica.document.fields["items"]
        assert isinstance(found, ListNode)
        return [one.id for one in found.walk() if one.node is not None and not one.is_deleted]

    def edit(self, amount: float, number: int) -> None:
        """Write a field of an item, or insert one."""
        items = self.items
        place = int(amount * 1000)
        if len(items) < ITEMS_MAX and (not items or place % 3 == 0):
            made = self.author.append(("items",), {**ITEM, "name": f"e{number}"})
        else:
            path = ("items", items[place % len(items)], FIELDS[place % len(FIELDS)])
            made = self.author.set(path, f"e{number}")
        self._publish(made)

    def delete(self, amount: float) -> None:
        """Delete an item, if there is any."""
        items = self.items
        if items:
            self._publish(self.author.delete(("items",), items[int(amount * len(items))]))

    def contradict(self, amount: float, number: int) -> SignedOperation:
        """Make two operations with one sequence; publish one of them and return the other.

        Both write one field, or insert behind one element. This node publishes the other one too,
        after the first: who is sent it at once has it in another order than all others.
        """
        before = Hub(Replica(ReplicaSettings(level=self.level)))
        before.load([entry.text for entry in self.hub.log])
        other = OperationAuthor(self._signer, before.replica)
        items = self.items
        place = int(amount * 1000)
        if not items or place % 3 == 0:
            made, unsaid = (
                author.append(("items",), {**ITEM, "name": f"{name}{number}"})
                for author, name in ((self.author, "e"), (other, "u"))
            )
        else:
            path = ("items", items[place % len(items)], FIELDS[place % len(FIELDS)])
            made, unsaid = self.author.set(path, f"e{number}"), other.set(path, f"u{number}")
        self._publish(made)
        self.hub.take(unsaid, OWN)
        self._commit()
        return unsaid

    def _publish(self, made: SignedOperation) -> None:
        self.hub.add_own(made)
        self._commit()

    def _commit(self) -> None:
        if self._is_committing or self.hub.durable == len(self.hub.log):
            return
        self._is_committing = True
        hub, end = self.hub, len(self.hub.log)

        def finish() -> None:
            if hub is not self.hub or not self.is_up:
                return
            self._keep(end)
            self._is_committing = False
            if self._crash_due:
                self._crash_due = False
                self._world.end_node(self, StepKind.CRASH_COMMIT, 1.0)
                return
            self.pump()
            self._commit()

        self._world.schedule.after(self._chance.uniform(*COMMIT_S), finish)

    def _keep(self, end: int | None = None) -> None:
        """Write a part of the log to the disk."""
        end = len(self.hub.log) if end is None else end
        self.disk += [self.hub.log[at].text for at in range(self.hub.durable, end)]
        self.hub.durable = end

    # --- sessions ----------------------------------------------------------------------------

    def begin(self, side: Side, ends: tuple[int, int] | None) -> None:
        """Begin with a session."""
        now_s = self._world.schedule.now_s
        self.sessions[side.number] = HubSession(side, self.hub.open_session(), now_s, ends)

    def pump(self) -> None:
        """Send every session what it lacks."""
        for session in list(self.sessions.values()):
            while (message := self.hub.next_message(session.session)) is not None:
                send(session.side, message)
            if self.hub.is_behind(session.session):
                self._world.record.count("session", "too far behind")
                close(session.side)

    def report(self, connection: int, event: ConnectionEvent) -> None:
        """Take an event of a connection."""
        session = self.sessions.get(connection)
        if session is None:
            return
        if isinstance(event, StreamData):
            message = message_of(event)
            if isinstance(message, bytes):
                self.hub.take_binary(message, session.session)
            else:
                for _ in self.hub.take_text(message, session.session):
                    pass
            self._commit()
        elif isinstance(event, ConnectionClosed):
            del self.sessions[connection]
            self.hub.close_session(session.session)
            if session.ends is not None:
                self._world.dial_again(session.ends, session.since_s)


def send(side: Side, message: str | bytes) -> None:
    """Send a message on a connection."""
    data = BINARY + message if isinstance(message, bytes) else TEXT + message.encode()
    side.perform(Send(connection=side.number, stream=STREAM, data=data))


def close(side: Side) -> None:
    """End a connection with a close frame."""
    side.perform(CloseConnection(connection=side.number, code=GOING_AWAY, reason=""))


@dataclass(slots=True)
class KeptLink:
    """What keeps two nodes connected."""

    backoff: RendezvousBackoff
    link: SimulatedLink | None = None
    is_due: bool = False
    short_lives: int = 0
    """How many of the next connections are lost at once."""


@dataclass(slots=True)
class OplogWorld:
    """The nodes of one plan, of which those in `deployed` live at level `wire`."""

    plan: Plan
    deployed: frozenset[int] = frozenset()
    record: RunRecord = field(default_factory=RunRecord)
    schedule: Schedule = field(default_factory=Schedule)
    nodes: dict[int, OplogHost] = field(default_factory=dict)
    kept: dict[tuple[int, int], KeptLink] = field(default_factory=dict)
    groups: list[frozenset[int]] = field(default_factory=list)
    """Nodes that a partition keeps apart from all others."""
    last_message_s: float = 0.0
    _numbers: count[int] = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        """Make the nodes, of which none has started."""
        for number in self.plan.nodes:
            level = Level.WIRE if number in self.deployed else Level.STRICT
            self.nodes[number] = OplogHost(self, number, level)
        for ends in self.plan.links:
            chance = self.chance("backoff", *ends)
            self.kept[ends] = KeptLink(RendezvousBackoff(partial(chance.uniform, -1, 1)))

    def chance(self, *what: object) -> Random:
        """Return the source of numbers of a part of the run, whatever the other parts do."""
        return Random(f"oplog {self.plan.seed} {what}")  # noqa: S311 - a seed, no secret

    # --- nodes -------------------------------------------------------------------------------

    def start(self, number: int) -> None:
        """Start a node and let it dial."""
        self.nodes[number].start()
        for ends, kept in self.kept.items():
            if ends[0] == number:
                kept.link = None
                self._dial_after(ends, 0.0)

    def end_node(self, node: OplogHost, why: StepKind, wait_s: float) -> None:
        """Crash a node, and start it again after a while."""
        if not node.is_up:
            return
        self.note_fault(why)
        node.crash()

        def restart() -> None:
            if not node.is_up:
                self.start(node.number)

        self.schedule.after(wait_s, restart)

    # --- connections -------------------------------------------------------------------------

    def side_between(self, node: int, other: int) -> Side | None:
        """Return the side of a node, on the link with another one."""
        for ends in ((node, other), (other, node)):
            kept = self.kept.get(ends)
            if kept is not None and kept.link is not None:
                return kept.link.sides[ends.index(node)]
        return None

    def dial_again(self, ends: tuple[int, int], since_s: float) -> None:
        """Dial after the wait that follows the end of a session."""
        kept = self.kept[ends]
        kept.link = None
        self._dial_after(ends, kept.backoff.ended(self.schedule.now_s - since_s)[1])

    def _dial_after(self, ends: tuple[int, int], wait_s: float) -> None:
        kept = self.kept[ends]
        if kept.is_due:
            return
        kept.is_due = True

        def dial() -> None:
            kept.is_due = False
            if kept.link is None and self.nodes[ends[0]].is_up:
                self._dial(ends, kept)

        self.schedule.after(wait_s, dial)

    def _dial(self, ends: tuple[int, int], kept: KeptLink) -> None:
        one, other = (self.nodes[number] for number in ends)
        if not other.is_up or any(len(group & set(ends)) == 1 for group in self.groups):
            self.record.count("dial", "unreachable")
            self._dial_after(ends, kept.backoff.failed()[1])
            return
        self.record.count("dial", "connected")
        numbers = next(self._numbers), next(self._numbers)
        chance = self.chance("link", *ends, numbers[0])
        link = SimulatedLink(self.schedule, self, chance, ((one, numbers[0]), (other, numbers[1])))
        link.sides[0].new_stream(bidi=True)
        kept.link = link
        one.begin(link.sides[0], ends)
        other.begin(link.sides[1], None)
        one.pump()
        other.pump()
        if kept.short_lives:
            kept.short_lives -= 1
            self.note_fault(StepKind.FLAP)
            self.schedule.after(chance.random() * OPEN_S, partial(link.cut, at_once=True))

    # --- what the network takes note of ------------------------------------------------------

    def note_fault(self, kind: StepKind) -> None:
        """Count a fault that has taken effect."""
        self.record.count("fault", kind)

    def note_loss(self, link: SimulatedLink) -> None:
        """Take no note: a connection loses nothing but itself."""

    def note_sent(self, side: Side, stream: int, data: bytes) -> None:
        """Note when something was sent at last."""
        self.last_message_s = self.schedule.now_s

    def note_arrival(self, side: Side, stream: int, data: bytes) -> None:
        """Take no note of bytes that arrive."""
