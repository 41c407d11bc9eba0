"""The memory store: snapshot, appended changes, removal."""

import asyncio

from meshwire_reference.core.document_calls import Write
from meshwire_reference.core.effects import WriteStore
from meshwire_reference.store.memory import MemoryStore


def test_changes_follow_the_snapshot() -> None:
    """A document reads back as its snapshot and every change since."""

    async def run() -> None:
        store = MemoryStore()
        await store.write((WriteStore(1, "a:1", Write(b"snapshot", b"")),))
        await store.write((WriteStore(2, "a:1", Write(None, b"+1")),))
        await store.write((WriteStore(3, "a:1", Write(None, b"+2")),))

        assert await store.load(("a:1",)) == [b"snapshot+1+2"]

        await store.write((WriteStore(4, "a:1", Write(b"compact", b"")),))

        assert await store.load(("a:1",)) == [b"compact"]

    asyncio.run(run())


def test_absence_is_none() -> None:
    """A document that was never written, or was removed, is absent."""

    async def run() -> None:
        store = MemoryStore()
        await store.write((WriteStore(1, "a:1", Write(b"snapshot", b"")),))
        await store.write((WriteStore(2, "a:1", None), WriteStore(3, "a:2", None)))

        assert await store.load(("a:1", "a:2", "a:3")) == [None, None, None]

    asyncio.run(run())
