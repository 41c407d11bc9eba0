"""A node whose document worker dies, and what it logs of its worker."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Sequence
from dataclasses import asdict

import pytest

from meshwire_reference.core.document_calls import Drop, Edit, Edited, Fields, Listed, Value
from meshwire_reference.core.effects import Notify, NotSent, WriteStore
from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.documents.limits import (
    LimitNotSet,
    NoWorker,
    PendingDropped,
    WorkerDied,
    WorkerEvent,
)
from meshwire_reference.node.driver import Node
from meshwire_reference.node.storing import Storing
from meshwire_reference.store.memory import MemoryStore
from meshwire_reference.testing.author import author
from meshwire_reference.testing.serving import join, memory_node, run
from meshwire_reference.wire.batches import StreamFrame
from meshwire_spec.numbers import FrameType

pytestmark = pytest.mark.process

KEY = "beacons:b1"


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


def announce(monkeypatch: pytest.MonkeyPatch, owner: object, method: str) -> asyncio.Event:
    """Return an event that each call of a method sets from now on."""
    called, whole = asyncio.Event(), getattr(owner, method)

    def call(*arguments: object) -> object:
        called.set()
        return whole(*arguments)

    monkeypatch.setattr(owner, method, call)
    return called


def hold_writes(monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Event, asyncio.Event]:
    """Make each write to memory wait; return the event of the first one, and what ends the wait."""
    is_writing, may_write = asyncio.Event(), asyncio.Event()
    write = MemoryStore.write

    async def write_late(
        store: MemoryStore, group: Sequence[WriteStore], expired: Sequence[str] = ()
    ) -> None:
        is_writing.set()
        await may_write.wait()
        await write(store, group, expired)

    monkeypatch.setattr(MemoryStore, "write", write_late)
    return is_writing, may_write


def test_a_call_at_a_death_waits_for_the_write_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker dies at an edit of a document whose last change no disk has yet: both are kept."""
    is_writing, may_write = hold_writes(monkeypatch)
    is_loading = announce(monkeypatch, Storing, "load")

    async def test(node: Node) -> None:
        first = asyncio.create_task(node.user.operate(Edit(KEY, {"first": 1})))
        await is_writing.wait()
        assert node._documents is not None
        worker = node._documents._worker
        assert worker is not None
        is_sent = announce(monkeypatch, worker, "send")
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
    node = memory_node(Settings(Dialect.OPEN))
    node._note_worker_event(event)
    line = json.loads(capsys.readouterr().err)

    assert line.pop("at_ms") > 0
    assert line == {"event": name, **asdict(event)}


def test_a_document_that_is_not_sent_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    """With its key and the reason."""
    node = memory_node(Settings(Dialect.OPEN))
    node.notify(Notify(NotSent(KEY, "document-limit", "ab", 3)))
    line = json.loads(capsys.readouterr().err)

    assert (line["event"], line["key"], line["reason"]) == ("not-sent", KEY, "document-limit")
