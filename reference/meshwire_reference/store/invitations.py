"""The invitations of a mesh: one file for each token that was given out, one more once it is used.

The name of a file is the digest of the token; no file holds the token. The file of a use is made
with its name alone if there is none yet, so that of any number of uses one succeeds, and it is
durable before `claim` returns.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from meshwire_reference.core.enrollment.authority import Invitation
from meshwire_reference.store.base import StoreError
from meshwire_reference.store.private_files import (
    make_private_folder,
    read_private,
    sync_folder,
    write_private,
)

INVITATIONS_MAX: Final = 10_000
"""Invitations that a folder holds."""
FILE_MAX: Final = 4096
"""Bytes of a file."""
NEW, OPEN, USED = ".new", ".invitation", ".used"
_INVITATION: Final = re.compile(r"[0-9a-f]{64}\.invitation")


class Invitations:
    """The invitations in one folder, of which several processes may use one at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, Invitation] = {}

    def add(self, invitation: Invitation, now_ms: int) -> None:
        """Add an invitation, durably, and remove those that have expired. Raises StoreError."""
        known = [one for one in self.read() if not self._has_gone(one, now_ms)]
        if len(known) >= INVITATIONS_MAX:
            raise StoreError(f"{self._folder} has {INVITATIONS_MAX} invitations already")
        said = {
            "expires_at_ms": invitation.expires_at,
            "certificate_ms": invitation.certificate_ms,
            "node_id": invitation.node_id,
        }
        try:
            make_private_folder(self._folder)
            # A process may be killed here: what has the name of an invitation is whole.
            unnamed = self._path(invitation.digest, NEW)
            write_private(unnamed, json.dumps(said).encode())
            unnamed.rename(self._path(invitation.digest, OPEN))
            sync_folder(self._folder)
        except OSError as exc:
            raise StoreError(f"{self._folder} cannot be written: {exc.strerror or exc}") from exc

    def read(self) -> tuple[Invitation, ...]:
        """Return every invitation, used and expired ones too. Raises StoreError."""
        try:
            names = {path.name for path in self._folder.iterdir()}
        except FileNotFoundError:
            return ()
        except OSError as exc:
            raise StoreError(f"cannot read {self._folder}: {exc.strerror or exc}") from exc
        digests = sorted(name.removesuffix(OPEN) for name in names if _INVITATION.fullmatch(name))
        # What a file says never changes, so each is read once.
        known = {digest: self._known.get(digest) or self._read(digest) for digest in digests}
        self._known = {digest: one for digest, one in known.items() if one is not None}
        return tuple(
            replace(one, is_used=digest + USED in names) for digest, one in self._known.items()
        )

    def claim(self, digest: bytes, use: Mapping[str, object]) -> bool:
        """Use an invitation, durably; return False if it was used before. Raises StoreError.

        `use` is kept beside it: who has used it, and when.
        """
        try:
            write_private(self._path(digest, USED), json.dumps(use).encode())
        except FileExistsError:
            return False
        except OSError as exc:
            raise StoreError(f"{self._folder} cannot be written: {exc.strerror or exc}") from exc
        return True

    def uses(self) -> dict[str, str]:
        """Return the names of the nodes that have enrolled, by endpoint id. Raises StoreError.

        Those whose tokens have been removed since are not among them.
        """
        found: dict[str, str] = {}
        for path in sorted(self._folder.glob(f"*{USED}")):
            try:
                use = json.loads(read_private(path, FILE_MAX))
                found[str(use["endpoint_id"])] = str(use["node_id"])
            except (ValueError, TypeError, KeyError) as exc:
                raise StoreError(f"{path} is no use of an invitation") from exc
        return found

    def _has_gone(self, invitation: Invitation, now_ms: int) -> bool:
        """Remove an invitation that has expired; return True if it has."""
        if now_ms < invitation.expires_at:
            return False
        try:
            # The invitation first: without it a use is nothing, and without a use it could be used.
            self._path(invitation.digest, OPEN).unlink(missing_ok=True)
            sync_folder(self._folder)
            self._path(invitation.digest, USED).unlink(missing_ok=True)
        except OSError as exc:
            raise StoreError(f"{self._folder} cannot be written: {exc.strerror or exc}") from exc
        return True

    def _read(self, name: str) -> Invitation | None:
        """Return an invitation, None if another process has just removed it."""
        path = self._folder / (name + OPEN)
        try:
            said: dict[str, Any] = json.loads(read_private(path, FILE_MAX))
            expires_at, lasting, node_id = (
                said["expires_at_ms"],
                said["certificate_ms"],
                said["node_id"],
            )
        except StoreError as exc:
            if isinstance(exc.__cause__, FileNotFoundError):
                return None
            raise
        except (ValueError, TypeError, KeyError) as exc:
            raise StoreError(f"{path} is no invitation") from exc
        if not (_is_time(expires_at) and _is_time(lasting) and isinstance(node_id, str | None)):
            raise StoreError(f"{path} is no invitation")
        return Invitation(bytes.fromhex(name), expires_at, lasting, node_id)

    def _path(self, digest: bytes, suffix: str) -> Path:
        return self._folder / (digest.hex() + suffix)


def _is_time(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
