"""Work that takes a while, one piece at a time, with everything else let in between.

A piece that is heavy waits for a turn, and turns of all peers are one queue. After each, the driver
has the core handle whatever else has happened: so a peer that asks for much makes others wait for
one piece of its work, and not for all of it.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from meshwire_reference.core.timers import Timers

LIGHT: Final = 4096
"""Work of less weight, in bytes that are read or items that are looked at, is done at once."""
GAP_S: Final = 0.001
NAME: Final = "turn"


class Turns:
    """The queue of heavy work; `clock` gives the time of the input that is handled."""

    def __init__(self, timers: Timers, clock: Callable[[], float]) -> None:
        self._timers = timers
        self._clock = clock
        self._waiting: deque[Callable[[], None]] = deque()

    def take(self, weight: int, work: Callable[[], None]) -> None:
        """Do light work now and heavy work in its turn."""
        if weight < LIGHT:
            work()
            return
        self._waiting.append(work)
        self._plan()

    def _plan(self) -> None:
        if self._waiting and not self._timers.is_set(NAME):
            self._timers.set(NAME, self._clock() + GAP_S, self._run)

    def _run(self) -> None:
        work = self._waiting.popleft()
        self._plan()
        work()
