"""What the authority of a mesh decides about a request, and the response that it gives.

A request is judged against the invitations that exist at that moment. An approval names the
invitation that it uses; the caller makes that use durable before it sends the response, and asks
`deny` for another response where the invitation was used meanwhile.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from hmac import compare_digest
from typing import Final, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from meshwire_reference.core.enrollment.framing import FramedMessage
from meshwire_reference.core.limits.denials import DenialLimit
from meshwire_reference.core.settings import Moment
from meshwire_reference.core.trust.signing import Grant, issue_certificate
from meshwire_reference.wire.enrollment import (
    PRESENT,
    EnrollmentRequest,
    EnrollmentResponse,
    decode_enrollment_request,
    encode_enrollment_request,
)
from meshwire_reference.wire.errors import Malformed
from meshwire_spec.numbers import (
    ENROLLMENT_AGE_MAX_MS,
    ENROLLMENT_DENIALS_ALL_MAX,
    ENROLLMENT_DENIALS_MAX,
    ENROLLMENT_RATE_S,
    SIGNATURE,
    EnrollmentDenial,
    EnrollmentStatus,
    Permission,
)

STANDARD: Final = Permission.RELAY | Permission.EMERGENCY
"""Permissions of a member that enrolls."""
AUTHORITY: Final = STANDARD | Permission.ENROLL | Permission.ADMIN
"""Permissions of the authority's own node."""


@dataclass(frozen=True, slots=True)
class Invitation:
    """One token that was given out, of which only the digest is kept.

    Times are in ms since 1970. `certificate_ms` is how long the certificate is valid, 0 for ever;
    `node_id` the only name that it may enroll, None for any.
    """

    digest: bytes
    expires_at: int
    certificate_ms: int = 0
    node_id: str | None = None
    is_used: bool = False


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the endpoint id of its connection, and its share of the addresses."""

    endpoint_id: bytes
    share: str
    is_revoked: bool = False
    """True if the endpoint id is revoked in the mesh."""


@dataclass(frozen=True, slots=True)
class AuthorityKeys:
    """The mesh of an authority, and the secrets that it signs with and gives away."""

    mesh_id: str
    seed: bytes = field(repr=False)
    formation_secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Decision:
    """A response, the invitation that it uses, and why it denies; one of the last two is None."""

    response: EnrollmentResponse = field(repr=False)
    invitation: Invitation | None = None
    denial: str | None = None
    request: EnrollmentRequest | None = field(default=None, repr=False)


DenialCheck: TypeAlias = Callable[[EnrollmentRequest, AuthorityKeys, Caller, int], bool]
"""Returns True if a request is to be denied, at a time in ms since 1970."""

# EN-065, EN-066, EN-067, EN-068, EN-086
CHECKS: Final[tuple[tuple[EnrollmentDenial, DenialCheck], ...]] = (
    (
        EnrollmentDenial.WRONG_MESH,
        lambda request, keys, _caller, _now: request.mesh_id != keys.mesh_id,
    ),
    (
        EnrollmentDenial.WRONG_SUBJECT,
        lambda request, _keys, caller, _now: request.public_key != caller.endpoint_id,
    ),
    (
        EnrollmentDenial.NOT_NOW,
        lambda request, _keys, _caller, now: abs(request.timestamp - now) > ENROLLMENT_AGE_MAX_MS,
    ),
    (
        EnrollmentDenial.BAD_SIGNATURE,
        lambda request, _keys, _caller, _now: not has_signed(request),
    ),
    (EnrollmentDenial.REVOKED, lambda _request, _keys, caller, _now: caller.is_revoked),
)
"""Why a request is denied whatever its token is; only the key itself learns that it is revoked."""


class Authority:
    """Decides about requests, and remembers how many were denied of late."""

    def __init__(self, keys: AuthorityKeys) -> None:
        self._keys = keys
        # EN-072
        self._limit = DenialLimit(
            ENROLLMENT_RATE_S, ENROLLMENT_DENIALS_MAX, ENROLLMENT_DENIALS_ALL_MAX
        )

    def judge(
        self, framed: FramedMessage, caller: Caller, invitations: Sequence[Invitation], now: Moment
    ) -> Decision:
        """Return the decision about a request, which may have been refused already.

        Raises Unencodable for an invitation whose certificate cannot be written.
        """
        request, fault = _read(framed)
        if self._limit.is_reached(caller.share, now.monotonic_s):
            return _denied(EnrollmentDenial.RATE_LIMITED, request)
        if request is None:
            # EN-064
            return self.deny(fault, caller, now)
        keys = self._keys
        for denial, has in CHECKS:
            if has(request, keys, caller, now.wall_ms):
                return self.deny(denial, caller, now, request)
        invitation = _find(request.token, invitations)
        unfit = _unfit(request, invitation, now.wall_ms)
        # EN-069
        if invitation is None or unfit is not None:
            return self.deny(unfit or EnrollmentDenial.UNKNOWN_TOKEN, caller, now, request)
        return Decision(self._approve(request, invitation, now.wall_ms), invitation, None, request)

    def deny(
        self, reason: str, caller: Caller, now: Moment, request: EnrollmentRequest | None = None
    ) -> Decision:
        """Return the denial of a request for a reason, and count it."""
        self._limit.count(caller.share, now.monotonic_s)
        return _denied(reason, request)

    def fail(self, framed: FramedMessage, caller: Caller, now: Moment) -> Decision:
        """Return the denial of a request that could not be decided, and count it."""
        return self.deny("internal", caller, now, _read(framed)[0])

    def _approve(
        self, request: EnrollmentRequest, invitation: Invitation, now_ms: int
    ) -> EnrollmentResponse:
        lasting = invitation.certificate_ms
        # EN-075
        grant = Grant(
            subject=request.public_key,
            mesh_id=self._keys.mesh_id,
            node_id=request.node_id,
            tier=request.tier,
            permissions=STANDARD,
            # The clocks of those who verify it may be behind as far as that of a client.
            issued_at=max(0, now_ms - ENROLLMENT_AGE_MAX_MS),
            expires_at=now_ms + lasting if lasting else 0,
        )
        return EnrollmentResponse(
            EnrollmentStatus.APPROVED,
            "",
            PRESENT,
            issue_certificate(self._keys.seed, grant),
            PRESENT,
            self._keys.formation_secret,
            now_ms,
        )


def _read(framed: FramedMessage) -> tuple[EnrollmentRequest | None, str]:
    """Return the request in a message, or None and why there is none."""
    if framed.message is None:
        return None, framed.fault or "truncated"
    try:
        return decode_enrollment_request(framed.message), ""
    except Malformed as malformed:
        return None, malformed.reason


def digest_of(token: bytes) -> bytes:
    """Return what is kept of a token."""
    return sha256(token).digest()


def has_signed(request: EnrollmentRequest) -> bool:
    """Return True if the key in a request has signed every byte before the signature."""
    signed = encode_enrollment_request(request)[:-SIGNATURE]
    try:
        Ed25519PublicKey.from_public_bytes(request.public_key).verify(request.signature, signed)
    except (InvalidSignature, ValueError):
        return False
    return True


def _find(token: bytes, invitations: Sequence[Invitation]) -> Invitation | None:
    """Return the invitation of a token, after comparing all of them in constant time."""
    # EN-078
    digest = digest_of(token)
    found = [compare_digest(one.digest, digest) for one in invitations]
    return next((one for one, is_same in zip(invitations, found, strict=True) if is_same), None)


def _unfit(
    request: EnrollmentRequest, invitation: Invitation | None, now_ms: int
) -> EnrollmentDenial | None:
    """Return why a token does not enroll this node now, or None if it does."""
    if invitation is None:
        return EnrollmentDenial.UNKNOWN_TOKEN
    # EN-070, EN-071
    if invitation.is_used:
        return EnrollmentDenial.USED_TOKEN
    if now_ms >= invitation.expires_at:
        return EnrollmentDenial.EXPIRED_TOKEN
    if invitation.node_id not in (None, request.node_id):
        return EnrollmentDenial.WRONG_NODE
    return None


def _denied(reason: str, request: EnrollmentRequest | None) -> Decision:
    # EN-077
    at_ms = 0 if request is None else request.timestamp
    response = EnrollmentResponse(EnrollmentStatus.DENIED, str(reason), 0, None, 0, None, at_ms)
    return Decision(response, None, str(reason), request)
