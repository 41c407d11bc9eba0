"""Tests of certificates: who may issue them, and when they certify a node."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meshwire_reference.core.identity import public_key_of
from meshwire_reference.core.trust.signing import (
    Grant,
    has_valid_signature,
    issue_certificate,
    issue_revocation,
    signed_bytes,
)
from meshwire_reference.core.trust.verification import (
    Trust,
    verify_certificate,
    verify_revocation,
    verify_subject,
)
from meshwire_reference.wire.certificates import (
    MembershipCertificate,
    MeshCertificate,
    decode_membership_certificate,
    decode_mesh_certificate,
    decode_mesh_revocation,
    encode_mesh_certificate,
    encode_mesh_revocation,
)
from meshwire_reference.wire.enrollment import decode_enrollment_request
from meshwire_reference.wire.errors import Malformed
from meshwire_spec.numbers import REVOCATION_PREFIX, CertificateFault, Permission, Tier

VECTORS = Path(__file__).resolve().parents[4] / "vectors"
NOW = 1_700_000_000_000
ROOT, DELEGATE, NODE, STRANGER = (bytes([0x11 * n]) * 32 for n in (1, 2, 3, 4))
MESH = "3F1A90C2"
STANDARD = Permission.RELAY | Permission.EMERGENCY


def granted(seed: bytes, **changes: object) -> Grant:
    """Return what a certificate of the node with this seed says, with changes."""
    grant = Grant(
        public_key_of(seed), MESH, "node-7", Tier.TACTICAL, STANDARD, NOW - 5000, NOW + 5000
    )
    return replace(grant, **changes)  # type: ignore[arg-type]  # fields by name


def trusting(*held: MeshCertificate, revoked: frozenset[bytes] = frozenset()) -> Trust:
    """Return the trust in one root, with certificates that are held."""
    by_subject: dict[bytes, tuple[MeshCertificate, ...]] = {}
    for one in held:
        by_subject[one.subject] = (*by_subject.get(one.subject, ()), one)
    return Trust(MESH, frozenset([public_key_of(ROOT)]), by_subject, revoked)


def fault_of(one: MeshCertificate, trust: Trust, now_ms: int = NOW) -> CertificateFault | None:
    """Return the fault of a certificate as one of its own subject."""
    return verify_certificate(one, trust, one.subject, now_ms)


OF_DELEGATE = issue_certificate(
    ROOT,
    granted(DELEGATE, tier=Tier.REGIONAL, permissions=STANDARD | Permission.ENROLL),
)


class TestCertificatesOfARoot:
    """A configured root has issued the certificate."""

    def test_one_counts_from_its_first_moment_to_its_last(self) -> None:
        """The first moment is in its term, and its end is not."""
        one = issue_certificate(ROOT, granted(NODE))
        at = [fault_of(one, trusting(), NOW + ms) for ms in (-5001, -5000, 4999, 5000)]
        assert at == [CertificateFault.NOT_YET_VALID, None, None, CertificateFault.EXPIRED]

    def test_one_without_end_does_not_expire(self) -> None:
        """An end of 0 is none."""
        one = issue_certificate(ROOT, granted(NODE, expires_at=0))
        assert fault_of(one, trusting(), 2**63) is None

    def test_one_of_another_endpoint_is_refused(self) -> None:
        """The subject is the endpoint id of the connection."""
        one = issue_certificate(ROOT, granted(NODE))
        fault = verify_certificate(one, trusting(), public_key_of(STRANGER), NOW)
        assert fault is CertificateFault.WRONG_SUBJECT

    def test_one_of_another_mesh_is_refused(self) -> None:
        """The mesh id differs in one digit."""
        one = issue_certificate(ROOT, granted(NODE, mesh_id="3F1A90C3"))
        assert fault_of(one, trusting()) is CertificateFault.WRONG_MESH

    def test_one_of_a_revoked_node_is_refused(self) -> None:
        """Its subject is what was revoked."""
        one = issue_certificate(ROOT, granted(NODE))
        trust = trusting(revoked=frozenset([public_key_of(NODE)]))
        assert fault_of(one, trust) is CertificateFault.REVOKED

    @pytest.mark.parametrize(
        "changes",
        [
            {"node_id": "node-8"},
            {"tier": Tier.ENTERPRISE},
            {"permissions": 0x87},
            {"issued_at": NOW - 5001},
            {"expires_at": 0},
            {"signature": bytes(64)},
        ],
        ids=lambda changes: next(iter(changes)),
    )
    def test_every_field_is_signed(self, changes: dict[str, object]) -> None:
        """A changed field leaves a signature that does not fit."""
        one = replace(issue_certificate(ROOT, granted(NODE)), **changes)  # type: ignore[arg-type]  # fields by name
        assert fault_of(one, trusting()) is CertificateFault.BAD_SIGNATURE


class TestForeignRoots:
    """A key that certifies itself is no root, unless it is configured."""

    def test_a_foreign_root_is_refused_and_what_it_has_issued(self) -> None:
        """Both are held, as if documents had brought them."""
        foreign = issue_certificate(STRANGER, granted(STRANGER, permissions=0x87))
        child = issue_certificate(STRANGER, granted(NODE))
        faults = [fault_of(one, trusting(foreign, child)) for one in (foreign, child)]
        assert faults == [CertificateFault.UNKNOWN_ISSUER] * 2


class TestDelegation:
    """A root permits a node to enroll others."""

    def test_who_may_enroll_issues_certificates(self) -> None:
        """One level of delegation is permitted."""
        one = issue_certificate(DELEGATE, granted(NODE))
        assert fault_of(one, trusting(OF_DELEGATE)) is None

    def test_without_its_issuer_a_certificate_is_refused(self) -> None:
        """The certificate of the issuer is not held."""
        one = issue_certificate(DELEGATE, granted(NODE))
        assert fault_of(one, trusting()) is CertificateFault.UNKNOWN_ISSUER

    def test_who_was_enrolled_by_a_delegate_issues_none(self) -> None:
        """The depth is 1."""
        second = issue_certificate(DELEGATE, granted(STRANGER, permissions=STANDARD))
        third = issue_certificate(STRANGER, granted(NODE))
        fault = fault_of(third, trusting(OF_DELEGATE, second))
        assert fault is CertificateFault.TOO_DEEP

    def test_a_loop_is_refused(self) -> None:
        """Two nodes have certified each other, and no root either of them."""
        one = issue_certificate(STRANGER, granted(NODE, permissions=0x87))
        other = issue_certificate(NODE, granted(STRANGER, permissions=0x87))
        faults = [fault_of(each, trusting(one, other)) for each in (one, other)]
        assert faults == [CertificateFault.TOO_DEEP] * 2

    @pytest.mark.parametrize(
        ("changes", "fault"),
        [
            ({"permissions": STANDARD}, CertificateFault.ISSUER_MAY_NOT_ENROLL),
            ({"permissions": Permission.ENROLL}, CertificateFault.PERMISSIONS_EXCEEDED),
            ({"tier": Tier.EDGE}, CertificateFault.TIER_EXCEEDED),
            ({"expires_at": NOW}, CertificateFault.ISSUER_NOT_VALID),
            ({"issued_at": NOW + 1}, CertificateFault.ISSUER_NOT_VALID),
            ({"mesh_id": "3F1A90C3"}, CertificateFault.ISSUER_NOT_VALID),
        ],
        ids=str,
    )
    def test_an_issuer_that_may_not_is_refused(
        self, changes: dict[str, object], fault: CertificateFault
    ) -> None:
        """The certificate of the issuer differs in one field from one that permits it."""
        grant = granted(DELEGATE, tier=Tier.REGIONAL, permissions=STANDARD | Permission.ENROLL)
        issuer = issue_certificate(ROOT, replace(grant, **changes))  # type: ignore[arg-type]  # fields by name
        assert fault_of(issue_certificate(DELEGATE, granted(NODE)), trusting(issuer)) is fault

    @pytest.mark.parametrize("permission", [Permission.ENROLL, Permission.ADMIN, 0x08])
    def test_a_delegate_grants_no_more_than_it_may(self, permission: int) -> None:
        """Neither what it lacks nor what only a root grants."""
        issuer = issue_certificate(ROOT, granted(DELEGATE, tier=Tier.ENTERPRISE, permissions=0x87))
        one = issue_certificate(DELEGATE, granted(NODE, permissions=STANDARD | permission))
        assert fault_of(one, trusting(issuer)) is CertificateFault.PERMISSIONS_EXCEEDED

    def test_a_revoked_issuer_is_no_issuer(self) -> None:
        """What it issued before is refused too."""
        one = issue_certificate(DELEGATE, granted(NODE))
        trust = trusting(OF_DELEGATE, revoked=frozenset([public_key_of(DELEGATE)]))
        assert fault_of(one, trust) is CertificateFault.ISSUER_NOT_VALID

    def test_another_certificate_of_the_issuer_may_permit_it(self) -> None:
        """One of them has expired."""
        expired = issue_certificate(ROOT, granted(DELEGATE, expires_at=NOW))
        one = issue_certificate(DELEGATE, granted(NODE))
        assert fault_of(one, trusting(expired, OF_DELEGATE)) is None


class TestHeldCertificates:
    """A node has several certificates, or none."""

    def test_one_that_counts_suffices(self) -> None:
        """Beside one that has expired."""
        expired = issue_certificate(ROOT, granted(NODE, expires_at=NOW))
        valid = issue_certificate(ROOT, granted(NODE))
        trust = trusting(expired, valid)
        faults = [verify_subject(trust, public_key_of(seed), NOW) for seed in (NODE, STRANGER)]
        assert faults == [None, CertificateFault.NO_CERTIFICATE]


class TestRevocations:
    """A revocation is a signed object of a root."""

    def test_one_of_a_root_counts_and_none_else(self) -> None:
        """Of another mesh, of a delegate, and one that was changed."""
        subject = public_key_of(NODE)
        made = [
            issue_revocation(ROOT, subject, MESH, NOW, "lost"),
            issue_revocation(ROOT, subject, "3F1A90C3", NOW, "lost"),
            issue_revocation(DELEGATE, subject, MESH, NOW, "lost"),
            replace(issue_revocation(ROOT, subject, MESH, NOW, "lost"), reason="found"),
        ]
        assert [verify_revocation(one, trusting(OF_DELEGATE)) for one in made] == [
            None,
            CertificateFault.WRONG_MESH,
            CertificateFault.UNKNOWN_ISSUER,
            CertificateFault.BAD_SIGNATURE,
        ]

    def test_its_bytes_are_those_of_the_table(self) -> None:
        """Field by field."""
        one = issue_revocation(ROOT, bytes(range(32)), "AB", 0x0102, "lost")
        data = encode_mesh_revocation(one)
        head = bytes(range(32)) + b"\x02AB" + (0x0102).to_bytes(8, "little") + b"\x04lost"
        assert data == head + public_key_of(ROOT) + one.signature
        assert decode_mesh_revocation(data) == one


RECORDED = [
    one
    for one in json.loads(
        (VECTORS / "enrollment" / "mesh_certificate.captured.json").read_text(encoding="utf-8")
    )["vectors"]
    if isinstance(one["hex"], str)
]


@pytest.mark.parametrize("recorded", RECORDED, ids=[one["id"] for one in RECORDED])
def test_a_recorded_certificate_counts_under_its_issuer(recorded: dict[str, str]) -> None:
    """CT-001: as a deployed peer has issued it, at its first moment and not before."""
    one = decode_mesh_certificate(bytes.fromhex(recorded["hex"]))
    trust = Trust(one.mesh_id, frozenset([one.issuer]))

    assert encode_mesh_certificate(one).hex() == recorded["hex"]
    assert fault_of(one, trust, one.issued_at) is None
    assert fault_of(replace(one, permissions=one.permissions ^ 1), trust, one.issued_at) is (
        CertificateFault.BAD_SIGNATURE
    )
    if one.issued_at:
        assert fault_of(one, trust, one.issued_at - 1) is CertificateFault.NOT_YET_VALID


def test_a_membership_certificate_counts_as_the_other() -> None:
    """It has no tier, so that a delegate of any may issue it; its permissions are compared."""
    helper = issue_certificate(
        ROOT, granted(DELEGATE, tier=Tier.EDGE, permissions=STANDARD | Permission.ENROLL)
    )
    value = MembershipCertificate(
        public_key_of(NODE), "red-7", MESH, NOW, 0, int(STANDARD), helper.subject, bytes(64)
    )
    more = replace(value, permissions=int(STANDARD | Permission.ADMIN))
    signer = Ed25519PrivateKey.from_private_bytes(DELEGATE)
    signed = [replace(one, signature=signer.sign(signed_bytes(one))) for one in (value, more)]
    faults = [verify_certificate(one, trusting(helper), public_key_of(NODE), NOW) for one in signed]

    assert faults == [None, CertificateFault.PERMISSIONS_EXCEEDED]


class TestDomains:
    """A signature over one object is none over another."""

    def test_a_signature_counts_for_no_other_object(self) -> None:
        """Of a certificate for a revocation, and the other way round."""
        one = issue_certificate(ROOT, granted(NODE))
        revocation = issue_revocation(ROOT, one.subject, MESH, NOW)
        assert not has_valid_signature(replace(revocation, signature=one.signature))
        assert not has_valid_signature(replace(one, signature=revocation.signature))

    @pytest.mark.parametrize(
        "decode",
        [decode_mesh_certificate, decode_membership_certificate, decode_enrollment_request],
        ids=lambda decode: decode.__name__,
    )
    def test_what_is_signed_for_a_revocation_begins_no_other_object(self, decode: object) -> None:
        """Every decoder refuses what begins with the prefix, however it goes on."""
        assert callable(decode)
        signed = signed_bytes(issue_revocation(ROOT, public_key_of(NODE), MESH, NOW))
        with pytest.raises(Malformed) as caught:
            decode(signed + bytes(600))
        assert signed.startswith(REVOCATION_PREFIX)
        assert caught.value.reason in ("bad-utf8", "length-limit")

    def test_a_certificate_is_signed_over_the_bytes_before_the_signature(self) -> None:
        """As deployed peers do."""
        one = issue_certificate(ROOT, granted(NODE))
        assert signed_bytes(one) + one.signature == encode_mesh_certificate(one)
