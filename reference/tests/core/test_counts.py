"""What is counted: each outcome once, in all and for its peer."""

from pathlib import Path

from meshwire_reference.core.counts import COUNTERS, PEERS_MAX, Statistics
from meshwire_reference.core.effects import Send
from meshwire_reference.core.inputs import SendFailed
from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.documents.table import Table
from meshwire_reference.testing.author import read, snapshot
from meshwire_reference.testing.bench import START_MS, Bench
from meshwire_reference.wire.batches import (
    StreamFrame,
    SyncBatch,
    SyncEntry,
    encode_stream_frame,
    encode_sync_batch,
)
from meshwire_reference.wire.tombstones import Tombstone, encode_tombstone
from meshwire_spec.numbers import ENDPOINT_ID, Direction, FrameType


def make_bench() -> Bench:
    """Return an open node with real document handling."""
    table = Table(b"\x09" * 16)
    return Bench(lambda call: table.answer(call, None), Settings(Dialect.OPEN, heartbeat_s=0))


def peer_of(connection: int) -> str:
    """Return the endpoint id that a bench gives the peer of a connection."""
    return (bytes((connection,)) * ENDPOINT_ID).hex()


def test_each_outcome_has_its_counter() -> None:
    """Of two peers, each has its own, and the node has the sum."""
    bench = make_bench()
    one, other = bench.connect(), bench.connect()
    buried = Tombstone("tracks", "t1", START_MS, 5, "a", "", Direction.BIDIRECTIONAL)
    for connection in (one, other, other):
        bench.send(connection, StreamFrame("x", FrameType.TOMBSTONE, encode_tombstone(buried)))
    for connection in (one, other):
        bench.send(connection, StreamFrame("notes:n1", FrameType.SNAPSHOT, b"\x01"))
    bench.send(other, snapshot("tracks:t1"))
    bench.send(one, StreamFrame("x", FrameType.TOMBSTONE_ACK, b""))
    bench.write(one, bench.open(one, bidi=False), b"\x01" + bytes(8), fin=True)
    counts = bench.core.statistics
    first, second = counts.of(peer_of(one)), counts.of(peer_of(other))

    assert first.applied == {"tombstone": 1}
    assert second.applied == {}
    assert second.ignored == {"tombstone: duplicate": 2, "tombstoned": 1}
    assert first.ignored == {"type 0x06": 1}
    assert first.refused == second.refused == {"bad-document": 1}
    assert (first.heartbeats, second.heartbeats) == (1, 0)
    assert counts.refused == {"bad-document": 2}
    for name in ("frames", "refused", "ignored", "applied", "not_sent"):
        assert getattr(counts, name) == getattr(first, name) + getattr(second, name)


def test_entries_count_as_what_becomes_of_them() -> None:
    """D-154: a batch of three is one frame, two changes and one entry that is skipped."""
    bench = make_bench()
    connection = bench.connect()
    good = [snapshot(key) for key in ("notes:n1", "notes:n2")]
    frames = [*good, StreamFrame("notes:n3", FrameType.SNAPSHOT, b"\x01")]
    entries = tuple(SyncEntry(frame.key, frame.type, frame.payload) for frame in frames)
    payload = encode_sync_batch(SyncBatch(9, START_MS, 5, len(entries), entries))
    bench.send(connection, StreamFrame("batch", FrameType.BATCH, payload))
    counts = bench.core.statistics.of(peer_of(connection))

    assert counts.frames == {FrameType.BATCH: 1}
    assert counts.applied == {"changes": 2}
    assert counts.ignored == {"entry skipped: bad-document": 1}
    assert counts.refused == {}
    whole = len(encode_stream_frame(StreamFrame("batch", FrameType.BATCH, payload)))
    assert counts.frame_bytes == {FrameType.BATCH: whole}
    assert counts.received_bytes == whole


def test_what_is_sent_counts_where_the_transport_gets_it() -> None:
    """Frames, their bytes, and documents by mode; nothing before its write is durable."""
    bench = make_bench()
    one, other = bench.connect(), bench.connect()
    bench.hold_writes = True
    bench.send(one, snapshot("nodes:n1"))
    counts = bench.core.statistics.of(peer_of(other))
    before = counts.snapshot()
    bench.let_go()

    assert before.numbers["sent_bytes"] == 0
    assert before.by_label["sent_frames"] == {}
    (sent,) = map(encode_stream_frame, bench.frames(other))
    assert counts.sent_frames == {FrameType.SNAPSHOT: 1}
    assert counts.sent_frame_bytes == {FrameType.SNAPSHOT: len(sent)}
    assert counts.sent_bytes == len(sent)
    assert counts.sent_documents == {"latest-only": 1}
    assert counts.last_ms == START_MS
    assert bench.core.statistics.of(peer_of(one)).sent_documents == {}


def test_a_lost_frame_is_no_failure_of_the_peer() -> None:
    """It has a counter of its own."""
    bench = make_bench()
    one, other = bench.connect(), bench.connect()
    bench.hold_sends = True
    bench.send(one, snapshot("nodes:n1"))
    (send,) = (held for held in bench.held if isinstance(held, Send) and held.connection == other)
    bench.report(other, SendFailed(send.stream, 0))
    counts = bench.core.statistics.of(peer_of(other))

    assert (counts.lost, counts.refused, counts.not_sent) == (1, {}, {})
    assert bench.core.statistics.lost == 1


def test_a_snapshot_of_counts_stays_as_it_was() -> None:
    """N-18: what was returned does not change with the node."""
    statistics = Statistics()
    statistics.frames[FrameType.BATCH] += 1
    taken = statistics.snapshot()
    statistics.frames[FrameType.BATCH] += 1
    statistics.heartbeats += 1

    assert taken.by_label["frames"] == {"0x07": 1}
    assert taken.numbers["heartbeats"] == 0
    assert set(taken.by_label) | set(taken.numbers) == {row.name for row in COUNTERS}


def test_the_page_has_every_counter() -> None:
    """With what tells its numbers apart; and every counter of the table exists."""
    page = (Path(__file__).parents[3] / "spec" / "15-running.md").read_text("utf-8")

    for row in COUNTERS:
        assert f"| `{row.name}` | {row.label or '-'} |" in page
        assert hasattr(Statistics(), row.name)


def test_a_connection_that_comes_again_goes_on_counting() -> None:
    """The counts are those of the peer."""
    bench = make_bench()
    for _ in range(3):
        connection = bench.connect(peer=7)
        bench.send(connection, read("notes:n1"))
        bench.disconnect(connection)

    assert bench.core.statistics.of(peer_of(7)).frames == {FrameType.DELTA: 3}


def test_the_peers_have_a_bound() -> None:
    """D-155: 10,000 identities come and go."""
    statistics = Statistics()
    for number in range(10_000):
        for counts in statistics.each(str(number)):
            counts.refused["internal"] += 1

    assert len(statistics._peers) == PEERS_MAX
    assert statistics.refused == {"internal": 10_000}
    assert statistics.of("9999").refused == {"internal": 1}
    assert statistics.of("0").refused == {}


def test_the_counts_of_a_peer_that_stays_are_kept() -> None:
    """ER-023: those that were counted the longest time ago go, not those that began first."""
    statistics = Statistics()
    for number in range(2 * PEERS_MAX):
        for peer in ("stays", str(number)):
            statistics.of(peer).lost += 1

    assert statistics.of("stays").lost == 2 * PEERS_MAX
