"""Limits on the bytes that the node holds: for one peer, and for all peers together.

Theory of operation. Each peer has two quotas: of frames that it has begun and not finished
(`InboundQuota`), and of frames that are made for it and have not left (`OutboundQuota`). Both have
a maximum of their own and draw on a `SharedQuota` of all peers. A peer that finds the shared quota
used up waits and is called when others give bytes back. Each quota has an exception that needs no
room, so that no peer starves because of others.
"""

from collections.abc import Callable, Hashable


class SharedQuota:
    """The bytes of all peers together, and the callbacks that wait for free bytes."""

    def __init__(self, maximum: int) -> None:
        self.used = 0
        self._maximum = maximum
        self._holders: dict[Hashable, None] = {}
        self._waiting: dict[Callable[[], None], None] = {}
        self._is_waking = False
        self._has_more = False

    def has_room(self, size: int) -> bool:
        """Return True if `size` more bytes fit."""
        return self.used + size <= self._maximum

    def change(self, by: int) -> None:
        """Add `by` to the bytes in use; if it is negative, call the waiting callbacks."""
        self.used += by
        if by < 0:
            self._wake()

    def note_holder(self, holder: Hashable, size: int) -> None:
        """Record a holder of bytes in the order of first use; one with size 0 is removed."""
        if size:
            self._holders[holder] = None
        else:
            self._holders.pop(holder, None)

    def is_oldest(self, holder: Hashable) -> bool:
        """Return True if no other holder is older than this one."""
        return next(iter(self._holders), holder) == holder

    def wait(self, callback: Callable[[], None]) -> None:
        """Call a callback once bytes are given back; one that waits already keeps its place."""
        self._waiting[callback] = None

    def stop_waiting(self, callback: Callable[[], None]) -> None:
        """Remove a callback from the waiting ones."""
        self._waiting.pop(callback, None)

    def _wake(self) -> None:
        """Call every waiting callback in order; one that still finds no room waits again."""
        self._has_more = True
        # A callback may free bytes and wake the others again: hence a loop, not a recursion.
        if self._is_waking:
            return
        self._is_waking = True
        while self._has_more and self._waiting:
            self._has_more = False
            waiting, self._waiting = self._waiting, {}
            for callback in waiting:
                callback()
        self._is_waking = False


class InboundQuota:
    """Bytes of unfinished frames of one peer by stream; `resume` is called when others give way.

    Of one peer the stream that began first may always go on. Once the shared quota is used up, so
    may the stream that began first of all, and every peer that holds no more than `share` bytes:
    small frames pass whatever others leave unfinished.
    """

    def __init__(
        self, maximum: int, share: int, shared: SharedQuota, resume: Callable[[], None]
    ) -> None:
        self._maximum = maximum
        self._share = share
        self._shared = shared
        self._resume = resume
        self._held: dict[int, int] = {}
        self._total = 0

    def has_room(self, stream: int, size: int) -> bool:
        """Return True if `stream` may hold `size` more bytes; else wait where others hold them."""
        total = self._total + size
        is_oldest = next(iter(self._held), stream) == stream
        # TR-029
        if not is_oldest and total > self._maximum:
            return False
        shared = self._shared
        if total <= self._share or shared.is_oldest((self, stream)) or shared.has_room(size):
            return True
        shared.wait(self._resume)
        return False

    def hold(self, stream: int, size: int) -> bool:
        """Record the bytes that `stream` holds; return True if they are fewer than before."""
        before = self._held.get(stream, 0)
        self._total += size - before
        if size:
            self._held[stream] = size
        else:
            self._held.pop(stream, None)
        self._shared.note_holder((self, stream), size)
        self._shared.change(size - before)
        return size < before


class OutboundQuota:
    """Bytes made for one peer that have not left; `resume` is called when others give way.

    A peer may always have one message, whatever its size and whatever others have, so that none
    waits for a peer that never reads.
    """

    def __init__(self, maximum: int, shared: SharedQuota, resume: Callable[[], None]) -> None:
        self.used = 0
        self._maximum = maximum
        self._shared = shared
        self._resume = resume
        self._is_closed = False

    def has_room(self, size: int) -> bool:
        """Return True if `size` more bytes may be made; else wait where others hold them."""
        if not self.used:
            return True
        if self.used + size > self._maximum:
            return False
        if self._shared.has_room(size):
            return True
        self._shared.wait(self._resume)
        return False

    def change(self, by: int) -> None:
        """Add `by` to the bytes in use; a negative number frees bytes."""
        if self._is_closed:
            return
        self.used += by
        self._shared.change(by)

    def close(self) -> None:
        """Free all bytes, permanently."""
        self._shared.stop_waiting(self._resume)
        self.change(-self.used)
        self._is_closed = True
