"""Named timers, each with an action."""

import heapq
from collections.abc import Callable, Hashable
from itertools import count


class Timers:
    """At most one timer per name; setting it again moves it."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Hashable]] = []
        self._armed: dict[Hashable, tuple[int, Callable[[], object]]] = {}
        self._serials = count()

    def set(self, name: Hashable, at_s: float, action: Callable[[], object]) -> None:
        """Run `action` once, at a time of the monotonic clock in seconds."""
        serial = next(self._serials)
        self._armed[name] = (serial, action)
        heapq.heappush(self._heap, (at_s, serial, name))
        # Moved and cancelled timers stay in the heap until they come up or are too many.
        if len(self._heap) > 64 + 4 * len(self._armed):
            self._heap = [row for row in self._heap if self._is_armed(row)]
            heapq.heapify(self._heap)

    def cancel(self, name: Hashable) -> None:
        """Remove a timer, if it is set."""
        self._armed.pop(name, None)

    def is_set(self, name: Hashable) -> bool:
        """Return True if a timer of this name is set."""
        return name in self._armed

    def next_name(self) -> Hashable:
        """Return the name of the timer that is due next, None when there is none."""
        return None if self.next_s() is None else self._heap[0][2]

    def next_s(self) -> float | None:
        """Return when the next timer is due, None when there is none."""
        while self._heap and not self._is_armed(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def run(self, now_s: float, *, only: Hashable = None) -> None:
        """Run the actions that are due, in the order of time, up to the first of another name."""
        while (at_s := self.next_s()) is not None and at_s <= now_s:
            if only not in (None, self.next_name()):
                break
            _, _, name = heapq.heappop(self._heap)
            _, action = self._armed.pop(name)
            action()

    def _is_armed(self, row: tuple[float, int, Hashable]) -> bool:
        armed = self._armed.get(row[2])
        return armed is not None and armed[0] == row[1]
