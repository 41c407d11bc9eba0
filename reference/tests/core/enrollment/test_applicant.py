"""What a client of enrollment takes from a response."""

from dataclasses import replace

import pytest

from meshwire_reference.core.enrollment.applicant import NotEnrolled, membership_of
from meshwire_reference.core.enrollment.authority import Authority
from meshwire_reference.core.settings import Moment
from meshwire_reference.core.trust.signing import Grant, issue_certificate
from meshwire_reference.testing.enrolling import (
    APPLICATION,
    AUTHORITY_SEED,
    CALLER,
    FORMATION_SECRET,
    INVITATION,
    KEYS,
    NOW_MS,
    sent,
)
from meshwire_reference.wire.enrollment import EnrollmentResponse, encode_enrollment_response
from meshwire_spec.numbers import EnrollmentStatus, Tier

GRANT = Grant(CALLER.endpoint_id, KEYS.mesh_id, "node-2", Tier.EDGE, 3, NOW_MS)


def approved() -> EnrollmentResponse:
    """Return the response of an authority to a right request."""
    request = sent(APPLICATION.request(NOW_MS))
    moment = Moment(1.5, NOW_MS)
    return Authority(KEYS).judge(request, CALLER, (INVITATION,), moment).response


def refused(response: EnrollmentResponse) -> NotEnrolled:
    """Return why a client does not take a response."""
    with pytest.raises(NotEnrolled) as found:
        membership_of(encode_enrollment_response(response), APPLICATION, NOW_MS)
    return found.value


def test_a_right_response_makes_a_member() -> None:
    """With the secret, or without it as deployed authorities answer."""
    response = approved()
    member = membership_of(encode_enrollment_response(response), APPLICATION, NOW_MS)
    bare = encode_enrollment_response(replace(response, has_secret=0, secret=None))

    assert member.certificate == response.certificate
    assert member.formation_secret == FORMATION_SECRET
    assert membership_of(bare, APPLICATION, NOW_MS).formation_secret is None


@pytest.mark.parametrize(
    ("seed", "change", "why"),
    [
        (bytes(32), {}, "unknown-issuer"),
        (AUTHORITY_SEED, {"subject": bytes(range(32))}, "wrong-subject"),
        (AUTHORITY_SEED, {"mesh_id": "00000000"}, "wrong-mesh"),
        (AUTHORITY_SEED, {"expires_at": NOW_MS}, "expired"),
        (AUTHORITY_SEED, {"issued_at": NOW_MS + 1}, "not-yet-valid"),
    ],
)
def test_a_certificate_that_does_not_verify_is_refused(
    seed: bytes, change: dict[str, object], why: str
) -> None:
    """From the authority itself too, and the error says why."""
    grant = replace(GRANT, **change)  # type: ignore[arg-type]  # each value has its type
    problem = refused(replace(approved(), certificate=issue_certificate(seed, grant)))

    assert why in str(problem)
    assert problem.is_known


def test_an_approval_without_a_certificate_is_refused() -> None:
    """It would make no member."""
    assert "without a certificate" in str(
        refused(replace(approved(), has_certificate=0, certificate=None))
    )


def test_a_secret_of_another_size_is_refused() -> None:
    """No formation has it."""
    assert "has 31 bytes" in str(refused(replace(approved(), secret=bytes(31))))


@pytest.mark.parametrize(
    "status", [one for one in EnrollmentStatus if one is not EnrollmentStatus.APPROVED]
)
def test_a_denial_is_told_with_its_reason(status: EnrollmentStatus) -> None:
    """Also pending and revoked; the text of the peer cannot end the line."""
    response = EnrollmentResponse(status, "no\nway", 0, None, 0, None, NOW_MS)
    problem = refused(response)

    assert status.name.lower() in str(problem)
    assert "'no\\nway'" in str(problem)
    assert problem.is_known


@pytest.mark.parametrize(
    "change", [lambda data: data[:-1], lambda data: data + b"\x00", lambda data: b"\x07" + data[1:]]
)
def test_a_response_that_is_none_leaves_the_outcome_open(change: object) -> None:
    """The authority may have enrolled the node all the same."""
    assert callable(change)
    with pytest.raises(NotEnrolled, match="malformed") as found:
        membership_of(change(encode_enrollment_response(approved())), APPLICATION, NOW_MS)

    assert not found.value.is_known


def test_a_flag_above_one_is_refused() -> None:
    """It means absent to deployed peers, and nothing to others."""
    response = replace(approved(), has_certificate=2, certificate=None)

    assert "bad-flag" in str(refused(response))
