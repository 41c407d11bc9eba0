"""The suite as a client of enrollment: tokens of the target, requests, and responses."""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from meshwire_conformance.errors import SuiteFault
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.case_streams import no_connection
from meshwire_conformance.socket_suite.evidence import CaseFailed, Sending
from meshwire_conformance.targets.attach import parse_address
from meshwire_conformance.targets.base import SCHEMES
from meshwire_conformance.targets.transport import Connection, Dialler, Stream
from meshwire_spec.codec import Malformed, Message, decode, encode
from meshwire_spec.numbers import (
    ENROLLMENT_ALPN,
    ENROLLMENT_MAX,
    SIGNATURE,
    EnrollmentStatus,
    Tier,
)
from meshwire_spec.schemas.targets import Enrollment

REQUEST, RESPONSE, CERTIFICATE = "enrollment_request", "enrollment_response", "mesh_certificate"
LENGTH = 4
"""Bytes of the length before a message."""


@dataclass(frozen=True, slots=True)
class Enrolling:
    """What a client asks for, before it is signed with the key of `seed`."""

    seed: bytes = field(repr=False)
    mesh_id: str
    token: bytes = field(repr=False)
    timestamp: int
    node_id: str = "suite"
    tier: Tier = Tier.TACTICAL

    def members(self, **wrong: Any) -> dict[str, Any]:
        """Return the members of the signed request; those in `wrong` replace the signed ones."""
        members: dict[str, Any] = {
            "public_key": public_key_of(self.seed),
            "mesh_id": self.mesh_id,
            "node_id": self.node_id,
            "tier": int(self.tier),
            "token": self.token,
            "timestamp": self.timestamp,
            "signature": bytes(SIGNATURE),
        }
        signed = encode(Message(REQUEST, members))[:-SIGNATURE]
        members["signature"] = Ed25519PrivateKey.from_private_bytes(self.seed).sign(signed)
        return {**members, **wrong}

    def encode(self, **wrong: Any) -> bytes:
        """Return the bytes of the request."""
        return encode(Message(REQUEST, self.members(**wrong)))


def public_key_of(seed: bytes) -> bytes:
    """Return the Ed25519 public key of a seed."""
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def framed(message: bytes) -> bytes:
    """Return the bytes of a half with this message."""
    return len(message).to_bytes(LENGTH, "little") + message


def enrollment_of(run: CaseRun) -> Enrollment:
    """Return what the target states about the enrollment that it serves."""
    stated = run.session.target.facts.enrollment
    if stated is None:
        raise SuiteFault(f"{run.case_id} needs `enrollment`")
    return stated


def seed_of(run: CaseRun, name: str = "X") -> bytes:
    """Return the seed of the endpoint key of a peer of the case's own."""
    return run.own_peer(name).dial().identity


def token_in(path: Path) -> bytes:
    """Return the token in a file that the target has written. Raises CaseFailed."""
    try:
        said = json.loads(path.read_bytes())
        return base64.b64decode(said["token"], validate=True)
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise CaseFailed("bad-token-file", f"the file has no token: {exc}") from exc


def new_folder() -> tempfile.TemporaryDirectory[str]:
    """Return a folder of this user alone, for the file of a token."""
    return tempfile.TemporaryDirectory(prefix="meshwire-token-")


async def dial_enrollment(
    run: CaseRun, name: str = "X", *, alpn: str = ENROLLMENT_ALPN, address: str = ""
) -> Connection:
    """Return a connection of a peer of the case's own with the address at which nodes enroll."""
    where = parse_address(address or enrollment_of(run).addresses[0])
    make = SCHEMES[where.binding].dialler
    assert make is not None, "facts name addresses that can be dialled"
    dialler: Dialler = make(where)
    dial = run.own_peer(name).dial()
    # Over the lab binding the endpoint id is only claimed: here it is the key of the request.
    identity = public_key_of(dial.identity) if where.binding == "tcp" else dial.identity
    connection = await dialler.dial(replace(dial, identity=identity, alpn=alpn), run.deadline_s)
    run.own_peer(name).adopt(connection)
    return connection


async def connect(run: CaseRun, name: str = "X") -> Connection:
    """Return such a connection; the case fails if there is none."""
    try:
        return await dial_enrollment(run, name)
    except ConnectionError as exc:
        raise no_connection(exc) from exc


async def send(run: CaseRun, half: bytes, name: str = "X", *, fin: bool = True) -> Stream:
    """Open a connection and a stream, and send these bytes on it."""
    return await send_on(run, await connect(run, name), half, name, fin=fin)


async def send_on(
    run: CaseRun, connection: Connection, half: bytes, name: str = "X", *, fin: bool = True
) -> Stream:
    """Open a stream and send these bytes on it."""
    stream = await connection.open()
    kind = REQUEST if len(half) > LENGTH else ""
    run.evidence.sent.append(Sending(name, stream.number, "a request", half[LENGTH:], kind))
    await stream.write(half)
    if fin:
        await stream.finish()
    return stream


async def response_on(run: CaseRun, stream: Stream) -> Mapping[str, Any]:
    """Return the members of the response on a stream; the case fails if it is none."""
    await stream.wait_for(lambda: stream.read_over, run.deadline_s)
    if not stream.finished:
        closed = stream.connection.closed
        why = "the stream was reset" if stream.refused else "nothing more"
        why = f"the end of the connection: {closed.text or closed.code}" if closed else why
        raise CaseFailed(
            "no-response",
            "the response did not come to its end",
            expected=("a response and FIN",),
            received=(f"{len(stream.received)} bytes, then {why}",),
            missed=closed is None and not stream.refused,
        )
    received = bytes(stream.received)
    size = int.from_bytes(received[:LENGTH], "little")
    if len(received) < LENGTH or size > ENROLLMENT_MAX or len(received) != LENGTH + size:
        raise CaseFailed(
            "wrong-length",
            "the response is not as long as its length says",
            expected=(f"{size} bytes after the length",),
            received=(f"{max(0, len(received) - LENGTH)} bytes",),
        )
    try:
        return decode(RESPONSE, received[LENGTH:]).fields
    except Malformed as exc:
        raise CaseFailed("malformed-response", f"the response is malformed: {exc}") from exc


def check_denied(response: Mapping[str, Any], *reasons: str, timestamp: int | None = None) -> None:
    """Fail unless a response denies, for one of these reasons, and gives nothing away."""
    is_bare = not response["has_certificate"] and not response["has_secret"]
    if response["status"] != EnrollmentStatus.DENIED or not is_bare:
        raise CaseFailed(
            "not-denied",
            "the request was not denied",
            expected=("status 2, without certificate and secret",),
            received=(f"status {response['status']}: {response['reason']!r}",),
        )
    if response["reason"] not in reasons:
        raise CaseFailed(
            "wrong-reason",
            "the request was denied for another reason",
            expected=reasons,
            received=(repr(response["reason"]),),
        )
    if timestamp is not None and response["timestamp"] != timestamp:
        raise CaseFailed(
            "wrong-time",
            "a denial has another time than the request",
            expected=(str(timestamp),),
            received=(str(response["timestamp"]),),
        )


def check_approved(run: CaseRun, response: Mapping[str, Any], request: Enrolling) -> None:
    """Fail unless a response approves, with a certificate of what was asked for and a secret."""
    if response["status"] != EnrollmentStatus.APPROVED:
        raise CaseFailed(
            "not-approved",
            "a right request was not approved",
            expected=("status 1",),
            received=(f"status {response['status']}: {response['reason']!r}",),
        )
    certificate = response["certificate"]
    if certificate is None:
        raise CaseFailed("no-certificate", "an approval has no certificate")
    wanted = {
        "subject": public_key_of(request.seed),
        "mesh_id": request.mesh_id,
        "node_id": request.node_id,
        "tier": int(request.tier),
        "issuer": bytes.fromhex(enrollment_of(run).authority),
    }
    wrong = [name for name, value in wanted.items() if certificate[name] != value]
    if wrong or not _has_signed(certificate):
        raise CaseFailed(
            f"wrong-certificate {(wrong or ['signature'])[0]}",
            "the certificate is not the one that was asked for",
            expected=tuple(f"{name} {wanted[name]!r}" for name in wrong) or ("its signature",),
            received=tuple(f"{name} {certificate[name]!r}" for name in wrong) or ("another one",),
        )


def _has_signed(certificate: Mapping[str, Any]) -> bool:
    signed = encode(Message(CERTIFICATE, certificate))[:-SIGNATURE]
    try:
        issuer = Ed25519PublicKey.from_public_bytes(certificate["issuer"])
        issuer.verify(certificate["signature"], signed)
    except (InvalidSignature, ValueError):
        return False
    return True
