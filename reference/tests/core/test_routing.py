"""Nodes in a hierarchy: each document is where its direction brings it, and nowhere else."""

from collections.abc import Mapping, Sequence
from itertools import count
from random import Random
from typing import Final

import pytest

from meshwire_reference.core.document_calls import Edit
from meshwire_reference.core.inputs import Deletion, LocalOperation, PeerRole, RoleAssigned
from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.core.state.policy import Collections
from meshwire_reference.documents.table import Table
from meshwire_reference.testing.author import read, snapshot
from meshwire_reference.testing.bench import START_MS, Bench, Seen
from meshwire_reference.testing.joined import JoinedBenches
from meshwire_reference.wire.batches import StreamFrame, SyncBatch, SyncEntry, encode_sync_batch
from meshwire_reference.wire.tombstones import (
    Tombstone,
    TombstoneBatch,
    encode_tombstone,
    encode_tombstone_batch,
)
from meshwire_spec.numbers import ENDPOINT_ID, REASONS, Direction, FrameType

PAUSE_S: Final = 10.0
TREE: Final = (
    (0, 1),
    (0, 2),
    (0, 3),
    *((one, 3 * one + more) for one in (1, 2, 3) for more in (1, 2, 3)),
)
"""Parent and child of each link of a tree of thirteen."""
SIBLINGS: Final = ((1, 2), (2, 3))
"""Links between the children of the root."""
FLIGHTS_MAX: Final = 3
"""Frames that a change takes on a link: its announcement, the request, and the change."""
KEYS: Final = {
    "upward": ("nodes:n1", "summaries:s1"),
    "downward": ("commands:c1",),
    "lateral": ("cells:l1",),
    "broadcast": ("notes:b1", "tracks:t1"),
}
"""Documents of each direction, of both sync modes."""


def endpoint(number: int) -> str:
    """Return the endpoint id of a node in hex."""
    return bytes((number + 1,)).hex() * ENDPOINT_ID


class Nodes:
    """Nodes that know their parents and children, over whole streams."""

    def __init__(
        self,
        size: int,
        below: Sequence[tuple[int, int]],
        beside: Sequence[tuple[int, int]] = (),
        seed: int = 1,
    ) -> None:
        roles: list[dict[str, PeerRole]] = [{} for _ in range(size)]
        for parent, child in below:
            roles[parent][endpoint(child)] = PeerRole.CHILD
            roles[child][endpoint(parent)] = PeerRole.PARENT
        self.network = JoinedBenches(Random(seed))
        self.benches = [self._bench(number, roles[number]) for number in range(size)]
        self.links = (*below, *beside)
        self.operations = count(1)
        self.link()

    @staticmethod
    def _bench(number: int, roles: Mapping[str, PeerRole]) -> Bench:
        table = Table(bytes((number + 1,)) * 16)
        settings = Settings(Dialect.OPEN, roles=roles, heartbeat_s=0)
        return Bench(lambda call: table.answer(call, None), settings)

    def link(self) -> None:
        """Connect the nodes, anew where they are connected."""
        for one, other in self.links:
            self.network.link(self.benches[one], self.benches[other], (one + 1, other + 1))

    def write(self, at: int, key: str) -> None:
        """Write a field of a document at one node."""
        number = next(self.operations)
        self.benches[at].feed(LocalOperation(number, Edit(key, {f"by {at}": number})))

    def delete(self, at: int, key: str) -> None:
        """Delete a document at one node."""
        self.benches[at].feed(LocalOperation(next(self.operations), Deletion(key, "user")))

    def run(self) -> int:
        """Carry everything; return how many flights that took. Fails if there is no end."""
        before = self.network.flights
        self.network.run(self.benches, PAUSE_S)
        return self.network.flights - before

    def links_among(self, members: set[int]) -> int:
        """Return how many links have both their ends among these nodes."""
        return sum(one in members and other in members for one, other in self.links)

    def holders(self, key: str) -> set[int]:
        """Return the numbers of the nodes that hold a document."""
        return {number for number, bench in enumerate(self.benches) if key in bench.core.keys}


def ancestors(number: int) -> set[int]:
    """Return a node of the tree, and every one above it."""
    above = [parent for parent, child in TREE if child == number]
    return {number, *(ancestors(above[0]) if above else ())}


def descendants(number: int) -> set[int]:
    """Return a node of the tree, and every one below it."""
    return {other for other in range(13) if number in ancestors(other)}


def reached(direction: str, at: int) -> set[int]:
    """Return the nodes of the tree that a document of a direction reaches from a node."""
    return {
        "upward": ancestors(at),
        "downward": descendants(at),
        "lateral": {1, 2, 3} if at in (1, 2, 3) else {at},
        "broadcast": set(range(13)),
    }[direction]


@pytest.mark.parametrize("at", [0, 2, 7])
def test_a_tree_of_thirteen_has_each_document_where_it_goes(at: int) -> None:
    """DC-071: from the root, the middle and a leaf; each link that is used carries it once."""
    nodes = Nodes(13, TREE, SIBLINGS)
    nodes.run()
    for direction, keys in KEYS.items():
        wanted = reached(direction, at)
        for key in keys:
            nodes.write(at, key)
            flights = nodes.run()

            assert nodes.holders(key) == wanted, key
            assert flights <= FLIGHTS_MAX * nodes.links_among(wanted), key
    nodes.delete(at, "tracks:t1")
    nodes.run()

    assert nodes.holders("tracks:t1") == set()
    assert nodes.run() == 0


def test_what_was_there_before_the_links_goes_the_same_ways() -> None:
    """DC-035, D-153: the first offer asks for the direction too."""
    nodes = Nodes(13, (), ())
    for at in (0, 2, 7):
        for keys in KEYS.values():
            for key in keys:
                nodes.write(at, f"{key}-{at}")
    nodes = again(nodes)
    nodes.run()

    for direction, keys in KEYS.items():
        for at in (0, 2, 7):
            for key in keys:
                assert nodes.holders(f"{key}-{at}") == reached(direction, at), key
    assert nodes.run() == 0


def again(nodes: Nodes) -> Nodes:
    """Give nodes that were alone the roles and links of the tree."""
    for parent, child in TREE:
        for one, other, role in ((parent, child, PeerRole.CHILD), (child, parent, PeerRole.PARENT)):
            peer_id = bytes.fromhex(endpoint(other))
            nodes.benches[one].feed(RoleAssigned(peer_id, role))
    nodes.links = (*TREE, *SIBLINGS)
    nodes.link()
    return nodes


@pytest.mark.parametrize("direction", list(KEYS))
def test_a_line_of_seven_carries_each_direction_to_its_end(direction: str) -> None:
    """D-66: no number of hops ends it, and every link carries each document once."""
    nodes = Nodes(7, [(number, number + 1) for number in range(6)])
    nodes.run()
    for key in KEYS[direction]:
        nodes.write(3, key)
        flights = nodes.run()
        wanted = {
            "upward": {0, 1, 2, 3},
            "downward": {3, 4, 5, 6},
            "lateral": {3},
            "broadcast": set(range(7)),
        }[direction]

        assert nodes.holders(key) == wanted
        assert flights <= FLIGHTS_MAX * (len(wanted) - 1)


@pytest.mark.parametrize("seed", range(6))
def test_any_lost_flight_ends_in_silence_and_is_made_good(seed: int) -> None:
    """Whatever is lost, nothing is where it should not be; the next link brings the rest."""
    chance = Random(seed)
    nodes = Nodes(13, TREE, SIBLINGS, seed)
    nodes.run()
    nodes.network.lost = nodes.network.flights + chance.randint(1, 30)
    written = [(chance.choice((0, 2, 7)), way) for way in KEYS for _ in range(2)]
    for number, (at, way) in enumerate(written):
        nodes.write(at, f"{KEYS[way][0]}-{number}")
    nodes.run()
    assert nodes.run() == 0
    nodes.link()
    nodes.run()

    for number, (at, way) in enumerate(written):
        assert nodes.holders(f"{KEYS[way][0]}-{number}") == reached(way, at), (way, at)
    assert nodes.run() == 0


PARENT, CHILD, LATERAL = 1, 2, 3
"""Numbers of the connections of a node in the middle, and of their peers."""


def middle(roles: Mapping[str, PeerRole] | None = None) -> Bench:
    """Return a node with a parent, a child and another peer."""
    table = Table(b"\x09" * 16)
    known = {endpoint(0): PeerRole.PARENT, endpoint(1): PeerRole.CHILD} if roles is None else roles
    settings = Settings(Dialect.OPEN, roles=known, heartbeat_s=0)
    bench = Bench(lambda call: table.answer(call, None), settings)
    for number in (PARENT, CHILD, LATERAL):
        bench.connect(peer=number)
    return bench


def sent_to(bench: Bench) -> dict[int, list[str]]:
    """Return the keys of the frames sent to each peer since the last time, sorted."""
    return {
        connection: sorted(frame.key for frame in bench.take_frames(connection))
        for connection in (PARENT, CHILD, LATERAL)
    }


def tombstone(direction: Direction, name: str = "t1", collection: str = "tracks") -> Tombstone:
    """Return a tombstone with a direction."""
    return Tombstone(collection, name, START_MS, 5, "a", "", direction)


def batch_of(*entries: SyncEntry) -> StreamFrame:
    """Return a frame with a batch."""
    batch = SyncBatch(7, START_MS, 2, len(entries), entries)
    return StreamFrame("batch", FrameType.BATCH, encode_sync_batch(batch))


def is_refused(seen: Seen) -> bool:
    """Return True if a stream was refused for lack of authority."""
    return seen.reset == REASONS["not-authorised"].code


def test_a_mixed_batch_is_split_by_direction() -> None:
    """D-67, D-68: each entry goes its own way, a tombstone by its byte."""
    bench = middle()
    sent_to(bench)
    documents = [
        SyncEntry(key, FrameType.SNAPSHOT, snapshot(key).payload)
        for key in ("nodes:n1", "commands:c1", "cells:l1", "notes:b1")
    ]
    up = encode_tombstone(tombstone(Direction.UP_ONLY))
    entry = SyncEntry("tombstones:tracks:t1", FrameType.TOMBSTONE, up)
    bench.disconnect(LATERAL)
    visitor = bench.connect(peer=9)
    bench.send(visitor, batch_of(*documents, entry))
    sent = sent_to(bench)

    assert sent[PARENT] == ["nodes:n1", "notes:b1", "tombstones:tracks:t1"]
    assert sent[CHILD] == ["commands:c1", "notes:b1"]


def test_without_roles_everything_goes_to_everyone() -> None:
    """D-70: a node that knows no hierarchy has none."""
    bench = middle({})
    sent_to(bench)
    bench.send(PARENT, snapshot("commands:c1"))
    bench.send(CHILD, snapshot("commands:c2"))
    down = encode_tombstone(tombstone(Direction.DOWN_ONLY))
    bench.send(CHILD, StreamFrame("x", FrameType.TOMBSTONE, down))

    assert sent_to(bench) == {
        PARENT: ["commands:c2", "tombstones:tracks:t1"],
        CHILD: ["commands:c1"],
        LATERAL: ["commands:c1", "commands:c2", "tombstones:tracks:t1"],
    }


def test_tombstones_are_offered_by_their_direction() -> None:
    """TS-051, D-146: the stored byte decides, not the collection."""
    bench = middle()
    all_of_them = tuple(tombstone(way, f"t{way}") for way in Direction)
    batch = encode_tombstone_batch(TombstoneBatch(len(all_of_them), all_of_them))
    bench.send(PARENT, StreamFrame("x", FrameType.TOMBSTONE_BATCH, batch))
    sent_to(bench)
    offered = {}
    for peer in (PARENT, CHILD, LATERAL):
        again = bench.connect(peer=peer)
        frames = bench.take_frames(again)
        offered[peer] = frames[0].payload[3]

    assert offered == {PARENT: 3, CHILD: 3, LATERAL: 2}


def test_a_child_may_ask_for_commands_and_not_give_them() -> None:
    """DC-072, TS-052: its parent may; what a child only reads is answered."""
    bench = middle()
    sent_to(bench)
    frame = snapshot("commands:c1")
    entry = SyncEntry(frame.key, frame.type, frame.payload)
    down = encode_tombstone(tombstone(Direction.DOWN_ONLY))
    dead = StreamFrame("x", FrameType.TOMBSTONE, down)

    assert is_refused(bench.send(CHILD, frame))
    assert is_refused(bench.send(CHILD, dead))
    assert not is_refused(bench.send(CHILD, batch_of(entry)))
    assert bench.core.keys == ()
    assert [one.reason for one in bench.skipped] == ["not-authorised"]
    for key in ("nodes:n1", "notes:b1"):
        assert not is_refused(bench.send(CHILD, StreamFrame(key, frame.type, frame.payload)))
    assert not is_refused(bench.send(PARENT, frame))
    assert not is_refused(bench.send(PARENT, dead))
    assert sent_to(bench)[CHILD] == ["commands:c1", "tombstones:tracks:t1"]
    bench.send(CHILD, read("commands:c1"))
    assert sent_to(bench)[CHILD] == ["commands:c1"]


def test_a_tombstone_that_goes_down_is_taken_from_a_lateral_peer() -> None:
    """TS-052: of children alone it is refused; those get it."""
    bench = middle()
    sent_to(bench)
    down = encode_tombstone(tombstone(Direction.DOWN_ONLY))

    assert not is_refused(bench.send(LATERAL, StreamFrame("x", FrameType.TOMBSTONE, down)))
    assert sent_to(bench) == {PARENT: [], CHILD: ["tombstones:tracks:t1"], LATERAL: []}


@pytest.mark.parametrize("key", ["certificates:c1", "revocations:r1"])
def test_closed_collections_are_taken_from_nobody(key: str) -> None:
    """DC-073, D-59: neither written nor read, with or without a hierarchy."""
    for roles in (None, {}):
        bench = middle(roles)
        sent_to(bench)
        for connection in (PARENT, CHILD, LATERAL):
            assert is_refused(bench.send(connection, snapshot(key)))
            assert is_refused(bench.send(connection, read(key)))
        assert bench.core.keys == ()
        assert sent_to(bench) == {PARENT: [], CHILD: [], LATERAL: []}


def test_the_hook_decides_by_peer_collection_and_type() -> None:
    """D-59: a program may admit one sender of a closed collection, and close any other."""
    table = Table(b"\x09" * 16)
    asked: list[tuple[str, str, int]] = []

    def admits(peer: str, collection: str, frame_type: int) -> bool:
        asked.append((peer, collection, frame_type))
        return (peer == endpoint(0)) == (collection == "certificates")

    settings = Settings(Dialect.OPEN, admits=admits, heartbeat_s=0)
    bench = Bench(lambda call: table.answer(call, None), settings)
    for number in (PARENT, CHILD):
        bench.connect(peer=number)
    for key in ("certificates:c1", "notes:n1"):
        frame = snapshot(key)
        closed = [is_refused(bench.send(peer, frame)) for peer in (PARENT, CHILD)]
        assert closed == ([False, True] if key == "certificates:c1" else [True, False])
    dead = tombstone(Direction.BIDIRECTIONAL, collection="notes")
    assert is_refused(
        bench.send(PARENT, StreamFrame("x", FrameType.TOMBSTONE, encode_tombstone(dead)))
    )
    assert asked[0] == (endpoint(0), "certificates", FrameType.SNAPSHOT)
    assert asked[-1] == (endpoint(0), "notes", FrameType.TOMBSTONE)


def test_a_collection_that_is_taken_from_others_can_be_read() -> None:
    """DC-087: a peer that is not among the senders changes nothing, and is answered."""
    table = Table(b"\x09" * 16)
    collections = Collections(senders={"vips": frozenset((endpoint(0),))})
    settings = Settings(Dialect.OPEN, collections=collections, heartbeat_s=0)
    bench = Bench(lambda call: table.answer(call, None), settings)
    for number in (PARENT, CHILD):
        bench.connect(peer=number)
    taken = bench.send(PARENT, snapshot("vips:v1"))
    bench.take_frames(CHILD)
    changed = bench.send(CHILD, snapshot("vips:v2"))
    asked = bench.send(CHILD, read("vips:v1"))

    assert not is_refused(taken)
    assert is_refused(changed)
    assert not is_refused(asked)
    assert bench.core.keys == ("vips:v1",)
    assert [frame.key for frame in bench.take_frames(CHILD)] == ["vips:v1"]


def test_a_role_given_later_takes_effect() -> None:
    """DC-074, D-151: from then on, and for what is there already."""
    bench = middle()
    bench.send(PARENT, snapshot("commands:c1"))
    sent_to(bench)
    bench.feed(RoleAssigned(bytes.fromhex(endpoint(2)), PeerRole.CHILD))
    assert sent_to(bench) == {PARENT: [], CHILD: [], LATERAL: ["batch"]}
    bench.send(PARENT, snapshot("commands:c2"))
    assert sent_to(bench) == {PARENT: [], CHILD: ["commands:c2"], LATERAL: ["commands:c2"]}
    for peer in (0, 1, 2):
        bench.feed(RoleAssigned(bytes.fromhex(endpoint(peer)), None))
    bench.send(CHILD, snapshot("commands:c3"))

    assert sent_to(bench)[PARENT][-1] == "commands:c3"


def test_a_role_given_during_an_exchange_takes_effect_after_it() -> None:
    """DC-074: the exchange under way has chosen its documents before."""
    bench = middle()
    bench.send(PARENT, snapshot("commands:c1"))
    bench.send(PARENT, snapshot("notes:b1"))
    bench.hold_documents = True
    late = bench.connect(peer=9)
    bench.feed(RoleAssigned(b"\x09" * ENDPOINT_ID, PeerRole.CHILD))
    bench.let_go()
    sizes = [len(frame.payload) for frame in bench.take_frames(late)]

    assert len(sizes) == 2
    assert sizes[1] > sizes[0]
