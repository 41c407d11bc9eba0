"""`ws://` and `wss://`: WebSocket connections of the suite, whose certificates are checked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from socket import AF_INET, SOCK_STREAM
from socket import socket as bind_socket

from meshwire_conformance.errors import Incomplete
from meshwire_conformance.extras import install_line

try:
    from websockets.asyncio.client import connect
    from websockets.asyncio.connection import Connection
    from websockets.asyncio.server import Server, ServerConnection, serve
    from websockets.exceptions import (
        ConnectionClosed,
        InvalidHandshake,
        InvalidStatus,
        WebSocketException,
    )
except ModuleNotFoundError as exc:
    raise Incomplete(f"ws:// needs a package: {install_line('node')}") from exc

MESSAGE_MAX = 256 * 2**20
"""Largest message that is read, in bytes: a target may send its whole history in one."""

UNREAD_MAX = 16


class Over(Exception):
    """The connection is over; `code` is that of its close frame, 1006 without one."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the session has ended with code {code}")
        self.code = code


class WebSocket:
    """One connection to a target."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def receive(self) -> str | bytes:
        """Return the next message; raise Over."""
        try:
            message: str | bytes = await self._connection.recv()
        except ConnectionClosed as exc:
            raise Over(exc.rcvd.code if exc.rcvd else 1006) from exc
        return message

    async def send(self, message: str | bytes | Iterable[str] | Iterable[bytes]) -> None:
        """Send a message, in one frame or several; raise Over."""
        try:
            await self._connection.send(message)
        except ConnectionClosed as exc:
            raise Over(exc.rcvd.code if exc.rcvd else 1006) from exc

    async def ping(self, deadline_s: float) -> bool:
        """Return True if a ping is answered in time; raise Over."""
        try:
            async with asyncio.timeout(deadline_s):
                await (await self._connection.ping())
        except ConnectionClosed as exc:
            raise Over(exc.rcvd.code if exc.rcvd else 1006) from exc
        except TimeoutError:
            return False
        return True

    async def pong(self) -> None:
        """Send a pong that nothing has asked for."""
        await self._connection.pong(b"unasked")

    async def close(self) -> bool:
        """End the connection; return True if the target sends a close frame too."""
        await self._connection.close()
        return self._connection.close_code == 1000  # noqa: PLR2004 - what was sent comes back

    async def gone(self) -> None:
        """Wait until the connection is over."""
        await self._connection.wait_closed()

    def abort(self) -> None:
        """Drop the connection without a close frame."""
        self._connection.transport.abort()


async def dial(url: str, deadline_s: float, unread_max: int | None = None) -> WebSocket:
    """Return a connection; raise ConnectionError.

    `unread_max` is how many messages are taken off the socket before someone wants them.
    """
    try:
        connection = await connect(
            url,
            open_timeout=deadline_s,
            close_timeout=deadline_s,
            ping_interval=None,
            compression=None,
            max_size=MESSAGE_MAX,
            max_queue=unread_max or UNREAD_MAX,
            proxy=None,
        )
    except (OSError, TimeoutError, WebSocketException, ValueError) as exc:
        raise ConnectionError(f"cannot open {url}: {exc}") from exc
    return WebSocket(connection)


class Listening:
    """An address of the suite on loopback; `take` has each connection until it returns.

    Nobody answers at one that is `dead`, and its port stays taken.
    """

    def __init__(self) -> None:
        self._server: Server | None = None
        self._bound = bind_socket(family=AF_INET, type=SOCK_STREAM)
        self._bound.bind(("127.0.0.1", 0))
        self.port: int = self._bound.getsockname()[1]

    async def open(self, take: Callable[[WebSocket], Awaitable[None]]) -> None:
        """Answer from now on."""

        async def handle(connection: ServerConnection) -> None:
            await take(WebSocket(connection))

        self._server = await serve(
            handle, sock=self._bound, compression=None, max_size=MESSAGE_MAX, ping_interval=None
        )

    async def close(self) -> None:
        """Answer no more, and end every connection."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
        self._bound.close()


async def is_refused(url: str, deadline_s: float) -> bool:
    """Return True if a target answers the opening of a WebSocket with another status than 101.

    Raise ConnectionError if it does not answer at all.
    """
    try:
        async with connect(url, open_timeout=deadline_s, proxy=None, compression=None):
            return False
    except InvalidStatus:
        return True
    except (InvalidHandshake, OSError, TimeoutError) as exc:
        raise ConnectionError(f"no answer from {url}: {exc}") from exc


async def drop(sockets: Iterable[WebSocket]) -> None:
    """End connections, whatever they are in."""
    for socket in sockets:
        with suppress(Exception):
            socket.abort()
