"""Offers whose connection ends before they are over, and which resume at their cursor."""

from __future__ import annotations

from random import Random
from typing import Final

import pytest

from meshwire_reference.core.document_calls import Edit, Fields, Listed
from meshwire_reference.core.inputs import LocalOperation, OfferAgain, SendFailed
from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.core.state.cursors import KEYS_MAX, PEERS_MAX, Cursors
from meshwire_reference.documents.table import Table
from meshwire_reference.testing.author import Author
from meshwire_reference.testing.bench import Bench
from meshwire_reference.testing.joined import JoinedBenches
from meshwire_reference.wire.batches import StreamFrame, decode_sync_batch
from meshwire_spec.numbers import FrameType

DOCUMENTS: Final = 110
INTERRUPTED: Final = 10
PASSES_MAX: Final = 1.1
PAUSE_S: Final = 10.0
SIZE: Final = 1000
"""Bytes of a document at least, which do not compress."""


def text_of(number: int) -> str:
    """Return the text of a document."""
    return Random(number).randbytes(SIZE).hex()


def make_bench(actor: int, documents: int = 0, sends_max: int = 1) -> Bench:
    """Return an open node that holds documents, of which each second one is sent as a snapshot."""
    table = Table(bytes((actor,)) * 16)
    settings = Settings(Dialect.OPEN, heartbeat_s=0, sends_max=sends_max, batch_entries=5)
    bench = Bench(lambda call: table.answer(call, None), settings)
    for number in range(documents):
        key = f"{('notes', 'nodes')[number % 2]}:{number}"
        bench.feed(LocalOperation(number, Edit(key, {"number": number, "text": text_of(number)})))
    return bench


def sent_bytes(bench: Bench) -> int:
    """Return how many bytes a node has sent."""
    return bench.core.statistics.sent_bytes


def meet(one: Bench, other: Bench, *, streams: int | None = None) -> None:
    """Connect two nodes, carry everything or a number of streams of the first, and disconnect."""
    network = JoinedBenches(Random(1))
    one.hold_streams = streams is not None
    network.link(one, other, (1, 2))
    if streams is None:
        network.run([one, other], PAUSE_S)
    for _ in range(streams or 0):
        one.let_one_go()
        network.carry()
    one.hold_streams = False
    one.held.clear()
    network.cut()


def announced(bench: Bench) -> tuple[int, int]:
    """Return how many documents a new peer 2 is offered in all, and how many by their heads."""
    frames = bench.frames(bench.connect(peer=2))
    sizes = [
        len(entry.payload)
        for frame in frames
        if frame.type == FrameType.BATCH
        for entry in decode_sync_batch(frame.payload).entries
    ]
    return len(sizes), sum(size < SIZE for size in sizes)


def test_an_offer_that_is_interrupted_ten_times_costs_one_pass() -> None:
    """D-53, DC-081: at most a tenth more than an offer of which nothing is lost."""
    whole = make_bench(1, DOCUMENTS)
    meet(whole, make_bench(2))
    one, other = make_bench(1, DOCUMENTS), make_bench(2)
    for _ in range(INTERRUPTED):
        before = len(other.core.keys)
        meet(one, other, streams=2)
        assert before < len(other.core.keys) < DOCUMENTS
    meet(one, other)

    assert len(other.core.keys) == DOCUMENTS
    assert sent_bytes(one) <= PASSES_MAX * sent_bytes(whole)
    # What the other side has got so far it announces each time.
    assert sent_bytes(other) <= 0.3 * sent_bytes(whole)


def test_what_was_sent_and_lost_is_asked_for() -> None:
    """DC-081: the peer has forgotten everything in between, so it asks for what is announced."""
    one = make_bench(1, 40)
    meet(one, make_bench(2), streams=5)
    late = make_bench(3)
    meet(one, late)

    assert set(late.core.keys) == set(one.core.keys)
    late.feed(LocalOperation(1000, Fields("nodes:1")))
    read = late.done[1000]
    assert isinstance(read, Listed)
    assert read.fields is not None
    assert read.fields["text"].value == text_of(1)


def test_an_offer_that_is_over_is_made_anew() -> None:
    """DC-035: the next connection gets every document in full, as does one that the user asks."""
    one = make_bench(1, 40)
    meet(one, make_bench(2), streams=5)
    total, by_heads = announced(one)
    assert total == 40
    assert 0 < by_heads < 40
    assert announced(one) == (40, 0)
    meet(one, make_bench(2), streams=5)
    network, other = JoinedBenches(Random(1)), make_bench(2)
    network.link(one, other, (1, 2))
    before = sent_bytes(one)
    one.feed(OfferAgain())
    network.run([one, other], PAUSE_S)

    assert sent_bytes(one) - before > 40 * SIZE


def test_a_batch_that_was_lost_does_not_count_as_sent() -> None:
    """DC-081: the next offer has its documents, and not their heads alone."""
    bench = make_bench(1, 8)
    bench.hold_sends = True
    connection = bench.connect(peer=2)
    ((_, stream),) = bench.order
    bench.report(connection, SendFailed(stream))
    # The second batch is under way, so that the offer is not over.
    assert len(bench.order) == 2
    bench.held.clear()
    bench.hold_sends = False
    bench.disconnect(connection)

    assert announced(bench) == (8, 0)


def test_an_offer_is_not_over_while_its_last_batches_are_under_way() -> None:
    """DC-081: what was sent by then is remembered, although nothing is left to choose."""
    bench = make_bench(1, 8, sends_max=3)
    bench.hold_sends = True
    connection = bench.connect(peer=2)
    assert len(bench.held) == 2
    bench.let_one_go()
    bench.held.clear()
    bench.hold_sends = False
    bench.disconnect(connection)

    assert announced(bench) == (8, 5)


def test_what_came_from_a_peer_is_not_sent_back_in_full() -> None:
    """DC-081: a peer that connects again receives only heads of what it has sent itself."""
    one, other = make_bench(1, 40), make_bench(2)
    meet(one, other)
    before = sent_bytes(one), sent_bytes(other)
    meet(one, other)

    assert sent_bytes(one) - before[0] > 40 * SIZE
    assert sent_bytes(other) - before[1] < 0.15 * 40 * SIZE


def test_a_request_for_what_was_announced_waits_for_room() -> None:
    """DC-011: it is made anew, although the document is not there yet."""
    table = Table(b"\x09" * 16)
    settings = Settings(Dialect.OPEN, heartbeat_s=0, answer_bytes_max=10)
    bench = Bench(lambda call: table.answer(call, None), settings)
    connection = bench.connect()
    bench.hold_sends = True
    names = [f"announced:{number}" for number in range(3)]
    for name in names:
        author = Author(name, 5)
        author.edit(by=7)
        bench.send(connection, StreamFrame(name, FrameType.DELTA, author.announcement()))
    bench.let_go()

    assert sorted(frame.key for frame in bench.take_frames(connection)) == names


def test_what_is_remembered_is_bounded() -> None:
    """The peer of longest ago is forgotten, and of one peer a number of keys is kept."""
    cursors = Cursors()
    for peer in range(PEERS_MAX + 1):
        cursors.sent.add(f"{peer}", ("notes:1",))
    assert "notes:1" not in cursors.had("0")
    assert "notes:1" in cursors.had("1")
    for part in range(3):
        cursors.sent.add("1", map(str, range(part * KEYS_MAX, (part + 1) * KEYS_MAX)))
    assert f"{KEYS_MAX - 1}" in cursors.had("1")
    assert f"{2 * KEYS_MAX}" not in cursors.had("1")
    cursors.sent.forget("1")
    cursors.received.add("1", ("notes:2",))
    assert cursors.had("1") == {"notes:2"}


def test_what_is_remembered_of_all_peers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The peers of longest ago are forgotten, but not the last one."""
    monkeypatch.setattr("meshwire_reference.core.state.cursors.KEYS_IN_ALL_MAX", 5)
    cursors = Cursors()
    cursors.received.add("1", ("notes:1", "notes:2"))
    cursors.received.add("2", ("notes:1", "notes:2", "notes:2"))
    cursors.received.add("1", ("notes:3",))
    assert cursors.had("2") == {"notes:1", "notes:2"}

    cursors.received.add("3", ("notes:4",))
    assert cursors.had("2") == set()
    assert cursors.had("1") == {"notes:1", "notes:2", "notes:3"}
    cursors.received.add("3", map(str, range(9)))
    assert cursors.had("1") == set()
    assert len(cursors.had("3")) == 10
