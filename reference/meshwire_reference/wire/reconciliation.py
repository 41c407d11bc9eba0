"""Messages of set reconciliation (negentropy V1): ranges of keys with what is known of each."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from meshwire_reference.wire.cursor import U8, Reader, Writer
from meshwire_spec.numbers import (
    NEGENTROPY_EMPTY_REST,
    NEGENTROPY_FINGERPRINT,
    NEGENTROPY_ID,
    NEGENTROPY_PREFIX_MAX,
    NEGENTROPY_TIMESTAMP_MAX,
    NEGENTROPY_VERSION,
    U64_MAX,
    NegentropyMode,
)

CONTINUES: Final = 0x80
DIGIT_BITS: Final = 7
DIGIT: Final = 0x7F


@dataclass(frozen=True, slots=True)
class Bound:
    """Upper end of a range, outside of it; `timestamp` None is beyond every item."""

    timestamp: int | None
    prefix: bytes


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Digest of the ids in a range."""

    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class IdList:
    """All ids in a range."""

    ids: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """One range, from the bound before it to `upper`; `mode` says which payload it has."""

    upper: Bound
    mode: NegentropyMode
    payload: Fingerprint | IdList | None


@dataclass(frozen=True, slots=True)
class NegentropyMessage:
    """One message; it ends where its last range ends."""

    version: int
    ranges: tuple[Range, ...]


EMPTY_REST: Final = Range(
    Bound(None, b""),
    NegentropyMode.FINGERPRINT,
    Fingerprint(NEGENTROPY_EMPTY_REST[-NEGENTROPY_FINGERPRINT:]),
)
"""What NEGENTROPY_EMPTY_REST says."""


def read_varint(reader: Reader, field: str) -> int:
    """Take a varint, most significant digits first; bad-varint where not minimal or over 64 bits.

    The digits are judged as they come: a leading zero digit or one too many is refused at once.
    """
    start = reader.position
    value = 0
    while True:
        if reader.position >= reader.end:
            raise reader.fault("truncated", field, start)
        byte = reader.data[reader.position]
        value = (value << DIGIT_BITS) | (byte & DIGIT)
        is_padded = byte == CONTINUES and reader.position == start
        if is_padded or value > U64_MAX:
            # NG-003
            raise reader.fault("bad-varint", field, start)
        reader.position += 1
        if byte < CONTINUES:
            return value


def write_varint(writer: Writer, value: int, field: str) -> None:
    """Put a varint in its only form."""
    if not 0 <= value <= U64_MAX:
        raise writer.fault("bad-varint", field)
    digits = [value & DIGIT]
    while value := value >> DIGIT_BITS:
        digits.append((value & DIGIT) | CONTINUES)
    writer.rest(bytes(reversed(digits)))


def decode_negentropy_message(data: bytes) -> NegentropyMessage:
    """Decode a message; raises Malformed. That bounds increase is for `accept` to say."""
    reader = Reader(data)
    # NG-002
    version = reader.listed(U8, (NEGENTROPY_VERSION,), "bad-version", "version")
    ranges: list[Range] = []
    previous: int | None = 0
    # NG-010: none is a message too.
    while reader.remaining():
        reader.path = f"ranges[{len(ranges)}]."
        if previous is None:
            # NG-006: nothing is beyond infinity but the rest of a full frame, which is empty.
            if data[reader.position :] != NEGENTROPY_EMPTY_REST:
                raise reader.fault("bad-bound", "upper.timestamp")
            previous = 0
        ranges.append(_read_range(reader, previous))
        previous = ranges[-1].upper.timestamp
    return NegentropyMessage(version, tuple(ranges))


def _read_range(reader: Reader, previous: int) -> Range:
    upper = Bound(_read_timestamp(reader, previous), _read_prefix(reader))
    start = reader.position
    mode = read_varint(reader, "mode")
    if mode == NegentropyMode.SKIP:
        return Range(upper, NegentropyMode.SKIP, None)
    if mode == NegentropyMode.FINGERPRINT:
        fingerprint = reader.fixed(NEGENTROPY_FINGERPRINT, "payload.fingerprint")
        return Range(upper, NegentropyMode.FINGERPRINT, Fingerprint(fingerprint))
    if mode == NegentropyMode.ID_LIST:
        return Range(upper, NegentropyMode.ID_LIST, _read_ids(reader))
    # NG-007
    raise reader.fault("bad-mode", "mode", start)


def _read_timestamp(reader: Reader, previous: int) -> int | None:
    start = reader.position
    step = read_varint(reader, "upper.timestamp")
    if step == 0:
        return None
    timestamp = previous + step - 1
    if timestamp > NEGENTROPY_TIMESTAMP_MAX:
        # NG-005
        raise reader.fault("bad-bound", "upper.timestamp", start)
    return timestamp


def _read_prefix(reader: Reader) -> bytes:
    start = reader.position
    size = read_varint(reader, "upper.prefix.length")
    if size > NEGENTROPY_PREFIX_MAX:
        # NG-004
        raise reader.fault("bad-bound", "upper.prefix.length", start)
    return reader.fixed(size, "upper.prefix")


def _read_ids(reader: Reader) -> IdList:
    start = reader.position
    count = read_varint(reader, "payload.count")
    # NG-008: bounded by what is left before anything is built.
    if count > reader.remaining() // NEGENTROPY_ID:
        raise reader.fault("count-limit", "payload.count", start)
    content = reader.fixed(count * NEGENTROPY_ID, "payload.ids")
    return IdList(
        tuple(content[at : at + NEGENTROPY_ID] for at in range(0, len(content), NEGENTROPY_ID))
    )


# NG-001
def encode_negentropy_message(message: NegentropyMessage) -> bytes:
    """Encode a message; raises Unencodable where bounds go back or one follows infinity."""
    writer = Writer()
    writer.listed(U8, message.version, (NEGENTROPY_VERSION,), "bad-version", "version")
    previous: int | None = 0
    for index, piece in enumerate(message.ranges):
        writer.path = f"ranges[{index}]."
        if previous is None and piece == EMPTY_REST and index + 1 == len(message.ranges):
            previous = 0
        _write_upper(writer, piece.upper, previous)
        previous = piece.upper.timestamp
        write_varint(writer, piece.mode, "mode")
        _write_payload(writer, piece)
    return writer.done()


def _write_upper(writer: Writer, upper: Bound, previous: int | None) -> None:
    if previous is None:
        raise writer.fault("bad-bound", "upper.timestamp")
    if upper.timestamp is None:
        write_varint(writer, 0, "upper.timestamp")
    elif previous <= upper.timestamp <= NEGENTROPY_TIMESTAMP_MAX:
        write_varint(writer, upper.timestamp - previous + 1, "upper.timestamp")
    else:
        raise writer.fault("bad-bound", "upper.timestamp")
    if len(upper.prefix) > NEGENTROPY_PREFIX_MAX:
        raise writer.fault("bad-bound", "upper.prefix.length")
    write_varint(writer, len(upper.prefix), "upper.prefix.length")
    writer.rest(upper.prefix)


def _write_payload(writer: Writer, piece: Range) -> None:
    expected = {
        NegentropyMode.SKIP: type(None),
        NegentropyMode.FINGERPRINT: Fingerprint,
        NegentropyMode.ID_LIST: IdList,
    }.get(piece.mode)
    if expected is None or not isinstance(piece.payload, expected):
        raise writer.fault("bad-mode", "mode")
    if isinstance(piece.payload, Fingerprint):
        writer.fixed(piece.payload.fingerprint, NEGENTROPY_FINGERPRINT, "payload.fingerprint")
    elif isinstance(piece.payload, IdList):
        write_varint(writer, len(piece.payload.ids), "payload.count")
        for index, identity in enumerate(piece.payload.ids):
            writer.fixed(identity, NEGENTROPY_ID, f"payload.ids[{index}]")


def bounds_increase(message: NegentropyMessage) -> bool:
    """Say whether every upper bound is above the one before it."""
    uppers = [_order(piece.upper) for piece in message.ranges]
    # NG-011: behind infinity stands at most the empty rest, as NG-006 allows.
    return all(low < high or low[0] == U64_MAX for low, high in pairwise(uppers))


def _order(bound: Bound) -> tuple[int, bytes]:
    return (U64_MAX if bound.timestamp is None else bound.timestamp, bound.prefix)
