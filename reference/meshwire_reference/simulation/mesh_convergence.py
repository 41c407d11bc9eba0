"""How long a mesh takes to hold the same again, in virtual time: what `bench mesh` measures.

Theory of operation. Every node begins with the same documents on its disk. Some of them are
changed, each at one node, while no node is connected. Then every link comes up at once. The mesh
has converged when the last write that a node lacked is durable there; frames that follow are
counted apart. A packet of 1200 bytes is lost with the given probability and sent again a round trip
and a half later, as a transport does, so loss costs time and bytes and nothing else. Every number
comes from the seed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import combinations, count
from random import Random
from typing import Final

from meshwire_reference.core.document_calls import Edit, Write
from meshwire_reference.core.effects import WriteStore
from meshwire_reference.core.inputs import ConnectionOpened, LocalOperation
from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.simulation.links import STREAM_STEP, UNI, Host, Side, SimulatedLink
from meshwire_reference.simulation.node import SimulatedNode
from meshwire_reference.simulation.plan import StepKind
from meshwire_reference.simulation.record import RunRecord
from meshwire_reference.simulation.schedule import Schedule
from meshwire_reference.store.base import new_identity
from meshwire_reference.testing.author import Author
from meshwire_reference.wire.batches import StreamFrame, decode_sync_batch
from meshwire_reference.wire.frames import FrameReader
from meshwire_spec.numbers import FrameType

COLLECTION: Final = "mesh_test"
PACKET: Final = 1200
"""Bytes of a packet."""
RESENT_AFTER: Final = 3.0
"""After how many times the latency a lost packet is sent again."""
LATENCY_SPREAD: Final = 0.1
"""Share of the latency by which it varies, so that not everything arrives at once."""
SETTLE_S: Final = 5.0
"""Virtual seconds in which the changes before the links become durable."""
QUIET_S: Final = 10.0
"""Virtual seconds without a frame after which a mesh is silent."""
LIMIT_S: Final = 3600.0
"""Virtual seconds after which a mesh is given up."""


class Topology(StrEnum):
    """Which nodes are linked with each other."""

    LINE = "line"
    RING = "ring"
    STAR = "star"
    FULL = "full"


class Reconciling(StrEnum):
    """How nodes find out what their peers lack."""

    NO = "no"
    """They offer everything."""
    KEYS = "keys"
    HEADS = "heads"


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is measured: one row of the table."""

    documents: int
    changed: int
    peers: int
    loss: float
    latency_ms: float
    shape: Topology = Topology.LINE
    reconciles: Reconciling = Reconciling.NO

    @property
    def links(self) -> list[tuple[int, int]]:
        """Pairs of nodes of which the first dials the second."""
        nodes = range(self.peers)
        if self.shape is Topology.FULL:
            return list(combinations(nodes, 2))
        if self.shape is Topology.STAR:
            return [(node, 0) for node in nodes[1:]]
        line = [(node, node + 1) for node in nodes[:-1]]
        closing = [(self.peers - 1, 0)] if self.shape is Topology.RING and self.peers > 2 else []  # noqa: PLR2004 - two make a line
        return line + closing

    def key(self, number: int) -> str:
        """Return the key of a document."""
        return f"{COLLECTION}:d{number}"

    def beginning(self) -> Iterator[tuple[str, Write]]:
        """Yield key and content of every document that each node begins with."""
        for number in range(self.documents):
            author = Author(self.key(number))
            author.edit(title=f"document {number}", text="x" * 100)
            yield author.key, Write(author.snapshot(), b"", author.heads)

    def changed_at(self, seed: int) -> dict[int, int]:
        """Return the documents that are changed, and the node of each, in the order of a seed."""
        chance = Random(f"changes {seed}")  # noqa: S311 - a seed, no secret
        chosen = chance.sample(range(self.documents), self.changed)
        return {document: chance.randrange(self.peers) for document in chosen}


@dataclass(frozen=True, slots=True)
class Measured:
    """The result of one run; `rounds` is None where nobody could count them."""

    seconds: float
    sent_bytes: int
    more_bytes: int | None
    """Bytes that followed until the mesh was silent."""
    rounds: int | None


class NotConverged(Exception):
    """The mesh has not converged; the text is one line."""


class LossyLink(SimulatedLink):
    """A link with a given latency, on which packets are lost and sent again."""

    loss = 0.0
    latency_s = 0.0
    resent_bytes = 0

    def arrival_s(self, index: int, size: int = 0) -> float:
        """Return when something of a size arrives that a side sends now."""
        tries = 1
        for at in range(0, max(1, size), PACKET):
            needed = 1
            while self.chance.random() < self.loss:
                needed += 1
            self.resent_bytes += (needed - 1) * min(PACKET, max(0, size - at))
            tries = max(tries, needed)
        spread = 1 + self.chance.random() * LATENCY_SPREAD
        return self._schedule.now_s + self.latency_s * (spread + (tries - 1) * RESENT_AFTER)


class MeasuredNode(SimulatedNode):
    """A node of which is known which state of each document is durable."""

    mesh: MeasuredMesh

    def _settle(self, group: list[WriteStore]) -> None:
        super()._settle(group)
        for effect in group:
            if effect.write is not None:
                self.mesh.note_durable(self.number, effect.key, effect.write.heads)


class MeasuredMesh:
    """One run: `run` returns what it has measured."""

    def __init__(self, circumstances: Circumstances, seed: int) -> None:
        self.circumstances = circumstances
        self._seed = seed
        self._schedule = Schedule()
        self._changes = circumstances.changed_at(seed)
        self._held: dict[str, dict[int, tuple[bytes, ...]]] = {}
        self._sent_bytes = 0
        self._last_s = 0.0
        self._converged: tuple[float, int, int] | None = None
        self._rounds: Counter[tuple[int, str]] = Counter()
        self._under_way: dict[tuple[int, int, bool], list[tuple[str, int]]] = {}
        self._links: list[LossyLink] = []
        self._is_linked = False
        self._nodes = [self._make_node(number) for number in range(circumstances.peers)]

    def _chance(self, *what: object) -> Random:
        return Random(f"{self._seed} {what}")  # noqa: S311 - a seed, no secret

    def _endpoint_id(self, number: int) -> str:
        return new_identity(self._chance("node", number).randbytes).endpoint_id.hex()

    def _make_node(self, number: int) -> MeasuredNode:
        others = [peer for peer in range(self.circumstances.peers) if peer != number]
        by_heads = self.circumstances.reconciles is Reconciling.HEADS
        settings = replace(
            Settings(Dialect.OPEN, heartbeat_s=0.0, dead_peer_s=0.0),
            heads_peers=frozenset(map(self._endpoint_id, others)) if by_heads else frozenset(),
        )
        chance = self._chance("node", number)
        node = MeasuredNode(number, chance, self._schedule, RunRecord(), settings, None)
        node.mesh = self
        return node

    # --- what happens ----------------------------------------------------------------------------

    def run(self) -> Measured:
        """Carry the run out. Raises NotConverged."""
        self._begin()
        self._link()
        began_s = self._last_s = self._schedule.now_s
        while self._schedule.now_s - began_s < LIMIT_S:
            self._schedule.run(self._schedule.now_s + 1.0)
            if self._schedule.now_s - self._last_s > QUIET_S:
                break
        if self._converged is None:
            raise NotConverged(f"no convergence with seed {self._seed}")
        at_s, sent_bytes, rounds = self._converged
        return Measured(at_s - began_s, sent_bytes, self._all_bytes() - sent_bytes, rounds)

    def _begin(self) -> None:
        """Start every node on the documents, and change some of them."""
        circumstances = self.circumstances
        numbers = count(1)
        writes = []
        for key, write in circumstances.beginning():
            writes.append(WriteStore(next(numbers), key, write))
        changed = {writes[number].key for number in self._changes}
        for node in self._nodes:
            node.disk.apply(writes)
            node.start()
        for effect in writes:
            if effect.key in changed and effect.write is not None:
                self._held[effect.key] = {node.number: effect.write.heads for node in self._nodes}
        for number, at in self._changes.items():
            edit = Edit(circumstances.key(number), {"changed": at})
            self._nodes[at].feed(LocalOperation(next(numbers), edit))
        self._schedule.run(self._schedule.now_s + SETTLE_S)

    def _link(self) -> None:
        """Let every link come up."""
        numbers = count(1)
        self._is_linked = True
        for ends in self.circumstances.links:
            one, other = (self._nodes[number] for number in ends)
            near, far = next(numbers), next(numbers)
            hosts: tuple[tuple[Host, int], tuple[Host, int]] = (one, near), (other, far)
            link = LossyLink(self._schedule, self, self._chance("link", *ends), hosts)
            link.loss = self.circumstances.loss
            link.latency_s = self.circumstances.latency_ms / 1000
            self._links.append(link)
            one.sides[near], other.sides[far] = link.sides
            for node, number, peer, dialled in ((other, far, one, False), (one, near, other, True)):
                node.feed(
                    ConnectionOpened(
                        number,
                        peer.identity.endpoint_id,
                        dialled=dialled,
                        reconciles=self.circumstances.reconciles is Reconciling.KEYS,
                    )
                )
        self._look()

    def note_durable(self, number: int, key: str, heads: tuple[bytes, ...]) -> None:
        """Note which state of a document a node has made durable."""
        if key in self._held:
            self._held[key][number] = heads
            if self._is_linked:
                self._look(key)

    def _look(self, key: str | None = None) -> None:
        """Note that the mesh has converged, if it has just now; `key` is what has changed."""
        if self._converged is not None or (key is not None and self._differs(key)):
            return
        if not any(map(self._differs, self._held)):
            rounds = max(self._rounds.values(), default=0)
            self._converged = self._schedule.now_s, self._all_bytes(), rounds

    def _differs(self, key: str) -> bool:
        return len(set(self._held[key].values())) > 1

    def _all_bytes(self) -> int:
        return self._sent_bytes + sum(link.resent_bytes for link in self._links)

    # --- what the network takes note of ----------------------------------------------------------

    def note_fault(self, kind: StepKind) -> None:
        """Do nothing: there are no faults."""

    def note_loss(self, link: SimulatedLink) -> None:
        """Do nothing: what is lost is sent again."""

    def note_sent(self, side: Side, stream: int, data: bytes) -> None:
        """Count bytes, and the round that each frame continues."""
        self._sent_bytes += len(data)
        self._last_s = self._schedule.now_s
        if stream % STREAM_STEP >= UNI or not data:
            return
        keys = [key for frame in FrameReader().feed(data) for key in keys_of(frame)]
        caused = [(key, self._rounds[id(side.host), key] + 1) for key in keys]
        self._under_way.setdefault(_place(side, stream), []).extend(caused)

    def note_arrival(self, side: Side, stream: int, data: bytes) -> None:
        """Note in which round frames arrive."""
        for key, rounds in self._under_way.pop(_place(side.other, stream), ()):
            place = id(side.host), key
            self._rounds[place] = max(self._rounds[place], rounds)


def _place(sender: Side, stream: int) -> tuple[int, int, bool]:
    return id(sender.link), stream, sender is sender.link.sides[0]


def keys_of(frame: StreamFrame) -> list[str]:
    """Return the keys of the documents in a frame; a message of a reconciliation has its own."""
    if frame.type == FrameType.BATCH:
        return [entry.key for entry in decode_sync_batch(frame.payload).entries]
    return [frame.key]


def measure(circumstances: Circumstances, seed: int) -> Measured:
    """Return what one run of a seed measures. Raises NotConverged."""
    return MeasuredMesh(circumstances, seed).run()
