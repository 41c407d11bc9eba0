"""Documents that return after their tombstone has expired: the graveyard (D-83)."""

import pytest

from meshwire_reference.core.inputs import StoreOpened
from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.documents.table import Table
from meshwire_reference.testing.author import author, read, snapshot
from meshwire_reference.testing.bench import START_MS, Bench
from meshwire_reference.wire.batches import StreamFrame
from meshwire_reference.wire.tombstones import Tombstone, decode_tombstone, encode_tombstone
from meshwire_spec.numbers import Direction, FrameType, collection_of

DAY_S = 24 * 3600
WEEK_S = 7 * DAY_S
LAMPORT = 0x0102


def make_bench(graveyard_s: float = WEEK_S) -> Bench:
    """Return an open node that remembers expired tombstones."""
    table = Table(b"\x09" * 16)
    settings = Settings(Dialect.OPEN, heartbeat_s=0, graveyard_s=graveyard_s)
    return Bench(lambda call: table.answer(call, None), settings)


def bury(bench: Bench, key: str) -> Tombstone:
    """Have a visitor delete a document, and let the tombstone expire."""
    collection, _, document_id = key.partition(":")
    one = Tombstone(collection, document_id, bench.now_ms, LAMPORT, "a", "why", Direction.UP_ONLY)
    visitor = bench.connect()
    bench.send(visitor, StreamFrame("x", FrameType.TOMBSTONE, encode_tombstone(one)))
    bench.disconnect(visitor)
    ttl_s = collection_of(key).ttl_s
    assert ttl_s is not None
    bench.advance(ttl_s * 1.2)
    return one


def holds(bench: Bench, key: str) -> bool:
    """Return True if the node has a document."""
    return key in bench.core._context.documents


@pytest.mark.parametrize(
    ("key", "returns", "deletes"),
    [
        ("tracks:t1", True, False),
        ("nodes:n1", False, True),
        ("cells:c1", False, True),
        ("alerts:a1", False, False),
    ],
)
def test_the_collection_decides(key: str, *, returns: bool, deletes: bool) -> None:
    """TS-048: allow, re-delete or reject, by snapshot and by delta."""
    bench = make_bench()
    before = bury(bench, key)
    stale, other = bench.connect(), bench.connect()
    delta = author(key).delta()
    assert delta is not None
    seen = [
        bench.send(stale, snapshot(key)),
        bench.send(stale, StreamFrame(key, FrameType.DELTA, delta)),
    ]
    sent = {
        connection: [
            decode_tombstone(frame.payload)
            for frame in bench.frames(connection)
            if frame.type == FrameType.TOMBSTONE
        ]
        for connection in (stale, other)
    }

    assert holds(bench, key) is returns
    assert all(one.finished for one in seen)
    assert bench.refusals == []
    assert bool(sent[stale]) is bool(sent[other]) is deletes
    for one in sent[other]:
        assert (one.lamport, one.deleted_at) == (LAMPORT + 1, bench.now_ms)
        assert (one.deleted_by, one.reason, one.direction) == ("a", "why", before.direction)


def test_the_second_tombstone_is_stored_before_it_is_shown() -> None:
    """With its Lamport time, which the next one exceeds (D-87)."""
    bench = make_bench()
    bury(bench, "nodes:n1")
    stale = bench.connect()
    bench.hold_writes = True
    seen = bench.send(stale, snapshot("nodes:n1"))
    shown = bench.frames(stale)
    finished = seen.finished
    bench.let_go()

    assert (shown, finished) == ([], False)
    assert seen.finished
    assert bench.writes[-1].lamport == LAMPORT + 1
    assert bench.writes[-1].tombstone is not None


def test_the_second_tombstone_exceeds_those_of_other_documents() -> None:
    """D-87: not only the first one of its own document."""
    bench = make_bench()
    bury(bench, "nodes:n1")
    other = bench.connect()
    greater = Tombstone("tracks", "t1", bench.now_ms, LAMPORT + 771, "a", "", Direction.UP_ONLY)
    bench.send(other, StreamFrame("x", FrameType.TOMBSTONE, encode_tombstone(greater)))
    bench.send(other, snapshot("nodes:n1"))
    (again,) = bench.frames(other)

    assert decode_tombstone(again.payload).lamport == LAMPORT + 772


def test_a_read_brings_nothing_back() -> None:
    """It is answered that there is no document."""
    bench = make_bench()
    bury(bench, "nodes:n1")
    reader = bench.connect()
    bench.send(reader, read("nodes:n1"))

    assert [frame.type for frame in bench.frames(reader)] == [FrameType.DELTA]


@pytest.mark.parametrize(("graveyard_s", "days"), [(WEEK_S, 7.2), (0, 0)])
def test_what_is_forgotten_returns(graveyard_s: float, days: float) -> None:
    """After the time that the operator has set, or at once."""
    bench = make_bench(graveyard_s)
    bury(bench, "nodes:n1")
    bench.advance(days * DAY_S)
    bench.send(bench.connect(), snapshot("nodes:n1"))

    assert holds(bench, "nodes:n1")
    assert bool(bench.dropped)


def test_a_remembered_tombstone_outlives_the_node() -> None:
    """It is dropped from the store when it is forgotten, and not before."""
    first = make_bench()
    bury(first, "nodes:n1")
    kept = first.writes[-1].tombstone
    assert kept is not None
    assert first.dropped == []
    second = make_bench()
    second.now_ms = first.now_ms
    second.feed(StoreOpened({}, (kept,), LAMPORT))
    second.send(second.connect(), snapshot("nodes:n1"))

    assert second.now_ms > START_MS
    assert not holds(second, "nodes:n1")


def test_a_document_that_was_written_anew_is_no_stale_one() -> None:
    """What the node holds goes on changing."""
    bench = make_bench()
    bench.send(bench.connect(), snapshot("tracks:t1"))
    bury(bench, "alerts:a1")
    bench.core._context.documents["alerts:a1"] = 1
    bench.send(bench.connect(), snapshot("alerts:a1"))

    assert bench.core.statistics.ignored["resurrected"] == 0
