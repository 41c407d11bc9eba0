"""A peer that is no node: sends frames over a connection, and keeps all that it reads."""

import asyncio
from collections.abc import Callable

from meshwire_reference.core.inputs import ConnectionClosed, StreamData, StreamReset
from meshwire_reference.testing.author import Author, read
from meshwire_reference.transport.base import Connection
from meshwire_reference.wire.batches import StreamFrame, encode_stream_frame
from meshwire_reference.wire.frames import FrameReader


class Peer:
    """A peer that reads everything, and what it has read."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.frames: list[StreamFrame] = []
        self.ended: dict[int, int | None] = {}
        self.closed: ConnectionClosed | None = None
        self._readers: dict[int, FrameReader] = {}
        self._changed = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    async def send(self, *frames: StreamFrame) -> int:
        """Send frames on a new stream, wait for its end and return the stream."""
        stream = await self.push(*frames)
        await self.until(lambda: stream in self.ended)
        return stream

    async def push(self, *frames: StreamFrame) -> int:
        """Send frames on a new stream and return it."""
        stream = await self.connection.open(bidi=True)
        data = b"".join(map(encode_stream_frame, frames))
        await self.connection.send(stream, data, fin=True)
        return stream

    async def ask(self, key: str) -> dict[str, object]:
        """Read a document."""
        before = len(self.frames)
        await self.send(read(key))
        await self.until(lambda: any(frame.key == key for frame in self.frames[before:]))
        reader = Author(key, 99)
        for frame in self.frames[before:]:
            if frame.key == key:
                reader.receive(frame.payload)
        return reader.fields

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something has come."""
        while not holds():
            assert self.closed is None, self.closed
            self._changed.clear()
            await self._changed.wait()

    async def leave(self) -> None:
        """Close the connection."""
        await self.connection.close(0)
        await self._reading

    async def _read(self) -> None:
        async for event in self.connection.events():
            match event:
                case StreamData(stream, data, fin):
                    reader = self._readers.setdefault(stream, FrameReader())
                    self.frames += reader.feed(data)
                    self.connection.consumed(stream, len(data))
                    if fin:
                        self.ended[stream] = None
                        self.connection.release(stream)
                case StreamReset(stream, code):
                    self.ended[stream] = code
                case ConnectionClosed():
                    self.closed = event
            self._changed.set()
