"""Mesh managers of many nodes of `oplog/1` under the virtual clock, without a document.

Theory of operation. Every node has told the others of itself over a rendezvous, which is not among
them: a record reaches each other node after a while, and is renewed as nodes do. Managers dial each
other over simulated connections and greet as sessions do. A node that is cut off reaches nobody and
hears nothing; what it has missed comes once it is back at the rendezvous.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from itertools import count
from random import Random
from typing import Final

from meshwire_reference.core.effects import CloseConnection, Send
from meshwire_reference.core.inputs import ConnectionClosed, ConnectionEvent, StreamData
from meshwire_reference.oplog.frames import announcement, empty_bulk, read_announcement
from meshwire_reference.oplog.mesh_manager import (
    DeployedMesh,
    EndLink,
    LinkEnd,
    MeshAction,
    MeshManager,
    OpenLink,
)
from meshwire_reference.oplog.mesh_records import NodeRecord, RecordRules
from meshwire_reference.oplog.mesh_strict import StrictMesh
from meshwire_reference.simulation.links import Side, SimulatedLink
from meshwire_reference.simulation.plan import StepKind
from meshwire_reference.simulation.record import RunRecord
from meshwire_reference.simulation.schedule import START_MS, START_S, Schedule
from meshwire_spec.numbers import OPLOG_MESH_RENEWAL_S

STREAM: Final = 0
"""The one stream of a connection, which carries the messages of a WebSocket in order."""
TEXT: Final = b"t"
BINARY: Final = b"b"
SPREAD_S: Final = (0.05, 2.0)
"""Least and greatest time in which a record reaches another node."""
RETURN_S: Final = 36.0
"""Greatest wait of a node before it dials its rendezvous again."""
UNREACHABLE_S: Final = (0.01, 10.0)
"""Least and greatest time until a dial to nobody fails."""
STARTS_S: Final = 30.0
"""Time in which the nodes of a mesh start."""
LOST: Final = 1006


class SimulatedSocket:
    """One side of a WebSocket over a simulated connection."""

    def __init__(self, side: Side) -> None:
        self.side = side

    def send(self, message: str | bytes) -> None:
        """Send a message, unless the connection is over."""
        data = BINARY + message if isinstance(message, bytes) else TEXT + message.encode()
        self.side.perform(Send(connection=self.side.number, stream=STREAM, data=data))

    def close(self, code: int, reason: str) -> None:
        """End the connection."""
        self.side.perform(CloseConnection(connection=self.side.number, code=code, reason=reason))


def message_of(event: StreamData) -> str | bytes:
    """Return the message in an event of a connection."""
    data = bytes(event.data)
    return data[1:] if data[:1] == BINARY else data[1:].decode()


@dataclass(slots=True)
class MeshSession:
    """A connection of a node, and its number with the manager; `socket` is None while it dials."""

    number: int
    peer: int
    for_mesh: bool
    socket: SimulatedSocket | None = None
    since_s: float = 0.0
    has_greeted: bool = False
    is_over: bool = False


class MeshNode:
    """A node with a manager, its sessions, and the records that it knows."""

    def __init__(self, world: MeshWorld, number: int) -> None:
        self.world = world
        self.number = number
        self.node_id = sha256(f"{world.seed} node {number}".encode()).hexdigest()
        self.address = f"ws://n{number}.mesh:4000/crdt-sync"
        self.is_up = False
        self.is_cut_off = False
        self.records: dict[str, NodeRecord] = {}
        self.sessions: dict[int, MeshSession] = {}
        self.dials_s: list[float] = []
        self.most_links = 0
        self.most_sessions = 0
        self._armed_s: float | None = None
        self.manager = self._new_manager()

    def _new_manager(self) -> MeshManager:
        world = self.world
        rules = RecordRules(self.node_id, is_strict=self.number not in world.deployed)
        now_s = world.schedule.now_s
        if not rules.is_strict:
            return DeployedMesh(rules, world.cap, now_s)
        return StrictMesh(rules, world.cap, now_s, world.chance("manager", self.number).random)

    def start(self) -> None:
        """Start: publish a record, and let the manager wait for its first scan."""
        self.is_up = True
        self.manager = self._new_manager()
        self._armed_s = None
        self._publish()
        self.arm()

    def crash(self) -> None:
        """End at once; peers notice in their time."""
        self.is_up = False
        for session in list(self.sessions.values()):
            if session.socket is not None:
                session.socket.side.link.drop(self)
        self.sessions.clear()

    @property
    def wall_ms(self) -> int:
        """The time of the calendar."""
        return START_MS + round((self.world.schedule.now_s - START_S) * 1000)

    def _publish(self) -> None:
        if not self.is_up:
            return
        seen_ms = float(self.wall_ms)
        record = NodeRecord(self.node_id, self.address, seen_ms / 1000)
        self.world.spread(self, record)
        manager = self.manager

        def renew() -> None:
            if manager is self.manager:
                self._publish()

        self.world.schedule.after(OPLOG_MESH_RENEWAL_S, renew)

    # --- the manager -------------------------------------------------------------------------

    def arm(self) -> None:
        """Call the manager when it wants to be called."""
        at_s = self.manager.deadline
        if at_s is None or (self._armed_s is not None and self._armed_s <= at_s):
            return
        self._armed_s = at_s
        manager = self.manager

        def fire() -> None:
            if manager is not self.manager or not self.is_up or self._armed_s != at_s:
                return
            self._armed_s = None
            now_s = self.world.schedule.now_s
            self.perform(manager.look(self.known_records(), now_s, self.wall_ms))
            self.arm()

        self.world.schedule.at(at_s, fire)

    def known_records(self) -> Iterator[NodeRecord]:
        """Yield the records that this node knows, in the order of the list, which all share."""
        for node in self.world.nodes:
            if node.node_id in self.records:
                yield self.records[node.node_id]

    def perform(self, actions: list[MeshAction]) -> None:
        """Carry out what the manager wants."""
        for action in actions:
            match action:
                case OpenLink():
                    self.dials_s.append(self.world.schedule.now_s)
                    self.world.record.count("mesh", "dial")
                    self.world.dial(self, action)
                case EndLink():
                    self.world.record.count("mesh", f"ends: {action.reason}")
                    self._end(action)
        self.most_links = max(self.most_links, len(self.manager.peers))

    def _end(self, action: EndLink) -> None:
        for session in list(self.sessions.values()):
            if session.number != action.number:
                continue
            session.is_over = True
            if session.socket is not None:
                session.socket.close(action.code, action.reason)

    # --- sessions ----------------------------------------------------------------------------

    def begin(self, connection: int, session: MeshSession, socket: SimulatedSocket) -> None:
        """Begin with a session: greet the peer."""
        session.socket, session.since_s = socket, self.world.schedule.now_s
        self.sessions[connection] = session
        self.most_sessions = max(self.most_sessions, len(self.sessions))
        is_strict = self.manager.rules.is_strict
        greeting = announcement(self.node_id, for_mesh=session.for_mesh)
        socket.send(greeting if is_strict else empty_bulk())

    def fail(self, connection: int) -> None:
        """Take it that a dial has reached nobody."""
        session = self.sessions.pop(connection, None)
        if session is not None and self.is_up:
            self.manager.ended(session.number, LinkEnd(LOST), self.world.schedule.now_s)
            self.arm()

    def report(self, connection: int, event: ConnectionEvent) -> None:
        """Take an event of a connection."""
        session = self.sessions.get(connection)
        if session is None:
            return
        if isinstance(event, StreamData):
            self.take(session, message_of(event))
        elif isinstance(event, ConnectionClosed):
            del self.sessions[connection]
            now_s = self.world.schedule.now_s
            code = event.code if event.code is not None else LOST
            self.manager.ended(session.number, LinkEnd(code, now_s - session.since_s), now_s)
            self.arm()

    def take(self, session: MeshSession, message: str | bytes) -> None:
        """Take a message; the first one says who the peer is."""
        if session.has_greeted or session.is_over:
            return
        session.has_greeted = True
        said = read_announcement(message if isinstance(message, str) else "")
        self.perform(self.manager.greeted(session.number, said.node, for_mesh=said.for_mesh))
        self.arm()


@dataclass(slots=True)
class MeshWorld:
    """The nodes of one seed, of which those in `deployed` live at level `wire`."""

    seed: int
    size: int
    cap: int
    deployed: frozenset[int] = frozenset()
    record: RunRecord = field(default_factory=RunRecord)
    schedule: Schedule = field(default_factory=Schedule)
    nodes: list[MeshNode] = field(default_factory=list)
    _numbers: count[int] = field(default_factory=lambda: count(1))
    _missed: list[tuple[MeshNode, NodeRecord]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make the nodes, of which none has started."""
        self.nodes = [MeshNode(self, number) for number in range(self.size)]

    def chance(self, *what: object) -> Random:
        """Return the source of numbers of a part of the run, whatever the other parts do."""
        return Random(f"mesh {self.seed} {what}")  # noqa: S311 - a seed, no secret

    def start(self) -> float:
        """Let the nodes start one after another; return when the last one does."""
        chance = self.chance("starts")
        starts_s = [self.schedule.now_s + chance.uniform(0, STARTS_S) for _ in self.nodes]
        for node, at_s in zip(self.nodes, starts_s, strict=True):
            self.schedule.at(at_s, node.start)
        return max(starts_s)

    # --- records -----------------------------------------------------------------------------

    def spread(self, source: MeshNode, record: NodeRecord) -> None:
        """Bring a record to every other node."""
        chance = self.chance("spread", source.number, self.schedule.happened)
        for node in self.nodes:
            if node is source:
                continue
            if source.is_cut_off or node.is_cut_off:
                self._missed.append((node, record))
            else:
                take = partial(self._take, node, record)
                self.schedule.after(chance.uniform(*SPREAD_S), take)

    def _take(self, node: MeshNode, record: NodeRecord) -> None:
        held = node.records.get(record.node_id)
        if held is None or held.seen_ms < record.seen_ms:
            node.records[record.node_id] = record

    def cut_off(self, node: MeshNode) -> None:
        """Keep a node from everything, and lose its connections."""
        node.is_cut_off = True
        for session in list(node.sessions.values()):
            if session.socket is not None:
                session.socket.side.link.cut()

    def bring_back(self, node: MeshNode) -> None:
        """Let a node reach everything again; it is at its rendezvous in a while."""
        node.is_cut_off = False
        missed, self._missed = self._missed, []

        def hear() -> None:
            for other, record in missed:
                self._take(other, record)

        self.schedule.after(self.chance("return", node.number).uniform(0, RETURN_S), hear)

    # --- connections -------------------------------------------------------------------------

    def dial(self, node: MeshNode, action: OpenLink) -> None:
        """Connect two nodes, or let the dial fail in its time."""
        chance = self.chance("link", next(numbers := self._numbers))
        ends = next(numbers), next(numbers)
        other = next((one for one in self.nodes if one.address == action.address), None)
        session = MeshSession(action.number, -1 if other is None else other.number, for_mesh=True)
        node.sessions[ends[0]] = session
        is_reached = other is not None and other.is_up and not node.is_cut_off
        if other is None or not is_reached or other.is_cut_off:
            self.record.count("mesh", "dial to nobody")
            fail = partial(node.fail, ends[0])
            self.schedule.after(chance.uniform(*UNREACHABLE_S), fail)
            return
        link = SimulatedLink(self.schedule, self, chance, ((node, ends[0]), (other, ends[1])))
        link.sides[0].new_stream(bidi=True)
        self.schedule.after(chance.uniform(*SPREAD_S) / 10, partial(self._connect, link, session))

    def _connect(self, link: SimulatedLink, session: MeshSession) -> None:
        """Open a WebSocket, unless the dial was given up meanwhile."""
        one, other = link.sides
        node, peer = one.host, other.host
        assert isinstance(node, MeshNode), "a node has dialled"
        assert isinstance(peer, MeshNode), "a node was dialled"
        is_wanted = node.sessions.get(one.number) is session and not session.is_over
        if not is_wanted or not peer.is_up or node.is_cut_off or peer.is_cut_off:
            node.fail(one.number)
            return
        accepted = MeshSession(peer.manager.take_session(), node.number, for_mesh=False)
        peer.begin(other.number, accepted, SimulatedSocket(other))
        node.begin(one.number, session, SimulatedSocket(one))

    # --- what the network takes note of ------------------------------------------------------

    def note_fault(self, kind: StepKind) -> None:
        """Count a fault that has taken effect."""
        self.record.count("fault", kind)

    def note_loss(self, link: SimulatedLink) -> None:
        """Take no note: a connection loses nothing but itself."""

    def note_sent(self, side: Side, stream: int, data: bytes) -> None:
        """Take no note of bytes that are sent."""

    def note_arrival(self, side: Side, stream: int, data: bytes) -> None:
        """Take no note of bytes that arrive."""

    # --- what has come of it -----------------------------------------------------------------

    def links(self) -> set[frozenset[int]]:
        """Return the pairs of nodes with a session that neither side ends."""
        found = set()
        for node in self.nodes:
            for session in node.sessions.values():
                if session.for_mesh and session.has_greeted and not session.is_over:
                    found.add(frozenset((node.number, session.peer)))
        return found

    def parts(self) -> list[set[int]]:
        """Return the sets of nodes that are linked, over others or at once, largest first."""
        links, left, parts = self.links(), {n.number for n in self.nodes if n.is_up}, []
        while left:
            part = {left.pop()}
            while more := {n for link in links if link & part for n in link} - part:
                part |= more
            left -= part
            parts.append(part)
        return sorted(parts, key=len, reverse=True)

    def most_dials(self, window_s: float) -> int:
        """Return the most dials of a node in any window of this length."""
        most = 0
        for node in self.nodes:
            begin = 0
            for end, at_s in enumerate(node.dials_s):
                while node.dials_s[begin] < at_s - window_s:
                    begin += 1
                most = max(most, end - begin + 1)
        return most
