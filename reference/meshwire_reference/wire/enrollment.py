"""The enrollment request and its response; all integers little endian (D-13)."""

from dataclasses import dataclass, field
from typing import Final

from meshwire_reference.wire.certificates import (
    MeshCertificate,
    encode_mesh_certificate,
    read_mesh_certificate,
)
from meshwire_reference.wire.cursor import U8, U16_LE, U64_LE, Reader, Writer
from meshwire_reference.wire.errors import Unencodable
from meshwire_spec.numbers import PUBLIC_KEY, SIGNATURE, EnrollmentStatus, Tier

PRESENT: Final = 1


@dataclass(frozen=True, slots=True)
class EnrollmentRequest:
    """A node requests membership; the signature covers everything before it."""

    public_key: bytes
    mesh_id: str
    node_id: str
    tier: Tier
    token: bytes = field(repr=False)
    timestamp: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class EnrollmentResponse:
    """The answer; a flag of 1 means that its part follows, any other value that it does not."""

    status: EnrollmentStatus
    reason: str
    has_certificate: int
    certificate: MeshCertificate | None
    has_secret: int
    secret: bytes | None = field(repr=False)
    timestamp: int


def decode_enrollment_request(data: bytes) -> EnrollmentRequest:
    """Decode a request; raises Malformed."""
    reader = Reader(data)
    request = EnrollmentRequest(
        public_key=reader.fixed(PUBLIC_KEY, "public_key"),
        mesh_id=reader.text(U8, "mesh_id"),
        node_id=reader.text(U8, "node_id"),
        tier=Tier(reader.listed(U8, tuple(Tier), "bad-enum", "tier")),
        token=reader.block(U16_LE, "token"),
        timestamp=reader.number(U64_LE, "timestamp"),
        signature=reader.fixed(SIGNATURE, "signature"),
    )
    reader.close()
    return request


# EN-001
def encode_enrollment_request(request: EnrollmentRequest) -> bytes:
    """Encode a request; raises Unencodable."""
    writer = Writer()
    writer.fixed(request.public_key, PUBLIC_KEY, "public_key")
    writer.text(U8, request.mesh_id, "mesh_id")
    writer.text(U8, request.node_id, "node_id")
    writer.listed(U8, request.tier, tuple(Tier), "bad-enum", "tier")
    writer.block(U16_LE, request.token, "token")
    writer.number(U64_LE, request.timestamp, "timestamp")
    writer.fixed(request.signature, SIGNATURE, "signature")
    return writer.done()


def decode_enrollment_response(data: bytes) -> EnrollmentResponse:
    """Decode a response; raises Malformed."""
    reader = Reader(data)
    status = EnrollmentStatus(reader.listed(U8, tuple(EnrollmentStatus), "bad-enum", "status"))
    reason = reader.text(U16_LE, "reason")
    has_certificate = reader.number(U8, "has_certificate")
    certificate = None
    if has_certificate == PRESENT:
        size = reader.length(U16_LE, "certificate", None)
        # EN-016
        certificate = read_mesh_certificate(reader.inner(size, "certificate"))
    has_secret = reader.number(U8, "has_secret")
    secret = reader.block(U16_LE, "secret") if has_secret == PRESENT else None
    timestamp = reader.number(U64_LE, "timestamp")
    reader.close()
    return EnrollmentResponse(
        status, reason, has_certificate, certificate, has_secret, secret, timestamp
    )


# EN-002
def encode_enrollment_response(response: EnrollmentResponse) -> bytes:
    """Encode a response; raises Unencodable, also if a flag contradicts the part it announces."""
    writer = Writer()
    writer.listed(U8, response.status, tuple(EnrollmentStatus), "bad-enum", "status")
    writer.text(U16_LE, response.reason, "reason")
    _write_flag(writer, response.has_certificate, response.certificate, "has_certificate")
    if response.certificate is not None:
        start = len(writer.buffer) + U16_LE.size
        try:
            content = encode_mesh_certificate(response.certificate)
        except Unencodable as unencodable:
            raise unencodable.within("certificate", start) from unencodable
        writer.block(U16_LE, content, "certificate")
    _write_flag(writer, response.has_secret, response.secret, "has_secret")
    if response.secret is not None:
        writer.block(U16_LE, response.secret, "secret")
    writer.number(U64_LE, response.timestamp, "timestamp")
    return writer.done()


def _write_flag(writer: Writer, flag: int, announced: object, name: str) -> None:
    if (flag == PRESENT) != (announced is not None):
        raise writer.fault("bad-value", name)
    writer.number(U8, flag, name)
