"""Every number of the protocol: registries, limits, codes, windows and the collection table.

Constants are defined only here: pages are generated from these tables, the schemas and the
reference read them, and `vectors/numbers.json` restates them by hand so that a mistake is noticed.
This module computes nothing, and imports only types of the standard library.
"""
# Longer than 500 lines: every number is defined in one module.

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag, StrEnum
from typing import Final

SPEC_REVISION: Final = "sync/1 draft 1"
VERSION: Final = "0.1.0"
"""Version of the distribution, as `pyproject.toml` has it; its metadata take long to read."""
PROFILE: Final = "sync/1"
ALPN: Final = "cap/automerge/1"
ENROLLMENT_ALPN: Final = "peat/enroll/1"
HARNESS_VERSION: Final = 1

U8_MAX: Final = 2**8 - 1
U16_MAX: Final = 2**16 - 1
U32_MAX: Final = 2**32 - 1
U64_MAX: Final = 2**64 - 1

KINDS: Final = (
    "stream_frame",
    "sync_entry",
    "sync_batch",
    "tombstone",
    "tombstone_batch",
    "heartbeat",
    "negentropy_message",
    "formation_id",
    "formation_challenge",
    "formation_version",
    "formation_challenge_h2",
    "formation_response",
    "formation_response_h2",
    "formation_result",
    "channel_record",
    "lab_preamble",
    "lab_record",
    "enrollment_request",
    "enrollment_response",
    "mesh_certificate",
    "membership_certificate",
    "mesh_genesis",
    "mesh_credentials",
    "mesh_revocation",
)
"""Names of all message kinds, the same in schema, vectors, harness and command line."""


class FrameType(IntEnum):
    """Type byte of a stream frame and of an entry (page Frames)."""

    DELTA = 0x00
    SNAPSHOT = 0x01
    WINDOWED_HISTORY = 0x02
    TOMBSTONE = 0x04
    TOMBSTONE_BATCH = 0x05
    TOMBSTONE_ACK = 0x06
    BATCH = 0x07
    NEGENTROPY_INIT = 0x08
    NEGENTROPY_RESPONSE = 0x09


@dataclass(frozen=True, slots=True)
class FrameTypeRow:
    """One row of the frame type registry: name, and where the type may be sent."""

    type: FrameType
    name: str
    key: str
    payload: str
    sent: bool
    in_entry: bool


FRAME_TYPES: Final = (
    FrameTypeRow(FrameType.DELTA, "delta", "document key", "Automerge sync message", True, True),
    FrameTypeRow(FrameType.SNAPSHOT, "snapshot", "document key", "saved document", True, True),
    FrameTypeRow(FrameType.WINDOWED_HISTORY, "windowed-history", "-", "undefined", False, False),
    FrameTypeRow(
        FrameType.TOMBSTONE,
        "tombstone",
        "tombstones:{collection}:{document_id}",
        "tombstone",
        True,
        True,
    ),
    FrameTypeRow(
        FrameType.TOMBSTONE_BATCH,
        "tombstone-batch",
        "tombstones:batch",
        "tombstone_batch",
        True,
        False,
    ),
    FrameTypeRow(FrameType.TOMBSTONE_ACK, "tombstone-ack", "-", "undefined", False, False),
    FrameTypeRow(FrameType.BATCH, "batch", "batch", "sync_batch", True, False),
    FrameTypeRow(
        FrameType.NEGENTROPY_INIT,
        "negentropy-init",
        "_negentropy",
        "negentropy_message",
        True,
        False,
    ),
    FrameTypeRow(
        FrameType.NEGENTROPY_RESPONSE,
        "negentropy-response",
        "_negentropy",
        "negentropy_message",
        True,
        False,
    ),
)

BATCH_KEY: Final = "batch"
NEGENTROPY_KEY: Final = "_negentropy"
TOMBSTONE_BATCH_KEY: Final = "tombstones:batch"
TOMBSTONE_COLLECTION: Final = "tombstones"
RESERVED_KEYS: Final = (BATCH_KEY, NEGENTROPY_KEY, TOMBSTONE_BATCH_KEY)


class Direction(IntEnum):
    """Direction byte of a tombstone: how far it travels."""

    BIDIRECTIONAL = 0
    UP_ONLY = 1
    DOWN_ONLY = 2
    SYSTEM_WIDE = 3


class Tier(IntEnum):
    """Tier of a node in enrollment requests and certificates."""

    ENTERPRISE = 0
    REGIONAL = 1
    TACTICAL = 2
    EDGE = 3


class Permission(IntFlag):
    """Bits of the permissions in certificates; the others grant nothing."""

    RELAY = 0x01
    EMERGENCY = 0x02
    ENROLL = 0x04
    ADMIN = 0x80


class EnrollmentStatus(IntEnum):
    """Status byte of an enrollment response."""

    PENDING = 0
    APPROVED = 1
    DENIED = 2
    REVOKED = 3


class MeshPolicy(IntEnum):
    """Admission policy of a mesh, in genesis and credentials."""

    OPEN = 0
    CONTROLLED = 1
    STRICT = 2


class NegentropyMode(IntEnum):
    """Mode of one range of a negentropy message."""

    SKIP = 0
    FINGERPRINT = 1
    ID_LIST = 2


class LabRecordType(IntEnum):
    """Type byte of a record of the lab binding."""

    DATA = 0
    RESET = 1
    STOP = 2
    MAX_DATA = 3
    MAX_STREAM_DATA = 4
    MAX_STREAMS_BIDI = 5
    MAX_STREAMS_UNI = 6
    PING = 7
    PONG = 8
    CLOSE = 9


HEARTBEAT_MARKER: Final = 0x01
CHANNEL_MARKER: Final = 0x07
NEGENTROPY_VERSION: Final = 0x61
NEGENTROPY_EMPTY_REST: Final = bytes.fromhex("0000017f9c9e31ac8256ca2f258583df262dbc")
"""A range up to infinity with the fingerprint of no items: it alone may follow infinity."""
HANDSHAKE_VERSION: Final = 0x01
RESULT_REJECTED: Final = 0x00
RESULT_ACCEPTED: Final = 0x01
BATCH_TTL: Final = 5
READ_MESSAGE: Final = bytes.fromhex("42000001000000020102")
"""The Automerge sync message of an empty document: as a 0x00 it is a read."""
AUTOMERGE_SYNC_MARKERS: Final = (0x42, 0x43)

SYNC_CHANGES_MAX: Final = 2**18
"""Greatest number of changes in a sync message: more than the largest payload holds of changes with
one dependency, an actor of 16 bytes and one operation each."""
SYNC_FILTERS_MAX: Final = 16
"""Greatest number of Bloom filters in a sync message; the library sends one."""
SYNC_FILTER_BITS_MAX: Final = 256
"""Greatest number of bits per entry of a Bloom filter; the library uses 10."""
SYNC_FILTER_PROBES_MAX: Final = 64
"""Greatest number of probes of a Bloom filter; the library uses 7."""

# --- Limits, in bytes unless the name says otherwise ---------------------------------------

PAYLOAD_MAX: Final = 16 * 2**20
DOCUMENT_KEY_MAX: Final = 1024
FRAME_KEY_MAX: Final = 1035
COLLECTION_MAX: Final = 128
DOCUMENT_ID_MAX: Final = 895
AUTHOR_MAX: Final = 1024
REASON_MAX: Final = 1024
ENTRY_MIN: Final = 7
TOMBSTONE_MIN: Final = 25
TOMBSTONE_ELEMENT_MIN: Final = 29
SEND_ENTRIES_MAX: Final = 4096
SEND_TOMBSTONES_MAX: Final = 10000
NEGENTROPY_ID: Final = 32
NEGENTROPY_FINGERPRINT: Final = 16
NEGENTROPY_PREFIX_MAX: Final = 32
NEGENTROPY_TIMESTAMP_MAX: Final = 2**64 - 2
NEGENTROPY_FRAME_LIMIT: Final = 65536
NEGENTROPY_MESSAGE_MAX: Final = 131072
NEGENTROPY_ROUNDS_MIN: Final = 64
NEGENTROPY_ROUND_BYTES: Final = 80
FORMATION_ID_MAX: Final = 255
NONCE: Final = 32
HMAC: Final = 32
CHALLENGE_H2_MAX: Final = 1024
RESPONSE_H2_MIN: Final = 32
RESPONSE_H2_MAX: Final = 256
ENDPOINT_ID: Final = 32
PUBLIC_KEY: Final = 32
SECRET: Final = 32
SIGNATURE: Final = 64
MESH_ID: Final = 8
CALLSIGN_MAX: Final = 16
MESH_CERTIFICATE_MAX: Final = 148 + 2 * U8_MAX
"""Bytes of a mesh certificate whose texts are as long as they can be."""
REVOCATION_PREFIX: Final = b"meshwire revocation of a member." + b"\xff\xff"
"""What precedes a revocation where it is signed, and is not sent: with byte 32 above 16, and byte
33 that begins no text, no certificate and no request begins so (D-41)."""
ENROLLMENT_MAX: Final = 65536
ENROLLMENT_DENIALS_MAX: Final = 20
"""Requests of one address that an authority denies within `ENROLLMENT_RATE_S`, before it denies all
others of it without a look at their tokens."""
ENROLLMENT_DENIALS_ALL_MAX: Final = 200
"""The same of all addresses together."""
LAB_RECORD_MAX: Final = 65536
LAB_PING: Final = 8
CLOSE_REASON_MAX: Final = 1024

LAB_MAGIC: Final = b"MWLB"
LAB_VERSION: Final = 1
LAB_MAX_DATA: Final = 2**20
LAB_MAX_STREAM_DATA: Final = 2**18
LAB_MAX_STREAMS: Final = 64
STREAMS_ACCEPTED_MIN: Final = 64
QUIC_DATAGRAM: Final = 1200
"""Bytes of a datagram that every path of QUIC carries; a larger size is configured."""
FRAMES_BEFORE_ANSWER_MAX: Final = 64
"""Frames of an offer that may go before an answer that is owed, as many as a peer takes at once."""
STREAM_ID_MAX: Final = 2**62 - 1


@dataclass(frozen=True, slots=True)
class Limit:
    """A length or count with its last legal value; `refused_by` is `decode` or `accept`."""

    name: str
    minimum: int
    maximum: int
    unit: str
    refused_by: str
    kinds: tuple[str, ...]
    reason: str
    source: str


LIMITS: Final = (
    Limit("payload", 0, PAYLOAD_MAX, "bytes", "decode", ("stream_frame", "sync_entry"),
          "length-limit", "D-02"),
    Limit("document key", 1, DOCUMENT_KEY_MAX, "bytes", "accept", ("stream_frame", "sync_entry"),
          "length-limit", "D-01, D-11"),
    Limit("frame key", 0, FRAME_KEY_MAX, "bytes", "accept", ("stream_frame", "sync_entry"),
          "length-limit", "D-01"),
    Limit("collection", 1, COLLECTION_MAX, "bytes", "accept", ("tombstone",), "length-limit",
          "D-01, D-11"),
    Limit("document id", 1, DOCUMENT_ID_MAX, "bytes", "accept", ("tombstone",), "length-limit",
          "D-01, D-11"),
    Limit("author", 1, AUTHOR_MAX, "bytes", "accept", ("tombstone",), "length-limit", "D-01"),
    Limit("deletion reason", 0, REASON_MAX, "bytes", "accept", ("tombstone",), "length-limit",
          "D-01"),
    Limit("negentropy prefix", 0, NEGENTROPY_PREFIX_MAX, "bytes", "decode",
          ("negentropy_message",), "bad-bound", "2.8"),
    Limit("formation id", 0, FORMATION_ID_MAX, "bytes", "accept",
          ("formation_id", "formation_challenge", "formation_challenge_h2"), "length-limit",
          "D-30"),
    Limit("H2 challenge", 0, CHALLENGE_H2_MAX, "bytes", "decode", ("formation_challenge_h2",),
          "length-limit", "3"),
    Limit("H2 response", RESPONSE_H2_MIN, RESPONSE_H2_MAX, "bytes", "decode",
          ("formation_response_h2",), "length-limit", "3"),
    Limit("callsign", 0, CALLSIGN_MAX, "bytes", "decode", ("membership_certificate",),
          "length-limit", "6"),
    Limit("lab record body", 0, LAB_RECORD_MAX, "bytes", "decode", ("lab_record",),
          "length-limit", "lab binding"),
    Limit("close reason", 0, CLOSE_REASON_MAX, "bytes", "decode", ("lab_record",),
          "length-limit", "lab binding"),
)  # fmt: skip
"""Limits of a codec. Each has two hand-written vectors: last valid value, first invalid one."""

COUNT_BOUNDS: Final = {
    "sync_batch": ENTRY_MIN,
    "tombstone_batch": TOMBSTONE_ELEMENT_MIN,
    "negentropy_message": NEGENTROPY_ID,
}
"""A count is at most the remaining bytes divided by this minimum element size (D-03, D-138)."""

INBOUND_BYTES_MAX: Final = 2 * PAYLOAD_MAX
"""Bytes of received frames that are not over yet, of all peers together; recommended, no rule."""
CONNECTIONS_MAX: Final = 256
"""Connections that a listener has at a time; recommended, no rule."""
TOMBSTONES_MAX: Final = 100_000
"""Tombstones that a node stores; recommended, no rule."""
TOMBSTONE_BYTES_MAX: Final = PAYLOAD_MAX
"""Bytes of the tombstones that a node stores: one batch holds them all; recommended, no rule."""
TOMBSTONE_RESERVE_PERCENT: Final = 10
"""Further part of both bounds that deletions of the own user alone may use (TS-054)."""
BATCH_JOBS_MAX: Final = 256
"""Elements of one batch that may wait for their documents at a time; recommended, no rule."""

# --- Times ---------------------------------------------------------------------------------

HANDSHAKE_S: Final = 10.0
FRAME_STALL_S: Final = 30.0
HEARTBEAT_INTERVAL_S: Final = 5.0
EXPIRY_SWEEP_S: Final = 300.0
DEAD_PEER_S: Final = 5.0
RUN_ANSWER_S: Final = 10.0
TOMBSTONE_ANSWER_INTERVAL_S: Final = 60.0
SNAPSHOT_ANSWER_INTERVAL_S: Final = 1.0
POLL_ANSWER_INTERVAL_S: Final = 4.0
POLL_TRIAL_S: Final = 15.0
VERDICT_LINGER_S: Final = 1.0
QUIC_IDLE_S: Final = 15.0
QUIC_KEEP_ALIVE_S: Final = 5.0
ENROLLMENT_REQUEST_S: Final = 10.0
ENROLLMENT_CLOSE_S: Final = 30.0
ENROLLMENT_RATE_S: Final = 60.0
ENROLLMENT_AGE_MAX_MS: Final = 5 * 60 * 1000
CREATED_AHEAD_MAX_MS: Final = 24 * 3600 * 1000
CLOCK_AHEAD_MAX_MS: Final = 5 * 60 * 1000
TOMBSTONE_GRACE_PERCENT: Final = 10
DEFAULT_TOMBSTONE_TTL_S: Final = 86400
HISTORY_WINDOW_S: Final = 300
DOCUMENT_CALL_S: Final = 1.0
DOCUMENT_CALL_S_PER_KIB: Final = 0.004


@dataclass(frozen=True, slots=True)
class TimerRow:
    """A deadline, interval or age: who keeps it, since when, what follows, and by which rule.

    `fact` is the member of a node's facts that may state another value. `constant` is a name in
    this module; one that ends in `_PERCENT` is a share of the lifetime of a collection.
    """

    constant: str
    keeper: str
    since: str
    then: str
    rule: str
    fact: str = ""


TIMER_ROWS: Final = (
    TimerRow("HANDSHAKE_S", "acceptor", "the connection was established",
             "refuses the connection with `handshake-timeout`", "HS-035", "handshake_s"),
    TimerRow("HANDSHAKE_S", "initiator", "the connection was established",
             "refuses the connection with `handshake-timeout`", "HS-056", "handshake_s"),
    TimerRow("HANDSHAKE_S", "each side of the lab binding", "the TCP connection was opened",
             "refuses the connection with `handshake-timeout`, unless the preamble is whole",
             "LB-008", "handshake_s"),
    TimerRow("VERDICT_LINGER_S", "acceptor", "it has sent the result 0",
             "refuses the connection with `authentication-failed`", "HS-036"),
    TimerRow("VERDICT_LINGER_S", "side of the lab binding", "it has sent CLOSE",
             "ends the TCP connection", "LB-052"),
    TimerRow("QUIC_IDLE_S", "each side of a connection over QUIC",
             "a packet of its peer has come, at last", "ends the connection", "TR-038"),
    TimerRow("QUIC_KEEP_ALIVE_S", "each side of a connection over QUIC",
             "a packet of its peer has come, at last", "sends one that the peer has to confirm",
             "TR-039"),
    TimerRow("FRAME_STALL_S", "receiver", "the last byte came, inside a frame",
             "refuses the stream with `frame-stall`", "TR-012", "frame_stall_s"),
    TimerRow("FRAME_STALL_S", "receiver", "the last byte came on a uni stream, or it was opened",
             "refuses the stream with `frame-stall`", "LV-009", "frame_stall_s"),
    TimerRow("RUN_ANSWER_S", "client of a run", "it has sent its last message",
             "takes the run for ended", "NG-029"),
    TimerRow("TOMBSTONE_ANSWER_INTERVAL_S", "receiver",
             "it has answered a guarded frame of this peer and key", "may answer the next one",
             "TS-041"),
    TimerRow("SNAPSHOT_ANSWER_INTERVAL_S", "receiver",
             "it has sent its answer to a snapshot of this peer and key",
             "answers again, if it has to", "DC-026"),
    TimerRow("POLL_ANSWER_INTERVAL_S", "receiver",
             "it has answered a poll that left nothing to say, for this peer and key",
             "may answer the next one", "DC-057"),
    TimerRow("POLL_TRIAL_S", "receiver",
             "it has answered a confirmation of this peer for the first time",
             "answers no more of them, unless the peer has polled", "DC-060"),
    TimerRow("HEARTBEAT_INTERVAL_S", "sender", "it has sent a heartbeat",
             "sends the next one; recommended, no rule", "LV-001"),
    TimerRow("DEAD_PEER_S", "the side that dialled", "something has come from its peer, at last",
             "closes the connection, if two probes had no answer", "LV-010"),
    TimerRow("ENROLLMENT_REQUEST_S", "authority", "a connection for enrollment was established",
             "refuses the connection with `handshake-timeout`, unless the request is whole",
             "EN-073"),
    TimerRow("ENROLLMENT_CLOSE_S", "authority", "it has sent the end of its response",
             "closes the connection with `shutdown`, unless the client has", "EN-074"),
    TimerRow("ENROLLMENT_RATE_S", "authority", "it has denied a request", "no longer counts it",
             "EN-072"),
    TimerRow("ENROLLMENT_AGE_MAX_MS", "authority",
             "the `timestamp` of a request, before or after its clock",
             "denies the request with `not-now`", "EN-065"),
    TimerRow("CREATED_AHEAD_MAX_MS", "receiver", "the `created_at` of a batch, ahead of its clock",
             "refuses the batch with `created-ahead`", "BT-018"),
    TimerRow("CLOCK_AHEAD_MAX_MS", "receiver", "a tombstone was received",
             "counts the age of one from the future from here", "TS-035"),
    TimerRow("EXPIRY_SWEEP_S", "holder of a document with policy `implicit-ttl`",
             "the lifetime of the document has passed", "has removed it", "DC-077"),
    TimerRow("TOMBSTONE_GRACE_PERCENT", "receiver",
             "the lifetime of the collection, as an addition to it", "ignores the tombstone",
             "TS-032"),
    TimerRow("OPLOG_MESH_FIRST_SCAN_S", "node with a mesh", "it has started",
             "looks through the records of nodes", "OP-071"),
    TimerRow("OPLOG_MESH_SCAN_S", "node with a mesh", "it has looked through the records",
             "does so again", "OP-071"),
    TimerRow("OPLOG_MESH_FRESH_S", "node with a mesh", "the time of a record",
             "does not dial it any more", "OP-072"),
    TimerRow("OPLOG_MESH_AHEAD_MAX_S", "node with a mesh", "its clock, behind that of a record",
             "does not dial it yet", "OP-075"),
    TimerRow("OPLOG_MESH_RENEWAL_S", "node with a mesh", "it has written its own record",
             "has renewed it", "OP-083"),
)  # fmt: skip
"""Every deadline, interval and age of the protocol, except the lifetimes of collections."""

# --- Reasons and their application codes -----------------------------------------------------

CODE_BASE: Final = 0x4D570000


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason to refuse, with its application code on the wire."""

    name: str
    code: int
    scope: str
    means: str


def _own(number: int, name: str, scope: str, means: str) -> Reason:
    return Reason(name, CODE_BASE + number, scope, means)


REASON_ROWS: Final = (
    _own(1, "truncated", "message", "the bytes end inside a field"),
    _own(2, "trailing-bytes", "message", "bytes follow the last field of a message that is closed"),
    _own(3, "bad-utf8", "message", "a text field is not strict UTF-8"),
    _own(4, "unknown-type", "message", "a type byte that this profile does not have"),
    _own(5, "length-limit", "message", "a length is outside its limits"),
    _own(6, "count-limit", "message", "a count is more than the rest of the message can hold"),
    _own(7, "bad-direction", "message", "a tombstone direction above 3"),
    _own(8, "bad-enum", "message", "a value that its registry does not list"),
    _own(9, "bad-key", "message", "a key outside the grammar, or reserved"),
    _own(10, "bad-varint", "message", "a varint that is not minimal or exceeds 64 bits"),
    _own(11, "bad-bound", "message", "a range bound that cannot stand where it is"),
    _own(12, "bad-mode", "message", "a range mode above 2"),
    _own(13, "bad-version", "message", "a version byte of another protocol"),
    _own(14, "bad-marker", "message", "the first byte is not the marker of this record"),
    _own(15, "bad-magic", "message", "the preamble does not start with the magic"),
    _own(16, "bad-flag", "message", "a flag byte that is neither 0 nor 1"),
    _own(17, "bad-document", "stream", "Automerge refuses the payload"),
    _own(18, "document-limit", "stream", "a bound of sync messages or the node's own is exceeded"),
    _own(19, "frame-stall", "stream", "no byte came inside a frame for too long"),
    _own(20, "handshake-timeout", "connection", "the handshake was not over in time"),
    _own(21, "flow-control", "connection", "DATA beyond the credit given"),
    _own(22, "stream-limit", "connection", "a stream beyond the credit given"),
    _own(23, "bad-stream", "connection", "a record that the stream's kind or state forbids"),
    _own(24, "created-ahead", "stream", "a batch made more than a day ahead of the clock"),
    _own(25, "unsupported", "stream", "a frame of a part that this node does not offer"),
    _own(26, "wrong-alpn", "connection", "the preamble names another protocol"),
    _own(27, "not-authorised", "stream", "local policy closes this key to this peer"),
    _own(28, "internal", "stream", "the node could not do it, through no fault of the peer"),
    _own(29, "bad-value", "message", "a value that its field cannot hold; only when encoding"),
    _own(30, "no-progress", "stream", "a reconciliation goes on and settles nothing more"),
    _own(31, "too-many-rounds", "stream", "a reconciliation takes more rounds than its items need"),
    _own(32, "unexpected-message", "stream", "a message that its reconciliation does not await"),
    Reason("shutdown", 0, "connection", "orderly end: disconnect, shutdown or recycle"),
    Reason("authentication-failed", 1, "connection", "the formation handshake failed"),
    Reason("certificate-required", 2, "connection", "no valid certificate"),
    Reason("conflict-lower-wins", 100, "connection", "tie-break: dialler with the lower id"),
    Reason("conflict-yield", 101, "connection", "tie-break: dialler with the higher id"),
    Reason("conflict-outgoing", 102, "connection", "tie-break: acceptor closes its own"),
    Reason("conflict-incoming", 103, "connection", "tie-break: acceptor refuses"),
)
"""The closed registry of reasons. A number is never reused, even after a withdrawal."""

REASONS: Final = {row.name: row for row in REASON_ROWS}

# --- Enrollment ----------------------------------------------------------------------------


class EnrollmentDenial(StrEnum):
    """Why an authority denies a request that it could read, as its response states it."""

    RATE_LIMITED = "rate-limited"
    WRONG_MESH = "wrong-mesh"
    WRONG_SUBJECT = "wrong-subject"
    NOT_NOW = "not-now"
    BAD_SIGNATURE = "bad-signature"
    REVOKED = "revoked"
    UNKNOWN_TOKEN = "unknown-token"  # noqa: S105 - the name of a denial
    USED_TOKEN = "used-token"  # noqa: S105 - the same
    EXPIRED_TOKEN = "expired-token"  # noqa: S105 - the same
    WRONG_NODE = "wrong-node"


DENIAL_ROWS: Final = (
    (EnrollmentDenial.RATE_LIMITED, "too many requests of this address, or of all, were denied"),
    (EnrollmentDenial.WRONG_MESH, "it names the id of another mesh"),
    (EnrollmentDenial.WRONG_SUBJECT, "its key is not the endpoint id of the connection"),
    (EnrollmentDenial.NOT_NOW, "its time is too far from that of the authority"),
    (EnrollmentDenial.BAD_SIGNATURE, "its key has not signed it"),
    (EnrollmentDenial.REVOKED, "its key is revoked in the mesh"),
    (EnrollmentDenial.UNKNOWN_TOKEN, "the authority has given out no such token"),
    (EnrollmentDenial.USED_TOKEN, "a node was enrolled with this token"),
    (EnrollmentDenial.EXPIRED_TOKEN, "the term of the token is over"),
    (EnrollmentDenial.WRONG_NODE, "the token is for a node of another name"),
)
"""Each denial and what it means, in the order in which an authority checks."""

# --- Collections ---------------------------------------------------------------------------


class CertificateFault(StrEnum):
    """Why a certificate, or a revocation, does not count (page Certificates)."""

    NO_CERTIFICATE = "no-certificate"
    WRONG_SUBJECT = "wrong-subject"
    WRONG_MESH = "wrong-mesh"
    REVOKED = "revoked"
    NOT_YET_VALID = "not-yet-valid"
    EXPIRED = "expired"
    BAD_SIGNATURE = "bad-signature"
    UNKNOWN_ISSUER = "unknown-issuer"
    TOO_DEEP = "too-deep"
    ISSUER_NOT_VALID = "issuer-not-valid"
    ISSUER_MAY_NOT_ENROLL = "issuer-may-not-enroll"
    PERMISSIONS_EXCEEDED = "permissions-exceeded"
    TIER_EXCEEDED = "tier-exceeded"


FAULT_MEANINGS: Final = {
    CertificateFault.NO_CERTIFICATE: "none is held for the endpoint id",
    CertificateFault.WRONG_SUBJECT: "it is of another endpoint, or not of that of its document",
    CertificateFault.WRONG_MESH: "it is of another mesh",
    CertificateFault.REVOKED: "its subject is revoked",
    CertificateFault.NOT_YET_VALID: "it has not begun",
    CertificateFault.EXPIRED: "it has ended",
    CertificateFault.BAD_SIGNATURE: "its issuer has not signed it so, or it has no signature",
    CertificateFault.UNKNOWN_ISSUER: "its issuer is no root, and has no certificate of one",
    CertificateFault.TOO_DEEP: "no root has issued the certificate of its issuer",
    CertificateFault.ISSUER_NOT_VALID: "the certificate of its issuer does not count now",
    CertificateFault.ISSUER_MAY_NOT_ENROLL: "its issuer has no right to issue certificates",
    CertificateFault.PERMISSIONS_EXCEEDED: "it permits what its issuer may not pass on",
    CertificateFault.TIER_EXCEEDED: "its tier is above that of its issuer",
}
"""What each of them says."""


class SyncMode(StrEnum):
    """The way in which documents of a collection are sent."""

    FULL_HISTORY = "full-history"
    LATEST_ONLY = "latest-only"
    WINDOWED_HISTORY = "windowed-history"


class DeletionPolicy(StrEnum):
    """How documents of a collection are deleted; only `tombstone` obeys 0x04 and 0x05."""

    TOMBSTONE = "tombstone"
    SOFT_DELETE = "soft-delete"
    IMPLICIT_TTL = "implicit-ttl"


class Urgency(IntEnum):
    """How urgent documents of a collection are; the lowest number goes first."""

    CRITICAL = 1
    HIGH = 2
    NORMAL = 3
    LOW = 4
    BULK = 5


URGENCY_ROWS: Final = (
    (Urgency.CRITICAL, ("contact_reports", "alerts", "commands")),
    (Urgency.HIGH, ("targets", "imagery", "retasking")),
    (Urgency.LOW, ("beacons", "platforms", "heartbeats")),
    (Urgency.BULK, ("models", "logs", "training")),
)
"""The collections of each class; every other one is `NORMAL` (DC-075)."""
URGENCIES: Final = {name: urgency for urgency, names in URGENCY_ROWS for name in names}


@dataclass(frozen=True, slots=True)
class PolicyRow:
    """One row of the collection table; `ttl_s` is None where nothing expires."""

    name: str
    mode: SyncMode
    deletion: DeletionPolicy
    ttl_s: int | None
    delete_wins: bool | None
    resurrection: str
    tombstone_direction: Direction
    batch_direction: str


_FULL, _LATEST, _WINDOWED = SyncMode.FULL_HISTORY, SyncMode.LATEST_ONLY, SyncMode.WINDOWED_HISTORY
_TOMB, _SOFT, _TTL = (
    DeletionPolicy.TOMBSTONE,
    DeletionPolicy.SOFT_DELETE,
    DeletionPolicy.IMPLICIT_TTL,
)
_BOTH, _UP, _DOWN = Direction.BIDIRECTIONAL, Direction.UP_ONLY, Direction.DOWN_ONLY

COLLECTION_ROWS: Final = (
    PolicyRow("beacons", _LATEST, _TTL, 3600, None, "allow", _BOTH, "upward"),
    PolicyRow("platforms", _LATEST, _TTL, 3600, None, "allow", _BOTH, "upward"),
    PolicyRow("tracks", _LATEST, _TOMB, 3600, True, "allow", _BOTH, "broadcast"),
    PolicyRow("nodes", _LATEST, _TOMB, 86400, True, "re-delete", _BOTH, "upward"),
    PolicyRow("cells", _LATEST, _TOMB, 86400, True, "re-delete", _UP, "lateral"),
    PolicyRow("alerts", _FULL, _TOMB, 14400, False, "reject", _BOTH, "broadcast"),
    PolicyRow("contact_reports", _FULL, _SOFT, None, None, "re-delete", _UP, "broadcast"),
    PolicyRow("commands", _FULL, _SOFT, None, None, "re-delete", _DOWN, "downward"),
    PolicyRow("audit_logs", _FULL, _SOFT, None, None, "re-delete", _BOTH, "broadcast"),
    PolicyRow("node_states", _LATEST, _SOFT, None, None, "re-delete", _BOTH, "broadcast"),
    PolicyRow("squad_summaries", _LATEST, _SOFT, None, None, "re-delete", _BOTH, "broadcast"),
    PolicyRow("platoon_summaries", _LATEST, _SOFT, None, None, "re-delete", _BOTH, "broadcast"),
    PolicyRow("company_summaries", _LATEST, _SOFT, None, None, "re-delete", _BOTH, "broadcast"),
    PolicyRow("summaries", _FULL, _SOFT, None, None, "re-delete", _BOTH, "upward"),
    PolicyRow("events", _FULL, _SOFT, None, None, "re-delete", _BOTH, "broadcast"),
    PolicyRow("track_history", _WINDOWED, _SOFT, None, None, "re-delete", _BOTH, "broadcast"),
    PolicyRow("capability_history", _WINDOWED, _SOFT, None, None, "re-delete", _BOTH, "broadcast"),
)
DEFAULT_COLLECTION: Final = PolicyRow(
    "anything else", _FULL, _SOFT, None, None, "re-delete", _BOTH, "broadcast"
)
COLLECTIONS: Final = {row.name: row for row in COLLECTION_ROWS}
CERTIFICATES: Final = "certificates"
REVOCATIONS: Final = "revocations"
CLOSED_COLLECTIONS: Final = (CERTIFICATES, REVOCATIONS)
"""Collections of which a node takes nothing unless its user admits the sender (DC-073)."""


def collection_of(key: str) -> PolicyRow:
    """Return the row for a document key, by the text before the first colon (DC-050)."""
    return COLLECTIONS.get(key.partition(":")[0], DEFAULT_COLLECTION)


# --- Capabilities --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Capability:
    """A part of the profile, by the name with which a node states that it offers it."""

    name: str
    is_required: bool
    means: str
    page: str


CAPABILITY_ROWS: Final = (
    Capability("frames", True, "takes frames on bidi streams and sends its own", "03-frames.md"),
    Capability("deltas", True, "takes frames of type 0x00, and answers and sends them",
               "09-documents.md"),
    Capability("snapshots", True, "takes frames of type 0x01, and answers and sends them",
               "09-documents.md"),
    Capability("batches", True, "takes frames of type 0x07, entry by entry", "04-batches.md"),
    Capability("tombstones", True,
               "takes frames of types 0x04 and 0x05, keeps deleted documents deleted, and sends "
               "what it keeps", "05-tombstones.md"),
    Capability("reads", True, "answers reads, of keys without a document too", "09-documents.md"),
    Capability("reconciliation", False,
               "answers a reconciliation that begins with a frame of type 0x08",
               "06-reconciliation.md"),
    Capability("reconciles", False,
               "begins a reconciliation of its own on each connection", "06-reconciliation.md"),
    Capability("detection", False,
               "serves initiators of dialects H1 and H2, and dials again in the other one",
               "08-handshake.md"),
    Capability("mutual-proof", False,
               "proves itself where it has accepted, and refuses an acceptor that does not",
               "08-handshake.md"),
    Capability("control", False,
               "serves its user at a control socket, whose path is in the member `control`",
               "15-running.md"),
    Capability("roles", False,
               "takes the roles of its peers at that socket, and sends by direction",
               "15-running.md"),
    Capability("enrollment", False,
               "enrolls others at the addresses in the member `enrollment`, and gives out tokens "
               "at its control socket", "14-enrollment.md"),
    Capability("certificates", False,
               "takes there the roots of the certificates that it demands, for tests",
               "23-certificates.md"),
    Capability("test-control", False,
               "carries out `clock` and `reset` on that socket: it was started for tests",
               "15-running.md"),
)  # fmt: skip
"""What a `sync/1` node can state in its facts, in the order in which a ready line names them."""

CAPABILITIES: Final = tuple(row.name for row in CAPABILITY_ROWS if row.is_required)
"""Capabilities that every `sync/1` target must have; optional ones are declared beside them."""
OPTIONAL_CAPABILITIES: Final = tuple(row.name for row in CAPABILITY_ROWS if not row.is_required)
"""Capabilities that a `sync/1` target may have; without one, its cases are not applicable."""

# Signed operations.
OPLOG_PROFILE: Final = "oplog/1"
OPLOG_QUEUE_COUNT_MAX: Final = 200_000
"""Number of operations that wait at once."""
OPLOG_QUEUE_BYTES_MAX: Final = 256 * 2**20
"""Memory of the operations that wait, in bytes."""
OPLOG_SEQUENCE_MAX: Final = 2**53 - 1
"""Largest sequence: beyond it a JSON number no longer names one (D-122)."""
OPLOG_SEQUENCE_AHEAD_MAX: Final = 2**20
"""How far a sequence may be above every one that was applied (D-122)."""
OPLOG_COPIES_MAX: Final = 64
"""Number of signatures of one operation that are kept (D-117)."""
OPLOG_PATH_MAX: Final = 64
"""Number of segments of a path."""
OPLOG_DEPENDENCIES_MAX: Final = 1024
"""Number of declared dependencies of one operation."""
OPLOG_DEPTH_MAX: Final = 125
"""Nesting of content: deployed peers read JSON 127 deep, and content begins two levels in."""
OPLOG_JOIN_BYTES_MAX: Final = 1024
"""Largest message before both sides of a session have proven themselves, in bytes."""
OPLOG_TOKEN_MIN: Final = 16
"""Fewest bytes of a join token: who knows a proof can try short ones."""
OPLOG_MESSAGE_BYTES_MAX: Final = 64 * 2**20
"""Largest message that is read, in bytes: old peers send their whole history in one."""
OPLOG_CHUNK_BYTES_MAX: Final = 2**20
"""Largest bulk that is sent, in bytes, unless it has one operation (D-126)."""
OPLOG_OPERATION_BYTES_MAX: Final = 4 * 2**20
"""Largest JSON text of one operation that is read."""
OPLOG_RATE_MAX: Final = 10_000
"""Number of operations that are taken from one session in a second, on average."""
OPLOG_AUTHOR_COUNT_MAX: Final = 500_000
"""Number of applied operations of one signer."""
OPLOG_MESH_FIRST_SCAN_S: Final = 10
OPLOG_MESH_SCAN_S: Final = 60
"""Seconds from the start to the first scan of the mesh manager, and from one scan to the next."""
OPLOG_MESH_FRESH_S: Final = 600
"""Age in seconds from which the record of a node is too old."""
OPLOG_MESH_AHEAD_MAX_S: Final = 60
"""At `strict`: how many seconds from now the time of a record may be."""
OPLOG_MESH_RENEWAL_S: Final = 240
"""Seconds between two renewals of a node's own record."""
OPLOG_MESH_ADDRESS_MAX: Final = 512
"""At `strict`: characters of the longest address of a record."""
