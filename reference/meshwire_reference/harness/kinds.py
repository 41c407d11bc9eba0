"""The table of message kinds: their codec functions, and the form of their JSON values."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from meshwire_reference.harness.shapes import (
    HEX,
    NULL,
    TEXT,
    U8_NUMBER,
    U32_NUMBER,
    U64_DECIMAL,
    Chosen,
    ListOf,
    OrNull,
    Record,
    RegistryNumber,
)
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
from meshwire_spec.numbers import (
    Direction,
    EnrollmentStatus,
    LabRecordType,
    MeshPolicy,
    NegentropyMode,
    Tier,
)

TIER: Final = RegistryNumber(Tier, "bad-enum")
POLICY: Final = RegistryNumber(MeshPolicy, "bad-enum")
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
    direction=RegistryNumber(Direction, "bad-direction"),
    extra=HEX,
)
TOMBSTONE_BATCH_SHAPE: Final = Record(
    tombstones.TombstoneBatch,
    tombstone_count=U32_NUMBER,
    tombstones=ListOf(TOMBSTONE_SHAPE),
    fault=FAULT_SHAPE,
    extra=HEX,
)
NEGENTROPY_SHAPE: Final = Record(
    reconciliation.NegentropyMessage,
    version=U8_NUMBER,
    ranges=ListOf(
        Record(
            reconciliation.Range,
            upper=Record(reconciliation.Bound, timestamp=OrNull(U64_DECIMAL), prefix=HEX),
            mode=RegistryNumber(NegentropyMode, "bad-mode"),
            payload=Chosen(
                "mode",
                {
                    NegentropyMode.SKIP: NULL,
                    NegentropyMode.FINGERPRINT: Record(reconciliation.Fingerprint, fingerprint=HEX),
                    NegentropyMode.ID_LIST: Record(reconciliation.IdList, ids=ListOf(HEX)),
                },
            ),
        )
    ),
)
VERSION_SHAPE: Final = Record(handshake.FormationVersion, version=U8_NUMBER)
CHALLENGE_SHAPE: Final = Record(handshake.FormationChallenge, formation_id=TEXT, nonce=HEX)
LAB_PREAMBLE_SHAPE: Final = Record(
    lab.LabPreamble,
    magic=HEX,
    version=U8_NUMBER,
    alpn=TEXT,
    endpoint_id=HEX,
    max_data=U64_DECIMAL,
    max_stream_data=U64_DECIMAL,
    max_streams_bidi=U64_DECIMAL,
    max_streams_uni=U64_DECIMAL,
)
STREAM_CODE_SHAPE: Final = Record(lab.StreamCode, stream_id=U64_DECIMAL, code=U64_DECIMAL)
MAXIMUM_SHAPE: Final = Record(lab.Maximum, maximum=U64_DECIMAL)
ECHO_SHAPE: Final = Record(lab.Echo, payload=HEX)
LAB_RECORD_SHAPE: Final = Record(
    lab.LabRecord,
    type=RegistryNumber(LabRecordType, "unknown-type"),
    body=Chosen(
        "type",
        {
            LabRecordType.DATA: Record(lab.Data, stream_id=U64_DECIMAL, fin=U8_NUMBER, data=HEX),
            LabRecordType.RESET: STREAM_CODE_SHAPE,
            LabRecordType.STOP: STREAM_CODE_SHAPE,
            LabRecordType.MAX_DATA: MAXIMUM_SHAPE,
            LabRecordType.MAX_STREAM_DATA: Record(
                lab.StreamMaximum, stream_id=U64_DECIMAL, maximum=U64_DECIMAL
            ),
            LabRecordType.MAX_STREAMS_BIDI: MAXIMUM_SHAPE,
            LabRecordType.MAX_STREAMS_UNI: MAXIMUM_SHAPE,
            LabRecordType.PING: ECHO_SHAPE,
            LabRecordType.PONG: ECHO_SHAPE,
            LabRecordType.CLOSE: Record(lab.CloseBody, code=U64_DECIMAL, reason=TEXT),
        },
    ),
)
MESH_CERTIFICATE_SHAPE: Final = Record(
    certificates.MeshCertificate,
    subject=HEX,
    mesh_id=TEXT,
    node_id=TEXT,
    tier=TIER,
    permissions=U8_NUMBER,
    issued_at=U64_DECIMAL,
    expires_at=U64_DECIMAL,
    issuer=HEX,
    signature=HEX,
)
MEMBERSHIP_CERTIFICATE_SHAPE: Final = Record(
    certificates.MembershipCertificate,
    member=HEX,
    callsign=TEXT,
    mesh_id=TEXT,
    issued_at=U64_DECIMAL,
    expires_at=U64_DECIMAL,
    permissions=U8_NUMBER,
    issuer=HEX,
    signature=HEX,
)
ENROLLMENT_REQUEST_SHAPE: Final = Record(
    enrollment.EnrollmentRequest,
    public_key=HEX,
    mesh_id=TEXT,
    node_id=TEXT,
    tier=TIER,
    token=HEX,
    timestamp=U64_DECIMAL,
    signature=HEX,
)
ENROLLMENT_RESPONSE_SHAPE: Final = Record(
    enrollment.EnrollmentResponse,
    status=RegistryNumber(EnrollmentStatus, "bad-enum"),
    reason=TEXT,
    has_certificate=U8_NUMBER,
    certificate=OrNull(MESH_CERTIFICATE_SHAPE),
    has_secret=U8_NUMBER,
    secret=OrNull(HEX),
    timestamp=U64_DECIMAL,
)
GENESIS_SHAPE: Final = Record(
    certificates.MeshGenesis,
    name=TEXT,
    root_secret=HEX,
    authority_secret=HEX,
    created_at=U64_DECIMAL,
    policy=POLICY,
)
CREDENTIALS_SHAPE: Final = Record(
    certificates.MeshCredentials,
    name=TEXT,
    mesh_id=TEXT,
    formation_secret=HEX,
    authority_public=HEX,
    policy=POLICY,
)

REVOCATION_SHAPE: Final = Record(
    certificates.MeshRevocation,
    subject=HEX,
    mesh_id=TEXT,
    revoked_at=U64_DECIMAL,
    reason=TEXT,
    issuer=HEX,
    signature=HEX,
)
FRAME_SHAPE: Final = Record(batches.StreamFrame, key=TEXT, type=U8_NUMBER, payload=HEX)
CHANNEL_RECORD_SHAPE: Final = Record(batches.ChannelRecord, marker=U8_NUMBER, batch=BATCH_SHAPE)
HEARTBEAT_SHAPE: Final = Record(
    liveness.Heartbeat, marker=U8_NUMBER, sent_at=U64_DECIMAL, extra=HEX
)
FORMATION_ID_SHAPE: Final = Record(handshake.FormationId, formation_id=TEXT)
RESPONSE_SHAPE: Final = Record(handshake.FormationResponse, hmac=HEX)
RESPONSE_H2_SHAPE: Final = Record(handshake.FormationResponseH2, hmac=HEX, extra=HEX)
RESULT_SHAPE: Final = Record(handshake.FormationResult, result=U8_NUMBER)


@dataclass(frozen=True, slots=True)
class KindCodec:
    """One row: both directions of the codec, and of the value."""

    decode: Callable[[bytes], Any]
    encode: Callable[[Any], bytes]
    shape: Record


KINDS: Final = {
    "stream_frame": KindCodec(
        batches.decode_stream_frame,
        batches.encode_stream_frame,
        FRAME_SHAPE,
    ),
    "sync_entry": KindCodec(batches.decode_sync_entry, batches.encode_sync_entry, ENTRY_SHAPE),
    "sync_batch": KindCodec(batches.decode_sync_batch, batches.encode_sync_batch, BATCH_SHAPE),
    "tombstone": KindCodec(
        tombstones.decode_tombstone, tombstones.encode_tombstone, TOMBSTONE_SHAPE
    ),
    "tombstone_batch": KindCodec(
        tombstones.decode_tombstone_batch,
        tombstones.encode_tombstone_batch,
        TOMBSTONE_BATCH_SHAPE,
    ),
    "heartbeat": KindCodec(
        liveness.decode_heartbeat,
        liveness.encode_heartbeat,
        HEARTBEAT_SHAPE,
    ),
    "negentropy_message": KindCodec(
        reconciliation.decode_negentropy_message,
        reconciliation.encode_negentropy_message,
        NEGENTROPY_SHAPE,
    ),
    "formation_id": KindCodec(
        handshake.decode_formation_id,
        handshake.encode_formation_id,
        FORMATION_ID_SHAPE,
    ),
    "formation_challenge": KindCodec(
        handshake.decode_formation_challenge,
        handshake.encode_formation_challenge,
        CHALLENGE_SHAPE,
    ),
    "formation_version": KindCodec(
        handshake.decode_formation_version,
        handshake.encode_formation_version,
        VERSION_SHAPE,
    ),
    "formation_challenge_h2": KindCodec(
        handshake.decode_formation_challenge_h2,
        handshake.encode_formation_challenge_h2,
        CHALLENGE_SHAPE,
    ),
    "formation_response": KindCodec(
        handshake.decode_formation_response,
        handshake.encode_formation_response,
        RESPONSE_SHAPE,
    ),
    "formation_response_h2": KindCodec(
        handshake.decode_formation_response_h2,
        handshake.encode_formation_response_h2,
        RESPONSE_H2_SHAPE,
    ),
    "formation_result": KindCodec(
        handshake.decode_formation_result,
        handshake.encode_formation_result,
        RESULT_SHAPE,
    ),
    "channel_record": KindCodec(
        batches.decode_channel_record,
        batches.encode_channel_record,
        CHANNEL_RECORD_SHAPE,
    ),
    "lab_preamble": KindCodec(lab.decode_lab_preamble, lab.encode_lab_preamble, LAB_PREAMBLE_SHAPE),
    "lab_record": KindCodec(lab.decode_lab_record, lab.encode_lab_record, LAB_RECORD_SHAPE),
    "enrollment_request": KindCodec(
        enrollment.decode_enrollment_request,
        enrollment.encode_enrollment_request,
        ENROLLMENT_REQUEST_SHAPE,
    ),
    "enrollment_response": KindCodec(
        enrollment.decode_enrollment_response,
        enrollment.encode_enrollment_response,
        ENROLLMENT_RESPONSE_SHAPE,
    ),
    "mesh_certificate": KindCodec(
        certificates.decode_mesh_certificate,
        certificates.encode_mesh_certificate,
        MESH_CERTIFICATE_SHAPE,
    ),
    "membership_certificate": KindCodec(
        certificates.decode_membership_certificate,
        certificates.encode_membership_certificate,
        MEMBERSHIP_CERTIFICATE_SHAPE,
    ),
    "mesh_genesis": KindCodec(
        certificates.decode_mesh_genesis, certificates.encode_mesh_genesis, GENESIS_SHAPE
    ),
    "mesh_credentials": KindCodec(
        certificates.decode_mesh_credentials,
        certificates.encode_mesh_credentials,
        CREDENTIALS_SHAPE,
    ),
    "mesh_revocation": KindCodec(
        certificates.decode_mesh_revocation,
        certificates.encode_mesh_revocation,
        REVOCATION_SHAPE,
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

    The value may still not fit the layout: `encode` checks that.
    """
    return KINDS[kind].shape.from_value(value)
