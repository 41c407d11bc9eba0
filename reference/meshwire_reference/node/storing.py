"""The node's side of its store: writes in groups, and the stored bytes of documents.

Whatever has been asked for while the store was at work goes to it as the next group, so a node with
much to write reaches the disk as often as the disk allows, and no more often.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Final

from meshwire_reference.core.effects import WriteStore
from meshwire_reference.store.base import Contents, Store, StoreError

BEHIND_BYTES: Final = 32 * 2**20
"""Bytes that are not durable yet, beyond which the node makes no more changes."""


def size_of(effect: WriteStore) -> int:
    """Return how many bytes of a document a write has."""
    write = effect.write
    return 0 if write is None else len(write.snapshot or b"") + len(write.changes)


class Storing:
    """The writes that are not durable yet, and the keys that the store has or is about to have.

    `on_durable` is called with the number of the last write of each group, `on_failure` once: the
    writes from that group on are lost, and none is made any more.
    """

    def __init__(
        self,
        store: Store,
        on_durable: Callable[[int], None],
        on_failure: Callable[[StoreError], None],
    ) -> None:
        self._store = store
        self._on_durable = on_durable
        self._on_failure = on_failure
        self._waiting: deque[WriteStore] = deque()
        self._unwritten: Counter[str] = Counter()
        self._unwritten_bytes = 0
        self._keys: set[str] = set()
        self._is_asked = asyncio.Event()
        self._is_written = asyncio.Condition()

    async def open(self) -> Contents:
        """Open the store and return what it holds. Raises StoreError."""
        contents = await self._store.open()
        self._keys = set(contents.sizes)
        return contents

    @property
    def is_behind(self) -> bool:
        """True while the node has to wait for the store before it changes more documents."""
        return self._unwritten_bytes > BEHIND_BYTES

    def add(self, effect: WriteStore) -> None:
        """Queue a write."""
        self._waiting.append(effect)
        self._unwritten[effect.key] += 1
        self._unwritten_bytes += size_of(effect)
        if effect.write is None:
            self._keys.discard(effect.key)
        else:
            self._keys.add(effect.key)
        self._is_asked.set()

    async def run(self) -> None:
        """Write until a write fails."""
        while True:
            await self._is_asked.wait()
            self._is_asked.clear()
            group = list(self._waiting)
            self._waiting.clear()
            if not group:
                continue
            try:
                await self._store.write(group)
            except StoreError as exc:
                self._on_failure(exc)
                return
            self._unwritten.subtract(effect.key for effect in group)
            # What is zero is taken out.
            self._unwritten = +self._unwritten
            self._unwritten_bytes -= sum(map(size_of, group))
            self._on_durable(group[-1].number)
            async with self._is_written:
                self._is_written.notify_all()

    async def drain(self) -> None:
        """Wait until every write is durable."""
        async with self._is_written:
            await self._is_written.wait_for(lambda: not self._unwritten)

    async def load(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the bytes of each document, every write included that was added before.

        Raises StoreError.
        """
        if any(self._unwritten[key] for key in keys if key in self._unwritten):
            await self.drain()
        # Whatever the store has not been given it need not be asked for.
        known = [key for key in keys if key in self._keys]
        if not known:
            return [None] * len(keys)
        found = dict(zip(known, await self._store.load(known), strict=True))
        for key, content in found.items():
            if content is None:
                raise StoreError(f"the store has lost the document {key}")
        return [found.get(key) for key in keys]

    async def close(self) -> None:
        """Close the store."""
        await self._store.close()
