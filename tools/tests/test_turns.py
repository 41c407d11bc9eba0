"""Turns of the event loop: when every other task waits."""

import asyncio
import os

from turns import all_wait, one_turn


def test_all_wait_once_none_goes_on() -> None:
    """However many turns the others take, one after the other or through a callback."""
    seen: list[str] = []

    async def whole() -> None:
        gate = asyncio.Event()

        async def take(turns: int) -> None:
            for _ in range(turns):
                await one_turn()
            asyncio.get_running_loop().call_soon(gate.set)
            await asyncio.Event().wait()

        async def follow() -> None:
            await gate.wait()
            seen.append("followed")
            await asyncio.Event().wait()

        tasks = [asyncio.ensure_future(one) for one in (follow(), take(37))]
        await all_wait()
        seen.append("all wait")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(whole())

    assert seen == ["followed", "all wait"]


def test_several_may_wait_for_all_others() -> None:
    """Each goes on once the rest waits, and none waits for ever."""
    seen: list[int] = []

    async def one(number: int) -> None:
        for _ in range(number):
            await one_turn()
        await all_wait()
        seen.append(number)

    async def whole() -> None:
        await asyncio.gather(*(one(number) for number in (9, 0, 4)))

    asyncio.run(whole())

    assert sorted(seen) == [0, 4, 9]


def test_a_file_that_is_ready_is_no_rest() -> None:
    """What it has is read first."""
    seen: list[bytes] = []

    async def whole() -> None:
        loop = asyncio.get_running_loop()
        reading, writing = os.pipe()
        loop.add_reader(reading, lambda: seen.append(os.read(reading, 1)))
        loop.call_soon(os.write, writing, b"xy")
        await all_wait()
        loop.remove_reader(reading)
        os.close(reading)
        os.close(writing)

    asyncio.run(whole())

    assert seen == [b"x", b"y"]
