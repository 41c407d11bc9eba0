"""The node's side of its store: groups, reads after writes, and failures."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from meshwire_reference.core.document_calls import Write
from meshwire_reference.core.effects import WriteStore
from meshwire_reference.node.storing import BEHIND_BYTES, Storing
from meshwire_reference.store.base import Contents, Identity, StoreError

IDENTITY = Identity(b"\x01" * 16, b"\x02" * 32, b"\x03" * 32)


class SlowStore:
    """A store whose groups become durable when a test lets them."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.loads: list[tuple[str, ...]] = []
        self.documents: dict[str, bytes] = {"old:1": b"old"}
        self.gate = asyncio.Semaphore(0)
        self.fault: StoreError | None = None

    async def open(self) -> Contents:
        """Return one document."""
        return Contents(IDENTITY, {"old:1": 3})

    async def load(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return what is durable."""
        self.loads.append(tuple(keys))
        return [self.documents.get(key) for key in keys]

    async def write(self, group: Sequence[WriteStore]) -> None:
        """Wait for the test, then fail or take effect."""
        self.groups.append([effect.number for effect in group])
        await self.gate.acquire()
        if self.fault is not None:
            raise self.fault
        for effect in group:
            if effect.write is None:
                del self.documents[effect.key]
            else:
                self.documents[effect.key] = effect.write.snapshot or b""

    async def close(self) -> None:
        """Do nothing."""


class Scene:
    """A store, and what the node hears of it."""

    def __init__(self) -> None:
        self.store = SlowStore()
        self.durable: list[int] = []
        self.failures: list[StoreError] = []
        self.storing = Storing(self.store, self.durable.append, self.failures.append)

    def put(self, number: int, key: str, content: bytes | None = b"new") -> None:
        """Queue the write of a document, or its removal."""
        write = None if content is None else Write(content, b"")
        self.storing.add(WriteStore(number, key, write))


def play(scene: Callable[[Scene], Awaitable[None]]) -> None:
    """Run a scene, and end its task whatever happens."""

    async def whole() -> None:
        made = Scene()
        await made.storing.open()
        running = asyncio.create_task(made.storing.run())
        try:
            await scene(made)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(whole())


async def settle() -> None:
    """Let every task go on as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_what_comes_meanwhile_is_the_next_group() -> None:
    """And is durable with its last number."""

    async def scene(made: Scene) -> None:
        made.put(1, "a:1")
        await settle()
        made.put(2, "a:2")
        made.put(3, "a:3")
        await settle()

        assert (made.store.groups, made.durable) == ([[1]], [])

        made.store.gate.release()
        await settle()

        assert (made.store.groups, made.durable) == ([[1], [2, 3]], [1])

        made.store.gate.release()
        await settle()

        assert made.durable == [1, 3]

    play(scene)


def test_a_read_sees_every_write_before_it() -> None:
    """It waits for those of its key, and for no other key."""

    async def scene(made: Scene) -> None:
        made.put(1, "a:1")
        await settle()
        reading = asyncio.ensure_future(made.storing.load(("a:1",)))
        await settle()

        assert not reading.done()
        assert await made.storing.load(("old:1",)) == [b"old"]

        made.store.gate.release()

        assert await reading == [b"new"]

    play(scene)


def test_a_removed_document_is_absent_at_once() -> None:
    """The read waits for the removal, and does not ask the store."""

    async def scene(made: Scene) -> None:
        made.put(1, "old:1", None)
        made.store.gate.release()

        assert await made.storing.load(("old:1", "never:1")) == [None, None]
        assert made.store.loads == []

    play(scene)


def test_a_document_that_is_gone_is_no_absence() -> None:
    """D-60: the store has to have what it was given."""

    async def scene(made: Scene) -> None:
        made.store.documents.clear()
        with pytest.raises(StoreError):
            await made.storing.load(("old:1",))

    play(scene)


def test_nothing_is_durable_after_a_failure() -> None:
    """No later group is tried, since it may build on the one that failed."""

    async def scene(made: Scene) -> None:
        made.put(1, "a:1")
        await settle()
        made.put(2, "a:2")
        made.store.fault = StoreError("disk full")
        made.store.gate.release()
        await settle()

        assert (made.durable, made.store.groups) == ([], [[1]])
        assert made.failures == [made.store.fault]

    play(scene)


def test_a_store_that_is_slow_holds_the_node_up() -> None:
    """Until it has caught up."""

    async def scene(made: Scene) -> None:
        made.put(1, "a:1", bytes(BEHIND_BYTES))

        assert not made.storing.is_behind

        made.put(2, "a:1", bytes(1))

        assert made.storing.is_behind

        made.store.gate.release()
        await settle()

        assert not made.storing.is_behind

    play(scene)
