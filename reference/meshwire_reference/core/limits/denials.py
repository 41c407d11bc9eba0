"""A limit of denials: how many tries of one caller, and of all, may fail in an interval."""

from collections import Counter, deque
from collections.abc import Hashable


class DenialLimit:
    """Counts the denials of the last `interval_s` seconds, at most `all_max` of them."""

    def __init__(self, interval_s: float, each_max: int, all_max: int) -> None:
        self._interval_s = interval_s
        self._each_max = each_max
        self._all_max = all_max
        self._denied: deque[tuple[float, Hashable]] = deque()
        self._counts: Counter[Hashable] = Counter()

    def is_reached(self, name: Hashable, now_s: float) -> bool:
        """Return True if a caller of this name may not try now."""
        self._forget(now_s)
        return self._counts[name] >= self._each_max or len(self._denied) >= self._all_max

    def count(self, name: Hashable, now_s: float) -> None:
        """Count a denial; does nothing where the limit is reached already."""
        if not self.is_reached(name, now_s):
            self._denied.append((now_s, name))
            self._counts[name] += 1

    def _forget(self, now_s: float) -> None:
        while self._denied and now_s - self._denied[0][0] >= self._interval_s:
            _, name = self._denied.popleft()
            self._counts -= Counter((name,))
