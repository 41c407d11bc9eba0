"""The offers to a new connection, and their pace."""

from itertools import count

from meshwire_reference.core import inputs
from meshwire_reference.core.document_calls import Call, Generate, Refused, Result, Unsent
from meshwire_reference.core.effects import NotSent, OpenStream
from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.documents.table import Table
from meshwire_reference.testing.author import Author
from meshwire_reference.testing.bench import START_MS, Bench
from meshwire_reference.wire.batches import StreamFrame, decode_sync_batch
from meshwire_reference.wire.tombstones import (
    Tombstone,
    decode_tombstone_batch,
    encode_tombstone,
)
from meshwire_spec.numbers import Direction, FrameType

OPEN = Settings(Dialect.OPEN, heartbeat_s=0)


def make_bench(settings: Settings = OPEN) -> Bench:
    """Return an open node with real document handling."""
    table = Table(b"\x09" * 16)
    return Bench(lambda call: table.answer(call, None), settings)


def fill(bench: Bench, keys: list[str]) -> None:
    """Give the node documents, through a peer that leaves again."""
    connection = bench.connect()
    for key in keys:
        author = Author(key)
        author.edit(key=key)
        bench.send(connection, StreamFrame(key, FrameType.SNAPSHOT, author.snapshot()))
    bench.disconnect(connection)


def bury(bench: Bench, number: int, age_ms: int = 1000) -> None:
    """Give the node a tombstone."""
    connection = bench.connect()
    one = Tombstone("tracks", f"t{number}", START_MS - age_ms, 1, "a", "", Direction.BIDIRECTIONAL)
    frame = StreamFrame("x", FrameType.TOMBSTONE, encode_tombstone(one))
    bench.send(connection, frame)
    bench.disconnect(connection)


def offered(frames: list[StreamFrame]) -> list[tuple[str, int]]:
    """Return keys and types of everything in the batches of documents."""
    return [
        (entry.key, entry.type)
        for frame in frames
        if frame.type == FrameType.BATCH
        for entry in decode_sync_batch(frame.payload).entries
    ]


def test_tombstones_come_first_then_every_document() -> None:
    """TS-042, DC-035: on either side of the dial."""
    bench = make_bench()
    fill(bench, ["notes:n1", "beacons:b1"])
    bury(bench, 1)
    bury(bench, 2)
    for dialled in (False, True):
        frames = bench.frames(bench.connect(dialled=dialled))

        assert [frame.key for frame in frames] == ["tombstones:batch", "batch"]
        assert decode_tombstone_batch(frames[0].payload).tombstone_count == 2
        assert offered(frames) == [("notes:n1", 0), ("beacons:b1", 1)]


def test_what_is_offered_carries_the_changes() -> None:
    """D-143: a peer that never answers has the document all the same."""
    bench = make_bench()
    fill(bench, ["notes:n1"])
    (frame,) = bench.frames(bench.connect())
    (entry,) = decode_sync_batch(frame.payload).entries
    reader = Author("notes:n1", 99)
    reader.receive(entry.payload)

    assert reader.fields == {"key": "notes:n1"}


def test_documents_wait_until_the_tombstones_have_left() -> None:
    """TS-042: not only in the order of asking."""
    bench = make_bench()
    fill(bench, ["notes:n1"])
    bury(bench, 1)
    bench.hold_sends = True
    connection = bench.connect()
    assert len(bench.held) == 1
    bench.let_go()

    assert len(bench.frames(connection)) == 2


def test_what_is_deleted_or_expired_is_not_offered() -> None:
    """TS-033, TS-040."""
    bench = make_bench()
    fill(bench, ["tracks:t1", "tracks:t2"])
    bury(bench, 1)
    bury(bench, 3, age_ms=3600 * 1000 + 1)
    frames = bench.frames(bench.connect())

    assert decode_tombstone_batch(frames[0].payload).tombstone_count == 1
    assert offered(frames) == [("tracks:t2", 1)]


def test_the_most_urgent_documents_are_offered_first() -> None:
    """DC-075, D-64: by ascending class, and in a class snapshots before deltas."""
    bench = make_bench()
    keys = ["logs:l1", "events:e1", "beacons:b1", "nodes:n1", "notes:n2", "tracks:t1", "imagery:i1"]
    fill(bench, [*keys, "alerts:a1", "commands:c1", "alerts:a2"])
    order = [key for key, _ in offered(bench.frames(bench.connect()))]

    assert order == [
        *("alerts:a1", "commands:c1", "alerts:a2"),
        "imagery:i1",
        *("nodes:n1", "tracks:t1", "events:e1", "notes:n2"),
        "beacons:b1",
        "logs:l1",
    ]


def test_every_document_is_offered_in_batches_of_twenty() -> None:
    """DC-037, D-53: however many, while the peer takes them."""
    bench = make_bench()
    keys = [f"notes:{number}" for number in range(145)]
    fill(bench, keys)
    frames = bench.frames(bench.connect())

    assert [key for key, _ in offered(frames)] == keys
    assert max(len(decode_sync_batch(frame.payload).entries) for frame in frames) == 20


def test_batches_are_put_together_only_while_the_peer_takes_them() -> None:
    """Without stream credit nothing more is prepared than may be sent at a time."""
    bench = make_bench(Settings(Dialect.OPEN, heartbeat_s=0, sends_max=2))
    fill(bench, [f"notes:{number}" for number in range(145)])
    bench.hold_streams = True
    connection = bench.connect()
    assert [type(effect) for effect in bench.held] == [OpenStream] * 2
    bench.let_go()

    assert len(offered(bench.frames(connection))) == 145


def test_batches_keep_to_the_payload_cap() -> None:
    """A document too large for a batch is sent alone, and one too large for a frame is counted."""
    bench = make_bench(Settings(Dialect.OPEN, heartbeat_s=0, payload_cap=400))
    fill(bench, [f"beacons:{number}" for number in range(10)])
    frames = bench.frames(bench.connect())

    assert len(offered(frames)) == 10
    assert all(len(frame.payload) <= 400 for frame in frames)
    assert len(frames) > 1


def test_an_answer_goes_before_the_next_batch() -> None:
    """A peer that asks does not wait for the whole store."""
    bench = make_bench(Settings(Dialect.OPEN, heartbeat_s=0, sends_max=1))
    fill(bench, [f"notes:{number}" for number in range(145)])
    bench.hold_sends = True
    connection = bench.connect()
    stream = bench.open(connection)
    read = b"\x00\x07notes:x\x00\x00\x00\x00\x0a\x42\x00\x00\x01\x00\x00\x00\x02\x01\x02"
    bench.write(connection, stream, read)
    bench.let_go()

    assert [frame.key for frame in bench.frames(connection)][:2] == ["batch", "notes:x"]


def test_a_document_that_cannot_be_offered_is_an_event() -> None:
    """The others are offered, and this one is not skipped silently."""
    bench = make_bench()
    fill(bench, ["notes:n1", "notes:n2", "beacons:b1"])
    table = bench._answer

    def answer(call: Call) -> Result:
        is_costly = isinstance(call, Generate) and call.key == "notes:n1"
        return Refused("document-limit") if is_costly else table(call)

    bench._answer = answer
    connection = bench.connect()

    assert offered(bench.frames(connection)) == [("notes:n2", 0), ("beacons:b1", 1)]
    assert bench.not_sent == [
        NotSent("notes:n1", "document-limit", f"{connection:02x}" * 32, connection)
    ]


def test_a_message_that_cannot_be_taken_back_is_an_event() -> None:
    """D-152: the peer may be thought to hold what never reached it."""
    table = Table(b"\x09" * 16)

    def answer(call: Call) -> Result:
        return Refused("internal") if isinstance(call, Unsent) else table.answer(call, None)

    bench = Bench(answer, OPEN)
    fill(bench, ["notes:n1"])
    bench.hold_sends = True
    connection = bench.connect()
    bench.report(connection, inputs.SendFailed(1, 5))

    assert [(one.key, one.reason) for one in bench.not_sent] == [("notes:n1", "internal")]


def test_a_message_that_never_left_is_taken_back() -> None:
    """D-152: the exchange does not believe what its peer never saw."""
    calls: list[Call] = []
    table = Table(b"\x09" * 16)

    def answer(call: Call) -> Result:
        calls.append(call)
        return table.answer(call, None)

    bench = Bench(answer, OPEN)
    fill(bench, ["notes:n1"])
    bench.hold_sends = True
    connection = bench.connect()
    bench.report(connection, inputs.SendFailed(1, 5))

    assert calls[-1] == Unsent(connection, "notes:n1")


def test_batch_ids_are_random_and_never_zero() -> None:
    """D-65: 0 means that it is none."""
    bench = make_bench()
    fill(bench, ["notes:n1"])
    numbers = count()
    bench.core._context.entropy = lambda size: next(numbers).to_bytes(size, "big")
    ids = [decode_sync_batch(bench.frames(bench.connect())[0].payload).batch_id for _ in range(3)]

    assert ids == [1, 1, 2]


def test_expired_tombstones_are_dropped_by_themselves() -> None:
    """D-155: none is kept for its key to be asked for once more."""
    bench = make_bench()
    for number in range(9):
        bury(bench, number)
    bench.advance(2 * 3600)

    assert len(bench.core._context.tombstones) == 0
    assert bench.core.deadline() is None
