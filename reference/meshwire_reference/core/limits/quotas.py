"""Limits on the bytes that the node holds: for one peer, and for all peers together.

Theory of operation. Received bytes count from their arrival in a frame until every effect of the
frame is over; all peers share one budget of them (`InboundQuota` draws on it). Made bytes count
until they have left; each peer has a maximum of its own, and all share another budget
(`OutboundQuota`). A peer that finds a budget used up waits and is called when others give bytes
back. Each quota has an exception that needs no room, so that no peer starves because of others.
"""

from collections.abc import Callable


class SharedQuota:
    """The bytes of all peers together, and the callbacks that wait for free bytes."""

    def __init__(self, maximum: int) -> None:
        self.used = 0
        self._maximum = maximum
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


class ReceivedQuota(SharedQuota):
    """The received bytes of all peers; streams that hold some are in the order of their first."""

    def __init__(self, maximum: int) -> None:
        super().__init__(maximum)
        self._holders: dict[tuple[InboundQuota, int], None] = {}

    @property
    def oldest(self) -> tuple["InboundQuota", int] | None:
        """The quota and stream that have held bytes for the longest time."""
        return next(iter(self._holders), None)

    def note_holder(self, quota: "InboundQuota", stream: int, size: int) -> None:
        """Record how much a stream holds; with 0 it is removed, and the next may be the oldest."""
        if size:
            self._holders[quota, stream] = None
            return
        was_oldest = self.oldest == (quota, stream)
        self._holders.pop((quota, stream), None)
        if was_oldest and self.oldest is not None:
            # Its peer has to be given credit again, or its deadline begins.
            self.wait(self.oldest[0].take_precedence)


class InboundQuota:
    """Received bytes of one peer by stream; `resume` is called when others give way.

    `take_precedence` is called when a stream of this peer has become the one that held bytes first.
    Once the shared budget is used up, the stream that began first of all may go on, and every peer
    that holds no more than `share` bytes: small frames pass whatever others leave unfinished.
    """

    def __init__(
        self,
        share: int,
        shared: ReceivedQuota,
        resume: Callable[[], None],
        take_precedence: Callable[[], None],
    ) -> None:
        self.resume = resume
        self.take_precedence = take_precedence
        self._share = share
        self._shared = shared
        self._held: dict[int, int] = {}
        self._total = 0

    @property
    def is_exempt(self) -> bool:
        """True if a stream of this peer may go on whatever others hold."""
        oldest = self._shared.oldest
        return oldest is not None and oldest[0] is self

    def has_room(self, stream: int, size: int) -> bool:
        """Return True if `stream` may hold `size` more bytes; else wait until others hold less."""
        shared = self._shared
        # TR-029
        if self._total + size <= self._share or shared.has_room(size):
            return True
        if shared.oldest in (None, (self, stream)):
            return True
        shared.wait(self.resume)
        return False

    def hold(self, stream: int, size: int) -> None:
        """Record the bytes that `stream` holds."""
        before = self._held.get(stream, 0)
        self._total += size - before
        if size:
            self._held[stream] = size
        else:
            self._held.pop(stream, None)
        self._shared.note_holder(self, stream, size)
        self._shared.change(size - before)


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
