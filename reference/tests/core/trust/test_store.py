"""What a node trusts: what it holds of files and documents, and what it never forgets."""

from __future__ import annotations

import pytest

from meshwire_reference.core.identity import public_key_of
from meshwire_reference.core.trust.signing import Grant, issue_certificate, issue_revocation
from meshwire_reference.core.trust.store import TrustSettings, TrustStore
from meshwire_reference.wire.certificates import (
    MeshCertificate,
    encode_mesh_certificate,
    encode_mesh_revocation,
)
from meshwire_spec.numbers import CertificateFault, Permission, Tier

NOW = 1_700_000_000_000
ROOT, DELEGATE, NODE, OTHER = (bytes([0x11 * n]) * 32 for n in (1, 2, 3, 4))
MESH = "3F1A90C2"
SUBJECT = public_key_of(NODE)
KEY = f"certificates:{SUBJECT.hex()}"
REVOKED = f"revocations:{SUBJECT.hex()}"


def issued(
    seed: bytes = ROOT, subject: bytes = SUBJECT, expires_at: int = 0, permissions: int = 3
) -> MeshCertificate:
    """Return a certificate of the mesh."""
    grant = Grant(subject, MESH, "node-7", Tier.EDGE, permissions, NOW - 5, expires_at)
    return issue_certificate(seed, grant)


def store(*certificates: MeshCertificate) -> TrustStore:
    """Return what a node trusts whose files have these certificates."""
    return TrustStore(
        TrustSettings(MESH, frozenset([public_key_of(ROOT)]), certificates=certificates)
    )


def test_a_document_has_one_certificate() -> None:
    """CT-030: a later one replaces it, beside those of files, and none takes it away."""
    trust = store(issued(expires_at=NOW + 10))
    ends = []
    for content in (
        encode_mesh_certificate(issued(expires_at=NOW + 30)),
        encode_mesh_certificate(issued(expires_at=NOW + 20)),
        None,
    ):
        trust.take(KEY, content)
        ends.append([ms for ms in (5, 15, 25) if trust.fault_of(SUBJECT, NOW + ms) is None])

    assert ends == [[5, 15, 25], [5, 15], [5]]


@pytest.mark.parametrize(
    ("key", "content", "reason"),
    [
        (KEY, encode_mesh_certificate(issued()) + b"\x00", "trailing-bytes"),
        (KEY, encode_mesh_certificate(issued())[:-1], "truncated"),
        (KEY, encode_mesh_certificate(issued(subject=public_key_of(OTHER))), "wrong-subject"),
        (KEY.upper().replace("CERTIFICATES", "certificates"), encode_mesh_certificate(issued()),
         "wrong-subject"),
        ("certificates:no-key", encode_mesh_certificate(issued()), "wrong-subject"),
        (KEY, None, "no-certificate"),
        (REVOKED, None, "bad-signature"),
        (REVOKED, b"\x00" * 99, "truncated"),
        (REVOKED, encode_mesh_revocation(issue_revocation(OTHER, SUBJECT, MESH, NOW)),
         "unknown-issuer"),
    ],
)  # fmt: skip
def test_what_does_not_count_is_ignored_for_a_reason(
    key: str, content: bytes | None, reason: str
) -> None:
    """CT-035 and the reasons of codecs: nothing is held of it."""
    trust = store()

    assert trust.take(key, content) == reason
    assert trust.fault_of(SUBJECT, NOW) is CertificateFault.NO_CERTIFICATE


def test_a_revocation_is_never_forgotten() -> None:
    """CT-031: neither for another content of its document nor for none."""
    trust = store(issued())
    content = encode_mesh_revocation(issue_revocation(ROOT, SUBJECT, MESH, NOW, "lost"))
    later = encode_mesh_revocation(issue_revocation(ROOT, SUBJECT, MESH, NOW + 1, "again"))
    forged = encode_mesh_revocation(issue_revocation(OTHER, SUBJECT, MESH, NOW, "lost"))

    assert trust.lost_revocation(REVOKED, content) is None
    assert trust.take(REVOKED, content) is None
    for other in (None, b"", forged):
        trust.take(REVOKED, other)
        assert trust.lost_revocation(REVOKED, other) == content
    # Two authorities that revoke one node do not write over each other.
    assert trust.take(REVOKED, later) is None
    assert trust.lost_revocation(REVOKED, later) is None
    assert trust.lost_revocation(KEY, None) is None
    assert trust.fault_of(SUBJECT, NOW) is CertificateFault.REVOKED


def test_revocations_of_files_count_as_those_of_documents() -> None:
    """One that no root has issued does not."""
    roots = frozenset([public_key_of(ROOT)])
    faults = [
        TrustStore(
            TrustSettings(
                MESH,
                roots,
                certificates=(issued(),),
                revocations=(issue_revocation(seed, SUBJECT, MESH, NOW),),
            )
        ).fault_of(SUBJECT, NOW)
        for seed in (ROOT, OTHER)
    ]

    assert faults == [CertificateFault.REVOKED, None]


def test_a_peer_is_verified_again_at_the_first_end() -> None:
    """Of its certificates that count, and of those of their issuers; others end nothing."""
    delegate = public_key_of(DELEGATE)
    enrolls = int(Permission.ENROLL | Permission.RELAY | Permission.EMERGENCY)
    trust = store(
        issued(expires_at=NOW - 1),
        issued(seed=OTHER, expires_at=NOW + 5),
        issued(seed=DELEGATE, expires_at=NOW + 40),
        issued(subject=delegate, expires_at=NOW + 30, permissions=enrolls),
    )

    assert trust.valid_until_ms(SUBJECT, NOW) == NOW + 30
    assert trust.valid_until_ms(delegate, NOW) == NOW + 30
    assert store(issued()).valid_until_ms(SUBJECT, NOW) is None
    assert store().valid_until_ms(SUBJECT, NOW) is None
