"""The table of message kinds: what decodes and encodes each, and the shape of its JSON value."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from meshwire_reference.harness import values
from meshwire_reference.harness.shapes import Record
from meshwire_reference.wire import (
    batches,
    certificates,
    enrollment,
    handshake,
    lab,
    liveness,
    reconciliation,
    tombstones,
)


@dataclass(frozen=True, slots=True)
class Kind:
    """One row: both directions of the codec, and of the value."""

    decode: Callable[[bytes], Any]
    encode: Callable[[Any], bytes]
    shape: Record


KINDS: Final = {
    "stream_frame": Kind(
        batches.decode_stream_frame,
        batches.encode_stream_frame,
        values.FRAME_SHAPE,
    ),
    "sync_entry": Kind(batches.decode_sync_entry, batches.encode_sync_entry, values.ENTRY_SHAPE),
    "sync_batch": Kind(batches.decode_sync_batch, batches.encode_sync_batch, values.BATCH_SHAPE),
    "tombstone": Kind(
        tombstones.decode_tombstone, tombstones.encode_tombstone, values.TOMBSTONE_SHAPE
    ),
    "tombstone_batch": Kind(
        tombstones.decode_tombstone_batch,
        tombstones.encode_tombstone_batch,
        values.TOMBSTONE_BATCH_SHAPE,
    ),
    "heartbeat": Kind(
        liveness.decode_heartbeat,
        liveness.encode_heartbeat,
        values.HEARTBEAT_SHAPE,
    ),
    "negentropy_message": Kind(
        reconciliation.decode_negentropy_message,
        reconciliation.encode_negentropy_message,
        values.NEGENTROPY_SHAPE,
    ),
    "formation_id": Kind(
        handshake.decode_formation_id,
        handshake.encode_formation_id,
        values.FORMATION_ID_SHAPE,
    ),
    "formation_challenge": Kind(
        handshake.decode_formation_challenge,
        handshake.encode_formation_challenge,
        values.CHALLENGE_SHAPE,
    ),
    "formation_challenge_h2": Kind(
        handshake.decode_formation_challenge_h2,
        handshake.encode_formation_challenge_h2,
        values.CHALLENGE_SHAPE,
    ),
    "formation_response": Kind(
        handshake.decode_formation_response,
        handshake.encode_formation_response,
        values.RESPONSE_SHAPE,
    ),
    "formation_response_h2": Kind(
        handshake.decode_formation_response_h2,
        handshake.encode_formation_response_h2,
        values.RESPONSE_H2_SHAPE,
    ),
    "formation_result": Kind(
        handshake.decode_formation_result,
        handshake.encode_formation_result,
        values.RESULT_SHAPE,
    ),
    "channel_record": Kind(
        batches.decode_channel_record,
        batches.encode_channel_record,
        values.CHANNEL_RECORD_SHAPE,
    ),
    "lab_preamble": Kind(
        lab.decode_lab_preamble, lab.encode_lab_preamble, values.LAB_PREAMBLE_SHAPE
    ),
    "lab_record": Kind(lab.decode_lab_record, lab.encode_lab_record, values.LAB_RECORD_SHAPE),
    "enrollment_request": Kind(
        enrollment.decode_enrollment_request,
        enrollment.encode_enrollment_request,
        values.ENROLLMENT_REQUEST_SHAPE,
    ),
    "enrollment_response": Kind(
        enrollment.decode_enrollment_response,
        enrollment.encode_enrollment_response,
        values.ENROLLMENT_RESPONSE_SHAPE,
    ),
    "mesh_certificate": Kind(
        certificates.decode_mesh_certificate,
        certificates.encode_mesh_certificate,
        values.MESH_CERTIFICATE_SHAPE,
    ),
    "membership_certificate": Kind(
        certificates.decode_membership_certificate,
        certificates.encode_membership_certificate,
        values.MEMBERSHIP_CERTIFICATE_SHAPE,
    ),
    "mesh_genesis": Kind(
        certificates.decode_mesh_genesis, certificates.encode_mesh_genesis, values.GENESIS_SHAPE
    ),
    "mesh_credentials": Kind(
        certificates.decode_mesh_credentials,
        certificates.encode_mesh_credentials,
        values.CREDENTIALS_SHAPE,
    ),
}
"""Every kind of the profile, by the name that schema, vectors and harness use."""


def decode(kind: str, data: bytes) -> Any:
    """Decode the bytes of one message; raises Malformed, and KeyError for an unknown kind."""
    return KINDS[kind].decode(data)


def encode(kind: str, message: object) -> bytes:
    """Encode one message; raises Unencodable, and KeyError for an unknown kind."""
    return KINDS[kind].encode(message)


def to_value(kind: str, message: object) -> dict[str, object]:
    """Write a message as the JSON value of its kind."""
    return KINDS[kind].shape.to_value(message)


def from_value(kind: str, value: object) -> Any:
    """Read a message from its JSON value; raises Unencodable, mostly `bad-value`.

    What the value says is not yet known to fit the layout: `encode` finds that out.
    """
    return KINDS[kind].shape.from_value(value)
