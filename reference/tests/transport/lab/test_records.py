"""The connection's own record bytes against the codec that the harness offers."""

from __future__ import annotations

from struct import pack

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from meshwire_reference.transport.base import Windows
from meshwire_reference.transport.lab.connection import LabConnection
from meshwire_reference.transport.lab.records import (
    Preamble,
    encode_close,
    encode_control,
    encode_data_head,
    encode_preamble,
)
from meshwire_reference.wire.errors import Malformed
from meshwire_reference.wire.lab import (
    Close,
    Data,
    Echo,
    LabPreamble,
    LabRecord,
    Maximum,
    StreamCode,
    StreamMaximum,
    decode_lab_preamble,
    decode_lab_record,
)
from meshwire_spec.numbers import ALPN, LAB_MAGIC, LAB_VERSION, REASONS, LabRecordType

ENDPOINT = bytes(range(32))
# Lopsided, so that no two fields and no two bytes can be exchanged unseen.
FIRST, SECOND = 0x0102030405060708, 0x1112131415161718


def test_the_preamble_is_the_one_of_the_codec() -> None:
    """Each field stands where the codec reads it."""
    windows = Windows(FIRST, SECOND, 0x2122, 0x3132)

    assert decode_lab_preamble(encode_preamble(ALPN, Preamble(ENDPOINT, windows))) == LabPreamble(
        LAB_MAGIC, LAB_VERSION, ALPN, ENDPOINT, FIRST, SECOND, 0x2122, 0x3132
    )


@pytest.mark.parametrize(
    ("encoded", "type_", "body"),
    [
        (
            encode_data_head(FIRST, fin=True, size=3) + b"xyz",
            LabRecordType.DATA,
            Data(FIRST, 1, b"xyz"),
        ),
        (
            encode_control(LabRecordType.RESET, FIRST, SECOND),
            LabRecordType.RESET,
            StreamCode(FIRST, SECOND),
        ),
        (
            encode_control(LabRecordType.STOP, FIRST, SECOND),
            LabRecordType.STOP,
            StreamCode(FIRST, SECOND),
        ),
        (encode_control(LabRecordType.MAX_DATA, FIRST), LabRecordType.MAX_DATA, Maximum(FIRST)),
        (
            encode_control(LabRecordType.MAX_STREAM_DATA, FIRST, SECOND),
            LabRecordType.MAX_STREAM_DATA,
            StreamMaximum(FIRST, SECOND),
        ),
        (
            encode_control(LabRecordType.MAX_STREAMS_BIDI, FIRST),
            LabRecordType.MAX_STREAMS_BIDI,
            Maximum(FIRST),
        ),
        (
            encode_control(LabRecordType.MAX_STREAMS_UNI, FIRST),
            LabRecordType.MAX_STREAMS_UNI,
            Maximum(FIRST),
        ),
        (encode_control(LabRecordType.PING, b"lopsided"), LabRecordType.PING, Echo(b"lopsided")),
        (encode_control(LabRecordType.PONG, b"lopsided"), LabRecordType.PONG, Echo(b"lopsided")),
        (encode_close(FIRST, "bad key"), LabRecordType.CLOSE, Close(FIRST, "bad key")),
    ],
)
def test_each_record_is_the_one_of_the_codec(
    encoded: bytes, type_: LabRecordType, body: object
) -> None:
    """What a connection writes, the codec reads as the same record."""
    assert decode_lab_record(encoded) == LabRecord(type_, body)  # type: ignore[arg-type]  # a row


@given(st.integers(0, 12), st.binary(max_size=24))
@example(0, bytes(8) + b"\x02")
@example(9, bytes(8) + b"\xff")
def test_what_the_codec_refuses_closes_with_its_reason(type_: int, body: bytes) -> None:
    """A record that is malformed for the codec closes a connection for the same reason."""
    side = LabConnection(dialled=False, endpoint_id=ENDPOINT)
    side.receive(encode_preamble(ALPN, Preamble(ENDPOINT, Windows())))
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
