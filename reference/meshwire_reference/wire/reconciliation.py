"""Messages of set reconciliation (negentropy V1): ranges, each with a skip, a fingerprint or ids.

One codec in two forms. `read_ranges` and `RangeWriter` work at the pace of a session, a range at a
time; they name a bound by its key: the timestamp in 8 bytes, big endian, then the prefix.
`decode_negentropy_message` and `encode_negentropy_message` take whole messages through them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final

from meshwire_reference.wire.cursor import U8, Reader
from meshwire_reference.wire.errors import Malformed, Unencodable
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
"""The bit of a byte of a varint that says that another byte follows."""
DIGIT_BITS: Final = 7
DIGIT: Final = 0x7F
"""The bits of a byte of a varint that carry the number."""

SKIP: Final = int(NegentropyMode.SKIP)
FINGERPRINT: Final = int(NegentropyMode.FINGERPRINT)
ID_LIST: Final = int(NegentropyMode.ID_LIST)

SKIP_MODE: Final = b"%c" % SKIP
FINGERPRINT_MODE: Final = b"%c" % FINGERPRINT
ID_LIST_MODE: Final = b"%c" % ID_LIST

TIMESTAMP: Final = 8
"""Bytes of a key before the prefix, or before the id of an item."""
INFINITY: Final = b"\xff" * TIMESTAMP
"""Key of the bound above every item."""


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
"""The range that NEGENTROPY_EMPTY_REST encodes.

A V1 server whose last id list ends at infinity and fills the frame adds it.
"""


@lru_cache(maxsize=4096)  # counts and steps of a run are few
def encode_varint(value: int) -> bytes:
    """Return a number of up to 64 bits in its only form."""
    if value < CONTINUES:
        return value.to_bytes(1, "big")
    if value < CONTINUES << DIGIT_BITS:
        return bytes((value >> DIGIT_BITS | CONTINUES, value & DIGIT))
    digits = [value & DIGIT]
    while value := value >> DIGIT_BITS:
        digits.append((value & DIGIT) | CONTINUES)
    digits.reverse()
    return bytes(digits)


VARINTS: Final = tuple(encode_varint(value) for value in range(CONTINUES))
"""The varints of one byte, which are the most frequent."""

_NO_PREFIX: Final = VARINTS[0]


def read_varint(message: bytes, start: int, field: str) -> tuple[int, int]:
    """Return a number and the offset after it.

    Raises Malformed where the number is cut off, is not in its only form, or exceeds 64 bits.
    """
    value = 0
    for at in range(start, len(message)):
        byte = message[at]
        value = (value << DIGIT_BITS) | (byte & DIGIT)
        # NG-003: checked digit by digit, so that a long one costs no more than ten digits.
        if value > U64_MAX or (byte == CONTINUES and at == start):
            raise Malformed("bad-varint", start, field)
        if byte < CONTINUES:
            return value, at + 1
    # NG-009
    raise Malformed("truncated", start, field)


def read_ranges(  # noqa: C901, PLR0912 - see below
    message: bytes, *, in_order: bool = True
) -> Iterator[tuple[bytes, int, bytes]]:
    """Yield key of the upper bound, mode and payload of each range after the version byte.

    The payload of an id list is its ids in one piece. Raises Malformed at the first field that is
    wrong, after the ranges before it; its field is a path within the range. `in_order` makes
    bounds that do not increase a fault, reported if nothing else is wrong up to the end, and leaves
    out the empty rest after infinity.
    """
    # Longer than 40 lines: a run spends most of its time here, and calls would double it. A varint
    # of one byte and a step of two are read in place; anything else, and the end of the message,
    # is for `read_varint`.
    at = 1
    end = len(message)
    previous = b""
    timestamp = 0
    disorder: Malformed | None = None
    # NG-010: a message without ranges is valid.
    while at < end:
        start = at
        if previous >= INFINITY:
            # NG-006
            if message[start:] != NEGENTROPY_EMPTY_REST:
                raise Malformed("bad-bound", start, "upper.timestamp")
            if not in_order:
                yield INFINITY, FINGERPRINT, message[-NEGENTROPY_FINGERPRINT:]
            break
        step = message[at]
        at += 1
        if step > CONTINUES and at < end and message[at] < CONTINUES:
            step = (step & DIGIT) << DIGIT_BITS | message[at]
            at += 1
        elif step >= CONTINUES:
            step, at = read_varint(message, start, "upper.timestamp")
        if step:
            timestamp += step - 1
            if timestamp > NEGENTROPY_TIMESTAMP_MAX:
                # NG-005
                raise Malformed("bad-bound", start, "upper.timestamp")
            bound = timestamp.to_bytes(TIMESTAMP, "big")
        else:
            bound = INFINITY
        size = message[at] if at < end else CONTINUES
        if size:
            prefix, at = _read_prefix(message, at)
            bound += prefix
        else:
            at += 1
        if bound <= previous and in_order and disorder is None:
            # NG-011: what does not decode is refused for that.
            disorder = Malformed("bad-bound", start, "upper")
        previous = bound
        mode = message[at] if at < end else CONTINUES
        place = at + 1
        at = place + NEGENTROPY_FINGERPRINT
        if mode != FINGERPRINT:
            mode, place, at = _find_payload(message, place - 1)
        if at > end:
            # NG-009
            raise Malformed("truncated", place, "payload.fingerprint")
        if disorder is None:
            yield bound, mode, message[place:at]
    if disorder is not None:
        raise disorder


def _read_prefix(message: bytes, start: int) -> tuple[bytes, int]:
    size, at = read_varint(message, start, "upper.prefix.length")
    if size > NEGENTROPY_PREFIX_MAX:
        # NG-004
        raise Malformed("bad-bound", start, "upper.prefix.length")
    end = at + size
    if end > len(message):
        # NG-009
        raise Malformed("truncated", at, "upper.prefix")
    return message[at:end], end


def _find_payload(message: bytes, start: int) -> tuple[int, int, int]:
    """Return a mode, and where its payload begins and ends."""
    mode, at = read_varint(message, start, "mode")
    if mode == SKIP:
        return mode, at, at
    if mode != ID_LIST:
        # NG-007
        raise Malformed("bad-mode", start, "mode")
    start = at
    count, at = read_varint(message, start, "payload.count")
    # NG-008: no memory is allocated for ids that the message cannot contain.
    if count > (len(message) - at) // NEGENTROPY_ID:
        raise Malformed("count-limit", start, "payload.count")
    return mode, at, at + count * NEGENTROPY_ID


def split_ids(payload: bytes) -> list[bytes]:
    """Return the ids of a list one by one."""
    return [payload[at : at + NEGENTROPY_ID] for at in range(0, len(payload), NEGENTROPY_ID)]


class RangeWriter:
    """Writes ranges one after the other; timestamps are written as steps from the one before.

    Nothing is checked: bounds must increase, and contents must be what their mode says.
    """

    __slots__ = ("_timestamp", "buffer")

    def __init__(self) -> None:
        self.buffer = bytearray()
        self._timestamp = 0

    def range(self, bound: bytes, content: bytes) -> None:
        """Write a range: its upper bound, then its mode and payload; ids come next, as `ids`."""
        if bound < INFINITY:
            timestamp = int.from_bytes(bound[:TIMESTAMP], "big")
            step = timestamp - self._timestamp + 1
            self._timestamp = timestamp
            start = VARINTS[step] if step < CONTINUES else encode_varint(step)
        else:
            start = VARINTS[0]
        size = len(bound) - TIMESTAMP
        if size:
            self.buffer += start + VARINTS[size] + bound[TIMESTAMP:] + content
        else:
            self.buffer += start + _NO_PREFIX + content

    def ids(self, identities: Sequence[bytes]) -> None:
        """Write the payload of an id list."""
        self.buffer += encode_varint(len(identities))
        self.buffer += b"".join(identities)


def decode_negentropy_message(data: bytes) -> NegentropyMessage:
    """Decode a message; raises Malformed. Whether bounds increase is for `accept` to judge."""
    # NG-002
    version = Reader(data).listed(U8, (NEGENTROPY_VERSION,), "bad-version", "version")
    ranges: list[Range] = []
    try:
        for bound, mode, payload in read_ranges(data, in_order=False):
            ranges.append(_decode_range(bound, NegentropyMode(mode), payload))
    except Malformed as fault:
        field = f"ranges[{len(ranges)}].{fault.field}"
        raise Malformed(fault.reason, fault.offset, field) from fault
    return NegentropyMessage(version, tuple(ranges))


def _decode_range(bound: bytes, mode: NegentropyMode, payload: bytes) -> Range:
    is_infinite = bound[:TIMESTAMP] == INFINITY
    timestamp = None if is_infinite else int.from_bytes(bound[:TIMESTAMP], "big")
    upper = Bound(timestamp, bound[TIMESTAMP:])
    if mode is NegentropyMode.SKIP:
        return Range(upper, mode, None)
    if mode is NegentropyMode.FINGERPRINT:
        return Range(upper, mode, Fingerprint(payload))
    return Range(upper, mode, IdList(tuple(split_ids(payload))))


# NG-001
def encode_negentropy_message(message: NegentropyMessage) -> bytes:
    """Encode a message; raises Unencodable where bounds go back or one follows infinity."""
    if message.version != NEGENTROPY_VERSION:
        raise Unencodable("bad-version", 0, "version")
    writer = RangeWriter()
    previous: int | None = 0
    for index, piece in enumerate(message.ranges):
        if previous is None and piece == EMPTY_REST and index + 1 == len(message.ranges):
            previous = 0
        try:
            _encode_range(writer, piece, previous)
        except Unencodable as fault:
            # After the version byte.
            raise fault.within(f"ranges[{index}]", U8.size) from fault
        previous = piece.upper.timestamp
    return U8.pack(message.version) + bytes(writer.buffer)


def _encode_range(writer: RangeWriter, piece: Range, previous: int | None) -> None:
    bound, start = _encode_bound(piece.upper, previous, len(writer.buffer))
    match piece.mode, piece.payload:
        case NegentropyMode.SKIP, None:
            writer.range(bound, SKIP_MODE)
        case NegentropyMode.FINGERPRINT, Fingerprint(fingerprint):
            if len(fingerprint) != NEGENTROPY_FINGERPRINT:
                raise Unencodable("bad-value", start + 1, "payload.fingerprint")
            writer.range(bound, FINGERPRINT_MODE + fingerprint)
        case NegentropyMode.ID_LIST, IdList(ids):
            start += 1 + len(encode_varint(len(ids)))
            for index, identity in enumerate(ids):
                if len(identity) != NEGENTROPY_ID:
                    place = start + index * NEGENTROPY_ID
                    raise Unencodable("bad-value", place, f"payload.ids[{index}]")
            writer.range(bound, ID_LIST_MODE)
            writer.ids(ids)
        case _:
            raise Unencodable("bad-mode", start + 1, "mode")


def _encode_bound(upper: Bound, previous: int | None, start: int) -> tuple[bytes, int]:
    """Return the key of a bound and where its bytes end, if they begin at `start`."""
    timestamp, step = upper.timestamp, 0
    is_sound = previous is not None
    if previous is not None and timestamp is not None:
        step = timestamp - previous + 1
        is_sound = step > 0 and timestamp <= NEGENTROPY_TIMESTAMP_MAX
    if not is_sound:
        raise Unencodable("bad-bound", start, "upper.timestamp")
    start += len(encode_varint(step))
    if len(upper.prefix) > NEGENTROPY_PREFIX_MAX:
        raise Unencodable("bad-bound", start, "upper.prefix.length")
    key = INFINITY if timestamp is None else timestamp.to_bytes(TIMESTAMP, "big")
    return key + upper.prefix, start + 1 + len(upper.prefix)


def bounds_increase(message: NegentropyMessage) -> bool:
    """Return True if every upper bound is above the one before it."""
    uppers = [_order(piece.upper) for piece in message.ranges]
    # NG-011: at most the empty rest follows infinity, as NG-006 allows.
    return all(low < high or low[0] == U64_MAX for low, high in pairwise(uppers))


def _order(bound: Bound) -> tuple[int, bytes]:
    return (U64_MAX if bound.timestamp is None else bound.timestamp, bound.prefix)
