"""One peer: the handshake, the streams it opened, and the frames sent to it.

Streams that arrive before the handshake is over wait unread; only the first bidi stream is read, by
the handshake. From the result on every stream is read and the initial exchange runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from meshwire_reference.core.context import Context
from meshwire_reference.core.document_calls import Forget, Heads
from meshwire_reference.core.effects import (
    Accepted,
    ClockOff,
    CloseConnection,
    Mismatch,
    NotAllowed,
    NotCertified,
    OtherDialect,
    Proven,
    Silent,
    Unproven,
)
from meshwire_reference.core.inputs import ConnectionClosed, ConnectionOpened
from meshwire_reference.core.limits.rate_limit import Cooldowns
from meshwire_reference.core.peer.dialects import FORMATION, REFUSED_HANDSHAKE, dialect_of
from meshwire_reference.core.peer.handshake import Handshake
from meshwire_reference.core.peer.handshake_stream import HandshakeStream
from meshwire_reference.core.peer.heartbeats import Heartbeats, HeartbeatStream
from meshwire_reference.core.peer.inbound import FrameStream
from meshwire_reference.core.peer.liveness import Liveness
from meshwire_reference.core.peer.polls import Polls, Said
from meshwire_reference.core.peer.proof import Proof, ProvingStream
from meshwire_reference.core.peer.rivals import Rivals
from meshwire_reference.core.reconciliation.client import RunSelection
from meshwire_reference.core.reconciliation.server import ServedRuns
from meshwire_reference.core.sending.initial_exchange import InitialExchange, Selection
from meshwire_reference.core.sending.outbound import Outbound
from meshwire_reference.core.sending.waiting import Purpose
from meshwire_reference.core.settings import Dialect
from meshwire_reference.core.state.waits import Cause, Wait
from meshwire_reference.core.streams import PendingEffects, Streams
from meshwire_reference.wire.batches import StreamFrame
from meshwire_spec.numbers import CLOCK_AHEAD_MAX_MS, REASONS, CertificateFault
from meshwire_spec.states import (
    SESSION,
    ExchangeState,
    HandshakeState,
    ProofState,
    SessionEvent,
    SessionState,
)

DispatchFrame: TypeAlias = Callable[["Session", int, StreamFrame, PendingEffects], str | None]
"""Starts the effects of a peer's frame; returns the reason to refuse it, or None."""


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """A connection that is open: its number, its peer, who dialled, and how far it has come.

    `stays` is True if another connection with this peer was closed in its favour.
    """

    connection: int
    peer_id: bytes
    dialled: bool
    state: SessionState
    stays: bool = False


class Session:
    """A connection with a peer, from its opening to its end."""

    def __init__(
        self, context: Context, opened: ConnectionOpened, dispatch: DispatchFrame, rivals: Rivals
    ) -> None:
        self._context = context
        self._rivals = rivals
        self._opened = opened
        self._take_frame = partial(dispatch, self)
        self.connection = opened.connection
        self.state = SessionState.UNPROVEN
        self.streams = streams = Streams(context, opened.connection, opened.peer_id)
        self.outbound = Outbound(context, streams, self._refill)
        self.runs = ServedRuns(context, self.outbound)
        self.tombstone_answers = Cooldowns(context.settings.tombstone_answer_s)
        self._polls = Polls()
        self._heartbeats = Heartbeats(context, streams)
        self._liveness = Liveness(context, streams, self._end_silent)
        self._handshake = HandshakeStream(context, streams, self._take_verdict)
        self._proof = Proof(context, streams, self._take_proof)
        self._proving: ProvingStream | None = None
        self._selection: Selection | None = None
        self._exchange: InitialExchange | None = None
        self._is_due_again = False
        self._jobs = 0
        self._was_ready = False
        self._first_stream: FrameStream | None = None
        self._has_mismatch = False
        self._is_clock_off = False
        self._fault: CertificateFault | None = None

    # --- the connection ------------------------------------------------------------------------

    @property
    def status(self) -> PeerStatus:
        """What the connection is like now."""
        opened = self._opened
        stays = self._rivals.stays(self.connection)
        return PeerStatus(self.connection, opened.peer_id, opened.dialled, self.state, stays)

    def open(self) -> None:
        """Begin with the handshake, or in an open node with the exchange at once."""
        settings = self._context.settings
        # TR-049
        if settings.allowed_peers is not None and self.streams.peer not in settings.allowed_peers:
            dialled = self._opened.dialled
            self._context.notify(NotAllowed(self.streams.peer, self.connection, dialled))
            self._refuse("authentication-failed")
            return
        # CT-032
        if not self.verify():
            return
        # HS-038, HS-039
        if settings.dialect is Dialect.OPEN:
            self._move(SessionEvent.NO_HANDSHAKE)
            self._begin()
            return
        opened = self._opened
        self._handshake.start(dialled=opened.dialled, in_other_dialect=opened.in_other_dialect)
        # HS-056
        # HS-035
        self._set_timer(settings.handshake_s, self._time_out)

    def verify(self) -> bool:
        """Verify the peer now, and again when a certificate ends; return False if it is refused.

        Called again whenever the node holds other certificates or revocations (D-37, D-39).
        """
        context, peer = self._context, self._opened.peer_id
        trust, now = context.trust, context.now
        if trust is None or self.state not in (SessionState.UNPROVEN, SessionState.READY):
            return True
        fault, before = trust.fault_of(peer, now.wall_ms), self._fault
        self._fault = fault
        if fault is None:
            self._plan_verification(trust.valid_until_ms(peer, now.wall_ms))
            return True
        refuses = trust.requires
        if fault is not before or refuses:
            dialled = self._opened.dialled
            context.notify(
                NotCertified(self.streams.peer, self.connection, dialled, fault, refuses)
            )
        if refuses:
            self._refuse("certificate-required")
        return not refuses

    def _plan_verification(self, until_ms: int | None) -> None:
        """Verify the peer again at a time of the calendar in ms."""
        # CT-033
        if until_ms is None:
            self._context.timers.cancel(self._certificate_timer)
            return
        now = self._context.now
        at_s = now.monotonic_s + (until_ms - now.wall_ms) / 1000
        self._context.timers.set(self._certificate_timer, at_s, self.verify)

    @property
    def _certificate_timer(self) -> tuple[str, int]:
        return ("certificate", self.connection)

    def end(self, closed: ConnectionClosed) -> None:
        """End the session of a closed connection; nothing is sent from now on."""
        if closed.by_peer and closed.code == REASONS["authentication-failed"].code:
            # HS-065
            self._note_dialect()
        self._note_end(closed)
        self._handshake.forget_nonce()
        self._move(SessionEvent.CONNECTION_ENDED)
        self._rivals.remove(self, closed.code)
        self._context.timers.cancel(self._timer)
        self._context.timers.cancel(self._certificate_timer)
        self._context.durability.drop(self.connection)
        self._heartbeats.stop()
        self._liveness.stop()
        self._stop_proofs()
        if self._selection is not None:
            self._selection.close(closed)
        self.outbound.close()
        self.streams.cut()
        self._forget_if_over()

    def _note_end(self, closed: ConnectionClosed) -> None:
        """Log a fault of the binding, or why a peer may have gone."""
        is_refusal = not closed.by_peer and closed.code and closed.reason in REASONS
        if is_refusal and self.state is not SessionState.CLOSING:
            # The transport has refused the connection by itself.
            self.streams.note_refusal(closed.reason, "connection")
        if self._context.settings.dialect is not Dialect.OPEN:
            self._note_other_dialect()
        elif self._first_stream is not None and (head := self._first_stream.head):
            self._note_mismatch("dialect", dialect_of(head))
        elif closed.by_peer and closed.code in REFUSED_HANDSHAKE:
            self._note_mismatch("dialect", FORMATION)

    def shut_down(self) -> None:
        """Close the connection in order."""
        self._close(SessionEvent.SHUT_DOWN, "shutdown")

    def give_up(self) -> None:
        """Close the connection, since this node cannot go on with it; the peer may dial again."""
        self._close(SessionEvent.SHUT_DOWN, "internal")

    @property
    def _timer(self) -> tuple[str, int]:
        return ("session", self.connection)

    def _set_timer(self, after_s: float, action: Callable[[], None]) -> None:
        self._context.timers.set(self._timer, self._context.now.monotonic_s + after_s, action)

    def _move(self, event: SessionEvent) -> None:
        self.state = SESSION[self.state, event]
        self._was_ready = self._was_ready or self.state is SessionState.READY
        # Frames received before the end still take effect after it.
        is_readable = self.state in (SessionState.READY, SessionState.CLOSED)
        self.streams.may_read = is_readable and self._was_ready

    def _begin(self) -> None:
        """Begin to read and to send; called once the peer is proven or need not be."""
        context = self._context
        context.timers.cancel(self._timer)
        # NG-065
        by_heads = context.compares_heads(self.streams.peer)
        reconciles = self._opened.reconciles or by_heads
        if reconciles and not context.run_refusals.take(self.streams.peer):
            earlier = self.runs if by_heads and not self._opened.dialled else None
            self._selection = RunSelection(context, self.streams, self._refill, earlier)
        else:
            self._selection = Selection(context, self.streams.peer)
        self._exchange = InitialExchange(context, self.outbound, self._selection)
        is_open = context.settings.dialect is Dialect.OPEN
        dialect = Dialect.OPEN if is_open else self._handshake.dialect
        dialled = self._opened.dialled
        context.notify(Accepted(self.streams.peer, self.connection, dialled, dialect))
        # DC-035: first, since frames that came before the result may be answered at once.
        self.outbound.open()
        # TR-002, HS-041
        self.streams.resume()
        self._heartbeats.start()
        if self._opened.dialled:
            self._liveness.start()
        self._rivals.add(self)

    @property
    def opened(self) -> ConnectionOpened:
        """How the connection was opened."""
        return self._opened

    def beat(self) -> None:
        """Send a heartbeat now."""
        self._heartbeats.beat_now()

    def watch(self) -> None:
        """Notice that the peer is gone, although the other side has dialled."""
        # TR-047
        if not self._opened.dialled:
            self._liveness.start()

    def give_way(self, reason: str) -> None:
        """Close the connection in favour of another one with the same peer."""
        self._close(SessionEvent.SHUT_DOWN, reason)

    def hear(self) -> None:
        """Note that something has come from the peer."""
        self._liveness.hear()

    def _end_silent(self) -> None:
        """Close the connection of a peer that does not answer any more."""
        self._context.notify(Silent(self.streams.peer, self.connection))
        self._close(SessionEvent.SHUT_DOWN, "shutdown")

    def _close(self, event: SessionEvent, reason: str) -> None:
        if (self.state, event) not in SESSION:
            return
        self._move(event)
        self._context.timers.cancel(self._timer)
        self._liveness.stop()
        self._stop_proofs()
        self.outbound.close()
        # ER-012
        code = REASONS[reason].code
        self._context.emit(CloseConnection(connection=self.connection, code=code, reason=reason))

    # --- the handshake -------------------------------------------------------------------------

    def _take_verdict(self, handshake: Handshake) -> None:
        """Handle the end of the handshake."""
        self._note_mismatch("formation", handshake.other_formation)
        if handshake.state is HandshakeState.FAULTY:
            self._note_other_dialect()
            if handshake.reason == "authentication-failed":
                self._note_dialect()
            # HS-040
            self._refuse(handshake.reason)
        elif self.state is not SessionState.UNPROVEN:
            # The connection is closing: the deadline had passed when the last message arrived.
            return
        elif handshake.state is HandshakeState.ACCEPTED:
            self._take_acceptance()
        else:
            self._move(SessionEvent.REJECTED)
            self.streams.note_refusal("authentication-failed", "connection")
            # HS-036
            self._set_timer(
                self._context.settings.verdict_linger_s,
                lambda: self._close(SessionEvent.LINGER_OVER, "authentication-failed"),
            )

    def _take_acceptance(self) -> None:
        """Begin, unless the acceptor has to prove itself before."""
        settings = self._context.settings
        if not self._opened.dialled:
            if settings.proves or self.streams.peer in settings.own_peers:
                self._proving = ProvingStream(self._context, self.streams)
                self._proving.start()
        elif settings.refuses_unproven:
            # HS-072
            self._context.timers.cancel(self._timer)
            self._proof.start()
            return
        self._move(SessionEvent.ACCEPTED)
        self._begin()
        if self._opened.dialled:
            self._proof.start()

    def _take_proof(self, state: ProofState, reason: str) -> None:
        """Handle the end of the wait for the proof of an acceptor."""
        peer, refuses = self.streams.peer, self._context.settings.refuses_unproven
        if self.state not in (SessionState.UNPROVEN, SessionState.READY):
            return
        if state is ProofState.PROVEN:
            self._context.notify(Proven(peer, self.connection))
            if self.state is SessionState.UNPROVEN:
                self._move(SessionEvent.ACCEPTED)
                self._begin()
        elif state is ProofState.FALSE or refuses:
            # HS-073, HS-074, HS-078
            self._refuse(reason)
        else:
            # HS-076
            for counts in self._context.statistics.each(peer):
                counts.ignored["acceptor unproven"] += 1
            self._context.notify(Unproven(peer, self.connection, reason))

    def _stop_proofs(self) -> None:
        """Await and give no proof any more."""
        self._proof.stop()
        if self._proving is not None:
            self._proving.stop()

    def _time_out(self) -> None:
        self._note_other_dialect()
        self._note_dialect()
        self._refuse("handshake-timeout")

    def _refuse(self, reason: str) -> None:
        """Refuse the connection; only the handshake and the certificates do so (ER-020)."""
        self.streams.note_refusal(reason, "connection")
        self._close(SessionEvent.REFUSED, reason)

    def _note_dialect(self) -> None:
        """Report a peer that has not answered in the dialect of this side, once."""
        may_change = self._context.settings.detects and self.state is SessionState.UNPROVEN
        if may_change and self._handshake.may_be_other_dialect:
            self._context.notify(OtherDialect(self.streams.peer, self.connection))

    def _note_other_dialect(self) -> None:
        """Log the dialect of a peer that has not been proven, if it has shown another one."""
        if self._was_ready:
            return
        other = self._handshake.other_dialect
        if self._opened.dialled and self._handshake.is_unheard and self._first_stream is not None:
            # It begins to send without a handshake.
            other = Dialect.OPEN
        self._note_mismatch("dialect", other)

    def _note_mismatch(self, what: str, theirs: str | None) -> None:
        """Log once how a peer is configured otherwise than this node; None is not known."""
        context = self._context
        own: str = context.settings.dialect
        if what == "formation" and context.key is not None:
            own = context.key.formation_id
        if theirs in (None, own) or self._has_mismatch:
            return
        self._has_mismatch = True
        context.notify(Mismatch(what, own, str(theirs), self.streams.peer, self.connection))

    # --- streams -------------------------------------------------------------------------------

    def take_stream(self, stream: int, *, bidi: bool) -> None:
        """Take a stream that the peer opened."""
        if not bidi:
            heartbeat = HeartbeatStream(self._context, self.streams, stream)
            heartbeat.on_beat = self._take_heartbeat
            self.streams.add(stream, heartbeat)
            # LV-009: its deadline runs before the first byte too.
            heartbeat.resume()
        elif self._handshake.awaits_stream:
            # HS-054: the transport reports streams in the order of their numbers.
            self._handshake.accept_stream(stream)
        elif self._awaits_proof:
            self._proof.take_stream(stream, self._take_frames)
        else:
            self._take_frames(stream)

    def _take_heartbeat(self, sent_at_ms: int) -> None:
        # LV-007: nothing is made of the time but a line of the log.
        # LV-011
        ahead_ms = sent_at_ms - self._context.now.wall_ms
        if abs(ahead_ms) > CLOCK_AHEAD_MAX_MS and not self._is_clock_off:
            self._is_clock_off = True
            self._context.notify(ClockOff(ahead_ms / 1000, self.streams.peer, self.connection))
        self._rivals.note_heartbeat(self)

    @property
    def _awaits_proof(self) -> bool:
        """True while the first bidi stream of the peer may be that of its proof."""
        is_open = self._context.settings.dialect is Dialect.OPEN
        return self._opened.dialled and not is_open and self._proof.awaits_stream

    def _take_frames(self, stream: int) -> FrameStream:
        """Read frames from a stream of the peer; return its handler."""
        handler = FrameStream(self._context, self.streams, stream, self.runs, self._take_frame)
        self.streams.add(stream, handler)
        self._first_stream = self._first_stream or handler
        return handler

    def _refill(self) -> None:
        # TM-003
        self.runs.advance()
        if self._exchange is not None:
            self._exchange.advance()
            if self._exchange.state is ExchangeState.OVER:
                self._exchange = None
                if self._is_due_again:
                    self._is_due_again = False
                    self.offer_again()

    def waits(self, key: str) -> tuple[Wait, ...]:
        """Return what a document waits for on its way to the peer."""
        if self.state is not SessionState.READY:
            return (Wait(Cause.HANDSHAKE),)
        offered = () if self._exchange is None else self._exchange.waits(key)
        return (*offered, *self.outbound.waits(key), *self._context.waits(self.streams.peer, key))

    def offer_again(self) -> None:
        """Begin another initial exchange, after that which is under way."""
        if self.state is not SessionState.READY:
            return
        if self._exchange is not None:
            self._is_due_again = True
            return
        self._context.cursors.sent.forget(self.streams.peer)
        self._context.cursors.received.forget(self.streams.peer)
        self._selection = Selection(self._context, self.streams.peer)
        self._exchange = InitialExchange(self._context, self.outbound, self._selection)
        self._refill()

    def take_delta(self, key: str, heads: Heads, *, is_quiet: bool, confirms: bool) -> None:
        """Answer a delta that left nothing to say, where a peer that polls needs an answer."""
        context = self._context
        if not heads or self.streams.peer in context.settings.own_peers:
            return
        said = Said(heads, context.now.monotonic_s, is_quiet=is_quiet, confirms=confirms)
        if self._polls.take(key, said):
            self.outbound.add(Purpose.POLL_ANSWER, key)

    # --- calls of documents --------------------------------------------------------------------

    def begin_job(self) -> None:
        """Count a document job that a frame of the peer has queued."""
        self._jobs += 1

    def end_job(self) -> None:
        """Count one document job less."""
        self._jobs -= 1
        self._forget_if_over()

    def _forget_if_over(self) -> None:
        """Let the worker forget the exchanges of a closed connection, after its last frame."""
        if self.state is SessionState.CLOSED and not self._jobs:
            self._context.queues.call(Forget(self.connection))
