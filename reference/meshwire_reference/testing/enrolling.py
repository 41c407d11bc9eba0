"""An authority and a client of enrollment for tests, with keys that are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from meshwire_reference.core.enrollment.applicant import Application
from meshwire_reference.core.enrollment.authority import (
    AuthorityKeys,
    Caller,
    Invitation,
    digest_of,
)
from meshwire_reference.core.enrollment.framing import FramedMessage, framed
from meshwire_reference.core.identity import public_key_of
from meshwire_reference.store.mesh_folder import MeshFolder
from meshwire_reference.wire.enrollment import EnrollmentRequest, encode_enrollment_request
from meshwire_spec.numbers import MeshPolicy

NOW_MS: Final = 1_700_000_000_123
TERM_MS: Final = 3_600_000
AUTHORITY_SEED, CLIENT_SEED = bytes(range(1, 33)), bytes(range(33, 65))
FORMATION_SECRET: Final = bytes(range(65, 97))
TOKEN: Final = bytes(range(97, 129))
KEYS: Final = AuthorityKeys("A1B2C3D4", AUTHORITY_SEED, FORMATION_SECRET)
CALLER: Final = Caller(public_key_of(CLIENT_SEED), "192.0.2.1")
INVITATION: Final = Invitation(digest_of(TOKEN), NOW_MS + TERM_MS, certificate_ms=TERM_MS)
APPLICATION: Final = Application(
    CLIENT_SEED, KEYS.mesh_id, public_key_of(AUTHORITY_SEED), TOKEN, "node-2"
)


def received(half: bytes) -> FramedMessage:
    """Return what a half with these bytes and FIN carried."""
    message = FramedMessage()
    message.receive(half, fin=True)
    return message


def sent(request: EnrollmentRequest) -> FramedMessage:
    """Return a request as it comes to an authority."""
    return received(framed(encode_enrollment_request(request)))


def new_mesh(path: Path, now_ms: int, *tokens: bytes) -> MeshFolder:
    """Make the folder of a mesh that has given out these tokens."""
    folder = MeshFolder(path)
    folder.create("alpha", MeshPolicy.CONTROLLED, lambda size: bytes(range(7, 7 + size)), now_ms)
    for token in tokens:
        invitation = replace(INVITATION, digest=digest_of(token), expires_at=now_ms + TERM_MS)
        folder.invitations.add(invitation, now_ms)
    return folder


def applicant(folder: MeshFolder, token: bytes, seed: bytes = CLIENT_SEED) -> Application:
    """Return what a client with a token of this mesh asks for."""
    keys = folder.keys()
    return Application(seed, keys.mesh_id, public_key_of(keys.seed), token, "node-2")
