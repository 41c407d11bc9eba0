"""One queue per document key: at most one document call of a key is in flight.

That is the lock under which guard, apply and delete of a document happen (D-56, D-81).
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from itertools import count

from meshwire_reference.core.document_calls import Call, Result
from meshwire_reference.core.effects import CallDocuments


class Job(ABC):
    """Work on one document, done when its turn comes."""

    @abstractmethod
    def begin(self) -> Call | None:
        """Return the call to make, or None if the job is done without one."""

    @abstractmethod
    def finish(self, result: Result) -> None:
        """Handle the result of the call."""


class KeyQueues:
    """Jobs by key, and the calls in flight."""

    def __init__(self, emit: Callable[[CallDocuments], None]) -> None:
        self._emit = emit
        self._numbers = count(1)
        self._queues: dict[str, deque[Job]] = {}
        self._in_flight: dict[int, tuple[str, Job]] = {}

    def add(self, key: str, job: Job) -> None:
        """Queue a job; it begins at once if no other job of the key is queued."""
        queue = self._queues.get(key)
        if queue is not None:
            queue.append(job)
            return
        self._queues[key] = deque((job,))
        self._run(key)

    def call(self, call: Call) -> None:
        """Make a call that concerns no document; its result is not awaited."""
        self._emit(CallDocuments(next(self._numbers), call))

    def take_result(self, number: int, result: Result) -> None:
        """Pass a result to its job, then begin the next job of the same key."""
        waiting = self._in_flight.pop(number, None)
        if waiting is None:
            return
        key, job = waiting
        job.finish(result)
        self._queues[key].popleft()
        self._run(key)

    def _run(self, key: str) -> None:
        queue = self._queues[key]
        while queue:
            job = queue[0]
            call = job.begin()
            if call is not None:
                number = next(self._numbers)
                self._in_flight[number] = (key, job)
                self._emit(CallDocuments(number, call))
                return
            queue.popleft()
        del self._queues[key]
