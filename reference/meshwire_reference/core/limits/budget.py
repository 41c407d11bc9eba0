"""How many bytes of unfinished frames may lie here: of one peer, and of all."""

from collections.abc import Callable

from meshwire_reference.core.limits.waiters import Waiters


class Pool:
    """Bytes held of all peers. Once they are too many, only little is taken of any peer.

    The stream that began first may always go on; so may every peer up to its share, so that small
    frames pass whatever others leave lying.
    """

    def __init__(self, maximum: int, share: int) -> None:
        self._maximum = maximum
        self._share = share
        self._total = 0
        self._held: dict[tuple[Budget, int], None] = {}
        self.waiters = Waiters()

    def has_room(self, where: "tuple[Budget, int]", of_peer: int, size: int) -> bool:
        """Say whether a stream of a peer that holds so much may take so many bytes more."""
        first = next(iter(self._held), where)
        is_little = of_peer + size <= self._share
        return is_little or where == first or self._total + size <= self._maximum

    def hold(self, where: "tuple[Budget, int]", size: int, before: int) -> None:
        """Note what a stream holds now and has held before."""
        self._total += size - before
        if size:
            self._held[where] = None
        else:
            self._held.pop(where, None)
        if size < before:
            self.waiters.wake()


class Budget:
    """Bytes held by stream; the one that began first may always go on, so that none starves.

    `resume` is called when others have let go of what was in the way.
    """

    def __init__(self, maximum: int, pool: Pool, resume: Callable[[], None]) -> None:
        self._maximum = maximum
        self._pool = pool
        self._resume = resume
        self._held: dict[int, int] = {}
        self._total = 0

    def has_room(self, stream: int, size: int) -> bool:
        """Say whether a stream may take so many bytes more; where others are in the way, wait."""
        first = next(iter(self._held), stream)
        if stream != first and self._total + size > self._maximum:
            return False
        if not self._pool.has_room((self, stream), self._total, size):
            self._pool.waiters.add(self._resume)
            return False
        return True

    def hold(self, stream: int, size: int) -> bool:
        """Note what a stream holds now; say whether that is less than before."""
        before = self._held.get(stream, 0)
        self._total += size - before
        if size:
            self._held[stream] = size
        else:
            self._held.pop(stream, None)
        self._pool.hold((self, stream), size, before)
        return size < before
