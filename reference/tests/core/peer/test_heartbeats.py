"""Heartbeats of the peer, and those of the node."""

import pytest

from meshwire_reference.core.formation import FormationKey
from meshwire_reference.core.inputs import SendFailed
from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.documents.table import Table
from meshwire_reference.testing.bench import Bench
from meshwire_reference.wire.batches import StreamFrame
from meshwire_spec.numbers import HEARTBEAT_INTERVAL_S, REASONS, FrameType


def make_bench() -> Bench:
    """Return an open node with real document handling."""
    table = Table(b"\x09" * 16)
    settings = Settings(Dialect.OPEN, heartbeat_s=0)
    return Bench(lambda call: table.answer(call, None), settings)


class TestUniStreams:
    """LV-002 to LV-006, TR-003."""

    @pytest.mark.parametrize("data", [b"\x01" + bytes(8), b"\x01" + b"\xff" * 8 + b"more"])
    def test_a_heartbeat_is_taken(self, data: bytes) -> None:
        """Whatever its time, and whatever follows."""
        bench = make_bench()
        connection = bench.connect()
        for byte in (data[:1], data[1:5], data[5:]):
            stream = bench.open(connection, bidi=False)
            bench.write(connection, stream, byte)
        bench.write(connection, stream := bench.open(connection, bidi=False), data, fin=True)
        seen = bench.streams[connection, stream]

        assert seen.consumed == len(data)
        assert seen.released
        assert bench.core.statistics.heartbeats == 1

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"\x00" + bytes(8), "bad-marker"),
            (b"\x01" + bytes(7), "truncated"),
            (b"", "truncated"),
        ],
    )
    def test_anything_else_is_refused(self, data: bytes, reason: str) -> None:
        """With the code of the reason."""
        bench = make_bench()
        connection = bench.connect()
        stream = bench.open(connection, bidi=False)
        bench.write(connection, stream, data, fin=True)

        assert bench.streams[connection, stream].stopped == REASONS[reason].code
        assert bench.refusals[0].scope == "uni"


def test_each_of_two_hundred_heartbeats_is_taken_within_its_interval() -> None:
    """D-19: while the node is busy with a document, and other streams of the peer wait."""
    bench = make_bench()
    connection = bench.connect()
    bench.hold_documents = True
    waiting = bench.send(connection, StreamFrame("notes:busy", FrameType.SNAPSHOT, b"any"))
    for number in range(1, 201):
        stream = bench.open(connection, bidi=False)
        bench.write(connection, stream, b"\x01" + bytes(8), fin=True)
        assert bench.streams[connection, stream].released
        assert bench.core.statistics.heartbeats == number
        bench.advance(HEARTBEAT_INTERVAL_S)

    assert not waiting.finished


class TestStall:
    """LV-009."""

    @pytest.mark.parametrize("data", [b"", b"\x01", b"\x01" + bytes(8), b"\x01" + bytes(9)])
    def test_silence_is_refused(self, data: bytes) -> None:
        """A stalled stream is stopped and released, whatever bytes it had."""
        bench = make_bench()
        connection = bench.connect()
        stream = bench.open(connection, bidi=False)
        if data:
            bench.write(connection, stream, data)
        seen = bench.streams[connection, stream]
        bench.advance(29.9)
        assert seen.stopped is None
        bench.advance(0.2)

        assert seen.stopped == REASONS["frame-stall"].code
        assert seen.released

    def test_each_byte_begins_the_deadline_again(self) -> None:
        """A slow peer is no silent one."""
        bench = make_bench()
        connection = bench.connect()
        stream = bench.open(connection, bidi=False)
        for number in range(9):
            bench.advance(20)
            bench.write(connection, stream, b"\x01", fin=number == 8)

        assert bench.refusals == []
        assert bench.core.statistics.heartbeats == 1

    def test_time_before_the_handshake_is_over_does_not_count(self) -> None:
        """The stream waits unread for this node."""
        key = FormationKey.derive("test-formation", b"\x42" * 32)
        settings = Settings(Dialect.H1, handshake_s=60.0, heartbeat_s=0)
        table = Table(b"\x09" * 16)
        bench = Bench(lambda call: table.answer(call, None), settings, key)
        connection = bench.connect()
        stream = bench.open(connection, bidi=False)
        bench.write(connection, stream, b"\x01")
        bench.advance(50)

        assert bench.streams[connection, stream].stopped is None


def test_heartbeats_go_out_while_credit_lasts() -> None:
    """LV-001: one an interval, and never two under way."""
    table = Table(b"\x09" * 16)
    bench = Bench(lambda call: table.answer(call, None), Settings(Dialect.OPEN, heartbeat_s=5.0))
    connection = bench.connect()
    bench.advance(11)
    sent = [bytes(bench.streams[where].data) for where in bench.order]
    bench.hold_streams = True
    bench.advance(60)

    assert [len(data) for data in sent] == [9, 9]
    assert {data[0] for data in sent} == {1}
    assert len(bench.held) == 1
    assert connection == 1


def test_the_stream_of_a_heartbeat_is_released_once_it_is_sent() -> None:
    """A connection keeps no stream of the heartbeats that it has sent."""
    table = Table(b"\x09" * 16)
    bench = Bench(lambda call: table.answer(call, None), Settings(Dialect.OPEN, heartbeat_s=5.0))
    bench.connect()
    bench.advance(16)

    assert [bench.streams[where].released for where in bench.order] == [True] * 3


def test_a_heartbeat_that_was_lost_is_followed_by_the_next() -> None:
    """LV-001: a peer that stops one stream gets the next all the same."""
    table = Table(b"\x09" * 16)
    bench = Bench(lambda call: table.answer(call, None), Settings(Dialect.OPEN, heartbeat_s=5.0))
    connection = bench.connect()
    bench.hold_sends = True
    bench.advance(6)
    bench.held.clear()
    (lost,) = [stream for _, stream in bench.order]
    bench.hold_sends = False
    bench.report(connection, SendFailed(lost))
    bench.advance(5)

    assert len(bench.order) == 2
    assert bench.streams[bench.order[-1]].finished
