"""Turns for heavy work: one piece at a time, with other inputs in between.

Heavy pieces of all peers wait in one queue. After each piece the node handles other inputs for as
long as the piece took. So heavy work takes at most half of the time, and other peers wait for one
piece of it, not for all.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from meshwire_reference.core.timers import Timers

LIGHT: Final = 4096
"""Work below this weight, in bytes read or items compared, is done immediately."""
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

    def take(self, weight: int, work: Callable[[], None]) -> None:
        """Do light work now and heavy work in its turn."""
        if weight < LIGHT:
            work()
            return
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
