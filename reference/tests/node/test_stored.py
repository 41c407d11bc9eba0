"""A node with a store: what a restart brings back, and a disk that fails."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from meshwire_reference.core.effects import WriteStore
from meshwire_reference.node.clocks import Clock
from meshwire_reference.node.driver import Node
from meshwire_reference.store.sqlite import SqliteStore
from meshwire_reference.testing.author import author, snapshot
from meshwire_reference.testing.peer import Peer
from meshwire_reference.testing.serving import join, memory_node, run, serving
from meshwire_reference.wire.batches import StreamFrame
from meshwire_reference.wire.tombstones import Tombstone, encode_tombstone
from meshwire_spec.numbers import REASONS, Direction, FrameType

pytestmark = pytest.mark.process

KEY = "beacons:b1"


async def use(data: Path, work: Callable[[Peer], Awaitable[None]]) -> None:
    """Let a peer work with a node on a folder."""
    async with serving(memory_node(data=data)):
        peer = await join(2)
        await work(peer)
        await peer.leave()


def test_a_restart_brings_documents_and_tombstones_back(tmp_path: Path) -> None:
    """They are readable, offered to a new peer, and guard what was removed."""
    gone = "tracks:t1"
    seen: list[StreamFrame] = []

    async def before(peer: Peer) -> None:
        await peer.send(snapshot(KEY), snapshot("notes:n1", 3), snapshot(gone))
        await peer.send(tombstone_frame(gone))

    async def after(peer: Peer) -> None:
        assert await peer.ask(KEY) == {"by": 7}
        assert await peer.ask("notes:n1") == {"by": 3}
        await peer.send(snapshot(gone))
        await peer.until(lambda: any(frame.key == f"tombstones:{gone}" for frame in peer.frames))
        seen.extend(peer.frames)

    async def whole() -> None:
        await use(tmp_path, before)
        await use(tmp_path, after)

    asyncio.run(whole())
    types = {frame.type for frame in seen}

    assert {FrameType.TOMBSTONE_BATCH, FrameType.BATCH, FrameType.TOMBSTONE} <= types


def test_changes_build_on_what_was_stored(tmp_path: Path) -> None:
    """A change after a restart is appended to the document of before, in the store too."""
    one = author("notes:n1", 3)

    async def before(peer: Peer) -> None:
        await peer.send(StreamFrame(one.key, FrameType.SNAPSHOT, one.snapshot()))

    async def between(peer: Peer) -> None:
        one.edit(more=4)
        await peer.send(StreamFrame(one.key, FrameType.SNAPSHOT, one.snapshot()))

    async def after(peer: Peer) -> None:
        assert await peer.ask(one.key) == {"by": 3, "more": 4}

    async def whole() -> None:
        for work in (before, between, after):
            await use(tmp_path, work)

    asyncio.run(whole())


def fill_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Make every commit fail from now on; return the function that ends this."""
    commit = SqliteStore._commit

    def fail(_store: SqliteStore, _group: Sequence[WriteStore], _expired: Sequence[str]) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(SqliteStore, "_commit", fail)
    return lambda: monkeypatch.setattr(SqliteStore, "_commit", commit)


def test_a_store_that_fails_leaves_a_node_that_serves_what_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is acknowledged meanwhile, and everything once it can be stored again."""
    node = memory_node(data=tmp_path)
    monkeypatch.setattr(node._storing, "_retry_s", 0.001)

    async def test(_node: Node) -> None:
        first = await join(2)
        await first.send(snapshot(KEY))
        empty_disk = fill_disk(monkeypatch)
        await first.push(snapshot("notes:n1"))
        await first._reading
        assert len(first.ended) == 1
        assert first.closed is not None
        assert first.closed.code == REASONS["internal"].code
        second = await join(3)
        assert await second.ask(KEY) == {"by": 7}
        assert await second.ask("notes:n1") == {}
        stream = await second.send(snapshot("notes:n1"))
        assert second.ended[stream] == REASONS["internal"].code
        empty_disk()
        await second._reading
        third = await join(4)
        await third.send(snapshot("notes:n1"))
        assert await third.ask("notes:n1") == {"by": 7}
        await third.leave()

    run(test, node)
    names = [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()]

    assert [name for name in names if name.startswith("store-")] == [
        "store-failed",
        "store-recovered",
    ]
    assert node.store_failure is None


def tombstone_frame(key: str) -> StreamFrame:
    """Return the frame with a tombstone of this moment."""
    collection, _, document_id = key.partition(":")
    # The node holds a tombstone to its own clock, so that it has to be of this moment.
    now_ms = Clock().wall_ms()
    tombstone = Tombstone(
        collection, document_id, now_ms, 0x0102, "peer", "", Direction.BIDIRECTIONAL
    )
    return StreamFrame(f"tombstones:{key}", FrameType.TOMBSTONE, encode_tombstone(tombstone))
