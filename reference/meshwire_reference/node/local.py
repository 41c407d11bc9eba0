"""What this node's own user asks for, and what its observers hear.

An operation is a future, which the end of the operation in the core resolves. A change is noted
when the core requests its write, and observers hear of it once it is durable: they see nothing that
a crash could take back.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from meshwire_reference.core.document_calls import Edit, Fields, Result
from meshwire_reference.core.effects import LocalDone, LocalRefusal, WriteNumber, WriteStore
from meshwire_reference.core.inputs import Deletion, Input, LocalOperation

Observe: TypeAlias = Callable[[str], None]
"""Hears the key of a document that has changed; never waits."""


class LocalUser:
    """The operations that are under way, and the observers of documents."""

    def __init__(self, feed: Callable[[Input], None]) -> None:
        self._feed = feed
        self._numbers = itertools.count(1)
        self._ends: dict[int, asyncio.Future[Result | LocalRefusal]] = {}
        self._unwritten: deque[tuple[WriteNumber, str]] = deque()
        self._observers: list[Observe] = []

    async def operate(self, operation: Fields | Edit | Deletion) -> Result | LocalRefusal:
        """Carry out an operation and return its result once it is durable.

        One whose caller is cancelled is carried out all the same.
        """
        number = next(self._numbers)
        end: asyncio.Future[Result | LocalRefusal] = asyncio.get_running_loop().create_future()
        self._ends[number] = end
        self._feed(LocalOperation(number, operation))
        return await end

    def finish(self, done: LocalDone) -> None:
        """Resolve the future of an operation."""
        end = self._ends.pop(done.number)
        if not end.done():
            end.set_result(done.result)

    def give_up(self) -> None:
        """End every operation that is under way: the node ends."""
        ends, self._ends = self._ends, {}
        for end in ends.values():
            if not end.done():
                end.set_result(LocalRefusal.NOT_STORED)

    def observe(self, observe: Observe) -> Callable[[], None]:
        """Report each change that is durable from now on; return the function that ends that."""
        self._observers.append(observe)
        return lambda: self._observers.remove(observe)

    def note_write(self, effect: WriteStore) -> None:
        """Note a change that is not durable yet."""
        self._unwritten.append((effect.number, effect.key))

    def note_durable(self, number: WriteNumber) -> None:
        """Report the changes up to this write."""
        while self._unwritten and self._unwritten[0][0] <= number:
            _, key = self._unwritten.popleft()
            for observe in tuple(self._observers):
                observe(key)

    def lose_writes(self) -> None:
        """Forget the changes that are not durable."""
        self._unwritten.clear()
