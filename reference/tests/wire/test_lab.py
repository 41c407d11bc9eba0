"""The encoders of single records against the codec of whole ones."""

import pytest

from meshwire_reference.wire.errors import Malformed, Unencodable
from meshwire_reference.wire.lab import (
    DATA_MAX,
    CloseBody,
    Data,
    Echo,
    LabRecord,
    Maximum,
    StreamCode,
    StreamMaximum,
    decode_lab_record,
    encode_close,
    encode_control,
    encode_data_head,
    encode_lab_record,
    read_close,
)
from meshwire_spec.numbers import CLOSE_REASON_MAX, LabRecordType

# Lopsided, so that no two fields and no two bytes can be exchanged unseen.
FIRST, SECOND = 0x0102030405060708, 0x1112131415161718


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
        (encode_close(FIRST, "bad key"), LabRecordType.CLOSE, CloseBody(FIRST, "bad key")),
    ],
)
def test_each_record_is_the_one_of_the_codec(
    encoded: bytes, type_: LabRecordType, body: object
) -> None:
    """The codec decodes each record that a connection writes, and encodes it to the same bytes."""
    record = LabRecord(type_, body)  # type: ignore[arg-type]  # a row

    assert decode_lab_record(encoded) == record
    assert encode_lab_record(record) == encoded


def test_data_has_a_greatest_size() -> None:
    """A record of that size is written and read; with one byte more it is not written."""
    fits = LabRecord(LabRecordType.DATA, Data(FIRST, 0, bytes(DATA_MAX)))
    over = LabRecord(LabRecordType.DATA, Data(FIRST, 0, bytes(DATA_MAX + 1)))

    assert decode_lab_record(encode_lab_record(fits)) == fits
    with pytest.raises(Unencodable, match="length-limit") as caught:
        encode_lab_record(over)
    assert caught.value.field == "body.length"


def test_the_limit_of_a_reason_is_in_bytes() -> None:
    """LB-026: a reason of two-byte characters has half as many of them, and one byte decides."""
    head = FIRST.to_bytes(8, "big")
    fits = "\u00e9" * (CLOSE_REASON_MAX // 2)

    def read(reason: str) -> tuple[int, str]:
        data = head + reason.encode()
        return read_close(data, 0, len(data))

    assert read(fits) == (FIRST, fits)
    with pytest.raises(Malformed, match="length-limit") as caught:
        read(fits + "e")
    assert (caught.value.offset, caught.value.field) == (8, "body.reason")


def test_a_close_is_read_from_its_place_in_the_input() -> None:
    """The bytes before and after the body do not count."""
    body = FIRST.to_bytes(8, "big") + b"bad key"
    around = b"\xff" * 3

    data = around + body + bytes(CLOSE_REASON_MAX)

    assert read_close(data, 3, 3 + len(body)) == (FIRST, "bad key")
    with pytest.raises(Malformed, match="truncated"):
        read_close(around + body, 3, 10)
