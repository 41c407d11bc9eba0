"""Reads, deltas, snapshots, tombstones and batches: what they change, answer and set off."""

# Longer than 500 lines: the types of frames share the node, the authors and the documents.

import random
from dataclasses import replace
from string import ascii_letters

import pytest

from meshwire_reference.core.context import SKIP_EVENTS_MAX
from meshwire_reference.core.document_calls import (
    Call,
    Forget,
    Generate,
    Merge,
    Merged,
    Refused,
    Result,
    Save,
)
from meshwire_reference.core.effects import NotSent, Skipped
from meshwire_reference.core.frames.batch_work import STEP
from meshwire_reference.core.inputs import DocumentLoaded
from meshwire_reference.core.limits.fair_turns import UNITS
from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.documents.table import Table
from meshwire_reference.testing.author import Author, author, read, snapshot
from meshwire_reference.testing.bench import START_MS, Bench
from meshwire_reference.wire.batches import (
    StreamFrame,
    SyncBatch,
    SyncEntry,
    encode_sync_batch,
)
from meshwire_reference.wire.tombstones import (
    Tombstone,
    TombstoneBatch,
    encode_tombstone,
    encode_tombstone_batch,
)
from meshwire_spec.numbers import (
    BATCH_JOBS_MAX,
    READ_MESSAGE,
    REASONS,
    TOMBSTONE_GRACE_PERCENT,
    Direction,
    FrameType,
)

KEY = "notes:n1"
LATEST = "beacons:b1"
DELETED = "tracks:t1"
EMPTY_ANSWER = 25
DAY_MS = 24 * 3600 * 1000


def make_bench(settings: Settings | None = None) -> Bench:
    """Return an open node with real document handling."""
    table = Table(b"\x09" * 16)
    return Bench(lambda call: table.answer(call, None), settings)


def delta(made: Author) -> StreamFrame:
    """Return the next delta frame of an author."""
    message = made.delta()
    assert message is not None
    return StreamFrame(made.key, FrameType.DELTA, message)


def tombstone(key: str = DELETED, *, lamport: int = 7, age_ms: int = 5000) -> Tombstone:
    """Return a tombstone."""
    collection, _, document_id = key.partition(":")
    deleted_at = START_MS - age_ms
    return Tombstone(collection, document_id, deleted_at, lamport, "a", "", Direction.UP_ONLY)


def buried(one: Tombstone) -> StreamFrame:
    """Return a tombstone's frame."""
    key = f"tombstones:{one.collection}:{one.document_id}"
    return StreamFrame(key, FrameType.TOMBSTONE, encode_tombstone(one))


def batch(*entries: StreamFrame, created_at: int = START_MS, batch_id: int = 9) -> StreamFrame:
    """Return a batch frame of entries."""
    made = tuple(SyncEntry(entry.key, entry.type, entry.payload) for entry in entries)
    payload = encode_sync_batch(SyncBatch(batch_id, created_at, 5, len(made), made))
    return StreamFrame("batch", FrameType.BATCH, payload)


def content(bench: Bench, connection: int, key: str) -> dict[str, object]:
    """Return the fields of a document as a peer reads them."""
    bench.take_frames(connection)
    bench.send(connection, read(key))
    reader = Author(key, 99)
    for frame in bench.take_frames(connection):
        if frame.key == key and frame.type == FrameType.DELTA:
            reader.receive(frame.payload)
    return reader.fields


class TestReads:
    """DC-001 to DC-008."""

    def test_an_unknown_key_is_answered_each_time_and_creates_nothing(self) -> None:
        """DC-002 to DC-004."""
        bench = make_bench()
        connection, other = bench.connect(), bench.connect()
        for _ in range(3):
            bench.send(connection, read(KEY))

        answers = bench.frames(connection)
        assert [(frame.key, frame.type) for frame in answers] == [(KEY, 0)] * 3
        assert {len(frame.payload) for frame in answers} == {EMPTY_ANSWER}
        assert bench.writes == []
        assert bench.frames(other) == []
        assert bench.frames(bench.connect()) == []

    def test_a_document_is_read_in_one_round_trip(self) -> None:
        """DC-001: and again, as if it were the first time."""
        bench = make_bench()
        connection = bench.connect()
        bench.send(connection, snapshot(KEY))

        assert content(bench, connection, KEY) == {"by": 7}
        assert content(bench, connection, KEY) == {"by": 7}

    def test_a_tombstoned_key_is_answered_with_its_tombstone_each_time(self) -> None:
        """DC-005."""
        bench = make_bench()
        connection = bench.connect()
        bench.send(connection, buried(tombstone()))
        for _ in range(3):
            bench.send(connection, read(DELETED))

        assert bench.frames(connection) == [buried(tombstone())] * 3

    def test_reads_that_wait_together_share_an_answer(self) -> None:
        """DC-007, DC-008: the queue grows with keys, not with reads."""
        bench = make_bench(Settings(Dialect.OPEN, heartbeat_s=0, sends_max=1))
        connection = bench.connect()
        bench.hold_sends = True
        bench.send(connection, *[read("notes:other")] * 2, *[read(KEY)] * 50, fin=False)
        bench.let_go()

        keys = [frame.key for frame in bench.frames(connection)]
        assert keys == ["notes:other", "notes:other", KEY]

    def test_answers_over_budget_are_made_anew_and_none_is_lost(self) -> None:
        """D-142: what is not kept is made again in its turn."""
        settings = Settings(Dialect.OPEN, heartbeat_s=0, answer_bytes_max=30, sends_max=1)
        bench = make_bench(settings)
        connection = bench.connect()
        bench.hold_sends = True
        keys = [f"notes:{number}" for number in range(20)]
        bench.send(connection, *map(read, keys))
        bench.let_go()

        assert [frame.key for frame in bench.frames(connection)] == keys


class TestDeltas:
    """DC-010 to DC-017."""

    def test_two_sides_converge(self) -> None:
        """DC-011: with changes on both, until nothing is left to say."""
        bench = make_bench()
        connection = bench.connect()
        bench.send(connection, snapshot(KEY, 3))
        mine = author(KEY, 5)
        message = mine.delta()
        for _ in range(10):
            bench.take_frames(connection)
            if message is None:
                break
            bench.send(connection, StreamFrame(KEY, FrameType.DELTA, message))
            message = None
            for frame in bench.take_frames(connection):
                message = mine.receive(frame.payload)
        else:
            pytest.fail("no end of messages")

        assert len(mine.heads) == 2
        assert content(bench, connection, KEY) == mine.fields

    def test_nothing_is_stored_without_a_change(self) -> None:
        """DC-014: heads of a document that the node does not have."""
        bench = make_bench()
        connection = bench.connect()
        heads_only = b"\x42\x01" + b"\x11" * 32 + b"\x00\x01\x00\x00" + READ_MESSAGE[6:]
        seen = bench.send(connection, StreamFrame(KEY, FrameType.DELTA, heads_only))

        assert seen.finished
        assert bench.writes == []

    def test_a_second_answer_for_a_key_waits_for_none(self) -> None:
        """Two deltas whose answers cannot leave yet end in one answer that says it all."""
        bench = make_bench(Settings(Dialect.OPEN, heartbeat_s=0, sends_max=1))
        connection = bench.connect()
        mine = author(KEY, 5)
        first = delta(mine)
        mine.edit(more=1)
        second = delta(mine)
        bench.hold_sends = True
        bench.send(connection, read("notes:other"), first, second, fin=False)
        bench.let_go()
        answers = [frame for frame in bench.frames(connection) if frame.key == KEY]

        assert len(answers) == 1
        assert mine.receive(answers[0].payload) is None

    def test_a_call_that_fails_costs_one_stream(self) -> None:
        """DC-041."""

        def refuse(_call: Call) -> Result:
            return Refused("document-limit")

        bench = Bench(refuse)
        seen = bench.send(bench.connect(), snapshot(KEY))

        assert seen.reset == REASONS["document-limit"].code
        assert [(one.reason, one.key) for one in bench.refusals] == [("document-limit", KEY)]
        assert bench.not_sent == []


class TestSnapshots:
    """DC-020 to DC-024."""

    def test_they_are_merged(self) -> None:
        """DC-020: two authors' fields stand side by side."""
        bench = make_bench()
        connection = bench.connect()
        for one in (author(KEY, 3, a=1), author(KEY, 5, b=2)):
            bench.send(connection, StreamFrame(KEY, FrameType.SNAPSHOT, one.snapshot()))

        assert content(bench, connection, KEY) == {"a": 1, "b": 2}

    @pytest.mark.parametrize("payload", [b"", Author(KEY).snapshot()])
    def test_one_without_a_change_is_ignored(self, payload: bytes) -> None:
        """DC-021: also for a new key."""
        bench = make_bench()
        seen = bench.send(bench.connect(), StreamFrame(KEY, FrameType.SNAPSHOT, payload))

        assert seen.finished
        assert bench.writes == []

    def test_a_sender_that_lacks_something_gets_it_but_not_too_often(self) -> None:
        """DC-024: at once, then once a second, and the last state in the end."""
        bench = make_bench()
        connection, sender = bench.connect(), bench.connect()
        bench.send(connection, snapshot(LATEST, 3))
        bench.take_frames(sender)
        mine = Author(LATEST, 5)
        for number in range(3):
            mine.edit(count=number)
            bench.send(sender, StreamFrame(LATEST, FrameType.SNAPSHOT, mine.snapshot()))
        assert [frame.type for frame in bench.frames(sender)] == [FrameType.SNAPSHOT]
        bench.advance(5)

        frames = bench.frames(sender)
        mine.merge(frames[-1].payload)
        assert len(frames) == 2
        assert mine.fields == {"by": 3, "count": 2}

    def test_a_stale_one_is_answered_and_nothing_else(self) -> None:
        """DC-021, DC-024: it brings nothing, so nothing is stored or passed on."""
        bench = make_bench()
        connection, sender = bench.connect(), bench.connect()
        mine = author(LATEST, 3)
        stale = StreamFrame(LATEST, FrameType.SNAPSHOT, mine.snapshot())
        mine.edit(count=1)
        whole = replace(stale, payload=mine.snapshot())
        bench.send(connection, whole)
        bench.take_frames(sender)
        assert bench.send(sender, stale).finished

        assert bench.frames(sender) == [whole]
        assert bench.frames(connection) == []
        assert len(bench.writes) == 1

    def test_without_stream_credit_one_answer_waits_and_is_made_when_credit_comes(self) -> None:
        """DC-026, DC-027: the interval counts from the sending, with the document of then."""
        bench = make_bench()
        connection, sender = bench.connect(), bench.connect()
        mine = author(LATEST, 3)
        stale = StreamFrame(LATEST, FrameType.SNAPSHOT, mine.snapshot())
        bench.send(sender, stale)
        bench.take_frames(sender)
        bench.hold_streams = True
        for count in range(4):
            mine.edit(count=count)
            bench.send(connection, replace(stale, payload=mine.snapshot()))
            bench.send(sender, stale)
            bench.advance(2)
        bench.let_go()
        # The delta that announces the document is another matter (DC-058).
        sent = bench.take_frames(sender)
        at_once = [frame for frame in sent if frame.type == FrameType.SNAPSHOT]
        bench.send(sender, stale)
        bench.advance(0.9)
        inside = bench.take_frames(sender)
        bench.advance(0.2)

        # The pushes of the four edits, and behind that of the first the one answer.
        newest = replace(stale, payload=mine.snapshot())
        assert (len(at_once), at_once[1], at_once[0] == newest) == (5, newest, False)
        assert inside == []
        assert bench.take_frames(sender) == [newest]

    @pytest.mark.parametrize("seconds", [0.0, 5.0])
    def test_an_answer_that_has_not_left_is_followed_by_one_more_at_most(
        self, seconds: float
    ) -> None:
        """DC-026: however long it takes to leave, the next waits for that and for the interval."""
        bench = make_bench()
        connection, sender = bench.connect(), bench.connect()
        mine = author(LATEST, 3)
        stale = StreamFrame(LATEST, FrameType.SNAPSHOT, mine.snapshot())
        mine.edit(count=1)
        bench.send(connection, replace(stale, payload=mine.snapshot()))
        bench.take_frames(sender)
        bench.hold_sends = True
        for _ in range(3):
            bench.send(sender, stale)
            bench.advance(seconds)
        bench.let_go()
        first = bench.take_frames(sender)
        bench.advance(0.9)
        inside = bench.take_frames(sender)
        bench.advance(0.2)

        assert (len(first), inside) == (1, [])
        assert len(bench.take_frames(sender)) == 1

    def test_an_answer_whose_document_is_deleted_meanwhile_gives_its_stream_back(self) -> None:
        """TS-044: nothing is sent on the stream that it waited for."""
        bench = make_bench()
        connection, sender = bench.connect(), bench.connect()
        mine = author(DELETED, 3)
        stale = StreamFrame(DELETED, FrameType.SNAPSHOT, mine.snapshot())
        mine.edit(count=1)
        bench.send(connection, replace(stale, payload=mine.snapshot()))
        bench.take_frames(sender)
        bench.hold_streams = True
        bench.send(sender, stale)
        payload = encode_tombstone(tombstone())
        key = f"tombstones:{DELETED}"
        bench.send(connection, StreamFrame(key, FrameType.TOMBSTONE, payload))
        bench.let_go()

        assert [frame.type for frame in bench.frames(sender)] == [FrameType.TOMBSTONE]
        assert all(bench.streams[where].released for where in bench.order if where[0] == sender)


class TestRelay:
    """DC-030 to DC-036, TS-037, TS-038."""

    def test_a_change_goes_to_all_others_and_never_back(self) -> None:
        """As a delta that carries the changes, since nothing is known of them."""
        bench = make_bench()
        source, *others = (bench.connect() for _ in range(3))
        bench.send(source, snapshot(KEY))

        assert bench.frames(source) == []
        for other in others:
            (frame,) = bench.frames(other)
            reader = Author(KEY, 99)
            reader.receive(frame.payload)
            assert frame.type == FrameType.DELTA
            assert reader.fields == {"by": 7}

    @pytest.mark.parametrize("key", [LATEST, "track_history:h1"])
    def test_latest_only_and_windowed_collections_go_as_snapshots(self, key: str) -> None:
        """DC-033: also where the change came as a delta."""
        bench = make_bench()
        source, other = bench.connect(), bench.connect()
        bench.send(source, delta(author(key)))

        assert [frame.type for frame in bench.frames(other)] == [FrameType.SNAPSHOT]

    @pytest.mark.parametrize("key", [KEY, LATEST])
    def test_a_document_that_cannot_be_made_is_an_event(self, key: str) -> None:
        """It is not skipped silently: which one, toward whom, and why."""
        bench = make_bench()
        source, other = bench.connect(), bench.connect()
        table = bench._answer
        bench._answer = lambda call: (
            Refused("document-limit") if isinstance(call, Generate | Save) else table(call)
        )
        bench.send(source, snapshot(key))

        assert bench.frames(other) == []
        assert bench.not_sent == [NotSent(key, "document-limit", f"{other:02x}" * 32, other)]

    @pytest.mark.parametrize("key", [KEY, LATEST])
    def test_a_document_too_large_for_a_frame_goes_in_pieces(self, key: str) -> None:
        """DC-055: two changes fit into a frame each and not into one, which a new peer needs."""
        bench = make_bench(Settings(Dialect.OPEN, heartbeat_s=0, payload_cap=400))
        letters = "".join(random.Random(5).choices(ascii_letters, k=360))
        for one in (author(key, 5, text=letters[:180]), author(key, 6, more=letters[180:])):
            source = bench.connect()
            assert bench.send(source, delta(one)).finished
            bench.disconnect(source)
        late = bench.connect()
        frames = bench.frames(late)
        peer = Author(key, 7)
        for frame in frames:
            peer.receive(frame.payload)

        assert [frame.type for frame in frames] == [FrameType.DELTA, FrameType.DELTA]
        assert peer.fields == {"text": letters[:180], "more": letters[180:]}
        assert bench.not_sent == []
        refused = bench.send(late, read(key))
        # DC-056
        assert refused.reset == REASONS["document-limit"].code

    def test_a_change_too_large_for_a_frame_is_an_event(self) -> None:
        """The operator has brought it, whom no cap of a payload binds."""
        bench = make_bench(Settings(Dialect.OPEN, heartbeat_s=0, payload_cap=400))
        other = bench.connect()
        text = "".join(random.Random(5).choices(ascii_letters, k=900))
        merged = bench._answer(Merge(KEY, author(KEY, 5, text=text).snapshot()))
        assert isinstance(merged, Merged)
        assert merged.write is not None
        bench.feed(DocumentLoaded(KEY, merged.write))

        assert bench.frames(other) == []
        assert bench.not_sent == [NotSent(KEY, "document-limit", f"{other:02x}" * 32, other)]

    def test_a_closed_connection_lacks_nothing(self) -> None:
        """A document that is refused after its peer has left is no event."""
        bench = make_bench()
        source, other = bench.connect(), bench.connect()
        bench.hold_documents = True
        bench.send(source, snapshot(KEY))
        bench.let_one_go()
        bench.disconnect(other)
        bench._answer = lambda _call: Refused("internal")
        bench.let_go()

        assert bench.not_sent == []

    def test_what_changes_nothing_goes_nowhere(self) -> None:
        """DC-032."""
        bench = make_bench()
        source, other = bench.connect(), bench.connect()
        for _ in range(3):
            bench.send(source, snapshot(KEY))

        assert len(bench.frames(other)) == 1

    def test_changes_that_wait_together_go_as_one(self) -> None:
        """A slow peer is sent the newest state, not each step."""
        bench = make_bench(Settings(Dialect.OPEN, heartbeat_s=0, sends_max=1))
        source, other = bench.connect(), bench.connect()
        bench.hold_sends = True
        mine = Author(LATEST)
        for number in range(20):
            mine.edit(count=number)
            stream = bench.open(source)
            frame = StreamFrame(LATEST, FrameType.SNAPSHOT, mine.snapshot())
            from_peer = b"\x00\x0abeacons:b1\x01" + len(frame.payload).to_bytes(4, "big")
            bench.write(source, stream, from_peer + frame.payload)
        bench.let_go()
        frames = [frame for frame in bench.frames(other) if frame.type == FrameType.SNAPSHOT]

        assert len(frames) == 2
        assert frames[-1].payload == mine.snapshot()

    def test_nothing_is_passed_on_before_it_is_durable(self) -> None:
        """Durable before visible."""
        bench = make_bench()
        source, other = bench.connect(), bench.connect()
        bench.hold_writes = True
        bench.send(source, snapshot(KEY))
        assert bench.frames(other) == []
        bench.let_go()

        assert len(bench.frames(other)) == 1


class TestTombstones:
    """TS-012, TS-030 to TS-041."""

    def test_a_document_goes_and_the_tombstone_travels(self) -> None:
        """TS-030, TS-036, TS-037: byte for byte, and never back."""
        bench = make_bench()
        source, other = bench.connect(), bench.connect()
        bench.send(source, snapshot(DELETED))
        bench.take_frames(other)
        sent = tombstone()
        frame = replace(buried(sent), payload=encode_tombstone(replace(sent, extra=b"x")))
        assert bench.send(source, frame).finished

        assert bench.frames(other) == [buried(sent)]
        assert bench.frames(source) == []
        assert bench.writes[-1].write is None
        kept = bench.writes[-1].tombstone
        assert kept is not None
        assert kept.content == encode_tombstone(sent)
        assert content(bench, other, DELETED) == {}

    def test_the_fields_name_the_document_and_not_the_key(self) -> None:
        """TS-012."""
        bench = make_bench()
        connection = bench.connect()
        bench.send(connection, replace(buried(tombstone()), key="anything"))
        bench.send(connection, read(DELETED))

        assert [frame.type for frame in bench.frames(connection)] == [FrameType.TOMBSTONE]

    def test_only_a_greater_one_is_passed_on(self) -> None:
        """TS-039, and each outcome is counted."""
        bench = make_bench()
        source, other = bench.connect(), bench.connect()
        for lamport in (7, 7, 6, 8):
            bench.send(source, buried(tombstone(lamport=lamport)))

        expected = [buried(tombstone(lamport=lamport)) for lamport in (7, 8)]
        assert bench.frames(other) == expected
        assert bench.core.statistics.ignored == {
            "tombstone: duplicate": 1,
            "tombstone: lesser": 1,
        }

    @pytest.mark.parametrize(
        "ignored",
        [tombstone("audit_logs:a1"), tombstone(KEY), tombstone(age_ms=3600 * 1100 + 1)],
    )
    def test_policy_and_age_are_no_refusals(self, ignored: Tombstone) -> None:
        """TS-031, TS-032, ER-015."""
        bench = make_bench()
        source, other = bench.connect(), bench.connect()
        seen = bench.send(source, buried(ignored))

        assert seen.finished
        assert bench.frames(other) == []
        assert bench.writes == []

    def test_the_guard_answers_once_a_minute_for_each_peer(self) -> None:
        """TS-040, TS-041, TS-045: with the tombstone, for deltas, snapshots and entries alike."""
        bench = make_bench()
        first, second = bench.connect(), bench.connect()
        bench.send(first, buried(tombstone()))
        bench.take_frames(second)
        for connection in (first, second):
            bench.send(connection, snapshot(DELETED), delta(author(DELETED)))
            bench.send(connection, batch(snapshot(DELETED)))
            assert bench.take_frames(connection) == [buried(tombstone())]
        bench.advance(60)
        assert bench.take_frames(first) == bench.take_frames(second) == []
        bench.send(first, snapshot(DELETED))

        assert bench.take_frames(first) == [buried(tombstone())]
        assert [write.write for write in bench.writes] == [None]

    def test_answers_to_reads_do_not_begin_the_minute_of_the_guard(self) -> None:
        """DC-005, TS-041: nor does the minute keep a read from its answer."""
        bench = make_bench()
        connection = bench.connect()
        bench.send(connection, buried(tombstone()))
        for frame in (read(DELETED), snapshot(DELETED), read(DELETED)):
            bench.send(connection, frame)
            assert bench.take_frames(connection) == [buried(tombstone())]
        bench.send(connection, snapshot(DELETED))

        assert bench.take_frames(connection) == []

    def test_order_on_a_stream_decides(self) -> None:
        """Insert and tombstone on one stream: deleted when it is finished."""
        bench = make_bench()
        connection = bench.connect()
        seen = bench.send(connection, snapshot(DELETED), buried(tombstone()))

        assert seen.finished
        assert content(bench, connection, DELETED) == {}

    def test_guard_and_removal_share_the_lock_of_the_document(self) -> None:
        """D-81: a delta that was in the worker when the tombstone came is removed after all."""
        bench = make_bench()
        first, second = bench.connect(), bench.connect()
        bench.hold_documents = True
        bench.send(first, snapshot(DELETED))
        bench.send(second, buried(tombstone()))
        bench.let_go()

        assert [write.write is None for write in bench.writes] == [False, True]

    def test_an_expired_tombstone_lets_the_document_back(self) -> None:
        """TS-032: after its lifetime and a tenth."""
        bench = make_bench()
        connection = bench.connect()
        bench.send(connection, buried(tombstone()))
        bench.advance(3600 * 1.1)
        bench.send(connection, snapshot(DELETED))

        assert content(bench, connection, DELETED) == {"by": 7}

    def test_a_batch_of_tombstones_is_taken_one_by_one(self) -> None:
        """TS-023, TS-025, TS-027, TS-037: the unfit skipped, the fault after the others."""
        bench = make_bench()
        source, other = bench.connect(), bench.connect()
        good = [tombstone(f"tracks:t{number}") for number in range(3)]
        unfit = replace(good[0], collection="no/good")
        payload = encode_tombstone_batch(TombstoneBatch(4, (good[0], unfit, *good[1:])))
        seen = bench.send(
            source, StreamFrame("tombstones:batch", FrameType.TOMBSTONE_BATCH, payload[:-1])
        )

        assert seen.reset == REASONS["truncated"].code
        assert bench.frames(other) == [buried(one) for one in good[:2]]


LIFETIME_MS = 3600 * 1000
GRACE_MS = LIFETIME_MS * TOMBSTONE_GRACE_PERCENT // 100


class TestExpiry:
    """DC-005, TS-032, TS-033, TS-040 to TS-043: by the clock that is passed in."""

    @pytest.mark.parametrize(
        ("age_ms", "is_offered", "guards"),
        [
            (LIFETIME_MS, True, True),
            (LIFETIME_MS + 1, False, True),
            (LIFETIME_MS + GRACE_MS, False, True),
            (LIFETIME_MS + GRACE_MS + 1, False, False),
        ],
    )
    def test_age_decides_what_a_held_tombstone_does(
        self, age_ms: int, *, is_offered: bool, guards: bool
    ) -> None:
        """The boundaries are inclusive, whether a connection, a frame or a read asks."""
        bench = make_bench()
        connection = bench.connect()
        bench.send(connection, buried(tombstone(age_ms=0)))
        bench.now_ms += age_ms
        offers = [frame.type for frame in bench.frames(bench.connect())]
        bench.send(connection, snapshot(DELETED))
        answers = bench.take_frames(connection)
        bench.send(connection, read(DELETED))

        assert offers == [FrameType.TOMBSTONE_BATCH] * is_offered
        assert answers == [buried(tombstone(age_ms=0))] * guards
        read_type = FrameType.TOMBSTONE if guards else FrameType.DELTA
        assert [frame.type for frame in bench.frames(connection)] == [read_type]

    @pytest.mark.parametrize(
        ("age_ms", "is_taken"),
        [(LIFETIME_MS, True), (LIFETIME_MS + GRACE_MS, True), (LIFETIME_MS + GRACE_MS + 1, False)],
    )
    def test_age_decides_what_a_received_tombstone_does(
        self, age_ms: int, *, is_taken: bool
    ) -> None:
        """One in grace deletes and is passed on; one that has expired does neither."""
        bench = make_bench()
        connection, other = bench.connect(), bench.connect()
        bench.send(connection, snapshot(DELETED))
        bench.take_frames(other)
        received = buried(tombstone(age_ms=age_ms))
        assert bench.send(connection, received).finished

        assert bench.frames(other) == [received] * is_taken
        assert (bench.writes[-1].write is None) is is_taken


class TestBatches:
    """BT-006 to BT-023."""

    def test_entries_are_frames(self) -> None:
        """BT-022: answered, merged, deleted and passed on, each as itself."""
        bench = make_bench()
        source, other = bench.connect(), bench.connect()
        seen = bench.send(
            source,
            batch(snapshot(KEY), read("notes:unknown"), buried(tombstone()), delta(author(LATEST))),
        )

        assert seen.finished
        assert [frame.key for frame in bench.frames(source)] == ["notes:unknown", LATEST]
        assert sorted(frame.key for frame in bench.frames(other)) == sorted(
            (KEY, "tombstones:tracks:t1", LATEST)
        )

    def test_the_half_is_finished_when_every_entry_has_taken_effect(self) -> None:
        """TR-020: not before the worker has answered both and the store has written each."""
        bench = make_bench()
        connection = bench.connect()
        bench.hold_documents = bench.hold_writes = True
        seen = bench.send(connection, batch(snapshot(KEY), snapshot(LATEST)))
        for _ in range(3):
            assert not seen.finished
            bench.let_one_go()

        assert seen.finished
        assert {write.key for write in bench.writes} == {KEY, LATEST}

    def test_what_does_not_stand_is_skipped(self) -> None:
        """BT-006 to BT-008, BT-021."""
        bench = make_bench()
        connection = bench.connect()
        seen = bench.send(
            connection,
            batch(
                StreamFrame("x", 0x0A, b"future"),
                StreamFrame("batch", FrameType.BATCH, b""),
                StreamFrame("nocolon", FrameType.SNAPSHOT, b""),
                StreamFrame("k" * 1036, FrameType.TOMBSTONE, b""),
                StreamFrame(KEY, FrameType.SNAPSHOT, b"garbage"),
                StreamFrame("x", FrameType.TOMBSTONE, b"short"),
                snapshot(LATEST),
            ),
        )

        assert seen.finished
        assert bench.refusals == []
        assert [write.key for write in bench.writes] == [LATEST]
        assert sum(bench.core.statistics.ignored.values()) == 6
        # One event a key.
        assert [(one.key[:4], one.reason) for one in bench.skipped] == [
            ("x", "unknown-type"),
            ("batc", "unknown-type"),
            ("noco", "bad-key"),
            ("kkkk", "length-limit"),
            ("note", "bad-document"),
        ]

    def test_a_key_is_skipped_with_one_event_a_minute(self) -> None:
        """A peer that repeats itself fills no log; the count has every entry."""
        bench = make_bench()
        connection = bench.connect()
        unfit = batch(StreamFrame(KEY, FrameType.SNAPSHOT, b"garbage"))
        for _ in range(3):
            bench.send(connection, unfit)
            bench.advance(31)

        peer = f"{connection:02x}" * 32
        assert bench.skipped == [Skipped(KEY, "bad-document", peer, connection)] * 2
        assert bench.core.statistics.ignored["entry skipped: bad-document"] == 3

    def test_no_more_keys_are_remembered_than_the_bound(self) -> None:
        """Each of many keys has no event of its own."""
        bench = make_bench()
        names = [f"notes:{number}" for number in range(SKIP_EVENTS_MAX + 1)]
        unfit = [StreamFrame(name, FrameType.SNAPSHOT, b"garbage") for name in names]
        bench.send(bench.connect(), batch(*unfit))
        bench.advance(1)

        assert [one.key for one in bench.skipped] == names[:-1]

    def test_a_batch_of_many_entries_takes_turns(self) -> None:
        """Another peer is served after each slice; in the end every entry has its effect."""
        bench = make_bench()
        connection, other = bench.connect(), bench.connect()
        keys = [f"notes:{number}" for number in range(300)]
        ignored = [StreamFrame("x", 0x0A, b"")] * 700
        one = author(KEY).snapshot()
        seen = bench.send(
            connection,
            batch(*ignored, *(StreamFrame(key, FrameType.SNAPSHOT, one) for key in keys)),
        )
        turns = 0
        while not seen.finished:
            assert bench.send(other, read("notes:unknown")).finished
            deadline_s = bench.core.deadline()
            assert deadline_s is not None
            bench.advance(deadline_s - bench.now_s)
            turns += 1

        assert turns > (700 + 8 * 300) // (2 * UNITS)
        assert [write.key for write in bench.writes] == keys

    def test_few_elements_of_a_batch_wait_for_their_documents(self) -> None:
        """The others are decoded once these are over."""
        bench = make_bench()
        connection = bench.connect()
        bench.hold_documents = True
        one = author(KEY).snapshot()
        names = [f"notes:{number}" for number in range(2 * BATCH_JOBS_MAX)]
        seen = bench.send(
            connection, batch(*(StreamFrame(name, FrameType.SNAPSHOT, one) for name in names))
        )
        bench.advance(1)

        waiting = bench.core._context.queues
        assert BATCH_JOBS_MAX <= len(waiting._queues) <= BATCH_JOBS_MAX + STEP
        bench.let_go()
        bench.advance(1)
        assert seen.finished
        assert [write.key for write in bench.writes] == names

    def test_the_documents_of_a_closed_connection_are_forgotten_last(self) -> None:
        """The entries of a whole batch take effect although its peer has left."""
        calls: list[Call] = []
        bench = make_bench()
        table = bench._answer
        bench._answer = lambda call: calls.append(call) or table(call)
        connection = bench.connect()
        one = author(KEY).snapshot()
        frames = [StreamFrame(f"notes:{number}", FrameType.SNAPSHOT, one) for number in range(99)]
        bench.send(connection, batch(*frames))
        bench.disconnect(connection)
        bench.advance(1)

        assert len(bench.writes) == len(frames)
        assert [number for number, call in enumerate(calls) if isinstance(call, Forget)] == [99]

    def test_an_entry_that_the_node_cannot_take_refuses_the_batch(self) -> None:
        """BT-026: the other entries take effect first."""
        table = Table(b"\x0f" * 16)

        def answer(call: Call) -> Result:
            is_lost = isinstance(call, Merge) and call.key == KEY
            return Refused("internal") if is_lost else table.answer(call, None)

        bench = Bench(answer)
        seen = bench.send(bench.connect(), batch(snapshot(KEY), snapshot(LATEST)))

        assert seen.reset == REASONS["internal"].code
        assert [write.key for write in bench.writes] == [LATEST]

    def test_a_fault_comes_after_the_entries_before_it(self) -> None:
        """BT-013."""
        bench = make_bench()
        connection = bench.connect()
        whole = batch(snapshot(KEY), snapshot(LATEST), snapshot("notes:n2"))
        seen = bench.send(connection, replace(whole, payload=whole.payload[:-1]))

        assert seen.reset == REASONS["truncated"].code
        assert [write.key for write in bench.writes] == [KEY, LATEST]

    def test_a_batch_from_the_future_has_no_effect(self) -> None:
        """BT-018: the boundary is one day."""
        bench = make_bench()
        connection = bench.connect()
        taken = bench.send(connection, batch(snapshot(KEY), created_at=START_MS + DAY_MS))
        refused = bench.send(connection, batch(snapshot(LATEST), created_at=START_MS + DAY_MS + 1))

        assert taken.finished
        assert refused.reset == REASONS["created-ahead"].code
        assert [write.key for write in bench.writes] == [KEY]

    def test_a_batch_from_the_future_is_refused_as_such_whatever_follows(self) -> None:
        """BT-025: a fault after the first entry does not come before it."""
        bench = make_bench()
        whole = batch(snapshot(KEY), snapshot(LATEST), created_at=START_MS + DAY_MS + 1)
        seen = bench.send(bench.connect(), replace(whole, payload=whole.payload[:-1]))

        assert seen.reset == REASONS["created-ahead"].code
        assert bench.writes == []

    def test_ids_are_nothing(self) -> None:
        """BT-017: 0 and repeated ones are processed; an empty batch changes nothing."""
        bench = make_bench()
        connection = bench.connect()
        bench.send(connection, batch(snapshot(KEY), batch_id=0, created_at=0))
        bench.send(connection, batch(snapshot(LATEST), batch_id=0, created_at=0))

        assert bench.send(connection, batch()).finished
        assert [write.key for write in bench.writes] == [KEY, LATEST]

    def test_it_goes_by_the_type_and_not_by_the_key(self) -> None:
        """FR-010."""
        bench = make_bench()
        bench.send(bench.connect(), replace(batch(snapshot(KEY)), key="x:y"))

        assert [write.key for write in bench.writes] == [KEY]
