"""The initiator's side of the formation handshake (page Handshake, dialect H1), written anew.

The key derivation stands here once more, on the cryptography library and nothing of the
reference, so that a slip shared by two copies cannot pass.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from pathlib import Path

from meshwire_conformance.errors import UsageError
from meshwire_conformance.targets.transport import Connection, Stream
from meshwire_spec.codec import Malformed, Message, decode, encode
from meshwire_spec.numbers import HMAC, NONCE, RESULT_ACCEPTED, SECRET

KEY_INFO = b"peat-protocol-v1-formation"
"""The info text of the key derivation (HS-002)."""


class HandshakeFailed(Exception):
    """The target did not let the suite in; the text says where it ended."""


class WrongFormation(HandshakeFailed):
    """The challenge names another formation than the one that was asked for."""

    def __init__(self, formation_id: str) -> None:
        super().__init__(f"the challenge names the formation {formation_id!r}")
        self.formation_id = formation_id


class Rejected(HandshakeFailed):
    """The target said that the answer is wrong."""


@dataclass(frozen=True, slots=True)
class Formation:
    """What an initiator has to know: the id of the formation and its raw secret."""

    formation_id: str
    secret: bytes

    def answer(self, nonce: bytes) -> bytes:
        """The HMAC that answers a challenge with this nonce."""
        from cryptography.hazmat.primitives import hashes, hmac  # noqa: PLC0415 - slow to import
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415 - likewise

        identity = self.formation_id.encode()
        secret = self.secret
        # A secret of another length than 32 is replaced by its SHA-256.
        if len(secret) != SECRET:
            secret = hashlib.sha256(secret).digest()
        key = HKDF(hashes.SHA256(), HMAC, salt=identity, info=KEY_INFO).derive(secret)
        code = hmac.HMAC(key, hashes.SHA256())
        code.update(nonce + identity)
        return code.finalize()


def read_secret(path: Path) -> bytes:
    """The raw secret in a file of base64 text; raises UsageError if there is no secret in it."""
    try:
        return base64.b64decode(path.read_text("ascii").strip(), validate=True)
    except (OSError, UnicodeDecodeError, binascii.Error) as exc:
        raise UsageError(f"no formation secret in {path}: {exc}") from exc


def formation_id_bytes(formation_id: str) -> bytes:
    """The first message of an initiator."""
    return encode(Message("formation_id", {"formation_id": formation_id}))


async def read_challenge(stream: Stream, deadline_s: float) -> tuple[str, bytes]:
    """Formation id and nonce of the acceptor's challenge; raises HandshakeFailed."""
    received = stream.received

    def complete() -> bool:
        return len(received) >= 2 and len(received) >= _challenge_size(received)  # noqa: PLR2004

    await stream.wait_for(lambda: complete() or stream.read_over, deadline_s)
    if not complete():
        raise HandshakeFailed(f"no challenge came{_how_it_ended(stream)}")
    size = _challenge_size(received)
    try:
        challenge = decode("formation_challenge", bytes(received[:size]))
    except Malformed as exc:
        raise HandshakeFailed(f"the challenge is malformed: {exc}") from exc
    del received[:size]
    return challenge.fields["formation_id"], challenge.fields["nonce"]


async def read_result(stream: Stream, deadline_s: float) -> int:
    """The result byte; raises HandshakeFailed where none comes."""
    await stream.wait_for(lambda: bool(stream.received) or stream.read_over, deadline_s)
    if not stream.received:
        raise HandshakeFailed(f"no result came{_how_it_ended(stream)}")
    result = stream.received[0]
    del stream.received[:1]
    return result


async def prove(connection: Connection, formation: Formation, deadline_s: float) -> None:
    """Run the handshake as initiator on a new connection.

    Raises HandshakeFailed, and of its kinds WrongFormation and Rejected where it was that.
    """
    try:
        stream = await connection.open()
    except ConnectionError as exc:
        raise HandshakeFailed(str(exc)) from exc
    await stream.write(formation_id_bytes(formation.formation_id))
    formation_id, nonce = await read_challenge(stream, deadline_s)
    if formation_id != formation.formation_id:
        raise WrongFormation(formation_id)
    await stream.write(formation.answer(nonce))
    if await read_result(stream, deadline_s) != RESULT_ACCEPTED:
        raise Rejected("the target rejected the right answer")
    await stream.finish()


def _challenge_size(received: bytearray) -> int:
    return 2 + int.from_bytes(received[:2], "little") + NONCE


def _how_it_ended(stream: Stream) -> str:
    closed = stream.connection.closed
    if closed is not None:
        return f": the connection was closed with code {closed.code} {closed.text}".rstrip()
    if stream.finished:
        return ": the target finished the stream"
    if stream.reset_code is not None:
        return f": the target reset the stream with code {stream.reset_code}"
    return " within the deadline"
