"""The supervisor over workers that die: suspects, reasons, budgets, and what others wait for."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from meshwire_reference.core.document_calls import (
    Call,
    Done,
    Edit,
    Edited,
    Fields,
    Merge,
    Receive,
    Received,
    Refused,
    Value,
)
from meshwire_reference.documents import process
from meshwire_reference.documents.limits import (
    Budget,
    LimitNotSet,
    WorkerDied,
)
from meshwire_reference.documents.pipe import Memory, encode_ready, encode_reply
from meshwire_reference.testing.author import author
from meshwire_reference.testing.hostile_bytes import CLAIMS_7
from meshwire_reference.testing.supervised import DeadlyBench
from meshwire_spec.numbers import READ_MESSAGE
from turns import all_wait

pytestmark = pytest.mark.process

LIMIT = Refused("document-limit")
PROBES = "4201" + "32" * 32 + "00010009010affffffff0fffff00020102"
"""A sync message whose filter claims 2^32 - 1 probes."""
TIGHT = Budget(call_s=0.1)
"""Ends work early; the ceiling is far away on the busiest machine."""
IMPATIENT = Budget(call_s=0.01, ceiling_s=0.01)
"""Ends a call that waits early; for calls that do next to no work."""


def died(reason: str, key: str, *, alone: bool = False) -> WorkerDied:
    """Return the event of a worker that died of a snapshot of the peer `evil`."""
    return WorkerDied(reason, "merge", key, "evil", alone)


def test_a_call_that_kills_twice_is_refused_alone(play: Callable[..., None]) -> None:
    """The suspect is refused, everything else under way is answered, documents survive."""

    async def scene(bench: DeadlyBench) -> None:
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

    async def scene(bench: DeadlyBench) -> None:
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

    async def scene(bench: DeadlyBench) -> None:
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

    async def scene(bench: DeadlyBench) -> None:
        assert await bench.ask(Merge(f"{kind}:x", b"", "evil")) == LIMIT
        reasons = {event.reason for event in bench.events.deaths}
        assert len(bench.events.deaths) == 2
        assert reasons <= {"cpu-time", "abort-or-memory"}

    play(scene, TIGHT)


def test_endless_work_delays_others_once(play: Callable[..., None]) -> None:
    """Endless work is ended, twice, and others are answered before that is over."""

    async def scene(bench: DeadlyBench) -> None:
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

    async def scene(bench: DeadlyBench) -> None:
        await bench.spare()
        loop = asyncio.get_running_loop()
        clock, late_s = loop.time, 0.0
        loop.time = lambda: clock() + late_s  # type: ignore[method-assign]  # the clock of timers
        os.mkfifo(bench.folder / "x")
        call = bench.documents.submit(Merge("gate:x", b"", "slow"))
        # The pipe opens as soon as the worker is at the call.
        with await asyncio.to_thread((bench.folder / "x").open, "wb"):
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

    async def scene(bench: DeadlyBench) -> None:
        assert isinstance(await bench.ask(Edit("burn:x", {"a": 1})), Edited)
        assert bench.events.all == [WorkerDied("cpu-time", "edit", "burn:x")]

    play(scene, Budget(call_s=0.25))


def test_a_budget_counts_what_the_call_works_on(play: Callable[..., None]) -> None:
    """Bytes that are sent, held or stored: 0.3 s are too much for a read of a small document."""
    large = author("burn:x", text="".join(map(chr, range(0x4E00, 0x4E00 + 20_000))))
    small = author("burn:y")

    async def scene(bench: DeadlyBench) -> None:
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

    async def scene(bench: DeadlyBench) -> None:
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

    async def scene(bench: DeadlyBench) -> None:
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

    async def scene(bench: DeadlyBench) -> None:
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

    async def scene(bench: DeadlyBench) -> None:
        assert not isinstance(await bench.ask(Merge("blocked:x", b"", "peer")), Refused)

    try:
        play(scene)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_a_flood_of_one_connection_delays_others_once(play: Callable[..., None]) -> None:
    """Deadly calls wait behind their own kind: another lane is answered after the first."""

    async def scene(bench: DeadlyBench) -> None:
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
