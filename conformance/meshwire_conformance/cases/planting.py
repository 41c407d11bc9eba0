"""The document that most cases send, how they give it to a target, and steps taken many times."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.content import BASE, Wanted
from meshwire_spec.schemas.steps import FrameSpec

GROUP = 16
"""Number of equal steps that a case takes at the same time, where each waits for the target."""
EACH_MODE = {"key": "tracks:$case", "windowed": "track_history:$case", "full": "notes:$case"}
"""A key of each sync mode."""
NOTHING = frozenset[str]()
"""The heads in the answer of a target that holds no such document."""


def stored(run: CaseRun, document: str = "base", key: str = "$key") -> Wanted:
    """Return what a target sends for a key under which it holds this document of the case."""
    return Wanted(run.scope.text(key), heads=run.contents.made[document].heads)


async def send_snapshot(
    run: CaseRun, on: str = "B", *, document: str = "base", key: str = "$key"
) -> Wanted:
    """Send a snapshot, wait for the barrier, and return what the target then holds."""
    await run.send(FrameSpec(type="snapshot", key=key, document=document), on)
    await run.barrier(on)
    return stored(run, document, key)


async def plant(run: CaseRun, key: str = "$key") -> Wanted:
    """Make the document `base`, and give it to the target over the connection of the peer B."""
    await run.documents(BASE)
    return await send_snapshot(run, key=key)


async def plant_each_mode(run: CaseRun, on: str = "A") -> list[str]:
    """Give the target a document of each sync mode over the connection of the peer B.

    The case fails if the peer `on` gets one in a type that is not that of its mode. Return the
    keys, which are those of `EACH_MODE`.
    """
    await run.documents(BASE)
    wrong = {"$key": "delta", "$windowed": "delta", "$full": "snapshot"}
    for key, name in wrong.items():
        await run.send(FrameSpec(type="snapshot", key=key, document="base"), "B")
        run.watch(run.scope.text(key), on, (name,))
    await run.barrier("B")
    return list(wrong)


async def in_groups(step: Callable[[int], Awaitable[None]], times: int) -> None:
    """Take a step this number of times, with numbers from 0; raises what the first of them raises.

    Some are taken at the same time, so that their waits for the target overlap.
    """
    for first in range(0, times, GROUP):
        numbers = range(first, min(first + GROUP, times))
        # All of them end before the case does, also after a failure.
        for ended in await asyncio.gather(*map(step, numbers), return_exceptions=True):
            if isinstance(ended, BaseException):
                raise ended
