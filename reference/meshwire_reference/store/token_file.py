"""The file with a token, which the authority of a mesh gives to one node that is to enroll."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from meshwire_reference.core.enrollment.authority import Invitation, digest_of
from meshwire_reference.core.identity import public_key_of
from meshwire_reference.store.base import StoreError
from meshwire_reference.store.member_folder import MemberFolder
from meshwire_reference.store.mesh_folder import MeshFolder
from meshwire_reference.store.private_files import read_private, write_private
from meshwire_reference.wire.certificates import (
    MeshCertificate,
    decode_mesh_certificate,
    encode_mesh_certificate,
)
from meshwire_reference.wire.errors import Malformed
from meshwire_spec.numbers import MESH_ID, PUBLIC_KEY, SECRET, U16_MAX, MeshPolicy

FILE_MAX: Final = 2**18
"""Bytes of a file."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token, and whom to trust: the name and id of the mesh, and the key of its authority."""

    mesh: str
    mesh_id: str
    authority: bytes
    token: bytes = field(repr=False)
    peer: MeshCertificate | None = None
    """Certificate of the node of the authority, where the folder of the mesh has one."""
    policy: MeshPolicy = MeshPolicy.CONTROLLED
    """That of the genesis, for the credentials of the node: the response does not have it."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a token is good for, in ms: its own term and that of the certificate, 0 for ever.

    `node_id` is the name of the only node that it enrolls, None for any.
    """

    term_ms: int
    certificate_ms: int = 0
    node_id: str | None = None


def invite(
    mesh: MeshFolder, path: Path, terms: Terms, entropy: Callable[[int], bytes], now_ms: int
) -> int:
    """Give out a new token in a new file; return when it expires, in ms since 1970.

    `now_ms` is the time in ms since 1970. Raises StoreError.
    """
    genesis, keys, token = mesh.genesis(), mesh.keys(), entropy(SECRET)
    expires_at = now_ms + terms.term_ms
    peer = MemberFolder(mesh.path).certificate()
    authority = public_key_of(keys.seed)
    said = Token(genesis.name, keys.mesh_id, authority, token, peer, genesis.policy)
    write_token(path, said)
    invitation = Invitation(digest_of(token), expires_at, terms.certificate_ms, terms.node_id)
    try:
        mesh.invitations.add(invitation, now_ms)
    except BaseException:
        # A token that nobody has given out is of no use, and would be in the way of another try.
        path.unlink(missing_ok=True)
        raise
    return expires_at


def write_token(path: Path, token: Token) -> None:
    """Write a new file for its owner alone. Raises StoreError."""
    said = {
        "mesh": token.mesh,
        "mesh_id": token.mesh_id,
        "authority": token.authority.hex(),
        "token": base64.b64encode(token.token).decode(),
        "policy": token.policy.name.lower(),
        "peer": None
        if token.peer is None
        else base64.b64encode(encode_mesh_certificate(token.peer)).decode(),
    }
    try:
        write_private(path, json.dumps(said).encode() + b"\n")
    except FileExistsError as exc:
        raise StoreError(f"{path} exists and is left alone: choose another name") from exc
    except OSError as exc:
        raise StoreError(f"{path} cannot be made: {exc.strerror or exc}") from exc


def read_token(path: Path) -> Token:
    """Return what such a file says. Raises StoreError."""
    # EN-083
    content = read_private(path, FILE_MAX)
    try:
        said: dict[str, Any] = json.loads(content)
        token = Token(
            str(said["mesh"]),
            str(said["mesh_id"]),
            bytes.fromhex(said["authority"]),
            base64.b64decode(said["token"], validate=True),
            None
            if said["peer"] is None
            else decode_mesh_certificate(base64.b64decode(said["peer"], validate=True)),
            MeshPolicy[str(said["policy"]).upper()],
        )
        sizes = len(token.mesh.encode()), len(token.mesh_id.encode())
    except (ValueError, TypeError, KeyError, RecursionError, Malformed):
        # Its text may hold the token, so nothing of it is shown.
        raise StoreError(f"{path} has no token of `mesh invite`") from None
    fits = (
        sizes[0] <= U16_MAX
        and sizes[1] == MESH_ID
        and len(token.authority) == PUBLIC_KEY
        and len(token.token) <= U16_MAX
    )
    if not fits:
        raise StoreError(f"{path} has no token of `mesh invite`")
    return token
