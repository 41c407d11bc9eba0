"""Repeats what missed a deadline, and decides what a second miss means.

Theory. The machine is shared, so a passed deadline alone proves nothing about a target. A case that
missed one is repeated alone, under a deadline from a fresh calibration, while probes read the
canary, one after the other. If it passes then, it passes and is marked as slow. If it misses again,
the probes decide. If they were prompt, the case fails. If they were slow, the case could not be
judged. If the suite itself was late, that says nothing about the target, and the case is repeated
again, a few times.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from meshwire_conformance.socket_suite.attempts import Attempt, noted
from meshwire_conformance.socket_suite.calibration import Canary
from meshwire_conformance.targets.transport import Signal
from meshwire_conformance.verdicts import PROMPT, TOO_SLOW, TOO_SLOW_REASON, CaseResult, Verdict

PATIENCE = 2
"""A probe without an answer after this multiple of the deadline will not get one."""
LAST_PATIENCE = 4
"""A target that answered no read gets this multiple of the deadline for the last one of a run."""
REPETITIONS_MAX = 4
"""A case is repeated at most this often, where each time the suite itself was late."""
PAUSE = 0.01
"""Pause between two probes, as a part of the deadline."""
UNANSWERED_REASON = (
    "too slow to judge: the target answered no read for a while, and answers again; a greater "
    "--timeout-scale gives it more time"
)


@dataclass(frozen=True, slots=True)
class Beside:
    """What the probes beside a repetition showed.

    `slowest_s` is the time of the slowest answer in seconds; `gone` says why the last probe got no
    answer at all, and is empty if it did.
    """

    deadline_s: float
    slowest_s: float = 0.0
    gone: str = ""

    @property
    def prompt(self) -> bool:
        """True if every probe was answered promptly."""
        return self.slowest_s <= PROMPT * self.deadline_s

    def describe(self) -> str:
        """Return the line for the report."""
        if self.gone:
            return f"beside it a read of the canary got no answer: {self.gone}"
        return (
            f"beside it the slowest read of the canary took {self.slowest_s:.2f} s "
            f"of a deadline of {self.deadline_s:.2f} s"
        )


class Probes:
    """Reads the canary repeatedly for as long as the context lasts; `found` says what it showed."""

    def __init__(
        self, canary: Canary, deadline_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._canary = canary
        self._clock = clock
        self._deadline_s = deadline_s
        self._slowest_s = 0.0
        self._is_ending = False
        self._signal = Signal()
        self._task: asyncio.Task[str] | None = None

    async def __aenter__(self) -> Self:
        """Begin to read."""
        self._task = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Stop reading at once."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def found(self) -> Beside:
        """Wait for the answer to the last probe and return what all of them showed."""
        assert self._task is not None
        self._is_ending = True
        self._signal.notify()
        gone = await self._task
        return Beside(self._deadline_s, self._slowest_s, gone)

    async def _read(self) -> str:
        """Read until the end; return why no answer came, or an empty text."""
        patience_s = PATIENCE * self._deadline_s
        while True:
            start = self._clock()
            try:
                answered = await self._canary.read(patience_s)
            except (ConnectionError, TimeoutError) as exc:
                return str(exc) or "no credit for another stream"
            if not answered:
                return f"nothing within {patience_s:.2f} s"
            self._slowest_s = max(self._slowest_s, self._clock() - start)
            await self._signal.wait_for(lambda: self._is_ending, PAUSE * self._deadline_s)
            if self._is_ending:
                return ""


def decided(first: Attempt, second: Attempt, beside: Beside) -> Attempt:
    """Return which of two attempts counts; the second one is a repetition."""
    result = second.result
    before = f"beside others: {first.result.symptom}"
    if result.verdict is Verdict.PASS:
        note = f"{before}; repeated it held"
        return replace(second, result=replace(noted(result, note), slow=True))
    result = noted(result, f"{before}; repeated: {result.symptom}")
    if second.missed:
        result = noted(result, beside.describe())
        if second.suite_late or not (beside.prompt or beside.gone):
            result = unjudged(result, TOO_SLOW_REASON)
    return replace(second, result=result)


async def until_in_time(repeat: Callable[[int], Awaitable[Attempt]]) -> Attempt:
    """Repeat a case until the suite was in time for it, or too often; return the last attempt.

    `repeat` gets the number of the attempt; that of the first repetition is 2.
    """
    for number in range(2, 2 + REPETITIONS_MAX):
        attempt = await repeat(number)
        if not (attempt.suite_late and attempt.result.symptom == TOO_SLOW):
            break
    return attempt


def unjudged(result: CaseResult, reason: str) -> CaseResult:
    """Return the result of a case that cannot be judged, because everything is slow."""
    return replace(
        result, verdict=Verdict.COULD_NOT_RUN, reasons=(reason,), symptom=TOO_SLOW, sent=()
    )
