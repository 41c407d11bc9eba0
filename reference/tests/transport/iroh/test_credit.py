"""Streams of an iroh connection, on a library without sockets: their credit, and a STOP."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

import turns
from meshwire_reference.core.inputs import StreamId
from meshwire_reference.transport.base import Windows

pytest.importorskip("iroh")

from meshwire_reference.transport.iroh.connection import IrohConnection

STREAM, ALL = 2_000, 3_000
"""Credit of one stream, and of all of them together; the second does not divide the first."""
WINDOWS = Windows(max_data=ALL, max_stream_data=STREAM, max_streams_uni=3)


class EndlessReader:
    """A stream of a peer that sends as much as it may."""

    def __init__(self) -> None:
        self.read_so_far = 0
        self.stops: list[int] = []

    async def read(self, limit: int) -> bytes:
        """Return as many bytes as are wanted."""
        self.read_so_far += limit
        return bytes(limit)

    async def stop(self, code: int) -> None:
        """Note the code of a STOP."""
        self.stops.append(code)


class StoppedWriter:
    """A stream that its peer stops."""

    def __init__(self) -> None:
        self.stop: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.resets: list[int] = []

    async def stopped(self) -> int:
        """Return the code of the peer's STOP once it has come."""
        return await self.stop

    async def reset(self, code: int) -> None:
        """Note the code of a RESET."""
        self.resets.append(code)


class Library:
    """A connection of the library, to a peer that opens uni streams as long as it may."""

    def __init__(self) -> None:
        self.readers: list[EndlessReader] = []
        self.writers: list[StoppedWriter] = []
        self._ended = asyncio.Event()

    def remote_id(self) -> Any:
        """Return the endpoint id of the peer."""
        return SimpleNamespace(to_bytes=lambda: bytes(32))

    def set_receive_window(self, size: int) -> None:
        """Take the window of the connection, which is tested on the streams."""

    def close(self, code: int, reason: bytes) -> None:
        """End the connection."""
        self._ended.set()

    async def closed(self) -> str:
        """Return the text of the end once it has come."""
        await self._ended.wait()
        return ""

    async def accept_bi(self) -> Any:
        """Wait for a bidi stream, which never comes."""
        await asyncio.Event().wait()

    async def accept_uni(self) -> EndlessReader:
        """Return the next uni stream."""
        self.readers.append(EndlessReader())
        return self.readers[-1]

    async def open_uni(self) -> StoppedWriter:
        """Open a uni stream to the peer."""
        self.writers.append(StoppedWriter())
        return self.writers[-1]

    @property
    def read_so_far(self) -> int:
        """Bytes read of all streams."""
        return sum(reader.read_so_far for reader in self.readers)


def number(place: int) -> StreamId:
    """Return the id of a uni stream of the peer, which has dialled."""
    return place << 2 | 2


def run(test: Callable[[IrohConnection, Library], Awaitable[None]]) -> None:
    """Run a test with a connection that its peer has filled."""

    async def whole() -> None:
        library, ended = Library(), asyncio.Event()

        async def end() -> None:
            ended.set()

        fake: Any = library
        connection = IrohConnection(fake, WINDOWS, dialled=False, on_end=end)
        await turns.all_wait()
        assert [reader.read_so_far for reader in library.readers] == [STREAM, ALL - STREAM, 0]
        await test(connection, library)
        await connection.close(0)
        assert ended.is_set()

    asyncio.run(whole())


def test_deferred_bytes_give_their_credit_once() -> None:
    """TR-037: the credit of the connection when they are deferred, of the stream when consumed."""

    async def test(connection: IrohConnection, library: Library) -> None:
        connection.defer(number(0), STREAM)
        await turns.all_wait()
        assert library.readers[0].read_so_far == STREAM
        assert library.read_so_far == ALL + STREAM
        connection.consumed(number(0), STREAM)
        await turns.all_wait()
        # What the second and third stream have taken of it is not given to the first as well.
        assert library.read_so_far == ALL + STREAM

    run(test)


@pytest.mark.parametrize("deferred", [0, 500, STREAM])
@pytest.mark.parametrize("end", ["stop", "release"])
def test_unread_bytes_of_a_stream_that_is_given_up_count_as_consumed(
    end: str, deferred: int
) -> None:
    """TR-029: however many streams are given up, the others have all credit of the connection."""

    async def test(connection: IrohConnection, library: Library) -> None:
        connection.defer(number(0), deferred)
        if end == "stop":
            connection.stop(number(0), 9)
        else:
            connection.release(number(0))
        await turns.all_wait()
        assert library.readers[0].read_so_far == STREAM
        assert library.readers[0].stops == [9 if end == "stop" else 0]
        assert library.read_so_far == STREAM + ALL

    run(test)


def test_a_uni_stream_that_is_over_makes_room_for_another_one() -> None:
    """TR-003: the number of streams at once stays, however many have been."""

    async def test(connection: IrohConnection, library: Library) -> None:
        for place in range(10):
            assert len(library.readers) == WINDOWS.max_streams_uni + place
            connection.release(number(place))
            await turns.all_wait()

    run(test)


def test_a_stream_that_its_peer_stops_is_reset() -> None:
    """TR-023: with code 0, at once, although this side sends nothing more."""

    async def test(connection: IrohConnection, library: Library) -> None:
        await connection.open(bidi=False)
        (writer,) = library.writers
        await turns.all_wait()
        assert writer.resets == []
        writer.stop.set_result(9)
        await turns.all_wait()
        assert writer.resets == [0]

    run(test)
