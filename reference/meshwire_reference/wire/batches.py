"""Stream frames, entries, and the batches of entries (0x07), bare and in a channel record."""

from collections.abc import Container
from dataclasses import dataclass, replace
from struct import Struct
from struct import error as StructError  # noqa: N812 - `error` alone would say nothing below
from typing import Final

from meshwire_reference.wire.cursor import U8, U16_BE, U32_BE, U64_BE, Reader, Writer
from meshwire_reference.wire.errors import Malformed, Unencodable
from meshwire_spec.numbers import (
    CHANNEL_MARKER,
    ENTRY_MIN,
    PAYLOAD_MAX,
    U8_MAX,
    FrameType,
)

FRAME_TYPES: Final = frozenset(FrameType)
ANY_TYPE: Final = range(U8_MAX + 1)
TYPE_AND_LENGTH: Final = Struct(">BI")
BATCH_HEADER: Final = Struct(">QQBI")
RECORD_HEADER: Final = U8.size + U32_BE.size
KEY_LENGTH: Final = U16_BE.size
BATCH_HEADER_FIELDS: Final = (
    (U64_BE, "batch_id"),
    (U64_BE, "created_at"),
    (U8, "ttl"),
    (U32_BE, "entry_count"),
)
COUNT_OFFSET: Final = BATCH_HEADER.size - U32_BE.size


@dataclass(frozen=True, slots=True)
class StreamFrame:
    """One frame of a sync stream; what its `type` means is the registry of frame types."""

    key: str
    type: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class SyncEntry:
    """One entry of a batch: the layout of a stream frame, with any byte for its `type`."""

    key: str
    type: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Fault:
    """The place where a batch can no longer be decoded, after at least one whole element.

    `offset` is where the faulty element starts in the bytes of the batch, `rest` everything from
    there. The elements before it are valid (D-05).
    """

    reason: str
    offset: int
    rest: bytes


@dataclass(frozen=True, slots=True)
class SyncBatch:
    """Payload of a 0x07: `entry_count` as announced, which exceeds the entries after a fault."""

    batch_id: int
    created_at: int
    ttl: int
    entry_count: int
    entries: tuple[SyncEntry, ...]
    fault: Fault | None = None
    extra: bytes = b""


@dataclass(frozen=True, slots=True)
class ChannelRecord:
    """A batch behind a marker, as it may come on the answering half of a channel.

    The offset of its fault counts from the start of the record.
    """

    marker: int
    batch: SyncBatch


def _read_entry(
    reader: Reader, payload_cap: int, types: Container[int] = ANY_TYPE
) -> tuple[str, int, bytes]:
    key = reader.text(U16_BE, "key")
    # FR-011: refused by its byte in a frame; BT-006: in an entry only its payload is skipped.
    frame_type = reader.listed(U8, types, "unknown-type", "type")
    # FR-004, BT-004: refused by the four bytes of the length, before the payload is read.
    return key, frame_type, reader.block(U32_BE, "payload", payload_cap)


# FR-001, BT-001
def _write_entry(
    writer: Writer,
    entry: StreamFrame | SyncEntry,
    payload_cap: int,
    types: Container[int] = ANY_TYPE,
) -> None:
    writer.text(U16_BE, entry.key, "key")
    writer.listed(U8, entry.type, types, "unknown-type", "type")
    writer.block(U32_BE, entry.payload, "payload", payload_cap)


def decode_stream_frame(data: bytes, payload_cap: int = PAYLOAD_MAX) -> StreamFrame:
    """Decode exactly one frame; raises Malformed. A stream is read with `FrameReader`."""
    reader = Reader(data)
    frame = StreamFrame(*_read_entry(reader, payload_cap, FRAME_TYPES))
    reader.close()
    return frame


def encode_stream_frame(frame: StreamFrame, payload_cap: int = PAYLOAD_MAX) -> bytes:
    """Encode one frame; raises Unencodable."""
    writer = Writer()
    _write_entry(writer, frame, payload_cap, FRAME_TYPES)
    return writer.done()


def decode_sync_entry(data: bytes, payload_cap: int = PAYLOAD_MAX) -> SyncEntry:
    """Decode exactly one entry; raises Malformed."""
    reader = Reader(data)
    entry = SyncEntry(*_read_entry(reader, payload_cap))
    reader.close()
    return entry


def encode_sync_entry(entry: SyncEntry, payload_cap: int = PAYLOAD_MAX) -> bytes:
    """Encode one entry; raises Unencodable."""
    writer = Writer()
    _write_entry(writer, entry, payload_cap)
    return writer.done()


class SyncBatchReader:
    """The entries of a batch, taken a few at a time.

    The caller applies what `take` returns until `is_over`, then refuses the frame if `fault` is set
    (BT-013, BT-014). Raises Malformed for the header.
    """

    __slots__ = (
        "_data",
        "_payload_cap",
        "_position",
        "_taken",
        "batch_id",
        "created_at",
        "entry_count",
        "fault",
        "ttl",
    )

    def __init__(self, data: bytes, payload_cap: int = PAYLOAD_MAX) -> None:
        self.batch_id, self.created_at, self.ttl, self.entry_count = _read_batch_header(data)
        self.fault: Fault | None = None
        self._data = data
        self._payload_cap = payload_cap
        self._position = BATCH_HEADER.size
        self._taken = 0

    @property
    def is_over(self) -> bool:
        """True if every entry was taken, or those before the fault."""
        return self._taken == self.entry_count or self.fault is not None

    @property
    def extra(self) -> bytes:
        """The bytes after the last entry; after a fault none."""
        # BT-015
        return b"" if self.fault is not None else self._data[self._position :]

    def take(self, most: int) -> list[SyncEntry]:
        """Return the next entries, up to `most`; raises Malformed before the first whole entry."""
        # The loop below is the hot path: it takes what fits and stops at the first entry that does
        # not; _name_fault then reads that entry again, slowly, to say what is wrong with it.
        entries: list[SyncEntry] = []
        append = entries.append
        key_length_from, header_from = U16_BE.unpack_from, TYPE_AND_LENGTH.unpack_from
        data, payload_cap = self._data, self._payload_cap
        position, end = self._position, len(data)
        most = min(most, self.entry_count - self._taken)
        try:
            for _ in range(most):
                key_start = position + KEY_LENGTH
                key_end = key_start + key_length_from(data, position)[0]
                frame_type, size = header_from(data, key_end)
                payload_start = key_end + TYPE_AND_LENGTH.size
                payload_end = payload_start + size
                if payload_end > end or size > payload_cap:
                    break
                append(
                    SyncEntry(
                        str(data[key_start:key_end], "utf-8"),
                        frame_type,
                        data[payload_start:payload_end],
                    )
                )
                position = payload_end
        except (StructError, UnicodeDecodeError):
            pass
        self._position = position
        self._taken += len(entries)
        # BT-013, BT-014: elements before the fault are kept; without any the batch is refused.
        if len(entries) < most:
            self.fault = _name_fault(data, position, self._taken, payload_cap)
        return entries


def decode_sync_batch(data: bytes, payload_cap: int = PAYLOAD_MAX) -> SyncBatch:
    """Decode a whole batch up to its fault; raises Malformed before the first whole entry."""
    reader = SyncBatchReader(data, payload_cap)
    entries = reader.take(reader.entry_count)
    return SyncBatch(
        reader.batch_id,
        reader.created_at,
        reader.ttl,
        reader.entry_count,
        tuple(entries),
        reader.fault,
        reader.extra,
    )


def _read_batch_header(data: bytes) -> tuple[int, int, int, int]:
    if len(data) < BATCH_HEADER.size:
        reader = Reader(data)
        for layout, field in BATCH_HEADER_FIELDS:
            reader.number(layout, field)
    batch_id, created_at, ttl, entry_count = BATCH_HEADER.unpack_from(data)
    # BT-012: limited by the remaining bytes before anything is allocated.
    if entry_count > (len(data) - BATCH_HEADER.size) // ENTRY_MIN:
        raise Malformed("count-limit", COUNT_OFFSET, "entry_count")
    return batch_id, created_at, ttl, entry_count


def _name_fault(data: bytes, start: int, index: int, payload_cap: int) -> Fault:
    """Return the fault of the entry at `start`; raise it where it is the first entry."""
    reader = Reader(data, start, path=f"entries[{index}].")
    try:
        _read_entry(reader, payload_cap)
    except Malformed as malformed:
        if index == 0:
            raise
        return Fault(malformed.reason, start, data[start:])
    raise AssertionError("the fast path stopped at an entry that is whole")


# BT-010
def encode_sync_batch(batch: SyncBatch, payload_cap: int = PAYLOAD_MAX) -> bytes:
    """Encode a batch, its fault and extra bytes included; raises Unencodable."""
    # As in decoding: the loop writes what fits, and _name_unencodable says what does not.
    parts: list[bytes] = []
    append = parts.append
    pack_key_length, pack_header = U16_BE.pack, TYPE_AND_LENGTH.pack
    try:
        append(BATCH_HEADER.pack(batch.batch_id, batch.created_at, batch.ttl, batch.entry_count))
        for entry in batch.entries:
            key, payload = entry.key.encode(), entry.payload
            size = len(payload)
            if size > payload_cap:
                raise _name_unencodable(batch, payload_cap)
            append(pack_key_length(len(key)))
            append(key)
            append(pack_header(entry.type, size))
            append(payload)
    except (StructError, UnicodeEncodeError) as fault:
        raise _name_unencodable(batch, payload_cap) from fault
    append(batch.extra if batch.fault is None else batch.fault.rest)
    data = b"".join(parts)
    if batch.fault is not None:
        _check_fault(batch, data, payload_cap)
    elif batch.entry_count != len(batch.entries):
        raise Unencodable("bad-value", COUNT_OFFSET, "entry_count")
    return data


def _check_fault(batch: SyncBatch, data: bytes, payload_cap: int) -> None:
    """Raise Unencodable unless a reader would find the claimed fault in the bytes of a batch."""
    assert batch.fault is not None
    try:
        same = decode_sync_batch(data, payload_cap) == batch
    except Malformed:
        same = False
    if not same:
        raise Unencodable("bad-value", batch.fault.offset, "fault")


def _name_unencodable(batch: SyncBatch, payload_cap: int) -> Unencodable:
    """Write the batch field by field and return what the first bad field raises."""
    writer = Writer()
    try:
        writer.number(U64_BE, batch.batch_id, "batch_id")
        writer.number(U64_BE, batch.created_at, "created_at")
        writer.number(U8, batch.ttl, "ttl")
        writer.number(U32_BE, batch.entry_count, "entry_count")
        for index, entry in enumerate(batch.entries):
            writer.path = f"entries[{index}]."
            _write_entry(writer, entry, payload_cap)
    except Unencodable as unencodable:
        return unencodable
    raise AssertionError("the fast path refused a batch that fits")


def decode_channel_record(data: bytes, payload_cap: int = PAYLOAD_MAX) -> ChannelRecord:
    """Decode a batch after its marker; raises Malformed."""
    reader = Reader(data)
    # BT-031
    marker = reader.listed(U8, (CHANNEL_MARKER,), "bad-marker", "marker")
    # BT-032, BT-034
    content = reader.block(U32_BE, "batch", payload_cap)
    try:
        batch = decode_sync_batch(content, payload_cap)
    except Malformed as malformed:
        raise malformed.within("batch", RECORD_HEADER) from malformed
    reader.close()
    return ChannelRecord(marker, _moved(batch, RECORD_HEADER))


# BT-030
def encode_channel_record(record: ChannelRecord, payload_cap: int = PAYLOAD_MAX) -> bytes:
    """Encode a batch after its marker; raises Unencodable."""
    writer = Writer()
    writer.listed(U8, record.marker, (CHANNEL_MARKER,), "bad-marker", "marker")
    try:
        content = encode_sync_batch(_moved(record.batch, -RECORD_HEADER), payload_cap)
    except Unencodable as unencodable:
        raise unencodable.within("batch", RECORD_HEADER) from unencodable
    writer.block(U32_BE, content, "batch", payload_cap)
    return writer.done()


def _moved(batch: SyncBatch, by: int) -> SyncBatch:
    if batch.fault is None:
        return batch
    return replace(batch, fault=replace(batch.fault, offset=batch.fault.offset + by))
