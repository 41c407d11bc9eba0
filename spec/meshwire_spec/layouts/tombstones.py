"""Tombstones: one deletion, and many of them in a frame."""

from meshwire_spec.fields import (
    Choice,
    Count,
    Int8ub,
    Int16ub,
    Int32ub,
    Int64ub,
    Number,
    Text,
    Tolerated,
)
from meshwire_spec.layouts.compound import Elements, Fault, Layout
from meshwire_spec.numbers import (
    AUTHOR_MAX,
    COLLECTION_MAX,
    DOCUMENT_ID_MAX,
    REASON_MAX,
    TOMBSTONE_ELEMENT_MIN,
    Direction,
)

TOMBSTONE = Layout(
    "tombstone",
    "Payload of 0x04",
    {
        "collection": Text(
            Int16ub, "collection of the deleted document", minimum=1, limit=COLLECTION_MAX
        ),
        "document_id": Text(
            Int16ub, "id of the deleted document", minimum=1, limit=DOCUMENT_ID_MAX
        ),
        "deleted_at": Number(Int64ub, "when its author deleted it", unit="ms since 1970"),
        "lamport": Number(Int64ub, "logical clock of its author"),
        "deleted_by": Text(Int16ub, "who deleted it", minimum=1, limit=AUTHOR_MAX),
        "reason": Text(Int16ub, "free text; empty is none", limit=REASON_MAX),
        "direction": Choice(Int8ub, Direction, "where it travels", reason="bad-direction"),
        "extra": Tolerated("ignored by readers, never added by writers"),
    },
)

TOMBSTONE_BATCH = Layout(
    "tombstone_batch",
    "Payload of 0x05",
    {
        "tombstone_count": Count(
            Int32ub, "how many tombstones follow", minimum_element=TOMBSTONE_ELEMENT_MIN
        ),
        "tombstones": Elements(
            "tombstone_count", TOMBSTONE, "the tombstones, in order of effect", length=Int32ub
        ),
        "fault": Fault("the first malformed tombstone and all later bytes"),
        "extra": Tolerated("ignored by readers, never added by writers"),
    },
)
