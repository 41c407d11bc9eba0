"""The one doorway to PyNaCl: Ed25519 signatures over digests.

The library refuses keys of small order and keys that are not in canonical form (D-165), under
which a constant signature is valid for every operation. It checks the plain equation, and deployed
peers that of ZIP215: only a signature that is made to differ is judged differently by the two.
"""

from nacl.bindings import crypto_sign, crypto_sign_BYTES, crypto_sign_open, crypto_sign_seed_keypair
from nacl.exceptions import BadSignatureError


def is_signed(author: bytes, digest: bytes, signature: bytes) -> bool:
    """Return True if `signature` is one of the key `author` over `digest`."""
    try:
        crypto_sign_open(signature + digest, author)
    except BadSignatureError:
        return False
    return True


class Signer:
    """An Ed25519 key that signs."""

    def __init__(self, seed: bytes) -> None:
        self.author, self._secret = crypto_sign_seed_keypair(seed)

    def sign(self, digest: bytes) -> bytes:
        """Return the signature over `digest`."""
        signed: bytes = crypto_sign(digest, self._secret)
        return signed[:crypto_sign_BYTES]
