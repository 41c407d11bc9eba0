"""Runs that an interrupt ends in order: first all that they have started, then they themselves."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

from meshwire_conformance.commands import interrupts
from meshwire_conformance.targets import children

Result = TypeVar("Result")

PATIENCE = 2
"""After so many interrupts that did not help, one more ends the process where it stands."""


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine to its end, as `asyncio.run` does; an interrupt cancels it.

    Raises KeyboardInterrupt where it was interrupted, whatever came of it, once everything that
    it had started is ended. A second interrupt ends that by force.
    """
    came: list[int] = []
    try:
        result = asyncio.run(_watched(work, came))
    except BaseException:
        if not came:
            raise
    if not came:
        return result
    # Nothing should be left. If an interrupt came at the one moment that leaves something, this
    # is the end of it.
    children.kill_all()
    raise KeyboardInterrupt


async def _watched(work: Coroutine[Any, Any, Result], came: list[int]) -> Result:
    """Await the work; what interrupts it is put into `came`, where interrupts are ours at all."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def interrupted(number: int) -> None:
        came.append(number)
        if len(came) > PATIENCE:
            interrupts.end()
        if len(came) == 1:
            task.cancel()
            return
        # What the end waits for is gone then, so that it comes at once.
        children.kill_all()

    ours = [number for number in interrupts.SIGNALS if signal.getsignal(number) is interrupts.end]
    for number in ours:
        loop.add_signal_handler(number, interrupted, number)
    try:
        return await work
    finally:
        for number in ours:
            loop.remove_signal_handler(number)
            signal.signal(number, interrupts.end)
