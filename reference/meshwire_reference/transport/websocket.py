"""The doorway to WebSockets: connections that carry the messages of `oplog/1`."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from websockets.asyncio.client import connect
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
from websockets.http11 import Request, Response

from meshwire_reference.transport.base import TransportError
from meshwire_spec.numbers import OPLOG_MESSAGE_BYTES_MAX

ENDPOINT = "/crdt-sync"
# D-133
PING_S = 20.0
DEAD_S = 60.0


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection is over; `code` is that of the close frame, 1006 without one."""

    code: int
    reason: str


class WebSocketConnection:
    """One connection, of either side."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def receive(self) -> str | bytes | Lost:
        """Return the next message, or how the connection ended."""
        try:
            message: str | bytes = await self._connection.recv()
        except ConnectionClosed as exc:
            close = exc.rcvd or exc.sent
            return Lost(close.code if close else 1006, close.reason if close else "")
        return message

    async def send(self, message: str | bytes) -> bool:
        """Send a message once there is room for it; return False if the connection is over."""
        try:
            await self._connection.send(message)
        except ConnectionClosed:
            return False
        return True

    async def close(self, code: int, reason: str) -> None:
        """End the connection with a close frame; does nothing if it has ended."""
        await self._connection.close(code, reason)


_OPTIONS: dict[str, Any] = {
    "compression": None,
    "max_size": OPLOG_MESSAGE_BYTES_MAX,
    # A message that is not yet taken stops reading from the socket.
    "max_queue": 4,
    "ping_interval": PING_S,
    "ping_timeout": DEAD_S,
    "close_timeout": 1.0,
}


class WebSocketListener:
    """A bound address; `close` ends it and its connections."""

    def __init__(self, server: Server) -> None:
        self._server = server
        host, port = next(iter(server.sockets)).getsockname()[:2]
        self.address = f"ws://{host}:{port}{ENDPOINT}"

    async def close(self) -> None:
        """Stop listening, and close every connection."""
        self._server.close()
        await self._server.wait_closed()


async def listen_websocket(
    host: str, port: int, take: Callable[[WebSocketConnection], Awaitable[None]]
) -> WebSocketListener:
    """Bind an address; `take` has each connection until it returns. Raise TransportError."""

    async def handle(connection: ServerConnection) -> None:
        await take(WebSocketConnection(connection))

    def check_path(connection: ServerConnection, request: Request) -> Response | None:
        if request.path == ENDPOINT:
            return None
        return connection.respond(HTTPStatus.NOT_FOUND, "no such path\n")

    try:
        server = await serve(handle, host, port, process_request=check_path, **_OPTIONS)
    except OSError as exc:
        raise TransportError(f"cannot bind {host}:{port}: {exc.strerror or exc}") from exc
    return WebSocketListener(server)


async def dial_websocket(url: str, timeout_s: float = 10.0) -> WebSocketConnection:
    """Return a connection to `url`; raise TransportError."""
    try:
        connection = await connect(url, open_timeout=timeout_s, proxy=None, **_OPTIONS)
    except (OSError, TimeoutError, InvalidHandshake, InvalidURI, ValueError) as exc:
        raise TransportError(f"cannot connect to {url}: {exc}") from exc
    return WebSocketConnection(connection)
