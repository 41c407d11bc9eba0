"""One stream of the lab binding: the states of its two halves, their credit and queued bytes.

A stream does not encode or decode records. Each method keeps the same order: check the transition,
apply it, return what must be sent.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from meshwire_reference.core.inputs import (
    StreamData,
    StreamId,
    StreamOpened,
    StreamReset,
    StreamStopped,
    TransportEvent,
)
from meshwire_reference.transport.base import StreamGone
from meshwire_spec.numbers import STREAM_ID_MAX
from meshwire_spec.states import (
    RECEIVE_ENDED,
    RECEIVE_HALF,
    SEND_ENDED,
    SEND_HALF,
    ReceiveEvent,
    ReceiveHalf,
    SendEvent,
    SendHalf,
)

STREAMS_MAX: Final = (STREAM_ID_MAX >> 2) + 1
"""Number of streams of one kind that the ids of one side can name."""


class LinkFault(Exception):
    """The peer broke a rule of the lab binding; the connection is closed with `reason`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Credit:
    """Credit of the peer, on a stream or a connection: `given` in all, of it `received`.

    The window moves on as bytes are taken. A raise is due at half a window, or at once if the peer
    has less than a quarter left: so a peer that used up its credit always gets the bytes taken.
    """

    __slots__ = ("given", "received", "taken", "window")

    def __init__(self, window: int) -> None:
        self.window = window
        self.given = window
        self.received = 0
        self.taken = 0

    def admits(self, count: int) -> bool:
        """Return True if the peer may send this number of bytes more."""
        return self.received + count <= self.given

    @property
    def is_due(self) -> bool:
        """True if a higher maximum should be sent to the peer now."""
        more = self.taken + self.window - self.given
        left = self.given - self.received
        # LB-044
        return more > 0 and (2 * more >= self.window or 4 * left < self.window)

    def give(self) -> int:
        """Raise the maximum by the bytes taken, and return it."""
        # LB-059
        self.given = self.taken + self.window
        return self.given


class StreamCount:
    """Numbers of streams of one kind (bidi or uni), counted from the start."""

    __slots__ = ("closed", "given", "opened", "seen", "window")

    def __init__(self, window: int) -> None:
        self.window = min(window, STREAMS_MAX)
        self.given = self.window
        self.closed = 0
        # The next number that the peer has not used, and the next that we have not.
        self.seen = 0
        self.opened = 0


class SendQueue:
    """Bytes of one stream that wait for credit or for the link."""

    __slots__ = ("chunks", "head", "size")

    def __init__(self) -> None:
        self.chunks: deque[bytes] = deque()
        self.head = 0
        self.size = 0

    def put(self, data: bytes) -> None:
        """Append bytes; the caller never changes them afterwards."""
        if data:
            self.chunks.append(data)
            self.size += len(data)

    def take(self, most: int) -> bytes | memoryview:
        """Remove up to `most` of the oldest bytes, at least one where any waits."""
        chunk = self.chunks[0]
        end = self.head + most
        if end < len(chunk):
            part = memoryview(chunk)[self.head : end]
            self.head = end
        else:
            part = memoryview(chunk)[self.head :]
            self.chunks.popleft()
            self.head = 0
        self.size -= len(part)
        return part

    def clear(self) -> None:
        """Drop everything."""
        self.chunks.clear()
        self.head = self.size = 0


NOTHING_QUEUED: Final = SendQueue()
"""The queue of every stream of which no byte waits: most never have one of their own."""


class LabStream:
    """A stream as one side of a lab connection sees it."""

    __slots__ = (
        "announced",
        "chunks",
        "credit",
        "deferred",
        "fin_received",
        "id",
        "is_bidi",
        "is_own",
        "is_released",
        "is_silenced",
        "maximum",
        "queue",
        "receive",
        "reset_code",
        "send",
        "sent",
        "stop_sent",
        "stopped_by",
        "stopped_code",
        "unsettled",
    )

    def __init__(self, stream: StreamId, *, is_own: bool, window: int, maximum: int) -> None:
        self.id = stream
        self.is_own = is_own
        self.is_bidi = not stream & 2
        self.send = SendHalf.READY if self.is_bidi or is_own else SendHalf.ABSENT
        self.receive = ReceiveHalf.ABSENT if is_own and not self.is_bidi else ReceiveHalf.RECEIVING
        self.credit = Credit(window)
        # Bytes counted against the connection that the application has not consumed.
        self.unsettled = 0
        # Bytes that the application has not consumed and that count against the stream alone.
        self.deferred = 0
        self.maximum = maximum
        self.sent = 0
        self.queue = NOTHING_QUEUED
        self.stop_sent = False
        # The peer's stop that ended our half, if one did.
        self.stopped_by: int | None = None
        # Nothing of the peer's half is delivered any more: we stopped or released it.
        self.is_silenced = False
        self.is_released = False
        # Bytes not yet reported to the application.
        self.announced = is_own
        self.chunks: list[bytes] = []
        self.fin_received = False
        self.reset_code: int | None = None
        self.stopped_code: int | None = None

    @property
    def is_ended(self) -> bool:
        """True if both halves have ended."""
        return self.send in SEND_ENDED and self.receive in RECEIVE_ENDED

    @property
    def allowance(self) -> int:
        """Number of further bytes that the peer's credit allows on this stream."""
        return self.maximum - self.sent

    @property
    def has_news(self) -> bool:
        """True if `take_events` would return anything."""
        return bool(
            not self.announced
            or self.chunks
            or self.fin_received
            or self.reset_code is not None
            or self.stopped_code is not None,
        )

    def take_events(self) -> list[TransportEvent]:
        """Return the events that were not reported to the application yet, in order."""
        events: list[TransportEvent] = []
        if not self.announced:
            self.announced = True
            events.append(StreamOpened(self.id, self.is_bidi))
        if self.chunks or self.fin_received:
            data = self.chunks[0] if len(self.chunks) == 1 else b"".join(self.chunks)
            events.append(StreamData(self.id, data, self.fin_received))
            self.chunks.clear()
            self.fin_received = False
        if self.reset_code is not None:
            events.append(StreamReset(self.id, self.reset_code))
            self.reset_code = None
        if self.stopped_code is not None:
            events.append(StreamStopped(self.id, self.stopped_code))
            self.stopped_code = None
        return events

    # --- The peer's half -------------------------------------------------------------------

    def receive_data(self, data: bytes, shared: Credit, *, fin: bool) -> int:
        """Take the peer's bytes; return how many of them count as consumed at once.

        They count against this stream and against the credit shared with all others. Raises
        LinkFault.
        """
        # LB-033
        after = RECEIVE_HALF.get((self.receive, ReceiveEvent.FIN if fin else ReceiveEvent.DATA))
        if after is None:
            raise LinkFault("bad-stream")
        size = len(data)
        # LB-041, LB-042
        if not self.credit.admits(size) or not shared.admits(size):
            raise LinkFault("flow-control")
        self.receive = after
        self.credit.received += size
        shared.received += size
        # LB-037
        if self.is_silenced:
            return size
        if data:
            self.chunks.append(data)
            self.unsettled += size
        self.fin_received = fin
        return 0

    def receive_reset(self, code: int) -> int:
        """Take a RESET of the peer's half; return how many bytes count as consumed by it."""
        before = self.receive
        self.receive = RECEIVE_HALF[self.receive, ReceiveEvent.RESET]
        # LB-034
        if self.receive is before:
            return 0
        if not self.is_silenced:
            # LB-038: earlier bytes are delivered, so that no whole frame gets lost.
            self.reset_code = code
        return self._settle_all()

    def silence(self) -> int:
        """Deliver nothing more of the peer's half; return how many bytes that settles."""
        self.is_silenced = True
        self.chunks.clear()
        self.fin_received = False
        return self._settle_all()

    def _settle_all(self) -> int:
        # LB-045
        settled, self.unsettled = self.unsettled, 0
        return settled

    def ask_stop(self) -> bool:
        """Stop the peer's half; return True if STOP must be sent."""
        self.receive = RECEIVE_HALF[self.receive, ReceiveEvent.STOP]
        asks = not self.stop_sent and self.receive in {ReceiveHalf.STOPPED, ReceiveHalf.FINISHED}
        self.stop_sent = self.stop_sent or asks
        return asks

    def settle(self, count: int) -> int:
        """Count bytes as consumed by the application; return how many were still unsettled."""
        deferred = min(count, self.deferred)
        settled = min(count - deferred, self.unsettled)
        self.deferred -= deferred
        self.unsettled -= settled
        self.credit.taken += deferred + settled
        return settled

    def defer(self, count: int) -> int:
        """Count bytes against this stream alone; return how many counted against the connection."""
        # TR-031
        settled = min(count, self.unsettled)
        self.unsettled -= settled
        self.deferred += settled
        return settled

    # --- Our half --------------------------------------------------------------------------

    def hand_over(self, data: bytes, *, fin: bool) -> None:
        """Queue bytes of the application. Raises StreamGone."""
        after = SEND_HALF.get((self.send, SendEvent.FIN if fin else SendEvent.DATA))
        if after is None:
            raise StreamGone(self.id, self.stopped_by)
        self.send = after
        if self.queue is NOTHING_QUEUED:
            self.queue = SendQueue()
        self.queue.put(data)

    def take_chunk(self, most: int) -> tuple[bytes | memoryview, bool]:
        """Remove bytes from the queue; return them and True if the half ends with them."""
        part = self.queue.take(most) if self.queue.size else b""
        self.sent += len(part)
        fin = self.send is SendHalf.FINISHING and not self.queue.size
        if fin:
            self.send = SEND_HALF[self.send, SendEvent.FIN_SENT]
        return part, fin

    def give_up(self) -> bool:
        """Reset this side's half; return True if RESET must be sent."""
        return self._end(SendEvent.RESET)

    def receive_stop(self, code: int) -> bool:
        """Take a STOP of this side's half; return True if RESET must be sent."""
        if self.stopped_by is None and not self.is_released:
            self.stopped_by = self.stopped_code = code
        # LB-035, LB-036, TR-023
        return self._end(SendEvent.STOP_RECEIVED)

    def _end(self, event: SendEvent) -> bool:
        before = self.send
        self.send = SEND_HALF[self.send, event]
        self.queue.clear()
        return self.send is SendHalf.RESET and before is not SendHalf.RESET
