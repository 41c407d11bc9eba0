"""Batches: many entries in one frame, and the record of the answering half of a channel."""

from meshwire_spec.fields import (
    Constant,
    Count,
    Int8ub,
    Int32ub,
    Int64ub,
    Number,
    Tolerated,
)
from meshwire_spec.layouts.compound import Elements, Fault, Layout, Nested
from meshwire_spec.layouts.frames import SYNC_ENTRY
from meshwire_spec.numbers import CHANNEL_MARKER, ENTRY_MIN, PAYLOAD_MAX

SYNC_BATCH = Layout(
    "sync_batch",
    "Payload of 0x07",
    {
        "batch_id": Number(Int64ub, "id of the batch; 0 names nothing"),
        "created_at": Number(Int64ub, "when its sender made it", unit="ms since 1970"),
        "ttl": Number(Int8ub, "links that it may still cross", unit="hops"),
        "entry_count": Count(Int32ub, "how many entries follow", minimum_element=ENTRY_MIN),
        "entries": Elements("entry_count", SYNC_ENTRY, "the entries, in order of effect"),
        "fault": Fault("the first malformed entry and all later bytes"),
        "extra": Tolerated("ignored by readers, never added by writers"),
    },
)

CHANNEL_RECORD = Layout(
    "channel_record",
    "Record on the answering half of a channel's stream",
    {
        "marker": Constant(Int8ub, CHANNEL_MARKER, "marks a record", reason="bad-marker"),
        "batch": Nested(SYNC_BATCH, "the batch", length=Int32ub, ceiling=PAYLOAD_MAX),
    },
)
