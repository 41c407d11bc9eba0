"""Messages of the formation handshake, in dialects H1 (bare) and H2 (after a length).

All integers are little endian here (D-13).
"""

from dataclasses import dataclass

from meshwire_reference.wire.cursor import U8, U16_LE, U32_LE, Reader, Writer
from meshwire_reference.wire.errors import Unencodable
from meshwire_spec.numbers import (
    CHALLENGE_H2_MAX,
    HANDSHAKE_VERSION,
    HMAC,
    NONCE,
    RESPONSE_H2_MAX,
    RESPONSE_H2_MIN,
)


@dataclass(frozen=True, slots=True)
class FormationId:
    """First message of H1, from the initiator: the formation that it means to join."""

    formation_id: str


@dataclass(frozen=True, slots=True)
class FormationVersion:
    """First message of H2, from the connector: the version of the handshake, always 1."""

    version: int


@dataclass(frozen=True, slots=True)
class FormationChallenge:
    """The acceptor's challenge; the same message in both dialects."""

    formation_id: str
    nonce: bytes


@dataclass(frozen=True, slots=True)
class FormationResponse:
    """The proof, bare as in H1."""

    hmac: bytes


@dataclass(frozen=True, slots=True)
class FormationResponseH2:
    """The proof after its length; `extra` is what the length covers beyond it (D-04)."""

    hmac: bytes
    extra: bytes = b""


@dataclass(frozen=True, slots=True)
class FormationResult:
    """The acceptor's verdict: RESULT_ACCEPTED accepts, every other byte rejects."""

    result: int


def decode_formation_id(data: bytes) -> FormationId:
    """Decode the first message of H1; raises Malformed."""
    reader = Reader(data)
    message = FormationId(reader.text(U16_LE, "formation_id"))
    reader.close()
    return message


def encode_formation_id(message: FormationId) -> bytes:
    """Encode the first message of H1; raises Unencodable."""
    writer = Writer()
    # HS-010
    writer.text(U16_LE, message.formation_id, "formation_id")
    return writer.done()


def _read_challenge(reader: Reader) -> FormationChallenge:
    challenge = FormationChallenge(
        reader.text(U16_LE, "formation_id"), reader.fixed(NONCE, "nonce")
    )
    reader.close()
    return challenge


def _write_challenge(writer: Writer, challenge: FormationChallenge) -> None:
    writer.text(U16_LE, challenge.formation_id, "formation_id")
    writer.fixed(challenge.nonce, NONCE, "nonce")


def decode_formation_challenge(data: bytes) -> FormationChallenge:
    """Decode a bare challenge; raises Malformed."""
    return _read_challenge(Reader(data))


def encode_formation_challenge(challenge: FormationChallenge) -> bytes:
    """Encode a bare challenge; raises Unencodable."""
    writer = Writer()
    _write_challenge(writer, challenge)
    return writer.done()


def decode_formation_version(data: bytes) -> FormationVersion:
    """Decode the first message of H2; raises Malformed."""
    reader = Reader(data)
    # HS-058
    version = FormationVersion(reader.listed(U8, (HANDSHAKE_VERSION,), "bad-version", "version"))
    reader.close()
    return version


def encode_formation_version(message: FormationVersion) -> bytes:
    """Encode the first message of H2; raises Unencodable."""
    writer = Writer()
    writer.listed(U8, message.version, (HANDSHAKE_VERSION,), "bad-version", "version")
    return writer.done()


def decode_formation_challenge_h2(data: bytes) -> FormationChallenge:
    """Decode a challenge after its length, which it fills exactly; raises Malformed."""
    reader = Reader(data)
    # HS-014
    size = reader.length(U32_LE, "", CHALLENGE_H2_MAX)
    challenge = _read_challenge(reader.inner(size, ""))
    reader.close()
    return challenge


def encode_formation_challenge_h2(challenge: FormationChallenge) -> bytes:
    """Encode a challenge after its length; raises Unencodable."""
    writer = Writer()
    try:
        content = encode_formation_challenge(challenge)
    except Unencodable as fault:
        # CH-025
        raise fault.within("", U32_LE.size) from fault
    writer.block(U32_LE, content, "", CHALLENGE_H2_MAX)
    return writer.done()


def decode_formation_response(data: bytes) -> FormationResponse:
    """Decode a bare proof; raises Malformed. The proof itself is not checked here."""
    reader = Reader(data)
    response = FormationResponse(reader.fixed(HMAC, "hmac"))
    reader.close()
    return response


def encode_formation_response(response: FormationResponse) -> bytes:
    """Encode a bare proof; raises Unencodable."""
    writer = Writer()
    writer.fixed(response.hmac, HMAC, "hmac")
    return writer.done()


def decode_formation_response_h2(data: bytes) -> FormationResponseH2:
    """Decode a proof after its length, with what the length covers beyond it."""
    reader = Reader(data)
    # HS-015
    inner = reader.inner(reader.length(U32_LE, "", RESPONSE_H2_MAX, RESPONSE_H2_MIN), "")
    # HS-016
    response = FormationResponseH2(inner.fixed(HMAC, "hmac"), inner.rest())
    reader.close()
    return response


def encode_formation_response_h2(response: FormationResponseH2) -> bytes:
    """Encode a proof after its length; raises Unencodable."""
    writer = Writer()
    size = HMAC + len(response.extra)
    writer.length(U32_LE, size, "", RESPONSE_H2_MAX, RESPONSE_H2_MIN)
    writer.fixed(response.hmac, HMAC, "hmac")
    writer.rest(response.extra)
    return writer.done()


def decode_formation_result(data: bytes) -> FormationResult:
    """Decode the verdict; raises Malformed."""
    reader = Reader(data)
    result = FormationResult(reader.number(U8, "result"))
    reader.close()
    return result


def encode_formation_result(result: FormationResult) -> bytes:
    """Encode the verdict; raises Unencodable."""
    writer = Writer()
    writer.number(U8, result.result, "result")
    return writer.done()
