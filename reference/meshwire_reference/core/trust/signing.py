"""Signatures of certificates and revocations: an authority makes them, and others check them.

A certificate is signed over the bytes before its signature, as deployed peers do. A revocation is
signed over a prefix besides, so that none of its signed texts is that of another object (D-41).
"""

from dataclasses import dataclass, replace
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from meshwire_reference.core.identity import public_key_of
from meshwire_reference.wire.certificates import (
    MembershipCertificate,
    MeshCertificate,
    MeshRevocation,
    encode_membership_certificate,
    encode_mesh_certificate,
    encode_mesh_revocation,
)
from meshwire_spec.numbers import REVOCATION_PREFIX, SIGNATURE, Tier

UNSIGNED: Final = bytes(SIGNATURE)
"""In the place of a signature, until the bytes before it are known."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a certificate says of a node. Times are in ms since 1970; `expires_at` 0 is never."""

    subject: bytes
    mesh_id: str
    node_id: str
    tier: Tier
    permissions: int
    issued_at: int
    expires_at: int = 0


def issue_certificate(authority_seed: bytes, grant: Grant) -> MeshCertificate:
    """Return a certificate of `grant`, signed by the key of this seed; raises Unencodable."""
    issued = MeshCertificate(
        subject=grant.subject,
        mesh_id=grant.mesh_id,
        node_id=grant.node_id,
        tier=grant.tier,
        permissions=int(grant.permissions),
        issued_at=grant.issued_at,
        expires_at=grant.expires_at,
        issuer=public_key_of(authority_seed),
        signature=UNSIGNED,
    )
    return replace(issued, signature=_sign(authority_seed, signed_bytes(issued)))


def issue_revocation(
    authority_seed: bytes, subject: bytes, mesh_id: str, revoked_at: int, reason: str = ""
) -> MeshRevocation:
    """Return the revocation of a node at a time in ms since 1970; raises Unencodable."""
    issuer = public_key_of(authority_seed)
    revoked = MeshRevocation(subject, mesh_id, revoked_at, reason, issuer, UNSIGNED)
    return replace(revoked, signature=_sign(authority_seed, signed_bytes(revoked)))


def signed_bytes(message: MeshCertificate | MembershipCertificate | MeshRevocation) -> bytes:
    """Return the bytes over which a certificate or revocation is signed; raises Unencodable."""
    # CT-001
    if isinstance(message, MeshCertificate):
        return encode_mesh_certificate(message)[:-SIGNATURE]
    if isinstance(message, MembershipCertificate):
        return encode_membership_certificate(message)[:-SIGNATURE]
    # CT-002
    return REVOCATION_PREFIX + encode_mesh_revocation(message)[:-SIGNATURE]


def has_valid_signature(message: MeshCertificate | MembershipCertificate | MeshRevocation) -> bool:
    """Return True if the issuer that a certificate or revocation names has signed it."""
    try:
        issuer = Ed25519PublicKey.from_public_bytes(message.issuer)
        issuer.verify(message.signature, signed_bytes(message))
    except InvalidSignature:
        return False
    return True


def _sign(seed: bytes, content: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).sign(content)
