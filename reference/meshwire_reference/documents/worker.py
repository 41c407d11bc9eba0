"""The worker process: reads calls from standard input, answers each at once on standard output.

Its memory and the CPU time of each call are limited, and it ends with its input. Hostile bytes
(panic, abort, endless work) can end only this process; `documents.supervisor` starts it and reads
the cause of its end. The worker sets the timers of `documents.limits` itself, since it alone knows
the size of the documents that it holds.

Usage: python -m meshwire_reference.documents.worker ACTOR_HEX MEMORY_BYTES CALL_S CALL_S_PER_KIB
CEILING_S
"""

import os
import resource
import select
import signal
import sys
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Final

from meshwire_reference.core.document_calls import Call, Forget, Result, size_of
from meshwire_reference.documents.limits import Budget
from meshwire_reference.documents.pipe import (
    FAILED,
    SKIP,
    Frame,
    Memory,
    PipeReader,
    decode_request,
    encode_frame,
    encode_ready,
    encode_reply,
)

if TYPE_CHECKING:
    from meshwire_reference.documents.table import Table

READ_BYTES: Final = 2**20
TOGETHER_S: Final = 0.025
"""Seconds after which no further one of several calls is begun."""
PARENT_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What ends a node, and also reaches its workers where it is sent to the whole group."""
TIMER_SIGNALS: Final = (signal.SIGPROF, signal.SIGALRM)
"""Signals of the two timers; their default action ends the process, also inside the library."""


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte; a pipe takes what fits."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def set_limit(name: str, value: int) -> tuple[str, str] | None:
    """Set a limit of the system, or a lower one if there is; return its name and why it failed."""
    try:
        limit = getattr(resource, name)
        _, hard = resource.getrlimit(limit)
        soft = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (soft, hard))
    except (AttributeError, OSError, ValueError) as exc:
        return name, str(exc)
    return None


def confine(memory_bytes: int) -> tuple[tuple[str, str], ...]:
    """Cap the memory, leave no core file, and leave the signals that end a node to the parent.

    Returns each limit that the system refuses, with the reason.
    """
    for number in PARENT_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    for number in TIMER_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    # A blocked signal is inherited from the parent, and would stay pending.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, TIMER_SIGNALS)
    refused = (set_limit("RLIMIT_AS", memory_bytes), set_limit("RLIMIT_CORE", 0))
    return tuple(limit for limit in refused if limit is not None)


def set_timers(cpu_s: float, wall_s: float) -> None:
    """Set when the kernel ends this process, in CPU time and in wall time; 0 never does."""
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    signal.setitimer(signal.ITIMER_REAL, wall_s)


class Requests:
    """The requests on standard input, in order, and which of them are to be left out."""

    def __init__(self) -> None:
        self._reader = PipeReader()
        self._waiting: deque[Frame] = deque()
        self._skipped: set[int] = set()
        self._ended = False

    def next(self) -> Frame | None:
        """Return the next request, waiting for it; None when the input has ended."""
        # Input received meanwhile is read first: it may skip waiting requests.
        while not self._ended and (not self._waiting or select.select((0,), (), (), 0)[0]):
            data = os.read(0, READ_BYTES)
            self._ended = not data
            for frame in self._reader.feed(data):
                if frame.kind == SKIP:
                    self._skipped.add(frame.number)
                else:
                    self._waiting.append(frame)
        return self._waiting.popleft() if self._waiting else None

    def is_skipped(self, number: int) -> bool:
        """Return True if this request must be left out; a later skip comes too late."""
        skipped = number in self._skipped
        # Numbers increase, so a skip of this request or an earlier one would have arrived.
        self._skipped = {one for one in self._skipped if one > number} if self._skipped else set()
        return skipped


def serve(answers: int, actor: bytes, budget: Budget, not_set: tuple[tuple[str, str], ...]) -> None:
    """Answer calls until the input ends."""
    from meshwire_reference.documents.table import Table  # noqa: PLC0415  # may be missing

    table = Table(actor)
    requests = Requests()
    write_all(answers, encode_ready(not_set))
    while frame := requests.next():
        calls = decode_request(frame)
        results = []
        if not requests.is_skipped(frame.number):
            results = answer_all(table, calls, budget)
        reply = encode_reply(frame.number, results)
        # A reader that is slow must not count against a call.
        set_timers(0, 0)
        if len(results) < len(calls):
            reply += encode_frame(SKIP, frame.number, b"")
        write_all(answers, reply)


def answer_all(
    table: "Table", calls: list[tuple[Call, bytes | None]], budget: Budget
) -> list[tuple[Result, Memory]]:
    """Carry out calls; return the results of those before the first that is left out."""
    results: list[tuple[Result, Memory]] = []
    until_s = monotonic() + TOGETHER_S
    for call, stored in calls:
        # A document that was released is not an absent one: its bytes must be sent again.
        is_missing = stored is None and not isinstance(call, Forget) and not table.holds(call)
        # Others must not wait for all of them.
        if is_missing or (results and monotonic() > until_s):
            break
        size = table.size_of(call) + len(stored or b"") + size_of(call)
        # DC-041
        set_timers(budget.cpu_s(size), budget.wall_s(size))
        result = table.answer(call, stored)
        results.append((result, table.memory_after(call)))
    return results


def main(arguments: list[str]) -> int:
    """Run the worker; returns 1 when the library cannot be loaded, aborts without memory."""
    actor, memory_bytes, *times_s = arguments
    # Output of the library goes to standard error, which the parent reads.
    answers = os.dup(1)
    os.dup2(2, 1)
    not_set = confine(int(memory_bytes))
    try:
        serve(answers, bytes.fromhex(actor), Budget(*map(float, times_s)), not_set)
    except MemoryError:
        # Ends like a process whose library has run out of memory.
        os.write(2, b"MemoryError")
        os.abort()
    except ImportError as exc:
        write_all(answers, encode_frame(FAILED, 0, str(exc).encode()))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
