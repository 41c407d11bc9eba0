"""Runs by heads between two own nodes: only what differs is offered, and everything converges."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Final

import pytest

from meshwire_reference.core import inputs
from meshwire_reference.core.document_calls import (
    Call,
    Edit,
    FindHeads,
    Heads,
    Merge,
    Merged,
    Refused,
    Result,
    Save,
    Saved,
    Scalar,
)
from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.core.state.head_items import identify_version, place_of
from meshwire_reference.documents.table import Table
from meshwire_reference.testing import author
from meshwire_reference.testing.bench import Bench
from meshwire_reference.testing.joined import JoinedBenches
from meshwire_reference.testing.reconciling import INIT, RESPONSE
from meshwire_reference.wire.batches import StreamFrame, decode_sync_batch
from meshwire_reference.wire.frames import FrameReader
from meshwire_reference.wire.reconciliation import decode_negentropy_message
from meshwire_spec.numbers import ENDPOINT_ID, REASONS, FrameType

ONE, OTHER = 1, 2
"""Numbers of the endpoint ids of the two nodes."""
SETTLE_S: Final = 5.0
"""Less than the time after which documents that both hold are offered."""
WHILE_S: Final = 60.0
DOCUMENT_TYPES: Final = frozenset((FrameType.DELTA, FrameType.SNAPSHOT, FrameType.BATCH))


def endpoint(number: int) -> str:
    """Return the endpoint id of a node, in hex."""
    return (bytes((number,)) * ENDPOINT_ID).hex()


class Node:
    """A node with its worker and its user; `compares_with` is the number of a configured peer."""

    def __init__(self, number: int, compares_with: int | None, **settings: bool) -> None:
        self.number = number
        self.table = Table(bytes((number + 16,)) * 16)
        self.asked: list[Call] = []
        peers = frozenset() if compares_with is None else frozenset((endpoint(compares_with),))
        self._settings = Settings(Dialect.OPEN, heartbeat_s=0, heads_peers=peers, **settings)
        self.bench = Bench(self.answer, self._settings)
        self._operations = 0

    def answer(self, call: Call) -> Result:
        """Answer as the worker."""
        self.asked.append(call)
        return self.table.answer(call, None)

    def load(self, key: str, snapshot: bytes) -> None:
        """Add a document of the operator."""
        merged = self.table.answer(Merge(key, snapshot), None)
        assert isinstance(merged, Merged)
        assert merged.write is not None
        self.bench.feed(inputs.DocumentLoaded(key, merged.write))

    def edit(self, key: str, **fields: Scalar) -> None:
        """Write a document as the user."""
        self._operations += 1
        edit = Edit(key, dict(fields))
        self.bench.feed(inputs.LocalOperation(self._operations, edit))

    def delete(self, key: str) -> None:
        """Delete a document as the user."""
        self._operations += 1
        self.bench.feed(inputs.LocalOperation(self._operations, inputs.Deletion(key, "user")))

    def restart(self) -> None:
        """Begin anew on what is stored; the worker keeps the documents in memory."""
        sizes = {key: self.bench.core._context.documents[key] for key in self.bench.core.keys}
        self.bench = Bench(self.answer, self._settings)
        self.bench.feed(inputs.StoreOpened(sizes))

    def heads(self) -> dict[str, Heads]:
        """Return the heads of each document."""
        found = {}
        for key in self.bench.core.keys:
            saved = self.table.answer(Save(key), None)
            assert isinstance(saved, Saved)
            found[key] = saved.heads
        return found

    def sent(self) -> list[StreamFrame]:
        """Return the frames that this node has written, on streams of either side."""
        return [
            frame
            for _, seen in sorted(self.bench.streams.items())
            for frame in FrameReader().feed(bytes(seen.data))
        ]

    def sent_bytes(self) -> int:
        """Return how many bytes this node has written."""
        return sum(len(seen.data) for seen in self.bench.streams.values())

    def offered(self) -> Counter[str]:
        """Return how often this node has sent each document, in batches or alone."""
        found: Counter[str] = Counter()
        for frame in self.sent():
            if frame.type == FrameType.BATCH:
                found.update(entry.key for entry in decode_sync_batch(frame.payload).entries)
            elif frame.type in DOCUMENT_TYPES:
                found[frame.key] += 1
        return found

    def messages(self, kind: FrameType) -> list[StreamFrame]:
        """Return the frames of runs of a type that this node has sent."""
        return [frame for frame in self.sent() if frame.type == kind]

    def clear(self) -> None:
        """Forget what was sent, between two connections."""
        self.bench.streams.clear()


class Pair:
    """Two nodes with documents in common, and the link between them."""

    def __init__(self, one: Node, other: Node, common: int = 0, seed: int = 1) -> None:
        self.one, self.other = one, other
        self.network = JoinedBenches(Random(seed))
        for number in range(common):
            key = f"notes:{number}"
            frame = author.snapshot(key)
            for node in (one, other):
                node.load(key, frame.payload)

    @property
    def benches(self) -> list[Bench]:
        """The benches of both."""
        return [self.one.bench, self.other.bench]

    def link(self, seconds: float = SETTLE_S) -> None:
        """Connect the two for a time; the connection stays."""
        self.network.link(self.one.bench, self.other.bench, (self.one.number, self.other.number))
        self.network.run(self.benches, seconds)

    def unlink(self) -> None:
        """End every connection, and forget what was sent on it."""
        for node in (self.one, self.other):
            for status in node.bench.core.peers:
                node.bench.disconnect(status.connection)
            node.clear()
        self.network = JoinedBenches(Random(2))

    def check_converged(self) -> None:
        """Assert that both hold the same documents."""
        heads = self.one.heads()

        assert heads == self.other.heads()
        assert all(heads.values())


def pair_of_own(common: int = 0, seed: int = 1) -> Pair:
    """Return two nodes that are each configured for the other."""
    return Pair(Node(ONE, OTHER), Node(OTHER, ONE), common, seed)


def test_the_item_of_a_document_is_made_of_its_key_and_heads() -> None:
    """NG-066 and NG-069, by digests of `hashlib` over bytes written by hand."""
    heads = (bytes.fromhex("0102" * 16), bytes.fromhex("f1f2" * 16))

    assert place_of("notes:n1") == 0x07DA1D34
    assert identify_version("notes:n1", heads[:1]).hex() == (
        "e8e6f5a729e34357b4da23ea74e6a997b6ffac2718ad8db2b0af9e9fd14770ef"
    )
    assert identify_version("notes:n1", heads).hex() == (
        "99fe0bf37393b845035b4c06bc09053c7b84e18f0c3b03a3333e468b895f4a3b"
    )


def test_only_what_differs_is_offered() -> None:
    """NG-068: missing at either side, or changed at one; and nothing else a minute later."""
    pair = pair_of_own(common=300)
    pair.one.edit("notes:new-1", a=1)
    pair.one.edit("notes:5", title="changed here")
    pair.other.edit("notes:new-2", b=2)
    pair.other.edit("notes:7", title="changed there")
    pair.link(WHILE_S)
    pair.check_converged()
    differing = {"notes:new-1", "notes:5", "notes:new-2", "notes:7"}

    assert pair.one.offered().keys() | pair.other.offered().keys() == differing
    assert len(pair.one.heads()) == 302


def test_nothing_is_offered_when_the_peer_comes_back() -> None:
    """NG-068: equal sets cost one message and its answer each way."""
    pair = pair_of_own(common=300)
    pair.one.edit("notes:new", a=1)
    pair.link()
    pair.unlink()
    pair.link(WHILE_S)

    for node in (pair.one, pair.other):
        assert node.offered() == Counter()
        assert len(node.messages(INIT)) == len(node.messages(RESPONSE)) == 1


@pytest.mark.parametrize("collection", ["notes", "beacons", "tracks"])
@pytest.mark.parametrize("seed", range(3))
def test_concurrent_edits_of_both_sides_converge(collection: str, seed: int) -> None:
    """NG-068: 50 shared documents, each changed at both sides while they were apart."""
    pair = pair_of_own(seed=seed)
    names = [f"{collection}:{number}" for number in range(50)]
    for key in names:
        pair.one.edit(key, base=1)
    for _ in range(2):
        pair.link()
        pair.unlink()
    for key in names:
        pair.one.edit(key, here=1)
        pair.other.edit(key, there=2)
    pair.link()
    pair.check_converged()

    assert {len(heads) for heads in pair.one.heads().values()} == {2}


def test_a_deleted_document_stays_deleted() -> None:
    """TS-044: its tombstone comes before the run, and what the run finds of it is ignored."""
    pair = pair_of_own()
    for number in range(40):
        pair.one.edit(f"tracks:{number}", a=number)
    pair.link()
    pair.unlink()
    pair.one.delete("tracks:3")
    pair.other.edit("tracks:3", b=1)
    pair.other.edit("tracks:4", b=1)
    pair.link()
    pair.check_converged()

    assert "tracks:3" not in pair.one.heads()
    assert len(pair.one.heads()) == 39


def test_what_changes_while_the_run_goes_on_arrives() -> None:
    """DC-030: before each flight both users change a document that differs, and a common one."""
    pair = pair_of_own(common=300)
    pair.one.edit("notes:new", a=1)
    pair.other.edit("notes:5", b=1)
    pair.network.link(pair.one.bench, pair.other.bench, (ONE, OTHER))
    for step in range(8):
        pair.one.edit("notes:new", step=step)
        pair.one.edit(f"notes:{200 + step}", step=step)
        pair.other.edit("notes:5", step=step)
        pair.other.edit(f"notes:{100 + step}", step=step)
        pair.network.carry()
    pair.network.run(pair.benches, SETTLE_S)
    pair.check_converged()

    assert len(pair.one.bench.runs) == len(pair.other.bench.runs) == 1


def test_after_a_restart_the_heads_are_asked_for_before_the_run() -> None:
    """NG-066: of each stored document once, also by the side that is asked first."""
    pair = pair_of_own(common=300)
    pair.one.restart()
    pair.one.asked.clear()
    pair.other.edit("notes:7", title="changed there")
    pair.link()
    pair.check_converged()
    asked = [call.key for call in pair.one.asked if isinstance(call, FindHeads)]

    assert sorted(asked) == sorted(pair.one.bench.core.keys)
    assert pair.one.offered().keys() | pair.other.offered().keys() == {"notes:7"}
    pair.unlink()
    pair.one.asked.clear()
    pair.link()

    assert not [call for call in pair.one.asked if isinstance(call, FindHeads)]


def test_a_document_that_cannot_be_read_is_left_out() -> None:
    """D-147: the others are compared all the same."""
    pair = pair_of_own(common=40)
    answer = pair.one.table.answer

    def refuse(call: Call, stored: bytes | None) -> Result:
        if getattr(call, "key", "") == "notes:3":
            return Refused("internal")
        return answer(call, stored)

    pair.one.table.answer = refuse  # type: ignore[method-assign]
    pair.one.restart()
    pair.other.edit("notes:7", title="changed there")
    pair.link()

    assert pair.other.bench.runs[0].need == 0
    assert set(pair.other.offered()) == {"notes:3", "notes:7"}


@pytest.mark.parametrize("is_dialler", [False, True])
def test_where_one_side_alone_is_configured_everything_is_offered(*, is_dialler: bool) -> None:
    """NG-068: the ids of the two sides have nothing in common, so nothing is taken for equal."""
    nodes = [Node(ONE, OTHER), Node(OTHER, None)]
    own, plain = nodes
    pair = Pair(*(nodes if is_dialler else nodes[::-1]), common=100)
    own.edit("notes:5", title="changed here")
    plain.edit("notes:7", title="changed there")
    pair.link()
    pair.check_converged()

    assert len(own.offered()) == len(plain.offered()) == 100


def test_a_peer_without_reconciliation_gets_everything() -> None:
    """NG-027: it refuses the run."""
    own, plain = Node(ONE, OTHER), Node(OTHER, ONE, serves_reconciliation=False)
    pair = Pair(own, plain, common=100)
    own.edit("notes:5", title="changed here")
    pair.link()
    pair.check_converged()

    assert [over.reason for over in own.bench.runs] == ["refused by the peer: unsupported"]
    assert len(own.offered()) == 100


def test_a_peer_that_closes_at_the_first_message_gets_everything_the_next_time() -> None:
    """NG-065: also where the run would be by heads."""
    own = Node(ONE, OTHER)
    own.edit("notes:5", a=1)
    connection = own.bench.connect(dialled=True, peer=OTHER)
    own.bench.report(connection, inputs.ConnectionClosed(REASONS["internal"].code, by_peer=True))
    own.clear()
    own.bench.connect(dialled=True, peer=OTHER)

    assert own.messages(INIT) == []
    assert own.offered().keys() == {"notes:5"}


def test_runs_with_other_peers_compare_keys() -> None:
    """NG-067: never assumed, whatever is configured for a third node."""
    own = Node(ONE, OTHER)
    for number in range(40):
        own.edit(f"notes:{number}", a=number)
    own.bench.connect(dialled=True, reconciles=True, peer=OTHER)
    own.bench.connect(dialled=True, reconciles=True, peer=OTHER + 1)
    by_heads, by_keys = (
        decode_negentropy_message(frame.payload).ranges for frame in own.messages(INIT)
    )

    assert {one.upper.timestamp for one in by_keys[:-1]} == {0}
    assert all(one.upper.timestamp for one in by_heads[:-1])


ROUNDS_MAX: Final = 3
BYTES_MAX: Final = 70_000


@pytest.mark.parametrize("kind", ["keys", "heads"])
def test_2000_documents_with_50_differences(kind: str) -> None:
    """NG-068: what travels is bounded by the differences, in all until quiet."""
    pair = pair_of_own(common=2000)
    for number in range(25):
        pair.one.edit(f"notes:{'a' if kind == 'keys' else ''}{number * 7}", here=number)
        pair.other.edit(f"notes:{'b' if kind == 'keys' else ''}{1000 + number * 7}", there=number)
    pair.link(WHILE_S)
    pair.check_converged()
    sent = pair.one.sent_bytes() + pair.other.sent_bytes()

    assert len(pair.one.heads()) == (2050 if kind == "keys" else 2000)
    for node in (pair.one, pair.other):
        (over,) = node.bench.runs
        assert over.rounds <= ROUNDS_MAX
    assert sent < BYTES_MAX
