"""The doorway to WebSockets: connections that carry the messages of `oplog/1`."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from hmac import compare_digest
from http import HTTPStatus
from pathlib import Path
from ssl import PEM_cert_to_DER_cert, Purpose, SSLContext, SSLError, create_default_context
from typing import Any, cast

from websockets.asyncio.client import connect
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
from websockets.http11 import Request, Response

from meshwire_reference.transport.base import TransportError
from meshwire_reference.transport.lab.tcp import share_of
from meshwire_reference.transport.places import CallerPlace, Places
from meshwire_spec.numbers import CONNECTIONS_MAX, OPLOG_MESSAGE_BYTES_MAX

ENDPOINT = "/crdt-sync"
# D-133
PING_S = 20.0
DEAD_S = 60.0
# Private code of the close frame of a session that gives way.
CLOSE_CROWDED = 4003
# Seconds until a caller has to be through with TLS.
TLS_S = 10.0


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection is over; `code` is that of the close frame, 1006 without one."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Tls:
    """How a listener proves itself under `wss://`: a context, and its certificate in DER."""

    context: SSLContext
    certificate: bytes


@dataclass(frozen=True, slots=True)
class Security:
    """What a node has to prove itself and to check others; nothing of it is required.

    `bearer` is a token that goes as it is to every peer that is dialled, and is demanded of every
    one that dials: deployed peers may want it, and nothing else should.
    """

    tls: Tls | None = None
    authorities: Path | None = None
    bearer: str = ""
    # The largest message before the peer has proven itself, where it has to.
    first_bytes_max: int | None = None


def ignore_caller(_share: str) -> None:
    """Do nothing about a caller that was refused."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """How many connections a listener has; `on_refusal` gets the address of one that gives way."""

    connections_max: int = CONNECTIONS_MAX
    on_refusal: Callable[[str], None] = ignore_caller


def read_tls(certificate_file: Path, key_file: Path) -> Tls:
    """Return what a listener needs for TLS; raise TransportError."""
    try:
        context = create_default_context(Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate_file, key_file)
        # The chain begins with the certificate of the listener.
        first, end, _ = certificate_file.read_text().partition(_PEM_END)
        return Tls(context, PEM_cert_to_DER_cert(first[first.index(_PEM_BEGIN) :] + end))
    except (OSError, SSLError, ValueError) as exc:
        raise TransportError(
            f"no certificate and key in {certificate_file}, {key_file}: {exc}"
        ) from exc


class WebSocketConnection:
    """One connection, of either side; `certificate` is that of the listener in DER, under TLS."""

    def __init__(
        self, connection: Connection, certificate: bytes | None, *, is_proven: bool = True
    ) -> None:
        self._connection = connection
        self.certificate = certificate
        self.is_proven = is_proven
        """True once the node has accepted the peer: another may have to give way before it."""

    def read_long(self) -> None:
        """Read messages of any size from now on: the peer has proven itself."""
        self.is_proven = True
        self._connection.protocol.max_message_size = OPLOG_MESSAGE_BYTES_MAX

    async def receive(self) -> str | bytes | Lost:
        """Return the next message, or how the connection ended."""
        # OP-059: the library answers pings, and drops pongs that it did not ask for.
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


_PEM_BEGIN, _PEM_END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
_OPTIONS: dict[str, Any] = {
    "compression": None,
    "max_size": OPLOG_MESSAGE_BYTES_MAX,
    # A message that is not yet taken stops reading from the socket.
    "max_queue": 4,
    "ping_interval": PING_S,
    "ping_timeout": DEAD_S,
    "close_timeout": 1.0,
}


class _Doors:
    """The places of the callers of one listener."""

    def __init__(self, crowd: Crowd) -> None:
        self.crowd = crowd
        self.places = Places(crowd.connections_max)
        self.leaving: set[_Caller] = set()
        self.tasks: set[asyncio.Task[None]] = set()

    def connection(self, *arguments: Any, **options: Any) -> "_Caller":
        """Return the connection of a new caller."""
        return _Caller(self, *arguments, **options)


class _Caller(ServerConnection):
    """A caller, which takes a place from its TCP connection on."""

    def __init__(self, doors: _Doors, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._doors = doors
        self.place: CallerPlace | None = None

    @property
    def is_turned_away(self) -> bool:
        """True if its place is taken by another one."""
        return self in self._doors.leaving

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a place."""
        super().connection_made(transport)
        self.place = CallerPlace(share_of(transport.get_extra_info("peername")), self._give_way)
        # OP-061
        self._doors.places.take(self.place)

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave the place."""
        super().connection_lost(exc)
        self._doors.leaving.discard(self)
        if self.place is not None:
            self._doors.places.leave(self.place)

    def open_session(self, session: WebSocketConnection) -> None:
        """Note that the WebSocket is open."""
        if self.place is not None:
            self.place.connection = session

    def _give_way(self) -> None:
        assert self.place is not None, "it had a place"
        self._doors.crowd.on_refusal(self.place.share)
        if self.place.connection is not None:
            closing = self.place.connection.close(CLOSE_CROWDED, "too-many-connections")
            task = asyncio.get_running_loop().create_task(closing)
            self._doors.tasks.add(task)
            task.add_done_callback(self._doors.tasks.discard)
        elif len(self._doors.leaving) < self._doors.crowd.connections_max:
            # It gets the answer once it has sent its request.
            self._doors.leaving.add(self)
        else:
            self.transport.abort()


class WebSocketListener:
    """A bound address; `close` ends it and its connections."""

    def __init__(self, server: Server, scheme: str) -> None:
        self._server = server
        host, port = next(iter(server.sockets)).getsockname()[:2]
        self.address = f"{scheme}://{host}:{port}{ENDPOINT}"

    async def close(self) -> None:
        """Stop listening, and close every connection."""
        self._server.close()
        await self._server.wait_closed()


async def listen_websocket(
    address: tuple[str, str, int],
    take: Callable[[WebSocketConnection], Awaitable[None]],
    security: Security,
    crowd: Crowd,
) -> WebSocketListener:
    """Bind a scheme, host and port; `take` has each connection until it returns.

    Raise TransportError.
    """
    doors = _Doors(crowd)
    scheme, host, port = address
    tls = security.tls if scheme == "wss" else None
    if scheme == "wss" and tls is None:
        raise TransportError("wss:// needs a certificate and its key")

    async def handle(connection: ServerConnection) -> None:
        assert isinstance(connection, _Caller), "made by `doors`"
        certificate = None if tls is None else tls.certificate
        is_proven = security.first_bytes_max is None
        session = WebSocketConnection(connection, certificate, is_proven=is_proven)
        connection.open_session(session)
        await take(session)

    try:
        server = await serve(
            handle,
            host,
            port,
            process_request=partial(_refusal, security),
            create_connection=cast("type[ServerConnection]", doors.connection),
            ssl=None if tls is None else tls.context,
            ssl_handshake_timeout=None if tls is None else TLS_S,
            **_options(security),
        )
    except OSError as exc:
        raise TransportError(f"cannot bind {host}:{port}: {exc.strerror or exc}") from exc
    return WebSocketListener(server, scheme)


def _refusal(security: Security, connection: ServerConnection, request: Request) -> Response | None:
    """Return the answer to a request that opens no WebSocket, None for one that does."""
    if isinstance(connection, _Caller) and connection.is_turned_away:
        return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections\n")
    # OP-060
    if request.path != ENDPOINT:
        return connection.respond(HTTPStatus.NOT_FOUND, "no such path\n")
    given = request.headers.get("Authorization", "")
    if security.bearer and not compare_digest(given.encode(), _bearer(security).encode()):
        return connection.respond(HTTPStatus.UNAUTHORIZED, "no join token\n")
    return None


def _bearer(security: Security) -> str:
    return f"Bearer {security.bearer}"


def _options(security: Security) -> dict[str, Any]:
    first = security.first_bytes_max
    return _OPTIONS if first is None else {**_OPTIONS, "max_size": first}


async def dial_websocket(
    url: str, security: Security, timeout_s: float = 10.0, *, host: str = ""
) -> WebSocketConnection:
    """Return a connection to `url`, whose certificate is checked; raise TransportError.

    With `host`, an IP address, the name in `url` is not looked up, and no answer leads elsewhere.
    """
    options = _options(security)
    if host:
        options = {**options, "host": host}
    # OP-056: only where the operator says so, and never in the URL.
    if security.bearer:
        options = {**options, "additional_headers": {"Authorization": _bearer(security)}}
    try:
        if url.startswith("wss://"):
            # OP-058
            options = {**options, "ssl": create_default_context(cafile=security.authorities)}
        connection = await connect(url, open_timeout=timeout_s, proxy=None, **options)
    except (OSError, TimeoutError, InvalidHandshake, InvalidURI, ValueError) as exc:
        raise TransportError(f"cannot connect to {url}: {exc}") from exc
    under = connection.transport.get_extra_info("ssl_object")
    return WebSocketConnection(connection, under and under.getpeercert(binary_form=True))
