"""Progress of a run on standard error: failures as they come, and how far the run is.

On a terminal one line is overwritten and failures are written above it. Elsewhere, in the log of a
build for example, each failure and, every few seconds, the counts have a line of their own.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TextIO, TypeVar

from meshwire_conformance.commands import process
from meshwire_conformance.run.progress import CaseOver
from meshwire_conformance.verdicts import STALE, Verdict

LINE_EVERY_S = 0.05
"""Minimum time between two updates of the line on a terminal, in seconds."""
LOG_EVERY_S = 10.0
"""Time between two lines with counts in a log, in seconds."""
TICK_S = 1.0
"""Time between two looks at the clock while no case ends, in seconds."""
WAITING_MAX = 5
"""Cases that a line names of those that are waited for."""
SHOWN_MAX = 25
"""Failures that a terminal shows as they come; the report, which follows, shows all."""

Awaited = TypeVar("Awaited")


class SilentProgress:
    """Counts the verdicts of a run, and shows nothing."""

    def __init__(self) -> None:
        self._counted: Counter[Verdict] = Counter()
        self._waiting: dict[str, None] = {}

    def __call__(self, over: CaseOver) -> None:
        """Count one case that is over."""
        is_stale = over.result.symptom == STALE
        self._counted[Verdict.PASS if is_stale else over.result.verdict] += 1

    @contextmanager
    def waits_for(self, case: str) -> Iterator[None]:
        """Count a case as waited for while the context lasts."""
        self._waiting[case] = None
        try:
            yield
        finally:
            self._waiting.pop(case, None)

    @property
    def failed(self) -> int:
        """The number of violations so far."""
        return self._counted[Verdict.FAIL]

    def so_far(self) -> str:
        """Return the verdicts counted before an interrupt, as one line."""
        passed, count = self._counted[Verdict.PASS], self._counted.total()
        return f"interrupted: {count} cases were over, {passed} passed, {self.failed} failed"

    def tick(self) -> None:
        """Show how far the run is, if that is due; called also while no case ends."""

    def clear(self) -> None:
        """Leave an empty line for other output."""


class _Shown(SilentProgress):
    """Progress on a stream; `clock` gives the time in seconds."""

    def __init__(
        self, stream: TextIO, clock: Callable[[], float] = time.monotonic, *, colour: bool = False
    ) -> None:
        super().__init__()
        self._stream = stream
        self._clock = clock
        self._colour = colour
        self._next = clock()
        self._is_lost = False

    def _write_failure(self, over: CaseOver) -> None:
        from meshwire_conformance.report.text import failure_line, painter  # noqa: PLC0415 - failures only

        line = failure_line(over.case, over.result, painter(colour=self._colour))
        self._put(f"{line}\n")

    def _put(self, text: str) -> None:
        """Write a text at once; where that fails nothing more is shown, and the run goes on."""
        if self._is_lost:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            self._is_lost = True
            process.give_up_output()


def _is_new(over: CaseOver) -> bool:
    """Return True for a failure, other than a case that passes against its ledger."""
    return over.result.verdict is Verdict.FAIL and over.result.symptom != STALE


class ProgressLine(_Shown):
    """One line that is overwritten at each update, with the failures above it."""

    _width = 0

    def __call__(self, over: CaseOver) -> None:
        """Count one case that is over, write it if it failed, and update the line."""
        super().__call__(over)
        is_failure = _is_new(over) and self.failed <= SHOWN_MAX
        if is_failure:
            self.clear()
            self._write_failure(over)
        now = self._clock()
        if now < self._next and over.done < over.total and not is_failure:
            return
        self._next = now + LINE_EVERY_S
        self._write(f"{over.done}/{over.total} cases, {self.failed} failed, {over.case.id}")

    def clear(self) -> None:
        """Erase the line, so that other output starts on an empty one."""
        if self._width:
            self._write("")
            self._put("\r")

    def _write(self, text: str) -> None:
        self._put(f"\r{text:<{self._width}}")
        self._width = len(text)


class ProgressLog(_Shown):
    """A line for each failure, and one with the counts every few seconds."""

    def __init__(
        self, stream: TextIO, clock: Callable[[], float] = time.monotonic, *, colour: bool = False
    ) -> None:
        super().__init__(stream, clock, colour=colour)
        self._counts = self._put_last = "no case is over yet"
        self._next += LOG_EVERY_S

    def __call__(self, over: CaseOver) -> None:
        """Count one case that is over, and write it if it failed."""
        super().__call__(over)
        if _is_new(over):
            self._write_failure(over)
        self._counts = f"{over.done}/{over.total} cases, {self.failed} failed"
        self.tick()

    def tick(self) -> None:
        """Write the counts, if the last line with them is old enough."""
        now = self._clock()
        if now >= self._next:
            self._next = now + LOG_EVERY_S
            self._put(f"{self._counts}{self._awaited()}\n")
            self._put_last = self._counts

    def _awaited(self) -> str:
        """Return which cases are waited for if none has ended since the last line."""
        if self._counts != self._put_last or not self._waiting:
            return ""
        first = ", ".join(list(self._waiting)[:WAITING_MAX])
        more = len(self._waiting) - WAITING_MAX
        return f"; waiting for {first}{f' and {more} more' if more > 0 else ''}"


def progress_on(stream: TextIO, environment: Mapping[str, str], *, colour: bool) -> SilentProgress:
    """Return the line for a terminal that can move back in a line, else the log."""
    if not stream.isatty() or environment.get("TERM") == "dumb":
        return ProgressLog(stream, colour=colour)
    return ProgressLine(stream, colour=colour)


async def _a_tick_long() -> None:
    await asyncio.sleep(TICK_S)


async def ticking(
    work: Coroutine[Any, Any, Awaited],
    tick: Callable[[], None],
    pause: Callable[[], Awaitable[None]] = _a_tick_long,
) -> Awaited:
    """Await the work, and call `tick` after each pause until it is over."""

    async def tick_on() -> None:
        while True:
            await pause()
            tick()

    ticker = asyncio.create_task(tick_on())
    try:
        return await work
    finally:
        ticker.cancel()
