"""The invitations of a mesh: one file for each token that was given out, one more once it is used.

The name of a file is the digest of the token; no file holds the token. The file of a use gets its
name, whole and durable, before `claim` returns, and only if there is none yet, so that of any
number of uses one succeeds. It stays when the invitation has gone: it says who has enrolled.
A file that says nothing is skipped and stands in `faults`; one with the name of a use counts as it.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from meshwire_reference.core.enrollment.authority import Invitation
from meshwire_reference.store.base import StoreError
from meshwire_reference.store.private_files import (
    make_private_folder,
    read_private,
    sync_folder,
    write_whole,
)
from meshwire_reference.wire.certificates import (
    MeshCertificate,
    decode_mesh_certificate,
    encode_mesh_certificate,
)
from meshwire_reference.wire.errors import Malformed

INVITATIONS_MAX: Final = 10_000
"""Invitations that a folder holds."""
FILE_MAX: Final = 4096
"""Bytes of a file."""
TIME_MAX_MS: Final = 2**62
"""Greatest time and term of an invitation: a certificate can state their sum."""
OPEN, USED = ".invitation", ".used"
_NAME: Final = re.compile(r"([0-9a-f]{64})(\.invitation|\.used)")

SaidInFile = TypeVar("SaidInFile")


@dataclass(frozen=True, slots=True)
class Use:
    """Who has enrolled with a token, under which name, and when, in ms since 1970.

    `certificate` is None in files of meshwire before it was kept.
    """

    endpoint_id: bytes
    node_id: str
    at_ms: int
    certificate: MeshCertificate | None = None


class Invitations:
    """The invitations in one folder, of which several processes may use one at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, Invitation] = {}
        self._faults: dict[Path, str] = {}

    @property
    def faults(self) -> tuple[str, ...]:
        """A line for each file that is skipped: it is no invitation, or no use of one."""
        return tuple(self._faults.values())

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
            write_whole(self._path(invitation.digest, OPEN), json.dumps(said).encode())
        except OSError as exc:
            raise StoreError(f"{self._folder} cannot be written: {exc.strerror or exc}") from exc

    def read(self) -> tuple[Invitation, ...]:
        """Return every invitation, used and expired ones too. Raises StoreError."""
        names = self._names()
        # What a file says never changes, so each is read once.
        known = {one: self._known.get(one) or self._read(one) for one in names[OPEN]}
        self._known = {digest: one for digest, one in known.items() if one is not None}
        used = set(names[USED])
        return tuple(replace(one, is_used=digest in used) for digest, one in self._known.items())

    def claim(self, digest: bytes, use: Use) -> bool:
        """Use an invitation, durably; return False if it was used before. Raises StoreError.

        `use` is kept for ever.
        """
        certificate = use.certificate
        said = {
            "endpoint_id": use.endpoint_id.hex(),
            "node_id": use.node_id,
            "at_ms": use.at_ms,
            "certificate": None
            if certificate is None
            else base64.b64encode(encode_mesh_certificate(certificate)).decode(),
        }
        try:
            write_whole(self._path(digest, USED), json.dumps(said).encode())
        except FileExistsError:
            return False
        except OSError as exc:
            raise StoreError(f"{self._folder} cannot be written: {exc.strerror or exc}") from exc
        return True

    def uses(self) -> tuple[Use, ...]:
        """Return who has enrolled, the first one first. Raises StoreError."""
        found = [self._read_use(digest) for digest in self._names()[USED]]
        return tuple(sorted((one for one in found if one is not None), key=lambda one: one.at_ms))

    def _names(self) -> dict[str, list[str]]:
        """Return the digests of invitations and uses that have a file."""
        found: dict[str, list[str]] = {OPEN: [], USED: []}
        try:
            names = sorted(path.name for path in self._folder.iterdir())
        except FileNotFoundError:
            return found
        except OSError as exc:
            raise StoreError(f"cannot read {self._folder}: {exc.strerror or exc}") from exc
        for match in filter(None, map(_NAME.fullmatch, names)):
            found[match[2]].append(match[1])
        self._faults = {path: why for path, why in self._faults.items() if path.name in names}
        return found

    def _has_gone(self, invitation: Invitation, now_ms: int) -> bool:
        """Remove an invitation that has expired; return True if it has. Its use stays."""
        if now_ms < invitation.expires_at:
            return False
        try:
            self._path(invitation.digest, OPEN).unlink(missing_ok=True)
            sync_folder(self._folder)
        except OSError as exc:
            raise StoreError(f"{self._folder} cannot be written: {exc.strerror or exc}") from exc
        return True

    def _read(self, digest: str) -> Invitation | None:
        """Return an invitation, None if its file says none or another process has removed it."""
        path = self._folder / (digest + OPEN)
        return self._parsed(path, "invitation", lambda said: _invitation_of(digest, said))

    def _read_use(self, digest: str) -> Use | None:
        """Return a use, None if its file says none."""
        return self._parsed(self._folder / (digest + USED), "use of an invitation", _use_of)

    def _parsed(
        self, path: Path, what: str, parse: Callable[[Any], SaidInFile]
    ) -> SaidInFile | None:
        try:
            said = json.loads(read_private(path, FILE_MAX))
            if isinstance(said, dict):
                return parse(said)
            why = f"{path} is no {what}"
        except StoreError as exc:
            if isinstance(exc.__cause__, FileNotFoundError):
                return None
            why = str(exc)
        except (ValueError, TypeError, KeyError, RecursionError, Malformed):
            why = f"{path} is no {what}"
        self._faults[path] = why
        return None

    def _path(self, digest: bytes, suffix: str) -> Path:
        return self._folder / (digest.hex() + suffix)


def _invitation_of(digest: str, said: dict[str, Any]) -> Invitation:
    terms = _time(said["expires_at_ms"]), _time(said["certificate_ms"])
    node_id = said["node_id"]
    if not isinstance(node_id, str | None):
        raise TypeError("a name is text")
    return Invitation(bytes.fromhex(digest), *terms, node_id)


def _use_of(said: dict[str, Any]) -> Use:
    # Before certificates were kept there was no such member.
    text = said.get("certificate")
    certificate = None if text is None else decode_mesh_certificate(base64.b64decode(text))
    endpoint_id, node_id = bytes.fromhex(said["endpoint_id"]), str(said["node_id"])
    return Use(endpoint_id, node_id, _time(said["at_ms"]), certificate)


def _time(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= TIME_MAX_MS:
        raise ValueError("a time is a number of ms")
    return value
