"""Messages of negentropy V1 as the suite's own sides read and write them.

A message is read whole, and refused for the first fault in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from meshwire_spec.numbers import (
    NEGENTROPY_FINGERPRINT,
    NEGENTROPY_ID,
    NEGENTROPY_PREFIX_MAX,
    NEGENTROPY_TIMESTAMP_MAX,
    NEGENTROPY_VERSION,
    U64_MAX,
    NegentropyMode,
)

Bound = tuple[int, bytes]
"""Timestamp and id prefix; `INFINITE` is greater than every item."""

INFINITE: Bound = (U64_MAX, b"")
GROUP_BITS = 7
"""Bits of a number in each byte of a varint."""
MORE = 0x80
"""The bit of a byte of a varint that says that another byte follows."""
ID_MODULUS = 2 ** (8 * NEGENTROPY_ID)
"""Sums of ids are taken modulo this."""


class Refused(Exception):
    """A message that breaks a rule; none of its ranges was answered."""

    def __init__(self, reason: str, offset: int) -> None:
        super().__init__(f"{reason} at byte {offset}")
        self.reason = reason
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Range:
    """One range of a message; `said` is None, a fingerprint or the ids."""

    upper: Bound
    said: bytes | tuple[bytes, ...] | None


# --- Reading -------------------------------------------------------------------------------


class _Cursor:
    """Reads bytes from the front; missing bytes are refused as `truncated`."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def left(self) -> int:
        return len(self.data) - self.at

    def take(self, size: int) -> bytes:
        if size > self.left():
            raise Refused("truncated", self.at)
        self.at += size
        return self.data[self.at - size : self.at]

    def varint(self) -> int:
        start, value = self.at, 0
        while True:
            if self.left() == 0:
                raise Refused("truncated", start)
            group = self.take(1)[0]
            value = value << GROUP_BITS | group & ~MORE
            if (value == 0 and group & MORE) or value > U64_MAX:
                raise Refused("bad-varint", start)
            if not group & MORE:
                return value


def read_message(data: bytes) -> list[Range]:
    """Return every range of a message of this version.

    Raises Refused for the first fault of decoding, else for bounds that do not increase (NG-011).
    """
    cursor = _Cursor(data)
    if cursor.take(1)[0] != NEGENTROPY_VERSION:
        raise Refused("bad-version", 0)
    ranges: list[Range] = []
    last: Bound = (0, b"")
    disorder: Refused | None = None
    while cursor.left():
        start = cursor.at
        if last[0] == U64_MAX:
            if data[start:] == EMPTY_REST:
                break
            raise Refused("bad-bound", start)
        upper = _read_bound(cursor, last[0])
        if ranges and upper <= last and disorder is None:
            disorder = Refused("bad-bound", start)
        ranges.append(Range(upper, _read_said(cursor)))
        last = upper
    if disorder is not None:
        raise disorder
    return ranges


def _read_bound(cursor: _Cursor, before: int) -> Bound:
    start = cursor.at
    number = cursor.varint()
    timestamp = U64_MAX if number == 0 else before + number - 1
    if number and timestamp > NEGENTROPY_TIMESTAMP_MAX:
        raise Refused("bad-bound", start)
    start = cursor.at
    size = cursor.varint()
    if size > NEGENTROPY_PREFIX_MAX:
        raise Refused("bad-bound", start)
    return timestamp, cursor.take(size)


def _read_said(cursor: _Cursor) -> bytes | tuple[bytes, ...] | None:
    start = cursor.at
    mode = cursor.varint()
    if mode == NegentropyMode.SKIP:
        return None
    if mode == NegentropyMode.FINGERPRINT:
        return cursor.take(NEGENTROPY_FINGERPRINT)
    if mode != NegentropyMode.ID_LIST:
        raise Refused("bad-mode", start)
    start = cursor.at
    count = cursor.varint()
    if count > cursor.left() // NEGENTROPY_ID:
        raise Refused("count-limit", start)
    return tuple(cursor.take(NEGENTROPY_ID) for _ in range(count))


# --- Writing -------------------------------------------------------------------------------


def varint_of(value: int) -> bytes:
    """Return a number in groups of seven bits, the most significant first."""
    groups = [value & ~MORE & 0xFF]
    while value := value >> GROUP_BITS:
        groups.append(value & ~MORE & 0xFF | MORE)
    return bytes(reversed(groups))


def fingerprint_of(ids: Iterable[bytes]) -> bytes:
    """Return fingerprint of a range: a hash over the sum of its ids and their number."""
    numbers = [int.from_bytes(name, "little") for name in ids]
    total = (sum(numbers) % ID_MODULUS).to_bytes(NEGENTROPY_ID, "little")
    return sha256(total + varint_of(len(numbers))).digest()[:NEGENTROPY_FINGERPRINT]


EMPTY_REST = b"\x00\x00\x01" + fingerprint_of(())
"""A final range without items; it ends a message that a list up to the last item has filled."""


class Writer:
    """A message under construction; timestamps are written as differences."""

    def __init__(self) -> None:
        self.data = bytearray((NEGENTROPY_VERSION,))
        self._last = 0

    def add(self, ranges: Iterable[Range]) -> None:
        """Append ranges to the message."""
        for part in ranges:
            self.data += self._bound(part.upper) + _said_bytes(part.said)

    def _bound(self, upper: Bound) -> bytes:
        timestamp, prefix = upper
        number = 0 if timestamp == U64_MAX else 1 + timestamp - self._last
        self._last = timestamp
        return varint_of(number) + varint_of(len(prefix)) + prefix

    def size_with(self, ranges: Sequence[Range]) -> int:
        """Return the size of the message in bytes with these ranges appended."""
        trial = Writer()
        trial._last = self._last
        trial.add(ranges)
        return len(self.data) + len(trial.data) - 1


def _said_bytes(said: bytes | tuple[bytes, ...] | None) -> bytes:
    if said is None:
        return varint_of(NegentropyMode.SKIP)
    if isinstance(said, bytes):
        return varint_of(NegentropyMode.FINGERPRINT) + said
    return varint_of(NegentropyMode.ID_LIST) + varint_of(len(said)) + b"".join(said)
