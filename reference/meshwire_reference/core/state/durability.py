"""Durable before visible: effects wait for the write that they depend on.

Theory of operation. Every change set gets a write number. An effect that shows the change to a
peer names it in `after`. Until `Durable(n)` with an `n` at least that high arrives, the effect is
held, and with it every later effect of its connection, so that a peer sees them in the order in
which they were decided. Giving back credit shows nothing and never waits.
"""

from collections import deque

from meshwire_reference.core.effects import ConnectionEffect, Consumed, Deferred, WriteNumber


class Durability:
    """Write numbers, and the effects that wait for them."""

    def __init__(self) -> None:
        self._last: WriteNumber = 0
        self._durable: WriteNumber = 0
        self._by_key: dict[str, WriteNumber] = {}
        self._held: dict[int, deque[ConnectionEffect]] = {}

    def __len__(self) -> int:
        """Return how many connections have effects that wait for a write."""
        return len(self._held)

    def begin_write(self, key: str) -> WriteNumber:
        """Return the number of a new write for a key."""
        self._last += 1
        # In the order of their last write, so that the durable ones come first.
        self._by_key.pop(key, None)
        self._by_key[key] = self._last
        return self._last

    def pending(self, key: str) -> WriteNumber | None:
        """Return the last write of a key, or None if all its writes are durable."""
        return self._by_key.get(key)

    @property
    def newest(self) -> WriteNumber | None:
        """Number of the last write, None if every write is durable."""
        return self._last if self._last > self._durable else None

    def admit(self, effect: ConnectionEffect) -> bool:
        """Return True if an effect may be carried out now; otherwise hold it."""
        if isinstance(effect, Consumed | Deferred):
            return True
        held = self._held.get(effect.connection)
        if held is None:
            if self._is_durable(effect):
                return True
            held = self._held[effect.connection] = deque()
        held.append(effect)
        return False

    def note_durable(self, number: WriteNumber) -> list[ConnectionEffect]:
        """Record writes up to `number` as durable; return the effects held for them."""
        self._durable = max(self._durable, number)
        while self._by_key:
            oldest = next(iter(self._by_key))
            if self._by_key[oldest] > self._durable:
                break
            del self._by_key[oldest]
        freed: list[ConnectionEffect] = []
        for connection, held in list(self._held.items()):
            while held and self._is_durable(held[0]):
                freed.append(held.popleft())
            if not held:
                del self._held[connection]
        return freed

    def lose(self) -> None:
        """Forget every write that is not durable, and the effects that wait for them."""
        self._durable = self._last
        self._by_key.clear()
        self._held.clear()

    def drop(self, connection: int) -> None:
        """Discard the effects held for a closed connection."""
        self._held.pop(connection, None)

    def _is_durable(self, effect: ConnectionEffect) -> bool:
        return effect.after is None or effect.after <= self._durable
