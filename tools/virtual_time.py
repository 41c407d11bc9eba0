"""An event loop whose clock jumps over every wait, and connections in memory.

A run of socket cases on it waits for nothing: where no task can go on, the next timer is due at
once. The same cases end alike on every machine, however busy it is.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from meshwire_conformance.targets.tcp import TcpConnection, TcpDialler
from meshwire_conformance.targets.transport import Dial

Returned = TypeVar("Returned")

LATENCY_S: Final = 0.01
"""Virtual seconds that bytes take in memory, so that time goes on also under a flood."""
UNREAD_MAX: Final = 2**18
"""Bytes on their way after which the writer is asked to pause."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that jumps to its next timer instead of waiting for it.

    Work in threads takes no virtual time: the loop waits for it before it jumps.
    """

    def __init__(self) -> None:
        super().__init__(_JumpingSelector(self))
        self._now_s = 0.0
        self.in_threads = 0

    def time(self) -> float:
        """Return the virtual time in seconds since the loop was made."""
        return self._now_s

    def jump(self, wait_s: float) -> None:
        """Let virtual time pass."""
        # The loop runs a timer only after its time; far from 0 its own margin is rounded away.
        self._now_s = math.nextafter(self._now_s + wait_s, math.inf)

    def run_in_executor(  # type: ignore[override]  # its types differ between versions
        self, executor: Any, func: Any, *args: Any
    ) -> Any:
        """Run a function in a thread, and let no time pass until it has ended."""
        work = super().run_in_executor(executor, func, *args)
        self.in_threads += 1
        work.add_done_callback(self._ended)
        return work

    def _ended(self, _work: object) -> None:
        self.in_threads -= 1


class _JumpingSelector(selectors.DefaultSelector):
    """Waits for files only where nothing else can happen."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        """Return the files that are ready; without one, the time of the wait has passed."""
        if timeout is None or self._loop.in_threads:
            return super().select(None if timeout != 0 else 0)
        ready = super().select(0)
        if not ready:
            self._loop.jump(timeout)
        return ready


class MemoryTransport(asyncio.Transport):
    """One end of a connection in memory."""

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._loop = loop
        self.protocol = protocol
        self._chunks: deque[bytes] = deque()
        self._unread = 0
        self.closing = False
        self.gone = False
        self.other: MemoryTransport | None = None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return the default: there is no socket."""
        return default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Keep the limit of this module."""

    def is_closing(self) -> bool:
        """Return True once this end was closed."""
        return self.closing

    def write(self, data: Any) -> None:
        """Send bytes to the other end."""
        if self.closing or not data:
            return
        self._chunks.append(bytes(data))
        self._unread += len(data)
        self._loop.call_later(LATENCY_S, self._deliver)
        if self._unread > UNREAD_MAX:
            self.protocol.pause_writing()

    def close(self) -> None:
        """Close both ends, after the bytes that were written."""
        if not self.closing:
            self.closing = True
            self._loop.call_later(LATENCY_S, self._end)

    abort = close

    def write_eof(self) -> None:
        """Tell the other end, after the bytes that were written, that no more come."""
        self._loop.call_later(LATENCY_S, self._end_writing)

    def _end_writing(self) -> None:
        assert self.other is not None
        while self._chunks:
            self._deliver()
        # As the loop does: a protocol that does not ask to stay half open is closed.
        if not self.other.closing and not self.other.protocol.eof_received():
            self.other.close()

    def _deliver(self) -> None:
        # The end of the connection may have been quicker than the timer.
        if not self._chunks:
            return
        data = self._chunks.popleft()
        was_full = self._unread > UNREAD_MAX
        self._unread -= len(data)
        assert self.other is not None
        if not self.other.closing:
            self.other.protocol.data_received(data)
        if was_full and self._unread <= UNREAD_MAX and not self.closing:
            self.protocol.resume_writing()

    def _end(self) -> None:
        assert self.other is not None
        while self._chunks:
            self._deliver()
        for end in (self, self.other):
            end.closing = True
            if not end.gone:
                end.gone = True
                end.protocol.connection_lost(None)


def connect(near: asyncio.Protocol, far: asyncio.Protocol) -> None:
    """Connect two protocols in memory."""
    loop = asyncio.get_running_loop()
    ends = MemoryTransport(loop, near), MemoryTransport(loop, far)
    ends[0].other, ends[1].other = ends[1], ends[0]
    far.connection_made(ends[1])
    near.connection_made(ends[0])


@dataclass(slots=True)
class MemoryDialler(TcpDialler):
    """Dials the lab binding in memory: `accepted` makes the accepting side of a connection."""

    accepted: Callable[[], asyncio.Protocol]

    async def dial_raw(self, dial: Dial, deadline_s: float) -> TcpConnection:
        """Return a connection without waiting for the target's preamble."""
        connection = TcpConnection(dial)
        connect(connection, self.accepted())
        return connection


def run_in_virtual_time(work: Coroutine[Any, Any, Returned]) -> Returned:
    """Run a coroutine to its end on a loop of its own."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)
