"""Turns for heavy work: one slice at a time, with other inputs in between.

Heavy work of all peers waits in one queue. A stream with more than a slice of work does one and
waits for its next turn at the end of the queue. After each slice the node handles other inputs for
as long as the slice took. So heavy work takes at most half of the time, and other peers wait for
one slice of it, not for all. What one input may do is counted in units of about ten microseconds of
processor time (`spend`), since nothing here reads a clock.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from meshwire_reference.core.timers import Timers

LIGHT: Final = 4096
"""Work below this weight, in bytes read or items compared, is done immediately."""
UNITS: Final = 256
"""Units of work for one input; what is more waits for its turn."""
GAP_S: Final = 0.001
REST_MAX_S: Final = 0.25
NAME: Final = "turn"


class Turns:
    """The queue of heavy work; `clock` gives the time of the input that is handled."""

    def __init__(self, timers: Timers, clock: Callable[[], float]) -> None:
        self._timers = timers
        self._clock = clock
        self._waiting: deque[Callable[[], None]] = deque()
        # The start of the last piece, until its duration is known.
        self._began_s: float | None = None
        self._left = UNITS

    def begin_input(self) -> None:
        """Begin to count the units of an input."""
        self._left = UNITS

    def spend(self, units: int) -> None:
        """Count units of work that is done now."""
        self._left -= units

    @property
    def has_units(self) -> bool:
        """True while this input may do more work."""
        return self._left > 0

    def take(self, weight: int, work: Callable[[], None]) -> None:
        """Do light work now and heavy work in its turn."""
        if weight < LIGHT:
            work()
        else:
            self.later(work)

    def later(self, work: Callable[[], None]) -> None:
        """Do a slice of work in its turn."""
        self._waiting.append(work)
        if not self._timers.is_set(NAME):
            self._plan(GAP_S)

    def _plan(self, after_s: float) -> None:
        self._timers.set(NAME, self._clock() + after_s, self._run)

    def _run(self) -> None:
        if self._began_s is not None:
            spent_s, self._began_s = self._clock() - self._began_s, None
            self._plan(min(spent_s, REST_MAX_S))
        elif self._waiting:
            self._began_s = self._clock()
            self._plan(GAP_S)
            self._waiting.popleft()()
