"""The memory store: snapshot, appended changes, removal."""

import asyncio

from meshwire_reference.store.memory import MemoryStore


def test_changes_follow_the_snapshot() -> None:
    """A document reads back as its snapshot and every change since."""

    async def run() -> None:
        store = MemoryStore()
        await store.write("a:1", b"snapshot", b"")
        await store.write("a:1", None, b"+1")
        await store.write("a:1", None, b"+2")

        assert await store.load("a:1") == b"snapshot+1+2"

        await store.write("a:1", b"compact", b"")

        assert await store.load("a:1") == b"compact"

    asyncio.run(run())


def test_absence_is_none() -> None:
    """A document that was never written, or was removed, is absent."""

    async def run() -> None:
        store = MemoryStore()
        await store.write("a:1", b"snapshot", b"")
        await store.remove("a:1")
        await store.remove("a:2")

        assert await store.load("a:1") is None
        assert (len(store), "a:1" in store, list(store.keys())) == (0, False, [])

    asyncio.run(run())


def test_keys_come_in_order_of_writing() -> None:
    """Keys are listed as they came, also while documents are removed."""

    async def run() -> None:
        store = MemoryStore()
        for key in ("b:1", "a:1"):
            await store.write(key, b"x", b"")
        seen = []
        for key in store.keys():  # noqa: SIM118  # a store is no mapping
            seen.append(key)
            await store.remove(key)

        assert seen == ["b:1", "a:1"]

    asyncio.run(run())
