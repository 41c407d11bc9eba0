"""What is to be sent to one peer: queued by document, one frame a stream, never holding a reader.

Theory of operation. There is at most one answer, one push, one snapshot and one tombstone queued
for a key, so the queue grows with documents and not with requests. Answers go before pushes. A few
items at a time leave the queue: where the frame is not there yet it is made by a document call,
under the document's lock and the guard; then a stream is opened for it, which waits for the peer's
credit; the frame, FIN; and the stream is let go once the transport has everything.

What is made and has not left is bounded (`room`): an item leaves the queue when its document fits.
An answer comes ready made out of the call that took the delta. Without room for it, or behind one
for the same key, it is taken back (`Unsent`) and made anew in its turn, never dropped (D-142).
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from meshwire_reference.core.context import Context
from meshwire_reference.core.document_calls import (
    Call,
    Generate,
    Generated,
    Receive,
    Received,
    Result,
    Save,
    Saved,
    Unsent,
)
from meshwire_reference.core.effects import OpenStream, Release, Send
from meshwire_reference.core.limits.room import Share
from meshwire_reference.core.sending.parcels import URGENT, Item, Kind, Parcel, nothing
from meshwire_reference.core.state.document_queues import Job
from meshwire_reference.core.state.policy import push_type
from meshwire_reference.core.state.tombstones import frame_key
from meshwire_reference.wire.batches import StreamFrame, encode_stream_frame
from meshwire_spec.numbers import READ_MESSAGE, FrameType


class Outbound:
    """The sending side of one session. `refill` is asked for more whenever nothing waits."""

    def __init__(self, context: Context, connection: int, refill: Callable[[], None]) -> None:
        self._context = context
        self._connection = connection
        self._refill = refill
        self._urgent: dict[Item, bytes | None] = {}
        self._waiting: dict[Item, bytes | None] = {}
        self._ready: dict[Item, None] = {}
        self._share = Share(context.room, context.settings.answer_bytes_max, self.pump)
        self._under_way = 0
        self._opening: dict[int, Parcel] = {}
        self._sending: dict[int, Parcel] = {}
        self._is_pumping = False
        self.is_open = False

    def open(self) -> None:
        """Begin to send: the peer has proven itself, or need not."""
        self.is_open = True
        self.pump()

    def close(self) -> None:
        """Send nothing more: the connection is gone or about to go."""
        self.is_open = False
        self._share.close()
        self._urgent.clear()
        self._ready.clear()
        self._waiting.clear()
        self._opening.clear()
        self._sending.clear()

    @property
    def has_room(self) -> bool:
        """Say whether another parcel may be put together."""
        return self.is_open and self._under_way < self._context.settings.sends_max

    def fits(self, size: int) -> bool:
        """Say whether so many bytes may be made now; if not, `refill` follows once they may."""
        return self._share.fits(size)

    def reserve(self, by: int) -> None:
        """Count bytes that are being made for `send`, or no longer where `by` is below zero."""
        self._share.change(by)

    def add(self, kind: Kind, key: str) -> None:
        """Queue something that is made when its turn comes."""
        queue = self._urgent if kind in URGENT else self._waiting
        queue.setdefault(Item(kind, key), None)
        self.pump()

    def add_answer(self, kind: Kind, key: str, message: bytes) -> None:
        """Queue an answer that is made already."""
        item = Item(kind, key)
        # DC-008
        is_second = item in self._urgent and kind is Kind.ANSWER
        self._share.change(-len(self._urgent.get(item) or b""))
        if is_second or not self._share.fits(len(message)):
            # DC-007
            self._urgent[item] = None
            self._ready.pop(item, None)
            if kind is Kind.ANSWER:
                self.take_back(key)
        else:
            self._urgent[item] = message
            self._ready[item] = None
            self._share.change(len(message))
        self.pump()

    def send(
        self,
        frame: StreamFrame,
        on_over: Callable[[], None] | None = None,
        on_failed: Callable[[], None] | None = None,
    ) -> None:
        """Send a frame that is made already, past the queue; `on_over` follows either way."""
        self._under_way += 1
        size = len(frame.payload)
        self._share.change(size)
        after = self._context.durability.newest
        self._open_stream(Parcel(frame, after, on_over or nothing, on_failed or nothing, size))

    def pump(self) -> None:
        """Take what may leave the queues."""
        if self._is_pumping:
            return
        self._is_pumping = True
        while self.has_room and (item := self._next()):
            message = (self._urgent if item in self._urgent else self._waiting).pop(item)
            self._ready.pop(item, None)
            self._under_way += 1
            if message is None:
                self._make(item)
            else:
                self._post(item, len(message), FrameType.DELTA, message)
        self._is_pumping = False
        if self.has_room and not self._urgent and not self._waiting:
            self._refill()

    def _next(self) -> Item | None:
        """Return what may leave the queues now, None while there is nothing or no room for it."""
        item = next(iter(self._urgent or self._waiting), None)
        if (
            item is None
            or item in self._ready
            or self._share.fits(self._context.documents.get(item.key, 0))
        ):
            return item
        # What is made takes room until it leaves, so it must not wait behind what needs some.
        return next(iter(self._ready), None)

    # --- making a frame ----------------------------------------------------------------------

    def _make(self, item: Item) -> None:
        reserved = self._context.documents.get(item.key, 0)
        self._share.change(reserved)
        finish = partial(self._finish, item, reserved)
        self._context.queues.add(item.key, Job(partial(self._begin, item, reserved), finish))

    def _begin(self, item: Item, reserved: int) -> Call | None:
        """Decide at its turn whether an item is still to be sent, and how its frame is made."""
        if not self.is_open:
            return None
        held = self._context.guard(item.key)
        if item.kind is Kind.TOMBSTONE or held is not None:
            if held is not None and item.kind in URGENT:
                # TS-036, FR-014
                frame = StreamFrame(frame_key(item.key), FrameType.TOMBSTONE, held.content)
                self._dispatch(item, reserved, frame)
            else:
                self._skip(reserved)
            return None
        if item.kind is not Kind.READ_ANSWER and item.key not in self._context.documents:
            self._skip(reserved)
            return None
        return self._call_for(item)

    def _call_for(self, item: Item) -> Call:
        key, connection = item.key, self._connection
        if item.kind is Kind.READ_ANSWER:
            return Receive(connection, key, READ_MESSAGE)
        if item.kind is Kind.SNAPSHOT or self._push_type(item) is FrameType.SNAPSHOT:
            return Save(key)
        return Generate(connection, key)

    @staticmethod
    def _push_type(item: Item) -> FrameType:
        return push_type(item.key) if item.kind is Kind.PUSH else FrameType.DELTA

    def _finish(self, item: Item, reserved: int, result: Result) -> None:
        match result:
            case Received(answer=bytes(message)) | Generated(message=bytes(message)):
                self._post(item, reserved, FrameType.DELTA, message)
            case Saved(snapshot=bytes(message)):
                # DC-036
                self._post(item, reserved, FrameType.SNAPSHOT, message)
            case _:
                self._skip(reserved)

    def _post(self, item: Item, reserved: int, frame_type: FrameType, message: bytes) -> None:
        known = self._context.documents
        if item.key in known:
            known[item.key] = max(known[item.key], len(message))
        if len(message) > self._context.settings.payload_cap:
            self._context.statistics.ignored["too large to send"] += 1
            self._skip(reserved)
            return
        self._dispatch(item, reserved, StreamFrame(item.key, frame_type, message))

    def _dispatch(self, item: Item, reserved: int, frame: StreamFrame) -> None:
        fails = item.kind is not Kind.TOMBSTONE and frame.type == FrameType.DELTA
        parcel = Parcel(
            frame,
            self._context.durability.pending(item.key),
            on_over=nothing,
            on_failed=(lambda: self.take_back(item.key)) if fails else nothing,
            size=len(frame.payload),
        )
        self._share.change(parcel.size - reserved)
        self._open_stream(parcel)

    def take_back(self, key: str) -> None:
        """Let the exchange know that its last message never left."""
        self._context.queues.add(
            key, Job(lambda: Unsent(self._connection, key), lambda _result: None)
        )

    def _skip(self, reserved: int) -> None:
        self._under_way -= 1
        self._share.change(-reserved)
        self.pump()

    # --- the stream of a frame ---------------------------------------------------------------

    def _open_stream(self, parcel: Parcel) -> None:
        if not self.is_open:
            return
        ticket = next(self._context.tickets)
        self._opening[ticket] = parcel
        # TR-004, TR-008
        self._context.emit(
            OpenStream(connection=self._connection, ticket=ticket, bidi=True, after=parcel.after)
        )

    def take_stream(self, ticket: int, stream: int) -> bool:
        """Use a stream that was asked for; False where the ticket is not of this queue."""
        parcel = self._opening.pop(ticket, None)
        if parcel is None:
            return False
        self._sending[stream] = replace(parcel, frame=replace(parcel.frame, payload=b""))
        data = encode_stream_frame(parcel.frame, self._context.settings.payload_cap)
        self._context.emit(Send(connection=self._connection, stream=stream, data=data, fin=True))
        return True

    def note_over(self, stream: int, *, has_failed: bool) -> bool:
        """Let a stream go whose frame has left, or never will; False where it is not of this."""
        parcel = self._sending.pop(stream, None)
        if parcel is None:
            return False
        # TR-015
        self._context.emit(Release(connection=self._connection, stream=stream))
        self._under_way -= 1
        self._share.change(-parcel.size)
        if has_failed:
            parcel.on_failed()
        parcel.on_over()
        self.pump()
        return True
