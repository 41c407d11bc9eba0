"""The folder of a mesh: its genesis, what its members need, and its invitations.

A reader of the folder can act as the authority, so every file is for its owner alone.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Final

from meshwire_reference.core.enrollment.authority import AuthorityKeys
from meshwire_reference.core.identity import Mesh, public_key_of
from meshwire_reference.core.trust.verification import Trust
from meshwire_reference.store.base import StoreError
from meshwire_reference.store.invitations import Invitations
from meshwire_reference.store.private_files import (
    locked_folder,
    make_private_folder,
    read_private,
    sync_folder,
    write_private,
)
from meshwire_reference.store.trust_files import read_revocations, read_roots
from meshwire_reference.wire.certificates import (
    MeshCredentials,
    MeshGenesis,
    MeshRevocation,
    decode_mesh_genesis,
    encode_mesh_credentials,
    encode_mesh_genesis,
    encode_mesh_revocation,
)
from meshwire_reference.wire.errors import Malformed
from meshwire_spec.numbers import SECRET, U16_MAX, MeshPolicy

GENESIS: Final = "genesis"
REVOCATIONS: Final = "revocations.txt"
REVOCATIONS_MAX: Final = 2**24
ROOTS: Final = "roots.txt"
CREDENTIALS: Final = "credentials"
FORMATION_SECRET: Final = "formation-secret.txt"  # noqa: S105 - the name of a file, not a secret
GENESIS_MAX: Final = U16_MAX + 128


class MeshFolder:
    """The folder of one mesh."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.invitations = Invitations(path / "invitations")

    def create(
        self, name: str, policy: MeshPolicy, entropy: Callable[[int], bytes], now_ms: int
    ) -> MeshGenesis:
        """Begin a mesh at a time in ms since 1970; returns its genesis.

        Raises StoreError, also where the folder has a genesis.
        """
        # EN-084: the root secret, from which both follow, stays in the genesis.
        root = entropy(SECRET)
        genesis = MeshGenesis(name, root, Mesh.begin(name, root).authority_key, now_ms, policy)
        # The genesis last: with it the folder is that of a mesh, and whole.
        files = (
            (CREDENTIALS, encode_mesh_credentials(credentials_of(genesis))),
            (FORMATION_SECRET, secret_text(Mesh.begin(name, root).formation_secret)),
            (GENESIS, encode_mesh_genesis(genesis)),
        )
        try:
            make_private_folder(self.path)
            for file, content in files:
                write_private(self.path / file, content)
        except FileExistsError as exc:
            raise StoreError(
                f"{exc.filename} exists and is left alone: choose another folder"
            ) from exc
        except OSError as exc:
            raise StoreError(f"{self.path} cannot be made: {exc.strerror or exc}") from exc
        return genesis

    def revoke(self, revocation: MeshRevocation) -> MeshRevocation:
        """Add a revocation to the file of them, durably; return the one of its subject that counts.

        That is an earlier one if there is one, and nothing is added. Raises StoreError, also for a
        line of the file that does not count.
        """
        path = self.path / REVOCATIONS
        line = base64.b64encode(encode_mesh_revocation(revocation)) + b"\n"
        try:
            # One process after the other: each writes what it has read, and its own.
            with locked_folder(self.path):
                known = self.revocations()
                earlier = [one for one in known if one.subject == revocation.subject]
                if earlier:
                    return earlier[0]
                content = read_private(path, REVOCATIONS_MAX) if path.exists() else b""
                if not content.endswith(b"\n"):
                    content += b"\n" if content else b""
                unnamed = path.with_suffix(".new")
                # A process may have been killed here.
                unnamed.unlink(missing_ok=True)
                write_private(unnamed, content + line)
                unnamed.rename(path)
                sync_folder(self.path)
        except StoreError:
            raise
        except OSError as exc:
            raise StoreError(f"{path} cannot be written: {exc.strerror or exc}") from exc
        return revocation

    def revocations(self) -> tuple[MeshRevocation, ...]:
        """Return the revocations in the folder. Raises StoreError."""
        path = self.path / REVOCATIONS
        trust = Trust(self.keys().mesh_id, self.roots())
        return read_revocations(path, trust) if path.exists() else ()

    def roots(self) -> frozenset[bytes]:
        """Return the key of the authority, and the roots in the folder. Raises StoreError."""
        path = self.path / ROOTS
        more = read_roots(path) if path.exists() else frozenset()
        return more | {public_key_of(self.keys().seed)}

    def check_trusted(self, mesh_id: str, roots: frozenset[bytes]) -> None:
        """Raise StoreError unless members of a mesh with these roots take what it issues."""
        keys = self.keys()
        if keys.mesh_id != mesh_id:
            raise StoreError(f"{self.path} is of mesh {keys.mesh_id}, and the node is of {mesh_id}")
        if public_key_of(keys.seed) not in roots:
            raise StoreError(
                f"the key in {self.path / GENESIS} is no root of the node, so that whom it enrolls "
                "would be refused"
            )

    def genesis(self) -> MeshGenesis:
        """Return the genesis. Raises StoreError."""
        path = self.path / GENESIS
        try:
            return decode_mesh_genesis(read_private(path, GENESIS_MAX))
        except Malformed as fault:
            raise StoreError(f"{path} is no genesis of a mesh: {fault.reason}") from fault

    def keys(self) -> AuthorityKeys:
        """Return what the authority signs with and gives away. Raises StoreError."""
        genesis = self.genesis()
        mesh = Mesh.begin(genesis.name, genesis.root_secret)
        return AuthorityKeys(mesh.mesh_id, genesis.authority_secret, mesh.formation_secret)


def credentials_of(genesis: MeshGenesis) -> MeshCredentials:
    """Return the credentials that members of a mesh have."""
    mesh = Mesh.begin(genesis.name, genesis.root_secret)
    return MeshCredentials(
        genesis.name,
        mesh.mesh_id,
        mesh.formation_secret,
        public_key_of(genesis.authority_secret),
        genesis.policy,
    )


def secret_text(secret: bytes) -> bytes:
    """Return the content of a file with a secret, as `--formation-secret-file` reads it."""
    return base64.b64encode(secret) + b"\n"
