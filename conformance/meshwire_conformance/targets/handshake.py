"""Both sides of the formation handshake, for the suite (page Handshake), in both dialects.

The key derivation is implemented here independently of the reference, so that a mistake shared by
two copies cannot pass.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from meshwire_conformance.errors import UsageError
from meshwire_conformance.targets.transport import Connection, Dial, Stream
from meshwire_spec.codec import Malformed, Message, decode, encode
from meshwire_spec.numbers import (
    CHALLENGE_H2_MAX,
    HANDSHAKE_VERSION,
    HMAC,
    NONCE,
    RESPONSE_H2_MAX,
    RESULT_ACCEPTED,
    SECRET,
)

KEY_INFO = b"peat-protocol-v1-formation"
"""Info text of the key derivation (HS-002)."""
H1 = "H1"
H2 = "H2"
OTHER = {H1: H2, H2: H1}
"""The other dialect of each."""
EARLY = HMAC.to_bytes(4, "little")
"""What an early writer of the older form of H2 sends first: the length of its response."""
_ID_LENGTH = 2
"""Bytes of the length of a formation id."""
_LENGTH = 4
"""Bytes of the length before a message of H2."""
_FIRST_END = 4
"""Numbers of streams below it are those of the first stream of each side and kind."""


class HandshakeFailed(Exception):
    """The handshake was not completed; the text says at which message."""


class NoAnswer(HandshakeFailed):
    """A message of the target did not come in time, and it refused nothing."""


class WrongFormation(HandshakeFailed):
    """A message of the target names another formation than the requested one."""

    def __init__(self, formation_id: str, message: str = "challenge") -> None:
        super().__init__(f"the {message} names the formation {formation_id!r}")
        self.formation_id = formation_id


class Rejected(HandshakeFailed):
    """The response is wrong: the target reported so, or its own is."""


class Gate:
    """Reader of the streams that a target has opened on a connection that it has dialled.

    The first bidi stream is kept, since the handshake runs on it; all others are passed on.
    `early` counts those that came before the target was `admitted`.
    """

    def __init__(self, dial: Dial) -> None:
        self._pass_on = dial.on_stream
        self._first: Stream | None = None
        self.admitted = False
        self.early = 0

    def __call__(self, stream: Stream) -> None:
        """Keep a stream or pass it on."""
        if not stream.uni and stream.number < _FIRST_END:
            self._first = stream
            # Not every binding wakes those who wait for the connection where a stream begins.
            stream.connection.signal.notify()
            return
        self.early += not self.admitted
        if self._pass_on is not None:
            self._pass_on(stream)

    async def handshake_stream(self, connection: Connection, deadline_s: float) -> Stream:
        """Return the first bidi stream of the target; raises HandshakeFailed if none comes."""
        await connection.signal.wait_for(
            lambda: self._first is not None or connection.closed is not None, deadline_s
        )
        if self._first is not None:
            return self._first
        if connection.closed is None:
            raise NoAnswer("the target opened no stream for the handshake within the deadline")
        raise HandshakeFailed("the target ended the connection without a handshake")


@dataclass(frozen=True, slots=True)
class Formation:
    """What a member of a formation knows: its id and its raw secret.

    `dialect` is that of the target. If it `detects`, it serves the other one too, and may dial in
    either. If it `proves`, it proves itself where it has accepted, and wants that of an acceptor.
    """

    formation_id: str
    secret: bytes
    dialect: str = H1
    detects: bool = False
    proves: bool = False

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


# --- Messages ------------------------------------------------------------------------------------


def first_bytes(formation_id: str, dialect: str = H1) -> bytes:
    """Return the first message of an initiator."""
    if dialect == H2:
        return encode(Message("formation_version", {"version": HANDSHAKE_VERSION}))
    return encode(Message("formation_id", {"formation_id": formation_id}))


def challenge_bytes(formation_id: str, nonce: bytes, dialect: str = H1) -> bytes:
    """Return the challenge of an acceptor."""
    fields = {"formation_id": formation_id, "nonce": nonce}
    return encode(Message(CHALLENGES[dialect], fields))


def response_bytes(code: bytes, dialect: str = H1) -> bytes:
    """Return the response of an initiator with this HMAC."""
    extra = {"extra": b""} if dialect == H2 else {}
    return encode(Message(RESPONSES[dialect], {"hmac": code, **extra}))


FIRSTS = {H1: "formation_id", H2: "formation_version"}
CHALLENGES = {H1: "formation_challenge", H2: "formation_challenge_h2"}
RESPONSES = {H1: "formation_response", H2: "formation_response_h2"}
"""Kinds of messages by dialect."""


async def read_challenge(stream: Stream, deadline_s: float, dialect: str = H1) -> tuple[str, bytes]:
    """Return formation id and nonce of the acceptor's challenge; raises HandshakeFailed."""
    size = _id_and(NONCE) if dialect == H1 else _after_length(CHALLENGE_H2_MAX)
    challenge = await _read(stream, CHALLENGES[dialect], "challenge", size, deadline_s)
    return challenge.fields["formation_id"], challenge.fields["nonce"]


async def read_formation_id(stream: Stream, deadline_s: float) -> str:
    """Return the formation id that an initiator sends first; raises HandshakeFailed."""
    named = await _read(stream, FIRSTS[H1], "formation id", _id_and(0), deadline_s)
    formation_id: str = named.fields["formation_id"]
    return formation_id


async def read_version(stream: Stream, deadline_s: float) -> None:
    """Take the version that a connector sends first; raises HandshakeFailed."""
    await _read(stream, FIRSTS[H2], "version", lambda _: 1, deadline_s)


async def read_response(stream: Stream, deadline_s: float, dialect: str = H1) -> bytes:
    """Return the response of an initiator; raises HandshakeFailed if it does not come whole."""
    size = (lambda _: HMAC) if dialect == H1 else _after_length(RESPONSE_H2_MAX)
    response = await _read(stream, RESPONSES[dialect], "response", size, deadline_s)
    code: bytes = response.fields["hmac"]
    return code


async def spoken_dialect(stream: Stream, formation: Formation, deadline_s: float) -> str:
    """Return the dialect of an initiator, by its first byte where it may speak either.

    Raises HandshakeFailed if that does not come.
    """
    if not formation.detects:
        return formation.dialect
    received = stream.received
    await stream.wait_for(lambda: bool(received) or stream.read_over, deadline_s)
    if not received:
        raise _missing("first message", stream)
    return H2 if received[0] == HANDSHAKE_VERSION else H1


Size = Callable[[bytearray], int | None]
"""Returns the size of a message from its beginning, None while that is too short."""


def _id_and(more: int) -> Size:
    """Return the size of a message of a formation id and `more` bytes."""

    def size(received: bytearray) -> int | None:
        if len(received) < _ID_LENGTH:
            return None
        return _ID_LENGTH + int.from_bytes(received[:_ID_LENGTH], "little") + more

    return size


def _after_length(maximum: int) -> Size:
    """Return the size of a message after its length; of one above `maximum`, the length alone."""

    def size(received: bytearray) -> int | None:
        if len(received) < _LENGTH:
            return None
        length = int.from_bytes(received[:_LENGTH], "little")
        return _LENGTH + (length if length <= maximum else 0)

    return size


async def _read(stream: Stream, kind: str, what: str, size: Size, deadline_s: float) -> Message:
    """Return a message of a known size; raises HandshakeFailed."""
    received = stream.received

    def complete() -> bool:
        needed = size(received)
        return needed is not None and len(received) >= needed

    await stream.wait_for(lambda: complete() or stream.read_over, deadline_s)
    if not complete():
        raise _missing(what, stream)
    data = bytes(received[: size(received)])
    try:
        message = decode(kind, data)
    except Malformed as exc:
        raise HandshakeFailed(f"the {what} is malformed: {exc}") from exc
    del received[: len(data)]
    return message


async def read_result(stream: Stream, deadline_s: float) -> int:
    """Return the result byte; raises HandshakeFailed if none comes."""
    await stream.wait_for(lambda: bool(stream.received) or stream.read_over, deadline_s)
    if not stream.received:
        raise _missing("result", stream)
    result = stream.received[0]
    del stream.received[:1]
    return result


# --- Both roles ----------------------------------------------------------------------------------


async def prove(connection: Connection, formation: Formation, deadline_s: float) -> None:
    """Run the handshake as initiator on a new connection, in the dialect of the target.

    Raises HandshakeFailed; its subclasses WrongFormation and Rejected name those causes.
    """
    try:
        stream = await connection.open()
    except ConnectionError as exc:
        raise HandshakeFailed(str(exc)) from exc
    dialect = formation.dialect
    await stream.write(first_bytes(formation.formation_id, dialect))
    formation_id, nonce = await read_challenge(stream, deadline_s, dialect)
    if formation_id != formation.formation_id:
        raise WrongFormation(formation_id)
    await stream.write(response_bytes(formation.answer(nonce), dialect))
    if await read_result(stream, deadline_s) != RESULT_ACCEPTED:
        raise Rejected("the target rejected the right answer")
    await stream.finish()


async def admit(
    connection: Connection, gate: Gate, formation: Formation, deadline_s: float
) -> None:
    """Run the handshake as acceptor on a connection that the target has dialled.

    Raises HandshakeFailed; its subclasses WrongFormation and Rejected name those causes.
    """
    stream = await gate.handshake_stream(connection, deadline_s)
    dialect = await spoken_dialect(stream, formation, deadline_s)
    if dialect == H2:
        await read_version(stream, deadline_s)
    else:
        named = await read_formation_id(stream, deadline_s)
        if named != formation.formation_id:
            raise WrongFormation(named, "formation id")
    nonce = secrets.token_bytes(NONCE)
    await stream.write(challenge_bytes(formation.formation_id, nonce, dialect))
    if await read_response(stream, deadline_s, dialect) != formation.answer(nonce):
        raise Rejected("the target answered the challenge wrongly")
    gate.admitted = True
    await stream.write(bytes((RESULT_ACCEPTED,)))
    await stream.finish()


async def take_proof(
    connection: Connection, gate: Gate, formation: Formation, deadline_s: float
) -> None:
    """Take the proof of a target that has accepted the suite: H1 in reverse (HS-070).

    Raises HandshakeFailed; its subclasses WrongFormation and Rejected name those causes.
    """
    await admit(connection, gate, replace(formation, dialect=H1, detects=False), deadline_s)


async def give_proof(connection: Connection, formation: Formation, deadline_s: float) -> None:
    """Prove the suite to a target that it has accepted, in the same way.

    Raises HandshakeFailed; its subclasses WrongFormation and Rejected name those causes.
    """
    await prove(connection, replace(formation, dialect=H1), deadline_s)


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
