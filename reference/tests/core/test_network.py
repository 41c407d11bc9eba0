"""Several cores, joined frame by frame: they converge whatever the order, and fall silent."""

from collections import Counter
from itertools import count
from random import Random
from string import ascii_letters
from typing import Final

import pytest

from meshwire_reference.core.document_calls import Edit, Save, Saved
from meshwire_reference.core.formation import FormationKey
from meshwire_reference.core.inputs import LocalOperation
from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.documents.table import Table
from meshwire_reference.testing.author import Author
from meshwire_reference.testing.bench import START_MS, Bench
from meshwire_reference.testing.joined import JoinedBenches
from meshwire_reference.wire.batches import StreamFrame
from meshwire_reference.wire.tombstones import Tombstone, encode_tombstone
from meshwire_spec.numbers import (
    PAYLOAD_MAX,
    READ_MESSAGE,
    SNAPSHOT_ANSWER_INTERVAL_S,
    Direction,
    FrameType,
)

ROUNDS_MAX = 60
LOSSES = 500
"""Runs in which one frame is lost."""
KEYS = ("notes:n1", "beacons:b1", "tracks:t1")


class Node:
    """One node and its worker."""

    def __init__(self, number: int, payload_cap: int = PAYLOAD_MAX) -> None:
        self.table = Table(bytes((number + 1,)) * 16)
        settings = Settings(Dialect.OPEN, payload_cap, heartbeat_s=0)
        self.bench = Bench(lambda call: self.table.answer(call, None), settings)

    def heads(self, key: str) -> tuple[bytes, ...]:
        """Return the heads of a document."""
        saved = self.table.answer(Save(key), None)
        assert isinstance(saved, Saved)
        return saved.heads


class Mesh:
    """Nodes and links between them; frames travel in an order that the seed decides."""

    def __init__(
        self,
        size: int,
        links: list[tuple[int, int]],
        seed: int = 1,
        payload_cap: int = PAYLOAD_MAX,
    ) -> None:
        self.random = Random(seed)
        self.nodes = [Node(number, payload_cap) for number in range(size)]
        self.ends: dict[tuple[int, int], int] = {}
        self.sent: Counter[int] = Counter()
        self.duplicates = False
        self.lost: int | None = None
        for one, other in links:
            self.link(one, other)

    def link(self, one: int, other: int) -> None:
        """Connect two nodes."""
        self.ends[one, other] = self.nodes[one].bench.connect(dialled=True)
        self.ends[other, one] = self.nodes[other].bench.connect()

    def run(self) -> int:
        """Carry frames until nobody has anything to say; return how many rounds it took.

        The frame with the number `lost` never arrives, counted from 1 since the beginning.
        """
        for rounds in range(ROUNDS_MAX):
            under_way = [
                (other, self.ends[other, one], frame)
                for (one, other), connection in self.ends.items()
                for frame in self.nodes[one].bench.take_frames(connection)
            ]
            if not under_way:
                return rounds
            self.random.shuffle(under_way)
            for to, connection, frame in under_way:
                self.sent[frame.type] += 1
                if self.sent.total() == self.lost:
                    continue
                for _ in range(self.random.choice((1, 2)) if self.duplicates else 1):
                    self.nodes[to].bench.send(connection, frame)
        pytest.fail("the mesh never falls silent")

    def write(self, at: int, key: str, actor: int) -> None:
        """Have a visitor bring a change to one node."""
        author = Author(key, actor)
        author.edit(**{f"by{actor}": actor})
        self.bring(at, StreamFrame(key, FrameType.SNAPSHOT, author.snapshot()))

    def bring(self, at: int, frame: StreamFrame) -> None:
        """Have a visitor bring a frame to one node."""
        bench = self.nodes[at].bench
        visitor = bench.connect()
        bench.send(visitor, frame)
        bench.disconnect(visitor)

    def bury(self, at: int, lamport: int) -> None:
        """Have a visitor delete a document at one node."""
        one = Tombstone("tracks", "t1", START_MS, lamport, "a", "", Direction.BIDIRECTIONAL)
        self.bring(at, StreamFrame("x", FrameType.TOMBSTONE, encode_tombstone(one)))

    def states(self) -> set[tuple[object, ...]]:
        """Return the different states that the nodes are in."""
        return {
            (
                *(node.heads(key) for key in KEYS),
                *sorted(
                    held.content for held in node.bench.core._context.tombstones.offerable(START_MS)
                ),
            )
            for node in self.nodes
        }


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("duplicates", [False, True])
def test_a_ring_converges_and_falls_silent(seed: int, *, duplicates: bool) -> None:
    """Concurrent changes and deletions at different nodes, frames in any order, some twice."""
    mesh = Mesh(4, [(0, 1), (1, 2), (2, 3), (3, 0)], seed)
    mesh.duplicates = duplicates
    for at in range(4):
        for key in KEYS:
            mesh.write(at, key, actor=10 + at)
    mesh.bury(1, lamport=5)
    mesh.bury(3, lamport=6)
    mesh.run()

    assert len(mesh.states()) == 1
    assert mesh.nodes[0].heads("tracks:t1") == ()
    assert len(mesh.nodes[0].heads("notes:n1")) == 4


def test_one_write_crosses_each_link_about_once() -> None:
    """D-55: a triangle after one write: no echo, then silence."""
    mesh = Mesh(3, [(0, 1), (1, 2), (2, 0)])
    mesh.run()
    mesh.sent.clear()
    mesh.write(0, "beacons:b1", actor=10)
    mesh.run()

    assert len(mesh.states()) == 1
    assert mesh.sent[FrameType.SNAPSHOT] <= 4


def test_one_tombstone_crosses_each_link_about_once() -> None:
    """D-80: bounded by the links."""
    mesh = Mesh(3, [(0, 1), (1, 2), (2, 0)])
    mesh.bury(0, lamport=5)
    mesh.run()

    assert mesh.sent[FrameType.TOMBSTONE] <= 4


def test_a_link_that_comes_later_brings_both_sides_together() -> None:
    """DC-035: what each side held before travels when the link comes up."""
    mesh = Mesh(2, [])
    mesh.write(0, "notes:n1", actor=10)
    mesh.write(1, "notes:n1", actor=11)
    mesh.write(1, "tracks:t1", actor=11)
    mesh.bury(0, lamport=5)
    mesh.link(0, 1)
    mesh.run()

    assert len(mesh.states()) == 1
    assert mesh.nodes[1].heads("tracks:t1") == ()


def test_lost_frames_are_made_good_by_the_next_link() -> None:
    """DC-017: a link that loses everything, then a new one."""
    mesh = Mesh(2, [(0, 1)])
    for at in (0, 1):
        mesh.write(at, "notes:n1", actor=10 + at)
        mesh.write(at, "beacons:b1", actor=10 + at)
    for (one, other), connection in list(mesh.ends.items()):
        mesh.nodes[one].bench.take_frames(connection)
        mesh.nodes[one].bench.disconnect(connection)
        del mesh.ends[one, other]
    mesh.link(0, 1)
    mesh.run()

    assert len(mesh.states()) == 1


@pytest.mark.parametrize("seed", range(4))
def test_answers_to_snapshots_end(seed: int) -> None:
    """DC-024, DC-026, DC-027: each side is answered at most once after the last change."""
    mesh = Mesh(2, [(0, 1)], seed)
    mesh.run()
    mesh.sent.clear()
    for number, at in enumerate((0, 1, 0, 1)):
        mesh.write(at, "beacons:b1", actor=10 + number)
    mesh.run()
    for node in mesh.nodes:
        node.bench.advance(2 * SNAPSHOT_ANSWER_INTERVAL_S)
    mesh.run()
    answered = mesh.sent[FrameType.SNAPSHOT]
    for node in mesh.nodes:
        node.bench.advance(2 * SNAPSHOT_ANSWER_INTERVAL_S)

    assert mesh.run() == 0
    assert len(mesh.states()) == 1
    assert answered <= 8


@pytest.mark.parametrize("first", range(0, LOSSES, 50))
def test_a_lost_frame_ends_in_silence(first: int) -> None:
    """D-166: any one frame of any stream is lost; nobody talks without end."""
    for seed in range(first, first + 50):
        chance = Random(seed)
        size = chance.choice((2, 3))
        mesh = Mesh(size, [(0, 1), (1, 2), (2, 0)][: 1 if size == 2 else 3], seed)
        mesh.lost = chance.randint(1, 24)
        authors = [[Author(key, 10 + at) for key in KEYS] for at in range(size)]
        for _ in range(6):
            at = chance.randrange(size)
            author = chance.choice(authors[at])
            for edit in range(chance.randint(1, 2)):
                author.edit(**{f"field {edit}": chance.getrandbits(30)})
            mesh.bring(at, StreamFrame(author.key, FrameType.SNAPSHOT, author.snapshot()))
            if chance.random() < 0.1:
                mesh.bury(at, lamport=chance.randint(1, 9))
            if chance.random() < 0.6:
                mesh.run()
        mesh.run()
        # What was lost comes with the next connection at the latest.
        mesh.lost = None
        for one, other in {(min(ends), max(ends)) for ends in mesh.ends}:
            mesh.link(one, other)
        mesh.run()

        assert len(mesh.states()) == 1, f"seed {seed}"


SECRET: Final = FormationKey.derive("squad", b"\x21" * 32)
PAUSE_S: Final = 45.0
"""Seconds in which every deadline of a handshake or run passes, and what follows."""


class Formation:
    """Nodes that prove themselves, reconcile or do neither, over whole streams."""

    def __init__(self, chance: Random, lost: int | None) -> None:
        self.chance = chance
        dialect = chance.choice(list(Dialect))
        self.reconciles = chance.random() < 0.7
        self.network = JoinedBenches(chance, lost)
        self.nodes = [self._node(number, dialect) for number in range(chance.choice((2, 3)))]
        self.benches = [node.bench for node in self.nodes]
        self.operations = count(1)
        for one in range(len(self.nodes) - 1):
            self.link(one, one + 1)

    def _node(self, number: int, dialect: Dialect) -> Node:
        node = Node(number)
        settings = Settings(dialect, detects=dialect is not Dialect.OPEN, heartbeat_s=0)
        key = None if dialect is Dialect.OPEN else SECRET
        random = Random(self.chance.getrandbits(32)).randbytes
        node.bench = Bench(lambda call: node.table.answer(call, None), settings, key, random)
        return node

    def link(self, one: int, other: int) -> None:
        """Connect two nodes, the first of which dials."""
        dialler, acceptor = self.nodes[one].bench, self.nodes[other].bench
        self.network.link(dialler, acceptor, (one + 1, other + 1), reconciles=self.reconciles)

    def edit(self) -> None:
        """Write a field of a document at one of the nodes."""
        fields = {f"field {self.chance.randrange(2)}": self.chance.getrandbits(30)}
        edit = Edit(self.chance.choice(KEYS), dict(fields))
        bench = self.chance.choice(self.benches)
        bench.feed(LocalOperation(next(self.operations), edit))

    def run(self, seconds: float) -> None:
        """Carry everything, and dial again where a connection has ended."""
        self.network.run(self.benches, seconds)
        for dialler, acceptor in self.network.ended:
            self.link(self.benches.index(dialler), self.benches.index(acceptor))
        self.network.ended.clear()

    def states(self) -> set[tuple[object, ...]]:
        """Return the different states that the nodes are in."""
        return {tuple(node.heads(key) for key in KEYS) for node in self.nodes}


@pytest.mark.parametrize("first", range(0, LOSSES, 50))
def test_a_lost_message_of_any_stream_ends_in_silence(first: int) -> None:
    """D-166: one of a handshake, of a run, or a frame: converged or silent, never endless."""
    for seed in range(first, first + 50):
        chance = Random(seed)
        formation = Formation(chance, lost=chance.randint(1, 16))
        for _ in range(chance.randint(1, 4)):
            formation.edit()
            formation.run(chance.choice((0.0, 0.0, 2.5)))
        for _ in range(2):
            formation.run(PAUSE_S)
        flights = formation.network.flights
        formation.run(PAUSE_S)
        assert formation.network.flights == flights, f"seed {seed} does not fall silent"
        # What was lost comes with the next connection at the latest.
        formation.network.lost = None
        for one in range(len(formation.nodes) - 1):
            formation.link(one, one + 1)
        formation.run(PAUSE_S)

        assert len(formation.states()) == 1, f"seed {seed}"


@pytest.mark.parametrize("seed", range(6))
def test_documents_above_the_cap_travel_in_pieces(seed: int) -> None:
    """DC-055: pieces below the cap merge to more than the cap, and a third node gets them all."""
    mesh = Mesh(3, [(0, 1)], seed, payload_cap=900)
    for number in range(8):
        author = Author(mesh.random.choice(KEYS[:2]), 20 + number)
        author.edit(**{f"field {number}": "".join(mesh.random.choices(ascii_letters, k=400))})
        mesh.bring(number % 2, StreamFrame(author.key, FrameType.SNAPSHOT, author.snapshot()))
        if mesh.random.random() < 0.5:
            mesh.run()
    mesh.run()
    mesh.link(1, 2)
    mesh.run()

    assert len(mesh.states()) == 1
    assert [node.bench.not_sent for node in mesh.nodes] == [[], [], []]


def test_two_nodes_that_read_an_unknown_key_fall_silent() -> None:
    """DC-006: after at most two frames each way."""
    mesh = Mesh(2, [(0, 1)])
    read = StreamFrame("notes:unknown", FrameType.DELTA, READ_MESSAGE)
    for one, other in ((0, 1), (1, 0)):
        mesh.nodes[one].bench.send(mesh.ends[one, other], read)
    mesh.run()

    assert mesh.sent[FrameType.DELTA] <= 4
