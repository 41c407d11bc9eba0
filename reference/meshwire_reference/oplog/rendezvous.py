"""When the rendezvous is dialled again: waits that double, and when they begin anew."""

from collections.abc import Callable

FIRST_S = 1.0
LONGEST_S = 30.0
# D-132: a session that was shorter counts as a failure.
SESSION_MIN_S = 60.0
# From this failure in a row on the log has errors instead of warnings.
ERROR_FROM = 10
# Waits vary by this part of themselves, so that nodes do not come back together.
SPREAD = 0.2


class RendezvousBackoff:
    """The waits of one client; `spread` returns a number from -1 to 1."""

    def __init__(self, spread: Callable[[], float]) -> None:
        self._spread = spread
        self._wait_s = FIRST_S
        self.failures = 0

    def failed(self) -> tuple[str, float]:
        """Count a failure; return the level of its log line, and the wait in seconds."""
        self.failures += 1
        return ("ERROR" if self.failures >= ERROR_FROM else "WARN"), self._next()

    def ended(self, lasted_s: float) -> tuple[str, float]:
        """Count the end of a session that lasted so long, which may be a success."""
        if lasted_s < SESSION_MIN_S:
            return self.failed()
        self.failures = 0
        self._wait_s = FIRST_S
        return "INFO", self._next()

    def _next(self) -> float:
        wait_s = self._wait_s
        self._wait_s = min(2 * wait_s, LONGEST_S)
        return wait_s * (1 + SPREAD * self._spread())
