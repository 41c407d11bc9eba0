"""The interface of transports to cases: connections, streams, and waiting with a deadline.

A transport returns `Connection`s through its `Dialler`. Streams that the target opens are passed to
`on_stream`; a stream keeps what it receives, and its `signal` wakes waiters.
"""

from __future__ import annotations

import asyncio
import random
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from meshwire_conformance.targets.lab_records import ORDINARY, PeerFault, Preamble
from meshwire_spec.numbers import ALPN


class Signal:
    """Wakes all waiters for a condition whenever something may have changed."""

    def __init__(self) -> None:
        self._waiters: set[asyncio.Future[None]] = set()

    def notify(self) -> None:
        """Make waiters check their conditions again."""
        waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait_for(self, condition: Callable[[], bool], deadline_s: float | None) -> bool:
        """Wait until the condition holds; return False if it does not within the deadline."""
        if condition():
            return True
        try:
            async with asyncio.timeout(deadline_s):
                while not condition():
                    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    self._waiters.add(waiter)
                    try:
                        await waiter
                    finally:
                        self._waiters.discard(waiter)
        except TimeoutError:
            return condition()
        return True


class Overdue(ConnectionError):
    """No connection in time: the target did not answer, or gave up on a suite that was late.

    This alone says nothing about the target. `suite_late` is True if the suite itself was late.
    """

    def __init__(self, text: str, *, suite_late: bool = False) -> None:
        super().__init__(text)
        self.suite_late = suite_late


class BindingBroken(ConnectionError):
    """The target broke the binding before a connection was open; `closed` has the fault."""

    def __init__(self, text: str, closed: Closed) -> None:
        super().__init__(text)
        self.closed = closed


class NotDialled(ConnectionError):
    """The target has not dialled in time, which says nothing about its other behaviour."""


class TooFewDials(NotDialled):
    """A case needs more connections at once than there are addresses that the target dials."""


@dataclass(frozen=True, slots=True)
class Closed:
    """How a connection ended; `code` is None if none was given.

    The target ended it unless `by_suite`, or unless there is a `fault` of the target, for which the
    suite ended it.
    """

    code: int | None
    text: str
    by_suite: bool = False
    fault: PeerFault | None = None


class Stream:
    """One stream with both halves as the suite has seen them."""

    def __init__(self, connection: Connection, number: int, *, uni: bool, ours: bool) -> None:
        self.connection = connection
        self.number = number
        self.uni = uni
        self.ours = ours
        self.received = bytearray()
        self.sent = 0
        self.write_over = False
        self.ended_by_suite = False
        self.finished = False
        self.reset_code: int | None = None
        self.stop_code: int | None = None
        self.record_form = ORDINARY
        """How the bytes of the next write are cut into records, over the lab binding."""
        self._pauses_since: float | None = None
        self._pause_s = 0.0
        self.signal = Signal()
        self.on_change: Callable[[Stream], None] | None = None

    @property
    def read_over(self) -> bool:
        """True if nothing more can come: finished, reset, or the connection is closed."""
        return self.finished or self.reset_code is not None or self.connection.closed is not None

    @property
    def refused(self) -> bool:
        """True if the target has reset its half or stopped the suite's."""
        return self.reset_code is not None or self.stop_code is not None

    def changed(self) -> None:
        """Wake the waiters of this stream."""
        self.signal.notify()
        if self.on_change is not None:
            self.on_change(self)

    def longest_pause_s(self) -> float:
        """Return the longest time in seconds that the suite left its half open and wrote nothing.

        The time before the first write does not count.
        """
        since = self._pauses_since
        return self._pause_s if since is None else max(self._pause_s, time.monotonic() - since)

    def end_pauses(self) -> None:
        """Count no pause from here to the next write, since it is the target's turn."""
        self._pause_s, self._pauses_since = self.longest_pause_s(), None

    async def write(self, data: bytes) -> None:
        """Queue bytes; they are dropped if the half is over, since a stopped stream takes none."""
        self._pause_s = self.longest_pause_s()
        self._pauses_since = self.connection.wrote_at = time.monotonic()
        if not self.write_over and self.stop_code is None and self.connection.closed is None:
            self.sent += len(data)
            await self.connection.write(self, data)

    async def finish(self) -> None:
        """Finish the suite's half; one that the target has stopped is reset instead."""
        self.end_pauses()
        if self.write_over or self.connection.closed is not None:
            return
        if self.stop_code is not None:
            await self.reset(0)
            return
        self.write_over = self.ended_by_suite = True
        await self.connection.finish(self)

    async def reset(self, code: int) -> None:
        """Reset the suite's half."""
        self.end_pauses()
        if not self.write_over and self.connection.closed is None:
            self.write_over = self.ended_by_suite = True
            await self.connection.reset(self, code)

    async def stop(self, code: int) -> None:
        """Stop the target's half."""
        if not self.read_over:
            await self.connection.stop(self, code)

    async def wait_for(self, condition: Callable[[], bool], deadline_s: float | None) -> bool:
        """Wait until the condition holds or the connection is closed; return if it holds."""
        await self.signal.wait_for(
            lambda: condition() or self.connection.closed is not None, deadline_s
        )
        return condition()


def _first_order() -> random.Random:
    return random.Random(0)


@dataclass(frozen=True, slots=True)
class Dial:
    """Parameters of one connection.

    `identity` is the 32-byte endpoint id over the lab binding, the secret key over QUIC and iroh;
    `on_stream` is called with every stream that the target opens; `order` decides how streams are
    interleaved. `preamble` replaces the ordinary one of the lab binding, `alpn` is the protocol
    that both sides name.
    """

    identity: bytes
    on_stream: Callable[[Stream], None] | None = None
    order: random.Random = field(default_factory=_first_order)
    preamble: Preamble | None = None
    alpn: str = ALPN


class Connection(ABC):
    """One connection with the target, whichever of the two has dialled.

    `endpoint_id` is the id that the target showed. After `closed` is set nothing is read or written
    any more; all operations then have no effect.
    """

    binding = ""
    has_timers: ClassVar[bool] = False
    """True if the transport has timers that end a connection, which fire on a busy machine."""

    def __init__(self) -> None:
        self.began_at = self.wrote_at = time.monotonic()
        """When the suite began to dial, and when it last wrote for a case, in seconds."""
        self.rejected_at: float | None = None
        """When the suite wrote the response that the target rejected, None if it did not."""
        self.ended_at: float | None = None
        """When the suite learned of the end of the connection, None before."""
        self.endpoint_id = b""
        self.closed: Closed | None = None
        self.streams: dict[int, Stream] = {}
        self.signal = Signal()
        self.on_stream: Callable[[Stream], None] | None = None

    @abstractmethod
    async def open(self, *, uni: bool = False) -> Stream:
        """Return a new stream when the target grants one; raises ConnectionError if closed."""

    @abstractmethod
    async def write(self, stream: Stream, data: bytes) -> None:
        """Queue bytes on a stream."""

    @abstractmethod
    async def finish(self, stream: Stream) -> None:
        """Finish the suite's half of a stream."""

    @abstractmethod
    async def reset(self, stream: Stream, code: int) -> None:
        """Reset the suite's half of a stream."""

    @abstractmethod
    async def stop(self, stream: Stream, code: int) -> None:
        """Stop the target's half of a stream."""

    @abstractmethod
    async def close(self, code: int = 0, text: str = "") -> None:
        """Close the connection and release its resources."""

    def accept(self, stream: Stream) -> None:
        """Register a stream that the target opened."""
        self.streams[stream.number] = stream
        if self.on_stream is not None:
            self.on_stream(stream)

    def gone(self, closed: Closed) -> None:
        """Record the end of the connection and wake all waiters on it."""
        if self.closed is None:
            self.closed = closed
            self.ended_at = time.monotonic()
            for stream in list(self.streams.values()):
                stream.changed()
            self.signal.notify()

    async def wait_closed(self, deadline_s: float | None) -> Closed | None:
        """Return how the target ended the connection, or None after the deadline."""
        await self.signal.wait_for(lambda: self.closed is not None, deadline_s)
        return self.closed


@asynccontextmanager
async def closed_on_failure(connection: Connection) -> AsyncIterator[None]:
    """Close a connection if what follows fails or is cancelled: nobody else has it yet."""
    try:
        yield
    except BaseException:
        await connection.close()
        raise


class ProbedConnection(Connection):
    """A connection whose transport opens in steps and answers probes.

    Those that the target has dialled are of this kind.
    """

    port = 0
    """The port of the suite that the target has dialled, if it has."""

    @abstractmethod
    async def ready(self, deadline_s: float) -> bool:
        """Return True if streams can be opened within the deadline."""

    @abstractmethod
    async def ping(self, payload: bytes, deadline_s: float) -> bool:
        """Return True if a probe of 8 bytes is answered within the deadline.

        Everything that the target sent before has then arrived.
        """

    @abstractmethod
    def flush(self) -> None:
        """Write everything that may be sent now."""


@dataclass(frozen=True, slots=True)
class Address:
    """Host and port of a target, and the binding."""

    binding: str
    host: str
    port: int
    endpoint_id: str = ""


class Dialler(Protocol):
    """The interface of a transport's module; `shows` names what cases can observe over it.

    The names are in `catalogue.case`.
    """

    @property
    def shows(self) -> frozenset[str]:
        """Observations that this binding can show and others cannot."""

    async def dial(self, dial: Dial, deadline_s: float) -> Connection:
        """Return an open connection; raises ConnectionError."""

    async def close(self) -> None:
        """Release what is kept between connections."""
