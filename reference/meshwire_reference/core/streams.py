"""The streams of one connection: their handlers, and the requests to the transport.

Theory of operation. A stream has one handler from its opening to its release, which receives every
event of the stream. This node requests a stream with `open`; its handler is found by the ticket
when the stream is granted. Events of a stream without a handler are late: bytes are consumed and
dropped, a granted stream is released, others have no effect.

A stream with frames handles one frame at a time. `PendingEffects` counts the effects of that frame
that are outstanding: calls of documents, or an answer in flight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from meshwire_reference.core.context import Context
from meshwire_reference.core.effects import (
    Consumed,
    Deferred,
    OpenStream,
    Refusal,
    Release,
    Reset,
    Send,
    Stop,
    WriteNumber,
)
from meshwire_reference.core.limits.quotas import InboundQuota
from meshwire_reference.core.state.document_fates import SENT_AS
from meshwire_spec.numbers import LAB_MAX_DATA, REASONS

NO_STREAM: Final = -1
"""Stream number of a handler that has no stream yet, or no longer."""


class PendingEffects:
    """The outstanding effects of the frame that a stream works on.

    `on_over` is called when the last one has ended, with the reason for which the stream is to be
    refused, or None. `after` is the last write that the effects so far depend on.
    """

    def __init__(self, on_over: Callable[[str | None], None]) -> None:
        self.count = 0
        self.after: WriteNumber | None = None
        self._reason: str | None = None
        self._on_over = on_over

    def begin(self) -> None:
        """Count one more effect; `end` must follow."""
        self.count += 1

    def end(self, reason: str | None = None, after: WriteNumber | None = None) -> None:
        """Count one effect less; of several reasons the first decides."""
        if after is not None:
            self.after = max(after, self.after or 0)
        self._reason = self._reason or reason
        self.count -= 1
        if not self.count:
            reason, self._reason = self._reason, None
            self._on_over(reason)


@dataclass(frozen=True, slots=True)
class Unread:
    """The bytes of a stream that wait, and for how many of them the connection has its credit."""

    size: int
    deferred: int


NOTHING_UNREAD: Final = Unread(0, 0)
UNREAD_MAX: Final = LAB_MAX_DATA // 2
"""Bytes of a connection that wait, beyond which the peer may lack credit for other streams."""


class StreamHandler:
    """Handles the events of a stream; those that a subclass does not override have no effect."""

    def __init__(self, streams: Streams, stream: int = NO_STREAM) -> None:
        self._streams = streams
        self._stream = stream

    def take_stream(self, stream: int) -> None:
        """Use the stream that was requested."""
        self._stream = stream

    def receive(self, data: bytes, *, fin: bool) -> None:
        """Take the next bytes of the peer, and its FIN. The default drops them."""
        if data:
            self._streams.consume(self._stream, len(data))

    def take_reset(self, code: int) -> None:
        """Take a RESET of the peer."""

    def take_stop(self, code: int) -> None:
        """Take a STOP of the peer; the transport has reset this side's half."""

    def note_sent(self, *, has_failed: bool) -> None:
        """Handle that the transport has the bytes sent, or that they are lost if `has_failed`."""

    def resume(self) -> None:
        """Continue as far as possible: the session or a quota allows more than before."""

    def cut(self) -> None:
        """Handle the end of the connection."""


class Streams:
    """The streams of one connection. Frames are read while `may_read` is True.

    `quota` bounds what the peer's unfinished frames take.
    """

    def __init__(self, context: Context, connection: int, peer_id: bytes) -> None:
        self.connection = connection
        self.peer = peer_id.hex()
        self.may_read = False
        self.quota = InboundQuota(
            context.settings.inbound_share_bytes,
            context.inbound_quota,
            self.resume,
            self._take_precedence,
        )
        self._unread: dict[int, Unread] = {}
        self._withheld = 0
        self._context = context
        self._handlers: dict[int, StreamHandler] = {}
        self._requests: dict[int, StreamHandler] = {}

    def __len__(self) -> int:
        """Return how many streams are in use or requested."""
        return len(self._handlers) + len(self._requests)

    # --- what happens ----------------------------------------------------------------------------

    def add(self, stream: int, handler: StreamHandler) -> None:
        """Register the handler of a stream of the peer."""
        self._handlers[stream] = handler

    def grant(self, ticket: int, stream: int) -> None:
        """Pass a requested stream to its handler."""
        handler = self._requests.pop(ticket, None)
        if handler is None:
            self.release(stream)
            return
        self._handlers[stream] = handler
        handler.take_stream(stream)

    def take_data(self, stream: int, data: bytes, *, fin: bool) -> None:
        """Give bytes of the peer, and its FIN, to the handler of the stream."""
        for counts in self._context.statistics.each(self.peer):
            counts.received_bytes += len(data)
        handler = self._handlers.get(stream)
        if handler is not None:
            handler.receive(data, fin=fin)
        elif data:
            # A released stream may still have bytes in flight.
            self.consume(stream, len(data))

    def take_reset(self, stream: int, code: int) -> None:
        """Give a RESET of the peer to the handler of the stream."""
        if handler := self._handlers.get(stream):
            handler.take_reset(code)

    def take_stop(self, stream: int, code: int) -> None:
        """Give a STOP of the peer to the handler of the stream."""
        # TR-027: the other half goes on.
        if handler := self._handlers.get(stream):
            handler.take_stop(code)

    def note_sent(self, stream: int, *, has_failed: bool) -> None:
        """Report to the handler of a stream that its bytes were sent or lost."""
        if handler := self._handlers.get(stream):
            handler.note_sent(has_failed=has_failed)

    def resume(self) -> None:
        """Let every stream continue that can."""
        self.grant_exempt()
        for handler in list(self._handlers.values()):
            handler.resume()

    def _take_precedence(self) -> None:
        """Go on as the peer whose stream has held bytes for the longest time.

        That happens after almost every frame, and changes nothing where no credit is withheld.
        """
        if self.withholds_credit:
            self.resume()

    def cut(self) -> None:
        """Report the end of the connection to every handler."""
        for stream, handler in list(self._handlers.items()):
            # The end of one stream may let another one go on, to its end.
            if stream in self._handlers:
                handler.cut()

    # --- bytes that wait -------------------------------------------------------------------------

    def note_unread(self, stream: int, size: int) -> None:
        """Record how many bytes of a stream wait to be read."""
        before = self._unread.pop(stream, NOTHING_UNREAD)
        if size == before.size == 0:
            return
        withheld = self.withholds_credit
        deferred = max(0, before.deferred - max(0, before.size - size))
        if size:
            self._unread[stream] = Unread(size, deferred)
        self._withheld += (size - deferred) - (before.size - before.deferred)
        if self.withholds_credit is not withheld:
            # Deadlines of other streams begin or end.
            self.resume()

    @property
    def withholds_credit(self) -> bool:
        """True if bytes that wait may keep the peer from sending on another stream."""
        return self._withheld > UNREAD_MAX

    def grant_exempt(self) -> None:
        """Grant credit for all bytes that wait, if a stream of this peer may always go on.

        The credit of their streams waits for their reading.
        """
        if not self.withholds_credit or not self.quota.is_exempt:
            return
        # TR-031
        for stream, one in self._unread.items():
            count = one.size - one.deferred
            if count:
                self._context.emit(Deferred(connection=self.connection, stream=stream, count=count))
                self._unread[stream] = Unread(one.size, one.size)
        self._withheld = 0
        self.resume()

    # --- what the transport is asked to do -------------------------------------------------------

    def open(self, handler: StreamHandler, *, bidi: bool, after: WriteNumber | None = None) -> int:
        """Request a stream, which `take_stream` of the handler receives; return the ticket."""
        ticket = next(self._context.tickets)
        self._requests[ticket] = handler
        self._context.emit(
            OpenStream(connection=self.connection, ticket=ticket, bidi=bidi, after=after)
        )
        return ticket

    def cancel(self, ticket: int) -> None:
        """Withdraw a request; a stream that is granted nevertheless is released."""
        self._requests.pop(ticket, None)

    def send(
        self,
        stream: int,
        data: bytes,
        *,
        fin: bool = False,
        reports: bool = False,
        after: WriteNumber | None = None,
        frame: int | None = None,
    ) -> None:
        """Send bytes, and FIN; `note_sent` follows where it `reports`, and after FIN.

        `frame` is the type of the frame that the bytes are.
        """
        self._context.emit(
            Send(
                connection=self.connection,
                stream=stream,
                data=data,
                fin=fin,
                reports=reports,
                after=after,
                frame=frame,
            )
        )

    def consume(self, stream: int, count: int) -> None:
        """Grant the peer again the credit of bytes that were taken."""
        self._context.emit(Consumed(connection=self.connection, stream=stream, count=count))

    def stop(self, stream: int, reason: str, after: WriteNumber | None = None) -> None:
        """Ask the peer to end its half, with the code of a reason."""
        code = REASONS[reason].code
        self._context.emit(Stop(connection=self.connection, stream=stream, code=code, after=after))

    def reset(self, stream: int, reason: str, after: WriteNumber | None = None) -> None:
        """End our half with the code of a reason."""
        code = REASONS[reason].code
        self._context.emit(Reset(connection=self.connection, stream=stream, code=code, after=after))

    def release(self, stream: int, after: WriteNumber | None = None) -> None:
        """Forget the handler of a stream and release it in the transport."""
        self._handlers.pop(stream, None)
        self.note_unread(stream, 0)
        self._context.emit(Release(connection=self.connection, stream=stream, after=after))

    def note_documents(self, keys: Iterable[str], frame_type: int) -> None:
        """Count the documents and tombstones that are sent in a frame."""
        self._context.note_sent(self.peer, keys, SENT_AS.get(frame_type, ""))

    def note_lost(self, keys: Iterable[str]) -> None:
        """Count a frame whose stream has ended too early, with its documents."""
        self._context.note_lost(self.peer, keys)

    def note_refusal(self, reason: str, scope: str, key: str = "") -> None:
        """Count and log a refusal; `scope` is that of `Refusal`."""
        self._context.note_refusal(Refusal(reason, self.peer, self.connection, scope, key))
