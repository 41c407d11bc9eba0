"""Certificates over the codec harness: whether one counts under the trust of a request."""

from collections.abc import Callable
from typing import Final

from meshwire_reference.core.trust.store import TrustSettings, TrustStore
from meshwire_reference.core.trust.verification import verify_certificate, verify_revocation
from meshwire_reference.harness import kinds
from meshwire_reference.harness.shapes import U64_DECIMAL, BadRequest, bytes_of, member_of, read_hex
from meshwire_reference.wire.certificates import (
    MeshRevocation,
    decode_mesh_certificate,
    decode_mesh_revocation,
)
from meshwire_reference.wire.errors import FieldError, Malformed
from meshwire_spec.numbers import CertificateFault

CHECKED: Final = ("mesh_certificate", "membership_certificate", "mesh_revocation")
"""Kinds of messages that are verified."""


def _listed(request: dict[str, object], name: str) -> list[bytes]:
    texts = member_of(request, name)
    if not isinstance(texts, list):
        raise BadRequest(f"{name} is no list")
    return [read_hex(text, name) for text in texts]


def _trust(request: dict[str, object]) -> TrustStore:
    """Return what the request trusts; raises BadRequest for what does not decode."""
    mesh_id = member_of(request, "mesh_id")
    if not isinstance(mesh_id, str):
        raise BadRequest("mesh_id is not a string")
    try:
        certificates = tuple(map(decode_mesh_certificate, _listed(request, "certificates")))
        revocations = tuple(map(decode_mesh_revocation, _listed(request, "revocations")))
        roots = frozenset(_listed(request, "roots"))
    except FieldError as fault:
        raise BadRequest(f"the trust is not readable: {fault}") from fault
    return TrustStore(
        TrustSettings(mesh_id, roots, certificates=certificates, revocations=revocations)
    )


# CH-031
def _check(request: dict[str, object]) -> dict[str, object]:
    kind = member_of(request, "kind")
    if kind not in CHECKED:
        raise BadRequest(f"no certificate is of kind {kind!r}")
    trust, subject = _trust(request).trust, bytes_of(request, "subject")
    try:
        now_ms = U64_DECIMAL.from_value(member_of(request, "now"), "now")
        message = kinds.decode(str(kind), bytes_of(request, "data"))
    except Malformed as fault:
        return {"refused": fault.reason}
    except FieldError as fault:
        raise BadRequest(f"now is {fault.problem}") from fault
    if not isinstance(message, MeshRevocation):
        return {"refused": verify_certificate(message, trust, subject, now_ms)}
    fault_found = verify_revocation(message, trust)
    if message.subject != subject:
        fault_found = CertificateFault.WRONG_SUBJECT
    return {"refused": fault_found}


OPERATIONS: Final[dict[str, Callable[[dict[str, object]], dict[str, object]]]] = {
    "certificate_check": _check
}
