"""What an authority decides about requests, with a clock of the test."""

import hmac
from collections.abc import Callable
from dataclasses import replace

import pytest

from meshwire_reference.core.enrollment import authority as module
from meshwire_reference.core.enrollment.authority import (
    STANDARD,
    Authority,
    Caller,
    Decision,
    Invitation,
    digest_of,
)
from meshwire_reference.core.enrollment.framing import FramedMessage
from meshwire_reference.core.identity import public_key_of
from meshwire_reference.core.settings import Moment
from meshwire_reference.core.trust.signing import has_valid_signature
from meshwire_reference.testing.enrolling import (
    APPLICATION,
    AUTHORITY_SEED,
    CALLER,
    FORMATION_SECRET,
    INVITATION,
    KEYS,
    NOW_MS,
    TERM_MS,
    received,
    sent,
)
from meshwire_reference.wire.enrollment import EnrollmentRequest
from meshwire_spec.numbers import (
    ENROLLMENT_AGE_MAX_MS,
    ENROLLMENT_DENIALS_ALL_MAX,
    ENROLLMENT_DENIALS_MAX,
    ENROLLMENT_RATE_S,
    EnrollmentStatus,
    Tier,
)

NOW = Moment(1000.5, NOW_MS)


def judge(
    message: FramedMessage,
    *invitations: Invitation,
    caller: Caller = CALLER,
    now: Moment = NOW,
    authority: Authority | None = None,
) -> Decision:
    """Return the decision of an authority that has given out these tokens."""
    return (authority or Authority(KEYS)).judge(message, caller, invitations or (INVITATION,), now)


def test_an_approved_request_gets_certificate_and_secret() -> None:
    """The certificate is of what was asked for, signed by the authority, and valid from before."""
    request = replace(APPLICATION, tier=Tier.TACTICAL).request(NOW_MS)
    decision = judge(sent(request))
    response, certificate = decision.response, decision.response.certificate

    assert (decision.denial, decision.invitation) == (None, INVITATION)
    assert (response.status, response.secret) == (EnrollmentStatus.APPROVED, FORMATION_SECRET)
    assert response.timestamp == NOW_MS
    assert certificate is not None
    assert has_valid_signature(certificate)
    assert (certificate.subject, certificate.mesh_id) == (request.public_key, KEYS.mesh_id)
    assert (certificate.node_id, certificate.tier) == ("node-2", Tier.TACTICAL)
    assert certificate.issuer == public_key_of(AUTHORITY_SEED)
    assert certificate.permissions == STANDARD == 0x03
    assert certificate.issued_at == NOW_MS - ENROLLMENT_AGE_MAX_MS
    assert certificate.expires_at == NOW_MS + TERM_MS


def test_a_certificate_may_be_for_ever() -> None:
    """Where the invitation says so."""
    decision = judge(sent(APPLICATION.request(NOW_MS)), replace(INVITATION, certificate_ms=0))

    assert decision.response.certificate is not None
    assert decision.response.certificate.expires_at == 0


FAULTS: dict[str, Callable[[EnrollmentRequest], EnrollmentRequest]] = {
    "wrong-mesh": lambda _: replace(APPLICATION, mesh_id="A1B2C3D5").request(NOW_MS),
    "wrong-subject": lambda _: replace(APPLICATION, seed=bytes(32)).request(NOW_MS),
    "bad-signature": lambda good: replace(
        good, signature=bytes((good.signature[0] ^ 1,)) + good.signature[1:]
    ),
    "unknown-token": lambda _: replace(APPLICATION, token=bytes(32)).request(NOW_MS),
}


@pytest.mark.parametrize("reason", FAULTS)
def test_a_request_is_denied_for_its_fault(reason: str) -> None:
    """With its own time, and with nothing of what an approval has."""
    request = FAULTS[reason](APPLICATION.request(NOW_MS))
    decision = judge(sent(request))
    response = decision.response

    assert (decision.denial, decision.invitation) == (reason, None)
    assert (response.status, response.reason) == (EnrollmentStatus.DENIED, reason)
    assert (response.has_certificate, response.has_secret) == (0, 0)
    assert (response.certificate, response.secret) == (None, None)
    assert response.timestamp == request.timestamp


@pytest.mark.parametrize(
    "field", ["public_key", "node_id", "mesh_id", "tier", "token", "timestamp", "signature"]
)
def test_every_field_is_under_the_signature(field: str) -> None:
    """A request with any field of another one is denied, whatever the reason."""
    other = replace(
        APPLICATION,
        seed=bytes(range(2, 34)),
        mesh_id="00000000",
        node_id="node-3",
        token=bytes(33),
        tier=Tier.REGIONAL,
    ).request(NOW_MS + 1)
    mixed = replace(APPLICATION.request(NOW_MS), **{field: getattr(other, field)})
    caller = Caller(mixed.public_key, "192.0.2.1")
    keys = replace(KEYS, mesh_id=mixed.mesh_id)
    invitation = replace(INVITATION, digest=digest_of(mixed.token))
    decision = Authority(keys).judge(sent(mixed), caller, (invitation,), NOW)

    assert decision.denial == "bad-signature"


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_time_counts_up_to_its_distance(sign: int) -> None:
    """Five minutes to either side are allowed, and not a millisecond more."""
    near = APPLICATION.request(NOW_MS + sign * ENROLLMENT_AGE_MAX_MS)
    far = APPLICATION.request(NOW_MS + sign * (ENROLLMENT_AGE_MAX_MS + 1))

    assert judge(sent(near)).denial is None
    assert judge(sent(far)).denial == "not-now"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"is_used": True}, "used-token"),
        ({"expires_at": NOW_MS}, "expired-token"),
        ({"node_id": "node-3"}, "wrong-node"),
        ({"digest": bytes(32)}, "unknown-token"),
        ({"node_id": "node-2"}, None),
        ({"expires_at": NOW_MS + 1}, None),
    ],
)
def test_a_token_is_for_one_node_of_one_name_and_term(
    change: dict[str, object], reason: str | None
) -> None:
    """What the invitation says holds."""
    other = Invitation(bytes(range(32)), NOW_MS + TERM_MS)
    mine = replace(INVITATION, **change)  # type: ignore[arg-type]  # each value has its type

    assert judge(sent(APPLICATION.request(NOW_MS)), other, mine).denial == reason


def test_a_token_is_compared_with_every_invitation(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a comparison in constant time, which does not end with the first that fits."""
    compared: list[bytes] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(one)
        return hmac.compare_digest(one, other)

    invitations = (INVITATION, *(replace(INVITATION, digest=bytes((n,)) * 32) for n in range(5)))
    monkeypatch.setattr(module, "compare_digest", compare)

    assert judge(sent(APPLICATION.request(NOW_MS)), *invitations).denial is None
    assert compared == [one.digest for one in invitations]


@pytest.mark.parametrize(
    ("half", "reason"),
    [
        (b"", "truncated"),
        (b"\x00\x00\x00\x00", "truncated"),
        (b"\x01\x00\x01\x00", "length-limit"),
        (b"\x00\x00\x00\x00\x00", "trailing-bytes"),
        (b"\x70\x00\x00\x00" + bytes(32) + b"\x01\xff" + bytes(78), "bad-utf8"),
        (b"\x6d\x00\x00\x00" + bytes(34) + b"\x04" + bytes(74), "bad-enum"),
        (b"\x6e\x00\x00\x00" + bytes(110), "trailing-bytes"),
    ],
)
def test_a_request_that_is_none_is_denied_with_its_reason(half: bytes, reason: str) -> None:
    """Also where the half carried no message, and with the time 0."""
    decision = judge(received(half))

    assert (decision.denial, decision.response.reason) == (reason, reason)
    assert decision.response.status == EnrollmentStatus.DENIED
    assert decision.response.timestamp == 0


def test_many_denials_of_an_address_are_followed_by_another_one() -> None:
    """Also of a right token, until the first of them is a minute old; others go on."""
    authority = Authority(KEYS)
    bad, good = received(b""), sent(APPLICATION.request(NOW_MS))
    other = replace(CALLER, share="192.0.2.2")
    for at in range(ENROLLMENT_DENIALS_MAX):
        now = replace(NOW, monotonic_s=NOW.monotonic_s + at)
        assert judge(bad, now=now, authority=authority).denial == "truncated"
    later = replace(NOW, monotonic_s=NOW.monotonic_s + ENROLLMENT_RATE_S - 0.25)
    free = replace(NOW, monotonic_s=NOW.monotonic_s + ENROLLMENT_RATE_S)

    assert judge(good, now=later, authority=authority).denial == "rate-limited"
    assert judge(bad, now=later, authority=authority).denial == "rate-limited"
    assert judge(good, caller=other, now=later, authority=authority).denial is None
    assert judge(good, now=free, authority=authority).denial is None


def test_those_of_many_addresses_hold_all_of_them() -> None:
    """And what is remembered of them is bounded."""
    authority = Authority(KEYS)
    for number in range(ENROLLMENT_DENIALS_ALL_MAX):
        judge(received(b""), caller=replace(CALLER, share=str(number)), authority=authority)
    denied = judge(sent(APPLICATION.request(NOW_MS)), authority=authority)

    assert denied.denial == "rate-limited"
    assert denied.response.timestamp == NOW_MS
    assert len(authority._limit._denied) == ENROLLMENT_DENIALS_ALL_MAX


def test_approvals_do_not_count() -> None:
    """Many nodes behind one address may enroll."""
    authority, good = Authority(KEYS), sent(APPLICATION.request(NOW_MS))
    denials = {judge(good, authority=authority).denial for _ in range(2 * ENROLLMENT_DENIALS_MAX)}

    assert denials == {None}


def test_no_secret_is_in_what_is_shown() -> None:
    """Neither token nor secret nor key, of any object that a traceback may show."""
    decision = judge(sent(APPLICATION.request(NOW_MS)))
    shown = repr((decision, KEYS, APPLICATION, APPLICATION.request(NOW_MS), decision.response))

    for secret in (APPLICATION.token, FORMATION_SECRET, AUTHORITY_SEED, APPLICATION.seed):
        assert repr(secret) not in shown
