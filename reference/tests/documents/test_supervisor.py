"""The supervisor: answers, order, what is lost and what is not, and starts that fail."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from meshwire_reference.core.document_calls import (
    Done,
    Drop,
    Edit,
    Edited,
    Fields,
    Forget,
    Generate,
    Generated,
    Listed,
    Merge,
    Receive,
    Refused,
    Save,
    Value,
)
from meshwire_reference.documents import process
from meshwire_reference.documents.limits import (
    NoWorker,
    PendingDropped,
)
from meshwire_reference.documents.process import DocumentSettings, Unavailable, WorkerSettings
from meshwire_reference.documents.supervisor import Documents
from meshwire_reference.store.memory import MemoryStore
from meshwire_reference.testing.supervised import ACTOR, DeadlyBench

pytestmark = pytest.mark.process


class BrokenSettings(WorkerSettings):
    """Starts something that is no worker."""

    def command(self) -> list[str]:
        """Return a command that ends at once."""
        return [sys.executable, "-c", "import sys; sys.exit('no such library')"]


def test_calls_are_answered_in_order(play: Callable[..., None]) -> None:
    """Many calls of several connections under way at once, each with its own answer."""

    async def scene(bench: DeadlyBench) -> None:
        edits = [bench.ask(Edit(f"notes:{number}", {"n": number})) for number in range(80)]
        await asyncio.gather(*edits)
        reads = [bench.ask(Fields(f"notes:{number}")) for number in range(80)]
        listed = await asyncio.gather(*reads)

        assert [getattr(one, "fields", None) for one in listed] == [
            {"n": Value("int", number)} for number in range(80)
        ]
        assert bench.events.all == []

    play(scene)


def test_one_key_is_never_with_the_worker_twice(play: Callable[..., None]) -> None:
    """Edits of one key submitted together take effect one after the other."""

    async def scene(bench: DeadlyBench) -> None:
        edits = [bench.ask(Edit("notes:1", {"n": number})) for number in range(40)]
        results = await asyncio.gather(*edits)
        listed = await bench.ask(Fields("notes:1"))

        assert all(isinstance(result, Edited) and result.write for result in results)
        assert getattr(listed, "fields", None) == {"n": Value("int", 39)}

    play(scene)


def test_sync_states_are_lost_and_documents_are_not(play: Callable[..., None]) -> None:
    """After a death an exchange starts afresh, with everything; the core is informed of it."""

    async def scene(bench: DeadlyBench) -> None:
        await bench.ask(Edit("notes:1", {"a": 1}))
        first = await bench.ask(Generate("peer", "notes:1"))
        silent = await bench.ask(Generate("peer", "notes:1"))
        await bench.ask(Merge("die:x", b"", "evil"))
        after = await bench.ask(Generate("peer", "notes:1"))

        assert isinstance(silent, Generated)
        assert silent.message is None
        assert after == first
        assert len(bench.events.deaths) == 2

    play(scene)


def test_pending_changes_are_lost_with_an_event(play: Callable[..., None]) -> None:
    """With the worker, and with the document (DC-046)."""
    change = bytes.fromhex(
        "420184494758873066de69aa9f4345e4bdbf5d5eea81f4c4ed641ec6c9a158875e3d00010000014e856f4a83"
        "8449475801440187aa46c740fb8631fcb1242464b2ce4bbbf0b1329fd9a64a61d3f63d05ef4363042a2b2c2d02"
        "02000000061503340142025602570270027f0162017f017f2483067f00020102"
    )

    async def scene(bench: DeadlyBench) -> None:
        for key in ("notes:1", "notes:2"):
            await bench.ask(Receive("peer", key, change))
        await bench.ask(Drop("notes:1"))
        await bench.ask(Merge("die:x", b"", "evil"))

        losses = [event for event in bench.events.all if isinstance(event, PendingDropped)]
        assert losses == [
            PendingDropped("notes:1", "removed", 1),
            PendingDropped("notes:2", "worker-ended", 1),
        ]

    play(scene)


def test_appended_changes_are_loaded_again(play: Callable[..., None]) -> None:
    """A fresh worker has every change that the store was given."""

    async def scene(bench: DeadlyBench) -> None:
        for number in range(5):
            await bench.ask(Edit("notes:1", {f"f{number}": number}))
        await bench.ask(Merge("die:x", b"", "evil"))
        listed = await bench.ask(Fields("notes:1"))

        assert isinstance(listed, Listed)
        assert sorted(listed.fields or {}) == [f"f{number}" for number in range(5)]

    play(scene)


def test_a_document_let_go_comes_back_from_the_store(play: Callable[..., None]) -> None:
    """A document that the worker dropped is loaded again, never treated as absent."""

    async def scene(bench: DeadlyBench) -> None:
        await bench.ask(Edit("notes:1", {"a": 1}))
        await bench.ask(Drop("notes:1"))
        # As if the call had been on its way while the worker let the document go.
        bench.documents._held.add("notes:1")
        listed = await bench.ask(Fields("notes:1"))

        assert getattr(listed, "fields", None) == {"a": Value("int", 1)}

    play(scene)


def test_calls_without_a_document_pass(play: Callable[..., None]) -> None:
    """Forget is about a connection and needs no store."""

    async def scene(bench: DeadlyBench) -> None:
        assert await bench.ask(Forget("peer")) == Done()

    play(scene)


def test_an_unreadable_store_is_no_absence(play: Callable[..., None]) -> None:
    """A read error refuses the call as this node's fault (D-60)."""

    class Failing(MemoryStore):
        async def load(self, keys: Sequence[str]) -> list[bytes | None]:
            raise OSError(f"{keys}: input/output error")

    async def scene(bench: DeadlyBench) -> None:
        bench.documents._load = Failing().load

        assert await bench.ask(Save("notes:1")) == Refused("internal")

    play(scene)


def test_closing_refuses_what_is_unanswered(play: Callable[..., None]) -> None:
    """Waiting, at work or being judged: every future is done after close, and later calls too."""

    async def scene(bench: DeadlyBench) -> None:
        pending = [bench.documents.submit(Merge("stuck:x", b"", "evil")) for _ in range(3)]
        await bench.events.death.wait()
        await bench.ask(Forget("nobody"))
        pending.append(bench.documents.submit(Merge("wait:y", b"", "other")))
        await bench.documents.close()

        assert [future.result() for future in pending] == [Refused("internal")] * 4
        assert await bench.documents.submit(Save("notes:1")) == Refused("internal")

    play(scene)


def test_no_worker_says_how_to_get_one() -> None:
    """Without the library there is no start, and the error says what to install."""

    async def run() -> None:
        documents = Documents(
            MemoryStore().load, DocumentSettings(BrokenSettings(ACTOR)), lambda _event: None
        )
        try:
            with pytest.raises(Unavailable):
                await documents.start()
        finally:
            await documents.close()

    asyncio.run(run())


def test_calls_wait_while_starts_fail(play: Callable[..., None]) -> None:
    """Worker and spare are gone and three starts fail: the call is answered all the same."""

    async def scene(bench: DeadlyBench) -> None:
        await bench.ask(Edit("notes:1", {"a": 1}))
        await bench.kill_all(failures=3)
        listed = await bench.ask(Fields("notes:1"))

        assert getattr(listed, "fields", None) == {"a": Value("int", 1)}

    play(scene)


def test_no_refusal_is_for_ever(play: Callable[..., None]) -> None:
    """Starts go on failing: what waits is refused. One succeeds: every later call is answered."""

    async def scene(bench: DeadlyBench) -> None:
        await bench.ask(Edit("notes:1", {"a": 1}))
        await bench.kill_all(failures=10**6)
        calls = [bench.ask(Fields(f"notes:{number}")) for number in range(5)]

        assert await asyncio.gather(*calls) == [Refused("internal")] * 5
        assert any(isinstance(event, NoWorker) and event.reason for event in bench.events.all)
        bench.failures = 0
        listed = await bench.ask(Fields("notes:1"))
        assert getattr(listed, "fields", None) == {"a": Value("int", 1)}

    play(scene)


def test_a_refusal_leaves_a_suspect_to_its_judge(play: Callable[..., None]) -> None:
    """Waiting calls are refused while a call is tried alone; others continue afterwards."""

    async def scene(bench: DeadlyBench) -> None:
        suspect = bench.documents.submit(Merge("stuck:x", b"", "evil"))
        await bench.events.death.wait()
        await bench.ask(Forget("nobody"))
        await bench.kill_all(failures=10**6)
        others = [bench.documents.submit(Save("notes:1")) for _ in range(3)]

        assert await asyncio.gather(*others) == [Refused("internal")] * 3
        bench.failures = 0
        assert isinstance(await bench.ask(Edit("notes:1", {"a": 1})), Edited)
        await bench.documents.close()
        assert suspect.result() == Refused("internal")

    play(scene)


def test_a_worker_that_is_never_ready_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is ended, and said to be missing like one that cannot be started."""

    class SilentSettings(WorkerSettings):
        def command(self) -> list[str]:
            return [sys.executable, "-c", "import signal; signal.pause()"]

    monkeypatch.setattr(process, "START_S", 0.0)
    with pytest.raises(Unavailable, match="ready"):
        asyncio.run(process.start_worker(SilentSettings(ACTOR)))


def test_a_module_in_the_current_directory_is_not_a_worker_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A json.py that lies there is not loaded."""
    (tmp_path / "json.py").write_text("raise SystemExit('loaded')")
    (tmp_path / "automerge.py").write_text("raise SystemExit('loaded')")
    monkeypatch.chdir(tmp_path)

    async def run() -> bool:
        worker = await process.start_worker(WorkerSettings(ACTOR))
        is_alive = worker.is_alive
        await worker.close()
        return is_alive

    assert asyncio.run(run())
