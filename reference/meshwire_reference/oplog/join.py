"""The join token of a mesh: both sides prove that they have it, and neither sends it.

Each side says who it is with a nonce. The side that was dialled proves itself first, so that an
address that a record names learns nothing (D-128), and says in the end that the session begins: the
other side sends nothing long before. A proof is bound to both nonces, the role, both
node ids and, under TLS, to the certificate: none can be used on another session, sent back, or
passed on by who has another certificate.
"""

import json
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from hmac import compare_digest, digest
from typing import Any

from meshwire_reference.oplog.operations import KEY_SIZE
from meshwire_reference.oplog.values import Unreadable, parse_json
from meshwire_spec.numbers import OPLOG_JOIN_BYTES_MAX, OPLOG_TOKEN_MIN

LABEL = b"meshwire oplog/1 join"
JOIN_VERSION = 1
NONCE_SIZE = 32
# In place of a certificate, on a connection without TLS.
NO_CERTIFICATE = bytes(32)


class Role(IntEnum):
    """The side of a connection, as a proof has it."""

    DIALLER = 1
    LISTENER = 2


class JoinRefused(Exception):
    """The peer has not proven itself; the message is the reason of the close frame."""


@dataclass(frozen=True, slots=True)
class JoinFacts:
    """What both sides of a connection know, and a proof covers."""

    dialler_nonce: bytes
    listener_nonce: bytes
    dialler_id: bytes
    listener_id: bytes
    certificate: bytes = NO_CERTIFICATE


def proof_of(token: bytes, role: Role, facts: JoinFacts) -> bytes:
    """Return the proof of the side `role`."""
    # OP-054
    parts = (
        LABEL,
        bytes([role]),
        facts.dialler_nonce,
        facts.listener_nonce,
        facts.dialler_id,
        facts.listener_id,
        facts.certificate,
    )
    return digest(token, b"".join(parts), "sha256")


def certificate_hash(certificate: bytes | None) -> bytes:
    """Return what a proof has of a certificate in DER, or of a connection without TLS."""
    return NO_CERTIFICATE if certificate is None else sha256(certificate).digest()


def read_token(content: bytes) -> bytes:
    """Return the token of a file: its bytes without white space around; raise ValueError."""
    token = content.strip()
    if len(token) < OPLOG_TOKEN_MIN:
        raise ValueError(f"the join token has fewer than {OPLOG_TOKEN_MIN} bytes")
    if not token.isascii() or not token.decode().isprintable():
        raise ValueError("the join token is not one line of printable ASCII")
    return token


@dataclass(frozen=True, slots=True)
class JoinIdentity:
    """The token of a node, and its id, which is the key of its author."""

    token: bytes
    node_id: bytes


class Join:
    """One connection until both sides have proven themselves, without input or output."""

    def __init__(
        self, identity: JoinIdentity, role: Role, nonce: bytes, certificate: bytes
    ) -> None:
        self._identity = identity
        self._role = role
        self._nonce = nonce
        self._certificate = certificate
        self._facts: JoinFacts | None = None
        # The id that the peer stated.
        self.peer_id = b""
        # The peer has proven itself, and the session begins.
        self.is_proven = False
        self.is_over = False

    def hello(self) -> str:
        """Return the first message of either side."""
        members = {"node": self._identity.node_id.hex(), "nonce": self._nonce.hex()}
        return json.dumps({"type": "join-hello", "v": JOIN_VERSION, **members})

    def take(self, message: str | bytes) -> list[str]:
        """Take a message of the peer; return what answers it. Raise JoinRefused."""
        value = _read(message)
        if self._facts is None:
            return self._take_hello(value)
        if not self.is_proven:
            return self._take_proof(value, self._facts)
        if value.get("type") != "join-done":
            raise JoinRefused("join-done expected")
        self.is_over = True
        return []

    def _take_hello(self, value: dict[str, Any]) -> list[str]:
        if value.get("type") != "join-hello" or value.get("v") != JOIN_VERSION:
            raise JoinRefused("join-hello expected")
        self.peer_id = _hex(value.get("node"), KEY_SIZE)
        nonce = _hex(value.get("nonce"), NONCE_SIZE)
        if self.peer_id == self._identity.node_id:
            # D-129
            raise JoinRefused("own node")
        ours, theirs = (self._nonce, self._identity.node_id), (nonce, self.peer_id)
        dialler, listener = (ours, theirs) if self._role is Role.DIALLER else (theirs, ours)
        self._facts = JoinFacts(dialler[0], listener[0], dialler[1], listener[1], self._certificate)
        # OP-055
        return [self._proof(self._facts)] if self._role is Role.LISTENER else []

    def _take_proof(self, value: dict[str, Any], facts: JoinFacts) -> list[str]:
        if value.get("type") != "join-proof":
            raise JoinRefused("join-proof expected")
        other = Role.LISTENER if self._role is Role.DIALLER else Role.DIALLER
        proof = _hex(value.get("proof"), KEY_SIZE)
        if not compare_digest(proof, proof_of(self._identity.token, other, facts)):
            raise JoinRefused("wrong proof")
        self.is_proven = True
        if self._role is Role.DIALLER:
            return [self._proof(facts)]
        self.is_over = True
        return [json.dumps({"type": "join-done"})]

    def _proof(self, facts: JoinFacts) -> str:
        proof = proof_of(self._identity.token, self._role, facts)
        return json.dumps({"type": "join-proof", "proof": proof.hex()})


def _read(message: str | bytes) -> dict[str, Any]:
    if not isinstance(message, str) or len(message) > OPLOG_JOIN_BYTES_MAX:
        raise JoinRefused("short text expected")
    try:
        value = parse_json(message)
    except Unreadable as exc:
        raise JoinRefused(exc.reason) from exc
    if not isinstance(value, dict):
        raise JoinRefused("object expected")
    return value


def _hex(value: object, size: int) -> bytes:
    # Only the form that everyone writes: the same bytes have one text.
    if isinstance(value, str) and len(value) == 2 * size and value == value.lower():
        try:
            return bytes.fromhex(value)
        except ValueError:
            pass
    raise JoinRefused(f"{size} bytes in hexadecimal expected")
