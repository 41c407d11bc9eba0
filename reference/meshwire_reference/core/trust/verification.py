"""The verification of a certificate: against configured roots, at a time, for one endpoint id.

Nothing is remembered of an earlier verification: a certificate whose issuer has expired or was
revoked since is refused at its next use (D-37).
"""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from meshwire_reference.core.trust.signing import has_valid_signature
from meshwire_reference.wire.certificates import (
    MembershipCertificate,
    MeshCertificate,
    MeshRevocation,
)
from meshwire_spec.numbers import CertificateFault, Permission

NOT_DELEGATED: Final = Permission.ENROLL | Permission.ADMIN
"""Permissions that only a root grants."""


@dataclass(frozen=True, slots=True)
class Trust:
    """What certificates are verified against.

    `roots` are the public keys that the configuration names, `certificates` those that are held,
    by their subjects, and `revoked` the subjects that a root has revoked.
    """

    mesh_id: str
    roots: frozenset[bytes]
    certificates: Mapping[bytes, tuple[MeshCertificate, ...]] = field(default_factory=dict)
    revoked: AbstractSet[bytes] = frozenset()


Certificate: TypeAlias = MeshCertificate | MembershipCertificate
"""Both count alike; a membership certificate has no tier, and its holder is no delegate."""

Check: TypeAlias = Callable[[Certificate, Trust, int], bool]
"""Returns True if a certificate has a fault, under this trust and at this time in ms."""

# CT-010, CT-012, CT-013, CT-014, CT-015
OWN_CHECKS: Final[tuple[tuple[CertificateFault, Check], ...]] = (
    (CertificateFault.WRONG_MESH, lambda one, trust, _now: one.mesh_id != trust.mesh_id),
    (CertificateFault.REVOKED, lambda one, trust, _now: subject_of(one) in trust.revoked),
    (CertificateFault.NOT_YET_VALID, lambda one, _trust, now: now < one.issued_at),
    (
        CertificateFault.EXPIRED,
        lambda one, _trust, now: one.expires_at != 0 and now >= one.expires_at,
    ),
    (CertificateFault.BAD_SIGNATURE, lambda one, _trust, _now: not has_valid_signature(one)),
)
"""Faults of a certificate itself, whatever its issuer; signatures last, since they cost most."""

Passed: TypeAlias = Callable[[Certificate, MeshCertificate], bool]
"""Returns True if a certificate is more than its issuer's certificate, the second, may issue."""

# CT-019, CT-020, CT-021
DELEGATION_CHECKS: Final[tuple[tuple[CertificateFault, Passed], ...]] = (
    (
        CertificateFault.ISSUER_MAY_NOT_ENROLL,
        lambda _one, issuer: not issuer.permissions & Permission.ENROLL,
    ),
    (
        CertificateFault.PERMISSIONS_EXCEEDED,
        lambda one, issuer: bool(one.permissions & (NOT_DELEGATED | ~issuer.permissions)),
    ),
    (
        CertificateFault.TIER_EXCEEDED,
        lambda one, issuer: isinstance(one, MeshCertificate) and one.tier < issuer.tier,
    ),
)


def subject_of(certificate: Certificate) -> bytes:
    """Return the key that a certificate certifies."""
    if isinstance(certificate, MembershipCertificate):
        return certificate.member
    return certificate.subject


def verify_certificate(
    certificate: Certificate, trust: Trust, subject: bytes, now_ms: int
) -> CertificateFault | None:
    """Return why a certificate does not certify an endpoint id now, or None if it does.

    `now_ms` is the time in ms since 1970. A certificate with several faults has one of them.
    """
    # CT-011
    if subject_of(certificate) != subject:
        return CertificateFault.WRONG_SUBJECT
    fault = _own_fault(certificate, trust, now_ms)
    if fault is not None or certificate.issuer in trust.roots:
        return fault
    return _delegation_fault(certificate, trust, now_ms)


def verify_subject(trust: Trust, subject: bytes, now_ms: int) -> CertificateFault | None:
    """Return why no certificate that is held certifies an endpoint id now, or None if one does."""
    faults = [
        verify_certificate(one, trust, subject, now_ms)
        for one in trust.certificates.get(subject, ())
    ]
    if None in faults:
        return None
    return faults[0] if faults else CertificateFault.NO_CERTIFICATE


def verify_revocation(revocation: MeshRevocation, trust: Trust) -> CertificateFault | None:
    """Return why a revocation does not count, or None if it does."""
    # CT-022
    if revocation.mesh_id != trust.mesh_id:
        return CertificateFault.WRONG_MESH
    if revocation.issuer not in trust.roots:
        return CertificateFault.UNKNOWN_ISSUER
    if not has_valid_signature(revocation):
        return CertificateFault.BAD_SIGNATURE
    return None


def _own_fault(one: Certificate, trust: Trust, now_ms: int) -> CertificateFault | None:
    return next((fault for fault, has in OWN_CHECKS if has(one, trust, now_ms)), None)


def _delegation_fault(one: Certificate, trust: Trust, now_ms: int) -> CertificateFault | None:
    """Return why the holder of a certificate may not issue this one, or None if one of them may.

    Each certificate of the issuer is tried, and none of its issuer's: the depth is 1 (D-37).
    """
    faults = [
        _issuer_fault(one, issuer, trust, now_ms)
        for issuer in trust.certificates.get(one.issuer, ())
    ]
    if None in faults:
        return None
    return faults[0] if faults else CertificateFault.UNKNOWN_ISSUER


def _issuer_fault(
    one: Certificate, issuer: MeshCertificate, trust: Trust, now_ms: int
) -> CertificateFault | None:
    if issuer.issuer not in trust.roots:
        # CT-016, CT-017
        # Who certifies itself is a root, and only those that are configured count (D-36).
        is_root = issuer.issuer == issuer.subject
        return CertificateFault.UNKNOWN_ISSUER if is_root else CertificateFault.TOO_DEEP
    # CT-018
    if _own_fault(issuer, trust, now_ms) is not None:
        return CertificateFault.ISSUER_NOT_VALID
    return next((fault for fault, passes in DELEGATION_CHECKS if passes(one, issuer)), None)
