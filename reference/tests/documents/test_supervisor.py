"""The supervisor: answers, deaths, deadlines, what is lost and what is not."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from meshwire_reference.core.document_calls import (
    Call,
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
    Received,
    Refused,
    Result,
    Save,
    Value,
)
from meshwire_reference.documents import process
from meshwire_reference.documents.process import DocumentSettings, Unavailable, WorkerSettings
from meshwire_reference.documents.supervisor import Documents
from meshwire_reference.store.memory import MemoryStore
from meshwire_spec.numbers import READ_MESSAGE

pytestmark = pytest.mark.process

ACTOR = b"\x31" * 16
LIMIT = Refused("document-limit")


class DeadlySettings(WorkerSettings):
    """Starts the worker that dies by key."""

    folder = ""

    def command(self) -> list[str]:
        """Return the command line of that worker."""
        script = str(Path(__file__).with_name("deadly_worker.py"))
        return [sys.executable, script, self.folder, *super().command()[4:]]


class FailingSettings(DeadlySettings):
    """Starts something that is no worker `failures` times, then workers."""

    failures = 0

    def command(self) -> list[str]:
        """Return the command line for this start."""
        if FailingSettings.failures:
            FailingSettings.failures -= 1
            return [sys.executable, "-c", "import sys; sys.exit('not now')"]
        return super().command()


class BrokenSettings(WorkerSettings):
    """Starts something that is no worker."""

    def command(self) -> list[str]:
        """Return a command that ends at once."""
        return [sys.executable, "-c", "import sys; sys.exit('no such library')"]


@dataclass
class Bench:
    """A supervisor with a store beside it that keeps what results say."""

    documents: Documents
    store: MemoryStore
    losses: list[int] = field(default_factory=list)
    lost: asyncio.Event = field(default_factory=asyncio.Event)

    async def kill_all(self, failures: int) -> None:
        """End the worker and the spare one; the next `failures` starts fail."""
        spare = self.documents._workers._spare
        assert spare is not None
        (await spare).kill()
        FailingSettings.failures = failures
        self.documents._lose_worker()

    async def ask(self, call: Call) -> Result:
        """Submit a call and keep its write."""
        result = await self.documents.submit(call)
        write = getattr(result, "write", None)
        if write is not None:
            await self.store.write(getattr(call, "key", ""), write.snapshot, write.changes)
        return result


Scene = Callable[[Bench], Awaitable[None]]


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., None]:
    """Run a scene with a supervisor over deadly workers, and close it whatever happens.

    Deadlines are long unless a scene hangs: a slow machine must not fail a test.
    """
    DeadlySettings.folder = str(tmp_path)
    FailingSettings.failures = 0

    def run(scene: Scene, call_s: float = 20.0) -> None:
        async def whole() -> None:
            store, losses, lost = MemoryStore(), list[int](), asyncio.Event()

            def note_loss() -> None:
                losses.append(1)
                lost.set()

            settings = DocumentSettings(FailingSettings(ACTOR), call_s=call_s, retry_first_s=0.001)
            documents = Documents(store.load, settings, note_loss)
            await documents.start()
            try:
                await scene(Bench(documents, store, losses, lost))
            finally:
                await documents.close()

        asyncio.run(whole())

    return run


def test_calls_are_answered_in_order(play: Callable[..., None]) -> None:
    """Many calls of several connections under way at once, each with its own answer."""

    async def scene(bench: Bench) -> None:
        edits = [bench.ask(Edit(f"notes:{number}", {"n": number})) for number in range(80)]
        await asyncio.gather(*edits)
        reads = [bench.ask(Fields(f"notes:{number}")) for number in range(80)]
        listed = await asyncio.gather(*reads)

        assert [getattr(one, "fields", None) for one in listed] == [
            {"n": Value("int", number)} for number in range(80)
        ]
        assert bench.losses == []

    play(scene)


def test_one_key_is_never_with_the_worker_twice(play: Callable[..., None]) -> None:
    """Edits of one key submitted together take effect one after the other."""

    async def scene(bench: Bench) -> None:
        edits = [bench.ask(Edit("notes:1", {"n": number})) for number in range(40)]
        results = await asyncio.gather(*edits)
        listed = await bench.ask(Fields("notes:1"))

        assert all(isinstance(result, Edited) and result.write for result in results)
        assert getattr(listed, "fields", None) == {"n": Value("int", 39)}

    play(scene)


def test_a_call_that_kills_twice_is_refused_alone(play: Callable[..., None]) -> None:
    """The suspect is refused, everything else under way is answered, documents survive."""

    async def scene(bench: Bench) -> None:
        await bench.ask(Edit("notes:1", {"a": 1}))
        calls: list[Call] = [Receive(peer, "notes:1", READ_MESSAGE) for peer in range(20)]
        calls.insert(5, Merge("die:x", b"", "evil"))
        results = await asyncio.gather(*map(bench.ask, calls))

        assert results.pop(5) == LIMIT
        assert len({getattr(result, "answer", None) for result in results}) == 1
        assert all(isinstance(result, Received) and result.answer for result in results)
        assert bench.losses == [1]

    play(scene)


def test_a_call_that_kills_once_is_carried_out(play: Callable[..., None]) -> None:
    """One death may be bad luck: alone in a fresh worker the call is answered, and kept."""

    async def scene(bench: Bench) -> None:
        result = await bench.ask(Edit("once:x", {"a": 1}))
        listed = await bench.ask(Fields("once:x"))

        assert isinstance(result, Edited)
        assert getattr(listed, "fields", None) == {"a": Value("int", 1)}

    play(scene)


def test_a_call_past_its_deadline_is_refused(play: Callable[..., None]) -> None:
    """Endless work is ended, twice, and others are answered before that is over."""

    async def scene(bench: Bench) -> None:
        await bench.ask(Edit("notes:1", {"a": 1}))
        order: list[str] = []
        evil = bench.documents.submit(Merge("hang:x", b"", "evil"))
        good = bench.documents.submit(Receive("good", "notes:1", READ_MESSAGE))
        evil.add_done_callback(lambda _: order.append("evil"))
        good.add_done_callback(lambda _: order.append("good"))

        assert isinstance(await good, Received)
        assert await evil == LIMIT
        assert order == ["good", "evil"]

    play(scene, call_s=1.0)


def test_a_flood_of_one_connection_delays_others_once(play: Callable[..., None]) -> None:
    """Deadly calls wait behind their own kind: another lane is answered after the first."""

    async def scene(bench: Bench) -> None:
        await bench.ask(Edit("notes:1", {"a": 1}))
        done: list[str] = []
        evil = [bench.documents.submit(Merge(f"die:{n}", b"", "evil")) for n in range(4)]
        good = bench.documents.submit(Receive("good", "notes:1", READ_MESSAGE))
        for future in evil:
            future.add_done_callback(lambda _: done.append("evil"))
        good.add_done_callback(lambda _: done.append("good"))
        await asyncio.gather(good, *evil)

        assert done.index("good") <= 1
        assert all(future.result() == LIMIT for future in evil)

    play(scene)


def test_sync_states_are_lost_and_documents_are_not(play: Callable[..., None]) -> None:
    """After a death an exchange starts afresh, with everything; the core is informed of it."""

    async def scene(bench: Bench) -> None:
        await bench.ask(Edit("notes:1", {"a": 1}))
        first = await bench.ask(Generate("peer", "notes:1"))
        silent = await bench.ask(Generate("peer", "notes:1"))
        await bench.ask(Merge("die:x", b"", "evil"))
        after = await bench.ask(Generate("peer", "notes:1"))

        assert isinstance(silent, Generated)
        assert silent.message is None
        assert after == first
        assert bench.losses == [1]

    play(scene)


def test_appended_changes_are_loaded_again(play: Callable[..., None]) -> None:
    """A fresh worker has every change that the store was given."""

    async def scene(bench: Bench) -> None:
        for number in range(5):
            await bench.ask(Edit("notes:1", {f"f{number}": number}))
        await bench.ask(Merge("die:x", b"", "evil"))
        listed = await bench.ask(Fields("notes:1"))

        assert isinstance(listed, Listed)
        assert sorted(listed.fields or {}) == [f"f{number}" for number in range(5)]

    play(scene)


def test_a_document_let_go_comes_back_from_the_store(play: Callable[..., None]) -> None:
    """What the worker let go unasked is loaded again, never taken for absent."""

    async def scene(bench: Bench) -> None:
        await bench.ask(Edit("notes:1", {"a": 1}))
        await bench.ask(Drop("notes:1"))
        # As if the call had been on its way while the worker let the document go.
        bench.documents._held.add("notes:1")
        listed = await bench.ask(Fields("notes:1"))

        assert getattr(listed, "fields", None) == {"a": Value("int", 1)}

    play(scene)


def test_calls_without_a_document_pass(play: Callable[..., None]) -> None:
    """Forget is about a connection and needs no store."""

    async def scene(bench: Bench) -> None:
        assert await bench.ask(Forget("peer")) == Done()

    play(scene)


def test_an_unreadable_store_is_no_absence(play: Callable[..., None]) -> None:
    """A read error refuses the call as this node's fault (D-60)."""

    class Failing(MemoryStore):
        async def load(self, key: str) -> bytes | None:
            raise OSError(f"{key}: input/output error")

    async def scene(bench: Bench) -> None:
        bench.documents._load = Failing().load

        assert await bench.ask(Save("notes:1")) == Refused("internal")

    play(scene)


def test_closing_refuses_what_is_unanswered(play: Callable[..., None]) -> None:
    """Waiting, at work or being judged: every future is done after close, and later calls too."""

    async def scene(bench: Bench) -> None:
        pending = [bench.documents.submit(Merge("stuck:x", b"", "evil")) for _ in range(3)]
        await bench.lost.wait()
        await bench.ask(Forget("nobody"))
        pending.append(bench.documents.submit(Merge("hang:y", b"", "other")))
        await bench.documents.close()

        assert [future.result() for future in pending] == [Refused("internal")] * 4
        assert await bench.documents.submit(Save("notes:1")) == Refused("internal")

    play(scene)


def test_no_worker_says_how_to_get_one() -> None:
    """Without the library there is no start, and the error says what to install."""

    async def run() -> None:
        documents = Documents(
            MemoryStore().load, DocumentSettings(BrokenSettings(ACTOR)), lambda: None
        )
        try:
            with pytest.raises(Unavailable):
                await documents.start()
        finally:
            await documents.close()

    asyncio.run(run())


def test_calls_wait_while_starts_fail(play: Callable[..., None]) -> None:
    """Worker and spare are gone and three starts fail: the call is answered all the same."""

    async def scene(bench: Bench) -> None:
        await bench.ask(Edit("notes:1", {"a": 1}))
        await bench.kill_all(failures=3)
        listed = await bench.ask(Fields("notes:1"))

        assert getattr(listed, "fields", None) == {"a": Value("int", 1)}

    play(scene)


def test_no_refusal_is_for_ever(play: Callable[..., None]) -> None:
    """Starts go on failing: what waits is refused. One succeeds: every later call is answered."""

    async def scene(bench: Bench) -> None:
        await bench.ask(Edit("notes:1", {"a": 1}))
        await bench.kill_all(failures=10**6)
        calls = [bench.ask(Fields(f"notes:{number}")) for number in range(5)]

        assert await asyncio.gather(*calls) == [Refused("internal")] * 5
        FailingSettings.failures = 0
        listed = await bench.ask(Fields("notes:1"))
        assert getattr(listed, "fields", None) == {"a": Value("int", 1)}

    play(scene)


def test_a_refusal_leaves_a_suspect_to_its_judge(play: Callable[..., None]) -> None:
    """What waits is refused while a call is tried alone; the rest goes on afterwards."""

    async def scene(bench: Bench) -> None:
        suspect = bench.documents.submit(Merge("stuck:x", b"", "evil"))
        await bench.lost.wait()
        await bench.ask(Forget("nobody"))
        await bench.kill_all(failures=10**6)
        others = [bench.documents.submit(Save("notes:1")) for _ in range(3)]

        assert await asyncio.gather(*others) == [Refused("internal")] * 3
        FailingSettings.failures = 0
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
