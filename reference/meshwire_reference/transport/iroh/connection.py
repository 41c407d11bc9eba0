"""A connection of the `iroh` library as a Connection: tasks that read, watch and write its streams.

The library manages QUIC's credit by itself and has no `consumed`: bytes that it has read, the peer
may send again. So each stream is read only while little of it, and of all streams, is unconsumed;
the rest waits in the transport. In the same way at most `max_streams` of the peer's streams are
accepted at once. A read holds the stream's lock, hence it is cancelled before a stop is sent.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

import iroh

from meshwire_reference.core.inputs import (
    ConnectionClosed,
    StreamData,
    StreamId,
    StreamOpened,
    StreamReset,
    StreamStopped,
    TransportEvent,
)
from meshwire_reference.transport.base import Connection, ConnectionGone, StreamGone, Windows
from meshwire_reference.transport.iroh.library import free_waiting, mend_library
from meshwire_spec.numbers import VERDICT_LINGER_S
from meshwire_spec.states import (
    RECEIVE_HALF,
    SEND_ENDED,
    SEND_HALF,
    ReceiveEvent,
    ReceiveHalf,
    SendEvent,
    SendHalf,
)

mend_library()

READ: Final = 64 * 2**10
"""Greatest number of bytes that one call of the library reads."""

_RESET: Final = re.compile(r"Reset\((\d+)\)")
_CLOSED: Final = re.compile(
    r"closed by peer: (?:(?P<bare>\d+)|(?P<reason>.*) \(code (\d+)\))", re.DOTALL
)
"""The library gives the ends of streams and connections as text only."""

_RECEIVE_OVER: Final = frozenset(
    {ReceiveHalf.STOPPED, ReceiveHalf.FINISHED, ReceiveHalf.RESET, ReceiveHalf.ABSENT},
)
"""As RECEIVE_ENDED; from `stopped` on the library drains the half by itself."""


def closed_by_peer(text: str) -> ConnectionClosed:
    """Return code and reason in the library's text about the end of a connection."""
    found = _CLOSED.fullmatch(text)
    if found is None:
        return ConnectionClosed(None, text or "connection lost", by_peer=True)
    return ConnectionClosed(int(found["bare"] or found[3]), found["reason"] or "", by_peer=True)


@dataclass(slots=True, eq=False)
class _Stream:
    """A stream, its two library halves, and the tasks that serve them."""

    id: StreamId
    writer: iroh.SendStream | None
    reader: iroh.RecvStream | None
    is_own: bool
    send: SendHalf = field(init=False)
    receive: ReceiveHalf = field(init=False)
    stopped_by: int | None = None
    is_silenced: bool = False
    is_released: bool = False
    unsettled: int = 0
    deferred: int = 0
    reading: asyncio.Task[None] | None = None
    writing: asyncio.Task[None] | None = None
    watching: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self.send = SendHalf.READY if self.writer else SendHalf.ABSENT
        self.receive = ReceiveHalf.RECEIVING if self.reader else ReceiveHalf.ABSENT


class IrohConnection(Connection):
    """A connection with a peer whose identity TLS has proven."""

    def __init__(
        self,
        connection: iroh.Connection,
        windows: Windows,
        *,
        dialled: bool,
        on_end: Callable[[], Awaitable[None]],
    ) -> None:
        self.dialled = dialled
        self.peer_id: bytes = connection.remote_id().to_bytes()
        self._connection = connection
        self._windows = windows
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._streams: dict[StreamId, _Stream] = {}
        self._events: deque[TransportEvent] = deque()
        self._closed: ConnectionClosed | None = None
        self._closing: ConnectionClosed | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._unsettled = 0
        self._room = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._unconfirmed: set[asyncio.Task[None]] = set()
        self._slots = (
            asyncio.Semaphore(windows.max_streams_bidi),
            asyncio.Semaphore(windows.max_streams_uni),
        )
        self._openings = (asyncio.Lock(), asyncio.Lock())
        self._counts = [0, 0, 0, 0]
        self._ended = asyncio.Event()
        connection.set_receive_window(windows.max_data)
        self._watching = self._loop.create_task(self._watch_end())
        # TR-002
        self._start(self._accept_bidi())
        self._start(self._accept_uni())

    # --- Connection --------------------------------------------------------------------------

    @property
    def closed(self) -> ConnectionClosed | None:
        """How the connection ended; None while it is open."""
        return self._closed

    async def next_events(self) -> tuple[TransportEvent, ...]:
        """Wait for events; see `Connection`."""
        while True:
            events = tuple(event for event in self._events if not self._is_silenced(event))
            self._events.clear()
            if events:
                return events
            if self._closed is not None:
                raise ConnectionGone(self._closed)
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    async def open(self, *, bidi: bool) -> StreamId:
        """Open a stream; see `Connection`."""
        async with self._openings[not bidi]:
            self._check_alive()
            try:
                if bidi:
                    both = await self._connection.open_bi()
                    writer, reader = both.send(), both.recv()
                else:
                    writer, reader = await self._connection.open_uni(), None
            except iroh.IrohError as error:
                raise await self._gone() from error
            stream = _Stream(self._number(bidi=bidi, is_own=True), writer, reader, is_own=True)
        self._begin(stream)
        return stream.id

    async def send(self, stream: StreamId, data: bytes, *, fin: bool = False) -> None:
        """Send bytes; see `Connection`."""
        self._check_alive()
        found = self._streams.get(stream)
        if found is None or found.is_released:
            raise StreamGone(stream, None)
        after = SEND_HALF.get((found.send, SendEvent.FIN if fin else SendEvent.DATA))
        if after is None:
            raise StreamGone(stream, found.stopped_by)
        found.send = after
        task = self._loop.create_task(self._write(found, data, fin=fin))
        found.writing = task
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            task.cancel()
            raise
        finally:
            found.writing = None
        if task.cancelled():
            raise StreamGone(stream, found.stopped_by)
        task.result()

    def reset(self, stream: StreamId, code: int) -> None:
        """Reset this side's half; see `Connection`."""
        found = self._streams.get(stream)
        if found is not None and found.send not in SEND_ENDED:
            self._give_up(found, SendEvent.RESET, code)

    def stop(self, stream: StreamId, code: int) -> None:
        """Stop the peer's half; see `Connection`. After the peer's FIN no code is sent."""
        found = self._streams.get(stream)
        if found is None:
            return
        before = found.receive
        found.receive = RECEIVE_HALF[before, ReceiveEvent.STOP]
        self._silence(found)
        if before is ReceiveHalf.RECEIVING:
            self._start(self._stop_reader(found, code))
        self._retire(found)

    def consumed(self, stream: StreamId, count: int) -> None:
        """Grant credit again; see `Connection`."""
        found = self._streams.get(stream)
        if found is not None:
            settled = min(count, found.unsettled)
            deferred = min(settled, found.deferred)
            found.unsettled -= settled
            found.deferred -= deferred
            self._unsettled -= settled - deferred
            self._room.set()

    def defer(self, stream: StreamId, count: int) -> None:
        """Read other streams although these bytes wait; see `Connection`."""
        found = self._streams.get(stream)
        if found is not None:
            deferred = min(count, found.unsettled - found.deferred)
            found.deferred += deferred
            self._unsettled -= deferred
            self._room.set()

    def release(self, stream: StreamId) -> None:
        """Release a stream; see `Connection`."""
        found = self._streams.get(stream)
        if found is None or found.is_released:
            return
        found.is_released = True
        # The rest of a send that was cancelled is lost, its FIN too.
        if found.send is SendHalf.READY or (
            found.send is SendHalf.FINISHING and found.writing is None
        ):
            self._give_up(found, SendEvent.RESET, 0)
        if found.receive not in _RECEIVE_OVER:
            self.stop(stream, 0)
        self._silence(found)
        self._retire(found)

    async def close(self, code: int, reason: str = "") -> None:
        """Close the connection; see `Connection`.

        The library drops bytes in flight when it closes, so streams that were finished are first
        given some time to be confirmed.
        """
        if self._closed is None and self._closing is None:
            self._closing = ConnectionClosed(code, reason, by_peer=False)
            if self._unconfirmed:
                # A caller that is cancelled meanwhile has closed the connection all the same.
                self._start(self._say_farewell(self._closing))
            else:
                self._connection.close(code, reason.encode())
        await self._ended.wait()

    async def _say_farewell(self, closed: ConnectionClosed) -> None:
        # The last one may have been confirmed before this task has begun.
        if self._unconfirmed:
            await asyncio.wait(self._unconfirmed, timeout=VERDICT_LINGER_S)
        assert closed.code is not None, "the end that this side says has a code"
        self._connection.close(closed.code, closed.reason.encode())

    # --- Tasks of the connection -------------------------------------------------------------

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _watch_end(self) -> None:
        text = await self._connection.closed()
        self._closed = self._closing or closed_by_peer(text)
        for task in tuple(self._tasks):
            task.cancel()
        self._streams.clear()
        self._tell(self._closed)
        await self._on_end()
        self._ended.set()

    async def _accept_bidi(self) -> None:
        while True:
            await self._slots[0].acquire()
            try:
                both = await self._connection.accept_bi()
            except iroh.IrohError:
                return
            number = self._number(bidi=True, is_own=False)
            self._accept(_Stream(number, both.send(), both.recv(), is_own=False))

    async def _accept_uni(self) -> None:
        while True:
            await self._slots[1].acquire()
            try:
                reader = await self._connection.accept_uni()
            except iroh.IrohError:
                return
            number = self._number(bidi=False, is_own=False)
            self._accept(_Stream(number, None, reader, is_own=False))

    def _accept(self, stream: _Stream) -> None:
        self._tell(StreamOpened(stream.id, stream.writer is not None))
        self._begin(stream)

    def _number(self, *, bidi: bool, is_own: bool) -> StreamId:
        # QUIC gives the numbers of each kind in order, and the library accepts in that order.
        low = (not bidi) << 1 | (is_own is not self.dialled)
        number = self._counts[low]
        self._counts[low] += 1
        return number << 2 | low

    def _begin(self, stream: _Stream) -> None:
        free_waiting()
        self._streams[stream.id] = stream
        if stream.reader is not None:
            stream.reading = self._start(self._read(stream, stream.reader))
        if stream.writer is not None:
            stream.watching = self._start(self._watch_stop(stream, stream.writer))

    # --- Tasks of a stream -------------------------------------------------------------------

    async def _read(self, stream: _Stream, reader: iroh.RecvStream) -> None:
        while stream.receive is ReceiveHalf.RECEIVING:
            room = self._free(stream)
            if room <= 0:
                self._room.clear()
                await self._room.wait()
                continue
            try:
                data = await reader.read(min(READ, room))
            except iroh.IrohError as error:
                self._end_by_reset(stream, error.message())
                return
            stream.unsettled += len(data)
            self._unsettled += len(data)
            if not data:
                stream.receive = RECEIVE_HALF[stream.receive, ReceiveEvent.FIN]
            self._tell(StreamData(stream.id, data, fin=not data))
        self._retire(stream)

    def _free(self, stream: _Stream) -> int:
        windows = self._windows
        return min(
            windows.max_stream_data - stream.unsettled,
            windows.max_data - self._unsettled,
        )

    def _end_by_reset(self, stream: _Stream, message: str) -> None:
        found = _RESET.fullmatch(message)
        if found is not None:
            stream.receive = RECEIVE_HALF[stream.receive, ReceiveEvent.RESET]
            self._silence(stream)
            self._tell(StreamReset(stream.id, int(found[1])))
            self._retire(stream)

    async def _watch_stop(self, stream: _Stream, writer: iroh.SendStream) -> None:
        try:
            code = await writer.stopped()
        except iroh.IrohError:
            return
        if code is None:
            return
        stream.stopped_by = code
        if not stream.is_released:
            self._tell(StreamStopped(stream.id, code))
        # TR-023
        self._give_up(stream, SendEvent.STOP_RECEIVED, 0)

    async def _write(self, stream: _Stream, data: bytes, *, fin: bool) -> None:
        assert stream.writer is not None, "the states let nothing be sent on an absent half"
        assert stream.watching is not None, "each writer has its watcher"
        try:
            if data:
                await stream.writer.write_all(data)
            if fin:
                await stream.writer.finish()
        except iroh.IrohError as error:
            if error.message().startswith("ConnectionLost"):
                raise await self._gone() from error
            raise StreamGone(stream.id, stream.stopped_by) from error
        if fin:
            stream.send = SEND_HALF[stream.send, SendEvent.FIN_SENT]
            self._unconfirmed.add(stream.watching)
            stream.watching.add_done_callback(self._unconfirmed.discard)
            self._retire(stream)

    def _give_up(self, stream: _Stream, event: SendEvent, code: int) -> None:
        stream.send = SEND_HALF[stream.send, event]
        if stream.writing is not None:
            stream.writing.cancel()
        self._start(self._reset_writer(stream, code))
        self._retire(stream)

    async def _reset_writer(self, stream: _Stream, code: int) -> None:
        assert stream.writer is not None, "the states let nothing be reset on an absent half"
        if stream.writing is not None:
            await asyncio.wait({stream.writing})
        try:
            await stream.writer.reset(code)
        except iroh.IrohError:
            return  # it has ended meanwhile, as intended

    async def _stop_reader(self, stream: _Stream, code: int) -> None:
        assert stream.reader is not None, "the states let nothing be stopped on an absent half"
        if stream.reading is not None and not stream.reading.done():
            stream.reading.cancel()
            await asyncio.wait({stream.reading})
        try:
            await stream.reader.stop(code)
        except iroh.IrohError:
            return  # as above

    # --- Bookkeeping -------------------------------------------------------------------------

    def _tell(self, event: TransportEvent) -> None:
        self._events.append(event)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _is_silenced(self, event: TransportEvent) -> bool:
        if isinstance(event, ConnectionClosed):
            return False
        stream = self._streams.get(event.stream)
        if stream is None:
            return False
        return stream.is_released or (stream.is_silenced and isinstance(event, StreamData))

    def _silence(self, stream: _Stream) -> None:
        stream.is_silenced = True
        self._unsettled -= stream.unsettled - stream.deferred
        stream.unsettled = stream.deferred = 0
        self._room.set()

    def _retire(self, stream: _Stream) -> None:
        is_over = stream.send in SEND_ENDED and stream.receive in _RECEIVE_OVER
        if is_over and stream.is_released and self._streams.pop(stream.id, None) is not None:
            self._events = deque(
                event
                for event in self._events
                if isinstance(event, ConnectionClosed) or event.stream != stream.id
            )
            if not stream.is_own:
                self._slots[stream.writer is None].release()

    def _check_alive(self) -> None:
        if self._closed is not None:
            raise ConnectionGone(self._closed)

    async def _gone(self) -> ConnectionGone:
        """Return the error for the end of the connection, once the library has reported it."""
        await asyncio.wait({self._watching})
        assert self._closed is not None, "the watcher ends with the connection alone"
        return ConnectionGone(self._closed)
