"""The asyncio driver over the memory transport, with the real document worker."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

import pytest

from meshwire_reference.core.document_calls import Call, Drop, Edit, Edited, Fields, Listed, Value
from meshwire_reference.core.effects import Effect, Notify, NotSent, WriteStore
from meshwire_reference.core.inputs import (
    ConnectionClosed,
    ConnectionInput,
    ConnectionOpened,
    Durable,
    Input,
    StreamData,
)
from meshwire_reference.core.settings import Dialect, Moment, Settings
from meshwire_reference.documents.limits import (
    LimitNotSet,
    NoWorker,
    PendingDropped,
    WorkerDied,
    WorkerEvent,
)
from meshwire_reference.node.config import Config
from meshwire_reference.node.driver import Node
from meshwire_reference.node.storing import Storing
from meshwire_reference.store.memory import MemoryStore
from meshwire_reference.store.sqlite import SqliteStore
from meshwire_reference.testing.author import author, read, snapshot
from meshwire_reference.testing.memory_transport import offer_memory
from meshwire_reference.testing.peer import Peer
from meshwire_reference.transport.base import (
    ConnectionGone,
    TransportOptions,
    Windows,
)
from meshwire_reference.transport.lab.link import LabLink
from meshwire_reference.transport.registry import dial
from meshwire_reference.wire.batches import StreamFrame, encode_stream_frame
from meshwire_reference.wire.tombstones import Tombstone, encode_tombstone
from meshwire_spec.numbers import LAB_MAX_STREAMS, REASONS, Direction, FrameType

pytestmark = pytest.mark.process

offer_memory()

ADDRESS = "memory://node"
LIMIT_S = 600
"""Seconds after which a test hangs; nothing takes as long."""
KEY = "beacons:b1"


def run(test: Callable[[Node], Awaitable[None]], settings: Settings | None = None) -> None:
    """Run a test against a node, and end the node whatever happens."""

    async def whole() -> None:
        node = Node(Config((ADDRESS,), settings or Settings(Dialect.OPEN, heartbeat_s=0)))
        try:
            async with asyncio.timeout(LIMIT_S):
                await node.start()
                await test(node)
        finally:
            await node.close()

    asyncio.run(whole())


async def join(number: int = 2, windows: Windows | None = None) -> Peer:
    """Dial the node."""
    options = TransportOptions(bytes((number,)) * 32, windows=windows or Windows())
    return Peer(await dial(ADDRESS, options))


def test_a_snapshot_is_merged_read_and_passed_on() -> None:
    """From one peer through the worker to another."""

    async def test(_node: Node) -> None:
        one, other = await join(2), await join(3)
        assert await one.ask(KEY) == {}
        await one.send(snapshot(KEY))
        assert await one.ask(KEY) == {"by": 7}
        await other.until(lambda: any(frame.key == KEY for frame in other.frames))
        await one.leave()
        await other.leave()

    run(test)


def test_a_late_peer_is_offered_everything() -> None:
    """However many documents, in batches."""

    async def test(_node: Node) -> None:
        one = await join(2)
        frames = [snapshot(f"notes:{number}") for number in range(60)]
        await one.send(*frames)
        late = await join(3)
        await late.until(lambda: len(late.frames) == 3)
        assert {frame.type for frame in late.frames} == {FrameType.BATCH}
        await one.leave()
        await late.leave()

    run(test)


def test_hostile_bytes_cost_one_stream() -> None:
    """A second peer is answered meanwhile, and the document is as it was."""

    async def test(node: Node) -> None:
        one, other = await join(2), await join(3)
        await one.send(snapshot(KEY))
        probes = b"\x42\x00\x00\x01\x00\x08\x01\x0a\xff\xff\xff\xff\x0f\x00\x00\x00\x02\x01\x02"
        stream = await one.send(StreamFrame(KEY, FrameType.DELTA, probes))
        assert one.ended[stream] in (
            REASONS["document-limit"].code,
            REASONS["bad-document"].code,
        )
        assert await other.ask(KEY) == {"by": 7}
        assert node.statistics.refused.total() == 1
        await one.leave()
        await other.leave()

    run(test)


def test_what_came_before_a_deadline_is_in_time_for_a_node_that_is_late() -> None:
    """The clock has gone on while the node did not run: it first takes what waits for it."""
    settings = Settings(Dialect.OPEN, heartbeat_s=0, frame_stall_s=1.0)

    async def test(_node: Node) -> None:
        peer = await join()
        data = encode_stream_frame(snapshot(KEY))
        stream = await peer.connection.open(bidi=True)
        await peer.connection.send(stream, data[:-1])
        # An answer shows that the node has taken the bytes before, and waits for the last one.
        await peer.ask("beacons:b2")
        await peer.connection.send(stream, data[-1:], fin=True)
        # It leaves before the clock goes on.
        assert isinstance(peer.connection, LabLink)
        peer.connection.resume_writing()
        loop = asyncio.get_running_loop()
        clock = loop.time
        vars(loop)["time"] = lambda: clock() + 2 * settings.frame_stall_s
        await peer.until(lambda: stream in peer.ended)
        assert peer.ended[stream] is None
        assert await peer.ask(KEY) == {"by": 7}
        await peer.leave()

    run(test, settings)


def test_a_peer_without_credit_for_answers_holds_up_nothing() -> None:
    """TR-010: its own streams finish, and another peer is served."""

    async def test(_node: Node) -> None:
        deaf = await join(2, Windows(max_streams_bidi=0))
        for number in range(3 * LAB_MAX_STREAMS):
            await deaf.send(read(f"notes:{number}"))
        other = await join(3)
        assert await other.ask(KEY) == {}
        assert deaf.frames == []
        await deaf.leave()
        await other.leave()

    run(test)


def test_a_thousand_documents_in_one_burst_are_all_readable() -> None:
    """D-137: more answers than there is stream credit, both sides sending."""

    async def test(_node: Node) -> None:
        peer = await join(2)
        authors = [author(f"notes:{number}") for number in range(300)]
        streams = [
            await peer.push(StreamFrame(one.key, FrameType.DELTA, one.delta() or b""))
            for one in authors
        ]
        await peer.until(lambda: all(stream in peer.ended for stream in streams))
        assert await peer.ask("notes:299") == {"by": 7}
        await peer.leave()

    run(test)


def test_two_nodes_bring_each_other_together() -> None:
    """A node that dialled is a peer like any other."""

    async def test(node: Node) -> None:
        second = Node(Config(("memory://second",), Settings(Dialect.OPEN, heartbeat_s=0)))
        await second.start()
        try:
            peer = await join(2)
            await peer.send(snapshot("notes:n1", 3), snapshot("beacons:b1", 3))
            second.attach(await dial(ADDRESS, TransportOptions(b"\x05" * 32)))
            there = Peer(await dial("memory://second", TransportOptions(b"\x06" * 32)))
            keys = {"notes:n1": 3, "beacons:b1": 3}
            for key, actor in keys.items():
                await there.until(lambda key=key: mentions(there, key))  # type: ignore[misc]
                assert await there.ask(key) == {"by": actor}
            await there.leave()
            await peer.leave()
        finally:
            await second.close()
        assert len(node._links) <= 1

    run(test)


def mentions(peer: Peer, key: str) -> bool:
    """Say whether a peer has been sent a document in any way."""
    return any(key.encode() in encode_stream_frame(frame) for frame in peer.frames)


def test_exchanges_go_on_after_the_worker_has_died(capsys: pytest.CaptureFixture[str]) -> None:
    """Each starts afresh with its next message, from any peer; the death is logged."""
    key = "notes:n1"
    mine, theirs = author(key, 5), author(key, 6, other=6)

    async def test(node: Node) -> None:
        one, other = await join(2), await join(3)
        await one.send(StreamFrame(key, FrameType.DELTA, mine.delta() or b""))
        assert node._documents is not None
        worker = node._documents._worker
        assert worker is not None
        os.kill(worker.pid, signal.SIGKILL)
        await other.send(StreamFrame(key, FrameType.DELTA, theirs.delta() or b""))
        mine.edit(more=5)
        await one.send(StreamFrame(key, FrameType.DELTA, mine.delta() or b""))
        taken = 0
        while mine.fields != {"by": 5, "more": 5, "other": 6}:
            await one.until(lambda: len(one.frames) > taken)  # noqa: B023 - awaited at once
            answer = mine.receive(one.frames[taken].payload)
            taken += 1
            if answer is not None:
                await one.send(StreamFrame(key, FrameType.DELTA, answer))
        assert await other.ask(key) == mine.fields
        await one.leave()
        await other.leave()

    run(test)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    deaths = [line for line in lines if line["event"] == "worker-died"]

    assert [line["reason"] for line in deaths] == ["SIGKILL"]


def test_a_call_at_a_death_waits_for_the_write_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker dies at an edit of a document whose last change no disk has yet: both are kept."""
    is_writing, may_write = asyncio.Event(), asyncio.Event()
    is_sent, is_loading = asyncio.Event(), asyncio.Event()
    write, load = MemoryStore.write, Storing.load

    async def write_late(
        store: MemoryStore, group: Sequence[WriteStore], expired: Sequence[str] = ()
    ) -> None:
        is_writing.set()
        await may_write.wait()
        await write(store, group, expired)

    async def note_load(storing: Storing, keys: Sequence[str]) -> list[bytes | None]:
        is_loading.set()
        return await load(storing, keys)

    monkeypatch.setattr(MemoryStore, "write", write_late)
    monkeypatch.setattr(Storing, "load", note_load)

    async def test(node: Node) -> None:
        first = asyncio.create_task(node.user.operate(Edit(KEY, {"first": 1})))
        await is_writing.wait()
        assert node._documents is not None
        worker = node._documents._worker
        assert worker is not None
        send = worker.send

        def note_send(number: int, calls: Sequence[tuple[Call, bytes | None]]) -> None:
            send(number, calls)
            is_sent.set()

        monkeypatch.setattr(worker, "send", note_send)
        is_loading.clear()
        # It takes the second edit, and does not get to it.
        os.kill(worker.pid, signal.SIGSTOP)
        second = asyncio.create_task(node.user.operate(Edit(KEY, {"second": 2})))
        await is_sent.wait()
        os.kill(worker.pid, signal.SIGKILL)
        await is_loading.wait()
        assert not first.done()
        may_write.set()

        for edit in (first, second):
            assert isinstance(await edit, Edited)
        for _ in ("as the worker holds it", "as it is stored"):
            listed = await node.user.operate(Fields(KEY))
            assert isinstance(listed, Listed)
            assert listed.fields == {"first": Value("int", 1), "second": Value("int", 2)}
            await node._documents.submit(Drop(KEY))

    run(test)


@pytest.mark.parametrize(
    ("event", "name"),
    [
        (WorkerDied("stuck", "merge", KEY, 3, alone=True, detail="why"), "worker-died"),
        (LimitNotSet("RLIMIT_AS", "why"), "limit-not-set"),
        (NoWorker("why", 0.1), "no-worker"),
        (PendingDropped("notes:1", "limit", 2), "pending-dropped"),
    ],
)
def test_every_event_of_a_worker_is_logged(
    event: WorkerEvent, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With all that it says."""
    node = Node(Config((ADDRESS,), Settings(Dialect.OPEN)))
    node._note_worker_event(event)
    line = json.loads(capsys.readouterr().err)

    assert line.pop("at_ms") > 0
    assert line == {"event": name, **asdict(event)}


def test_a_document_that_is_not_sent_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    """With its key and the reason."""
    node = Node(Config((ADDRESS,), Settings(Dialect.OPEN)))
    node.notify(Notify(NotSent(KEY, "document-limit", "ab", 3)))
    line = json.loads(capsys.readouterr().err)

    assert (line["event"], line["key"], line["reason"]) == ("not-sent", KEY, "document-limit")


@pytest.mark.parametrize("kind", [ConnectionOpened, StreamData])
def test_a_mistake_of_the_core_closes_one_connection(
    kind: type, capsys: pytest.CaptureFixture[str]
) -> None:
    """With `internal` and a line in the log; the node serves its other peers."""

    async def test(node: Node) -> None:
        other = await join(3)
        await other.send(snapshot(KEY))
        fail_once(node, kind, connection=2)
        one = await join(2)
        await one.push(read(KEY))
        await one._reading

        assert one.closed == ConnectionClosed(REASONS["internal"].code, "internal", by_peer=True)
        assert await other.ask(KEY) == {"by": 7}
        assert list(node._links) == [1]
        await other.leave()

    run(test)
    (line,) = failures(capsys)

    assert (line["at"], line["connection"]) == (kind.__name__, 2)
    assert line["why"] == "AssertionError: a mistake"
    assert "test_driver.py:" in str(line["where"])


def test_a_mistake_of_the_core_without_a_connection_ends_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Writing goes on, and the next report of the store includes the one that was lost."""

    async def test(node: Node) -> None:
        one = await join(2)
        failed = fail_once(node, Durable)
        await one.push(snapshot(KEY))
        await failed.wait()
        await one.send(snapshot("notes:n1"))

        assert await one.ask(KEY) == {"by": 7}
        await one.leave()

    run(test)
    (line,) = failures(capsys)

    assert (line["at"], line["connection"]) == ("Durable", None)


def test_an_effect_that_fails_closes_its_connection(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The effects after it are carried out."""

    async def test(node: Node) -> None:
        one, other = await join(2), await join(3)
        await other.send(snapshot(KEY))
        monkeypatch.setattr(node._links[1], "perform", mistake)
        await one.push(read(KEY))
        await one._reading

        assert one.closed is not None
        assert await other.ask(KEY) == {"by": 7}
        await other.leave()

    run(test)

    assert {line["connection"] for line in failures(capsys)} == {1}


def mistake(*_arguments: object) -> NoReturn:
    """Fail as code with a mistake does."""
    raise AssertionError("a mistake")


def fail_once(node: Node, kind: type, connection: int | None = None) -> asyncio.Event:
    """Make the core of a node fail at the first input or event of this kind; return when it did."""
    handle = node._core.handle
    failed = asyncio.Event()
    left = [kind]

    def failing(happened: Input, now: Moment) -> list[Effect]:
        what = happened.event if isinstance(happened, ConnectionInput) else happened
        is_wanted = connection in (None, getattr(happened, "connection", None))
        if type(what) in left and is_wanted:
            left.clear()
            failed.set()
            mistake()
        return handle(happened, now)

    node._core.handle = failing  # type: ignore[method-assign]  # a core with a mistake
    return failed


def failures(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    """Return the lines of the log about mistakes of the node."""
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    return [line for line in lines if line["event"] == "failed"]


def test_the_end_of_the_node_is_orderly() -> None:
    """Every peer receives a close with code 0, and nothing is left running."""

    async def whole() -> None:
        node = Node(Config((ADDRESS,), Settings(Dialect.OPEN, heartbeat_s=0.01)))
        async with asyncio.timeout(LIMIT_S):
            await node.start()
            peer = await join(2)
            await peer.send(snapshot(KEY))
            await node.close()
            with suppress(ConnectionGone):
                await peer._reading
        assert peer.closed is not None
        assert peer.closed.code == 0
        assert peer.closed.by_peer
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(whole())


def stored_node(data: Path) -> Node:
    """Return a node on a folder."""
    return Node(Config((ADDRESS,), Settings(Dialect.OPEN, heartbeat_s=0), data=data))


async def use(node: Node, work: Callable[[Peer], Awaitable[None]]) -> None:
    """Start a node, let a peer work with it, and end it whatever happens."""
    try:
        async with asyncio.timeout(LIMIT_S):
            await node.start()
            peer = await join(2)
            await work(peer)
            await peer.leave()
    finally:
        await node.close()


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
        await use(stored_node(tmp_path), before)
        await use(stored_node(tmp_path), after)

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
            await use(stored_node(tmp_path), work)

    asyncio.run(whole())


def test_a_store_that_fails_leaves_a_node_that_serves_what_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is acknowledged meanwhile, and everything once it can be stored again."""
    node = stored_node(tmp_path)
    commit = SqliteStore._commit
    is_full = True

    def fail(store: SqliteStore, group: Sequence[WriteStore], expired: Sequence[str]) -> None:
        if is_full:
            raise sqlite3.OperationalError("database or disk is full")
        commit(store, group, expired)

    async def work(first: Peer) -> None:
        nonlocal is_full
        await first.send(snapshot(KEY))
        monkeypatch.setattr(SqliteStore, "_commit", fail)
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
        is_full = False
        await second._reading
        third = await join(4)
        await third.send(snapshot("notes:n1"))
        assert await third.ask("notes:n1") == {"by": 7}
        await third.leave()

    async def whole() -> None:
        monkeypatch.setattr(node._storing, "_retry_s", 0.001)
        try:
            async with asyncio.timeout(LIMIT_S):
                await node.start()
                await work(await join(2))
        finally:
            await node.close()

    asyncio.run(whole())
    names = [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()]

    assert [name for name in names if name.startswith("store-")] == [
        "store-failed",
        "store-recovered",
    ]
    assert node.store_failure is None


def tombstone_frame(key: str) -> StreamFrame:
    """Return the frame with a tombstone of this moment."""
    collection, _, document_id = key.partition(":")
    now_ms = time.time_ns() // 1_000_000
    tombstone = Tombstone(
        collection, document_id, now_ms, 0x0102, "peer", "", Direction.BIDIRECTIONAL
    )
    return StreamFrame(f"tombstones:{key}", FrameType.TOMBSTONE, encode_tombstone(tombstone))


def test_an_address_that_cannot_be_bound_leaves_nothing_behind() -> None:
    """The worker that was started before is ended too."""

    async def whole() -> None:
        node = Node(Config(("tcp://no-such-host:1",), Settings(Dialect.OPEN)))
        async with asyncio.timeout(LIMIT_S):
            with pytest.raises(Exception, match="no-such-host"):
                await node.start()
            await node.close()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(whole())
