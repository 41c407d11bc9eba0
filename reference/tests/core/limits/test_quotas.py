"""Memory that peers can take: answers that they do not read, frames that they do not finish."""

from meshwire_reference.core import inputs
from meshwire_reference.core.document_calls import (
    Call,
    Done,
    Heads,
    Merge,
    Merged,
    Receive,
    Received,
    Result,
    Saved,
    Write,
)
from meshwire_reference.core.effects import OpenStream, Send
from meshwire_reference.core.limits.quotas import (
    InboundQuota,
    OutboundQuota,
    ReceivedQuota,
    SharedQuota,
)
from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.core.streams import UNREAD_MAX
from meshwire_reference.testing.bench import Bench
from meshwire_reference.wire.batches import StreamFrame, decode_sync_batch, encode_stream_frame
from meshwire_spec.numbers import READ_MESSAGE, FrameType

SIZE = 1000
KEYS = [f"beacons:{number}" for number in range(12)]
NO_HEADS: Heads = ()


LARGE = "alerts:large"
"""A document of five times the size, more urgent than the others."""


def answer(call: Call) -> Result:
    """Stand in for a worker whose documents take SIZE bytes each, but for LARGE."""
    blob = bytes(5 * SIZE if getattr(call, "key", "") == LARGE else SIZE)
    if isinstance(call, Merge):
        return Merged(NO_HEADS, Write(blob, b""), ahead=False)
    if isinstance(call, Receive):
        return Received(NO_HEADS, None, blob, read=True)
    return Saved(blob, NO_HEADS) if type(call).__name__ == "Save" else Done()


def make_bench(
    answer_bytes_max: int = 3 * SIZE, all_answer_bytes_max: int = 100 * SIZE, sends_max: int = 64
) -> Bench:
    """Return an open node with documents, whose room for answers is small."""
    bench = Bench(
        answer,
        Settings(
            Dialect.OPEN,
            heartbeat_s=0,
            answer_bytes_max=answer_bytes_max,
            all_answer_bytes_max=all_answer_bytes_max,
            sends_max=sends_max,
        ),
    )
    author = bench.connect()
    for key in KEYS:
        bench.send(author, StreamFrame(key, FrameType.SNAPSHOT, b"x"))
    bench.disconnect(author)
    return bench


def asked(bench: Bench, connection: int, keys: list[str] = KEYS) -> None:
    """Have a peer read every document."""
    for key in keys:
        bench.send(connection, StreamFrame(key, FrameType.DELTA, READ_MESSAGE))


def held_bytes(bench: Bench, connection: int) -> int:
    """Return the bytes of all frames that wait for a peer to read."""
    sends = [effect for effect in bench.held if isinstance(effect, Send)]
    return sum(len(effect.data) for effect in sends if effect.connection == connection)


class TestAnswers:
    """Bytes that are made for a peer and not sent yet."""

    def test_a_peer_that_never_reads_is_held_few_bytes(self) -> None:
        """Three documents fit, however many are asked for; none of the answers is lost."""
        bench = make_bench()
        connection = bench.connect()
        bench.take_frames(connection)
        bench.hold_sends = True
        asked(bench, connection)

        assert 2 * SIZE < held_bytes(bench, connection) <= 3 * (SIZE + 30)
        bench.let_go()
        assert sorted(frame.key for frame in bench.take_frames(connection)) == sorted(KEYS)

    def test_the_initial_exchange_keeps_within_the_room(self) -> None:
        """Batches hold what fits and the rest follows, each document once."""
        bench = make_bench()
        bench.hold_sends = True
        connection = bench.connect()

        assert held_bytes(bench, connection) <= 4 * (SIZE + 50)
        bench.let_go()
        entries = [
            entry.key
            for frame in bench.frames(connection)
            for entry in decode_sync_batch(frame.payload).entries
        ]
        assert entries == KEYS

    def test_one_message_goes_whatever_its_size(self) -> None:
        """A document beyond the room is sent, alone."""
        bench = make_bench(answer_bytes_max=10)
        connection = bench.connect()
        bench.take_frames(connection)
        bench.hold_sends = True
        asked(bench, connection, KEYS[:3])

        assert SIZE < held_bytes(bench, connection) < 2 * SIZE
        bench.let_go()
        assert len(bench.take_frames(connection)) == 3

    def test_peers_that_never_read_leave_one_message_to_each(self) -> None:
        """The room of all is full: every other peer goes on, one message at a time."""
        bench = make_bench(all_answer_bytes_max=4 * SIZE)
        connections = [bench.connect() for _ in range(6)]
        bench.hold_sends = True
        for connection in connections:
            asked(bench, connection)

        held = [held_bytes(bench, connection) // SIZE for connection in connections]
        assert held == [3, 1, 1, 1, 1, 1]
        bench.let_go()
        for connection in connections:
            answers = [f.key for f in bench.frames(connection) if f.type == FrameType.DELTA]
            assert sorted(answers) == sorted(KEYS)

    def test_what_is_made_does_not_wait_for_what_has_no_room(self) -> None:
        """DC-007: an urgent answer that has no room yet holds up none that has its room already."""
        bench = make_bench(sends_max=1)
        connection = bench.connect()
        bench.take_frames(connection)
        bench.send(connection, StreamFrame(LARGE, FrameType.SNAPSHOT, b"x"))
        bench.hold_sends = True
        keys = [*KEYS[:2], LARGE]
        asked(bench, connection, keys)

        bench.let_go()
        assert [frame.key for frame in bench.take_frames(connection)] == keys

    def test_a_peer_that_leaves_gives_its_room_to_others(self) -> None:
        """Waiting callers continue at once."""
        bench = make_bench(all_answer_bytes_max=4 * SIZE)
        idle, other = bench.connect(), bench.connect()
        bench.hold_sends = True
        asked(bench, idle)
        asked(bench, other)
        before = held_bytes(bench, other) // SIZE
        bench.disconnect(idle)

        assert (before, held_bytes(bench, other) // SIZE) == (1, 3)

    def test_streams_that_are_never_granted_count(self) -> None:
        """A peer without credit for streams is made no more than one that does not read."""
        bench = make_bench()
        connection = bench.connect()
        bench.hold_streams = True
        asked(bench, connection)

        assert len([one for one in bench.held if isinstance(one, OpenStream)]) == 3

    def test_a_quota_that_is_closed_counts_nothing(self) -> None:
        """Bytes that are freed after the close of their quota are freed only once."""
        shared = SharedQuota(10)
        quota = OutboundQuota(10, shared, lambda: None)
        quota.change(5)
        quota.close()
        quota.change(-5)

        assert (shared.used, quota.used) == (0, 0)

    def test_a_quota_that_is_closed_waits_for_nothing(self) -> None:
        """A closed quota is not resumed when others free bytes."""
        shared = SharedQuota(10)
        resumed: list[str] = []
        full = OutboundQuota(10, shared, lambda: resumed.append("full"))
        waiting = OutboundQuota(10, shared, lambda: resumed.append("waiting"))
        full.change(9)
        waiting.change(1)
        assert not waiting.has_room(5)
        waiting.close()
        full.change(-9)

        assert resumed == []


class TestUnfinishedFrames:
    """The one budget for the received frames of all peers."""

    def test_the_oldest_stream_goes_on(self) -> None:
        """Beyond the budget only it, and peers that hold little."""
        shared = ReceivedQuota(100)
        woken: list[str] = []
        first, second, third = (
            InboundQuota(10, shared, lambda: woken.append("resumed"), lambda: woken.append("first"))
            for _ in range(3)
        )
        first.hold(1, 60)
        second.hold(1, 40)

        assert first.has_room(1, 50)
        assert first.is_exempt
        assert not second.has_room(1, 1)
        assert third.has_room(1, 10)
        first.hold(1, 0)
        assert "resumed" in woken
        assert second.has_room(1, 50)
        assert second.is_exempt

    def test_streams_wait_for_those_of_other_peers(self) -> None:
        """A frame that waited is read once the other is over, and has its effect."""
        bench = Bench(answer, small_budget(1000))
        full, other = bench.connect(), bench.connect()
        frame = encode_stream_frame(StreamFrame("x", FrameType.WINDOWED_HISTORY, bytes(900)))
        streams = [(full, bench.open(full)), (other, bench.open(other))]
        for connection, stream in streams:
            bench.write(connection, stream, frame[:800])
        small = StreamFrame("x", FrameType.WINDOWED_HISTORY, b"small")

        assert [bench.streams[where].consumed for where in streams] == [800, 0]
        assert bench.send(other, small).finished
        bench.report(full, inputs.ConnectionClosed())
        bench.write(*streams[1], frame[800:], fin=True)
        assert bench.streams[streams[1]].finished

    def test_a_frame_counts_until_its_effects_are_over(self) -> None:
        """One that is with the worker takes the room of the next."""
        bench = Bench(answer, small_budget(1000))
        busy, other = bench.connect(), bench.connect()
        bench.hold_documents = True
        bench.send(busy, StreamFrame("notes:1", FrameType.SNAPSHOT, bytes(900)))
        waiting = bench.send(other, StreamFrame("notes:2", FrameType.SNAPSHOT, bytes(900)))

        assert waiting.consumed == 0
        bench.let_go()
        assert waiting.finished

    def test_frames_in_turns_do_not_lock_up(self) -> None:
        """TR-030, TR-031: three great frames on one connection, a few bytes of each at a time."""
        size, part = 3 * UNREAD_MAX, UNREAD_MAX // 8
        bench = Bench(answer, small_budget(2 * size))
        connection = bench.connect()
        frame = encode_stream_frame(StreamFrame("x", FrameType.WINDOWED_HISTORY, bytes(size)))
        streams = [bench.open(connection) for _ in range(8)]
        seen = [bench.streams[connection, stream] for stream in streams]
        for _ in range(200 * len(streams)):
            for stream, one in zip(streams, seen, strict=True):
                window = one.consumed + STREAM_WINDOW - one.written
                unread = sum(each.written - each.consumed - each.deferred for each in seen)
                count = min(part, window, CONNECTION_WINDOW - unread, len(frame) - one.written)
                if count > 0:
                    data = frame[one.written : one.written + count]
                    bench.write(connection, stream, data, fin=one.written + count == len(frame))
            bench.advance(1)

        assert bench.refusals == []
        assert all(one.finished for one in seen)


STREAM_WINDOW = UNREAD_MAX // 2
CONNECTION_WINDOW = 2 * UNREAD_MAX
"""The credit of the peer in these tests, in the proportions of the lab binding."""


def small_budget(inbound_bytes_max: int) -> Settings:
    """Return settings with this budget for received frames, and a small share of each peer."""
    return Settings(
        Dialect.OPEN,
        heartbeat_s=0,
        inbound_bytes_max=inbound_bytes_max,
        inbound_share_bytes=100,
    )


def test_waiters_are_called_once_and_in_order() -> None:
    """One that still finds nothing waits for the next time; waking inside is no recursion."""
    shared = SharedQuota(0)
    called: list[int] = []

    def first() -> None:
        called.append(1)
        shared.wait(first)
        if len(called) < 5:
            shared.change(-1)

    def second() -> None:
        called.append(2)

    shared.wait(first)
    shared.wait(second)
    shared.change(-1)

    assert called == [1, 2, 1, 1, 1]
