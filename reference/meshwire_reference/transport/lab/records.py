"""Bytes of the lab binding as its connections need them: incremental, and without a copy to spare.

The whole-message codec that the harness offers is `wire.lab`; a test holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final, TypeAlias

from meshwire_reference.transport.base import Windows
from meshwire_spec.numbers import (
    CLOSE_REASON_MAX,
    ENDPOINT_ID,
    LAB_MAGIC,
    LAB_PING,
    LAB_RECORD_MAX,
    LAB_VERSION,
    LabRecordType,
)

Received: TypeAlias = bytes | bytearray
"""What came from a link and is not taken apart yet."""

HEADER: Final = Struct(">BI")
_DATA: Final = Struct(">BIQB")
_WINDOWS: Final = Struct(">QQQQ")
DATA_FIELDS: Final = Struct(">QB")
DATA_MAX: Final = LAB_RECORD_MAX - DATA_FIELDS.size
"""Most bytes of a stream that one DATA can carry."""

_STREAM_AND_NUMBER: Final = Struct(">QQ")
_NUMBER: Final = Struct(">Q")
_PAYLOAD: Final = Struct(f">{LAB_PING}s")

FIELDS: Final = {
    LabRecordType.RESET: _STREAM_AND_NUMBER,
    LabRecordType.STOP: _STREAM_AND_NUMBER,
    LabRecordType.MAX_DATA: _NUMBER,
    LabRecordType.MAX_STREAM_DATA: _STREAM_AND_NUMBER,
    LabRecordType.MAX_STREAMS_BIDI: _NUMBER,
    LabRecordType.MAX_STREAMS_UNI: _NUMBER,
    LabRecordType.PING: _PAYLOAD,
    LabRecordType.PONG: _PAYLOAD,
}
"""Record types whose body has a fixed size, with the fields of that body."""

_FIXED: Final = {type_: (HEADER.pack(type_, body.size), body) for type_, body in FIELDS.items()}


class LinkFault(Exception):
    """The peer broke a rule of the lab binding; `reason` is what the connection is closed with."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Preamble:
    """What a peer says of itself before its first record."""

    endpoint_id: bytes
    windows: Windows


def encode_preamble(alpn: str, preamble: Preamble) -> bytes:
    """Give the bytes that start one direction of a connection."""
    name = alpn.encode()
    windows = preamble.windows
    return b"".join(
        (
            LAB_MAGIC,
            bytes((LAB_VERSION, len(name))),
            name,
            preamble.endpoint_id,
            _WINDOWS.pack(
                windows.max_data,
                windows.max_stream_data,
                windows.max_streams_bidi,
                windows.max_streams_uni,
            ),
        ),
    )


def read_preamble(data: Received, alpn: str) -> tuple[Preamble, int] | None:
    """Give the preamble at the start of the bytes and its size; None until it is whole.

    Each field is judged as soon as it is there (LB-009). Raises LinkFault.
    """
    version_at = len(LAB_MAGIC)
    # LB-002
    if len(data) >= version_at and data[:version_at] != LAB_MAGIC:
        raise LinkFault("bad-magic")
    # LB-003
    if len(data) > version_at and data[version_at] != LAB_VERSION:
        raise LinkFault("bad-version")
    name_at = version_at + 2
    if len(data) < name_at:
        return None
    name_end = name_at + data[name_at - 1]
    if len(data) < name_end:
        return None
    # LB-004, LB-005
    if data[name_at:name_end] != alpn.encode():
        raise LinkFault("wrong-alpn")
    windows_at = name_end + ENDPOINT_ID
    end = windows_at + _WINDOWS.size
    if len(data) < end:
        return None
    # LB-010
    windows = Windows(*_WINDOWS.unpack_from(data, windows_at))
    return Preamble(bytes(data[name_end:windows_at]), windows), end


def encode_data_head(stream: int, *, fin: bool, size: int) -> bytes:
    """Give everything of a DATA record that stands before its bytes."""
    return _DATA.pack(LabRecordType.DATA, DATA_FIELDS.size + size, stream, fin)


def encode_control(type_: LabRecordType, *fields: int | bytes) -> bytes:
    """Give a record whose body has a fixed size."""
    header, body = _FIXED[type_]
    # LB-020
    return header + body.pack(*fields)


def read_body(body: Struct, data: Received, start: int, end: int) -> tuple[int | bytes, ...]:
    """Give the fields of a body that must fill its record exactly. Raises LinkFault."""
    # LB-023, LB-024
    if end - start != body.size:
        raise LinkFault("truncated" if end - start < body.size else "trailing-bytes")
    return body.unpack_from(data, start)


def encode_close(code: int, reason: str) -> bytes:
    """Give the record that ends a connection; a reason too long for it is cut."""
    text = reason.encode()
    if len(text) > CLOSE_REASON_MAX:
        text = text[:CLOSE_REASON_MAX].decode(errors="ignore").encode()
    return HEADER.pack(LabRecordType.CLOSE, _NUMBER.size + len(text)) + _NUMBER.pack(code) + text


def read_close(data: Received, start: int, end: int) -> tuple[int, str]:
    """Give code and reason of a CLOSE. Raises LinkFault."""
    text_at = start + _NUMBER.size
    if end < text_at:
        raise LinkFault("truncated")
    # LB-026
    if end - text_at > CLOSE_REASON_MAX:
        raise LinkFault("length-limit")
    code: int = _NUMBER.unpack_from(data, start)[0]
    try:
        # LB-027
        return code, data[text_at:end].decode()
    except UnicodeDecodeError as fault:
        raise LinkFault("bad-utf8") from fault
