"""Attachments that run beside each other: order of results, being alone, and failures."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from meshwire_conformance.contracts import Alone
from meshwire_conformance.run.beside import Work, run_all
from turns import all_wait

Begin = Callable[[Alone], Awaitable[str]]


class Script:
    """Works that note what they do, and wait for each other at gates."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.gate = asyncio.Event()

    def waits(self, name: str) -> Begin:
        """A work that ends when the gate is open."""

        async def begin(_alone: Alone) -> str:
            self.seen.append(f"{name} begins")
            await self.gate.wait()
            self.seen.append(f"{name} ends")
            return name

        return begin

    def opens(self, name: str) -> Begin:
        """A work that opens the gate."""

        async def begin(_alone: Alone) -> str:
            self.seen.append(f"{name} opens")
            self.gate.set()
            return name

        return begin

    def repeats(self, name: str) -> Begin:
        """A work that has something to do alone, and lets all others go on meanwhile."""

        async def begin(alone: Alone) -> str:
            async with alone():
                for turn in range(3):
                    self.seen.append(f"{name} alone {turn}")
                    await all_wait()
            self.seen.append(f"{name} goes on")
            return name

        return begin


def test_results_keep_their_order_whoever_is_over_first() -> None:
    """The first waits for the second, so that they run beside each other or hang."""

    async def both() -> list[str]:
        script = Script()
        works = [Work(script.waits("one"), beside=True), Work(script.opens("two"), beside=True)]
        return await asyncio.wait_for(run_all(works), 600)

    assert asyncio.run(both()) == ["one", "two"]


def test_what_may_not_run_beside_others_runs_in_its_turn() -> None:
    """It begins when those before it are over, and those after it when it is."""

    async def three() -> list[str]:
        script = Script()
        script.gate.set()
        begins = [(script.waits(name), name == "one") for name in ("one", "two", "three")]
        await run_all([Work(begin, beside) for begin, beside in begins])
        return script.seen

    names = ("one", "two", "three")
    assert asyncio.run(three()) == [f"{n} {does}" for n in names for does in ("begins", "ends")]


def test_a_work_is_alone_when_the_others_are_over_or_wait_for_the_same() -> None:
    """Neither of two that repeat sees a turn of the other one, or of the one that still runs."""

    async def all_of_them() -> list[str]:
        script = Script()
        begins = [script.repeats("one"), script.repeats("two"), script.waits("three")]
        task = asyncio.create_task(run_all([Work(begin, beside=True) for begin in begins]))
        await all_wait()
        assert script.seen == ["three begins"]
        script.gate.set()
        await asyncio.wait_for(task, 600)
        return script.seen

    seen = asyncio.run(all_of_them())
    first = seen[2].split()[0]
    second = "two" if first == "one" else "one"
    assert seen == [
        "three begins",
        "three ends",
        *(f"{first} alone {turn}" for turn in range(3)),
        f"{first} goes on",
        *(f"{second} alone {turn}" for turn in range(3)),
        f"{second} goes on",
    ]


def test_a_failure_of_one_ends_the_others() -> None:
    """They are over, having released what they held, before the failure is raised."""

    async def fails(_alone: Alone) -> str:
        raise ValueError("no")

    async def both() -> list[str]:
        script = Script()

        async def held(_alone: Alone) -> str:
            try:
                return await script.waits("held")(_alone)
            finally:
                script.seen.append("released")

        with pytest.raises(ValueError, match="no"):
            await run_all([Work(held, beside=True), Work(fails, beside=True)])
        return script.seen

    assert asyncio.run(both()) == ["held begins", "released"]
