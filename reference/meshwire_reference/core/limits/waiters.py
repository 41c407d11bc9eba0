"""Who waits until some of a shared amount is free again."""

from collections.abc import Callable


class Waiters:
    """Callbacks that are called once each when there is more, in the order in which they came."""

    def __init__(self) -> None:
        self._waiting: dict[Callable[[], None], None] = {}
        self._is_waking = False
        self._is_more = False

    def add(self, callback: Callable[[], None]) -> None:
        """Have a callback called at the next `wake`; one that waits already keeps its place."""
        self._waiting[callback] = None

    def discard(self, callback: Callable[[], None]) -> None:
        """Call it no more."""
        self._waiting.pop(callback, None)

    def wake(self) -> None:
        """Call everyone who waits; whoever still finds nothing waits again."""
        self._is_more = True
        # What a callback sets free is for the others: that is a loop, not a recursion.
        if self._is_waking:
            return
        self._is_waking = True
        while self._is_more and self._waiting:
            self._is_more = False
            waiting, self._waiting = self._waiting, {}
            for callback in waiting:
                callback()
        self._is_waking = False
