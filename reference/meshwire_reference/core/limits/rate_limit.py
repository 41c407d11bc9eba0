"""Rate limits: each name may be used once an interval."""

from collections.abc import Hashable


class Cooldowns:
    """Remembers when each name was last used; forgets it once the interval is over.

    While it remembers `names_max` names, no other may be used.
    """

    def __init__(self, interval_s: float, names_max: int | None = None) -> None:
        self._interval_s = interval_s
        self._names_max = names_max
        self._used: dict[Hashable, float] = {}

    def take(self, name: Hashable, now_s: float) -> bool:
        """Return True if the name may be used now, and count it as used."""
        if self.wait_s(name, now_s) > 0 or len(self._used) == self._names_max:
            return False
        self._used[name] = now_s
        return True

    def wait_s(self, name: Hashable, now_s: float) -> float:
        """Return how many seconds the name has to wait, 0 if it may be used now."""
        # Times are added in order, so the oldest come first.
        while self._used:
            oldest = next(iter(self._used))
            if now_s - self._used[oldest] < self._interval_s:
                break
            del self._used[oldest]
        used = self._used.get(name)
        return 0.0 if used is None else used + self._interval_s - now_s
