"""The handshake of one session on its stream: whose turn it is, and what the session is told."""

from __future__ import annotations

from typing import Protocol

from meshwire_reference.core.context import Context
from meshwire_reference.core.effects import Consumed, OpenStream, Release, Send, Stop
from meshwire_reference.core.peer.handshake import Acceptor, Handshake, Initiator
from meshwire_spec.numbers import REASONS
from meshwire_spec.states import HandshakeState

OVER = frozenset((HandshakeState.ACCEPTED, HandshakeState.REJECTED))
"""States in which the result has been said or heard, and our half is finished."""


class Judged(Protocol):
    """The session, which acts on the result."""

    def accept(self) -> None:
        """The peer has proven itself."""
        ...

    def reject(self, linger_s: float) -> None:
        """The peer has not, and is told so; it has this long to read it."""
        ...

    def refuse(self, reason: str) -> None:
        """The handshake is at fault."""
        ...

    def note_refusal(self, reason: str, what: str) -> None:
        """Count a refusal and have it logged."""
        ...


class Proving:
    """The handshake as a session sees it: streams, data and tickets that are its own."""

    def __init__(self, context: Context, connection: int, judged: Judged) -> None:
        self._context = context
        self._connection = connection
        self._judged = judged
        self._handshake: Handshake | None = None
        self._stream: int | None = None
        self._ticket: int | None = None

    def start(self, *, dialled: bool) -> None:
        """Begin as initiator where this side dialled, else as acceptor."""
        key = self._context.key
        assert key is not None, "a dialect other than open needs a formation key"
        if not dialled:
            self._handshake = Acceptor(key, self._context.entropy)
            return
        self._handshake = Initiator(key)
        self._ticket = next(self._context.tickets)
        self._context.emit(OpenStream(connection=self._connection, ticket=self._ticket, bidi=True))

    def take_stream(self, stream: int, *, bidi: bool) -> bool:
        """Take the first bidi stream of an initiator; False for every other one."""
        is_mine = bidi and isinstance(self._handshake, Acceptor) and self._stream is None
        if is_mine:
            self._stream = stream
        return is_mine

    def take_granted(self, ticket: int, stream: int) -> bool:
        """Use the stream that an initiator asked for; False where the ticket is another's."""
        if ticket != self._ticket or self._handshake is None:
            return False
        self._ticket, self._stream = None, stream
        self._advance(self._handshake, stream)
        return True

    def take_data(self, stream: int, data: bytes, *, fin: bool) -> bool:
        """Take the peer's bytes on the handshake stream; False for every other stream."""
        if stream != self._stream:
            return False
        if data:
            self._context.emit(
                Consumed(connection=self._connection, stream=stream, count=len(data))
            )
        handshake = self._handshake
        if handshake is None:
            self._take_extra(stream, is_extra=bool(data))
        else:
            handshake.receive(data)
            if fin:
                handshake.end()
            self._advance(handshake, stream)
            self._take_extra(stream, is_extra=handshake.has_extra)
        if fin and self._stream is not None:
            self._let_go(stream)
        return True

    def _take_extra(self, stream: int, *, is_extra: bool) -> None:
        """Refuse the stream for bytes behind its last message; the result stands."""
        if is_extra:
            # HS-013
            reason = "trailing-bytes"
            self._judged.note_refusal(reason, "bidi")
            self._context.emit(
                Stop(connection=self._connection, stream=stream, code=REASONS[reason].code)
            )
            self._let_go(stream)

    def _let_go(self, stream: int) -> None:
        self._stream = None
        self._context.emit(Release(connection=self._connection, stream=stream))

    def _advance(self, handshake: Handshake, stream: int) -> None:
        """Send what the handshake has to say and pass on where it stands."""
        output, state = handshake.take_output(), handshake.state
        fin = state in OVER
        if output or fin:
            # HS-042
            self._context.emit(
                Send(connection=self._connection, stream=stream, data=output, fin=fin)
            )
        if state is HandshakeState.FAULTY:
            self._handshake = None
            # HS-040
            self._judged.refuse(handshake.reason)
        elif state is HandshakeState.ACCEPTED:
            self._handshake = None
            self._judged.accept()
        elif state is HandshakeState.REJECTED:
            self._handshake = None
            # HS-036
            self._judged.reject(self._context.settings.verdict_linger_s)
