"""What a document call may cost, and the events of the workers that carry calls out.

Theory of operation. A call is judged by the CPU time of its worker against the bytes that it works
on, since these are the same on an idle machine and on a busy one. The worker sets two timers before
each call, and the kernel ends the process when one of them expires, also within native code that
holds the interpreter lock:

- ITIMER_PROF, the budget: CPU time of the process, in user and in system mode;
- ITIMER_REAL, the ceiling: wall time, so far above the budget that only a worker that is stuck
  without working reaches it. It also ends a worker whose parent has ended.

The exit signal says which of the two it was, or that the library aborted.
"""

import signal
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from meshwire_reference.core.document_calls import ConnectionName
from meshwire_spec.numbers import DOCUMENT_CALL_S, DOCUMENT_CALL_S_PER_KIB

CEILING_S: Final = 60.0
"""Least seconds of wall time after which a call counts as stuck."""
CEILING_PER_BUDGET: Final = 20.0
"""Seconds of wall time that a call has for each second of its budget, if that is more."""
TIMER_MAX_S: Final = 1e8
"""Greatest seconds of a timer, three years: a system may refuse more."""
BUDGET_ALONE: Final = 2.0
"""Factor of the budget of a call that is run a second time, alone."""
MEMORY_BYTES: Final = 2 * 2**30
"""Greatest address space of a worker, in bytes."""
DETAIL_MAX: Final = 200
"""Greatest length of the text of a dead worker in an event, in characters."""

WORKER_ENDED: Final = "worker-ended"
"""Reason of the loss of pending changes whose worker has ended."""

SIGNALS: Final = {
    signal.SIGPROF: "cpu-time",
    signal.SIGALRM: "stuck",
    signal.SIGABRT: "abort-or-memory",
}
"""Reason of a death by the signal that ended the process."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The time that a call may take: CPU time by its size, and a ceiling of wall time."""

    call_s: float = DOCUMENT_CALL_S
    call_s_per_kib: float = DOCUMENT_CALL_S_PER_KIB
    ceiling_s: float = CEILING_S

    def cpu_s(self, size: int) -> float:
        """Return the CPU time that a call on `size` bytes may take, in seconds (D-160)."""
        return min(self.call_s + self.call_s_per_kib * size / 1024, TIMER_MAX_S)

    def wall_s(self, size: int) -> float:
        """Return after how many seconds of wall time a call on `size` bytes counts as stuck."""
        return min(max(self.ceiling_s, CEILING_PER_BUDGET * self.cpu_s(size)), TIMER_MAX_S)

    def alone(self) -> "Budget":
        """Return the budget of a call that is run a second time, alone."""
        call_s, per_kib = BUDGET_ALONE * self.call_s, BUDGET_ALONE * self.call_s_per_kib
        return replace(self, call_s=call_s, call_s_per_kib=per_kib)


def reason_of_exit(code: int) -> str:
    """Return why a worker has ended, by its exit code, which is negative for a signal."""
    if code >= 0:
        return f"exit-code-{code}"
    try:
        ended_by = signal.Signals(-code)
    except ValueError:
        return f"signal-{-code}"
    return SIGNALS.get(ended_by, ended_by.name)


# --- Events ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WorkerDied:
    """A worker has ended, and with it every sync state that it held.

    `call` and `key` name what it was at, which runs alone next. With `alone` it was run alone
    already, no sync state is lost, and the call is refused. A worker that was at nothing has None.
    """

    reason: str
    call: str | None = None
    key: str | None = None
    connection: ConnectionName | None = None
    alone: bool = False
    detail: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class LimitNotSet:
    """The system refuses a limit of the worker, which works without it."""

    limit: str
    reason: str


@dataclass(frozen=True, slots=True)
class NoWorker:
    """No worker could be started; that is tried again after `retry_s` seconds."""

    reason: str
    retry_s: float


@dataclass(frozen=True, slots=True)
class PendingDropped:
    """A number of pending changes of a document were dropped, for this reason."""

    key: str
    reason: str
    changes: int


WorkerEvent: TypeAlias = WorkerDied | LimitNotSet | NoWorker | PendingDropped
