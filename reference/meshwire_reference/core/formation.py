"""The formation's key, from the shared secret to the proof of a peer (HS-001 to HS-003)."""

import base64
import binascii
from dataclasses import dataclass, field
from typing import Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.hashes import SHA256, Hash
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from meshwire_spec.numbers import SECRET

KEY_INFO: Final = b"peat-protocol-v1-formation"


class FormationError(Exception):
    """Root of the errors of this module."""


class BadSecret(FormationError):
    """The text of the secret is not canonical base64; its content is never printed."""


class ProofRefused(FormationError):
    """The response is not the proof for the nonce and key."""

    def __init__(self) -> None:
        super().__init__("the response does not prove the formation's key")
        self.reason = "authentication-failed"


def read_secret(text: str) -> bytes:
    """Return the bytes of a secret given as base64, blanks around it allowed; raises BadSecret."""
    stripped = text.strip()
    try:
        secret = base64.b64decode(stripped, validate=True)
    except (binascii.Error, ValueError) as fault:
        raise BadSecret("the formation secret is not base64") from fault
    if base64.b64encode(secret).decode() != stripped:
        raise BadSecret("the formation secret is not canonical base64")
    return secret


@dataclass(frozen=True, slots=True)
class FormationKey:
    """The key of one formation, made with `derive`; it never shows in a repr."""

    formation_id: str
    key: bytes = field(repr=False)

    @classmethod
    def derive(cls, formation_id: str, secret: bytes) -> Self:
        """Derive the key from the raw secret; one that is not 32 bytes is hashed to 32 first."""
        # HS-001
        material = secret if len(secret) == SECRET else _sha256(secret)
        # HS-002
        derivation = HKDF(SHA256(), SECRET, salt=formation_id.encode(), info=KEY_INFO)
        return cls(formation_id, derivation.derive(material))

    def respond(self, nonce: bytes) -> bytes:
        """Return the proof for the nonce of a challenge."""
        return self._mac(nonce).finalize()

    def verify(self, nonce: bytes, response: bytes) -> None:
        """Check a proof in constant time; raises ProofRefused."""
        try:
            self._mac(nonce).verify(response)
        except InvalidSignature as fault:
            raise ProofRefused from fault

    def _mac(self, nonce: bytes) -> HMAC:
        # HS-003
        mac = HMAC(self.key, SHA256())
        mac.update(nonce + self.formation_id.encode())
        return mac


def _sha256(content: bytes) -> bytes:
    digest = Hash(SHA256())
    digest.update(content)
    return digest.finalize()
