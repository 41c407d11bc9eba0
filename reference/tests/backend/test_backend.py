"""The backend: documents as fields, observing them, and the mesh of three through the API alone."""

from __future__ import annotations

import asyncio
import base64
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from meshwire_reference.backend import (
    Backend,
    BadAddress,
    BadFields,
    BadKey,
    CannotDelete,
    Change,
    Choices,
    Deleted,
    Document,
    Initial,
    NotConnected,
    Removed,
    Updated,
    changes,
    make_config,
)
from meshwire_reference.testing.peer import Peer
from meshwire_reference.transport.base import TransportOptions
from meshwire_reference.transport.registry import dial
from meshwire_reference.wire.batches import decode_sync_batch
from turns import all_wait

pytestmark = [pytest.mark.process, pytest.mark.socket]

LIMIT_S = 600
"""Seconds after which a test hangs; nothing takes as long."""
LISTEN = ("tcp://127.0.0.1:0",)
EXAMPLE = Path(__file__).parents[2] / "examples" / "two_nodes.py"


def run(test: Callable[[Backend], Awaitable[None]]) -> None:
    """Run a test against a backend that is offline."""

    async def whole() -> None:
        config = make_config(Choices(LISTEN, is_open=True, heartbeat_s=0))
        async with asyncio.timeout(LIMIT_S), await Backend.open(config) as backend:
            await test(backend)

    asyncio.run(whole())


def test_documents_are_written_read_found_and_removed() -> None:
    """Offline: a document without an id gets one, deleted ones are not found (D-86)."""

    async def test(backend: Backend) -> None:
        store = backend.document_store
        first = await store.upsert(Document("notes", {"size": 1, "tags": ["a"]}, "n1"))
        second = await store.upsert(Document("notes", {"size": 2}))
        other = await store.upsert(Document("cells", {"size": 3}, "c1"))

        assert await store.get("notes", "n1") == first
        assert len(second.id) == 32
        assert {one.id for one in await store.query("notes")} == {"n1", second.id}
        assert await store.query() == [other, *await store.query("notes")]
        assert await store.query("notes", lambda one: one.fields["size"] == 2) == [second]
        assert await store.count("notes") == 2
        assert await store.remove("notes", "n1")
        assert await store.remove("cells", "c1")
        assert not await store.remove("cells", "c1")
        assert await store.get("notes", "n1") is None
        assert await store.query() == [second]
        with pytest.raises(Deleted):
            await store.upsert(other)

    run(test)


def test_what_cannot_be_is_refused() -> None:
    """Each with its own error."""
    odd: dict[str, Any] = {"a": b"bytes"}

    async def test(backend: Backend) -> None:
        store = backend.document_store
        with pytest.raises(BadKey):
            await store.get("tombstones", "n1")
        with pytest.raises(BadFields):
            await store.upsert(Document("notes", {"a": float("nan")}, "n1"))
        with pytest.raises(BadFields):
            await store.upsert(Document("notes", odd, "n1"))
        for by in ("\ud800", "x" * 2**16):
            with pytest.raises(BadFields):
                await store.remove("notes", "n1", by=by)
        await store.upsert(Document("beacons", {"a": 1}, "b1"))
        with pytest.raises(CannotDelete):
            await store.remove("beacons", "b1")
        with pytest.raises(BadAddress):
            backend.peer_discovery.add_peer("http://127.0.0.1:1")
        with pytest.raises(NotConnected):
            await backend.peer_discovery.connect("tcp://127.0.0.1:1")

    run(test)


def test_an_observer_hears_what_is_there_and_every_change() -> None:
    """A document that no longer fits is removed for it."""

    async def test(backend: Backend) -> None:
        store = backend.document_store
        one = await store.upsert(Document("notes", {"size": 1}, "n1"))
        async with store.observe("notes", lambda document: document.fields["size"] != 0) as stream:
            assert await anext(stream) == Initial((one,))
            two = await store.upsert(Document("notes", {"size": 2}, "n2"))
            await store.upsert(Document("cells", {"size": 2}, "c1"))
            assert await anext(stream) == Updated(two)
            await store.upsert(Document("notes", {"size": 0}, "n2"))
            assert await anext(stream) == Removed("notes", "n2")
            await store.remove("notes", "n1")
            assert await anext(stream) == Removed("notes", "n1")

    run(test)


def test_changes_of_one_document_come_together_with_the_latest_state() -> None:
    """And nothing that a reader has seen already comes again."""

    async def test(backend: Backend) -> None:
        store = backend.document_store
        async with store.observe() as stream:
            assert await anext(stream) == Initial(())
            latest = None
            for size in range(1, 4):
                latest = await store.upsert(Document("notes", {"size": size}, "n1"))
            assert latest is not None
            assert await anext(stream) == Updated(latest)
            await store.upsert(latest)
            other = await store.upsert(Document("notes", {"size": 9}, "n2"))
            assert await anext(stream) == Updated(other)

    run(test)


def test_a_reader_that_is_cancelled_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """While documents are read; the event comes at the next call: the first one, and later ones."""

    async def test(backend: Backend) -> None:
        store = backend.document_store
        one = await store.upsert(Document("notes", {"size": 1}, "n1"))
        async with store.observe() as stream:

            async def cancel(call: str) -> None:
                asked = asyncio.Event()

                async def hold(*_: str) -> None:
                    asked.set()
                    await asyncio.Event().wait()

                with monkeypatch.context() as during:
                    during.setattr(stream, call, hold)
                    reading = asyncio.ensure_future(anext(stream))
                    await asked.wait()
                    reading.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await reading

            await cancel("_query")
            assert await anext(stream) == Initial((one,))
            two = await store.upsert(Document("notes", {"size": 2}, "n2"))
            await cancel("_read")
            assert await anext(stream) == Updated(two)

    run(test)


def test_a_change_while_documents_are_read_is_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read is from before it: at the first event, and at that of one document."""

    async def test(backend: Backend) -> None:
        store = backend.document_store

        async def put(name: str, size: int) -> Document:
            return await store.upsert(Document("notes", {"size": size}, name))

        async with store.observe() as stream:

            async def change_during(call: str, size: int) -> Change:
                right = getattr(stream, call)

                async def read(*arguments: str) -> object:
                    found = await right(*arguments)
                    await put("n1", size)
                    return found

                with monkeypatch.context() as during:
                    during.setattr(stream, call, read)
                    return await anext(stream)

            assert await change_during("_query", 1) == Initial(())
            await put("n2", 1)
            assert await anext(stream) == Updated(Document("notes", {"size": 1}, "n1"))
            assert await anext(stream) == Updated(Document("notes", {"size": 1}, "n2"))
            before = await put("n1", 2)
            assert await change_during("_read", 3) == Updated(before)
            await put("n2", 2)
            assert await anext(stream) == Updated(Document("notes", {"size": 3}, "n1"))

    run(test)


def test_a_reader_far_behind_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets another Initial, with everything that is there now."""
    monkeypatch.setattr(changes, "BEHIND_MAX", 3)

    async def test(backend: Backend) -> None:
        store = backend.document_store
        async with store.observe() as stream:
            assert await anext(stream) == Initial(())
            for number in range(4):
                await store.upsert(Document("notes", {"size": number}, f"n{number}"))
            assert await anext(stream) == Initial(tuple(await store.query()))
            last = await store.upsert(Document("notes", {"size": 9}, "n9"))
            assert await anext(stream) == Updated(last)

    run(test)


def test_a_stream_ends_with_the_backend() -> None:
    """The reader sees the end."""

    async def test(backend: Backend) -> None:
        stream = backend.document_store.observe()
        assert await anext(stream) == Initial(())
        reading = asyncio.ensure_future(anext(stream))
        await all_wait()
        assert not reading.done()
        await backend.close()
        with pytest.raises(StopAsyncIteration):
            await reading

    run(test)


async def present(backend: Backend, collection: str, document_id: str) -> Document:
    """Wait until a document can be read."""
    async with backend.document_store.observe(collection) as stream:
        async for _ in stream:
            found = await backend.document_store.get(collection, document_id)
            if found is not None:
                return found
    raise AssertionError("the stream has ended")


def test_a_mesh_of_three_through_the_api(tmp_path: Path) -> None:
    """Items T-021 to T-029 of the acceptance list: all documents are in full on all three."""
    secret = tmp_path / "secret.txt"
    secret.write_text(base64.b64encode(b"\x42" * 32).decode())
    secret.chmod(0o600)

    def choices(number: int) -> Choices:
        data = tmp_path / f"data-{number}"
        return Choices(LISTEN, formation_id="three-node-mesh", secret_file=secret, data=data)

    async def whole() -> None:
        async with asyncio.timeout(LIMIT_S), AsyncExitStack() as stack:
            nodes = [
                await stack.enter_async_context(await Backend.open(make_config(choices(number))))
                for number in (1, 2, 3)
            ]
            for node in nodes:
                await node.sync_engine.start_sync()
                assert node.sync_engine.is_syncing
                assert not node.sync_engine.subscribe("mesh_test").limits_peers
            await dial_all(nodes)
            for number, node in enumerate(nodes, 1):
                fields = {"source": f"node{number}", "test_id": "3node-mesh-test", "value": number}
                name = f"mesh-test-doc-{number}"
                await node.document_store.upsert(Document("mesh_test", fields, name))
                found = await asyncio.gather(*(present(one, "mesh_test", name) for one in nodes))
                assert [one.fields for one in found] == [fields] * 3
            peers = [node.peer_discovery.discovered_peers() for node in nodes]
            assert sum(map(len, peers)) >= 3
            assert all(peer.is_connected for known in peers for peer in known)

    asyncio.run(whole())


async def dial_all(nodes: list[Backend]) -> None:
    """Let each node dial both others."""
    for node in nodes:
        for other in nodes:
            if other is not node:
                peer = await node.peer_discovery.connect(other.addresses[0])
                assert peer.endpoint_id == other.endpoint_id


@asynccontextmanager
async def two_online() -> AsyncIterator[tuple[Backend, Backend]]:
    """Open two nodes that sync, and do not know each other."""
    config = make_config(Choices(LISTEN, is_open=True, heartbeat_s=0, redial_s=0.01))
    async with await Backend.open(config) as one, await Backend.open(config) as other:
        await one.sync_engine.start_sync()
        await other.sync_engine.start_sync()
        yield one, other


def test_sync_can_be_stopped_and_started_again() -> None:
    """Documents stay usable meanwhile, and what was written then is exchanged afterwards."""

    async def whole() -> None:
        async with asyncio.timeout(LIMIT_S), two_online() as (one, other):
            await other.peer_discovery.connect(one.addresses[0])
            await other.sync_engine.stop_sync()
            assert not other.sync_engine.is_syncing
            await other.document_store.upsert(Document("notes", {"size": 1}, "n1"))
            await other.peer_discovery.stop()
            await other.sync_engine.start_sync()
            await other.peer_discovery.start()
            await other.peer_discovery.wait_for_peer(one.endpoint_id)
            assert (await present(one, "notes", "n1")).fields == {"size": 1}

    asyncio.run(whole())


def test_an_address_that_has_failed_before_is_waited_for() -> None:
    """Only a failure after the call ends it."""

    async def whole() -> None:
        async with asyncio.timeout(LIMIT_S), two_online() as (one, other):
            discovery, (address,) = other.peer_discovery, one.addresses
            await discovery.stop()
            discovery.add_peer(address)
            other.node.network.dials[address].failures = 1
            connecting = asyncio.ensure_future(discovery.connect(address))
            await all_wait()
            assert not connecting.done()
            await discovery.start()
            assert (await connecting).endpoint_id == one.endpoint_id

    asyncio.run(whole())


def test_a_start_that_fails_leaves_nothing_bound() -> None:
    """The first address was free; so the node can be started again later."""

    async def test(backend: Backend) -> None:
        await backend.sync_engine.start_sync()
        (in_use,) = backend.addresses
        config = make_config(Choices((*LISTEN, in_use), is_open=True, heartbeat_s=0))
        async with await Backend.open(config) as other:
            for _ in range(2):
                with pytest.raises(OSError, match="in use"):
                    await other.sync_engine.start_sync()
                assert not other.sync_engine.is_syncing
                assert other.addresses == ()

    run(test)


def test_everything_can_be_offered_again() -> None:
    """A peer that has just been offered a document is offered it once more."""

    async def test(backend: Backend) -> None:
        await backend.document_store.upsert(Document("beacons", {"size": 1}, "b1"))
        await backend.sync_engine.start_sync()
        peer = Peer(await dial(backend.addresses[0], TransportOptions(bytes(range(2, 34)))))
        await peer.until(lambda: len(peer.frames) == 1)
        await backend.sync_engine.force_sync()
        await peer.until(lambda: len(peer.frames) == 2)
        batches = [decode_sync_batch(frame.payload) for frame in peer.frames]
        assert [[entry.key for entry in batch.entries] for batch in batches] == [["beacons:b1"]] * 2
        await peer.leave()

    run(test)


def test_the_example_runs() -> None:
    """As the page shows it."""
    done = subprocess.run(
        (sys.executable, str(EXAMPLE)), capture_output=True, text=True, timeout=LIMIT_S, check=True
    )

    assert done.stdout.splitlines() == [
        "connected to True",
        "n1 {'title': 'first'}",
        "0 documents left",
    ]
