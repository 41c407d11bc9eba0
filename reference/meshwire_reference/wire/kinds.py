"""The table of message kinds: what decodes and encodes each, and the shape of its JSON value."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from meshwire_reference.wire import batches, liveness, tombstones
from meshwire_reference.wire.shapes import (
    HEX,
    TEXT,
    U8_NUMBER,
    U32_NUMBER,
    U64_DECIMAL,
    Listed,
    ListOf,
    OrNull,
    Record,
)
from meshwire_spec.numbers import Direction


@dataclass(frozen=True, slots=True)
class Kind:
    """One row: both directions of the codec, and of the value."""

    decode: Callable[[bytes], Any]
    encode: Callable[[Any], bytes]
    shape: Record


ENTRY_SHAPE: Final = Record(batches.SyncEntry, key=TEXT, type=U8_NUMBER, payload=HEX)
FAULT_SHAPE: Final = OrNull(Record(batches.Fault, reason=TEXT, offset=U32_NUMBER, rest=HEX))
BATCH_SHAPE: Final = Record(
    batches.SyncBatch,
    batch_id=U64_DECIMAL,
    created_at=U64_DECIMAL,
    ttl=U8_NUMBER,
    entry_count=U32_NUMBER,
    entries=ListOf(ENTRY_SHAPE),
    fault=FAULT_SHAPE,
    extra=HEX,
)
TOMBSTONE_SHAPE: Final = Record(
    tombstones.Tombstone,
    collection=TEXT,
    document_id=TEXT,
    deleted_at=U64_DECIMAL,
    lamport=U64_DECIMAL,
    deleted_by=TEXT,
    reason=TEXT,
    direction=Listed(Direction, "bad-direction"),
    extra=HEX,
)

KINDS: Final = {
    "stream_frame": Kind(
        batches.decode_stream_frame,
        batches.encode_stream_frame,
        Record(batches.StreamFrame, key=TEXT, type=U8_NUMBER, payload=HEX),
    ),
    "sync_entry": Kind(batches.decode_sync_entry, batches.encode_sync_entry, ENTRY_SHAPE),
    "sync_batch": Kind(batches.decode_sync_batch, batches.encode_sync_batch, BATCH_SHAPE),
    "tombstone": Kind(tombstones.decode_tombstone, tombstones.encode_tombstone, TOMBSTONE_SHAPE),
    "tombstone_batch": Kind(
        tombstones.decode_tombstone_batch,
        tombstones.encode_tombstone_batch,
        Record(
            tombstones.TombstoneBatch,
            tombstone_count=U32_NUMBER,
            tombstones=ListOf(TOMBSTONE_SHAPE),
            fault=FAULT_SHAPE,
            extra=HEX,
        ),
    ),
    "heartbeat": Kind(
        liveness.decode_heartbeat,
        liveness.encode_heartbeat,
        Record(liveness.Heartbeat, marker=U8_NUMBER, sent_at=U64_DECIMAL, extra=HEX),
    ),
    "channel_record": Kind(
        batches.decode_channel_record,
        batches.encode_channel_record,
        Record(batches.ChannelRecord, marker=U8_NUMBER, batch=BATCH_SHAPE),
    ),
}
"""Every kind of the profile, by the name that schema, vectors and harness use."""


def decode(kind: str, data: bytes) -> Any:  # noqa: ANN401 - the class follows from the kind
    """Decode the bytes of one message; raises Malformed, and KeyError for an unknown kind."""
    return KINDS[kind].decode(data)


def encode(kind: str, message: object) -> bytes:
    """Encode one message; raises Unencodable, and KeyError for an unknown kind."""
    return KINDS[kind].encode(message)


def to_value(kind: str, message: object) -> dict[str, object]:
    """Write a message as the JSON value of its kind."""
    return KINDS[kind].shape.to_value(message)


def from_value(kind: str, value: object) -> Any:  # noqa: ANN401 - as decode
    """Read a message from its JSON value; raises BadValue, or Unencodable for an unlisted number.

    What the value says is not yet known to fit the layout: `encode` finds that out.
    """
    return KINDS[kind].shape.from_value(value)
