"""The initiator's side of the formation handshake (page Handshake, dialect H1).

The key derivation is implemented here independently of the reference, so that a mistake shared by
two copies cannot pass.
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
"""Info text of the key derivation (HS-002)."""


class HandshakeFailed(Exception):
    """The target did not accept the suite; the text says at which message."""


class NoAnswer(HandshakeFailed):
    """A message of the target did not come in time, and it refused nothing."""


class WrongFormation(HandshakeFailed):
    """The challenge names another formation than the requested one."""

    def __init__(self, formation_id: str) -> None:
        super().__init__(f"the challenge names the formation {formation_id!r}")
        self.formation_id = formation_id


class Rejected(HandshakeFailed):
    """The target reported that the response is wrong."""


@dataclass(frozen=True, slots=True)
class Formation:
    """The credentials of an initiator: the id of the formation and its raw secret."""

    formation_id: str
    secret: bytes

    def answer(self, nonce: bytes) -> bytes:
        """Return the HMAC that answers a challenge with this nonce."""
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
    """Return the raw secret in a file of base64 text; raises UsageError if it holds none."""
    try:
        return base64.b64decode(path.read_text("ascii").strip(), validate=True)
    except (OSError, UnicodeDecodeError, binascii.Error) as exc:
        raise UsageError(f"no formation secret in {path}: {exc}") from exc


def formation_id_bytes(formation_id: str) -> bytes:
    """Return the first message of an initiator."""
    return encode(Message("formation_id", {"formation_id": formation_id}))


async def read_challenge(stream: Stream, deadline_s: float) -> tuple[str, bytes]:
    """Return formation id and nonce of the acceptor's challenge; raises HandshakeFailed."""
    received = stream.received

    def complete() -> bool:
        return len(received) >= 2 and len(received) >= _challenge_size(received)  # noqa: PLR2004

    await stream.wait_for(lambda: complete() or stream.read_over, deadline_s)
    if not complete():
        raise _missing("challenge", stream)
    size = _challenge_size(received)
    try:
        challenge = decode("formation_challenge", bytes(received[:size]))
    except Malformed as exc:
        raise HandshakeFailed(f"the challenge is malformed: {exc}") from exc
    del received[:size]
    return challenge.fields["formation_id"], challenge.fields["nonce"]


async def read_result(stream: Stream, deadline_s: float) -> int:
    """Return the result byte; raises HandshakeFailed if none comes."""
    await stream.wait_for(lambda: bool(stream.received) or stream.read_over, deadline_s)
    if not stream.received:
        raise _missing("result", stream)
    result = stream.received[0]
    del stream.received[:1]
    return result


async def prove(connection: Connection, formation: Formation, deadline_s: float) -> None:
    """Run the handshake as initiator on a new connection.

    Raises HandshakeFailed; its subclasses WrongFormation and Rejected name those causes.
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


def _missing(what: str, stream: Stream) -> HandshakeFailed:
    closed = stream.connection.closed
    if closed is not None:
        how = f"the connection was closed with code {closed.code} {closed.text}".rstrip()
    elif stream.finished:
        how = "the target finished the stream"
    elif stream.reset_code is not None:
        how = f"the target reset the stream with code {stream.reset_code}"
    else:
        return NoAnswer(f"no {what} came within the deadline")
    return HandshakeFailed(f"no {what} arrived: {how}")
