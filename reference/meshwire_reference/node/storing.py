"""The node's side of its store: writes in groups, and the stored bytes of documents.

Whatever has been asked for while the store was at work goes to it as the next group, so a node with
much to write reaches the disk as often as the disk allows, and no more often.

When a write fails, it is lost with all that follow it, which may build on it. The node goes back to
what is stored and serves that, and changes nothing until the store can be written again.
"""

import asyncio
import secrets
from collections import Counter, deque
from collections.abc import Sequence
from typing import Final, Protocol

from meshwire_reference.core.effects import WriteNumber, WriteStore
from meshwire_reference.core.inputs import StoreFailed
from meshwire_reference.node.config import Config
from meshwire_reference.store.base import Contents, Store, StoreError
from meshwire_reference.store.memory import MemoryStore
from meshwire_reference.store.sqlite import SqliteStore

RETRY_S: Final = 5.0
"""Seconds after which a store that has failed is tried again."""
BEHIND_BYTES: Final = 32 * 2**20
"""Bytes that are not durable yet, beyond which the node makes no more changes."""


def store_of(config: Config) -> Store:
    """Return the store of a node: durable in its folder, or in memory without one."""
    if config.data is None:
        return MemoryStore()
    return SqliteStore(config.data, secrets.token_bytes)


def size_of(effect: WriteStore) -> int:
    """Return how many bytes of a document a write has."""
    write = effect.write
    return 0 if write is None else len(write.snapshot or b"") + len(write.changes)


class StoreListener(Protocol):
    """Hears what becomes of the writes of a node."""

    def note_durable(self, number: WriteNumber) -> None:
        """Take note that every write up to this number is durable."""

    def note_failure(self, exc: StoreError, lost: StoreFailed) -> None:
        """Take note that the writes that were not durable are lost; no further one is made."""

    def note_recovery(self) -> None:
        """Take note that writes are made again."""

    def note_end(self, exc: StoreError) -> None:
        """Take note that the store can neither be written nor read: the node has to end."""


class Storing:
    """The writes that are not durable yet, and the keys that the store has or is about to have."""

    def __init__(self, store: Store, listener: StoreListener, retry_s: float = RETRY_S) -> None:
        self._store = store
        self._listener = listener
        self._retry_s = retry_s
        self._waiting: deque[WriteStore] = deque()
        self._expired: list[str] = []
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

    def drop_tombstones(self, keys: Sequence[str]) -> None:
        """Queue the removal of tombstones that have expired; nobody waits for it."""
        self._expired += keys
        self._is_asked.set()

    async def run(self) -> None:
        """Write; after a failure try again until it is possible, or the store cannot be read."""
        while True:
            await self._is_asked.wait()
            self._is_asked.clear()
            group = list(self._waiting)
            self._waiting.clear()
            expired, self._expired = self._expired, []
            if not group and not expired:
                continue
            try:
                await self._store.write(group, expired)
            except StoreError as exc:
                try:
                    self._expired = expired + self._expired
                    await self._lose(exc, group)
                except StoreError as unreadable:
                    self._listener.note_end(unreadable)
                    return
                await self._recover()
                continue
            if group:
                self._settle(group)
                self._listener.note_durable(group[-1].number)
                await self._tell()

    def _settle(self, group: Sequence[WriteStore]) -> None:
        """Count writes that are over."""
        self._unwritten.subtract(effect.key for effect in group)
        # What is zero is taken out.
        self._unwritten = +self._unwritten
        self._unwritten_bytes -= sum(map(size_of, group))

    async def _tell(self) -> None:
        async with self._is_written:
            self._is_written.notify_all()

    async def _lose(self, exc: StoreError, group: Sequence[WriteStore]) -> None:
        """Give up every write that is not durable. Raises StoreError if the store is unreadable."""
        lost = list(group)
        while True:
            keys = frozenset(effect.key for effect in lost)
            found = await self._store.find(keys)
            if not self._waiting:
                break
            # These were added meanwhile, and may build on the lost ones.
            lost += self._waiting
            self._waiting.clear()
        self._settle(lost)
        self._keys -= keys
        self._keys |= found.sizes.keys()
        self._listener.note_failure(exc, StoreFailed(keys, found.sizes, found.tombstones))
        await self._tell()

    async def _recover(self) -> None:
        """Return once the store can be written again."""
        while True:
            await asyncio.sleep(self._retry_s)
            try:
                await self._store.write(())
            except StoreError:
                continue
            self._listener.note_recovery()
            return

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
