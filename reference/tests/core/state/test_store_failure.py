"""A store that fails: the core serves what is stored, and changes nothing until it recovers."""

from __future__ import annotations

import pytest

from meshwire_reference.core.document_calls import KeptTombstone
from meshwire_reference.core.effects import CallDocuments, WriteStore
from meshwire_reference.core.inputs import StoreFailed, StoreOpened, StoreRecovered
from meshwire_reference.documents.table import Table
from meshwire_reference.testing.author import Author, author, read, snapshot
from meshwire_reference.testing.bench import START_MS, Bench
from meshwire_reference.wire.batches import StreamFrame
from meshwire_reference.wire.tombstones import Tombstone, encode_tombstone
from meshwire_spec.numbers import REASONS, Direction, FrameType

KEY = "notes:n1"
GONE = "tracks:t1"
INTERNAL = REASONS["internal"].code


def tombstone(key: str, at_ms: int = START_MS) -> StreamFrame:
    """Return the frame with a tombstone for a document."""
    collection, _, document_id = key.partition(":")
    content = encode_tombstone(
        Tombstone(collection, document_id, at_ms, 0x0102, "peer", "", Direction.BIDIRECTIONAL)
    )
    return StreamFrame(f"tombstones:{key}", FrameType.TOMBSTONE, content)


class TestStoreFailure:
    """A node whose writes are lost."""

    def setup_method(self) -> None:
        """Make a node with a worker that loads what the store has."""
        self.table = Table(b"\x09" * 16)
        self.stored: dict[str, bytes] = {}
        self.bench = Bench(
            lambda call: self.table.answer(
                call, None if self.table.holds(call) else self.stored.get(getattr(call, "key", ""))
            )
        )

    def fields(self, connection: int, key: str) -> dict[str, object]:
        """Return what the node answers to a read."""
        self.bench.take_frames(connection)
        self.bench.send(connection, read(key))
        reader = Author(key, 99)
        for frame in self.bench.take_frames(connection):
            if frame.key == key and frame.type == FrameType.DELTA:
                reader.receive(frame.payload)
        return reader.fields

    def fail(self, *keys: str) -> None:
        """Lose the writes of documents, which are held."""
        sizes = {key: len(self.stored[key]) for key in keys if key in self.stored}
        self.bench.held.clear()
        self.bench.hold_writes = False
        self.bench.feed(StoreFailed(frozenset(keys), sizes))

    def test_a_lost_change_is_seen_by_nobody(self) -> None:
        """Neither acknowledged nor passed on nor read, also of a document that was stored."""
        one = author(KEY)
        self.stored[KEY] = one.snapshot()
        bench = self.bench
        source, other = bench.connect(), bench.connect()
        bench.send(source, StreamFrame(KEY, FrameType.SNAPSHOT, self.stored[KEY]))
        bench.take_frames(other)
        bench.hold_writes = True
        one.edit(lost=1)
        seen = bench.send(source, StreamFrame(KEY, FrameType.SNAPSHOT, one.snapshot()))
        self.fail(KEY)

        assert not seen.finished
        assert bench.frames(other) == []
        assert bench.closed == {source: INTERNAL, other: INTERNAL}
        assert self.fields(bench.connect(), KEY) == {"by": 7}

    def test_a_lost_document_is_not_offered(self) -> None:
        """It is not in the index any more."""
        bench = self.bench
        bench.hold_writes = True
        bench.send(bench.connect(), snapshot(KEY))
        self.fail(KEY)
        late = bench.connect()

        assert bench.frames(late) == []
        assert self.fields(late, KEY) == {}

    def test_a_lost_tombstone_guards_nothing(self) -> None:
        """Its document is there as before."""
        self.stored[GONE] = author(GONE).snapshot()
        bench = self.bench
        source = bench.connect()
        bench.send(source, StreamFrame(GONE, FrameType.SNAPSHOT, self.stored[GONE]))
        bench.hold_writes = True
        bench.send(source, tombstone(GONE))
        self.fail(GONE)

        assert self.fields(bench.connect(), GONE) == {"by": 7}

    @pytest.mark.parametrize(
        "frame", [snapshot(KEY), StreamFrame(KEY, FrameType.DELTA, b""), tombstone(GONE)]
    )
    def test_what_would_change_something_is_refused(self, frame: StreamFrame) -> None:
        """As a fault of this node, without a write."""
        if frame.type == FrameType.DELTA:
            frame = StreamFrame(KEY, FrameType.DELTA, author(KEY).delta() or b"")
        self.fail()
        connection = self.bench.connect()
        seen = self.bench.send(connection, frame)

        assert seen.reset == INTERNAL
        assert self.bench.writes == []
        assert self.fields(connection, frame.key.removeprefix("tombstones:")) == {}

    def test_a_call_that_was_in_flight_changes_nothing(self) -> None:
        """Its result comes after the failure."""
        bench = self.bench
        source = bench.connect()
        bench.hold_documents = True
        bench.send(source, snapshot(KEY), fin=False)
        bench.send(source, tombstone(GONE))
        calls = [effect for effect in bench.held if isinstance(effect, CallDocuments)]
        assert len(calls) == 2
        bench.feed(StoreFailed(frozenset(), {}))
        bench.let_go()

        assert bench.writes == []
        assert not any(isinstance(effect, WriteStore) for effect in bench.held)
        late = bench.connect()
        assert self.fields(late, KEY) == {}
        assert bench.take_frames(late) == []

    def test_a_peer_that_was_refused_may_begin_again(self) -> None:
        """Its connection is closed; the others stay, and writes are made again."""
        bench = self.bench
        self.fail()
        unheard, reader = bench.connect(), bench.connect()
        bench.send(unheard, snapshot(KEY))
        bench.send(reader, read(KEY))
        bench.feed(StoreRecovered())

        assert bench.closed == {unheard: INTERNAL}

        again = bench.connect()
        assert bench.send(again, snapshot(KEY)).finished
        assert [write.key for write in bench.writes] == [KEY]


class TestRestart:
    """A node that begins with what its store holds."""

    def test_an_expired_tombstone_is_removed_from_the_store(self) -> None:
        """One that has expired while the node did not run at once, another when it is swept."""
        table = Table(b"\x09" * 16)
        bench = Bench(lambda call: table.answer(call, None))
        kept = [
            KeptTombstone(tombstone(key, at_ms).payload, at_ms)
            for key, at_ms in (("tracks:old", START_MS - 10**8), ("tracks:new", START_MS))
        ]
        bench.feed(StoreOpened({}, kept, 0x0102))

        assert bench.dropped == ["tracks:old"]

        bench.advance(2 * 3600)

        assert bench.dropped == ["tracks:old", "tracks:new"]
