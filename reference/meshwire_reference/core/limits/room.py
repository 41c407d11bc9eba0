"""How many bytes of frames that are made may not have left yet: for one peer, and for all."""

from collections.abc import Callable

from meshwire_reference.core.limits.waiters import Waiters


class Room:
    """What all peers share."""

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self.used = 0
        self.waiters = Waiters()


class Share:
    """What one peer has of the room; `resume` is called when others have left some of it.

    A peer may always have one message, whatever its size and whatever others have, so that none
    waits for a peer that never reads.
    """

    def __init__(self, room: Room, maximum: int, resume: Callable[[], None]) -> None:
        self._room = room
        self._maximum = maximum
        self._resume = resume
        self._is_closed = False
        self.used = 0

    def fits(self, size: int) -> bool:
        """Say whether so many bytes more may be made; where others are in the way, wait."""
        if not self.used:
            return True
        if self.used + size > self._maximum:
            return False
        if self._room.used + size > self._room.maximum:
            self._room.waiters.add(self._resume)
            return False
        return True

    def change(self, by: int) -> None:
        """Take bytes, or give back as many as `by` is below zero."""
        if self._is_closed:
            return
        self.used += by
        self._room.used += by
        if by < 0:
            self._room.waiters.wake()

    def close(self) -> None:
        """Give everything back, for good."""
        self._room.waiters.discard(self._resume)
        self.change(-self.used)
        self._is_closed = True
