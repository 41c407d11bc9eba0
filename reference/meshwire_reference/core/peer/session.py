"""One peer: the handshake, the streams it opened, and what goes back to it.

Streams that come before the peer has proven itself wait unread; only the first bidi stream is
read, by the handshake. From the result on, every stream is read and the initial exchange runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from meshwire_reference.core.context import Context
from meshwire_reference.core.document_calls import Call, Forget, Result
from meshwire_reference.core.effects import Close, Consumed, Refusal, Release
from meshwire_reference.core.inputs import ConnectionOpened
from meshwire_reference.core.limits.budget import Budget
from meshwire_reference.core.limits.rate_limit import Cooldowns
from meshwire_reference.core.peer.handshake_stream import Proving
from meshwire_reference.core.peer.heartbeat_stream import HeartbeatStream
from meshwire_reference.core.peer.heartbeats import Heartbeats
from meshwire_reference.core.peer.inbound import Done, FrameStream, InboundStream
from meshwire_reference.core.reconciliation.client import OwnRun
from meshwire_reference.core.reconciliation.server import ServedRuns
from meshwire_reference.core.sending.initial_exchange import Exchange
from meshwire_reference.core.sending.outbound import Outbound
from meshwire_reference.core.sending.selection import Everything, Reconciled, Selection
from meshwire_reference.core.sending.snapshot_answers import SnapshotAnswers
from meshwire_reference.core.settings import Dialect
from meshwire_reference.core.state.document_queues import Job
from meshwire_reference.wire.batches import StreamFrame
from meshwire_spec.numbers import REASONS
from meshwire_spec.states import SESSION, SessionEvent, SessionState

TakeFrame: TypeAlias = Callable[["Session", int, StreamFrame, Done], None]


class Session:
    """A connection with a peer, from its opening to its end."""

    def __init__(self, context: Context, opened: ConnectionOpened, take_frame: TakeFrame) -> None:
        self._context = context
        self._take_frame = take_frame
        self._opened = opened
        self.connection = connection = opened.connection
        self.peer_id = opened.peer_id
        self.state = SessionState.UNPROVEN
        self.budget = Budget(context.settings.inbound_bytes_max, context.pool, self.resume)
        self.outbound = Outbound(context, connection, self._refill)
        self.runs = ServedRuns(context, connection, self.outbound)
        self.tombstone_answers = Cooldowns(context.settings.tombstone_answer_s)
        self.snapshot_answers = SnapshotAnswers(context, connection, self.outbound)
        self._heartbeats = Heartbeats(context, connection)
        self._streams: dict[int, InboundStream] = {}
        self._proving = Proving(context, connection, self)
        self._exchange: Exchange | None = None
        self._selection: Selection | None = None
        self._own_run: OwnRun | None = None
        self._jobs = 0
        self._was_ready = False

    @property
    def is_ready(self) -> bool:
        """Say whether frames of the peer take effect and frames are sent to it."""
        return self.state is SessionState.READY

    @property
    def may_read(self) -> bool:
        """Say whether frames take effect; those that came before the end still do after it."""
        return self.is_ready or (self._was_ready and self.state is SessionState.CLOSED)

    # --- the connection ------------------------------------------------------------------------

    def open(self) -> None:
        """Begin: with the handshake, or at once where the node is open."""
        settings = self._context.settings
        # HS-038, HS-039
        if settings.dialect is Dialect.OPEN:
            self._move(SessionEvent.NO_HANDSHAKE)
            self._begin()
            return
        self._proving.start(dialled=self._opened.dialled)
        # HS-035
        at_s = self._context.now.monotonic_s + settings.handshake_s
        self._context.timers.set(self._timer, at_s, lambda: self.refuse("handshake-timeout"))

    def end(self) -> None:
        """Take note that the connection is gone; nothing is sent from here on."""
        self._move(SessionEvent.CONNECTION_ENDED)
        self._context.timers.cancel(self._timer)
        self._context.durability.drop(self.connection)
        self._heartbeats.stop()
        if self._selection is not None:
            self._selection.close()
        self.outbound.close()
        for stream in list(self._streams.values()):
            stream.cut()
        self._forget_if_over()

    def shut_down(self) -> None:
        """Close the connection in order."""
        self._close(SessionEvent.SHUT_DOWN, "shutdown")

    @property
    def _timer(self) -> tuple[str, int]:
        return ("session", self.connection)

    def _move(self, event: SessionEvent) -> None:
        self.state = SESSION[self.state, event]

    def _begin(self) -> None:
        """Begin to read and to send; comes once the peer may be trusted."""
        self._context.timers.cancel(self._timer)
        self._was_ready = True
        self._selection = self._select()
        self._exchange = Exchange(self._context, self.connection, self.outbound, self._selection)
        # TR-002, HS-041
        self.resume()
        # DC-035
        self.outbound.open()
        self._heartbeats.start()

    def _select(self) -> Selection:
        """Say what the peer is offered unasked."""
        if not self._opened.reconciles:
            return Everything(self._context)
        selection = Reconciled(self._context, self.connection, self.peer_id, self._refill)
        self._own_run = selection.run
        return selection

    def _close(self, event: SessionEvent, reason: str) -> None:
        if (self.state, event) not in SESSION:
            return
        self._move(event)
        self._context.timers.cancel(self._timer)
        self.outbound.close()
        # ER-012
        code = REASONS[reason].code
        self._context.emit(Close(connection=self.connection, code=code, reason=reason))

    # --- what the handshake says -----------------------------------------------------------------

    def accept(self) -> None:
        """The peer has proven itself."""
        self._move(SessionEvent.ACCEPTED)
        self._begin()

    def reject(self, linger_s: float) -> None:
        """Leave the peer time to read the result, then refuse the connection."""
        self._move(SessionEvent.REJECTED)
        self.note_refusal("authentication-failed")
        # HS-036
        self._context.timers.set(
            self._timer,
            self._context.now.monotonic_s + linger_s,
            lambda: self._close(SessionEvent.LINGER_OVER, "authentication-failed"),
        )

    def refuse(self, reason: str) -> None:
        """Refuse the connection; only the handshake can be the cause (ER-020)."""
        self.note_refusal(reason)
        self._close(SessionEvent.REFUSED, reason)

    def note_refusal(self, reason: str, what: str = "connection") -> None:
        """Count a refusal and have it logged."""
        self._context.note_refusal(Refusal(reason, self.peer_id.hex(), self.connection, what))

    # --- streams -------------------------------------------------------------------------------

    def take_stream(self, stream: int, *, bidi: bool) -> None:
        """Take a stream that the peer opened."""
        if self._proving.take_stream(stream, bidi=bidi):
            return
        kind = FrameStream if bidi else HeartbeatStream
        self._streams[stream] = kind(self._context, self, stream)

    def take_data(self, stream: int, data: bytes, *, fin: bool) -> None:
        """Take the peer's next bytes on a stream."""
        if self._proving.take_data(stream, data, fin=fin) or (
            self._own_run and self._own_run.take_data(stream, data, fin=fin)
        ):
            return
        if stream in self._streams:
            self._streams[stream].receive(data, fin=fin)
        elif data:
            # A stream that was let go may still have bytes on their way.
            self._context.emit(Consumed(connection=self.connection, stream=stream, count=len(data)))

    def take_reset(self, stream: int, code: int) -> None:
        """Take the peer's giving up its half of a stream."""
        if self._proving.take_data(stream, b"", fin=True) or (
            self._own_run and self._own_run.take_reset(stream, code)
        ):
            return
        if stream in self._streams:
            self._streams[stream].cut()

    def take_stop(self, stream: int, code: int) -> None:
        """Take the peer's reading no more of a stream, which ends a run of ours."""
        if self._own_run is not None:
            self._own_run.take_reset(stream, code)

    def take_granted(self, ticket: int, stream: int) -> None:
        """Use a stream that was asked for."""
        if not (
            self._proving.take_granted(ticket, stream)
            or self._heartbeats.take_stream(ticket, stream)
            or (self._own_run and self._own_run.take_stream(ticket, stream))
            or self.outbound.take_stream(ticket, stream)
        ):
            self._context.emit(Release(connection=self.connection, stream=stream))

    def note_over(self, stream: int, *, has_failed: bool) -> None:
        """Take note that what was sent on a stream is with the transport, or never will be."""
        for sender in (self._heartbeats, self.runs, self._own_run, self.outbound):
            if sender is not None and sender.note_over(stream, has_failed=has_failed):
                return

    # --- what streams and frames ask of the session ----------------------------------------------

    def take_frame(self, stream: int, frame: StreamFrame, done: Done) -> None:
        """Let a frame take effect."""
        self.note_alive()
        self._take_frame(self, stream, frame, done)

    def note_alive(self) -> None:
        """Take note that the peer was heard (D-98)."""
        self._heartbeats.note_heard()

    def resume(self) -> None:
        """Let every stream go on that can."""
        for stream in list(self._streams.values()):
            stream.pump()

    def let_go(self, stream: int) -> None:
        """Forget a stream that is over."""
        self._streams.pop(stream, None)
        self.runs.drop(stream)

    def queue(self, key: str, job: Job) -> None:
        """Queue a job of this peer's making for a document."""
        self._jobs += 1

        def begin() -> Call | None:
            call = job.begin()
            if call is None:
                self._note_job_over()
            return call

        def finish(result: Result) -> None:
            job.finish(result)
            self._note_job_over()

        self._context.queues.add(key, Job(begin, finish))

    def _refill(self) -> None:
        self.runs.advance()
        if self._exchange is not None:
            self._exchange.advance()
            if self._exchange.is_over:
                self._exchange = None

    def _note_job_over(self) -> None:
        self._jobs -= 1
        self._forget_if_over()

    def _forget_if_over(self) -> None:
        """Have the worker forget the exchanges of a peer that is gone, after its last frame."""
        if self.state is SessionState.CLOSED and not self._jobs:
            self._context.queues.call(Forget(self.connection))
