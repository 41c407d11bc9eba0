"""The lab binding's preamble and records: QUIC's stream model over one ordered byte stream.

One codec in two forms. A connection reads with `read_lab_preamble`, `read_record` and the readers
of bodies, which take bytes as they come, and writes with the encoders of single records;
`decode_lab_record` and `encode_lab_record` take whole records through them.
"""

from dataclasses import dataclass
from struct import Struct
from typing import Final, TypeAlias

from meshwire_reference.wire.cursor import U8, U64_BE, Reader, Writer
from meshwire_reference.wire.errors import Malformed, Unencodable
from meshwire_spec.numbers import (
    CLOSE_REASON_MAX,
    ENDPOINT_ID,
    LAB_MAGIC,
    LAB_PING,
    LAB_RECORD_MAX,
    LAB_VERSION,
    U64_MAX,
    LabRecordType,
)

LinkBytes: TypeAlias = bytes | bytearray
"""Received bytes that are not decoded yet."""

RECORD_HEADER: Final = Struct(">BI")
DATA_FIELDS: Final = Struct(">QB")
DATA_MAX: Final = LAB_RECORD_MAX - DATA_FIELDS.size
"""Greatest number of stream bytes that one DATA record can carry."""

_DATA_HEAD: Final = Struct(">BIQB")
_STREAM_AND_NUMBER: Final = Struct(">QQ")
_PAYLOAD: Final = Struct(f">{LAB_PING}s")


@dataclass(frozen=True, slots=True)
class LabPreamble:
    """The first message of each side: protocol, endpoint id and credit."""

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
    """Bytes of a stream; with `fin` 1 they are the last."""

    stream_id: int
    fin: int
    data: bytes


@dataclass(frozen=True, slots=True)
class StreamCode:
    """Body of RESET and of STOP: the stream and the application code."""

    stream_id: int
    code: int


@dataclass(frozen=True, slots=True)
class Maximum:
    """Body of MAX_DATA, MAX_STREAMS_BIDI and MAX_STREAMS_UNI: the total credit."""

    maximum: int


@dataclass(frozen=True, slots=True)
class StreamMaximum:
    """Body of MAX_STREAM_DATA: the total credit of one stream."""

    stream_id: int
    maximum: int


@dataclass(frozen=True, slots=True)
class Echo:
    """Body of PING and of the PONG that echoes it."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class CloseBody:
    """Body of CLOSE: the application code and a text for people."""

    code: int
    reason: str


Body = Data | StreamCode | Maximum | StreamMaximum | Echo | CloseBody


@dataclass(frozen=True, slots=True)
class LabRecord:
    """One record; `type` determines its body."""

    type: LabRecordType
    body: Body


RECORD_TYPES: Final = {int(member): member for member in LabRecordType}


@dataclass(frozen=True, slots=True)
class FixedBody:
    """Layout of a body with a fixed size: its class, its fields, and their names in order."""

    body: type[StreamCode | Maximum | StreamMaximum | Echo]
    fields: Struct
    names: tuple[str, ...]


_STREAM_CODE: Final = FixedBody(StreamCode, _STREAM_AND_NUMBER, ("stream_id", "code"))
_MAXIMUM: Final = FixedBody(Maximum, U64_BE, ("maximum",))
_ECHO: Final = FixedBody(Echo, _PAYLOAD, ("payload",))

FIXED_BODIES: Final = {
    LabRecordType.RESET: _STREAM_CODE,
    LabRecordType.STOP: _STREAM_CODE,
    LabRecordType.MAX_DATA: _MAXIMUM,
    LabRecordType.MAX_STREAM_DATA: FixedBody(
        StreamMaximum, _STREAM_AND_NUMBER, ("stream_id", "maximum")
    ),
    LabRecordType.MAX_STREAMS_BIDI: _MAXIMUM,
    LabRecordType.MAX_STREAMS_UNI: _MAXIMUM,
    LabRecordType.PING: _ECHO,
    LabRecordType.PONG: _ECHO,
}
"""Every type but DATA and CLOSE, whose bodies end with bytes of any number."""

_FIXED_HEADERS: Final = {
    type_: RECORD_HEADER.pack(type_, layout.fields.size) for type_, layout in FIXED_BODIES.items()
}


def decode_lab_preamble(data: bytes) -> LabPreamble:
    """Decode a preamble; raises Malformed. Whether the ALPN is ours is for the connection."""
    reader = Reader(data)
    preamble = read_lab_preamble(reader)
    reader.close()
    return preamble


def read_lab_preamble(reader: Reader, alpn: str | None = None) -> LabPreamble:
    """Take a preamble; raises Malformed, `truncated` as long as it is not whole.

    Each field is judged as soon as it is there (LB-009). `alpn`, if given, is the only one that is
    not refused with `wrong-alpn`.
    """
    magic = reader.fixed(len(LAB_MAGIC), "magic")
    if magic != LAB_MAGIC:
        # LB-002
        raise reader.fault("bad-magic", "magic", 0)
    # LB-003
    version = reader.listed(U8, (LAB_VERSION,), "bad-version", "version")
    start = reader.position
    if alpn is not None and reader.block(U8, "alpn") != alpn.encode():
        # LB-004, LB-005
        raise reader.fault("wrong-alpn", "alpn", start)
    reader.position = start
    return LabPreamble(
        magic=magic,
        version=version,
        alpn=reader.text(U8, "alpn"),
        endpoint_id=reader.fixed(ENDPOINT_ID, "endpoint_id"),
        # LB-010
        max_data=reader.number(U64_BE, "max_data"),
        max_stream_data=reader.number(U64_BE, "max_stream_data"),
        max_streams_bidi=reader.number(U64_BE, "max_streams_bidi"),
        max_streams_uni=reader.number(U64_BE, "max_streams_uni"),
    )


def encode_lab_preamble(preamble: LabPreamble) -> bytes:
    """Encode a preamble; raises Unencodable."""
    writer = Writer()
    writer.fixed(preamble.magic, len(LAB_MAGIC), "magic")
    if preamble.magic != LAB_MAGIC:
        raise Unencodable("bad-magic", 0, "magic")
    writer.listed(U8, preamble.version, (LAB_VERSION,), "bad-version", "version")
    writer.text(U8, preamble.alpn, "alpn")
    writer.fixed(preamble.endpoint_id, ENDPOINT_ID, "endpoint_id")
    writer.number(U64_BE, preamble.max_data, "max_data")
    writer.number(U64_BE, preamble.max_stream_data, "max_stream_data")
    writer.number(U64_BE, preamble.max_streams_bidi, "max_streams_bidi")
    writer.number(U64_BE, preamble.max_streams_uni, "max_streams_uni")
    return writer.done()


def read_record(data: LinkBytes, start: int) -> tuple[int, int, int] | None:
    """Return type, begin and end of the body of the record at `start`; None until it is whole.

    Raises Malformed as soon as the header is there.
    """
    body = start + RECORD_HEADER.size
    if len(data) < body:
        return None
    type_, size = RECORD_HEADER.unpack_from(data, start)
    # LB-021
    if type_ not in RECORD_TYPES:
        raise Malformed("unknown-type", start, "type")
    # LB-022
    if size > LAB_RECORD_MAX:
        raise Malformed("length-limit", start + U8.size, "body.length")
    end: int = body + size
    return None if len(data) < end else (type_, body, end)


def read_data_head(data: LinkBytes, start: int, end: int) -> tuple[int, int]:
    """Return the stream and the FIN flag of a DATA body; raises Malformed."""
    fin_at = start + U64_BE.size
    # LB-023
    if end <= fin_at:
        field = "body.stream_id" if end < fin_at else "body.fin"
        raise Malformed("truncated", start if end < fin_at else fin_at, field)
    stream_id, fin = DATA_FIELDS.unpack_from(data, start)
    # LB-025
    if fin > 1:
        raise Malformed("bad-flag", fin_at, "body.fin")
    return stream_id, fin


def read_fixed_body(
    layout: FixedBody, data: LinkBytes, start: int, end: int
) -> tuple[int | bytes, ...]:
    """Return the fields of a body that must fill its record exactly; raises Malformed."""
    fields = layout.fields
    # LB-024
    if end - start > fields.size:
        raise Malformed("trailing-bytes", start + fields.size, "body")
    # LB-023
    if end - start < fields.size:
        # All fields of these bodies have one width.
        width = fields.size // len(layout.names)
        index = (end - start) // width
        raise Malformed("truncated", start + index * width, f"body.{layout.names[index]}")
    return fields.unpack_from(data, start)


def read_close(data: LinkBytes, start: int, end: int) -> tuple[int, str]:
    """Return code and reason of a CLOSE body; raises Malformed."""
    text_at = start + U64_BE.size
    if end < text_at:
        raise Malformed("truncated", start, "body.code")
    # LB-026: the reason has no length of its own, it is the rest of the body.
    if end - text_at > CLOSE_REASON_MAX:
        raise Malformed("length-limit", text_at, "body.reason")
    code: int = U64_BE.unpack_from(data, start)[0]
    try:
        # LB-027
        return code, data[text_at:end].decode()
    except UnicodeDecodeError as fault:
        raise Malformed("bad-utf8", text_at, "body.reason") from fault


def encode_data_head(stream_id: int, *, fin: bool, size: int) -> bytes:
    """Return the header of a DATA record that carries `size` bytes."""
    return _DATA_HEAD.pack(LabRecordType.DATA, DATA_FIELDS.size + size, stream_id, fin)


def encode_control(type_: LabRecordType, *fields: int | bytes) -> bytes:
    """Return a record whose body has a fixed size."""
    # LB-020
    return _FIXED_HEADERS[type_] + FIXED_BODIES[type_].fields.pack(*fields)


def encode_close(code: int, reason: str) -> bytes:
    """Return a CLOSE; the reason has at most CLOSE_REASON_MAX bytes of UTF-8."""
    text = reason.encode()
    size = U64_BE.size + len(text)
    return RECORD_HEADER.pack(LabRecordType.CLOSE, size) + U64_BE.pack(code) + text


def decode_lab_record(data: bytes) -> LabRecord:
    """Decode exactly one record; raises Malformed."""
    record = read_record(data, 0)
    if record is None:
        raise _cut_off(data)
    number, start, end = record
    record_type = RECORD_TYPES[number]
    body: Body
    if record_type is LabRecordType.DATA:
        stream_id, fin = read_data_head(data, start, end)
        body = Data(stream_id, fin, data[start + DATA_FIELDS.size : end])
    elif record_type is LabRecordType.CLOSE:
        body = CloseBody(*read_close(data, start, end))
    else:
        layout = FIXED_BODIES[record_type]
        body = layout.body(*read_fixed_body(layout, data, start, end))  # type: ignore[arg-type]  # the layout is that of the class
    if end < len(data):
        raise Malformed("trailing-bytes", end, "")
    return LabRecord(record_type, body)


def _cut_off(data: bytes) -> Malformed:
    """Return the fault of bytes that end inside a record."""
    if data and data[0] not in RECORD_TYPES:
        return Malformed("unknown-type", 0, "type")
    if len(data) < RECORD_HEADER.size:
        field, offset = ("body.length", U8.size) if data else ("type", 0)
        return Malformed("truncated", offset, field)
    return Malformed("truncated", RECORD_HEADER.size, "body")


def encode_lab_record(record: LabRecord) -> bytes:
    """Encode one record; raises Unencodable."""
    type_, body = record.type, record.body
    match type_, body:
        case LabRecordType.DATA, Data(stream_id, fin, data):
            _check_number(stream_id, 0, "stream_id")
            if fin not in (0, 1):
                raise _unencodable("bad-flag", U64_BE.size, "fin")
            if len(data) > DATA_MAX:
                raise Unencodable("length-limit", U8.size, "body.length")
            return encode_data_head(stream_id, fin=fin == 1, size=len(data)) + data
        case LabRecordType.CLOSE, CloseBody(code, reason):
            _check_number(code, 0, "code")
            _check_reason(reason)
            return encode_close(code, reason)
    layout = FIXED_BODIES.get(type_)
    if layout is None or not isinstance(body, layout.body):
        raise Unencodable("unknown-type", 0, "type")
    values = [getattr(body, name) for name in layout.names]
    if isinstance(body, Echo):
        if len(body.payload) != LAB_PING:
            raise _unencodable("bad-value", 0, "payload")
    else:
        for index, (name, value) in enumerate(zip(layout.names, values, strict=True)):
            _check_number(value, index * U64_BE.size, name)
    return encode_control(type_, *values)


def _unencodable(reason: str, offset: int, field: str) -> Unencodable:
    return Unencodable(reason, RECORD_HEADER.size + offset, f"body.{field}")


def _check_number(value: int, offset: int, field: str) -> None:
    if not 0 <= value <= U64_MAX:
        raise _unencodable("bad-value", offset, field)


def _check_reason(reason: str) -> None:
    try:
        size = len(reason.encode())
    except UnicodeEncodeError as fault:
        raise _unencodable("bad-utf8", U64_BE.size, "reason") from fault
    if size > CLOSE_REASON_MAX:
        raise _unencodable("length-limit", U64_BE.size, "reason")
