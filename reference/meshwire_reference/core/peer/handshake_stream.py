"""The handshake of one session on its stream: role, bytes sent, and refusal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from meshwire_reference.core.context import Context
from meshwire_reference.core.peer.dialects import FIRST_MAX, dialect_of
from meshwire_reference.core.peer.handshake import OVER, Acceptor, Handshake, Initiator
from meshwire_reference.core.peer.handshake_h2 import AcceptorH2, Connector, Detection
from meshwire_reference.core.settings import Dialect
from meshwire_reference.core.streams import StreamHandler, Streams
from meshwire_spec.states import HandshakeState

FINISHED: Final = frozenset((HandshakeState.ACCEPTED, HandshakeState.REJECTED))
"""States after the result was sent or received; this side's half is finished."""
INITIATORS: Final[Mapping[Dialect, type[Initiator]]] = {
    Dialect.H1: Initiator,
    Dialect.H2: Connector,
}
ACCEPTORS: Final[Mapping[Dialect, type[Acceptor]]] = {
    Dialect.H1: Acceptor,
    Dialect.H2: AcceptorH2,
}
OTHER: Final = {Dialect.H1: Dialect.H2, Dialect.H2: Dialect.H1}
"""The other dialect of each."""


class HandshakeStream(StreamHandler):
    """The stream of the handshake; `on_over` is called with the handshake once it is over."""

    def __init__(
        self, context: Context, streams: Streams, on_over: Callable[[Handshake], None]
    ) -> None:
        super().__init__(streams)
        self._context = context
        self._on_over = on_over
        self._handshake: Handshake | None = None
        self._initiator: Initiator | None = None
        self._dialect = Dialect.H1
        self._first = b""
        self._is_faulty = False
        self._is_bare = self._was_reset = False
        self._nonce = b""
        self.awaits_stream = False
        """True while the first bidi stream that the peer opens is that of the handshake."""

    def start(self, *, dialled: bool, in_other_dialect: bool = False) -> None:
        """Begin as initiator if this side dialled, else as acceptor."""
        context, settings = self._context, self._context.settings
        key = context.key
        assert key is not None, "a dialect other than open needs a formation key"
        if dialled:
            dialect = OTHER[settings.dialect] if in_other_dialect else settings.dialect
            self._dialect = dialect
            self._handshake = self._initiator = INITIATORS[dialect](key, context.nonces)
            self._streams.open(self, bidi=True)
            return
        self.awaits_stream = True
        self._dialect = settings.dialect
        if settings.detects:
            self._handshake = Detection(key, context.entropy)
        else:
            self._handshake = self._with_nonce(ACCEPTORS[settings.dialect](key, context.entropy))

    def _with_nonce(self, acceptor: Acceptor) -> Acceptor:
        """Return an acceptor whose nonce counts as outstanding from now on."""
        self._nonce = acceptor.nonce
        self._context.nonces.add(acceptor.nonce)
        return acceptor

    def forget_nonce(self) -> None:
        """Let the nonce of this side's challenge count as outstanding no longer."""
        self._context.nonces.discard(self._nonce)

    @property
    def may_be_other_dialect(self) -> bool:
        """True if this side dialled and no answer has shown that the peer speaks its dialect."""
        # HS-065
        initiator = self._initiator
        return initiator is not None and (initiator.is_other_dialect or not self._first)

    @property
    def dialect(self) -> Dialect:
        """The dialect in which this side does the handshake."""
        return self._dialect

    @property
    def other_dialect(self) -> Dialect | None:
        """The dialect of the peer, if its first bytes show that it is not that of this side."""
        if self._initiator is not None:
            return OTHER[self._dialect] if self._initiator.is_other_dialect else None
        if self._is_bare:
            # An initiator writes first; a stream without bytes is the probe of an open node.
            return Dialect.OPEN
        shown = dialect_of(self._first)
        return None if shown is self._dialect else shown

    @property
    def is_unheard(self) -> bool:
        """True if the peer has sent nothing on the stream of the handshake."""
        return not self._first

    def accept_stream(self, stream: int) -> None:
        """Use the first bidi stream of an initiator."""
        self.awaits_stream = False
        self._stream = stream
        self._streams.add(stream, self)

    def take_stream(self, stream: int) -> None:
        """Send the initiator's first message on the stream that was opened."""
        super().take_stream(stream)
        if self._handshake is not None:
            self._advance(self._handshake)

    def receive(self, data: bytes, *, fin: bool) -> None:
        """Take the peer's bytes on the handshake stream, and its FIN."""
        self._is_bare = fin and not (data or self._first or self._was_reset)
        if data:
            self._streams.consume(self._stream, len(data))
        handshake = self._handshake
        is_extra = bool(data)
        if handshake is not None:
            self._first += data[: FIRST_MAX - len(self._first)]
            handshake.receive(data)
            if isinstance(handshake, Detection):
                handshake = self._taken_over(handshake)
            if fin:
                handshake.end()
            self._advance(handshake)
            is_extra = handshake.has_extra
        # A connection that is refused has no other fault.
        if is_extra and not self._is_faulty:
            # HS-047, HS-048, HS-055
            self._streams.note_refusal("trailing-bytes", "bidi")
            self._streams.stop(self._stream, "trailing-bytes")
        if is_extra or fin:
            self._streams.release(self._stream)

    def _taken_over(self, detection: Detection) -> Handshake:
        """Return the acceptor of the dialect that was detected, or the detection if none was."""
        acceptor = detection.take_over()
        if acceptor is None:
            return detection
        self._handshake = self._with_nonce(acceptor)
        self._dialect = Dialect.H2 if isinstance(acceptor, AcceptorH2) else Dialect.H1
        return acceptor

    def take_stop(self, code: int) -> None:
        """Ignore a STOP of this side's half: the handshake goes on without what it cannot send."""
        # HS-049, HS-057

    def take_reset(self, code: int) -> None:
        """Handle a RESET of the peer's half as its FIN."""
        # HS-045, HS-046, HS-053, HS-057
        self._was_reset = True
        self.receive(b"", fin=True)

    def _advance(self, handshake: Handshake) -> None:
        """Send the output of the handshake and report its end."""
        output, state = handshake.take_output(), handshake.state
        fin = state in FINISHED
        if output or fin:
            # HS-042
            self._streams.send(self._stream, output, fin=fin)
        if state in OVER:
            self._handshake = None
            self._is_faulty = state is HandshakeState.FAULTY
            self.forget_nonce()
            self._on_over(handshake)
