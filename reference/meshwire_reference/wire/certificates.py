"""Certificates of members, genesis and credentials of a mesh; integers are little endian (D-13).

Signatures are carried, not checked: that is up to the holder of the keys.
"""

from dataclasses import dataclass

from meshwire_reference.wire.cursor import U8, U16_LE, U64_LE, Reader, Writer
from meshwire_spec.numbers import (
    CALLSIGN_MAX,
    MESH_ID,
    PUBLIC_KEY,
    SECRET,
    SIGNATURE,
    MeshPolicy,
    Tier,
)


@dataclass(frozen=True, slots=True)
class MeshCertificate:
    """Certifies that `subject` is a node of the mesh; with `expires_at` 0 it never expires."""

    subject: bytes
    mesh_id: str
    node_id: str
    tier: Tier
    permissions: int
    issued_at: int
    expires_at: int
    issuer: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class MembershipCertificate:
    """The same fields in another order and with a callsign: not interchangeable with the other."""

    member: bytes
    callsign: str
    mesh_id: str
    issued_at: int
    expires_at: int
    permissions: int
    issuer: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class MeshRevocation:
    """Revokes every certificate of `subject` in a mesh, for good."""

    subject: bytes
    mesh_id: str
    revoked_at: int
    reason: str
    issuer: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class MeshGenesis:
    """The genesis of a mesh; both secrets are left out of its repr."""

    name: str
    root_secret: bytes
    authority_secret: bytes
    created_at: int
    policy: MeshPolicy

    def __repr__(self) -> str:
        return f"MeshGenesis(name={self.name!r}, ...)"


@dataclass(frozen=True, slots=True)
class MeshCredentials:
    """The credentials of a member; the formation secret is left out of its repr."""

    name: str
    mesh_id: str
    formation_secret: bytes
    authority_public: bytes
    policy: MeshPolicy

    def __repr__(self) -> str:
        return f"MeshCredentials(name={self.name!r}, mesh_id={self.mesh_id!r}, ...)"


def read_mesh_certificate(reader: Reader) -> MeshCertificate:
    """Read a certificate that ends where the reader does; raises Malformed."""
    certificate = MeshCertificate(
        subject=reader.fixed(PUBLIC_KEY, "subject"),
        mesh_id=reader.text(U8, "mesh_id"),
        node_id=reader.text(U8, "node_id"),
        # EN-013
        tier=Tier(reader.listed(U8, tuple(Tier), "bad-enum", "tier")),
        permissions=reader.number(U8, "permissions"),
        issued_at=reader.number(U64_LE, "issued_at"),
        expires_at=reader.number(U64_LE, "expires_at"),
        issuer=reader.fixed(PUBLIC_KEY, "issuer"),
        signature=reader.fixed(SIGNATURE, "signature"),
    )
    reader.close()
    return certificate


def decode_mesh_certificate(data: bytes) -> MeshCertificate:
    """Decode a certificate; raises Malformed."""
    return read_mesh_certificate(Reader(data))


# EN-003
def encode_mesh_certificate(certificate: MeshCertificate) -> bytes:
    """Encode a certificate; raises Unencodable."""
    writer = Writer()
    writer.fixed(certificate.subject, PUBLIC_KEY, "subject")
    writer.text(U8, certificate.mesh_id, "mesh_id")
    writer.text(U8, certificate.node_id, "node_id")
    writer.listed(U8, certificate.tier, tuple(Tier), "bad-enum", "tier")
    writer.number(U8, certificate.permissions, "permissions")
    writer.number(U64_LE, certificate.issued_at, "issued_at")
    writer.number(U64_LE, certificate.expires_at, "expires_at")
    writer.fixed(certificate.issuer, PUBLIC_KEY, "issuer")
    writer.fixed(certificate.signature, SIGNATURE, "signature")
    return writer.done()


def decode_membership_certificate(data: bytes) -> MembershipCertificate:
    """Decode a membership certificate; raises Malformed."""
    reader = Reader(data)
    certificate = MembershipCertificate(
        member=reader.fixed(PUBLIC_KEY, "member"),
        # EN-015
        callsign=reader.text(U8, "callsign", CALLSIGN_MAX),
        mesh_id=reader.fixed_text(MESH_ID, "mesh_id"),
        issued_at=reader.number(U64_LE, "issued_at"),
        expires_at=reader.number(U64_LE, "expires_at"),
        permissions=reader.number(U8, "permissions"),
        issuer=reader.fixed(PUBLIC_KEY, "issuer"),
        signature=reader.fixed(SIGNATURE, "signature"),
    )
    reader.close()
    return certificate


# EN-004
def encode_membership_certificate(certificate: MembershipCertificate) -> bytes:
    """Encode a membership certificate; raises Unencodable."""
    writer = Writer()
    writer.fixed(certificate.member, PUBLIC_KEY, "member")
    writer.text(U8, certificate.callsign, "callsign", CALLSIGN_MAX)
    writer.fixed(writer.utf8(certificate.mesh_id, "mesh_id"), MESH_ID, "mesh_id")
    writer.number(U64_LE, certificate.issued_at, "issued_at")
    writer.number(U64_LE, certificate.expires_at, "expires_at")
    writer.number(U8, certificate.permissions, "permissions")
    writer.fixed(certificate.issuer, PUBLIC_KEY, "issuer")
    writer.fixed(certificate.signature, SIGNATURE, "signature")
    return writer.done()


def decode_mesh_revocation(data: bytes) -> MeshRevocation:
    """Decode a revocation; raises Malformed."""
    reader = Reader(data)
    revocation = MeshRevocation(
        subject=reader.fixed(PUBLIC_KEY, "subject"),
        mesh_id=reader.text(U8, "mesh_id"),
        revoked_at=reader.number(U64_LE, "revoked_at"),
        reason=reader.text(U8, "reason"),
        issuer=reader.fixed(PUBLIC_KEY, "issuer"),
        signature=reader.fixed(SIGNATURE, "signature"),
    )
    reader.close()
    return revocation


# EN-006
def encode_mesh_revocation(revocation: MeshRevocation) -> bytes:
    """Encode a revocation; raises Unencodable."""
    writer = Writer()
    writer.fixed(revocation.subject, PUBLIC_KEY, "subject")
    writer.text(U8, revocation.mesh_id, "mesh_id")
    writer.number(U64_LE, revocation.revoked_at, "revoked_at")
    writer.text(U8, revocation.reason, "reason")
    writer.fixed(revocation.issuer, PUBLIC_KEY, "issuer")
    writer.fixed(revocation.signature, SIGNATURE, "signature")
    return writer.done()


def decode_mesh_genesis(data: bytes) -> MeshGenesis:
    """Decode a genesis; raises Malformed."""
    reader = Reader(data)
    genesis = MeshGenesis(
        name=reader.text(U16_LE, "name"),
        root_secret=reader.fixed(SECRET, "root_secret"),
        authority_secret=reader.fixed(SECRET, "authority_secret"),
        created_at=reader.number(U64_LE, "created_at"),
        policy=MeshPolicy(reader.listed(U8, tuple(MeshPolicy), "bad-enum", "policy")),
    )
    reader.close()
    return genesis


# EN-005
def encode_mesh_genesis(genesis: MeshGenesis) -> bytes:
    """Encode a genesis; raises Unencodable."""
    writer = Writer()
    writer.text(U16_LE, genesis.name, "name")
    writer.fixed(genesis.root_secret, SECRET, "root_secret")
    writer.fixed(genesis.authority_secret, SECRET, "authority_secret")
    writer.number(U64_LE, genesis.created_at, "created_at")
    writer.listed(U8, genesis.policy, tuple(MeshPolicy), "bad-enum", "policy")
    return writer.done()


def decode_mesh_credentials(data: bytes) -> MeshCredentials:
    """Decode a member's credentials; raises Malformed."""
    reader = Reader(data)
    credentials = MeshCredentials(
        name=reader.text(U16_LE, "name"),
        mesh_id=reader.fixed_text(MESH_ID, "mesh_id"),
        formation_secret=reader.fixed(SECRET, "formation_secret"),
        authority_public=reader.fixed(PUBLIC_KEY, "authority_public"),
        policy=MeshPolicy(reader.listed(U8, tuple(MeshPolicy), "bad-enum", "policy")),
    )
    reader.close()
    return credentials


def encode_mesh_credentials(credentials: MeshCredentials) -> bytes:
    """Encode a member's credentials; raises Unencodable."""
    writer = Writer()
    writer.text(U16_LE, credentials.name, "name")
    writer.fixed(writer.utf8(credentials.mesh_id, "mesh_id"), MESH_ID, "mesh_id")
    writer.fixed(credentials.formation_secret, SECRET, "formation_secret")
    writer.fixed(credentials.authority_public, PUBLIC_KEY, "authority_public")
    writer.listed(U8, credentials.policy, tuple(MeshPolicy), "bad-enum", "policy")
    return writer.done()
