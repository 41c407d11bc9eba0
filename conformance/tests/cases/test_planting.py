"""Steps that a case takes many times overlap, and all of them end before the case does."""

from __future__ import annotations

import asyncio

import pytest

from meshwire_conformance.cases.planting import GROUP, in_groups
from turns import all_wait


def test_steps_of_a_group_wait_at_the_same_time() -> None:
    """Each waits for the last one of its group, which would never come one after another."""
    seen: list[int] = []

    async def run() -> None:
        last = asyncio.Event()

        async def step(number: int) -> None:
            seen.append(number)
            if number == GROUP - 1:
                last.set()
            await last.wait()

        await in_groups(step, GROUP + 3)

    asyncio.run(run())

    assert seen == list(range(GROUP + 3))


def test_a_failure_is_raised_once_its_group_has_ended() -> None:
    """Of several the first; no further group begins."""
    ended: list[int] = []

    async def run() -> None:
        all_begun = asyncio.Event()

        async def step(number: int) -> None:
            if number == GROUP - 1:
                all_begun.set()
            await all_begun.wait()
            if number == 2:
                raise ValueError(str(number))
            await all_wait()
            ended.append(number)
            if number == 5:
                raise ValueError(str(number))

        with pytest.raises(ValueError, match="2"):
            await in_groups(step, 2 * GROUP)
        # Now, since the end of the loop ends every other step.
        assert sorted(ended) == [number for number in range(GROUP) if number != 2]

    asyncio.run(run())
