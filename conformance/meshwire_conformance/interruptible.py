"""Runs that an interrupt ends in order: first all that they have started, then they themselves."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

from meshwire_conformance import interrupts
from meshwire_conformance.targets import children

Result = TypeVar("Result")


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine to its end, as `asyncio.run` does; an interrupt cancels it.

    Raises KeyboardInterrupt where it was interrupted, whatever came of it, once everything that
    it had started is ended. A second interrupt ends that by force, and the process with it.
    """
    came: list[int] = []
    try:
        result = asyncio.run(_watched(work, came))
    except BaseException:
        if came:
            raise KeyboardInterrupt from None
        raise
    if came:
        raise KeyboardInterrupt
    return result


async def _watched(work: Coroutine[Any, Any, Result], came: list[int]) -> Result:
    """Await the work; what interrupts it is put into `came`, where interrupts are ours at all."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def interrupted(number: int) -> None:
        came.append(number)
        if len(came) > 1:
            children.kill_all()
            interrupts.end()
        task.cancel()

    ours = [number for number in interrupts.SIGNALS if signal.getsignal(number) is interrupts.end]
    for number in ours:
        loop.add_signal_handler(number, interrupted, number)
    try:
        return await work
    finally:
        for number in ours:
            loop.remove_signal_handler(number)
            signal.signal(number, interrupts.end)
