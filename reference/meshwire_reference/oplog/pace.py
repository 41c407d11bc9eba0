"""How fast operations are taken from one session."""


class Pace:
    """The operations of one session that may be taken now; what exceeds them is read later.

    Nothing is left out: a peer that is too fast waits until its messages are read.
    """

    def __init__(self, now: float, per_s: int) -> None:
        self._per_s = per_s
        self._left = float(per_s)
        self._now = now

    def take(self, count: int, now: float) -> float:
        """Count operations that were taken; return how many seconds to wait before the next."""
        self._left = min(self._left + (now - self._now) * self._per_s, self._per_s) - count
        self._now = now
        return max(0.0, -self._left / self._per_s)
