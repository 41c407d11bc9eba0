"""The supervisor: answers, deaths, budgets, what is lost and what is not."""

# Longer than 500 lines: every test needs the deadly workers and the bench around them.

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from meshwire_reference.core.document_calls import (
    Call,
    Done,
    Drop,
    Each,
    Edit,
    Edited,
    Fields,
    Forget,
    Generate,
    Generated,
    Listed,
    Merge,
    Merged,
    Receive,
    Received,
    Refused,
    Result,
    Save,
    Saved,
    Together,
    Value,
)
from meshwire_reference.core.effects import WriteStore
from meshwire_reference.documents import process
from meshwire_reference.documents.limits import (
    Budget,
    LimitNotSet,
    NoWorker,
    PendingDropped,
    WorkerDied,
    WorkerEvent,
)
from meshwire_reference.documents.pipe import Memory, encode_ready, encode_reply
from meshwire_reference.documents.process import DocumentSettings, Unavailable, WorkerSettings
from meshwire_reference.documents.supervisor import Documents
from meshwire_reference.store.memory import MemoryStore
from meshwire_reference.testing.author import author, snapshot
from meshwire_spec.numbers import READ_MESSAGE
from turns import all_wait

pytestmark = pytest.mark.process

ACTOR = b"\x31" * 16
LIMIT = Refused("document-limit")
CLAIMS_7 = "856f4a836fc328ba013b0010c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c50101000000051506340442055605700580ade204016b80ade20480ade2040180ade2040280ade20400"  # noqa: E501  # one change
"""A change of 69 bytes that claims 10^7 operations."""
PROBES = "4201" + "32" * 32 + "00010009010affffffff0fffff00020102"
"""A sync message whose filter claims 2^32 - 1 probes."""
ROOMY = Budget(call_s=20.0)
TIGHT = Budget(call_s=0.1)
"""Ends work early; the ceiling is far away on the busiest machine."""
IMPATIENT = Budget(call_s=0.01, ceiling_s=0.01)
"""Ends a call that waits early; for calls that do next to no work."""


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
class Events:
    """Events of workers; the first death sets `death`."""

    all: list[WorkerEvent] = field(default_factory=list)
    death: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, event: WorkerEvent) -> None:
        """Keep an event."""
        self.all.append(event)
        if isinstance(event, WorkerDied):
            self.death.set()

    @property
    def deaths(self) -> list[WorkerDied]:
        """The events of workers that have died."""
        return [event for event in self.all if isinstance(event, WorkerDied)]


@dataclass
class Bench:
    """A supervisor with a store beside it that keeps what results say."""

    documents: Documents
    store: MemoryStore
    events: Events

    async def spare(self) -> process.WorkerProcess:
        """Return the worker that stands by, once it is ready."""
        spare = self.documents._workers._spare
        assert spare is not None
        return await spare

    async def kill_all(self, failures: int) -> None:
        """End the worker and the spare one; the next `failures` starts fail."""
        (await self.spare()).kill()
        FailingSettings.failures = failures
        self.documents._lose_worker()

    async def ask(self, call: Call) -> Result:
        """Submit a call and keep its write."""
        result = await self.documents.submit(call)
        write = getattr(result, "write", None)
        if write is not None:
            await self.store.write((WriteStore(0, getattr(call, "key", ""), write),))
        return result


def died(reason: str, key: str, *, alone: bool = False) -> WorkerDied:
    """Return the event of a worker that died of a snapshot of the peer `evil`."""
    return WorkerDied(reason, "merge", key, "evil", alone)


Scene = Callable[[Bench], Awaitable[None]]


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., None]:
    """Run a scene with a supervisor over deadly workers, and close it whatever happens."""
    DeadlySettings.folder = str(tmp_path)
    FailingSettings.failures = 0

    def run(scene: Scene, budget: Budget = ROOMY) -> None:
        async def whole() -> None:
            store = MemoryStore()
            worker = FailingSettings(ACTOR, budget=budget)
            settings = DocumentSettings(worker, retry_first_s=0.001)
            seen = Events()
            documents = Documents(store.load, settings, seen.note)
            bench = Bench(documents, store, seen)
            await documents.start()
            try:
                await scene(bench)
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
        assert bench.events.all == []

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
        assert bench.events.deaths == [
            died("exit-code-1", "die:x"),
            died("exit-code-1", "die:x", alone=True),
        ]

    play(scene)


def test_a_call_that_kills_once_is_carried_out(play: Callable[..., None]) -> None:
    """One death may be bad luck: alone in a fresh worker the call is answered, and kept."""

    async def scene(bench: Bench) -> None:
        result = await bench.ask(Edit("once:x", {"a": 1}))
        listed = await bench.ask(Fields("once:x"))

        assert isinstance(result, Edited)
        assert getattr(listed, "fields", None) == {"a": Value("int", 1)}
        assert bench.events.deaths == [WorkerDied("exit-code-1", "edit", "once:x")]

    play(scene)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("die", "exit-code-1"),
        ("abort", "abort-or-memory"),
        ("hoard", "abort-or-memory"),
        ("loop", "cpu-time"),
        ("wait", "stuck"),
    ],
)
def test_every_death_has_its_reason(play: Callable[..., None], kind: str, reason: str) -> None:
    """Both deaths of a call are events with its key, its connection and what ended the worker."""

    async def scene(bench: Bench) -> None:
        key = f"{kind}:x"

        assert await bench.ask(Merge(key, b"", "evil")) == LIMIT
        assert bench.events.all == [died(reason, key), died(reason, key, alone=True)]

    play(scene, IMPATIENT if kind == "wait" else TIGHT)


@pytest.mark.parametrize(
    ("kind", "data"), [("load", CLAIMS_7), ("receive", PROBES)], ids=["rows", "probes"]
)
def test_what_no_check_finds_ends_within_its_budget(
    play: Callable[..., None], tmp_path: Path, kind: str, data: str
) -> None:
    """Bytes that cost the library seconds and gigabytes, past every check of them (D-160)."""
    (tmp_path / "x").write_bytes(bytes.fromhex(data))

    async def scene(bench: Bench) -> None:
        assert await bench.ask(Merge(f"{kind}:x", b"", "evil")) == LIMIT
        reasons = {event.reason for event in bench.events.deaths}
        assert len(bench.events.deaths) == 2
        assert reasons <= {"cpu-time", "abort-or-memory"}

    play(scene, TIGHT)


def test_endless_work_delays_others_once(play: Callable[..., None]) -> None:
    """Endless work is ended, twice, and others are answered before that is over."""

    async def scene(bench: Bench) -> None:
        await bench.ask(Edit("notes:1", {"a": 1}))
        order: list[str] = []
        evil = bench.documents.submit(Merge("loop:x", b"", "evil"))
        good = bench.documents.submit(Receive("good", "notes:1", READ_MESSAGE))
        evil.add_done_callback(lambda _: order.append("evil"))
        good.add_done_callback(lambda _: order.append("good"))

        assert isinstance(await good, Received)
        assert await evil == LIMIT
        assert order == ["good", "evil"]

    play(scene, TIGHT)


def test_time_without_work_is_no_death(play: Callable[..., None]) -> None:
    """A worker that the machine does not run is waited for, however late it is (D-160)."""

    async def scene(bench: Bench) -> None:
        await bench.spare()
        loop = asyncio.get_running_loop()
        clock, late_s = loop.time, 0.0
        loop.time = lambda: clock() + late_s  # type: ignore[method-assign]  # the clock of timers
        os.mkfifo(Path(DeadlySettings.folder) / "x")
        call = bench.documents.submit(Merge("gate:x", b"", "slow"))
        # The pipe opens as soon as the worker is at the call.
        with await asyncio.to_thread((Path(DeadlySettings.folder) / "x").open, "wb"):
            for _ in range(10):
                # Every timer is due, also one that was set meanwhile.
                late_s += 1e6
                await all_wait()
            assert bench.events.all == []

        assert not isinstance(await call, Refused)
        assert bench.events.all == []

    play(scene)


def test_a_call_alone_has_twice_the_budget(play: Callable[..., None]) -> None:
    """A call that takes a little more than its budget is answered (0.3 s of 0.25 s)."""

    async def scene(bench: Bench) -> None:
        assert isinstance(await bench.ask(Edit("burn:x", {"a": 1})), Edited)
        assert bench.events.all == [WorkerDied("cpu-time", "edit", "burn:x")]

    play(scene, Budget(call_s=0.25))


def test_a_budget_counts_what_the_call_works_on(play: Callable[..., None]) -> None:
    """Bytes that are sent, held or stored: 0.3 s are too much for a read of a small document."""
    large = author("burn:x", text="".join(map(chr, range(0x4E00, 0x4E00 + 20_000))))
    small = author("burn:y")

    async def scene(bench: Bench) -> None:
        await bench.ask(Merge("burn:x", large.snapshot(), "peer"))
        held = await bench.ask(Receive("peer", "burn:x", READ_MESSAGE))
        bench.documents._lose_worker()
        stored = await bench.ask(Receive("peer", "burn:x", READ_MESSAGE))

        assert isinstance(held, Received)
        assert isinstance(stored, Received)
        assert held.answer == stored.answer
        assert await bench.ask(Merge("burn:y", small.snapshot(), "peer")) == LIMIT
        assert [event.key for event in bench.events.deaths] == [None, "burn:y", "burn:y"]

    play(scene, Budget(call_s=0.1, call_s_per_kib=0.1))


def test_the_suspect_is_the_call_at_work() -> None:
    """A reply that the worker wrote before it died is taken before its end is."""

    async def run() -> list[object]:
        worker, seen = process.WorkerProcess(), list[object]()
        worker.pipe_data_received(1, encode_ready(()))
        worker.on_reply, worker.on_end = (
            lambda reply: seen.append(reply.number),
            lambda: seen.append("end"),
        )
        # asyncio may learn of the end of a process before it has read what is in its pipes.
        worker.process_exited()
        worker.pipe_data_received(1, encode_reply(7, [(Done(), Memory())]))
        worker.connection_lost(None)
        return seen

    assert asyncio.run(run()) == [7, "end"]


def test_the_end_of_an_idle_worker_is_an_event(play: Callable[..., None]) -> None:
    """The working worker and the spare die; calls are answered nevertheless."""

    async def scene(bench: Bench) -> None:
        spare, worker = await bench.spare(), bench.documents._worker
        assert worker is not None
        for one in (spare, worker):
            os.kill(one.pid, signal.SIGKILL)
        await bench.events.death.wait()
        await spare._gone

        assert isinstance(await bench.ask(Edit("notes:1", {"a": 1})), Edited)
        assert bench.events.all == [WorkerDied("SIGKILL")] * 2

    play(scene)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_a_node_leaves_its_worker_alone(
    play: Callable[..., None], number: signal.Signals
) -> None:
    """A manager of services sends it to the whole group; the node ends its worker itself."""

    async def scene(bench: Bench) -> None:
        assert isinstance(await bench.ask(Edit("notes:1", {"a": 1})), Edited)
        worker = bench.documents._worker
        assert worker is not None
        os.kill(worker.pid, number)

        assert isinstance(await bench.ask(Edit("notes:1", {"a": 2})), Edited)
        assert bench.documents._worker is worker
        assert bench.events.all == []

    play(scene)


def test_a_limit_that_cannot_be_set_is_an_event(play: Callable[..., None], tmp_path: Path) -> None:
    """The node works without it, and says so once, not for each worker."""
    (tmp_path / "no-limits").touch()

    async def scene(bench: Bench) -> None:
        assert await bench.ask(Merge("die:x", b"", "evil")) == LIMIT
        assert isinstance(await bench.ask(Edit("notes:1", {"a": 1})), Edited)
        refused = [event for event in bench.events.all if isinstance(event, LimitNotSet)]
        assert [event.limit for event in refused] == ["RLIMIT_AS", "RLIMIT_CORE"]
        assert all(event.reason for event in refused)

    play(scene)


def test_signals_that_the_node_blocks_reach_a_worker(play: Callable[..., None]) -> None:
    """A process inherits the signals that its parent blocks."""
    blocked = {signal.SIGPROF, signal.SIGALRM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)

    async def scene(bench: Bench) -> None:
        assert not isinstance(await bench.ask(Merge("blocked:x", b"", "peer")), Refused)

    try:
        play(scene)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


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
        assert len(bench.events.deaths) == 2

    play(scene)


def test_pending_changes_are_lost_with_an_event(play: Callable[..., None]) -> None:
    """With the worker, and with the document (DC-046)."""
    change = bytes.fromhex(
        "420184494758873066de69aa9f4345e4bdbf5d5eea81f4c4ed641ec6c9a158875e3d00010000014e856f4a83"
        "8449475801440187aa46c740fb8631fcb1242464b2ce4bbbf0b1329fd9a64a61d3f63d05ef4363042a2b2c2d02"
        "02000000061503340142025602570270027f0162017f017f2483067f00020102"
    )

    async def scene(bench: Bench) -> None:
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

    async def scene(bench: Bench) -> None:
        for number in range(5):
            await bench.ask(Edit("notes:1", {f"f{number}": number}))
        await bench.ask(Merge("die:x", b"", "evil"))
        listed = await bench.ask(Fields("notes:1"))

        assert isinstance(listed, Listed)
        assert sorted(listed.fields or {}) == [f"f{number}" for number in range(5)]

    play(scene)


def test_a_document_let_go_comes_back_from_the_store(play: Callable[..., None]) -> None:
    """A document that the worker dropped is loaded again, never treated as absent."""

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
        async def load(self, keys: Sequence[str]) -> list[bytes | None]:
            raise OSError(f"{keys}: input/output error")

    async def scene(bench: Bench) -> None:
        bench.documents._load = Failing().load

        assert await bench.ask(Save("notes:1")) == Refused("internal")

    play(scene)


class TestTogether:
    """Several calls in one request, answered item by item."""

    def test_each_is_answered(self, play: Callable[..., None]) -> None:
        """A refused one does nothing to the others, which stand in their order."""

        async def scene(bench: Bench) -> None:
            calls = (
                Merge("notes:1", snapshot("notes:1").payload, "peer"),
                Merge("notes:2", b"no document", "peer"),
                Merge("notes:3", b"", "peer"),
            )
            answered = await bench.documents.submit_together(Together(calls))
            assert isinstance(answered, Each)
            merged, refused, empty = answered.results

            assert isinstance(merged, Merged)
            assert merged.write is not None
            assert refused == Refused("bad-document")
            assert empty == Merged((), None, ahead=False)
            assert bench.events.all == []

        play(scene)

    def test_the_stored_bytes_of_all_are_read_at_once(self, play: Callable[..., None]) -> None:
        """Except those that the worker holds."""
        asked: list[tuple[str, ...]] = []

        async def scene(bench: Bench) -> None:
            for key in ("notes:1", "notes:2", "notes:3"):
                await bench.ask(Edit(key, {"a": 1}))
            load = bench.store.load

            async def watched(keys: Sequence[str]) -> list[bytes | None]:
                asked.append(tuple(keys))
                return await load(keys)

            bench.documents._load = watched
            for key in ("notes:1", "notes:3"):
                await bench.ask(Drop(key))
            saves = Together((Save("notes:1"), Save("notes:2"), Save("notes:3")))
            answered = await bench.documents.submit_together(saves)
            assert isinstance(answered, Each)
            assert all(isinstance(one, Saved) and one.snapshot for one in answered.results)

        play(scene)

        assert asked == [("notes:1", "notes:3")]

    def test_the_one_that_ends_the_worker_is_found(self, play: Callable[..., None]) -> None:
        """It alone is refused, and nothing is carried out twice that had an answer."""

        async def scene(bench: Bench) -> None:
            keys = ("notes:1", "die:x", "notes:2")
            calls = tuple(Merge(key, b"", "evil") for key in keys)
            answered = await bench.documents.submit_together(Together(calls))
            assert isinstance(answered, Each)

            assert answered.results == (
                Merged((), None, ahead=False),
                LIMIT,
                Merged((), None, ahead=False),
            )
            assert [(event.key, event.alone) for event in bench.events.deaths] == [
                (None, False),
                ("die:x", False),
                ("die:x", True),
            ]

        play(scene)

    def test_a_store_that_cannot_read_one_refuses_that_one(self, play: Callable[..., None]) -> None:
        """D-60: the others are answered."""

        async def scene(bench: Bench) -> None:
            load = bench.store.load

            async def failing(keys: Sequence[str]) -> list[bytes | None]:
                if "notes:2" in keys:
                    raise OSError("input/output error")
                return await load(keys)

            bench.documents._load = failing
            saves = Together((Save("notes:1"), Save("notes:2"), Save("notes:3")))
            answered = await bench.documents.submit_together(saves)
            assert isinstance(answered, Each)

            assert answered.results == (Saved(None, ()), Refused("internal"), Saved(None, ()))

        play(scene)

    def test_others_wait_for_one_slow_call_at_most(self, play: Callable[..., None]) -> None:
        """The calls after it go on one by one."""

        async def scene(bench: Bench) -> None:
            order: list[str] = []
            keys = ("burn:1", "burn:2", "burn:3")
            calls = tuple(Merge(key, b"", "evil") for key in keys)
            evil = bench.documents.submit_together(Together(calls))
            good = bench.documents.submit(Receive("good", "notes:1", READ_MESSAGE))
            evil.add_done_callback(lambda _: order.append("evil"))
            good.add_done_callback(lambda _: order.append("good"))
            answered = await evil
            await good

            assert isinstance(answered, Each)
            assert answered.results == (Merged((), None, ahead=False),) * 3
            assert order == ["good", "evil"]

        play(scene)

    def test_one_document_is_read_once_for_all(self, play: Callable[..., None]) -> None:
        """Messages for several peers need its stored bytes once."""
        asked: list[tuple[str, ...]] = []

        async def scene(bench: Bench) -> None:
            await bench.ask(Edit("notes:1", {"a": 1}))
            await bench.ask(Drop("notes:1"))
            load = bench.store.load

            async def watched(keys: Sequence[str]) -> list[bytes | None]:
                asked.append(tuple(keys))
                return await load(keys)

            bench.documents._load = watched
            pushes = Together(tuple(Generate(peer, "notes:1") for peer in (1, 2, 3)))
            answered = await bench.documents.submit_together(pushes)
            assert isinstance(answered, Each)
            assert all(isinstance(one, Generated) and one.message for one in answered.results)

        play(scene)

        assert asked == [("notes:1",)]

    def test_of_several_peers_each_is_answered(self, play: Callable[..., None]) -> None:
        """Also where the worker ends, and they go on one by one."""

        async def scene(bench: Bench) -> None:
            reads = Together(tuple(Receive(peer, "once:x", READ_MESSAGE) for peer in (1, 2, 3)))
            answered = await bench.documents.submit_together(reads)
            assert isinstance(answered, Each)
            assert [type(one) for one in answered.results] == [Received] * 3
            assert [event.connection for event in bench.events.deaths] == [None]

        play(scene)

    def test_closing_refuses_all(self, play: Callable[..., None]) -> None:
        """With one refusal, also when they are queued after the end."""

        async def scene(bench: Bench) -> None:
            stuck = Together((Merge("stuck:x", b"", "evil"), Merge("wait:y", b"", "evil")))
            waiting = bench.documents.submit_together(stuck)
            await bench.documents.close()

            assert await waiting == Refused("internal")
            assert await bench.documents.submit_together(stuck) == Refused("internal")

        play(scene)


def test_closing_refuses_what_is_unanswered(play: Callable[..., None]) -> None:
    """Waiting, at work or being judged: every future is done after close, and later calls too."""

    async def scene(bench: Bench) -> None:
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
        assert any(isinstance(event, NoWorker) and event.reason for event in bench.events.all)
        FailingSettings.failures = 0
        listed = await bench.ask(Fields("notes:1"))
        assert getattr(listed, "fields", None) == {"a": Value("int", 1)}

    play(scene)


def test_a_refusal_leaves_a_suspect_to_its_judge(play: Callable[..., None]) -> None:
    """Waiting calls are refused while a call is tried alone; others continue afterwards."""

    async def scene(bench: Bench) -> None:
        suspect = bench.documents.submit(Merge("stuck:x", b"", "evil"))
        await bench.events.death.wait()
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
