"""What cases run over, whatever the binding: connections, streams, and waiting with a deadline.

A transport gives `Connection`s through its `Dialler`. Streams that the target opens are handed to
`on_stream`; what a stream receives is kept in it, and its `signal` wakes who waits for it.
"""

from __future__ import annotations

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from meshwire_conformance.targets.lab import Preamble


class Signal:
    """Wakes everybody who waits for a condition whenever something may have changed."""

    def __init__(self) -> None:
        self._waiters: set[asyncio.Future[None]] = set()

    def notify(self) -> None:
        """Something changed: conditions are looked at again."""
        waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait_for(self, condition: Callable[[], bool], deadline_s: float | None) -> bool:
        """Wait until the condition holds; False where it does not within the deadline."""
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


@dataclass(frozen=True, slots=True)
class Closed:
    """How a connection ended; `code` is None where it ended without saying why."""

    code: int | None
    text: str


class Stream:
    """One stream with both halves as far as the suite has seen them."""

    def __init__(self, connection: Connection, number: int, *, uni: bool, ours: bool) -> None:
        self.connection = connection
        self.number = number
        self.uni = uni
        self.ours = ours
        self.received = bytearray()
        self.sent = 0
        self.write_over = False
        self.finished = False
        self.reset_code: int | None = None
        self.stop_code: int | None = None
        self.signal = Signal()
        self.on_change: Callable[[Stream], None] | None = None

    @property
    def read_over(self) -> bool:
        """Whether nothing more can come: finished, reset, or the connection is gone."""
        return self.finished or self.reset_code is not None or self.connection.closed is not None

    @property
    def refused(self) -> bool:
        """Whether the target has reset its half or stopped ours."""
        return self.reset_code is not None or self.stop_code is not None

    def changed(self) -> None:
        """Wake whoever waits for this stream."""
        self.signal.notify()
        if self.on_change is not None:
            self.on_change(self)

    async def write(self, data: bytes) -> None:
        """Queue bytes; dropped where our half is over, as a stopped stream takes no more."""
        if not self.write_over and self.stop_code is None and self.connection.closed is None:
            self.sent += len(data)
            await self.connection.write(self, data)

    async def finish(self) -> None:
        """End our half; a half that the target has stopped is reset instead, which releases it."""
        if self.write_over or self.connection.closed is not None:
            return
        if self.stop_code is not None:
            await self.reset(0)
            return
        self.write_over = True
        await self.connection.finish(self)

    async def reset(self, code: int) -> None:
        """Give up our half."""
        if not self.write_over and self.connection.closed is None:
            self.write_over = True
            await self.connection.reset(self, code)

    async def stop(self, code: int) -> None:
        """Ask the target to send no more on this stream."""
        if not self.read_over:
            await self.connection.stop(self, code)

    async def wait_for(self, condition: Callable[[], bool], deadline_s: float | None) -> bool:
        """Wait until the condition holds or the connection is gone; whether it holds."""
        await self.signal.wait_for(
            lambda: condition() or self.connection.closed is not None, deadline_s
        )
        return condition()


def _first_order() -> random.Random:
    return random.Random(0)


@dataclass(frozen=True, slots=True)
class Dial:
    """How one connection starts.

    `identity` is the 32-byte endpoint id over the lab binding and the secret key over iroh;
    `on_stream` is called with every stream that the target opens; `order` decides how streams are
    interleaved. `preamble` is what the lab binding writes instead of an ordinary one.
    """

    identity: bytes
    on_stream: Callable[[Stream], None] | None = None
    order: random.Random = field(default_factory=_first_order)
    preamble: Preamble | None = None


class Connection(ABC):
    """One connection that the suite has dialled.

    `endpoint_id` is what the target showed as its own. After `closed` is set nothing is read or
    written any more; all operations are then without effect.
    """

    binding = ""

    def __init__(self) -> None:
        self.endpoint_id = b""
        self.closed: Closed | None = None
        self.streams: dict[int, Stream] = {}
        self.signal = Signal()
        self.on_stream: Callable[[Stream], None] | None = None

    @abstractmethod
    async def open(self, *, uni: bool = False) -> Stream:
        """A new stream, once the target's credit allows it; raises ConnectionError when closed."""

    @abstractmethod
    async def write(self, stream: Stream, data: bytes) -> None:
        """Queue bytes on a stream."""

    @abstractmethod
    async def finish(self, stream: Stream) -> None:
        """End our half of a stream."""

    @abstractmethod
    async def reset(self, stream: Stream, code: int) -> None:
        """Give up our half of a stream."""

    @abstractmethod
    async def stop(self, stream: Stream, code: int) -> None:
        """Ask the target to stop sending on a stream."""

    @abstractmethod
    async def close(self, code: int = 0, text: str = "") -> None:
        """Close the connection and release everything it holds."""

    def accept(self, stream: Stream) -> None:
        """Take in a stream that the target opened."""
        self.streams[stream.number] = stream
        if self.on_stream is not None:
            self.on_stream(stream)

    def gone(self, closed: Closed) -> None:
        """The connection is over: wake everybody who waits for anything on it."""
        if self.closed is None:
            self.closed = closed
            for stream in list(self.streams.values()):
                stream.changed()
            self.signal.notify()

    async def wait_closed(self, deadline_s: float | None) -> Closed | None:
        """How the target ended the connection, or None where it did not within the deadline."""
        await self.signal.wait_for(lambda: self.closed is not None, deadline_s)
        return self.closed


@dataclass(frozen=True, slots=True)
class Address:
    """Where a target listens, and over which binding."""

    binding: str
    host: str
    port: int
    endpoint_id: str = ""


class Dialler(Protocol):
    """What the module of each transport offers; `shows` names what is seen over it.

    The names are in `catalogue.case`.
    """

    @property
    def shows(self) -> frozenset[str]:
        """What cases can look at that not every binding shows."""

    async def dial(self, dial: Dial, deadline_s: float) -> Connection:
        """A connection that is up; raises ConnectionError."""

    async def close(self) -> None:
        """Release what was kept between connections."""
