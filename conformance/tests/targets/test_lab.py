"""Tests of the suite's own lab binding, its two sides joined in memory."""

from __future__ import annotations

import random

import pytest

from meshwire_conformance.targets.lab import LabConnection
from meshwire_conformance.targets.lab_records import (
    CloseReceived,
    DataReceived,
    Event,
    PeerFault,
    PongReceived,
    Preamble,
    PreambleReceived,
    ResetReceived,
    StopReceived,
    StreamOpened,
    Windows,
    record,
)
from meshwire_spec.codec import decode, encode, from_value
from meshwire_spec.numbers import LAB_RECORD_MAX, LabRecordType

US, THEM = bytes(31) + b"\x01", bytes(31) + b"\x02"


class Pair:
    """Both sides of one connection, with every event of each."""

    def __init__(self, seed: int = 1, windows: Windows = Windows()) -> None:  # noqa: B008 - frozen
        self.left = LabConnection(Preamble(US), random.Random(seed))
        self.right = LabConnection(
            Preamble(THEM, windows=windows), random.Random(seed), dialled=False
        )
        self.seen_left: list[Event] = []
        self.seen_right: list[Event] = []
        self.settle()

    def settle(self) -> None:
        """Carry bytes both ways until nobody has any, at most a hundred times."""
        for _ in range(100):
            outward, inward = self.left.take_output(), self.right.take_output()
            if not outward and not inward:
                return
            self.seen_right += self.right.receive(outward)
            self.seen_left += self.left.receive(inward)
        raise AssertionError("the two sides never stop talking")

    def sees(self, data: bytes) -> Event:
        """The events of the right side for bytes written by hand."""
        self.left.write_raw(data)
        self.settle()
        return self.seen_right[-1]


def bytes_of(events: list[Event], stream_id: int) -> bytes:
    """Everything that came on a stream."""
    return b"".join(
        event.data
        for event in events
        if isinstance(event, DataReceived) and event.stream_id == stream_id
    )


def test_both_sides_read_each_other_s_preamble() -> None:
    """The endpoint id and the windows arrive as they were written."""
    pair = Pair()

    assert pair.seen_right == [PreambleReceived(Preamble(US))]
    assert pair.seen_left == [PreambleReceived(Preamble(THEM))]


def test_the_preamble_is_what_the_schema_reads() -> None:
    """The hand-written layout of the preamble agrees with the schema codec."""
    decoded = decode("lab_preamble", Preamble(US).encode())

    assert decoded.fields["endpoint_id"] == US
    assert decoded.fields["max_data"] == Windows().max_data


@pytest.mark.parametrize(
    ("record_type", "body", "value"),
    [
        (
            LabRecordType.DATA,
            bytes.fromhex("000000000000000801aabb"),
            {"stream_id": "8", "fin": 1, "data": "aabb"},
        ),
        (
            LabRecordType.RESET,
            bytes.fromhex("00000000000000080000000000000007"),
            {"stream_id": "8", "code": "7"},
        ),
        (LabRecordType.PING, bytes.fromhex("0102030405060708"), {"payload": "0102030405060708"}),
    ],
)
def test_records_are_what_the_schema_writes(
    record_type: LabRecordType, body: bytes, value: dict[str, object]
) -> None:
    """The hand-written records agree with the schema codec."""
    message = from_value("lab_record", {"type": int(record_type), "body": value})

    assert encode(message) == record(record_type, body)


@pytest.mark.parametrize("seed", range(8))
def test_streams_arrive_whole_however_they_are_interleaved(seed: int) -> None:
    """Every seed cuts and orders the records in another way; each stream arrives in order."""
    pair = Pair(seed)
    sent = {pair.left.open(uni=False): bytes((number,)) * 5000 for number in range(1, 6)}
    for stream_id, data in sent.items():
        pair.left.write(stream_id, data)
        pair.left.finish(stream_id)
    pair.settle()

    assert {stream_id: bytes_of(pair.seen_right, stream_id) for stream_id in sent} == sent


def test_different_seeds_order_the_records_differently() -> None:
    """The order is a choice of the seed, and the same for one seed."""

    def order(seed: int) -> list[int]:
        pair = Pair(seed)
        for _ in range(6):
            stream_id = pair.left.open(uni=False)
            pair.left.write(stream_id, b"x" * 100)
        pair.settle()
        return [event.stream_id for event in pair.seen_right if isinstance(event, DataReceived)]

    assert order(1) == order(1)
    assert len({tuple(order(seed)) for seed in range(10)}) > 1


def test_a_writer_stops_at_the_credit_of_a_stream() -> None:
    """Nothing is sent beyond the window, and the rest comes when credit does."""
    pair = Pair(windows=Windows(max_stream_data=1000, held=True))
    stream_id = pair.left.open(uni=False)
    pair.left.write(stream_id, bytes(5000))
    pair.settle()
    before = len(bytes_of(pair.seen_right, stream_id))
    pair.right.release(stream_id, 4000)
    pair.settle()

    assert (before, len(bytes_of(pair.seen_right, stream_id))) == (1000, 5000)


def test_a_writer_stops_at_the_credit_of_a_connection_that_is_held() -> None:
    """Neither bytes nor streams come beyond it until the suite grants more."""
    pair = Pair(windows=Windows(max_data=1000, max_streams_bidi=2, all_held=True))
    first, second = (pair.left.open(uni=False) for _ in range(2))
    for stream_id in (first, second):
        pair.left.write(stream_id, bytes(700))
    pair.settle()
    before = pair.right.received
    pair.right.allow_data(258)
    pair.settle()
    more = pair.right.received
    pair.right.allow_streams(1)
    pair.settle()

    assert (before, more, pair.left.room, pair.left.can_open(uni=False)) == (1000, 1258, 0, True)


def test_a_window_is_given_back_as_it_is_read() -> None:
    """A stream far longer than the window arrives whole."""
    pair = Pair(windows=Windows(max_data=3000, max_stream_data=2000))
    stream_id = pair.left.open(uni=False)
    pair.left.write(stream_id, bytes(50_000))
    pair.settle()

    assert len(bytes_of(pair.seen_right, stream_id)) == 50_000


def test_streams_wait_for_credit_and_closed_ones_give_it_back() -> None:
    """With credit for one stream the second may be opened once the first is over."""
    pair = Pair(windows=Windows(max_streams_bidi=1))
    first = pair.left.open(uni=False)
    could = pair.left.can_open(uni=False)
    pair.left.write(first, b"x")
    pair.left.finish(first)
    pair.settle()
    pair.right.finish(first)
    pair.settle()

    assert (could, pair.left.can_open(uni=False)) == (False, True)


def test_grants_within_the_credit_used_are_no_excess() -> None:
    """A peer that gives back what it read, and streams that ended, grants no more than is due."""
    pair = Pair(windows=Windows(max_data=3000, max_stream_data=2000, max_streams_bidi=1))
    for _ in range(3):
        stream_id = pair.left.open(uni=False)
        pair.left.write(stream_id, bytes(5000))
        pair.left.finish(stream_id)
        pair.settle()
        pair.right.finish(stream_id)
        pair.settle()

    assert pair.left.grants.count > 0
    assert pair.left.grants.excess == []


@pytest.mark.parametrize(
    ("kind", "at_most"),
    [
        (LabRecordType.MAX_DATA, 3000 + 700),
        (LabRecordType.MAX_STREAM_DATA, 2000 + 700),
        (LabRecordType.MAX_STREAMS_BIDI, 4),
        (LabRecordType.MAX_STREAMS_UNI, 5),
    ],
)
def test_a_grant_beyond_the_credit_used_is_noted(kind: LabRecordType, at_most: int) -> None:
    """One byte, or one stream, more than came back is an excess, and ends nothing (LB-059)."""
    windows = Windows(max_data=3000, max_stream_data=2000, max_streams_bidi=4, max_streams_uni=5)
    pair = Pair(windows=windows)
    stream_id = pair.left.open(uni=False)
    pair.left.write(stream_id, bytes(700))
    pair.settle()
    found = []
    for maximum in (at_most, at_most + 1):
        numbers = [maximum] if kind is not LabRecordType.MAX_STREAM_DATA else [stream_id, maximum]
        body = b"".join(number.to_bytes(8, "big") for number in numbers)
        pair.left.receive(record(kind, body))
        found.append(len(pair.left.grants.excess))

    assert found == [0, 1]
    assert not pair.left.closed


def test_a_stop_is_answered_by_a_reset_with_code_0() -> None:
    """A half that was stopped is given up at once, and what waited on it is dropped."""
    pair = Pair()
    stream_id = pair.left.open(uni=False)
    pair.left.write(stream_id, b"x")
    pair.settle()
    pair.right.stop(stream_id, 0x4D570009)
    pair.settle()

    assert StopReceived(stream_id, 0x4D570009) in pair.seen_left
    assert ResetReceived(stream_id, 0) in pair.seen_right


def test_ping_comes_back_and_close_ends() -> None:
    """Eight bytes are echoed; after CLOSE nothing is written."""
    pair = Pair()
    pair.left.ping(b"12345678")
    pair.settle()
    pair.left.close(0, "done")
    pair.left.ping(b"87654321")
    pair.settle()

    assert pair.seen_left[-1] == PongReceived(b"12345678")
    assert pair.seen_right[-1] == CloseReceived(0, "done")


def data(stream_id: int, fin: int = 0, content: bytes = b"") -> bytes:
    """A DATA record."""
    return record(LabRecordType.DATA, stream_id.to_bytes(8, "big") + bytes((fin,)) + content)


def two(record_type: LabRecordType, first: int, second: int) -> bytes:
    """A record of two numbers."""
    return record(record_type, first.to_bytes(8, "big") + second.to_bytes(8, "big"))


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        (record(10, b""), "unknown-type"),
        (bytes((0,)) + (LAB_RECORD_MAX + 1).to_bytes(4, "big"), "length-limit"),
        (record(LabRecordType.MAX_DATA, bytes(7)), "truncated"),
        (record(LabRecordType.MAX_DATA, bytes(9)), "trailing-bytes"),
        (record(LabRecordType.DATA, bytes(8)), "truncated"),
        (data(0, fin=2), "bad-flag"),
        (data(256), "stream-limit"),
        (data(258), "stream-limit"),
        (data(1), "bad-stream"),
        (two(LabRecordType.STOP, 2, 0), "bad-stream"),
        (two(LabRecordType.RESET, 3, 0), "bad-stream"),
        (data(0, fin=1) + data(0), "bad-stream"),
        (two(LabRecordType.RESET, 0, 0) + data(0), "bad-stream"),
        (data(0, content=bytes(60_000)) * 18, "flow-control"),
    ],
)
def test_a_peer_that_breaks_the_binding_is_named(written: bytes, reason: str) -> None:
    """Each fault is one event with its reason, and nothing raises."""
    windows = Windows(held=True)
    seen = Pair(windows=windows).sees(written)

    assert isinstance(seen, PeerFault)
    assert seen.reason == reason


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        (b"MWLC", "bad-magic"),
        (b"MX", "bad-magic"),
        (b"MWLB\x02", "bad-version"),
        (Preamble(US, alpn=b"cap/automerge/2").encode(), "wrong-alpn"),
    ],
)
def test_a_preamble_is_refused_at_its_first_wrong_field(written: bytes, reason: str) -> None:
    """Each field is judged as soon as it is whole."""
    side = LabConnection(Preamble(THEM), random.Random(1), dialled=False)
    (seen,) = side.receive(written)

    assert isinstance(seen, PeerFault)
    assert seen.reason == reason


def test_a_reset_opens_a_stream_and_one_after_fin_is_ignored() -> None:
    """RESET and STOP of a stream not seen create it; a half that is over stays over."""
    pair = Pair()
    pair.left.write_raw(two(LabRecordType.RESET, 8, 5) + data(4, fin=1))
    pair.left.write_raw(two(LabRecordType.RESET, 4, 5))
    pair.settle()

    assert pair.seen_right[1:] == [
        StreamOpened(8),
        ResetReceived(8, 5),
        StreamOpened(4),
        DataReceived(4, b"", fin=True),
    ]


def test_any_cut_of_the_bytes_gives_the_same_events() -> None:
    """Bytes that come one at a time mean what they mean together."""
    whole = Preamble(US).encode() + data(0, content=b"abc") + data(0, fin=1, content=b"d")
    at_once = LabConnection(Preamble(THEM), random.Random(1), dialled=False)
    trickled = LabConnection(Preamble(THEM), random.Random(1), dialled=False)
    events = [event for byte in whole for event in trickled.receive(bytes((byte,)))]

    assert events == at_once.receive(whole)


DATA, OPENED = int(LabRecordType.DATA), bytes(7) + b"\x00"
BAD_FLAG, NEVER_OPENED = b"\x02", bytes(7) + b"\x01"


@pytest.mark.parametrize(
    ("data", "reason", "rule", "at"),
    [
        (b"\x2a\xff\xff\xff\xff", "unknown-type", "LB-021", 0),
        (b"\x00\x00\x01\x00\x01", "length-limit", "LB-022", 1),
        (record(LabRecordType.PING, b"\x01"), "truncated", "LB-023", 6),
        (record(LabRecordType.PING, bytes(9)), "trailing-bytes", "LB-024", 13),
        (record(DATA, OPENED + BAD_FLAG), "bad-flag", "LB-025", 13),
        (record(DATA, NEVER_OPENED + BAD_FLAG), "bad-stream", "LB-032", 5),
        (record(LabRecordType.CLOSE, b"\x01"), "truncated", "LB-023", 6),
        (record(LabRecordType.CLOSE, bytes(1033)), "length-limit", "LB-026", 13),
        (record(DATA, (4 * 1000).to_bytes(8, "big") + b"\x00"), "stream-limit", "LB-048", 5),
    ],
)
def test_a_fault_cites_its_rule_and_the_first_field_at_fault(
    data: bytes, reason: str, rule: str, at: int
) -> None:
    """Fields are checked in their order, and the record is kept for the report."""
    fault = Pair().sees(data)

    assert isinstance(fault, PeerFault)
    assert (fault.reason, fault.rule.partition(",")[0], fault.at) == (reason, rule, at)
    assert (fault.kind, fault.data) == ("lab_record", data)


@pytest.mark.parametrize(
    ("preamble", "reason", "rule", "at"),
    [
        (Preamble(US, magic=b"MWLA"), "bad-magic", "LB-002", 0),
        (Preamble(US, version=2), "bad-version", "LB-003", 4),
        (Preamble(US, alpn=b"h3"), "wrong-alpn", "LB-005", 6),
    ],
)
def test_a_fault_of_the_preamble_cites_its_rule(
    preamble: Preamble, reason: str, rule: str, at: int
) -> None:
    """It is found as soon as its field is whole (LB-009)."""
    data = preamble.encode()[:16]
    events = LabConnection(Preamble(THEM), random.Random(1)).receive(data)

    (fault,) = events
    assert fault == PeerFault(reason, fault.detail, rule, "lab_preamble", data, at)
