"""Batches of many elements: the first of them for the schema, the rest counted.

A batch may have 80,000 entries, and opening every field of each takes long and much memory. The
first ones are made into a shorter batch, which the schema reads; of the others only the header and
the key are read, until one is malformed. That one is read by the schema again, for its fault.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from struct import Struct

from meshwire_spec.codec import Malformed, Message, accept, annotate
from meshwire_spec.numbers import ENTRY_MIN, TOMBSTONE_ELEMENT_MIN

_KEY_LENGTH = Struct("!H")
_AFTER_KEY = Struct("!BI")
_COUNT = Struct("!I")
_LENGTH = Struct("!I")
MARKER_AND_LENGTH = 5
"""Bytes of a record before its batch."""


@dataclass(frozen=True, slots=True)
class Sort:
    """A kind with counted elements: its count's path and offset, and what its elements are."""

    count: str
    offset: int
    elements: str
    kind: str
    minimum: int
    has_length: bool = False
    around: int = 0
    """Offset of the batch in the message, whose length is before it, or 0."""

    @property
    def first(self) -> int:
        """The offset of the first element."""
        return self.offset + _COUNT.size


SORTS: Mapping[str, Sort] = {
    "sync_batch": Sort("entry_count", 17, "entries", "sync_entry", ENTRY_MIN),
    "tombstone_batch": Sort(
        "tombstone_count", 0, "tombstones", "tombstone", TOMBSTONE_ELEMENT_MIN, has_length=True
    ),
    "channel_record": Sort(
        "batch.entry_count",
        MARKER_AND_LENGTH + 17,
        "batch.entries",
        "sync_entry",
        ENTRY_MIN,
        around=MARKER_AND_LENGTH,
    ),
}
"""Every kind whose elements are counted."""


@dataclass(frozen=True, slots=True)
class Rest:
    """Elements that are counted and not shown, up to a fault.

    `types` counts entries by type; `refused` counts those that a strict node refuses, by reason;
    `end` is the offset of the first byte after the whole elements, `index` its number.
    """

    index: int
    count: int
    types: Mapping[int, int]
    refused: Mapping[str, int]
    end: int
    fault: Malformed | None


@dataclass(frozen=True, slots=True)
class Shortened:
    """A message with its first elements alone, the values that it replaces, and the rest."""

    data: bytes
    values: Mapping[str, int]
    sort: Sort
    rest: Rest


def announced(kind: str, data: bytes) -> int:
    """Return how many elements a message announces, 0 for a kind without any."""
    sort = SORTS.get(kind)
    if sort is None or len(data) < sort.first:
        return 0
    return int(_COUNT.unpack_from(data, sort.offset)[0])


def element_end(data: bytes, at: int, end: int, sort: Sort) -> int | None:
    """Return where the element that begins here ends, None if its bytes are not there."""
    if sort.has_length:
        if end - at < _LENGTH.size:
            return None
        after = at + _LENGTH.size + int(_LENGTH.unpack_from(data, at)[0])
        return after if after <= end else None
    return entry_end(data, at, end)


def entry_end(data: bytes, at: int, end: int) -> int | None:
    """Return where the frame or entry that begins here ends, None if its bytes are not there."""
    if end - at < _KEY_LENGTH.size:
        return None
    header = at + _KEY_LENGTH.size + int(_KEY_LENGTH.unpack_from(data, at)[0])
    if end - header < _AFTER_KEY.size:
        return None
    after = header + _AFTER_KEY.size + int(_AFTER_KEY.unpack_from(data, header)[1])
    return after if after <= end else None


def whole_elements(kind: str, data: bytes) -> int:
    """Return how many elements are there whole, of those that the message announces."""
    sort = SORTS[kind]
    return sum(1 for _ in _ends(data, sort, _batch_end(data, sort), announced(kind, data)))


def _batch_end(data: bytes, sort: Sort) -> int:
    if not sort.around:
        return len(data)
    size = int(_LENGTH.unpack_from(data, sort.around - _LENGTH.size)[0])
    return min(len(data), sort.around + size)


def _ends(data: bytes, sort: Sort, end: int, count: int) -> Iterator[int]:
    at = sort.first
    for _ in range(count):
        after = element_end(data, at, end, sort)
        if after is None:
            return
        yield after
        at = after


def shorten(kind: str, data: bytes, keep: int | None) -> Shortened | None:
    """Return the message with its first `keep` elements; None if it has no more than that.

    Also None if one of the first is not whole, or the count cannot be that of its elements: then
    the schema finds the fault.
    """
    count = announced(kind, data)
    sort = SORTS.get(kind)
    if keep is None or sort is None or count <= keep:
        return None
    end = _batch_end(data, sort)
    if count > (end - sort.first) // sort.minimum:
        return None
    kept = list(_ends(data, sort, end, keep))
    if len(kept) < keep:
        return None
    short = bytearray(data[: kept[-1]])
    _COUNT.pack_into(short, sort.offset, keep)
    values = {sort.count: count}
    if sort.around:
        size = sort.around - _LENGTH.size
        values["batch.length"] = int(_LENGTH.unpack_from(data, size)[0])
        _LENGTH.pack_into(short, size, len(short) - sort.around)
    rest = _count_rest(data, sort, kept[-1], end, (keep, count))
    return Shortened(bytes(short), values, sort, rest)


def _count_rest(data: bytes, sort: Sort, at: int, end: int, numbers: tuple[int, int]) -> Rest:
    types: Counter[int] = Counter()
    refused: Counter[str] = Counter()
    for index in range(*numbers):
        after = element_end(data, at, end, sort)
        if after is None:
            fault = element_fault(data[at:end], sort, at)
            return Rest(index, index - numbers[0], types, refused, at, fault)
        reason = "" if sort.has_length else _entry_refusal(data, at, types)
        if reason == "bad-utf8":
            fault = element_fault(data[at:after], sort, at)
            return Rest(index, index - numbers[0], types, refused, at, fault)
        if reason:
            refused[reason] += 1
        at = after
    return Rest(numbers[1], numbers[1] - numbers[0], types, refused, at, None)


def _entry_refusal(data: bytes, at: int, types: Counter[int]) -> str:
    """Return the reason to refuse an entry, or an empty text; its type is counted."""
    size = int(_KEY_LENGTH.unpack_from(data, at)[0])
    start = at + _KEY_LENGTH.size
    kind = data[start + size]
    types[kind] += 1
    try:
        key = data[start : start + size].decode()
    except UnicodeDecodeError:
        return "bad-utf8"
    entry = Message("sync_entry", {"key": key, "type": kind, "payload": b""})
    return accept("sync_entry", entry) or ""


def element_fault(data: bytes, sort: Sort, offset: int) -> Malformed | None:
    """Return the fault of the element that these bytes begin with; `offset` is theirs."""
    if not sort.has_length:
        fault = annotate(sort.kind, data)[1]
        return None if fault is None else fault.behind(offset)
    if len(data) < _LENGTH.size:
        return Malformed("truncated", offset, "length", kind=sort.kind)
    size, there = int(_LENGTH.unpack_from(data)[0]), len(data) - _LENGTH.size
    if size > there:
        says = f"{size} bytes announced, {there} there"
        return Malformed("truncated", offset + _LENGTH.size, "", kind=sort.kind, detail=says)
    fault = annotate(sort.kind, data[_LENGTH.size : _LENGTH.size + size])[1]
    return None if fault is None else fault.behind(offset + _LENGTH.size)
