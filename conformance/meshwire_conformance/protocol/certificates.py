"""Certificates and revocations as an authority of the suite issues them.

The suite's own implementation, over the schema codec: nothing of the node is used.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meshwire_spec.codec import encode, from_value
from meshwire_spec.numbers import REVOCATION_PREFIX, SIGNATURE, Permission, Tier

UNSIGNED: Final = "00" * SIGNATURE
STANDARD: Final = int(Permission.RELAY | Permission.EMERGENCY)
"""Permissions of a plain member."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A key that issues certificates, from a seed of 32 bytes."""

    seed: bytes = field(repr=False)
    mesh_id: str

    @property
    def key(self) -> str:
        """Its public key in hex."""
        return self._private.public_key().public_bytes_raw().hex()

    @property
    def _private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)

    def certify(self, subject: str, issued_ms: int, /, **changes: Any) -> bytes:
        """Return a certificate of an endpoint id in hex; `changes` are members of its value."""
        value = {
            "subject": subject,
            "mesh_id": self.mesh_id,
            "node_id": "node-7",
            "tier": int(Tier.TACTICAL),
            "permissions": STANDARD,
            "issued_at": str(issued_ms),
            "expires_at": "0",
            "issuer": self.key,
            "signature": UNSIGNED,
            **changes,
        }
        return self.resigned(encode(from_value("mesh_certificate", value)))

    def admit(self, member: str, issued_ms: int, /, **changes: Any) -> bytes:
        """Return a membership certificate of an endpoint id in hex."""
        value = {
            "member": member,
            "callsign": "red-7",
            "mesh_id": self.mesh_id,
            "issued_at": str(issued_ms),
            "expires_at": "0",
            "permissions": STANDARD,
            "issuer": self.key,
            "signature": UNSIGNED,
            **changes,
        }
        return self.resigned(encode(from_value("membership_certificate", value)))

    def resigned(self, message: bytes, prefix: bytes = b"") -> bytes:
        """Return a message with a signature over the bytes before it, after a prefix."""
        unsigned = message[:-SIGNATURE]
        return unsigned + self._private.sign(prefix + unsigned)

    def revoke(self, subject: str, revoked_ms: int, /, **changes: Any) -> bytes:
        """Return the signed revocation of an endpoint id in hex."""
        value = {
            "subject": subject,
            "mesh_id": self.mesh_id,
            "revoked_at": str(revoked_ms),
            "reason": "lost",
            "issuer": self.key,
            "signature": UNSIGNED,
            **changes,
        }
        return self.resigned(encode(from_value("mesh_revocation", value)), REVOCATION_PREFIX)


def document_of(content: bytes, member: str) -> dict[str, str]:
    """Return the fields of the document that has a certificate or a revocation."""
    return {member: base64.b64encode(content).decode()}
