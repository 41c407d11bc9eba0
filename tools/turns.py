"""Turns of the event loop, for tests: they let tasks go on, and no test waits for time to pass.

They bring nothing of a socket, a thread or another process: wait for an event of it instead.
"""

from __future__ import annotations

import asyncio
from typing import Final
from weakref import WeakKeyDictionary

QUIET_TURNS: Final = 2
"""Turns in which nothing else was ready. The first may end before a file was looked at."""

_waiting: Final = WeakKeyDictionary[asyncio.AbstractEventLoop, int]()
"""Number of tasks of a loop that wait for all others, and are ready all the time."""


async def one_turn() -> None:
    """Let everything that is ready run once."""
    await asyncio.sleep(0)


async def all_wait() -> None:
    """Return once no other task can go on: each waits for what no turn of the loop brings.

    Several tasks may wait so at the same time. A timer that is not due ends nothing.
    """
    loop = asyncio.get_running_loop()
    _waiting[loop] = _waiting.get(loop, 0) + 1
    try:
        quiet = 0
        while quiet < QUIET_TURNS:
            await asyncio.sleep(0)
            ready = len(loop._ready)  # type: ignore[attr-defined]  # noqa: SLF001 - it has no public name
            quiet = quiet + 1 if ready < _waiting[loop] else 0
    finally:
        _waiting[loop] -= 1
