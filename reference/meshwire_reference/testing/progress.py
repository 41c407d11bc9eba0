"""Waiting in tests for what a node counts, without polling it."""

import asyncio
from collections import Counter
from collections.abc import Callable

LIMIT_S = 600
"""Seconds after which a test hangs; nothing takes as long."""


class Progress:
    """What something has done so far: `note` says that it went on, `until` waits for a state."""

    def __init__(self) -> None:
        self._came = asyncio.Event()

    def note(self) -> None:
        """Let everyone who waits look again."""
        self._came.set()

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait until `holds`, which is asked again after each `note`; raise TimeoutError."""
        async with asyncio.timeout(LIMIT_S):
            while not holds():
                self._came.clear()
                await self._came.wait()


class NotedCounts(Counter[str]):
    """Counts of a hub, each change of which is progress."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress

    def __setitem__(self, name: str, count: int) -> None:
        """Set a count, and note it."""
        super().__setitem__(name, count)
        self._progress.note()
