"""The interface of transports: connections with QUIC's streams, listeners, options, errors.

Theory of operation. A connection carries streams, bidirectional or unidirectional, that either side
opens. Events of the peer arrive in the order of `Connection.next_events`; actions of this side are
calls.

Two credits bound the memory of a connection. Bytes: the number of bytes that the peer may send
before the application reports them with `consumed`; an application that stops consuming stops only
the peer's writer. Streams: the number of streams that the peer may have open; one
counts until both its halves have ended and the application called `release`. Against the peer's
credit, `open` and `send` wait.

Each half of a stream ends in one of two ways. Its sender ends it with FIN or with a reset. Its
receiver may ask for the end with a stop, which the sender's transport answers with a reset of code
0 by itself, unless the half had ended already (finishing a stopped half would release nothing,
TR-023).
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

from meshwire_reference.core.inputs import ConnectionClosed, StreamId, TransportEvent
from meshwire_spec.numbers import (
    ALPN,
    CONNECTIONS_MAX,
    HANDSHAKE_S,
    LAB_MAX_DATA,
    LAB_MAX_STREAM_DATA,
    LAB_MAX_STREAMS,
    QUIC_DATAGRAM,
    QUIC_IDLE_S,
    QUIC_KEEP_ALIVE_S,
    REASONS,
)

SHUTDOWN: Final = REASONS["shutdown"].code
TURNS_TO_READ: Final = 3
"""Turns of the loop in which a new socket is watched and what waits in it is read."""


class TransportError(Exception):
    """Root of the errors that a transport raises; a peer's bytes never raise."""


class AddressRefused(TransportError):
    """The address has no known scheme, is malformed, or may not be bound or dialled so."""


class Unreachable(TransportError):
    """No connection was opened: refused, no answer in time, or a wrong preamble."""

    def __init__(self, reason: str, code: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class ConnectionGone(TransportError):
    """The connection has ended, before or during this call."""

    def __init__(self, closed: ConnectionClosed) -> None:
        super().__init__(closed.reason)
        self.closed = closed


class StreamGone(TransportError):
    """The half this call writes to takes no more bytes: stopped by the peer, finished or reset.

    `code` is the code of the peer's stop, None where this side ended the half itself.
    """

    def __init__(self, stream: StreamId, code: int | None) -> None:
        super().__init__(f"stream {stream} takes no more bytes")
        self.stream = stream
        self.code = code


@dataclass(frozen=True, slots=True)
class Windows:
    """Initial credit of this side: bytes on all streams together, bytes per stream, and streams."""

    max_data: int = LAB_MAX_DATA
    max_stream_data: int = LAB_MAX_STREAM_DATA
    max_streams_bidi: int = LAB_MAX_STREAMS
    max_streams_uni: int = LAB_MAX_STREAMS


def ignore_refusal(_reason: str, _address: str) -> None:
    """Take note of no refusal."""


@dataclass(frozen=True, slots=True)
class TransportOptions:
    """The options of an endpoint for every transport; each uses those that apply to it.

    `endpoint_id` is the unproven identity of the lab binding (32 random bytes of the caller's);
    `secret_key` the seed of the proven one of QUIC and iroh (None: each endpoint makes a fresh
    one). `lab` allows the lab binding off loopback. `on_refusal` receives the reason and the IP
    address of a caller that this side has refused before it became a connection.

    Of QUIC: a connection ends after `idle_s` without a packet of the peer, asks for one after
    `keep_alive_s`, and sends datagrams of up to `datagram_size` bytes, which the path must carry.
    Of iroh: `relays` are the URLs of the relays that it may use.
    """

    endpoint_id: bytes
    secret_key: bytes | None = field(default=None, repr=False)
    alpn: str = ALPN
    windows: Windows = field(default_factory=Windows)
    handshake_s: float = HANDSHAKE_S
    connections_max: int = CONNECTIONS_MAX
    lab: bool = False
    idle_s: float = QUIC_IDLE_S
    keep_alive_s: float = QUIC_KEEP_ALIVE_S
    datagram_size: int = QUIC_DATAGRAM
    relays: tuple[str, ...] = ()
    on_refusal: Callable[[str, str], None] = ignore_refusal


class Deadline:
    """Calls an action at a moment of the loop's clock, once everything that has come is read.

    A busy machine delays this process too. What waits in a socket came in time, so the loop first
    goes around `TURNS_TO_READ` times more.
    """

    def __init__(self, at_s: float, action: Callable[[], object]) -> None:
        self._loop = asyncio.get_running_loop()
        self._action = action
        self._handle: asyncio.Handle = self._loop.call_at(at_s, self._pass, TURNS_TO_READ)

    def cancel(self) -> None:
        """Do not call the action any more."""
        self._handle.cancel()

    def _pass(self, turns: int) -> None:
        if turns:
            self._handle = self._loop.call_soon(self._pass, turns - 1)
        else:
            self._action()


def free_after(ended: Coroutine[Any, Any, None], free: Callable[[], None]) -> asyncio.Task[None]:
    """Free what a connection holds at its end, or with the event loop if that is over before.

    A connection outlasts its close by a while in which nobody waits for it. Keep the task that is
    returned as long as the connection.
    """
    task = asyncio.get_running_loop().create_task(ended)
    # A task that is cancelled before its first step runs nothing of its coroutine.
    task.add_done_callback(lambda _: free())
    return task


class Connection(ABC):
    """A connection with one peer. All calls belong to the event loop that made it."""

    peer_id: bytes
    """Endpoint id of the peer: 32 bytes, proven by TLS on QUIC, only claimed on the lab binding."""

    dialled: bool
    """True if this side dialled."""

    proves_ids: bool = True
    """True if the transport proves the endpoint ids of both sides."""

    is_proven: bool = False
    """True once the application has accepted the peer, which it then keeps before others."""

    remote: str = ""
    """IP address of a peer that has dialled, as far as the transport knows it."""

    @property
    @abstractmethod
    def closed(self) -> ConnectionClosed | None:
        """How the connection ended; None while it is open."""

    @abstractmethod
    async def next_events(self) -> tuple[TransportEvent, ...]:
        """Wait for at least one event and return all that are pending.

        Only one caller may wait at a time. `ConnectionClosed` is the last event; a call after it
        raises ConnectionGone.
        """

    async def events(self) -> AsyncIterator[TransportEvent]:
        """Yield every event, up to and including `ConnectionClosed`."""
        while True:
            for event in await self.next_events():
                yield event
                if isinstance(event, ConnectionClosed):
                    return

    @abstractmethod
    async def open(self, *, bidi: bool) -> StreamId:
        """Open a stream, waiting for the peer's stream credit.

        The peer learns of it with its first bytes, FIN, reset or stop. Raises ConnectionGone.
        """

    @abstractmethod
    async def send(self, stream: StreamId, data: bytes, *, fin: bool = False) -> None:
        """Hand over bytes, waiting while the peer's credit or the link is short.

        One call at a time on a stream. A cancelled call leaves a prefix sent: reset the stream.
        Raises StreamGone where the half has ended, also when a stop comes while waiting;
        ConnectionGone.
        """

    @abstractmethod
    def reset(self, stream: StreamId, code: int) -> None:
        """Reset this side's half and drop queued bytes; does nothing if it has ended."""

    @abstractmethod
    def stop(self, stream: StreamId, code: int) -> None:
        """Stop the peer's half; nothing of it is delivered from now on.

        Unread bytes count as consumed. Does nothing if the half was reset or stopped already.
        """

    @abstractmethod
    def consumed(self, stream: StreamId, count: int) -> None:
        """Grant the peer again the credit of bytes that the application has taken."""

    @abstractmethod
    def defer(self, stream: StreamId, count: int) -> None:
        """Grant the credit of the connection, not of the stream, for bytes that wait.

        Other streams may then use it. `consumed` for these bytes follows.
        """

    @abstractmethod
    def release(self, stream: StreamId) -> None:
        """Declare that the application makes no more calls for this stream.

        This side's half, if neither finished nor reset, is reset, and the peer's half, if it has
        not ended, is stopped, both with code 0; bytes sent before FIN still leave. Once both have
        ended, the peer may open another stream in its place.
        """

    @abstractmethod
    async def close(self, code: int, reason: str = "") -> None:
        """Close the connection: bytes within the credit are sent before, others are lost.

        Returns once the peer has received them or the link is closed, within a bounded time; the
        event follows as for any end. A second call does nothing.
        """


class Listener(ABC):
    """A bound address that yields the connections of those who dial it."""

    address: str
    """Address to dial, with the real port: tcp://127.0.0.1:4711, iroh://ENDPOINT@127.0.0.1:4711."""

    endpoint_id: bytes
    """The identity that peers see: the given one, or on QUIC and iroh the public key."""

    refused: int
    """Number of callers that were refused before they became a connection."""

    def __init__(self) -> None:
        self.refused = 0
        self._accepted: asyncio.Queue[Connection | None] = asyncio.Queue()
        self._is_closed = False
        self._farewells: set[asyncio.Task[None]] = set()

    async def accept(self) -> Connection:
        """Wait for the next connection whose preamble or TLS handshake is over.

        Those that fail before it are dropped and counted in `refused`. Raises ConnectionGone
        once the listener is closed.
        """
        connection = await self._accepted.get()
        if connection is None:
            # Wake the other waiters.
            self._accepted.put_nowait(None)
            raise ConnectionGone(ConnectionClosed(None, "listener closed", by_peer=False))
        return connection

    def _hand_over(self, connection: Connection) -> None:
        """Give a connection to `accept`; close it if nobody accepts any more."""
        if self._is_closed:
            farewell = asyncio.get_running_loop().create_task(
                connection.close(SHUTDOWN, "shutdown")
            )
            self._farewells.add(farewell)
            farewell.add_done_callback(self._farewells.discard)
        else:
            self._accepted.put_nowait(connection)

    async def close(self) -> None:
        """Accept no further connection; those that `accept` has returned stay open.

        The others would stay open without a server, so they are closed.
        """
        if self._is_closed:
            return
        self._is_closed = True
        waiting = [self._accepted.get_nowait() for _ in range(self._accepted.qsize())]
        for connection in waiting:
            if connection is not None:
                self._hand_over(connection)
        self._accepted.put_nowait(None)
        await self._stop()

    @abstractmethod
    async def _stop(self) -> None:
        """Take no further caller."""
