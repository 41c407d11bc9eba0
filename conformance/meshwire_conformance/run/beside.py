"""Runs attachments beside each other where they share nothing but the machine.

Theory of operation. Attachments run in the order given. Consecutive ones that may run beside
others start together, and results keep the order of the attachments. What has to be judged alone,
a repeated case, waits until every other attachment of the group is over or waits too; of those that
wait one goes on at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Generic, TypeVar

from meshwire_conformance.contracts import Alone
from meshwire_conformance.targets.transport import Signal

Ran = TypeVar("Ran")


@dataclass(frozen=True, slots=True)
class Work(Generic[Ran]):
    """One run, which `begin` starts with the context in which it is alone."""

    begin: Callable[[Alone], Awaitable[Ran]]
    beside: bool


async def run_all(works: Sequence[Work[Ran]]) -> list[Ran]:
    """Return the result of each work, in their order; raises what one of them raises."""
    results: list[Ran] = []
    for beside, group in groupby(works, lambda work: work.beside):
        for part in [list(group)] if beside else [[work] for work in group]:
            results += await _Group(len(part)).run(part)
    return results


class _Group:
    """Works that run beside each other."""

    def __init__(self, size: int) -> None:
        self._busy = size
        """Number of works that are neither over nor wait to be alone."""
        self._signal = Signal()

    async def run(self, works: Sequence[Work[Ran]]) -> list[Ran]:
        """Return the results; if one work fails, the others are cancelled."""
        tasks = [asyncio.create_task(self._one(work)) for work in works]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _one(self, work: Work[Ran]) -> Ran:
        try:
            return await work.begin(self._alone)
        finally:
            self._change(-1)

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Wait until no other work of the group is busy."""
        self._change(-1)
        try:
            await self._signal.wait_for(lambda: self._busy == 0, None)
        finally:
            # Before any other waiter looks: from here on this work is busy again.
            self._change(+1)
        yield

    def _change(self, by: int) -> None:
        self._busy += by
        self._signal.notify()
