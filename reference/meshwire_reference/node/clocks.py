"""The time of a node, which a node that was started for tests can put forward.

The core gets the time with each input, and the waits between dials are measured by it. What belongs
to the machine keeps real time: the log, the preamble of a connection, the CPU time of a call.
"""

import asyncio
import time
from typing import Final

from meshwire_reference.core.settings import Moment

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
