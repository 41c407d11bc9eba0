"""What became of documents between a node and its peers, and the bound of the memory for it."""

from __future__ import annotations

from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.core.state.document_fates import PAIRS_MAX, Fate, Fates, Noted
from meshwire_reference.documents.table import Table
from meshwire_reference.testing.author import snapshot
from meshwire_reference.testing.bench import START_MS, Bench
from meshwire_reference.wire.batches import StreamFrame
from meshwire_reference.wire.tombstones import Tombstone, encode_tombstone
from meshwire_spec.numbers import ENDPOINT_ID, Direction, FrameType


def make_bench() -> Bench:
    """Return an open node with real document handling."""
    table = Table(b"\x09" * 16)
    return Bench(lambda call: table.answer(call, None), Settings(Dialect.OPEN, heartbeat_s=0))


def peer_of(connection: int) -> str:
    """Return the endpoint id that a bench gives the peer of a connection."""
    return (bytes((connection,)) * ENDPOINT_ID).hex()


def fates(bench: Bench, connection: int, key: str) -> dict[Fate, tuple[int, str]]:
    """Return how often each thing became of a document, and why the last time."""
    noted = bench.core.fates.of(peer_of(connection), key)
    assert all(one.at_ms == START_MS for one in noted.values())
    return {fate: (one.times, one.why) for fate, one in noted.items()}


def test_what_became_of_a_document_is_noted_on_both_sides() -> None:
    """Received and applied from one peer, offered and sent to the other."""
    bench = make_bench()
    one, other = bench.connect(), bench.connect()
    bench.send(one, snapshot("tracks:t1"))

    assert fates(bench, one, "tracks:t1") == {Fate.RECEIVED: (1, ""), Fate.APPLIED: (1, "")}
    assert fates(bench, other, "tracks:t1") == {
        Fate.OFFERED: (1, "push"),
        Fate.SENT: (1, "snapshot"),
    }
    assert fates(bench, one, "tracks:t2") == {}


def test_why_a_document_did_not_arrive_is_noted() -> None:
    """Guarded by a tombstone, refused as a frame, expired."""
    bench = make_bench()
    one, other = bench.connect(), bench.connect()
    for deleted_at, name in ((START_MS, "t1"), (START_MS - 10**9, "t2")):
        buried = Tombstone("tracks", name, deleted_at, 5, "a", "", Direction.BIDIRECTIONAL)
        bench.send(one, StreamFrame("x", FrameType.TOMBSTONE, encode_tombstone(buried)))
    bench.send(other, snapshot("tracks:t1"))
    bench.send(other, StreamFrame("notes:n1", FrameType.SNAPSHOT, b"\x01"))

    assert fates(bench, one, "tracks:t1")[Fate.DELETED] == (1, "")
    assert fates(bench, one, "tracks:t2")[Fate.EXPIRED] == (1, "tombstone: expired")
    assert fates(bench, other, "tracks:t1")[Fate.GUARDED] == (1, "tombstoned")
    assert fates(bench, other, "tracks:t1")[Fate.SENT] == (2, "tombstone")
    assert fates(bench, other, "notes:n1")[Fate.REFUSED] == (1, "bad-document")


def test_the_memory_has_a_bound() -> None:
    """The pairs of which something was noted last stay."""
    fates = Fates()
    for number in range(PAIRS_MAX + 10):
        fates.note("a", "first", Fate.OFFERED, number)
        fates.note("a", str(number), Fate.SENT, number, "delta")

    assert len(fates) == PAIRS_MAX
    assert fates.of("a", "0") == {}
    assert fates.of("a", "first") == {Fate.OFFERED: Noted(PAIRS_MAX + 10, PAIRS_MAX + 9)}
    assert fates.of("a", str(PAIRS_MAX + 9)) == {Fate.SENT: Noted(1, PAIRS_MAX + 9, "delta")}
