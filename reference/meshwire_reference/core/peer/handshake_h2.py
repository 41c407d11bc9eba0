"""What dialect H2 of the handshake does otherwise than H1, and the detection of the dialect.

An H2 connector writes a version byte where an H1 initiator names its formation, and challenge and
response follow their length. An acceptor that serves both dialects reads with `Detection` first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from meshwire_reference.core.formation import FormationKey
from meshwire_reference.core.peer.handshake import Acceptor, Handshake, Initiator
from meshwire_reference.wire.accept import accept
from meshwire_reference.wire.cursor import U32_LE
from meshwire_reference.wire.errors import Malformed
from meshwire_reference.wire.handshake import (
    FormationChallenge,
    FormationId,
    FormationResponse,
    FormationResponseH2,
    FormationVersion,
    decode_formation_challenge_h2,
    decode_formation_response_h2,
    decode_formation_version,
    encode_formation_challenge_h2,
    encode_formation_id,
    encode_formation_response_h2,
    encode_formation_version,
)
from meshwire_spec.numbers import (
    CHALLENGE_H2_MAX,
    HANDSHAKE_VERSION,
    HMAC,
    RESPONSE_H2_MAX,
    RESPONSE_H2_MIN,
)
from meshwire_spec.states import (
    FORMATION_ACCEPTOR_H2,
    FORMATION_DETECTION,
    HandshakeEvent,
    HandshakeState,
)

LENGTH: Final = U32_LE.size
"""Bytes of the length before a challenge or response."""
EARLY: Final = U32_LE.pack(HMAC)
"""What a connector of 0.6 that writes before it reads sends first: the length of its response."""


def _length_of(buffer: bytearray) -> int | None:
    """Return the length at the beginning of a message, None until it is whole."""
    return U32_LE.unpack_from(buffer)[0] if len(buffer) >= LENGTH else None


class AcceptorH2(Acceptor):
    """The side that was dialled, in dialect H2."""

    table = FORMATION_ACCEPTOR_H2
    first = HandshakeState.AWAITING_VERSION

    def _size(self) -> int:
        if self.state is HandshakeState.AWAITING_VERSION:
            return 1
        length = _length_of(self._buffer)
        if length is None:
            return LENGTH
        # HS-015
        if not RESPONSE_H2_MIN <= length <= RESPONSE_H2_MAX:
            self._fail("length-limit")
        return LENGTH + length

    def _step(self, message: bytes) -> None:
        if self.state is HandshakeState.AWAITING_VERSION:
            self._take_version(message)
        else:
            self._take_response(message)

    def _take_version(self, message: bytes) -> None:
        try:
            decode_formation_version(message)
        except Malformed:
            # HS-061
            self._fail("authentication-failed", HandshakeEvent.OTHER_VERSION)
            return
        self._challenge()
        self._move(HandshakeEvent.VERSION)

    def _challenge(self) -> None:
        # HS-060
        challenge = FormationChallenge(self._key.formation_id, self.nonce)
        self._output += encode_formation_challenge_h2(challenge)

    def _proof(self, message: bytes) -> bytes:
        # HS-016
        return decode_formation_response_h2(message).hmac


class EarlyAcceptor(AcceptorH2):
    """The same toward a connector without a version byte, whose response has begun already."""

    first = HandshakeState.AWAITING_RESPONSE

    def __init__(self, key: FormationKey, entropy: Callable[[int], bytes]) -> None:
        super().__init__(key, entropy)
        # HS-063
        self._challenge()


class Connector(Initiator):
    """The side that dialled, in dialect H2."""

    def _first_message(self) -> bytes:
        # HS-059
        return encode_formation_version(FormationVersion(HANDSHAKE_VERSION))

    def _challenge_size(self) -> int:
        length = _length_of(self._buffer)
        if length is None:
            return LENGTH
        named = encode_formation_id(FormationId(self._key.formation_id))
        # HS-065: a challenge of H1 begins with the formation id.
        if len(named) >= LENGTH and self._buffer.startswith(named[:LENGTH]):
            self._leave_to_other_dialect()
        # HS-014
        elif length > CHALLENGE_H2_MAX:
            self._fail("length-limit")
        return LENGTH + length

    def _decode_challenge(self, message: bytes) -> FormationChallenge:
        challenge = decode_formation_challenge_h2(message)
        # HS-017
        reason = accept("formation_challenge_h2", challenge)
        if reason is not None:
            raise Malformed(reason, 0, "formation_id")
        return challenge

    def _encode_response(self, response: FormationResponse) -> bytes:
        return encode_formation_response_h2(FormationResponseH2(response.hmac))


class Detection(Handshake):
    """The beginning of an acceptor that serves both dialects: it reads the initiator's first bytes.

    Once they tell the dialect, `take_over` returns the acceptor that goes on.
    """

    table = FORMATION_DETECTION

    def __init__(self, key: FormationKey, entropy: Callable[[int], bytes]) -> None:
        super().__init__(HandshakeState.AWAITING_FIRST, key)
        self._entropy = entropy

    def receive(self, data: bytes) -> None:
        """Take the next bytes of the initiator."""
        self._buffer += data
        event = _dialect_of(self._buffer)
        if event is not None:
            self._move(event)

    def take_over(self) -> Acceptor | None:
        """Return the acceptor of the dialect, with all bytes so far; None until that is known."""
        kind = ACCEPTORS.get(self.state)
        if kind is None:
            return None
        acceptor = kind(self._key, self._entropy)
        acceptor.receive(bytes(self._buffer))
        return acceptor


def _dialect_of(first: bytearray) -> HandshakeEvent | None:
    """Return what the first bytes of an initiator tell about its dialect, None if nothing yet."""
    # HS-062
    if first[:1] == bytes((HANDSHAKE_VERSION,)):
        return HandshakeEvent.FIRST_OF_H2
    # HS-063
    if first[:LENGTH] == EARLY:
        return HandshakeEvent.FIRST_OF_EARLY
    return None if EARLY.startswith(bytes(first)) else HandshakeEvent.FIRST_OF_H1


ACCEPTORS: Final[Mapping[HandshakeState, type[Acceptor]]] = {
    HandshakeState.AWAITING_ID: Acceptor,
    HandshakeState.AWAITING_VERSION: AcceptorH2,
    HandshakeState.AWAITING_RESPONSE: EarlyAcceptor,
}
"""The acceptor for each result of a detection."""
