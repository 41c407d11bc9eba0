"""Sync mode and deletion policy of documents, by collection."""

from meshwire_spec.numbers import (
    DEFAULT_TOMBSTONE_TTL_S,
    DeletionPolicy,
    FrameType,
    PolicyRow,
    SyncMode,
    collection_of,
)

PUSHED_AS = {
    # DC-033
    SyncMode.LATEST_ONLY: FrameType.SNAPSHOT,
    SyncMode.WINDOWED_HISTORY: FrameType.SNAPSHOT,
    # DC-034
    SyncMode.FULL_HISTORY: FrameType.DELTA,
}
"""The frame type that carries a document of each mode when this node pushes it (D-07, D-62)."""


def push_type(key: str) -> FrameType:
    """Return the frame type with which a document is pushed."""
    return PUSHED_AS[collection_of(key).mode]


def obeys_tombstones(key: str) -> bool:
    """Return True if a tombstone may remove documents of the key's collection (D-73)."""
    return collection_of(key).deletion is DeletionPolicy.TOMBSTONE


def tombstone_ttl_s(collection: PolicyRow) -> int:
    """Return the lifetime of a collection's tombstones in seconds (D-78 if the table has none)."""
    return DEFAULT_TOMBSTONE_TTL_S if collection.ttl_s is None else collection.ttl_s
