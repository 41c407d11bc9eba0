"""The proof of an acceptor: H1 in reverse, on the first bidi stream that the acceptor opens.

Theory of operation. The handshake proves the initiator alone. So after its result an acceptor may
run H1 once more, as initiator, on its own first bidi stream (`ProvingStream`). The side that
dialled reads the first bytes of that stream (`ProofStream`): the id of its own formation begins a
proof, anything else a frame, and the stream is then passed on with what was read. Peers that know
no such proof take its first bytes for the beginning of a long frame and wait, so the acceptor
resets the stream at its deadline, and the connection goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from meshwire_reference.core.context import Context
from meshwire_reference.core.peer.handshake import OVER, Acceptor, Initiator
from meshwire_reference.core.streams import NO_STREAM, StreamHandler, Streams
from meshwire_reference.wire.handshake import FormationId, encode_formation_id
from meshwire_spec.states import ACCEPTOR_PROOF, HandshakeState, ProofEvent, ProofState

PassOn: TypeAlias = Callable[[int], StreamHandler]
"""Gives a stream of the peer, which carries frames, to the handler that it returns."""

ENDED_WITH: Final = {
    HandshakeState.ACCEPTED: ProofEvent.RIGHT,
    HandshakeState.REJECTED: ProofEvent.WRONG,
    HandshakeState.FAULTY: ProofEvent.CUT,
}
"""What the end of the reverse handshake says about the proof."""


class ProvingStream(StreamHandler):
    """The stream on which this side, the acceptor, proves itself."""

    def __init__(self, context: Context, streams: Streams) -> None:
        super().__init__(streams)
        self._context = context
        assert context.key is not None, "a handshake needs a formation key"
        # HS-066
        self._handshake = Initiator(context.key, context.nonces)
        self._ticket = 0

    def start(self) -> None:
        """Ask for the stream; call it before any other stream of this side is asked for."""
        # HS-070
        self._ticket = self._streams.open(self, bidi=True)
        at_s = self._context.now.monotonic_s + self._context.settings.handshake_s
        self._context.timers.set(self._timer, at_s, self._give_up)

    def stop(self) -> None:
        """Forget the deadline, since the connection is over."""
        self._context.timers.cancel(self._timer)

    @property
    def _timer(self) -> tuple[str, int]:
        return ("proving", self._streams.connection)

    def take_stream(self, stream: int) -> None:
        """Send the first message on the stream that was opened."""
        super().take_stream(stream)
        self._streams.send(stream, self._handshake.take_output())

    def receive(self, data: bytes, *, fin: bool) -> None:
        """Take the challenge and the result."""
        super().receive(data, fin=fin)
        self._handshake.receive(data)
        if fin:
            self._handshake.end()
        state = self._handshake.state
        output = self._handshake.take_output()
        if output or state is HandshakeState.ACCEPTED:
            self._streams.send(self._stream, output, fin=state is HandshakeState.ACCEPTED)
        if state in OVER:
            self._end(has_finished=state is HandshakeState.ACCEPTED)

    def take_reset(self, code: int) -> None:
        """Give the proof up: the peer does not want it."""
        self._give_up()

    def take_stop(self, code: int) -> None:
        """Give the proof up, unless all of it has been sent."""
        if self._handshake.state is HandshakeState.AWAITING_CHALLENGE:
            self._give_up()

    def _give_up(self) -> None:
        # HS-075
        if self._stream == NO_STREAM:
            self._streams.cancel(self._ticket)
            self.stop()
        else:
            self._end(has_finished=False)

    def _end(self, *, has_finished: bool) -> None:
        self.stop()
        if not has_finished:
            self._streams.reset(self._stream, "shutdown")
        self._streams.release(self._stream)


class Proof:
    """The proof that this side, which has dialled, awaits; `on_over` is called once it is over."""

    def __init__(
        self, context: Context, streams: Streams, on_over: Callable[[ProofState, str], None]
    ) -> None:
        self.state = ProofState.AWAITED
        self._context = context
        self._streams = streams
        self._on_over = on_over
        self._stream: ProofStream | None = None
        self._has_result = False

    @property
    def awaits_stream(self) -> bool:
        """True while the first bidi stream of the acceptor has not come."""
        return self._stream is None

    def take_stream(self, stream: int, pass_on: PassOn) -> None:
        """Take the first bidi stream of the acceptor; one that is no proof goes to `pass_on`."""
        self._stream = ProofStream(self._context, self._streams, stream, self, pass_on)
        self._streams.add(stream, self._stream)

    def start(self) -> None:
        """Begin to wait: the acceptor has sent the result 1."""
        self._has_result = True
        if self.state is not ProofState.AWAITED:
            # Its first stream was none.
            self._on_over(self.state, "authentication-failed")
            return
        at_s = self._context.now.monotonic_s + self._context.settings.handshake_s
        # HS-073
        self._context.timers.set(self._timer, at_s, lambda: self.take(ProofEvent.LATE))
        if self._stream is not None:
            self._stream.read()

    def stop(self) -> None:
        """Wait no longer."""
        self._context.timers.cancel(self._timer)

    @property
    def has_result(self) -> bool:
        """True once the acceptor has sent the result 1."""
        return self._has_result

    @property
    def _timer(self) -> tuple[str, int]:
        return ("proof", self._streams.connection)

    def take(self, event: ProofEvent) -> None:
        """Take what has happened to the proof; late events have no effect."""
        state = ACCEPTOR_PROOF.get((self.state, event))
        if state is None:
            return
        self.state = state
        if state is ProofState.UNDER_WAY:
            return
        self.stop()
        if self._has_result:
            late = event is ProofEvent.LATE
            self._on_over(state, "handshake-timeout" if late else "authentication-failed")


class ProofStream(StreamHandler):
    """The first bidi stream of an acceptor, until its first bytes tell whether it is a proof."""

    def __init__(
        self, context: Context, streams: Streams, stream: int, proof: Proof, pass_on: PassOn
    ) -> None:
        super().__init__(streams, stream)
        self._context = context
        self._proof = proof
        self._pass_on = pass_on
        assert context.key is not None, "a handshake needs a formation key"
        self._key = context.key
        # HS-071
        self._begins = encode_formation_id(FormationId(self._key.formation_id))
        self._first = b""
        self._handshake: Acceptor | None = None

    def receive(self, data: bytes, *, fin: bool) -> None:
        """Take the next bytes, and FIN."""
        if self._handshake is not None:
            self._advance(self._handshake, data, fin=fin)
            return
        self._first += data
        if self._first.startswith(self._begins) and not fin:
            self.read()
        elif fin or not self._begins.startswith(self._first):
            self._leave().receive(self._first, fin=fin)

    def take_reset(self, code: int) -> None:
        """Take the RESET of the acceptor: as a rule it has given up its proof."""
        if self._handshake is None:
            self._leave().take_reset(code)
        else:
            self._advance(self._handshake, b"", fin=True)

    def take_stop(self, code: int) -> None:
        """Pass the STOP of a stream on that may carry frames."""
        if self._handshake is None:
            self._leave().take_stop(code)

    def read(self) -> None:
        """Begin the reverse handshake, if this is one and the result has come."""
        is_proof = self._first.startswith(self._begins)
        if not is_proof or not self._proof.has_result or self._handshake is not None:
            return
        self._proof.take(ProofEvent.BEGUN)
        self._handshake = Acceptor(self._key, self._context.entropy)
        self._context.nonces.add(self._handshake.nonce)
        self._advance(self._handshake, self._first, fin=False)

    def cut(self) -> None:
        """Forget the challenge of a connection that has ended."""
        if self._handshake is not None:
            self._context.nonces.discard(self._handshake.nonce)

    def _leave(self) -> StreamHandler:
        """Give the stream to the handler of frames."""
        handler = self._pass_on(self._stream)
        self._proof.take(ProofEvent.OTHER)
        return handler

    def _advance(self, handshake: Acceptor, data: bytes, *, fin: bool) -> None:
        """Read messages, answer them, and report the end of the proof."""
        if data:
            self._streams.consume(self._stream, len(data))
        if handshake.state in OVER:
            # HS-047: what follows the response is dropped.
            if fin:
                self._streams.release(self._stream)
            return
        handshake.receive(data)
        if fin:
            handshake.end()
        state, output = handshake.state, handshake.take_output()
        is_faulty = state is HandshakeState.FAULTY
        if output:
            self._streams.send(self._stream, output, fin=state in OVER)
        if is_faulty:
            self._streams.reset(self._stream, "shutdown")
        if fin or is_faulty:
            self._streams.release(self._stream)
        if state in OVER:
            self._context.nonces.discard(handshake.nonce)
            self._proof.take(ENDED_WITH[state])
