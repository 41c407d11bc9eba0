"""Layouts of every message kind, by name."""

from meshwire_spec.layouts.batches import CHANNEL_RECORD, SYNC_BATCH
from meshwire_spec.layouts.compound import Layout
from meshwire_spec.layouts.enrollment import (
    ENROLLMENT_REQUEST,
    ENROLLMENT_RESPONSE,
    MEMBERSHIP_CERTIFICATE,
    MESH_CERTIFICATE,
    MESH_CREDENTIALS,
    MESH_GENESIS,
    MESH_REVOCATION,
)
from meshwire_spec.layouts.frames import STREAM_FRAME, SYNC_ENTRY
from meshwire_spec.layouts.handshake import (
    FORMATION_CHALLENGE,
    FORMATION_CHALLENGE_H2,
    FORMATION_ID,
    FORMATION_RESPONSE,
    FORMATION_RESPONSE_H2,
    FORMATION_RESULT,
    FORMATION_VERSION,
)
from meshwire_spec.layouts.lab import LAB_BODIES, LAB_PREAMBLE, LAB_RECORD
from meshwire_spec.layouts.liveness import HEARTBEAT
from meshwire_spec.layouts.reconciliation import NEGENTROPY_MESSAGE, RANGE, UPPER
from meshwire_spec.layouts.tombstones import TOMBSTONE, TOMBSTONE_BATCH

__all__ = ["LAYOUTS", "PARTS", "Layout"]

LAYOUTS: dict[str, Layout] = {
    layout.kind: layout
    for layout in (
        STREAM_FRAME,
        SYNC_ENTRY,
        SYNC_BATCH,
        TOMBSTONE,
        TOMBSTONE_BATCH,
        HEARTBEAT,
        NEGENTROPY_MESSAGE,
        FORMATION_ID,
        FORMATION_CHALLENGE,
        FORMATION_VERSION,
        FORMATION_CHALLENGE_H2,
        FORMATION_RESPONSE,
        FORMATION_RESPONSE_H2,
        FORMATION_RESULT,
        CHANNEL_RECORD,
        LAB_PREAMBLE,
        LAB_RECORD,
        ENROLLMENT_REQUEST,
        ENROLLMENT_RESPONSE,
        MESH_CERTIFICATE,
        MEMBERSHIP_CERTIFICATE,
        MESH_GENESIS,
        MESH_CREDENTIALS,
        MESH_REVOCATION,
    )
}
"""Every kind of `sync/1`, in the order of `numbers.KINDS`."""

PARTS: dict[str, Layout] = {
    "range": RANGE,
    "bound": UPPER,
    **{layout.kind: layout for layout in LAB_BODIES.values()},
}
"""Layouts that occur only inside others; the pages show them, and they are no kinds."""
