"""Enrollment, certificates, genesis and credentials; their integers are little endian."""

from meshwire_spec.fields import (
    Blob,
    Chars,
    Choice,
    Fixed,
    Flag,
    Int8ub,
    Int16ul,
    Int64ul,
    Number,
    Text,
)
from meshwire_spec.layouts.compound import Layout, Nested, When
from meshwire_spec.numbers import (
    CALLSIGN_MAX,
    MESH_ID,
    PUBLIC_KEY,
    SECRET,
    SIGNATURE,
    EnrollmentStatus,
    MeshPolicy,
    Tier,
)


def _time(means: str) -> Number:
    return Number(Int64ul, means, unit="ms since 1970")


def _tier() -> Choice:
    return Choice(Int8ub, Tier, "rank of the node", reason="bad-enum")


def _policy() -> Choice:
    return Choice(Int8ub, MeshPolicy, "who may join", reason="bad-enum")


def _permissions() -> Number:
    return Number(Int8ub, "0x01 relay, 0x02 emergency, 0x04 enroll, 0x80 admin")


def _signature() -> Fixed:
    return Fixed(SIGNATURE, "Ed25519 over every byte before it")


ENROLLMENT_REQUEST = Layout(
    "enrollment_request",
    "Request of a node to the authority",
    {
        "public_key": Fixed(PUBLIC_KEY, "key of the node"),
        "mesh_id": Text(Int8ub, "mesh that it wants to join"),
        "node_id": Text(Int8ub, "name of the node"),
        "tier": _tier(),
        "token": Blob(Int16ul, "one-shot token"),
        "timestamp": _time("when it asked"),
        "signature": _signature(),
    },
)

MESH_CERTIFICATE = Layout(
    "mesh_certificate",
    "Certificate of a node, issued by the authority",
    {
        "subject": Fixed(PUBLIC_KEY, "key of the node"),
        "mesh_id": Text(Int8ub, "mesh that it belongs to"),
        "node_id": Text(Int8ub, "name of the node"),
        "tier": _tier(),
        "permissions": _permissions(),
        "issued_at": _time("first moment of validity"),
        "expires_at": _time("end of validity; 0 is never"),
        "issuer": Fixed(PUBLIC_KEY, "key of the authority"),
        "signature": _signature(),
    },
)

ENROLLMENT_RESPONSE = Layout(
    "enrollment_response",
    "Response of the authority",
    {
        "status": Choice(Int8ub, EnrollmentStatus, "outcome", reason="bad-enum"),
        "reason": Text(Int16ul, "free text; empty is none"),
        "has_certificate": Flag("whether a certificate follows", lenient=True),
        "certificate": When(
            "has_certificate", Nested(MESH_CERTIFICATE, "the certificate", length=Int16ul)
        ),
        "has_secret": Flag("whether a formation secret follows", lenient=True),
        "secret": When("has_secret", Blob(Int16ul, "the formation secret")),
        "timestamp": _time("when it answered"),
    },
)

MEMBERSHIP_CERTIFICATE = Layout(
    "membership_certificate",
    "The other certificate in use; not interchangeable",
    {
        "member": Fixed(PUBLIC_KEY, "key of the member"),
        "callsign": Text(Int8ub, "name of the member", ceiling=CALLSIGN_MAX),
        "mesh_id": Chars(MESH_ID, "mesh that it belongs to"),
        "issued_at": _time("first moment of validity"),
        "expires_at": _time("end of validity; 0 is never"),
        "permissions": _permissions(),
        "issuer": Fixed(PUBLIC_KEY, "key of the authority"),
        "signature": _signature(),
    },
)

MESH_REVOCATION = Layout(
    "mesh_revocation",
    "Revocation of the certificates of a node",
    {
        "subject": Fixed(PUBLIC_KEY, "key of the node"),
        "mesh_id": Text(Int8ub, "mesh that it belonged to"),
        "revoked_at": _time("when it was revoked"),
        "reason": Text(Int8ub, "free text; empty is none"),
        "issuer": Fixed(PUBLIC_KEY, "key of the authority"),
        "signature": Fixed(SIGNATURE, "Ed25519 over a prefix and every byte before it"),
    },
)

MESH_GENESIS = Layout(
    "mesh_genesis",
    "The secret from which a mesh begins",
    {
        "name": Text(Int16ul, "name of the mesh"),
        "root_secret": Fixed(SECRET, "secret of the mesh"),
        "authority_secret": Fixed(SECRET, "secret key of the authority"),
        "created_at": _time("when it began"),
        "policy": _policy(),
    },
)

MESH_CREDENTIALS = Layout(
    "mesh_credentials",
    "Credentials of a member",
    {
        "name": Text(Int16ul, "name of the mesh"),
        "mesh_id": Chars(MESH_ID, "id of the mesh"),
        "formation_secret": Fixed(SECRET, "secret of the formation"),
        "authority_public": Fixed(PUBLIC_KEY, "key of the authority"),
        "policy": _policy(),
    },
)
