"""One queue per document key: at most one document call of a key is in flight that may change it.

That is the lock under which guard, apply and delete of a document happen (D-56, D-81).

The calls that the jobs of one input make are gathered, and those of one kind for one connection
become one call with an answer for each: the entries of a batch are one step for the worker, and for
the process that feeds it. Snapshots of one document that several peers wait for are made once.
Messages for several peers that follow each other in the queue of a document, and messages of
several peers without changes, are one call too.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Final

from meshwire_reference.core.document_calls import (
    Call,
    ConnectionName,
    Drop,
    Each,
    Joinable,
    Result,
    Saved,
    Together,
    lane_of,
    size_of,
)
from meshwire_reference.core.effects import CallDocuments

TOGETHER_MAX: Final = 32
"""Greatest number of calls that are made together."""
TOGETHER_BYTES_MAX: Final = 64 * 1024
"""Bytes of a peer that calls made together carry; a larger call is made alone."""


class Job(ABC):
    """Work on one document, done when its turn comes."""

    @property
    def reads_by(self) -> type[Call] | None:
        """The type of its call if that certainly does not change the document, else None.

        Such a job may begin before an earlier one of the same type is finished.
        """
        return None

    @abstractmethod
    def begin(self) -> Call | None:
        """Return the call to make, or None if the job is done without one."""

    @abstractmethod
    def finish(self, result: Result) -> None:
        """Handle the result of the call."""


class Dropping(Job):
    """Makes the worker drop its copy of a document, which has changes that are not stored."""

    def __init__(self, key: str) -> None:
        self._key = key

    def begin(self) -> Call:
        """Return the call."""
        return Drop(self._key)

    def finish(self, result: Result) -> None:
        """Do nothing: the next call for the key loads the document from the store."""


class KeyQueues:
    """Jobs by key, and the calls in flight.

    `flush` hands over the calls gathered since the last time.
    """

    def __init__(self, emit: Callable[[CallDocuments], None]) -> None:
        self._emit = emit
        self._gathered: list[tuple[str, Job, Call]] = []
        self._numbers = count(1)
        self._queues: dict[str, deque[Job]] = {}
        self._in_flight: dict[int, list[tuple[str, Job, Call]]] = {}
        # How many jobs at the beginning of a queue have begun, where those are several.
        self._begun: dict[str, int] = {}
        self._is_flushing = False
        self._unmade: list[Call] = []

    def __len__(self) -> int:
        """Return how many documents have jobs that are not over."""
        return len(self._queues)

    def __contains__(self, key: str) -> bool:
        """Return True if a document has jobs that are not over."""
        return key in self._queues

    def add(self, key: str, job: Job) -> None:
        """Queue a job; it begins at once if no other job of the key is queued."""
        queue = self._queues.get(key)
        if queue is not None:
            queue.append(job)
            return
        self._queues[key] = deque((job,))
        self._run(key)

    def drop(self, key: str) -> None:
        """Make the worker drop its copy of a document, before the next job of its key."""
        queue = self._queues.get(key)
        if queue is None:
            self.add(key, Dropping(key))
        else:
            # The first one is in flight, or several.
            queue.insert(self._begun.get(key, 1), Dropping(key))

    def call(self, call: Call) -> None:
        """Make a call that concerns no document; its result is not awaited."""
        self._unmade.append(call)
        self.flush()

    def take_result(self, number: int, result: Result | Each) -> None:
        """Pass each result to its job, then begin the next job of the same key."""
        waiting = self._in_flight.pop(number, ())
        results = result.results if isinstance(result, Each) else (result,) * len(waiting)
        for (key, job, call), one in zip(waiting, results, strict=True):
            job.finish(one)
            self._queues[key].popleft()
            left = self._begun.pop(key, 1) - 1
            if left:
                self._begun[key] = left
            else:
                self._run(key, (call, one) if isinstance(one, Saved) else None)

    def flush(self) -> None:
        """Make the calls that were gathered, in their order as far as they are made together."""
        # A job that begins here may be over at once, and lead to more.
        if self._is_flushing:
            return
        self._is_flushing = True
        while self._gathered or self._unmade:
            gathered, self._gathered = self._gathered, []
            self._group([item for item in gathered if not self._join(item)])
            calls, self._unmade = self._unmade, []
            for call in calls:
                self._emit(CallDocuments(next(self._numbers), call))
        self._is_flushing = False

    def _join(self, item: tuple[str, Job, Call]) -> bool:
        """Make a call together with those of the next jobs; return False if it stays alone."""
        key, job, call = item
        queue = self._queues[key]
        if len(queue) == 1 or job.reads_by is not type(call):
            return False
        items, size = [item], size_of(call)
        while len(items) < min(len(queue), TOGETHER_MAX) and size <= TOGETHER_BYTES_MAX:
            other = queue[len(items)]
            if other.reads_by is not type(call):
                break
            more = other.begin()
            if more is None:
                queue.remove(other)
                continue
            size += size_of(more)
            items.append((key, other, more))
            self._begun[key] = len(items)
        if len(items) == 1:
            return False
        self._make(items)
        return True

    def _group(self, gathered: list[tuple[str, Job, Call]]) -> None:
        """Make calls, those of one kind for one connection together."""
        groups: dict[tuple[type[Call], ConnectionName | None], list[tuple[str, Job, Call]]] = {}
        room: dict[tuple[type[Call], ConnectionName | None], int] = {}
        for item in gathered:
            call = item[2]
            size = size_of(call)
            if not isinstance(call, Joinable) or size > TOGETHER_BYTES_MAX:
                self._make([item])
                continue
            name = (type(call), lane_of(call))
            room[name] = room.get(name, TOGETHER_BYTES_MAX) - size
            group = groups.setdefault(name, [])
            if group and (len(group) == TOGETHER_MAX or room[name] < 0):
                self._make(group)
                room[name] = TOGETHER_BYTES_MAX - size
                group = groups[name] = []
            group.append(item)
        for group in groups.values():
            self._make(group)

    def _make(self, items: list[tuple[str, Job, Call]]) -> None:
        number = next(self._numbers)
        self._in_flight[number] = items
        calls = tuple(call for _, _, call in items)
        self._emit(CallDocuments(number, calls[0] if len(calls) == 1 else Together(calls)))

    def _run(self, key: str, saved: tuple[Call, Result] | None = None) -> None:
        """Begin the next job of a key; those that ask for what was just `saved` are given it."""
        queue = self._queues[key]
        while queue:
            job = queue[0]
            call = job.begin()
            if saved is not None and call == saved[0]:
                # Nothing has changed the document since: one snapshot serves every peer.
                job.finish(saved[1])
            elif call is not None:
                self._gathered.append((key, job, call))
                return
            queue.popleft()
        del self._queues[key]
