"""A client of enrollment: the request that it signs, and what it takes from a response."""

from dataclasses import dataclass, field, replace
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meshwire_reference.core.identity import public_key_of
from meshwire_reference.core.trust.verification import Trust, verify_certificate
from meshwire_reference.wire.accept import accept
from meshwire_reference.wire.certificates import MeshCertificate
from meshwire_reference.wire.enrollment import (
    EnrollmentRequest,
    EnrollmentResponse,
    decode_enrollment_response,
    encode_enrollment_request,
)
from meshwire_reference.wire.errors import Malformed
from meshwire_spec.numbers import (
    ENROLLMENT_RATE_S,
    SECRET,
    SIGNATURE,
    EnrollmentDenial,
    EnrollmentStatus,
    Tier,
)

UNSIGNED: Final = bytes(SIGNATURE)
NEXT_STEPS: Final[dict[str, str]] = {
    "internal": "; its log says why (enrollment-failed)",
    EnrollmentDenial.RATE_LIMITED: f"; try again in {ENROLLMENT_RATE_S} s, with the same token",
    EnrollmentDenial.REVOKED: "; enroll with a new key, in another folder",
}
"""What the user does after a denial that does not say it by itself."""


class NotEnrolled(Exception):
    """The node is not enrolled; the text says why, on one line.

    `is_known` is False where the authority may have approved the request, as after the end of a
    connection without a response.
    """

    def __init__(self, why: str, *, is_known: bool = True) -> None:
        super().__init__(why)
        self.is_known = is_known


@dataclass(frozen=True, slots=True)
class Application:
    """What a node asks for: to be a member of a mesh whose authority it knows."""

    seed: bytes = field(repr=False)
    """Seed of the endpoint key, which signs the request."""
    mesh_id: str
    authority: bytes
    """Public key of the authority."""
    token: bytes = field(repr=False)
    node_id: str = ""
    tier: Tier = Tier.EDGE

    def request(self, now_ms: int) -> EnrollmentRequest:
        """Return the signed request at a time in ms since 1970; raises Unencodable."""
        unsigned = EnrollmentRequest(
            public_key_of(self.seed),
            self.mesh_id,
            self.node_id,
            self.tier,
            self.token,
            now_ms,
            UNSIGNED,
        )
        content = encode_enrollment_request(unsigned)[:-SIGNATURE]
        key = Ed25519PrivateKey.from_private_bytes(self.seed)
        return replace(unsigned, signature=key.sign(content))


@dataclass(frozen=True, slots=True)
class Membership:
    """What a node got: its certificate, and the formation secret where the authority gave it."""

    certificate: MeshCertificate
    formation_secret: bytes | None = field(repr=False)


def membership_of(message: bytes, application: Application, now_ms: int) -> Membership:
    """Return what a response gives to an applicant at a time in ms since 1970.

    Raises NotEnrolled.
    """
    try:
        response = decode_enrollment_response(message)
    except Malformed as fault:
        raise NotEnrolled(f"the response is malformed: {fault.reason}", is_known=False) from fault
    reason = accept("enrollment_response", response)
    if reason is not None:
        raise NotEnrolled(f"the response is malformed: {reason}", is_known=False)
    if response.status is not EnrollmentStatus.APPROVED:
        raise NotEnrolled(_refusal(response))
    certificate, secret = response.certificate, response.secret
    if certificate is None:
        raise NotEnrolled("the authority approved the request without a certificate")
    trust = Trust(application.mesh_id, frozenset({application.authority}))
    # EN-081
    problem = verify_certificate(certificate, trust, public_key_of(application.seed), now_ms)
    if problem is not None:
        raise NotEnrolled(f"the certificate in the response is refused: {problem}")
    if secret is not None and len(secret) != SECRET:
        raise NotEnrolled(f"the formation secret in the response has {len(secret)} bytes")
    return Membership(certificate, secret)


def _refusal(response: EnrollmentResponse) -> str:
    """Return what a response that does not approve says; its reason is a text of the peer."""
    said = f": {response.reason!r}" if response.reason else ""
    step = NEXT_STEPS.get(response.reason, "")
    return f"the authority answered {response.status.name.lower()}{said}{step}"
