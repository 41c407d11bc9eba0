"""The sans-IO lab connection: preambles, faults, streams, credit, turns, endings."""

# Longer than 500 lines: one machine, whose tests share their helpers and tables of records.

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from struct import pack
from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from meshwire_reference.core.inputs import (
    ConnectionClosed,
    StreamData,
    StreamOpened,
    StreamReset,
    StreamStopped,
    TransportEvent,
)
from meshwire_reference.transport.base import StreamGone, Windows
from meshwire_reference.transport.lab.connection import BATCH, TURN, LabConnection, encode_preamble
from meshwire_reference.wire.errors import Malformed
from meshwire_reference.wire.lab import (
    DATA_MAX,
    LabPreamble,
    decode_lab_preamble,
    decode_lab_record,
    encode_close,
    encode_control,
    encode_data_head,
)
from meshwire_spec.numbers import (
    ALPN,
    LAB_MAGIC,
    LAB_RECORD_MAX,
    LAB_VERSION,
    REASONS,
    LabRecordType,
)

DIALLER_ID = bytes(range(32))
ACCEPTOR_ID = bytes(range(32, 64))

# Streams that the dialler opens, and that the acceptor opens: bidi, then uni.
BIDI, BIDI_NEXT, UNI = 0, 4, 2
THEIR_BIDI, THEIR_UNI = 1, 3


@dataclass
class Pair:
    """Both sides of a connection, and the events of each so far."""

    dialler: LabConnection
    acceptor: LabConnection
    told_dialler: list[TransportEvent] = field(default_factory=list)
    told_acceptor: list[TransportEvent] = field(default_factory=list)

    def exchange(self) -> None:
        """Carry bytes both ways until neither side has any."""
        for _ in range(1000):
            up, down = self.dialler.take_output(), self.acceptor.take_output()
            self.acceptor.receive(up)
            self.dialler.receive(down)
            self.told_dialler += self.dialler.take_events()
            self.told_acceptor += self.acceptor.take_events()
            if not up and not down:
                return
        raise AssertionError("the two sides never come to rest")


def make_pair(dialler: Windows | None = None, acceptor: Windows | None = None) -> Pair:
    """Give two connected sides with these windows."""
    pair = Pair(
        LabConnection(dialled=True, endpoint_id=DIALLER_ID, windows=dialler),
        LabConnection(dialled=False, endpoint_id=ACCEPTOR_ID, windows=acceptor),
    )
    pair.exchange()
    return pair


def data_record(stream: int, data: bytes, *, fin: bool = False) -> bytes:
    """Give a DATA record."""
    return encode_data_head(stream, fin=fin, size=len(data)) + data


def control(type_: LabRecordType, *fields: int | bytes) -> bytes:
    """Give a control record."""
    return encode_control(type_, *fields)


def preamble(windows: Windows | None = None) -> bytes:
    """Give the dialler's preamble."""
    return encode_preamble(ALPN, DIALLER_ID, windows or Windows())


def close_of(reason: str) -> ConnectionClosed:
    """Give the end that a fault with this reason makes at the side that finds it."""
    return ConnectionClosed(REASONS[reason].code, reason, by_peer=False)


# --- Preamble --------------------------------------------------------------------------------


def test_each_side_learns_the_identity_of_the_other() -> None:
    """After both preambles each side knows the other's endpoint id."""
    pair = make_pair()
    assert pair.dialler.peer is not None
    assert pair.acceptor.peer is not None

    assert pair.dialler.peer.endpoint_id == ACCEPTOR_ID
    assert pair.acceptor.peer.endpoint_id == DIALLER_ID


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        pytest.param(b"GET / HTTP/1.1\r\n", "bad-magic", id="http"),
        pytest.param(b"MWLC", "bad-magic", id="last byte of the magic"),
        pytest.param(b"MWLB\x02", "bad-version", id="version 2"),
        pytest.param(b"MWLB\x01\x02hi", "wrong-alpn", id="another protocol"),
        pytest.param(b"MWLB\x01\x00", "wrong-alpn", id="no protocol"),
        pytest.param(b"MWLB\x01\x02\xff\xfe", "wrong-alpn", id="no text"),
    ],
)
def test_a_wrong_preamble_closes_with_its_reason(start: bytes, reason: str) -> None:
    """The first field that does not fit decides, as soon as it is there."""
    side = LabConnection(dialled=False, endpoint_id=ACCEPTOR_ID)

    side.receive(start)

    assert side.take_events() == (close_of(reason),)
    assert side.take_output().endswith(encode_close(REASONS[reason].code, reason))


def test_a_preamble_may_come_byte_by_byte() -> None:
    """Nothing is decided before the field is whole."""
    side = LabConnection(dialled=False, endpoint_id=ACCEPTOR_ID)
    for byte in preamble():
        assert side.peer is None
        side.receive(bytes([byte]))

    assert side.peer is not None
    assert side.closed is None


# --- Faults in records ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        pytest.param(b"\x0a\x00\x00\x00\x00", "unknown-type", id="type 10"),
        pytest.param(b"\xff\xff\xff\xff\xff", "unknown-type", id="type before length"),
        pytest.param(
            b"\x00" + (LAB_RECORD_MAX + 1).to_bytes(4, "big"),
            "length-limit",
            id="body announced too long",
        ),
        pytest.param(b"\x00\x00\x00\x00\x08" + bytes(8), "truncated", id="DATA without flag"),
        pytest.param(b"\x03\x00\x00\x00\x07" + bytes(7), "truncated", id="MAX_DATA short"),
        pytest.param(b"\x03\x00\x00\x00\x09" + bytes(9), "trailing-bytes", id="MAX_DATA long"),
        pytest.param(b"\x07\x00\x00\x00\x09" + bytes(9), "trailing-bytes", id="PING long"),
        pytest.param(b"\x00\x00\x00\x00\x09" + bytes(8) + b"\x02", "bad-flag", id="FIN flag 2"),
        pytest.param(b"\x09\x00\x00\x00\x07" + bytes(7), "truncated", id="CLOSE short"),
        pytest.param(
            b"\x09\x00\x00\x04\x09" + bytes(8) + b"x" * 1025, "length-limit", id="CLOSE reason"
        ),
        pytest.param(b"\x09\x00\x00\x00\x09" + bytes(8) + b"\xff", "bad-utf8", id="CLOSE text"),
        pytest.param(data_record(THEIR_BIDI, b"x"), "bad-stream", id="DATA on one we never opened"),
        pytest.param(data_record(THEIR_UNI, b"x"), "bad-stream", id="DATA on our uni"),
        pytest.param(
            control(LabRecordType.RESET, THEIR_UNI, 7), "bad-stream", id="RESET on our uni"
        ),
        pytest.param(control(LabRecordType.STOP, UNI, 7), "bad-stream", id="STOP on their uni"),
        pytest.param(
            control(LabRecordType.MAX_STREAM_DATA, UNI, 7),
            "bad-stream",
            id="MAX_STREAM_DATA on their uni",
        ),
        pytest.param(data_record(64 << 2, b"x"), "stream-limit", id="bidi stream 64"),
        pytest.param(data_record(64 << 2 | 2, b"x"), "stream-limit", id="uni stream 64"),
        pytest.param(data_record(2**64 - 4, b"x"), "stream-limit", id="stream id above 62 bits"),
        pytest.param(
            data_record(BIDI, b"x", fin=True) + data_record(BIDI, b""),
            "bad-stream",
            id="DATA after FIN",
        ),
        pytest.param(
            control(LabRecordType.RESET, BIDI, 7) + data_record(BIDI, b"", fin=True),
            "bad-stream",
            id="FIN after RESET",
        ),
    ],
)
def test_a_fault_closes_with_its_reason(records: bytes, reason: str) -> None:
    """Each fault in a record ends the connection with its own code, and the peer learns it."""
    pair = make_pair()

    pair.acceptor.receive(records)
    pair.exchange()

    assert pair.told_acceptor[-1] == close_of(reason)
    assert pair.told_dialler == [ConnectionClosed(REASONS[reason].code, reason, by_peer=True)]


@pytest.mark.parametrize(
    "records",
    [
        pytest.param(data_record(BIDI, bytes(DATA_MAX)), id="longest body"),
        pytest.param(data_record(63 << 2, b"x"), id="bidi stream 63"),
        pytest.param(data_record(63 << 2 | 2, b"x"), id="uni stream 63"),
        pytest.param(control(LabRecordType.MAX_DATA, 0), id="a maximum that goes down"),
        pytest.param(control(LabRecordType.MAX_STREAMS_BIDI, 2**64 - 1), id="a huge maximum"),
        pytest.param(control(LabRecordType.PONG, b"unasked."), id="PONG nobody asked for"),
        pytest.param(control(LabRecordType.RESET, BIDI, 2**64 - 1), id="RESET of a new stream"),
        pytest.param(control(LabRecordType.STOP, BIDI, 7) * 2, id="STOP twice"),
        pytest.param(
            data_record(BIDI, b"x", fin=True) + control(LabRecordType.RESET, BIDI, 7),
            id="RESET after FIN",
        ),
        pytest.param(
            data_record(BIDI_NEXT, b"x") + data_record(BIDI, b"x"), id="numbers out of order"
        ),
    ],
)
def test_what_is_legal_does_not_close(records: bytes) -> None:
    """The last legal value beside each fault is taken."""
    pair = make_pair()

    pair.acceptor.receive(records)

    assert pair.acceptor.closed is None


def test_a_close_follows_all_that_the_credit_allows() -> None:
    """More bytes than are sent at once, on two streams."""
    pair = make_pair()
    pieces = [bytes([number]) * (BATCH - 1) for number in (3, 5)]
    for piece in pieces:
        pair.dialler.send(pair.dialler.open(bidi=True), piece)
    pair.dialler.close(0x0102, "done")
    pair.exchange()
    came = b"".join(one.data for one in pair.told_acceptor if isinstance(one, StreamData))

    assert sorted(came) == sorted(b"".join(pieces))
    assert pair.told_acceptor[-1] == ConnectionClosed(0x0102, "done", by_peer=True)


def test_ping_is_echoed_with_its_bytes() -> None:
    """Each PING comes back as a PONG with the same 8 bytes, in order."""
    pair = make_pair()

    pair.acceptor.receive(
        control(LabRecordType.PING, b"lopsided") + control(LabRecordType.PING, b"unequal!")
    )

    assert pair.acceptor.take_output() == (
        control(LabRecordType.PONG, b"lopsided") + control(LabRecordType.PONG, b"unequal!")
    )


# --- Streams ----------------------------------------------------------------------------------


def test_streams_both_ways_carry_bytes_and_ends() -> None:
    """Bytes and FIN arrive on the stream they were sent on; ids are those of QUIC."""
    pair = make_pair()
    assert (pair.dialler.open(bidi=True), pair.dialler.open(bidi=False)) == (BIDI, UNI)
    assert pair.acceptor.open(bidi=False) == THEIR_UNI
    pair.dialler.send(BIDI, b"ask", fin=True)
    pair.dialler.send(UNI, b"", fin=True)
    pair.acceptor.send(THEIR_UNI, b"beat")
    pair.exchange()
    pair.acceptor.send(BIDI, b"answer", fin=True)
    pair.exchange()

    assert pair.told_acceptor == [
        StreamOpened(UNI, bidi=False),
        StreamData(UNI, b"", fin=True),
        StreamOpened(BIDI, bidi=True),
        StreamData(BIDI, b"ask", fin=True),
    ]
    assert pair.told_dialler == [
        StreamOpened(THEIR_UNI, bidi=False),
        StreamData(THEIR_UNI, b"beat", fin=False),
        StreamData(BIDI, b"answer", fin=True),
    ]


@pytest.mark.parametrize("kind", [0, 2], ids=["bidi", "uni"])
def test_a_higher_number_opens_the_lower_ones(kind: int) -> None:
    """They are reported before it, in their order, so that none can go unnoticed (LB-030)."""
    pair = make_pair()
    ids = [number << 2 | kind for number in range(3)]
    opened = [StreamOpened(stream, bidi=not kind) for stream in ids]
    pair.acceptor.receive(data_record(ids[2], b"third"))
    first = pair.acceptor.take_events()
    pair.acceptor.receive(data_record(ids[1], b"second"))

    assert first == (*opened, StreamData(ids[2], b"third", fin=False))
    assert pair.acceptor.take_events() == (StreamData(ids[1], b"second", fin=False),)


def test_reset_comes_after_what_was_not_delivered() -> None:
    """LB-038: bytes that arrived before a RESET are delivered, and their credit is given back."""
    pair = make_pair()
    pair.acceptor.receive(data_record(BIDI, b"whole") + control(LabRecordType.RESET, BIDI, 513))

    assert pair.acceptor.take_events() == (
        StreamOpened(BIDI, bidi=True),
        StreamData(BIDI, b"whole", fin=False),
        StreamReset(BIDI, 513),
    )
    assert pair.acceptor.take_events() == ()


def test_a_reset_behind_fin_discards_nothing() -> None:
    """LB-034: the half has ended, also while the application has not taken its bytes."""
    pair = make_pair()
    ended = data_record(BIDI, b"whole", fin=True) + control(LabRecordType.RESET, BIDI, 513)
    pair.acceptor.receive(ended)

    assert pair.acceptor.take_events() == (
        StreamOpened(BIDI, bidi=True),
        StreamData(BIDI, b"whole", fin=True),
    )


def test_reset_and_stop_create_an_unseen_stream() -> None:
    """A stream can begin with its end, and with the wish that it end."""
    pair = make_pair()
    pair.dialler.open(bidi=True)
    pair.dialler.open(bidi=True)
    pair.dialler.reset(BIDI, 258)
    pair.dialler.stop(BIDI_NEXT, 259)
    pair.exchange()

    assert pair.told_acceptor == [
        StreamOpened(BIDI, bidi=True),
        StreamReset(BIDI, 258),
        StreamOpened(BIDI_NEXT, bidi=True),
        StreamStopped(BIDI_NEXT, 259),
    ]


def test_a_stopped_half_is_reset_with_code_0() -> None:
    """STOP is answered by RESET 0 at once; what waited is dropped, and sending says why."""
    pair = make_pair(acceptor=Windows(max_stream_data=4))
    pair.dialler.open(bidi=True)
    pair.dialler.send(BIDI, b"more than fits", fin=True)
    pair.exchange()
    pair.acceptor.stop(BIDI, 0x4D570009)
    pair.dialler.receive(pair.acceptor.take_output())

    assert pair.dialler.take_events() == (StreamStopped(BIDI, 0x4D570009),)
    assert pair.dialler.take_output() == control(LabRecordType.RESET, BIDI, 0)
    with pytest.raises(StreamGone) as gone:
        pair.dialler.send(BIDI, b"more")
    assert gone.value.code == 0x4D570009


def test_a_stop_after_fin_only_carries_its_code() -> None:
    """A half that had ended is not reset by STOP, yet its sender learns the code."""
    pair = make_pair()
    pair.dialler.open(bidi=True)
    pair.dialler.send(BIDI, b"bad frame", fin=True)
    pair.exchange()
    pair.acceptor.stop(BIDI, 0x4D570004)
    pair.dialler.receive(pair.acceptor.take_output())

    assert pair.dialler.take_events() == (StreamStopped(BIDI, 0x4D570004),)
    assert pair.dialler.take_output() == b""


def test_nothing_of_a_stopped_half_is_delivered() -> None:
    """Bytes that cross our STOP are dropped and cost the connection no credit."""
    windows = Windows(max_data=8)
    pair = make_pair(acceptor=windows)
    pair.dialler.open(bidi=True)
    pair.dialler.send(BIDI, b"12345678")
    crossing = pair.dialler.take_output()
    pair.acceptor.receive(data_record(BIDI, b""))
    pair.acceptor.stop(BIDI, 7)
    pair.acceptor.receive(crossing)

    assert pair.acceptor.take_events() == (StreamOpened(BIDI, bidi=True),)
    assert pair.acceptor.take_output() == (
        control(LabRecordType.STOP, BIDI, 7) + control(LabRecordType.MAX_DATA, 16)
    )


def test_a_reset_of_a_finished_half_does_nothing() -> None:
    """FIN that has gone out is the end; FIN that still waits is taken back."""
    pair = make_pair(acceptor=Windows(max_stream_data=1))
    for data in (b"a", b"ab"):
        stream = pair.dialler.open(bidi=False)
        pair.dialler.send(stream, data, fin=True)
    pair.exchange()
    pair.dialler.reset(2, 5)
    pair.dialler.reset(6, 5)

    assert pair.dialler.take_output() == control(LabRecordType.RESET, 6, 5)


# --- Credit -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("windows", "legal", "illegal"),
    [
        pytest.param(Windows(max_stream_data=5), [(BIDI, 5)], (BIDI, 1), id="of the stream"),
        pytest.param(
            Windows(max_data=9), [(BIDI, 5), (BIDI_NEXT, 4)], (UNI, 1), id="of the connection"
        ),
    ],
)
def test_data_beyond_credit_closes_the_connection(
    windows: Windows, legal: list[tuple[int, int]], illegal: tuple[int, int]
) -> None:
    """The last byte of the credit is legal, the next one is not."""
    pair = make_pair(acceptor=windows)
    for stream, size in legal:
        pair.acceptor.receive(data_record(stream, bytes(size)))
    pair.acceptor.receive(data_record(BIDI, b""))
    assert pair.acceptor.closed is None
    pair.acceptor.receive(data_record(illegal[0], bytes(illegal[1])))

    assert pair.acceptor.closed == close_of("flow-control")


@pytest.mark.parametrize("reader", ["dialler", "acceptor"])
def test_a_reader_that_stops_reading_stops_the_writer(reader: str) -> None:
    """Both ways: nothing goes out beyond the window until the application has consumed."""
    windows = Windows(max_data=100, max_stream_data=60)
    pair = make_pair(dialler=windows, acceptor=windows)
    reads, writes = pair.dialler, pair.acceptor
    told = pair.told_dialler
    if reader == "acceptor":
        reads, writes, told = pair.acceptor, pair.dialler, pair.told_acceptor
    stream = writes.open(bidi=True)
    writes.send(stream, bytes(150), fin=True)
    pair.exchange()
    assert [StreamOpened(stream, bidi=True), StreamData(stream, bytes(60), fin=False)] == told
    assert writes.waiting(stream) == 90

    told.clear()
    reads.consumed(stream, 60)
    pair.exchange()
    reads.consumed(stream, 60)
    pair.exchange()

    assert [StreamData(stream, bytes(60), fin=False), StreamData(stream, bytes(30), fin=True)] == (
        told
    )


def test_credit_is_not_withheld_when_another_stream_holds_the_rest() -> None:
    """A stream nobody reads keeps most of the connection's credit; the rest still circulates."""
    pair = make_pair(acceptor=Windows(max_data=100, max_stream_data=100))
    pair.acceptor.receive(data_record(BIDI, bytes(80)))
    for _ in range(50):
        pair.acceptor.receive(data_record(BIDI_NEXT, bytes(20)))
        assert pair.acceptor.closed is None
        pair.acceptor.consumed(BIDI_NEXT, 20)
        assert pair.acceptor.take_output()

    assert pair.acceptor.closed is None


def test_reset_and_release_give_back_what_was_not_consumed() -> None:
    """The connection's credit does not leak through streams that end unread."""
    pair = make_pair(acceptor=Windows(max_data=100, max_stream_data=100))
    for number in range(60):
        stream = number << 2
        pair.acceptor.receive(data_record(stream, bytes(100)))
        if number % 2:
            pair.acceptor.receive(control(LabRecordType.RESET, stream, 1))
        pair.acceptor.release(stream)
        assert control(LabRecordType.MAX_DATA, 100 * (number + 2)) in pair.acceptor.take_output()

    assert pair.acceptor.closed is None


def test_a_peer_may_open_as_many_streams_as_the_credit_says() -> None:
    """64 streams, then none until one has ended on both halves and was released."""
    pair = make_pair()
    for _ in range(64):
        pair.dialler.send(pair.dialler.open(bidi=True), b"x", fin=True)
    pair.exchange()
    assert not pair.dialler.can_open(bidi=True)
    assert pair.dialler.can_open(bidi=False)

    pair.acceptor.send(BIDI, b"", fin=True)
    pair.exchange()
    assert not pair.dialler.can_open(bidi=True)
    pair.acceptor.release(BIDI)
    pair.exchange()

    assert pair.dialler.can_open(bidi=True)


def test_release_before_the_end_waits_for_the_peer() -> None:
    """A released stream holds its place until the peer has answered the stop."""
    pair = make_pair(acceptor=Windows(max_streams_bidi=1))
    pair.dialler.open(bidi=True)
    pair.dialler.send(BIDI, b"x")
    pair.exchange()
    pair.acceptor.release(BIDI)
    assert pair.acceptor.take_output() == (
        control(LabRecordType.RESET, BIDI, 0) + control(LabRecordType.STOP, BIDI, 0)
    )

    pair.acceptor.receive(control(LabRecordType.RESET, BIDI, 0))

    assert pair.acceptor.take_output() == control(LabRecordType.MAX_STREAMS_BIDI, 2)


def test_release_lets_finished_bytes_go_out() -> None:
    """Bytes sent with FIN before the release are delivered, even if credit arrives later."""
    pair = make_pair(acceptor=Windows(max_stream_data=4))
    pair.dialler.open(bidi=False)
    pair.dialler.send(UNI, b"abcdef", fin=True)
    pair.dialler.release(UNI)
    pair.exchange()
    pair.acceptor.consumed(UNI, 4)
    pair.exchange()

    assert pair.told_acceptor[-1] == StreamData(UNI, b"ef", fin=True)


def test_a_thousand_streams_in_a_window_of_a_hundred() -> None:
    """Streams that end make room for others, for as long as it goes on."""
    pair = make_pair(acceptor=Windows(max_streams_bidi=100))
    opened = 0
    for _ in range(10):
        while pair.dialler.can_open(bidi=True):
            stream = pair.dialler.open(bidi=True)
            pair.dialler.send(stream, b"x", fin=True)
            pair.dialler.release(stream)
            opened += 1
        pair.exchange()
        for event in pair.told_acceptor:
            if isinstance(event, StreamOpened):
                pair.acceptor.release(event.stream)
        pair.told_acceptor.clear()
        pair.exchange()

    assert opened == 1000


def test_streams_that_wait_take_turns() -> None:
    """No stream sends a second piece before the others had their first."""
    pair = make_pair()
    for _ in range(3):
        pair.dialler.send(pair.dialler.open(bidi=False), bytes(2 * TURN), fin=True)
    output = pair.dialler.take_output()

    piece = len(encode_data_head(0, fin=False, size=0)) + TURN
    order = [int.from_bytes(output[at + 5 : at + 13], "big") for at in range(0, 6 * piece, piece)]
    assert order == [2, 6, 10, 2, 6, 10]


def test_control_records_pass_bytes_that_wait() -> None:
    """A reader that takes nothing still answers PING, and hears RESET."""
    pair = make_pair(acceptor=Windows(max_data=10))
    pair.dialler.open(bidi=True)
    pair.dialler.send(BIDI, bytes(50))
    pair.exchange()
    pair.acceptor.receive(control(LabRecordType.PING, b"are you?"))
    answer = pair.acceptor.take_output()
    pair.dialler.reset(BIDI, 3)
    pair.exchange()

    assert answer == control(LabRecordType.PONG, b"are you?")
    assert pair.told_acceptor[-1] == StreamReset(BIDI, 3)


# --- Endings ----------------------------------------------------------------------------------


def test_what_was_sent_before_close_arrives_before_it() -> None:
    """The peer receives the bytes, then code and reason; nothing is answered."""
    pair = make_pair()
    pair.dialler.open(bidi=True)
    pair.dialler.send(BIDI, b"verdict")
    pair.dialler.close(1, "authentication failed")
    pair.exchange()

    assert pair.told_acceptor[1:] == [
        StreamData(BIDI, b"verdict", fin=False),
        ConnectionClosed(1, "authentication failed", by_peer=True),
    ]
    assert pair.told_dialler == [ConnectionClosed(1, "authentication failed", by_peer=False)]


def test_a_link_that_ends_without_close_has_no_code() -> None:
    """An end without a CLOSE is reported as such, once."""
    pair = make_pair()
    pair.dialler.receive_end()
    pair.dialler.receive_end()

    assert pair.dialler.take_events() == (ConnectionClosed(None, "connection lost", by_peer=True),)
    assert not pair.dialler.has_events


def test_nothing_is_read_behind_a_close() -> None:
    """Bytes after CLOSE, however bad, change nothing."""
    pair = make_pair()
    pair.acceptor.receive(encode_close(100, "yield") + b"\xff" * 100)

    assert pair.acceptor.take_events() == (ConnectionClosed(100, "yield", by_peer=True),)
    assert pair.acceptor.take_output() == b""


def test_a_long_reason_is_cut_between_characters() -> None:
    """A close never breaks the binding itself."""
    pair = make_pair()
    pair.dialler.close(7, "é" * 600)
    pair.exchange()

    assert pair.told_acceptor == [ConnectionClosed(7, "é" * 512, by_peer=True)]


# --- Any bytes, any chunks ----------------------------------------------------------------------

CONVERSATION = b"".join(
    (
        preamble(),
        data_record(BIDI, b"first"),
        control(LabRecordType.PING, b"lopsided"),
        data_record(UNI, b"\x01" + bytes(8), fin=True),
        data_record(BIDI_NEXT, b"gone"),
        control(LabRecordType.RESET, BIDI_NEXT, 77),
        control(LabRecordType.STOP, BIDI, 78),
        data_record(BIDI, b"second", fin=True),
        encode_close(5, "end"),
    ),
)


def told_by(chunks: list[bytes]) -> dict[int, bytes]:
    """Return the events of each stream for a conversation that arrives in these chunks."""
    side = LabConnection(dialled=False, endpoint_id=ACCEPTOR_ID)
    told: dict[int, bytes] = {}
    for chunk in chunks:
        side.receive(chunk)
        for event in side.take_events():
            if isinstance(event, StreamData):
                told[event.stream] = told.get(event.stream, b"") + event.data
                told[event.stream] += b"|" if event.fin else b""
    assert side.closed == ConnectionClosed(5, "end", by_peer=True)
    # How much of a stream arrives before its RESET does depends on the chunks.
    told.pop(BIDI_NEXT, None)
    return told


@given(st.lists(st.integers(0, len(CONVERSATION)), max_size=30))
def test_chunks_make_no_difference(cuts: list[int]) -> None:
    """A conversation means the same however it is cut."""
    edges = [0, *sorted(cuts), len(CONVERSATION)]
    chunks = [CONVERSATION[a:b] for a, b in pairwise(edges)]

    assert told_by(chunks) == told_by([CONVERSATION])


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_garbage_never_raises(garbage: list[bytes]) -> None:
    """Any bytes, before or after the preamble, cause at most an event."""
    for start in (b"", preamble()):
        side = LabConnection(dialled=False, endpoint_id=ACCEPTOR_ID)
        side.receive(start)
        for chunk in garbage:
            side.receive(chunk)
            side.take_events()
            side.take_output()
        side.receive_end()

        assert side.closed is not None


@st.composite
def records(draw: st.DrawFn) -> bytes:
    """Give a record that is well-formed, on a stream that may or may not take it."""
    stream = draw(st.integers(0, 11))
    number = draw(st.sampled_from((0, 1, 63, 2**20, 2**62, 2**64 - 1)))
    return draw(
        st.one_of(
            st.builds(
                lambda data, fin: data_record(stream, data, fin=fin), st.binary(), st.booleans()
            ),
            st.sampled_from(
                (
                    control(LabRecordType.RESET, stream, number),
                    control(LabRecordType.STOP, stream, number),
                    control(LabRecordType.MAX_STREAM_DATA, stream, number),
                    control(LabRecordType.MAX_DATA, number),
                    control(LabRecordType.MAX_STREAMS_BIDI, number),
                    control(LabRecordType.MAX_STREAMS_UNI, number),
                ),
            ),
        ),
    )


CALLS: Final[tuple[Callable[[LabConnection, int], object], ...]] = (
    lambda side, stream: side.send(stream, b"answer", fin=True),
    lambda side, stream: side.reset(stream, 1),
    lambda side, stream: side.stop(stream, 2),
    lambda side, stream: side.consumed(stream, 50),
    lambda side, stream: side.release(stream),
    lambda side, _stream: side.can_open(bidi=True) and side.open(bidi=True),
)


@given(st.lists(st.tuples(records(), st.integers(0, 11), st.integers(0, 5)), max_size=40))
def test_any_order_of_records_and_calls_stands(
    steps: list[tuple[bytes, int, int]],
) -> None:
    """No order of records and calls raises anything but StreamGone, and credit never leaks."""
    pair = make_pair(acceptor=Windows(max_data=300, max_stream_data=200))
    side = pair.acceptor
    for record, stream, call in steps:
        side.receive(record)
        side.take_events()
        if side.closed is not None:
            return
        with suppress(StreamGone):
            CALLS[call](side, stream)
        side.take_output()
        held = sum(other.unsettled for other in side._streams.values())
        assert side._credit.received == side._credit.taken + held


def test_the_preamble_is_the_one_of_the_codec() -> None:
    """Each field stands where the codec reads it."""
    windows = Windows(0x0102030405060708, 0x1112131415161718, 0x2122, 0x3132)

    assert decode_lab_preamble(encode_preamble(ALPN, DIALLER_ID, windows)) == LabPreamble(
        LAB_MAGIC,
        LAB_VERSION,
        ALPN,
        DIALLER_ID,
        0x0102030405060708,
        0x1112131415161718,
        0x2122,
        0x3132,
    )


@given(st.integers(0, 12), st.binary(max_size=24))
@example(0, bytes(8) + b"\x02")
@example(9, bytes(8) + b"\xff")
def test_what_the_codec_refuses_closes_with_its_reason(type_: int, body: bytes) -> None:
    """A record that is malformed for the codec closes a connection for the same reason."""
    side = LabConnection(dialled=False, endpoint_id=ACCEPTOR_ID)
    side.receive(preamble())
    record = pack(">BI", type_, len(body)) + body
    side.receive(record)
    # What is well-formed may still be wrong for this connection, but only as these.
    allowed = {REASONS[name].code for name in ("bad-stream", "stream-limit", "flow-control")}
    allowed.add(None)
    try:
        decode_lab_record(record)
    except Malformed as fault:
        allowed = {REASONS[fault.reason].code}
    ended = side.closed

    assert ((ended and not ended.by_peer and ended.code) or None) in allowed
