"""The lab binding's preamble and records: QUIC's stream model over one ordered byte stream."""

from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct
from typing import Any, Final

from meshwire_reference.wire.cursor import U8, U32_BE, U64_BE, Reader, Writer
from meshwire_reference.wire.errors import Unencodable
from meshwire_spec.numbers import (
    CLOSE_REASON_MAX,
    ENDPOINT_ID,
    LAB_MAGIC,
    LAB_PING,
    LAB_RECORD_MAX,
    LAB_VERSION,
    LabRecordType,
)

RECORD_HEADER: Final = Struct(">BI")


@dataclass(frozen=True, slots=True)
class LabPreamble:
    """What each side says first: the protocol it speaks, who it is, the credit it gives."""

    magic: bytes
    version: int
    alpn: str
    endpoint_id: bytes
    max_data: int
    max_stream_data: int
    max_streams_bidi: int
    max_streams_uni: int


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes of a stream; `fin` 1 says that none follow."""

    stream_id: int
    fin: int
    data: bytes


@dataclass(frozen=True, slots=True)
class StreamCode:
    """Body of RESET and of STOP: which stream, and the application code."""

    stream_id: int
    code: int


@dataclass(frozen=True, slots=True)
class Maximum:
    """Body of MAX_DATA, MAX_STREAMS_BIDI and MAX_STREAMS_UNI: the credit in all."""

    maximum: int


@dataclass(frozen=True, slots=True)
class StreamMaximum:
    """Body of MAX_STREAM_DATA: the credit of one stream in all."""

    stream_id: int
    maximum: int


@dataclass(frozen=True, slots=True)
class Echo:
    """Body of PING and of the PONG that brings it back."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """Body of CLOSE: the application code and a text for people."""

    code: int
    reason: str


Body = Data | StreamCode | Maximum | StreamMaximum | Echo | Close


@dataclass(frozen=True, slots=True)
class LabRecord:
    """One record; `type` says which body it has."""

    type: LabRecordType
    body: Body


def decode_lab_preamble(data: bytes) -> LabPreamble:
    """Decode a preamble; raises Malformed. Whether the ALPN is ours is for the connection."""
    reader = Reader(data)
    magic = reader.fixed(len(LAB_MAGIC), "magic")
    if magic != LAB_MAGIC:
        # LB-002
        raise reader.fault("bad-magic", "magic", 0)
    preamble = LabPreamble(
        magic=magic,
        # LB-003
        version=reader.listed(U8, (LAB_VERSION,), "bad-version", "version"),
        alpn=reader.text(U8, "alpn"),
        endpoint_id=reader.fixed(ENDPOINT_ID, "endpoint_id"),
        max_data=reader.number(U64_BE, "max_data"),
        max_stream_data=reader.number(U64_BE, "max_stream_data"),
        max_streams_bidi=reader.number(U64_BE, "max_streams_bidi"),
        max_streams_uni=reader.number(U64_BE, "max_streams_uni"),
    )
    reader.close()
    return preamble


def encode_lab_preamble(preamble: LabPreamble) -> bytes:
    """Encode a preamble; raises Unencodable."""
    writer = Writer()
    if preamble.magic != LAB_MAGIC:
        raise writer.fault("bad-magic", "magic")
    writer.rest(preamble.magic)
    writer.listed(U8, preamble.version, (LAB_VERSION,), "bad-version", "version")
    writer.text(U8, preamble.alpn, "alpn")
    writer.fixed(preamble.endpoint_id, ENDPOINT_ID, "endpoint_id")
    writer.number(U64_BE, preamble.max_data, "max_data")
    writer.number(U64_BE, preamble.max_stream_data, "max_stream_data")
    writer.number(U64_BE, preamble.max_streams_bidi, "max_streams_bidi")
    writer.number(U64_BE, preamble.max_streams_uni, "max_streams_uni")
    return writer.done()


def _read_data(reader: Reader) -> Data:
    return Data(
        stream_id=reader.number(U64_BE, "stream_id"),
        # LB-025
        fin=reader.listed(U8, (0, 1), "bad-flag", "fin"),
        data=reader.rest(),
    )


def _write_data(writer: Writer, body: Data) -> None:
    writer.number(U64_BE, body.stream_id, "stream_id")
    writer.listed(U8, body.fin, (0, 1), "bad-flag", "fin")
    writer.rest(body.data)


def _read_stream_code(reader: Reader) -> StreamCode:
    return StreamCode(reader.number(U64_BE, "stream_id"), reader.number(U64_BE, "code"))


def _write_stream_code(writer: Writer, body: StreamCode) -> None:
    writer.number(U64_BE, body.stream_id, "stream_id")
    writer.number(U64_BE, body.code, "code")


def _read_maximum(reader: Reader) -> Maximum:
    return Maximum(reader.number(U64_BE, "maximum"))


def _write_maximum(writer: Writer, body: Maximum) -> None:
    writer.number(U64_BE, body.maximum, "maximum")


def _read_stream_maximum(reader: Reader) -> StreamMaximum:
    return StreamMaximum(reader.number(U64_BE, "stream_id"), reader.number(U64_BE, "maximum"))


def _write_stream_maximum(writer: Writer, body: StreamMaximum) -> None:
    writer.number(U64_BE, body.stream_id, "stream_id")
    writer.number(U64_BE, body.maximum, "maximum")


def _read_echo(reader: Reader) -> Echo:
    return Echo(reader.fixed(LAB_PING, "payload"))


def _write_echo(writer: Writer, body: Echo) -> None:
    writer.fixed(body.payload, LAB_PING, "payload")


def _read_close(reader: Reader) -> Close:
    code = reader.number(U64_BE, "code")
    # The reason has no length of its own: it is the rest of the body.
    if reader.remaining() > CLOSE_REASON_MAX:
        # LB-026
        raise reader.fault("length-limit", "reason")
    return Close(code, reader.fixed_text(reader.remaining(), "reason"))


def _write_close(writer: Writer, body: Close) -> None:
    writer.number(U64_BE, body.code, "code")
    content = writer.utf8(body.reason, "reason")
    if len(content) > CLOSE_REASON_MAX:
        raise writer.fault("length-limit", "reason")
    writer.rest(content)


@dataclass(frozen=True, slots=True)
class BodyCodec:
    """One row: the class of a body and both directions of its codec."""

    body: type
    read: Callable[[Reader], Body]
    write: Callable[[Writer, Any], None]


_STREAM_CODE: Final = BodyCodec(StreamCode, _read_stream_code, _write_stream_code)
_MAXIMUM: Final = BodyCodec(Maximum, _read_maximum, _write_maximum)
_ECHO: Final = BodyCodec(Echo, _read_echo, _write_echo)

BODIES: Final = {
    LabRecordType.DATA: BodyCodec(Data, _read_data, _write_data),
    LabRecordType.RESET: _STREAM_CODE,
    LabRecordType.STOP: _STREAM_CODE,
    LabRecordType.MAX_DATA: _MAXIMUM,
    LabRecordType.MAX_STREAM_DATA: BodyCodec(
        StreamMaximum, _read_stream_maximum, _write_stream_maximum
    ),
    LabRecordType.MAX_STREAMS_BIDI: _MAXIMUM,
    LabRecordType.MAX_STREAMS_UNI: _MAXIMUM,
    LabRecordType.PING: _ECHO,
    LabRecordType.PONG: _ECHO,
    LabRecordType.CLOSE: BodyCodec(Close, _read_close, _write_close),
}
RECORD_TYPES: Final = {int(member): member for member in LabRecordType}


def decode_lab_record(data: bytes) -> LabRecord:
    """Decode exactly one record; raises Malformed."""
    reader = Reader(data)
    record = _read_record(reader)
    reader.close()
    return record


def _read_record(reader: Reader) -> LabRecord:
    # LB-021
    number = reader.listed(U8, RECORD_TYPES, "unknown-type", "type")
    # LB-022
    size = reader.length(U32_BE, "body", LAB_RECORD_MAX)
    inner = reader.inner(size, "body")
    record_type = RECORD_TYPES[number]
    body = BODIES[record_type].read(inner)
    inner.close()
    return LabRecord(record_type, body)


# LB-020
def encode_lab_record(record: LabRecord) -> bytes:
    """Encode one record; raises Unencodable."""
    writer = Writer()
    codec = BODIES.get(record.type)
    if codec is None or not isinstance(record.body, codec.body):
        raise writer.fault("unknown-type", "type")
    body = Writer()
    try:
        codec.write(body, record.body)
    except Unencodable as unencodable:
        raise unencodable.within("body", RECORD_HEADER.size) from unencodable
    writer.number(U8, record.type, "type")
    writer.block(U32_BE, body.done(), "body", LAB_RECORD_MAX)
    return writer.done()
