"""The virtual clock of a run, and what is to happen at which time."""

import heapq
from collections.abc import Callable
from itertools import count
from typing import Final

START_S: Final = 1000.0
START_MS: Final = 1_800_000_000_000
"""The two clocks of a node at the start of a run."""


class Schedule:
    """Actions in the order of their time; those of one time in the order in which they were added.

    `happened` counts the actions that were carried out.
    """

    def __init__(self) -> None:
        self.now_s = START_S
        self.happened = 0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._serials = count()

    def at(self, at_s: float, action: Callable[[], None]) -> None:
        """Carry out an action at a time, or now if that has passed."""
        heapq.heappush(self._heap, (max(at_s, self.now_s), next(self._serials), action))

    def after(self, wait_s: float, action: Callable[[], None]) -> None:
        """Carry out an action after a while."""
        self.at(self.now_s + wait_s, action)

    def run(self, until_s: float) -> None:
        """Carry out everything that is due up to a time, which it is then."""
        heap = self._heap
        while heap and heap[0][0] <= until_s:
            self.now_s, _, action = heapq.heappop(heap)
            self.happened += 1
            action()
        self.now_s = until_s
