"""The time of a node, which a node that was started for tests can put forward, and its timer.

The core gets the time with each input, and the waits between dials are measured by it. What belongs
to the machine keeps real time: the log, the preamble of a connection, the CPU time of a call.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from meshwire_reference.core.inputs import TimerFired
from meshwire_reference.core.settings import Moment
from meshwire_reference.transport.base import Deadline

MS_PER_S: Final = 1000
NS_PER_MS: Final = 1_000_000


class Clock:
    """The clock of the event loop and that of the calendar, each with what it was moved by."""

    def __init__(self) -> None:
        self._ahead_s = 0.0
        self._ahead_ms = 0
        self._moved = asyncio.Event()

    def moment(self) -> Moment:
        """Return the time of an input."""
        return Moment(self.monotonic_s(), self.wall_ms())

    def monotonic_s(self) -> float:
        """Return the time of the clock that never goes back, in seconds."""
        return asyncio.get_running_loop().time() + self._ahead_s

    def wall_ms(self) -> int:
        """Return the time of the calendar in ms since 1970."""
        return time.time_ns() // NS_PER_MS + self._ahead_ms

    def on_loop(self, at_s: float) -> float:
        """Return when the event loop reaches a time of this clock, unless it is moved."""
        return at_s - self._ahead_s

    def advance(self, seconds: float) -> None:
        """Put both clocks forward; a sleep that is over by this one ends."""
        self._ahead_s += seconds
        self._ahead_ms += round(seconds * MS_PER_S)
        self._moved.set()
        self._moved = asyncio.Event()

    def set_wall(self, wall_ms: int) -> None:
        """Set the clock of the calendar, forward or back; the other one stays."""
        self._ahead_ms += wall_ms - self.wall_ms()

    def put_right(self) -> None:
        """Show real time again; nobody may sleep on this clock or use its times meanwhile."""
        self._ahead_s = 0.0
        self._ahead_ms = 0

    async def sleep(self, seconds: float) -> None:
        """Sleep until this clock has gone on by this time."""
        at_s = self.monotonic_s() + seconds
        while (left_s := at_s - self.monotonic_s()) > 0:
            moved = self._moved
            try:
                async with asyncio.timeout(left_s):
                    await moved.wait()
            except TimeoutError:
                return
        # As asyncio.sleep(0), so that a loop over sleeps of no time lets others run.
        await asyncio.sleep(0)


class CoreTimer:
    """Fires at the next deadline of the core, as its clock shows it."""

    def __init__(self, clock: Clock, feed: Callable[[TimerFired], None]) -> None:
        self._clock = clock
        self._feed = feed
        self._handle: Deadline | asyncio.TimerHandle | None = None
        self._at_s: float | None = None

    def arm(self, at_s: float | None, *, only_work: bool) -> None:
        """Fire at this time of the clock and at no other, or never.

        With `only_work` only work of this node is due then, which does not wait until everything
        that has come is read.
        """
        if at_s == self._at_s:
            return
        self.cancel()
        self._at_s = at_s
        if at_s is not None:
            at_s = self._clock.on_loop(at_s)
            loop = asyncio.get_running_loop()
            self._handle = (
                loop.call_at(at_s, self._work) if only_work else Deadline(at_s, self._fire)
            )

    def cancel(self) -> None:
        """Fire no more, until it is armed again."""
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self._at_s = None

    def _work(self) -> None:
        self._at_s = None
        self._feed(TimerFired(only_work=True))

    def _fire(self) -> None:
        self._at_s = None
        self._feed(TimerFired())
