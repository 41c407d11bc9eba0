"""Tombstones: the payload of 0x04, and the batch of them that is the payload of 0x05."""

from dataclasses import dataclass
from typing import Final

from meshwire_reference.wire.batches import Fault
from meshwire_reference.wire.cursor import U8, U16_BE, U32_BE, U64_BE, Reader, Writer
from meshwire_reference.wire.errors import Malformed, Unencodable
from meshwire_spec.numbers import TOMBSTONE_ELEMENT_MIN, Direction

DIRECTIONS: Final = tuple(Direction)


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A deletion; an empty `reason` means none (D-14), `extra` follows the direction."""

    collection: str
    document_id: str
    deleted_at: int
    lamport: int
    deleted_by: str
    reason: str
    direction: Direction
    extra: bytes = b""


@dataclass(frozen=True, slots=True)
class TombstoneBatch:
    """Payload of a 0x05: `tombstone_count` as announced, more than the tombstones after a fault."""

    tombstone_count: int
    tombstones: tuple[Tombstone, ...]
    fault: Fault | None = None
    extra: bytes = b""


def _read_tombstone(reader: Reader) -> Tombstone:
    return Tombstone(
        collection=reader.text(U16_BE, "collection"),
        document_id=reader.text(U16_BE, "document_id"),
        deleted_at=reader.number(U64_BE, "deleted_at"),
        lamport=reader.number(U64_BE, "lamport"),
        deleted_by=reader.text(U16_BE, "deleted_by"),
        reason=reader.text(U16_BE, "reason"),
        direction=DIRECTIONS[
            # TS-002
            reader.listed(U8, range(len(DIRECTIONS)), "bad-direction", "direction")
        ],
        # TS-009
        extra=reader.rest(),
    )


# TS-001
def _write_tombstone(writer: Writer, tombstone: Tombstone) -> None:
    writer.text(U16_BE, tombstone.collection, "collection")
    writer.text(U16_BE, tombstone.document_id, "document_id")
    writer.number(U64_BE, tombstone.deleted_at, "deleted_at")
    writer.number(U64_BE, tombstone.lamport, "lamport")
    writer.text(U16_BE, tombstone.deleted_by, "deleted_by")
    writer.text(U16_BE, tombstone.reason, "reason")
    writer.listed(U8, tombstone.direction, range(len(DIRECTIONS)), "bad-direction", "direction")
    writer.rest(tombstone.extra)


def decode_tombstone(data: bytes) -> Tombstone:
    """Decode a tombstone and the bytes after its direction (D-04); raises Malformed."""
    return _read_tombstone(Reader(data))


def encode_tombstone(tombstone: Tombstone) -> bytes:
    """Encode a tombstone; raises Unencodable."""
    writer = Writer()
    _write_tombstone(writer, tombstone)
    return writer.done()


class TombstoneBatchReader:
    """The tombstones of a batch, taken a few at a time.

    The caller applies what `take` returns until `is_over`, then refuses the frame where `fault` is
    set. Raises Malformed for the count.
    """

    __slots__ = ("_data", "_reader", "_taken", "fault", "tombstone_count")

    def __init__(self, data: bytes) -> None:
        reader = self._reader = Reader(data)
        self.tombstone_count = reader.number(U32_BE, "tombstone_count")
        # TS-021: limited by the remaining bytes before anything is allocated.
        if self.tombstone_count > reader.remaining() // TOMBSTONE_ELEMENT_MIN:
            raise reader.fault("count-limit", "tombstone_count", 0)
        self.fault: Fault | None = None
        self._data = data
        self._taken = 0

    @property
    def is_over(self) -> bool:
        """True if every tombstone was taken, or those before the fault."""
        return self._taken == self.tombstone_count or self.fault is not None

    @property
    def extra(self) -> bytes:
        """The bytes after the last tombstone; after a fault none."""
        # TS-024
        return b"" if self.fault is not None else self._reader.rest()

    def take(self, most: int) -> list[Tombstone]:
        """Return the next tombstones, up to `most`; raises Malformed if the first is at fault."""
        reader = self._reader
        tombstones: list[Tombstone] = []
        for index in range(self._taken, min(self._taken + most, self.tombstone_count)):
            start = reader.position
            field = f"tombstones[{index}]"
            try:
                size = reader.length(U32_BE, field, None)
                tombstones.append(_read_tombstone(reader.inner(size, field)))
            except Malformed as malformed:
                # TS-022, TS-023: elements before the fault are kept; without any the batch is
                # refused.
                if not index:
                    raise
                self.fault = Fault(malformed.reason, start, self._data[start:])
                break
        self._taken += len(tombstones)
        return tombstones


def decode_tombstone_batch(data: bytes) -> TombstoneBatch:
    """Decode a whole batch up to its fault; raises Malformed if that is in the first tombstone."""
    reader = TombstoneBatchReader(data)
    tombstones = reader.take(reader.tombstone_count)
    return TombstoneBatch(reader.tombstone_count, tuple(tombstones), reader.fault, reader.extra)


# TS-020
def encode_tombstone_batch(batch: TombstoneBatch) -> bytes:
    """Encode a batch, its fault and extra bytes included; raises Unencodable."""
    writer = Writer()
    if batch.fault is None and batch.tombstone_count != len(batch.tombstones):
        raise writer.fault("bad-value", "tombstone_count")
    writer.number(U32_BE, batch.tombstone_count, "tombstone_count")
    for index, tombstone in enumerate(batch.tombstones):
        field = f"tombstones[{index}]"
        try:
            content = encode_tombstone(tombstone)
        except Unencodable as unencodable:
            raise unencodable.within(field, len(writer.buffer) + U32_BE.size) from unencodable
        writer.block(U32_BE, content, field)
    writer.rest(batch.extra if batch.fault is None else batch.fault.rest)
    data = writer.done()
    # A claimed fault is compared with the one that decoding the bytes finds.
    if batch.fault is not None and _differs(batch, data):
        raise Unencodable("bad-value", batch.fault.offset, "fault")
    return data


def _differs(batch: TombstoneBatch, data: bytes) -> bool:
    try:
        return decode_tombstone_batch(data) != batch
    except Malformed:
        return True
