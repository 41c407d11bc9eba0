"""Operations of the user: in turn with those of peers, durable before they end, or not done."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meshwire_reference.core.document_calls import (
    Done,
    Drop,
    Edit,
    Edited,
    Fields,
    Listed,
    Refused,
    Value,
)
from meshwire_reference.core.effects import LocalRefusal
from meshwire_reference.core.inputs import (
    Deletion,
    LocalOperation,
    OfferAgain,
    StoreFailed,
    StoreOpened,
)
from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.core.state.tombstones import document_key, frame_key
from meshwire_reference.documents.table import Table
from meshwire_reference.testing.author import Author, author, snapshot
from meshwire_reference.testing.bench import Bench
from meshwire_reference.wire.batches import StreamFrame
from meshwire_reference.wire.tombstones import Tombstone, decode_tombstone, encode_tombstone
from meshwire_spec.numbers import REASONS, U64_MAX, Direction, FrameType

KEY, TRACK, BEACON = "notes:n1", "tracks:t1", "beacons:b1"


class TestLocalOperations:
    """A node whose user works on its documents."""

    def setup_method(self) -> None:
        """Make a node with a worker that loads what the store has."""
        self.table = Table(b"\x09" * 16)
        self.bench = self.make(Settings(Dialect.OPEN, heartbeat_s=0))
        self.number = 0

    def make(self, settings: Settings) -> Bench:
        """Return a node."""
        return Bench(lambda call: self.table.answer(call, None), settings)

    def do(self, operation: Fields | Edit | Deletion) -> object:
        """Begin an operation and return its result, None while it has not ended."""
        self.number += 1
        self.bench.feed(LocalOperation(self.number, operation))
        return self.bench.done.get(self.number)

    def fields(self, key: str) -> dict[str, object] | None:
        """Return the fields that the user reads."""
        listed = self.do(Fields(key))
        assert isinstance(listed, Listed)
        if listed.fields is None:
            return None
        return {name: value.value for name, value in listed.fields.items()}

    def test_an_edit_reaches_the_peers_and_the_user_reads_it(self) -> None:
        """As a change of any peer does, but to all of them."""
        one, other = self.bench.connect(), self.bench.connect()
        edited = self.do(Edit(KEY, {"by": 7}))

        assert isinstance(edited, Edited)
        assert self.fields(KEY) == {"by": 7}
        for peer in (one, other):
            reader = Author(KEY, 99)
            (frame,) = self.bench.take_frames(peer)
            reader.receive(frame.payload)
            assert reader.fields == {"by": 7}

    def test_an_edit_ends_when_it_is_durable(self) -> None:
        """And a read of what it wrote too."""
        self.bench.hold_writes = True

        assert self.do(Edit(KEY, {"by": 7})) is None
        assert self.do(Fields(KEY)) is None
        assert isinstance(self.do(Fields("notes:other")), Listed)

        self.bench.let_go()

        assert isinstance(self.bench.done[1], Edited)
        assert isinstance(self.bench.done[2], Listed)

    def test_an_edit_that_changes_nothing_writes_nothing(self) -> None:
        """Its end waits for nothing else."""
        self.do(Edit(KEY, {"by": 7}))
        again = self.do(Edit(KEY, {"by": 7}))

        assert isinstance(again, Edited)
        assert len(self.bench.writes) == 1

    def test_a_lost_edit_is_not_acknowledged(self) -> None:
        """The user hears that it was not stored, and further ones are refused at once."""
        self.bench.hold_writes = True
        self.do(Edit(KEY, {"by": 7}))
        self.bench.held.clear()
        self.bench.hold_writes = False
        self.bench.feed(StoreFailed(frozenset((KEY,)), {}))

        assert self.bench.done[1] is LocalRefusal.NOT_STORED
        assert self.fields(KEY) is None
        assert self.do(Edit(KEY, {"by": 8})) is LocalRefusal.NOT_STORED
        assert self.do(Deletion(KEY, "user")) is LocalRefusal.NOT_STORED

    def test_an_edit_whose_result_comes_after_the_store_failed_is_taken_back(self) -> None:
        """The worker drops what it has written."""
        self.bench.hold_documents = True
        self.do(Edit(KEY, {"by": 7}))
        self.bench.feed(StoreFailed(frozenset(), {}))
        self.bench.let_go()

        assert self.bench.done[1] is LocalRefusal.NOT_STORED
        assert self.fields(KEY) is None

    def test_a_document_over_the_cap_is_taken_back(self) -> None:
        """What was there before stays."""
        self.bench = self.make(Settings(Dialect.OPEN, heartbeat_s=0, payload_cap=2000))
        self.do(Edit(KEY, {"by": 7}))
        (kept,) = self.bench.writes
        self.reload(kept.write.snapshot or b"", kept.write.changes)
        large = "".join(f"{number:x}" for number in range(3000))

        assert self.do(Edit(KEY, {"large": large})) is LocalRefusal.TOO_LARGE
        assert self.fields(KEY) == {"by": 7}
        assert len(self.bench.writes) == 1

    def reload(self, snapshot_of: bytes, changes: bytes) -> None:
        """Give the worker the stored bytes whenever it does not hold the document."""
        table = self.table
        stored = snapshot_of + changes
        self.bench._answer = lambda call: table.answer(call, None if table.holds(call) else stored)

    def test_a_deletion_becomes_a_tombstone_where_the_collection_has_some(self) -> None:
        """It is passed on, guards the document, and is greater than every one before."""
        self.bench.feed(StoreOpened({}, (), 0x0102))
        self.do(Edit(TRACK, {"by": 7}))
        peer = self.bench.connect()
        self.bench.take_frames(peer)

        assert isinstance(self.do(Deletion(TRACK, "user")), Done)

        (frame,) = self.bench.take_frames(peer)
        tombstone = decode_tombstone(frame.payload)
        assert frame.type == FrameType.TOMBSTONE
        assert (tombstone.lamport, tombstone.deleted_by) == (0x0103, "user")
        assert self.fields(TRACK) is None
        assert self.do(Edit(TRACK, {"by": 8})) is LocalRefusal.DELETED

    def test_a_deletion_before_1970_has_the_time_zero(self) -> None:
        """TM-007: on a device whose calendar was never set."""
        self.bench.now_ms = -60_000
        self.do(Edit(TRACK, {"by": 7}))
        peer = self.bench.connect()
        self.bench.take_frames(peer)

        assert isinstance(self.do(Deletion(TRACK, "user")), Done)

        (frame,) = self.bench.take_frames(peer)
        assert decode_tombstone(frame.payload).deleted_at == 0

    def test_the_greatest_lamport_time_stays_the_greatest(self) -> None:
        """A peer may have used it up."""
        self.bench.feed(StoreOpened({}, (), U64_MAX))
        self.do(Edit(TRACK, {"by": 7}))

        assert isinstance(self.do(Deletion(TRACK, "user")), Done)

    def test_a_deletion_without_room_for_its_tombstone_changes_nothing(self) -> None:
        """The document stays, and can be read, written and deleted once there is room."""
        self.bench = self.make(Settings(Dialect.OPEN, heartbeat_s=0, tombstones_max=1))
        for key in (TRACK, "tracks:t2"):
            self.do(Edit(key, {"by": 7}))

        assert isinstance(self.do(Deletion(TRACK, "user")), Done)
        assert self.do(Deletion("tracks:t2", "user")) is LocalRefusal.FULL
        assert self.fields("tracks:t2") == {"by": 7}

    def test_peers_cannot_use_the_room_of_own_deletions(self) -> None:
        """TS-054: a tenth more than peers may fill, and no more."""
        self.bench = self.make(Settings(Dialect.OPEN, heartbeat_s=0, tombstones_max=10))
        own = ["tracks:o1", "tracks:o2"]
        for key in own:
            self.do(Edit(key, {"by": 7}))
        peer = self.bench.connect()
        first = Tombstone("tracks", "t0", self.bench.now_ms, 1, "peer", "", Direction.BIDIRECTIONAL)
        offered = [replace(first, document_id=f"t{number}") for number in range(11)]
        frames = [
            StreamFrame(frame_key(document_key(one)), FrameType.TOMBSTONE, encode_tombstone(one))
            for one in offered
        ]
        seen = [self.bench.send(peer, frame).reset for frame in frames]
        done = [self.do(Deletion(key, "user")) for key in own]

        assert seen == [None] * 10 + [REASONS["internal"].code]
        assert isinstance(done[0], Done)
        assert done[1] is LocalRefusal.FULL

    def test_a_deletion_becomes_a_mark_elsewhere(self) -> None:
        """The other fields stay."""
        self.do(Edit(KEY, {"by": 7}))

        assert isinstance(self.do(Deletion(KEY, "user")), Edited)
        listed = self.do(Fields(KEY))
        assert isinstance(listed, Listed)
        assert listed.deleted
        assert (listed.fields or {})["by"] == Value("int", 7)

    @pytest.mark.parametrize("key", [KEY, TRACK])
    def test_what_is_not_there_cannot_be_deleted(self, key: str) -> None:
        """No tombstone is made for a mistyped id."""
        assert self.do(Deletion(key, "user")) is LocalRefusal.ABSENT
        assert self.bench.writes == []

    def test_what_expires_cannot_be_deleted(self) -> None:
        """There is neither a tombstone nor a mark for it."""
        self.do(Edit(BEACON, {"by": 7}))

        assert self.do(Deletion(BEACON, "user")) is LocalRefusal.EXPIRES

    def test_a_deletion_whose_call_ends_its_worker_is_a_deletion(self) -> None:
        """The tombstone that guards the document from then on is stored and passed on too."""
        answers = {Drop: Refused("document-limit")}
        self.bench = Bench(lambda call: answers.get(type(call)) or self.table.answer(call, None))
        self.do(Edit(TRACK, {"by": 7}))
        peer = self.bench.connect()
        self.bench.take_frames(peer)

        assert isinstance(self.do(Deletion(TRACK, "me")), Done)
        assert self.bench.writes[-1].tombstone is not None
        assert [frame.type for frame in self.bench.frames(peer)] == [FrameType.TOMBSTONE]

    def test_a_lost_tombstone_guards_nothing(self) -> None:
        """A deletion that was under way when the store failed."""
        self.bench.feed(LocalOperation(1, Edit(TRACK, {"by": 7})))
        self.bench.hold_documents = True
        self.bench.feed(LocalOperation(2, Deletion(TRACK, "user")))
        self.bench.feed(StoreFailed(frozenset(), {TRACK: 100}))
        self.bench.let_go()

        assert self.bench.done[2] is LocalRefusal.NOT_STORED
        assert self.bench.core._context.guard(TRACK) is None

    def test_an_operation_waits_for_a_frame_of_its_document(self) -> None:
        """One call of a document is in flight at a time."""
        peer = self.bench.connect()
        self.bench.hold_documents = True
        self.bench.send(peer, snapshot(KEY))
        self.do(Edit(KEY, {"mine": 1}))

        assert len(self.bench.held) == 1

        self.bench.let_go()

        assert self.fields(KEY) == {"by": 7, "mine": 1}

    def test_the_documents_and_peers_can_be_listed(self) -> None:
        """For the commands that show them."""
        self.bench.connect(dialled=True)
        self.do(Edit(KEY, {"by": 7}))
        (peer,) = self.bench.core.peers

        assert self.bench.core.keys == (KEY,)
        assert (peer.connection, peer.dialled, peer.state) == (1, True, "ready")

    def test_a_frame_of_a_peer_and_an_edit_come_together(self) -> None:
        """Nothing of either is lost."""
        peer = self.bench.connect()
        self.do(Edit(KEY, {"mine": 1}))
        theirs = author(KEY)
        self.bench.send(peer, StreamFrame(KEY, FrameType.SNAPSHOT, theirs.snapshot()))

        assert self.fields(KEY) == {"by": 7, "mine": 1}

    def test_everything_is_offered_again_on_request(self) -> None:
        """To a peer that takes part in no initial exchange; what it has is not sent as a delta."""
        self.do(Edit(TRACK, {"by": 7}))
        peer = self.bench.connect()
        assert self.bench.take_frames(peer)
        self.bench.feed(OfferAgain())
        assert self.bench.take_frames(peer)
        self.bench.disconnect(peer)
        self.bench.feed(OfferAgain())
