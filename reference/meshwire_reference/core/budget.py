"""How many bytes of unfinished frames one peer may have lying here."""


class Budget:
    """Bytes held by stream; the one that began first may always go on, so that none starves."""

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._held: dict[int, int] = {}
        self._total = 0

    def has_room(self, stream: int, size: int) -> bool:
        """Say whether a stream may take so many bytes more."""
        first = next(iter(self._held), stream)
        return stream == first or self._total + size <= self._maximum

    def hold(self, stream: int, size: int) -> bool:
        """Note what a stream holds now; say whether that is less than before."""
        before = self._held.get(stream, 0)
        self._total += size - before
        if size:
            self._held[stream] = size
        else:
            self._held.pop(stream, None)
        return size < before
