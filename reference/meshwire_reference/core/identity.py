"""Identities that deployed peers derive from secrets and names.

A node of this reference makes its keys at random: each member that knows the secret can compute a
derived key (D-34). Of the derived ones the lab profile alone takes an endpoint key, and the others
are for meshes that deployed peers have begun.
"""

from dataclasses import dataclass, field
from typing import Final, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256, Hash
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from meshwire_spec.numbers import SECRET

DEVICE_ID: Final = 16
"""Bytes of a device id."""
MESH_ID: Final = 4
"""Bytes of a mesh id, which are written as twice as many hex digits."""
HOST_CONTEXT: Final = "iroh:"
"""What precedes the host name from which peat-mesh derives an endpoint key."""
AUTHORITY_CONTEXT: Final = "peat-mesh:authority-keypair"
"""From what the key of an authority is derived, with the root secret of its mesh."""
TEXT_PREFIX: Final = b"peat-iroh-key-v1:"
"""What precedes the text from which peat-protocol derives one."""


def public_key_of(seed: bytes) -> bytes:
    """Return the Ed25519 public key of a seed: the endpoint id of an endpoint key."""
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def device_id_of(public_key: bytes) -> bytes:
    """Return the device id of a public key."""
    # EN-020
    return _sha256(public_key)[:DEVICE_ID]


def device_key(root: bytes, context: str) -> bytes:
    """Derive the seed of a device key from a root secret, for a context."""
    # EN-021
    return _derive(root, context.encode(), salt=None)


def endpoint_key_of_host(secret: bytes, host: str) -> bytes:
    """Derive the endpoint key of a host as peat-mesh does, from the bytes of the secret as read."""
    # EN-022
    return device_key(secret, HOST_CONTEXT + host)


def endpoint_key_of_text(text: str) -> bytes:
    """Derive an endpoint key from a configured text, as peat-protocol does."""
    # EN-023
    return _sha256(TEXT_PREFIX + text.encode())


def authority_key_of_secret(secret: bytes) -> bytes:
    """Derive the key with which each member of a deployed mesh can sign as its authority (D-35).

    No node signs with it: it is derived to refuse it as a root.
    """
    return device_key(secret, AUTHORITY_CONTEXT)


@dataclass(frozen=True, slots=True)
class Mesh:
    """What follows from the root secret and the name of a mesh; `begin` derives it."""

    mesh_id: str
    formation_secret: bytes = field(repr=False)
    authority_key: bytes = field(repr=False)
    """Seed of the key with which the authority signs."""

    @classmethod
    def begin(cls, name: str, root: bytes) -> Self:
        """Derive everything from the name and the root secret."""
        salt = name.encode()
        # EN-024
        mesh_id = _derive(root, b"peat-mesh:mesh-id", salt=salt)[:MESH_ID].hex().upper()
        # EN-025
        formation = _derive(root, b"peat-mesh:formation-secret", salt=salt)
        # EN-026
        return cls(mesh_id, formation, device_key(root, AUTHORITY_CONTEXT))


def _derive(secret: bytes, info: bytes, *, salt: bytes | None) -> bytes:
    return HKDF(SHA256(), SECRET, salt=salt, info=info).derive(secret)


def _sha256(content: bytes) -> bytes:
    digest = Hash(SHA256())
    digest.update(content)
    return digest.finalize()
