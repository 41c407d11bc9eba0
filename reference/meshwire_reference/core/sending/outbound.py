"""The queue of frames to one peer: ordered by document, one frame per stream.

Theory of operation. There is at most one answer, one push, one snapshot and one tombstone queued
for a key, so the queue grows with documents and not with requests. Answers go before pushes and
relayed tombstones, and of both the most urgent collections first (`waiting`). A frame is made of
what is held when its turn comes, so a push never brings back a document whose tombstone waits. A
few items at a time leave the queue. A frame that does not exist yet is made by a document call in
the queue of its document, unless a tombstone guards the key. A message above the payload cap is not
sent; pieces of it are made instead, one after the other (DC-055). Then a stream is opened, which
waits for the peer's credit; the frame and FIN are sent; and the stream is released once the
transport has everything. The own snapshot as an answer waits for its stream first and is made
afterwards, so that it is the document as it is when it is sent; the next one waits until it has
left, and the interval.

A document of which snapshots are pushed is announced after the second one. Once the peer has sent a
delta of it, changes go as deltas, unless the snapshot is shorter (DC-058).

What is made and has not left is bounded (`quotas`): an item leaves the queue when its document
fits. The message of an answer is a result of the call that applied the delta. Without room for it,
or behind one for the same key, it is taken back (`Unsent`) and made anew in its turn, never dropped
(D-142).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from meshwire_reference.core.context import Context
from meshwire_reference.core.document_calls import (
    Call,
    Generate,
    Generated,
    Piece,
    Receive,
    Received,
    Refused,
    Result,
    Save,
    Saved,
    Unsent,
)
from meshwire_reference.core.effects import NotSent, WriteNumber
from meshwire_reference.core.limits.quotas import OutboundQuota
from meshwire_reference.core.limits.rate_limit import Cooldowns
from meshwire_reference.core.sending.copies import Copies
from meshwire_reference.core.sending.snapshots import PushedSnapshots
from meshwire_reference.core.sending.waiting import OWED, Purpose, QueueItem, WaitingFrames
from meshwire_reference.core.state.document_fates import Fate
from meshwire_reference.core.state.document_queues import Job
from meshwire_reference.core.state.tombstones import frame_key
from meshwire_reference.core.state.waits import Cause, Wait
from meshwire_reference.core.streams import StreamHandler, Streams
from meshwire_reference.wire.batches import StreamFrame, encode_stream_frame
from meshwire_spec.numbers import READ_MESSAGE, FrameType

READS_BY: Final[Mapping[Purpose, type[Call]]] = {
    Purpose.ANSWER: Generate,
    Purpose.OPENING: Generate,
    Purpose.POLL_ANSWER: Generate,
    Purpose.PUSH: Generate,
    Purpose.ANNOUNCEMENT: Generate,
    Purpose.READ_ANSWER: Receive,
}
"""The calls that make messages for one peer out of a document, by purpose."""


TOMBSTONES: Final = frozenset((Purpose.TOMBSTONE, Purpose.DELETION))
"""Purposes of frames that are tombstones and nothing else."""

ANSWERS: Final = frozenset((Purpose.ANSWER, Purpose.READ_ANSWER))
"""Purposes of frames about documents that this node need not hold."""


class Outbound:
    """The sending side of one session. `refill` is called whenever nothing is queued."""

    def __init__(self, context: Context, streams: Streams, refill: Callable[[], None]) -> None:
        self.streams = streams
        self.is_open = False
        self._context = context
        self._refill = refill
        settings = context.settings
        self._owed = WaitingFrames(settings.collections.urgency)
        self._waiting = WaitingFrames(settings.collections.urgency)
        # Items of `_owed` that have room, since their message exists.
        self._ready = WaitingFrames(settings.collections.urgency)
        self._quota = OutboundQuota(settings.answer_bytes_max, context.outbound_quota, self.pump)
        self._snapshot_cooldowns = Cooldowns(settings.snapshot_answer_s)
        self._snapshots = PushedSnapshots()
        self.copies = Copies()
        self._unmade: set[str] = set()
        # Keys of answers that were made and have not left, and whether another is due after it.
        self._leaving: dict[str, bool] = {}
        self._under_way = 0
        self._is_pumping = False

    def open(self) -> None:
        """Begin to send: the peer is proven, or need not be."""
        self.is_open = True
        self.pump()

    def close(self) -> None:
        """Send nothing more: the connection is closed or closing."""
        self.is_open = False
        self._quota.close()
        self._owed.clear()
        self._ready.clear()
        self._waiting.clear()
        self._unmade.clear()
        self._leaving.clear()

    @property
    def has_credit(self) -> bool:
        """True while another frame may be sent."""
        return self.is_open and self._under_way < self._context.settings.sends_max

    def has_room(self, size: int) -> bool:
        """Return True if `size` more bytes may be made; else `refill` is called once they may."""
        return self._quota.has_room(size)

    def reserve(self, by: int) -> None:
        """Add `by` to the bytes that are being made for `send`; a negative number frees bytes."""
        self._quota.change(by)

    # --- what is to be sent ----------------------------------------------------------------------

    def add(self, purpose: Purpose, key: str) -> None:
        """Queue a frame that is made when its turn comes."""
        self._context.note_fate(self.streams.peer, key, Fate.OFFERED, purpose)
        # TS-037: an answer is the same frame, which goes once.
        if purpose is Purpose.TOMBSTONE:
            self._waiting.pop(QueueItem(Purpose.DELETION, key))
        elif purpose is Purpose.DELETION and QueueItem(Purpose.TOMBSTONE, key) in self._owed:
            return
        queue = self._owed if purpose in OWED else self._waiting
        queue.add(QueueItem(purpose, key))
        self.pump()

    def pass_on(self, key: str, source: int) -> None:
        """Queue a change that came over the connection `source`, or the heads that announce it."""
        # DC-085
        if not self.copies.announces(key, source, self._context.now.monotonic_s):
            self._relay(key)
        elif QueueItem(Purpose.PUSH, key) not in self._waiting:
            self._await_answer()
            self.add(Purpose.ANNOUNCEMENT, key)

    def _await_answer(self) -> None:
        """Have changes relayed whose announcements the peer does not answer."""
        due_s = self.copies.due_s
        if self.is_open and due_s is not None:
            name = ("announced", self.streams.connection)
            self._context.timers.set(name, due_s, self._relay_unanswered)

    def _relay_unanswered(self) -> None:
        if not self.is_open:
            return
        for key in self.copies.take_unanswered(self._context.now.monotonic_s):
            self.take_back(key)
            self._relay(key)
        self._await_answer()

    def _relay(self, key: str) -> None:
        self._waiting.pop(QueueItem(Purpose.ANNOUNCEMENT, key))
        self.add(Purpose.PUSH, key)

    def add_answer(self, purpose: Purpose, key: str, message: bytes) -> None:
        """Queue an answer whose message exists already."""
        item = QueueItem(purpose, key)
        # DC-008
        is_second = item in self._owed and purpose is Purpose.ANSWER
        self._quota.change(-self._owed.size_of(item))
        if is_second or not self._quota.has_room(len(message)):
            # DC-007
            self._owed.put(item, None)
            self._ready.pop(item)
            if purpose is Purpose.ANSWER:
                self.take_back(key)
        else:
            self._owed.put(item, message)
            self._ready.add(item)
            self._quota.change(len(message))
        self.pump()

    def add_snapshot(self, key: str) -> None:
        """Queue the own snapshot as an answer, now or when its cooldown is over."""
        # DC-026, DC-027
        if not self.is_open or key in self._unmade:
            return
        if key in self._leaving:
            self._leaving[key] = True
            return
        now_s = self._context.now.monotonic_s
        wait_s = self._snapshot_cooldowns.wait_s(key, now_s)
        if wait_s > 0:
            name = ("snapshot", self.streams.connection, key)
            self._context.timers.set(name, now_s + wait_s, lambda: self.add_snapshot(key))
        else:
            self._unmade.add(key)
            self.add(Purpose.SNAPSHOT, key)

    def note_snapshot(self, key: str, *, is_made: bool) -> None:
        """Note that the snapshot that answers was made, or that there is none to send."""
        self._unmade.discard(key)
        if is_made:
            self._leaving[key] = False

    def note_snapshot_left(self, key: str) -> None:
        """Begin the interval after an answer has left, and queue the next if one is due."""
        # DC-026
        self._snapshot_cooldowns.take(key, self._context.now.monotonic_s)
        if self._leaving.pop(key, False):
            self.add_snapshot(key)

    def note_pushed(self, key: str) -> None:
        """Note that a snapshot was pushed; announce the document if it seems to change often."""
        # DC-058
        if self._snapshots.note_pushed(key):
            self.add(Purpose.OPENING, key)

    def note_delta(self, key: str) -> None:
        """Note that the peer has sent a delta of a document."""
        self._snapshots.note_delta(key)

    def pushes_delta(self, key: str) -> bool:
        """Return True if a change of a document is pushed as a delta."""
        push_type = self._context.settings.collections.push_type(key)
        return push_type is FrameType.DELTA or self._snapshots.has_delta(key)

    def push_snapshot(self, key: str) -> None:
        """Push the next change of a document as a snapshot, since a delta is longer."""
        self._snapshots.forget(key)
        self.take_back(key)
        self.add(Purpose.PUSH, key)

    def send(
        self,
        frame: StreamFrame,
        on_over: Callable[[], None] | None = None,
        on_failed: Callable[[], None] | None = None,
        keys: Iterable[str] = (),
    ) -> None:
        """Send a whole frame without queueing; `on_over` is called when it was sent or lost.

        `keys` are those of the documents in it.
        """
        self._under_way += 1
        self._quota.change(len(frame.payload))
        parcel = Parcel(self, frame, on_over, on_failed, keys)
        self.dispatch(parcel, self._context.durability.newest)

    def take_back(self, key: str) -> None:
        """Report to the exchange of a document that its last message was never sent."""
        self._context.queues.add(key, _TakingBack(self, key))

    def note_not_sent(self, key: str, reason: str) -> None:
        """Log that a document is not sent, unless the connection is closed."""
        if self.is_open:
            event = NotSent(key, reason, self.streams.peer, self.streams.connection)
            self._context.note_not_sent(event)

    # --- the queue -------------------------------------------------------------------------------

    def pump(self) -> None:
        """Take items from the queues while there is credit and room."""
        if self._is_pumping:
            return
        self._is_pumping = True
        while self.has_credit and (item := self._next()):
            message = (self._owed if item in self._owed else self._waiting).pop(item)
            self._ready.pop(item)
            self._under_way += 1
            making = Making(self._context, self, item, message)
            if message is not None:
                making.post(FrameType.DELTA, message)
            elif item.purpose is Purpose.SNAPSHOT:
                self.streams.open(Awaiting(self.streams, making), bidi=True)
            else:
                making.queue()
        self._is_pumping = False
        if self.has_credit and not self._owed and not self._waiting:
            self._refill()

    def _next(self) -> QueueItem | None:
        """Return the next item, or None if there is none or no room for it."""
        # TM-004
        item = self._owed.first() or self._waiting.first()
        if (
            item is None
            or item in self._ready
            or self._quota.has_room(self._context.documents.get(item.key, 0))
        ):
            return item
        # A frame keeps its room until it is sent, so it never waits for another that needs room.
        return self._ready.first()

    def waits(self, key: str) -> Iterator[Wait]:
        """Yield what a document that is queued waits for."""
        queued = (item.key for item in (*self._owed, *self._waiting))
        ahead = next((at for at, other in enumerate(queued) if other == key), None)
        if ahead is not None:
            yield Wait(Cause.TURN, ahead)
            if not self.has_credit:
                yield Wait(Cause.CREDIT)
            elif not self._quota.has_room(self._context.documents.get(key, 0)):
                yield Wait(Cause.ROOM)
        if self._context.timers.is_set(("snapshot", self.streams.connection, key)):
            yield Wait(Cause.INTERVAL)

    # --- frames on their way ---------------------------------------------------------------------

    def dispatch(
        self, parcel: "Parcel", after: WriteNumber | None, stream: int | None = None
    ) -> None:
        """Send a frame whose room is reserved, on `stream` or on one that is opened for it."""
        if not self.is_open:
            return
        # TR-004, TR-008
        if stream is None:
            self.streams.open(parcel, bidi=True, after=after)
        else:
            self.streams.add(stream, parcel)
            parcel.take_stream(stream, after)

    def note_over(self, size: int) -> None:
        """Count one frame in flight less, and its bytes."""
        self._under_way -= 1
        self._quota.change(-size)

    @property
    def payload_cap(self) -> int:
        """The greatest size of a payload, in bytes."""
        return self._context.settings.payload_cap


class Parcel(StreamHandler):
    """A whole frame in flight, on a stream of its own."""

    def __init__(
        self,
        outbound: Outbound,
        frame: StreamFrame,
        on_over: Callable[[], None] | None = None,
        on_failed: Callable[[], None] | None = None,
        keys: Iterable[str] = (),
    ) -> None:
        super().__init__(outbound.streams)
        self._outbound = outbound
        self._keys, self._type = tuple(keys), frame.type
        # FR-013
        self._data = encode_stream_frame(frame, outbound.payload_cap)
        self._size = len(frame.payload)
        self._on_over = on_over
        self._on_failed = on_failed

    def take_stream(self, stream: int, after: WriteNumber | None = None) -> None:
        """Send the frame, once the write `after` is durable, and drop its bytes."""
        super().take_stream(stream)
        data, self._data = self._data, b""
        if self._outbound.is_open:
            self._streams.send(stream, data, fin=True, after=after, frame=self._type)
            self._streams.note_documents(self._keys, self._type)
        else:
            self._streams.release(stream)

    def note_sent(self, *, has_failed: bool) -> None:
        """Release the stream: the frame was sent or lost."""
        if not self._outbound.is_open:
            return
        # TR-015
        self._streams.release(self._stream)
        self._outbound.note_over(self._size)
        if has_failed:
            self._streams.note_lost(self._keys)
        if has_failed and self._on_failed is not None:
            self._on_failed()
        if self._on_over is not None:
            self._on_over()
        self._outbound.pump()


class Awaiting(StreamHandler):
    """Waits for the stream of a frame that is made only then."""

    def __init__(self, streams: Streams, making: "Making") -> None:
        super().__init__(streams)
        self._making = making

    def take_stream(self, stream: int) -> None:
        """Make the frame."""
        super().take_stream(stream)
        self._making.queue(stream)


class Making(Job):
    """Makes the frame of one item, in the queue of its document.

    It reserves room for the document until the frame is made, or for `message` if that exists
    already.
    """

    def __init__(
        self, context: Context, outbound: Outbound, item: QueueItem, message: bytes | None = None
    ) -> None:
        self._context = context
        self._outbound = outbound
        self._item = item
        self._stream: int | None = None
        if message is None:
            self._reserved = context.documents.get(item.key, 0)
            outbound.reserve(self._reserved)
        else:
            self._reserved = len(message)

    def queue(self, stream: int | None = None) -> None:
        """Make the frame in its turn, for `stream` if that is open already."""
        self._stream = stream
        self._context.queues.add(self._item.key, self)

    @property
    def reads_by(self) -> type[Call] | None:
        """The type of the call; that of a snapshot is made once for all who wait for it."""
        item = self._item
        if item.purpose is Purpose.PUSH and not self._outbound.pushes_delta(item.key):
            return None
        return READS_BY.get(item.purpose)

    def begin(self) -> Call | None:
        """Check that the item is still to be sent, and return the call that makes its frame."""
        item = self._item
        if not self._outbound.is_open:
            self._give_stream_back()
            return None
        held = self._context.guard(item.key)
        if item.purpose in TOMBSTONES or held is not None:
            if held is not None and (item.purpose in OWED or item.purpose in TOMBSTONES):
                # TS-036, FR-014
                self._dispatch(StreamFrame(frame_key(item.key), FrameType.TOMBSTONE, held.content))
            else:
                self._context.note_fate(self._outbound.streams.peer, item.key, Fate.GUARDED)
                self._skip()
            return None
        # What was announced, and is not held yet, is asked for by an answer too.
        if item.purpose not in ANSWERS and item.key not in self._context.documents:
            self._skip()
            return None
        return self._call()

    def _call(self) -> Call:
        key, connection = self._item.key, self._outbound.streams.connection
        purpose = self._item.purpose
        match purpose:
            case Purpose.READ_ANSWER:
                return Receive(connection, key, READ_MESSAGE)
            case Purpose.PIECE:
                return Piece(connection, key, size_max=self._outbound.payload_cap)
            case Purpose.SNAPSHOT:
                return Save(key)
            case Purpose.PUSH if not self._outbound.pushes_delta(key):
                # DC-033
                return Save(key)
        return Generate(
            connection,
            key,
            opens=purpose is Purpose.OPENING,
            resumes=purpose is Purpose.POLL_ANSWER,
            announces=purpose is Purpose.ANNOUNCEMENT,
        )

    def finish(self, result: Result) -> None:
        """Send the frame that the call made."""
        match result:
            case Generated(message=bytes(message)) if self._is_too_long(message):
                self._outbound.push_snapshot(self._item.key)
                self._skip()
            case Received(answer=bytes(message)) | Generated(message=bytes(message)):
                self.post(FrameType.DELTA, message)
                if isinstance(result, Generated) and not result.is_last:
                    self._outbound.add(Purpose.PIECE, self._item.key)
            case Saved(snapshot=bytes(message)):
                # DC-036
                self.post(FrameType.SNAPSHOT, message)
            case Refused(reason=reason):
                self._outbound.note_not_sent(self._item.key, reason)
                self._skip()
            case _:
                # DC-085: a peer that is known to hold it answers nothing.
                if self._item.purpose is Purpose.ANNOUNCEMENT:
                    self._outbound.copies.note_delta(self._item.key, asks=False)
                self._skip()

    def _is_too_long(self, message: bytes) -> bool:
        """Return True if a delta that was made in place of a snapshot is not shorter than that."""
        key = self._item.key
        push_type = self._context.settings.collections.push_type(key)
        is_choice = self._item.purpose is Purpose.PUSH and push_type is FrameType.SNAPSHOT
        return is_choice and len(message) >= self._context.documents.get(key, 0)

    def post(self, frame_type: FrameType, message: bytes) -> None:
        """Send a frame with this message."""
        key, known = self._item.key, self._context.documents
        if key in known:
            known[key] = max(known[key], len(message))
        if len(message) > self._outbound.payload_cap:
            self._outbound.add(Purpose.PIECE, key)
            self._skip()
            return
        self._dispatch(StreamFrame(key, frame_type, message))

    def _dispatch(self, frame: StreamFrame) -> None:
        outbound, key = self._outbound, self._item.key
        on_failed = partial(outbound.take_back, key) if frame.type == FrameType.DELTA else None
        on_over = None
        if self._item.purpose is Purpose.SNAPSHOT:
            outbound.note_snapshot(key, is_made=True)
            on_over = partial(outbound.note_snapshot_left, key)
        elif self._item.purpose is Purpose.PUSH and frame.type == FrameType.SNAPSHOT:
            on_over = partial(outbound.note_pushed, key)
        outbound.reserve(len(frame.payload) - self._reserved)
        parcel = Parcel(outbound, frame, on_over, on_failed, (key,))
        outbound.dispatch(parcel, self._context.durability.pending(key), self._stream)

    def _give_stream_back(self) -> None:
        if self._stream is not None:
            self._outbound.streams.release(self._stream)

    def _skip(self) -> None:
        self._give_stream_back()
        if self._item.purpose is Purpose.SNAPSHOT:
            self._outbound.note_snapshot(self._item.key, is_made=False)
        self._outbound.note_over(self._reserved)
        self._outbound.pump()


@dataclass(frozen=True, slots=True)
class _TakingBack(Job):
    outbound: Outbound
    key: str

    def begin(self) -> Call:
        return Unsent(self.outbound.streams.connection, self.key)

    def finish(self, result: Result) -> None:
        if isinstance(result, Refused):
            self.outbound.note_not_sent(self.key, result.reason)
