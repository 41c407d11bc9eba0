"""Streams of the peer: order, barrier, refusal, deadlines."""

import pytest

from meshwire_reference.core import inputs
from meshwire_reference.core.limits.fair_turns import UNITS
from meshwire_reference.core.peer.inbound import FRAME_UNITS
from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.documents.table import Table
from meshwire_reference.testing import author
from meshwire_reference.testing.bench import Bench
from meshwire_reference.wire.batches import StreamFrame, encode_stream_frame
from meshwire_spec.numbers import READ_MESSAGE, REASONS, FrameType

KEY = "beacons:b1"
READ = StreamFrame(KEY, FrameType.DELTA, READ_MESSAGE)
IGNORED = StreamFrame("x", FrameType.WINDOWED_HISTORY, b"any")
UNKNOWN = bytes.fromhex("0001 78 33 00000000".replace(" ", ""))


def make_bench() -> Bench:
    """Return an open node with real document handling."""
    table = Table(b"\x09" * 16)
    settings = Settings(Dialect.OPEN, frame_stall_s=5.0, heartbeat_s=0)
    return Bench(lambda call: table.answer(call, None), settings)


class TestBarrier:
    """TR-020 to TR-023."""

    def test_the_half_is_finished_when_all_has_taken_effect(self) -> None:
        """The barrier waits for the answer of the worker and the write of the store."""
        bench = make_bench()
        connection = bench.connect()
        bench.hold_documents = bench.hold_writes = True
        seen = bench.send(connection, IGNORED, author.snapshot(KEY))
        assert not seen.finished
        bench.let_one_go()
        assert not seen.finished
        bench.let_one_go()

        assert seen.finished
        assert seen.released

    def test_the_half_stays_open_until_the_peer_is_done(self) -> None:
        """TR-021."""
        bench = make_bench()
        connection = bench.connect()
        seen = bench.send(connection, IGNORED, fin=False)
        assert not seen.finished
        bench.write(connection, 0, encode_stream_frame(IGNORED))
        assert not seen.finished
        bench.write(connection, 0, b"", fin=True)

        assert seen.finished

    def test_an_answer_is_not_waited_for(self) -> None:
        """TR-022, TR-010: without credit for the answer the stream still finishes."""
        bench = make_bench()
        connection = bench.connect()
        bench.hold_streams = True
        seen = bench.send(connection, READ)
        assert seen.finished
        assert bench.frames(connection) == []
        bench.let_go()

        assert [frame.key for frame in bench.frames(connection)] == [KEY]

    def test_a_stream_without_frames_is_finished(self) -> None:
        """An empty stream is no fault."""
        bench = make_bench()

        assert bench.send(bench.connect()).finished

    def test_an_unfinished_stream_is_answered(self) -> None:
        """TR-009."""
        bench = make_bench()
        connection = bench.connect()
        bench.send(connection, READ, fin=False)

        assert len(bench.frames(connection)) == 1

    def test_frames_take_effect_in_order_and_one_at_a_time(self) -> None:
        """TR-006: what follows a frame that is at work stays unread, and its credit too."""
        bench = make_bench()
        connection = bench.connect()
        bench.hold_documents = True
        seen = bench.send(connection, author.snapshot(KEY), fin=False)
        data = encode_stream_frame(READ)
        before = seen.consumed
        bench.write(connection, 0, data, fin=True)
        assert seen.consumed == before
        bench.let_go()

        assert seen.consumed == before + len(data)
        assert seen.finished
        assert len(bench.frames(connection)[0].payload) > 25


class TestRefusal:
    """ER-010 and following."""

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (UNKNOWN, "unknown-type"),
            (b"\x00\x01\xff\x01\x00\x00\x00\x00", "bad-utf8"),
            (b"\x00\x01x\x02\xff\xff\xff\xff", "length-limit"),
            (encode_stream_frame(IGNORED)[:-1], "truncated"),
            (encode_stream_frame(StreamFrame("nocolon", 1, b"")), "bad-key"),
            (encode_stream_frame(StreamFrame("batch", 1, b"")), "bad-key"),
            (encode_stream_frame(StreamFrame("tombstones:x:y", 0, b"")), "bad-key"),
            (encode_stream_frame(StreamFrame("", 1, b"")), "length-limit"),
            (encode_stream_frame(StreamFrame("a:" + "i" * 1023, 1, b"")), "length-limit"),
            (encode_stream_frame(StreamFrame("k" * 1036, 2, b"")), "length-limit"),
            (encode_stream_frame(StreamFrame("_negentropy", 8, b"\x59")), "bad-version"),
            (encode_stream_frame(StreamFrame(KEY, 0, b"garbage")), "bad-document"),
            (encode_stream_frame(StreamFrame(KEY, 1, b"garbage")), "bad-document"),
            (encode_stream_frame(StreamFrame("x", 4, b"short")), "truncated"),
            (encode_stream_frame(StreamFrame("x", 5, b"\x00\x00\x00\x01")), "count-limit"),
            (encode_stream_frame(StreamFrame("x", 7, b"short")), "truncated"),
        ],
    )
    def test_a_fault_ends_both_halves_with_its_code(self, data: bytes, reason: str) -> None:
        """The next stream is served."""
        bench = make_bench()
        connection = bench.connect()
        stream = bench.open(connection)
        bench.write(connection, stream, data, fin=True)
        seen = bench.streams[connection, stream]

        assert seen.stopped == seen.reset == REASONS[reason].code
        assert not seen.finished
        assert seen.released
        assert [refusal.reason for refusal in bench.refusals] == [reason]
        assert bench.core.statistics.refused == {reason: 1}
        assert bench.send(connection, IGNORED).finished
        assert bench.closed == {}

    def test_what_stands_before_the_fault_keeps_its_effect(self) -> None:
        """ER-013, ER-014: and what follows has none."""
        bench = make_bench()
        connection = bench.connect()
        other = author.snapshot("beacons:b2")
        data = encode_stream_frame(author.snapshot(KEY)) + UNKNOWN + encode_stream_frame(other)
        stream = bench.open(connection)
        bench.write(connection, stream, data, fin=True)

        assert [write.key for write in bench.writes] == [KEY]

    def test_a_refused_document_stops_what_follows(self) -> None:
        """ER-014: also where the fault shows only in the worker."""
        bench = make_bench()
        connection = bench.connect()
        bench.hold_documents = True
        seen = bench.send(
            connection,
            StreamFrame(KEY, FrameType.SNAPSHOT, b"garbage"),
            author.snapshot("beacons:b2"),
        )
        bench.let_go()

        assert seen.reset == REASONS["bad-document"].code
        assert bench.writes == []

    def test_the_refusal_waits_for_what_stands_to_be_durable(self) -> None:
        """A peer that sees the refusal knows what it kept."""
        bench = make_bench()
        connection = bench.connect()
        bench.hold_writes = True
        stream = bench.open(connection)
        bench.write(connection, stream, encode_stream_frame(author.snapshot(KEY)) + UNKNOWN)
        seen = bench.streams[connection, stream]
        assert seen.reset is None
        bench.let_go()

        assert seen.reset == REASONS["unknown-type"].code

    def test_what_is_unread_is_not_credited(self) -> None:
        """The transport counts it as consumed when the stream is released."""
        bench = make_bench()
        connection = bench.connect()
        bench.hold_documents = True
        bad = encode_stream_frame(StreamFrame(KEY, FrameType.SNAPSHOT, b"garbage"))
        stream = bench.open(connection)
        bench.write(connection, stream, bad)
        bench.write(connection, stream, b"unread")
        bench.let_go()
        seen = bench.streams[connection, stream]

        assert seen.released
        assert seen.consumed == len(bad)

    def test_an_oversize_header_needs_no_payload(self) -> None:
        """FR-004: refused by its length, with nothing kept."""
        bench = make_bench()
        connection = bench.connect()
        stream = bench.open(connection)
        bench.write(connection, stream, b"\x00\x01x\x02\xff\xff\xff\xff")

        assert bench.streams[connection, stream].reset == REASONS["length-limit"].code


class TestDeadlines:
    """TR-012, TR-013."""

    def test_silence_inside_a_frame_is_refused(self) -> None:
        """Counted from the last byte."""
        bench = make_bench()
        connection = bench.connect()
        stream = bench.open(connection)
        bench.write(connection, stream, b"\x00")
        bench.advance(4)
        bench.write(connection, stream, b"\x05")
        bench.advance(4)
        seen = bench.streams[connection, stream]
        assert seen.reset is None
        bench.advance(2)

        assert seen.reset == REASONS["frame-stall"].code

    def test_silence_between_frames_is_fine(self) -> None:
        """For any time, also before the first frame."""
        bench = make_bench()
        connection = bench.connect()
        empty = bench.open(connection)
        seen = bench.send(connection, IGNORED, fin=False)
        bench.advance(3600)

        assert seen.reset is None
        assert bench.streams[connection, empty].reset is None

    def test_our_own_slowness_is_not_the_peers(self) -> None:
        """While a frame is at work the deadline stands still."""
        bench = make_bench()
        connection = bench.connect()
        bench.hold_documents = True
        stream = bench.open(connection)
        bench.write(connection, stream, encode_stream_frame(author.snapshot(KEY)) + b"\x00")
        bench.advance(60)
        seen = bench.streams[connection, stream]
        assert seen.reset is None
        bench.let_go()
        bench.advance(6)

        assert seen.reset == REASONS["frame-stall"].code

    def test_a_stall_is_not_refused_before_what_came_earlier_is_durable(self) -> None:
        """The end of a stream never overtakes the write of an earlier frame."""
        bench = make_bench()
        connection = bench.connect()
        bench.hold_writes = True
        stream = bench.open(connection)
        bench.write(connection, stream, encode_stream_frame(author.snapshot(KEY)) + b"\x00")
        bench.advance(6)
        seen = bench.streams[connection, stream]
        assert (seen.reset, seen.stopped, seen.released) == (None, None, False)
        bench.let_go()

        assert seen.reset == seen.stopped == REASONS["frame-stall"].code
        assert seen.released


def test_many_small_frames_take_turns() -> None:
    """Another peer is served after each slice of them; then the half is finished."""
    bench = Bench(
        lambda call: Table(b"\x09").answer(call, None), Settings(Dialect.OPEN, heartbeat_s=0)
    )
    connection, other = bench.connect(), bench.connect()
    frame = StreamFrame("x:y", FrameType.WINDOWED_HISTORY, b"")
    seen = bench.send(connection, *[frame] * 1000)
    turns = 0
    while not seen.finished:
        assert bench.send(other, frame).finished
        deadline_s = bench.core.deadline()
        assert deadline_s is not None
        bench.advance(deadline_s - bench.now_s)
        turns += 1

    assert turns > 1000 * FRAME_UNITS // UNITS - 1
    assert bench.core.statistics.frames[FrameType.WINDOWED_HISTORY] == 1000 + turns


class TestBudget:
    """Unfinished frames of one peer take bounded memory."""

    def test_beyond_it_only_the_oldest_stream_is_read(self) -> None:
        """The others keep their bytes, and their credit, until there is room."""
        settings = Settings(
            Dialect.OPEN, heartbeat_s=0, inbound_bytes_max=1000, inbound_share_bytes=100
        )
        bench = Bench(lambda call: Table(b"\x09").answer(call, None), settings)
        connection = bench.connect()
        frame = encode_stream_frame(StreamFrame("x", FrameType.WINDOWED_HISTORY, bytes(900)))
        streams = [bench.open(connection) for _ in range(3)]
        for stream in streams:
            bench.write(connection, stream, frame[:600])
        seen = [bench.streams[connection, stream] for stream in streams]
        assert [one.consumed for one in seen] == [600, 0, 0]
        bench.advance(31)
        assert [one.reset for one in seen[1:]] == [None, None]
        assert seen[0].reset == REASONS["frame-stall"].code
        assert [one.consumed for one in seen] == [600, 600, 0]
        for stream in streams[1:]:
            bench.write(connection, stream, frame[600:], fin=True)

        assert [one.consumed for one in seen] == [600, len(frame), len(frame)]
        assert all(one.finished for one in seen[1:])

    def test_another_peer_has_its_own(self) -> None:
        """The limit of one peer does not affect another peer."""
        settings = Settings(
            Dialect.OPEN, heartbeat_s=0, inbound_bytes_max=1000, inbound_share_bytes=100
        )
        bench = Bench(lambda call: Table(b"\x09").answer(call, None), settings)
        full, other = bench.connect(), bench.connect()
        data = b"\x00\x01x\x02\x00\x10\x00\x00" + bytes(2000)
        bench.write(full, bench.open(full), data)

        assert bench.send(other, IGNORED).finished


class TestCutOff:
    """TR-014 and connections that end."""

    def test_a_reset_drops_the_frame_it_cuts(self) -> None:
        """Whole frames stand, and our half is let go."""
        bench = make_bench()
        connection = bench.connect()
        stream = bench.open(connection)
        bench.write(connection, stream, encode_stream_frame(author.snapshot(KEY)) + b"\x00\x05be")
        bench.report(connection, inputs.StreamReset(stream, 99))
        seen = bench.streams[connection, stream]

        assert [write.key for write in bench.writes] == [KEY]
        assert seen.reset == 0
        assert seen.released
        assert not seen.finished
        assert bench.refusals == []

    def test_a_reset_stream_is_reset_while_its_frame_is_at_work(self) -> None:
        """TR-024: the frame takes effect, and the stream is released after it."""
        bench = make_bench()
        connection = bench.connect()
        bench.hold_documents = True
        seen = bench.send(connection, author.snapshot(KEY), fin=False)
        bench.report(connection, inputs.StreamReset(0, 99))
        assert seen.reset == 0
        assert not seen.released
        bench.let_go()

        assert [write.key for write in bench.writes] == [KEY]
        assert seen.released

    def test_a_stop_leaves_the_half_of_the_peer(self) -> None:
        """A frame whose rest comes after the STOP takes effect."""
        bench = make_bench()
        connection = bench.connect()
        stream = bench.open(connection)
        data = encode_stream_frame(author.snapshot(KEY))
        bench.write(connection, stream, data[:9])
        bench.report(connection, inputs.StreamStopped(stream))
        bench.write(connection, stream, data[9:], fin=True)

        assert [write.key for write in bench.writes] == [KEY]
        assert bench.streams[connection, stream].released

    def test_frames_received_before_the_end_take_effect(self) -> None:
        """A peer may write and leave."""
        bench = make_bench()
        connection = bench.connect()
        bench.hold_documents = True
        bench.send(connection, author.snapshot(KEY), author.snapshot("beacons:b2"))
        bench.disconnect(connection)
        bench.let_go()

        assert {write.key for write in bench.writes} == {KEY, "beacons:b2"}

    def test_nothing_of_a_gone_connection_is_left(self) -> None:
        """Late inputs do nothing."""
        bench = make_bench()
        connection = bench.connect()
        stream = bench.open(connection)
        bench.disconnect(connection)
        bench.write(connection, stream, b"x")
        bench.report(connection, inputs.StreamGranted(99, 1))
        bench.report(connection, inputs.StreamStopped(stream))

        assert bench.core.deadline() is None
        assert bench.core._sessions == {}


def test_a_frame_does_not_wait_for_the_heavy_work_of_another_peer() -> None:
    """What is due for others comes in an input of its own, and takes none of its units."""
    bench = make_bench()
    evil, good = bench.connect(), bench.connect()
    many = encode_stream_frame(IGNORED) * (4 * UNITS)
    bench.write(evil, bench.open(evil), many, fin=True)
    assert bench.core.deadline() is not None
    stream = bench.open(good)
    bench.now_s += 1.0
    bench.write(good, stream, encode_stream_frame(IGNORED), fin=True)

    assert bench.streams[good, stream].finished
