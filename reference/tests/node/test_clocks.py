"""The time of a node, which a node for tests puts forward.

`Clock` is the doorway of real time, so these tests read it. None waits for it: they put it forward,
or the clock of the loop below it, by more than any test takes.
"""

import asyncio

from meshwire_reference.node.clocks import Clock
from turns import all_wait

LONG_S = 10**6
"""Longer than any test takes."""
LIMIT_S = 600.0
"""Seconds after which a test hangs."""


def test_who_sleeps_wakes_when_the_clock_has_gone_on_far_enough() -> None:
    """Not before, and in no real time."""

    async def whole() -> list[str]:
        clock, woken = Clock(), []

        async def sleep(name: str, seconds: float) -> None:
            await clock.sleep(seconds)
            woken.append(name)

        sleepers = [
            asyncio.ensure_future(sleep("long", LONG_S)),
            asyncio.ensure_future(sleep("short", LONG_S / 2)),
        ]
        await all_wait()
        clock.advance(LONG_S * 3 / 4)
        await sleepers[1]
        woken.append("moved")
        clock.advance(LONG_S / 4)
        await sleepers[0]
        return woken

    async def in_time() -> list[str]:
        async with asyncio.timeout(LIMIT_S):
            return await whole()

    assert asyncio.run(in_time()) == ["short", "moved", "long"]


def test_a_sleep_ends_by_itself() -> None:
    """As time of the loop passes, not before; one of no time ends at once."""

    async def whole() -> None:
        loop = asyncio.get_running_loop()
        clock, real, passed_s = Clock(), loop.time, 0.0
        vars(loop)["time"] = lambda: real() + passed_s
        began_s = clock.monotonic_s()
        sleeping = asyncio.ensure_future(clock.sleep(LIMIT_S))
        await clock.sleep(0)
        passed_s = LIMIT_S / 2
        await clock.sleep(0)
        assert not sleeping.done()
        passed_s = LIMIT_S
        await sleeping
        assert clock.monotonic_s() >= began_s + LIMIT_S

    asyncio.run(whole())


def test_both_clocks_go_forward_and_that_of_the_calendar_can_be_set() -> None:
    """The one of the event loop reaches a time earlier by what this one is ahead."""

    async def whole() -> None:
        clock = Clock()
        first = clock.moment()
        clock.advance(LONG_S)
        second = clock.moment()
        clock.set_wall(-5_000)
        third = clock.moment()

        assert second.monotonic_s >= first.monotonic_s + LONG_S
        assert second.wall_ms >= first.wall_ms + LONG_S * 1000
        assert clock.on_loop(second.monotonic_s) < first.monotonic_s + LONG_S / 2
        assert third.monotonic_s >= second.monotonic_s
        assert -5_000 <= third.wall_ms < LONG_S
        clock.put_right()
        assert clock.moment().wall_ms >= first.wall_ms
        assert clock.moment().monotonic_s < second.monotonic_s

    asyncio.run(whole())
