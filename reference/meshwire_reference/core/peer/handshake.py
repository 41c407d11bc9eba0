"""The formation handshake, both roles, in dialect H1, as machines of bytes in and bytes out.

The caller passes bytes of the handshake stream to `receive`, reports its end with `end`, and after
each sends `take_output`. `state` is the state of the handshake; `reason` is why it is refused if it
is faulty. What dialect H2 does otherwise is in `handshake_h2`.
"""

from collections.abc import Callable, Container, Mapping
from typing import ClassVar

from meshwire_reference.core.formation import FormationKey, ProofRefused
from meshwire_reference.wire.cursor import U32_LE
from meshwire_reference.wire.errors import Malformed
from meshwire_reference.wire.handshake import (
    FormationChallenge,
    FormationId,
    FormationResponse,
    FormationResult,
    decode_formation_challenge,
    decode_formation_id,
    decode_formation_response,
    encode_formation_challenge,
    encode_formation_id,
    encode_formation_response,
    encode_formation_result,
)
from meshwire_spec.numbers import (
    FORMATION_ID_MAX,
    HMAC,
    NONCE,
    RESULT_ACCEPTED,
    RESULT_REJECTED,
)
from meshwire_spec.states import (
    FORMATION_ACCEPTOR,
    FORMATION_INITIATOR,
    HandshakeEvent,
    HandshakeState,
)

ID_LENGTH = 2
CHALLENGE_LENGTH = 4
"""Bytes of the length before a challenge of dialect H2."""
OVER = frozenset((HandshakeState.ACCEPTED, HandshakeState.REJECTED, HandshakeState.FAULTY))
"""States after which the handshake reads nothing more."""


class Handshake:
    """The common part of both roles: the buffer, the table, and waiting for a whole message."""

    table: ClassVar[Mapping[tuple[HandshakeState, HandshakeEvent], HandshakeState]]

    def __init__(self, state: HandshakeState, key: FormationKey) -> None:
        self.state = state
        self.reason = ""
        self.other_formation: str | None = None
        """The formation that the peer has named, if it is not that of this side."""
        self._key = key
        self._buffer = bytearray()
        self._output = bytearray()

    def receive(self, data: bytes) -> None:
        """Take the next bytes of the peer; bytes after the last message set `has_extra`."""
        self._buffer += data
        while self.state not in OVER and (message := self._take_message()) is not None:
            self._step(message)

    def end(self) -> None:
        """Take the end of the peer's half; it is a fault if it comes too early."""
        if self.state not in OVER:
            # HS-040
            self._fail("truncated")

    @property
    def has_extra(self) -> bool:
        """True if bytes followed the last message."""
        return self.state in OVER and bool(self._buffer)

    def take_output(self) -> bytes:
        """Return the bytes to send now."""
        output = bytes(self._output)
        self._output.clear()
        return output

    def _take_message(self) -> bytes | None:
        """Return the next whole message, or None until it has arrived."""
        size = self._size()
        if len(self._buffer) < size or self.state in OVER:
            return None
        message = bytes(self._buffer[:size])
        del self._buffer[:size]
        return message

    def _size(self) -> int:
        """Return the size of the expected message, as far as it is known."""
        raise NotImplementedError

    def _step(self, message: bytes) -> None:
        """Process one whole message."""
        raise NotImplementedError

    def _move(self, event: HandshakeEvent) -> None:
        self.state = self.table[self.state, event]

    def _fail(self, reason: str, event: HandshakeEvent = HandshakeEvent.FAULT) -> None:
        self.reason = reason
        self._move(event)

    def _id_size(self) -> int:
        """Return the size of a formation id with its length; refuse one that is too long."""
        if len(self._buffer) < ID_LENGTH:
            return ID_LENGTH
        length = int.from_bytes(self._buffer[:ID_LENGTH], "little")
        # HS-017
        if length > FORMATION_ID_MAX:
            self._fail("length-limit")
        return ID_LENGTH + length


class Acceptor(Handshake):
    """The side that was dialled: it sends the challenge and the result."""

    table = FORMATION_ACCEPTOR
    first: ClassVar = HandshakeState.AWAITING_ID

    def __init__(self, key: FormationKey, entropy: Callable[[int], bytes]) -> None:
        super().__init__(self.first, key)
        # HS-031
        self.nonce = entropy(NONCE)

    def _size(self) -> int:
        return self._id_size() if self.state is HandshakeState.AWAITING_ID else HMAC

    def _step(self, message: bytes) -> None:
        if self.state is HandshakeState.AWAITING_ID:
            self._take_id(message)
        else:
            self._take_response(message)

    def _take_id(self, message: bytes) -> None:
        try:
            named = decode_formation_id(message)
        except Malformed as malformed:
            # HS-040
            self._fail(malformed.reason)
            return
        if named.formation_id != self._key.formation_id:
            self.other_formation = named.formation_id
        # HS-030
        challenge = FormationChallenge(self._key.formation_id, self.nonce)
        self._output += encode_formation_challenge(challenge)
        self._move(HandshakeEvent.ID)

    def _take_response(self, message: bytes) -> None:
        # HS-043
        right = self._proves(self._proof(message))
        # HS-034
        accepted = right and self.other_formation is None
        # HS-032, HS-033
        result = RESULT_ACCEPTED if accepted else RESULT_REJECTED
        self._output += encode_formation_result(FormationResult(result))
        self._move(
            HandshakeEvent.RIGHT_RESPONSE if accepted else HandshakeEvent.WRONG_RESPONSE,
        )

    def _proof(self, message: bytes) -> bytes:
        """Return the HMAC in a whole response."""
        return decode_formation_response(message).hmac

    def _proves(self, response: bytes) -> bool:
        try:
            self._key.verify(self.nonce, response)
        except ProofRefused:
            return False
        return True


class Initiator(Handshake):
    """The side that dialled: it names the formation, proves the secret, and reads the result.

    `own` has the nonces of the challenges that this node itself has sent and that nobody has
    answered yet.
    """

    table = FORMATION_INITIATOR

    def __init__(self, key: FormationKey, own: Container[bytes] = ()) -> None:
        super().__init__(HandshakeState.AWAITING_CHALLENGE, key)
        self._own = own
        self.is_other_dialect = False
        """True once the acceptor has challenged in the other dialect."""
        self._output += self._first_message()

    def _first_message(self) -> bytes:
        return encode_formation_id(FormationId(self._key.formation_id))

    def _size(self) -> int:
        return self._challenge_size() if self.state is HandshakeState.AWAITING_CHALLENGE else 1

    def _challenge_size(self) -> int:
        name = self._key.formation_id.encode()
        # HS-065
        if self._buffer[:CHALLENGE_LENGTH] == U32_LE.pack(ID_LENGTH + len(name) + NONCE):
            self._leave_to_other_dialect()
            return 0
        return self._id_size() + NONCE

    def _leave_to_other_dialect(self) -> None:
        self.is_other_dialect = True
        self._fail("authentication-failed", HandshakeEvent.OTHER_DIALECT)

    def _decode_challenge(self, message: bytes) -> FormationChallenge:
        return decode_formation_challenge(message)

    def _encode_response(self, response: FormationResponse) -> bytes:
        return encode_formation_response(response)

    def _step(self, message: bytes) -> None:
        if self.state is HandshakeState.AWAITING_CHALLENGE:
            self._take_challenge(message)
        else:
            # HS-018
            self._move(
                HandshakeEvent.RESULT_ACCEPTED
                if message[0] == RESULT_ACCEPTED
                else HandshakeEvent.RESULT_REJECTED
            )

    def _take_challenge(self, message: bytes) -> None:
        try:
            challenge = self._decode_challenge(message)
        except Malformed as malformed:
            self._fail(malformed.reason)
            return
        # HS-050
        if challenge.formation_id != self._key.formation_id:
            self.other_formation = challenge.formation_id
            self._fail("authentication-failed", HandshakeEvent.OTHER_FORMATION)
            return
        # HS-066
        if challenge.nonce in self._own:
            self._fail("authentication-failed", HandshakeEvent.OWN_NONCE)
            return
        # HS-003
        response = FormationResponse(self._key.respond(challenge.nonce))
        self._output += self._encode_response(response)
        self._move(HandshakeEvent.CHALLENGE)
