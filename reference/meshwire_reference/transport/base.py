"""What every transport offers: connections with QUIC's streams, listeners, options, errors.

Theory of operation. A connection carries streams, bidirectional or unidirectional, that either
side opens. What the peer does arrives as events, in the order of `Connection.next_events`; what
this side does are calls. Two credits bound the memory of a connection. Bytes: the number
of bytes that the peer may send before the application reports them with `consumed`; an application
that stops consuming stops the peer's writer, and nothing else. Streams: the number of streams that
the peer may have open; one counts until both its halves have ended and the application called
`release`.
Against the peer's credit, `open` and `send` wait.

Each half of a stream ends in one of two ways. Its sender ends it with FIN or with a reset. Its
receiver may ask with a stop, which the sender's transport answers with a reset of code 0 by
itself, unless the half had ended already (finishing a stopped half would release nothing,
TR-023).
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from meshwire_reference.core.inputs import ConnectionClosed, StreamId, TransportEvent
from meshwire_spec.numbers import (
    ALPN,
    HANDSHAKE_S,
    LAB_MAX_DATA,
    LAB_MAX_STREAM_DATA,
    LAB_MAX_STREAMS,
)


class TransportError(Exception):
    """Root of what a transport raises at its caller; a peer's bytes never raise."""


class AddressRefused(TransportError):
    """The address has no known scheme, is malformed, or may not be bound or dialled so."""


class Unreachable(TransportError):
    """No connection came about: refused, no answer in time, or the preamble did not fit."""

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
    """Credit that this side gives at first: bytes on all streams, on each, and streams."""

    max_data: int = LAB_MAX_DATA
    max_stream_data: int = LAB_MAX_STREAM_DATA
    max_streams_bidi: int = LAB_MAX_STREAMS
    max_streams_uni: int = LAB_MAX_STREAMS


@dataclass(frozen=True, slots=True)
class TransportOptions:
    """What an endpoint brings to every transport; each takes from it what it needs.

    `endpoint_id` is the unproven identity of the lab binding (32 random bytes of the caller's);
    `secret_key` the seed of the proven one of iroh (None: the library makes a fresh one). `lab`
    allows the lab binding off loopback.
    """

    endpoint_id: bytes
    secret_key: bytes | None = field(default=None, repr=False)
    alpn: str = ALPN
    windows: Windows = field(default_factory=Windows)
    handshake_s: float = HANDSHAKE_S
    connections_max: int = 256
    lab: bool = False


class Connection(ABC):
    """A connection with one peer. All calls belong to the event loop that made it."""

    peer_id: bytes
    """Endpoint id of the peer: 32 bytes, proven by TLS on QUIC, only claimed on the lab binding."""

    dialled: bool
    """Whether this side dialled."""

    @property
    @abstractmethod
    def closed(self) -> ConnectionClosed | None:
        """How the connection ended; None while it lives."""

    @abstractmethod
    async def next_events(self) -> tuple[TransportEvent, ...]:
        """Wait until something happened, then give all of it, at least one event.

        Only one caller may wait at a time. `ConnectionClosed` is the last event; a call after it
        raises ConnectionGone.
        """

    async def events(self) -> AsyncIterator[TransportEvent]:
        """Return every event to its end, `ConnectionClosed` included."""
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
        """Give up our half, dropping what still waits; does nothing where it has ended."""

    @abstractmethod
    def stop(self, stream: StreamId, code: int) -> None:
        """Ask the peer to give up its half; nothing of it is delivered from here on.

        Unread bytes count as consumed. Does nothing where the half was reset or stopped already.
        """

    @abstractmethod
    def consumed(self, stream: StreamId, count: int) -> None:
        """Give the peer back the credit of bytes that the application has taken."""

    @abstractmethod
    def release(self, stream: StreamId) -> None:
        """Say that the application is through with this stream; it makes no more calls for it.

        A half of ours that was neither finished nor reset is reset, a peer's half that has not
        ended is stopped, both with code 0; what was sent before FIN still goes out. Once both have
        ended, the peer may open another in its place.
        """

    @abstractmethod
    async def close(self, code: int, reason: str = "") -> None:
        """End the connection: what was sent and fits the credit goes out before, the rest is lost.

        Returns once the peer has it or the link is gone, within a bounded time; the event follows
        as for any end. A second call does nothing.
        """


class Listener(ABC):
    """A bound address that yields the connections of those who dial it."""

    address: str
    """Where to dial, with the real port: tcp://127.0.0.1:4711, iroh://ENDPOINT@127.0.0.1:4711."""

    endpoint_id: bytes
    """The identity that peers see: the given one, or on iroh the public key."""

    refused: int
    """How many callers were turned away before they became a connection."""

    def __init__(self) -> None:
        self.refused = 0
        self._accepted: asyncio.Queue[Connection | None] = asyncio.Queue()

    async def accept(self) -> Connection:
        """Wait for the next connection whose preamble or TLS handshake is over.

        Those that fail before it are dropped and counted in `refused`. Raises ConnectionGone
        once the listener is closed.
        """
        connection = await self._accepted.get()
        if connection is None:
            # For whoever else waits.
            self._accepted.put_nowait(None)
            raise ConnectionGone(ConnectionClosed(None, "listener closed", by_peer=False))
        return connection

    @abstractmethod
    async def close(self) -> None:
        """Take no more callers; connections already accepted live on."""


Dial: TypeAlias = Callable[[str, TransportOptions], Awaitable[Connection]]
