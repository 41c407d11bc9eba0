"""A connection of the `iroh` library as the cases know connections.

Theory of operation. Every half of a stream has a task: one reads until FIN or RESET, one waits for
STOP, and one writes what is queued for as long as there is something. What an operation queues is
therefore never waited for, as over the lab binding; the library keeps QUIC's credit. The end of the
connection is reported last, after the readers have taken in what had come before it.

What iroh cannot show:

- A stop after our FIN. Once all our bytes and the FIN have arrived no STOP travels, and once they
  are confirmed the library reports none. A stream refused then shows RESET alone; a uni stream
  shows nothing.
- What becomes of a half that we have stopped: the library reads it no further.
- The order in which records leave: `Dial.order` has no effect, packets are the library's business.
- Preambles and records of the lab binding, and the code of a connection that the transport ended.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import iroh

from meshwire_conformance.targets.iroh_library import (
    ending,
    release_put_aside,
    reset_code,
    stream_number,
)
from meshwire_conformance.targets.transport import Closed, Connection, Dial, Stream

READ_MAX = 64 * 2**10
"""Greatest number of bytes that one call of the library reads."""
SETTLE_S = 0.25
"""Seconds that the end of a connection waits for bytes in flight; far above a round trip."""


class IrohStream(Stream):
    """A stream, the library's halves of it, and the tasks that serve them."""

    def __init__(
        self,
        connection: Connection,
        number: int,
        writer: iroh.SendStream | None,
        reader: iroh.RecvStream | None,
        *,
        ours: bool,
    ) -> None:
        super().__init__(connection, number, uni=writer is None or reader is None, ours=ours)
        self.writer = writer
        self.reader = reader
        self.queue: deque[bytes] = deque()
        self.fin_queued = False
        self.reading: asyncio.Task[None] | None = None
        self.writing: asyncio.Task[None] | None = None
        self.watching: asyncio.Task[None] | None = None


class IrohConnection(Connection):
    """A dialled connection; `ended` is called once, when it is over."""

    binding = "iroh"
    has_timers = True

    def __init__(self, connection: iroh.Connection, dial: Dial, ended: Callable[[], None]) -> None:
        super().__init__()
        self.endpoint_id = connection.remote_id().to_bytes()
        self.on_stream = dial.on_stream
        self._connection = connection
        self._ended = ended
        self._tasks: set[asyncio.Task[None]] = set()
        self._unconfirmed: set[asyncio.Task[None]] = set()
        """Tasks that end when the bytes written have been confirmed."""
        self._ending = asyncio.get_running_loop().create_task(self._watch_end())
        self._start(self._accept_bidi())
        self._start(self._accept_uni())
        release_put_aside()

    # --- operations -------------------------------------------------------------------------

    async def open(self, *, uni: bool = False) -> Stream:
        """Return a new stream when the target grants one; raises ConnectionError if closed."""
        if self.closed is None:
            try:
                writer, reader = await self._halves(uni=uni)
                number = stream_number(await writer.id())
            except iroh.IrohError:
                await asyncio.wait({self._ending})
        if self.closed is not None:
            raise ConnectionError(self.closed.text or f"closed with code {self.closed.code}")
        stream = IrohStream(self, number, writer, reader, ours=True)
        self.streams[number] = stream
        self._begin(stream)
        return stream

    async def write(self, stream: Stream, data: bytes) -> None:
        """Queue bytes on a stream."""
        found = _own(stream)
        found.queue.append(data)
        self._write_on(found)

    async def finish(self, stream: Stream) -> None:
        """Finish the suite's half of a stream."""
        found = _own(stream)
        found.fin_queued = True
        self._write_on(found)

    async def reset(self, stream: Stream, code: int) -> None:
        """Send RESET on the suite's half."""
        found = _own(stream)
        await _cancel(found.writing)
        if found.writer is not None:
            try:
                await found.writer.reset(code)
            except iroh.IrohError:
                return  # The half or the connection has ended, as wanted.

    async def stop(self, stream: Stream, code: int) -> None:
        """Send STOP for the target's half; nothing more of it is read."""
        found = _own(stream)
        # A read that waits holds the lock that a stop needs.
        await _cancel(found.reading)
        if found.reader is not None:
            try:
                await found.reader.stop(code)
            except iroh.IrohError:
                return  # As above.

    async def close(self, code: int = 0, text: str = "") -> None:
        """Close the connection; bytes already written get some time to arrive."""
        if self.closed is None:
            # The library drops bytes in flight when it closes.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SETTLE_S):
                    await self._settle()
            self.gone(Closed(code, text, by_suite=True))
            self._connection.close(code, text.encode())
        await asyncio.wait({self._ending})

    # --- tasks of the connection ------------------------------------------------------------

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _watch_end(self) -> None:
        text = await self._connection.closed()
        readers = {found.reading for found in self._own_streams() if found.reading is not None}
        if self.closed is None and readers:
            await asyncio.wait(readers, timeout=SETTLE_S)
        self.gone(ending(text))
        for task in tuple(self._tasks):
            task.cancel()
        for stream in self._own_streams():
            stream.writer = stream.reader = None
        self._ended()

    async def _settle(self) -> None:
        while self._unconfirmed:
            await asyncio.wait(self._unconfirmed)

    def _own_streams(self) -> list[IrohStream]:
        return [_own(stream) for stream in self.streams.values()]

    async def _halves(self, *, uni: bool) -> tuple[iroh.SendStream, iroh.RecvStream | None]:
        if uni:
            return await self._connection.open_uni(), None
        both = await self._connection.open_bi()
        return both.send(), both.recv()

    async def _accept_bidi(self) -> None:
        while True:
            try:
                both = await self._connection.accept_bi()
            except iroh.IrohError:
                return  # The connection is over; `_watch_end` reports it.
            await self._take_in(both.send(), both.recv())

    async def _accept_uni(self) -> None:
        while True:
            try:
                reader = await self._connection.accept_uni()
            except iroh.IrohError:
                return  # As above.
            await self._take_in(None, reader)

    async def _take_in(self, writer: iroh.SendStream | None, reader: iroh.RecvStream) -> None:
        number = stream_number(await reader.id())
        stream = IrohStream(self, number, writer, reader, ours=False)
        self.accept(stream)
        self._begin(stream)

    # --- tasks of a stream ------------------------------------------------------------------

    def _begin(self, stream: IrohStream) -> None:
        if stream.reader is not None:
            stream.reading = self._start(self._read(stream, stream.reader))
        if stream.writer is not None:
            stream.watching = self._start(self._watch_stop(stream, stream.writer))

    async def _read(self, stream: IrohStream, reader: iroh.RecvStream) -> None:
        try:
            while data := await reader.read(READ_MAX):
                stream.received += data
                stream.changed()
        except iroh.IrohError as error:
            code = reset_code(error)
            if code is None:
                return  # The connection is over; `_watch_end` reports it.
            stream.reset_code = code
        else:
            stream.finished = True
        stream.changed()

    async def _watch_stop(self, stream: IrohStream, writer: iroh.SendStream) -> None:
        try:
            code = await writer.stopped()
        except iroh.IrohError:
            return  # As above, or we have reset the half.
        if code is not None:
            stream.stop_code = code
            stream.write_over = True
            stream.changed()
            # A half that was stopped is reset with code 0: finishing it would release nothing.
            await self.reset(stream, 0)

    def _write_on(self, stream: IrohStream) -> None:
        if stream.writer is not None and (stream.writing is None or stream.writing.done()):
            stream.writing = self._start(self._write_queue(stream, stream.writer))
            self._await_confirmation(stream.writing)

    async def _write_queue(self, stream: IrohStream, writer: iroh.SendStream) -> None:
        try:
            while stream.queue:
                data = b"".join(stream.queue)
                stream.queue.clear()
                await writer.write_all(data)
            if stream.fin_queued:
                stream.fin_queued = False
                await writer.finish()
                if stream.watching is not None:
                    self._await_confirmation(stream.watching)
        except iroh.IrohError:
            return  # Stopped, or the connection is over: the tasks that wait for those report it.

    def _await_confirmation(self, task: asyncio.Task[None]) -> None:
        if not task.done():
            self._unconfirmed.add(task)
            task.add_done_callback(self._unconfirmed.discard)


def _own(stream: Stream) -> IrohStream:
    assert isinstance(stream, IrohStream), "a connection is given streams of its own"
    return stream


async def _cancel(task: asyncio.Task[None] | None) -> None:
    if task is not None and not task.done():
        task.cancel()
        await asyncio.wait({task})
