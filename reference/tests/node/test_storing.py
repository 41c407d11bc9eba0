"""The node's side of its store: groups, reads after writes, and failures."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence

import pytest

from meshwire_reference.core.document_calls import Write
from meshwire_reference.core.effects import WriteStore
from meshwire_reference.core.inputs import StoreFailed
from meshwire_reference.node.storing import BEHIND_BYTES, Storing
from meshwire_reference.store.base import Contents, Identity, StoreError
from turns import all_wait

IDENTITY = Identity(b"\x01" * 16, b"\x02" * 32, b"\x03" * 32)


class SlowStore:
    """A store whose groups become durable when a test lets them."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.expired: list[tuple[str, ...]] = []
        self.loads: list[tuple[str, ...]] = []
        self.documents: dict[str, bytes] = {"old:1": b"old"}
        self.gate = asyncio.Semaphore(0)
        self.fault: StoreError | None = None
        self.is_unreadable = False

    async def open(self) -> Contents:
        """Return one document."""
        return Contents(IDENTITY, {"old:1": 3})

    async def load(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return what is durable."""
        self.loads.append(tuple(keys))
        return [self.documents.get(key) for key in keys]

    async def write(self, group: Sequence[WriteStore], expired: Sequence[str] = ()) -> None:
        """Wait for the test, then fail or take effect."""
        self.groups.append([effect.number for effect in group])
        self.expired.append(tuple(expired))
        await self.gate.acquire()
        if self.fault is not None:
            raise self.fault
        for effect in group:
            if effect.write is None:
                del self.documents[effect.key]
            else:
                self.documents[effect.key] = effect.write.snapshot or b""

    async def find(self, keys: Collection[str]) -> Contents:
        """Return the sizes of what is durable, or fail as everything does."""
        if self.is_unreadable:
            raise StoreError("input/output error")
        sizes = {key: len(self.documents[key]) for key in keys if key in self.documents}
        return Contents(IDENTITY, sizes)

    async def close(self) -> None:
        """Do nothing."""


class Scene:
    """A store, and what the node hears of it."""

    def __init__(self) -> None:
        self.store = SlowStore()
        self.durable: list[int] = []
        self.lost: list[StoreFailed] = []
        self.recoveries = 0
        self.ends: list[StoreError] = []
        self.storing = Storing(self.store, self, retry_s=0)

    def note_durable(self, number: int) -> None:
        """Keep a number."""
        self.durable.append(number)

    def note_failure(self, _exc: StoreError, lost: StoreFailed) -> None:
        """Keep what is lost."""
        self.lost.append(lost)

    def note_recovery(self) -> None:
        """Count recoveries."""
        self.recoveries += 1

    def note_end(self, exc: StoreError) -> None:
        """Keep the reason of the end."""
        self.ends.append(exc)

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


def test_what_comes_meanwhile_is_the_next_group() -> None:
    """And is durable with its last number."""

    async def scene(made: Scene) -> None:
        made.put(1, "a:1")
        await all_wait()
        made.put(2, "a:2")
        made.put(3, "a:3")
        await all_wait()

        assert (made.store.groups, made.durable) == ([[1]], [])

        made.store.gate.release()
        await all_wait()

        assert (made.store.groups, made.durable) == ([[1], [2, 3]], [1])

        made.store.gate.release()
        await all_wait()

        assert made.durable == [1, 3]

    play(scene)


def test_a_read_sees_every_write_before_it() -> None:
    """It waits for those of its key, and for no other key."""

    async def scene(made: Scene) -> None:
        made.put(1, "a:1")
        await all_wait()
        reading = asyncio.ensure_future(made.storing.load(("a:1",)))
        await all_wait()

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


def test_a_failure_loses_what_is_not_durable() -> None:
    """What was queued meanwhile too, since it may build on the group that failed."""

    async def scene(made: Scene) -> None:
        made.put(1, "a:1")
        made.put(2, "old:1", b"newer")
        await all_wait()
        made.put(3, "a:2")
        reading = asyncio.ensure_future(made.storing.load(("old:1", "a:1")))
        made.store.fault = StoreError("disk full")
        made.store.gate.release()
        await all_wait()

        assert (made.durable, made.store.groups[0]) == ([], [1, 2])
        assert made.lost == [StoreFailed(frozenset(("a:1", "a:2", "old:1")), {"old:1": 3})]
        assert await reading == [b"old", None]
        assert made.ends == []

    play(scene)


def test_writing_goes_on_when_it_is_possible_again() -> None:
    """The store is tried with an empty group until then."""

    async def scene(made: Scene) -> None:
        made.put(1, "a:1")
        made.store.fault = StoreError("disk full")
        made.store.gate.release()
        made.store.gate.release()
        await all_wait()

        assert (made.store.groups, made.recoveries) == ([[1], [], []], 0)

        made.store.fault = None
        made.store.gate.release()
        await all_wait()
        made.put(2, "a:1")
        made.store.gate.release()
        await all_wait()

        assert (made.store.groups[-1], made.recoveries, made.durable) == ([2], 1, [2])
        assert await made.storing.load(("a:1",)) == [b"new"]

    play(scene)


def test_a_store_that_cannot_be_read_either_is_the_end() -> None:
    """The node cannot go back to what is stored."""

    async def scene(made: Scene) -> None:
        made.put(1, "a:1")
        made.store.fault = StoreError("input/output error")
        made.store.is_unreadable = True
        made.store.gate.release()
        await all_wait()

        assert (made.lost, made.durable, len(made.ends)) == ([], [], 1)

    play(scene)


def test_a_store_that_is_slow_holds_the_node_up() -> None:
    """Until it has caught up."""

    async def scene(made: Scene) -> None:
        made.put(1, "a:1", bytes(BEHIND_BYTES))

        assert not made.storing.is_behind

        made.put(2, "a:1", bytes(1))

        assert made.storing.is_behind

        made.store.gate.release()
        await all_wait()

        assert not made.storing.is_behind

    play(scene)


def test_expired_tombstones_are_removed_with_the_next_group() -> None:
    """Alone if nothing is written; and again after a failure."""

    async def scene(made: Scene) -> None:
        made.storing.drop_tombstones(("tracks:1",))
        await all_wait()
        made.store.fault = StoreError("disk full")
        made.store.gate.release()
        await all_wait()
        made.store.fault = None
        made.store.gate.release()
        await all_wait()
        made.put(1, "a:1")
        made.storing.drop_tombstones(("tracks:2",))
        made.store.gate.release()
        await all_wait()

        assert made.store.groups == [[], [], [1]]
        assert made.store.expired == [("tracks:1",), (), ("tracks:1", "tracks:2")]
        assert made.durable == [1]

    play(scene)
