"""Progress of a run: a line on a terminal, lines in a log, failures as they come."""

from __future__ import annotations

import asyncio
import errno
import io
from contextlib import ExitStack
from dataclasses import replace

import pytest

from meshwire_conformance.commands.progress import (
    LINE_EVERY_S,
    LOG_EVERY_S,
    SHOWN_MAX,
    ProgressLine,
    ProgressLog,
    SilentProgress,
    progress_on,
    ticking,
)
from meshwire_conformance.run.loading import load_catalogue
from meshwire_conformance.run.progress import CaseOver
from meshwire_conformance.verdicts import CaseResult, Verdict

CASES = load_catalogue().cases
ONE, TWO, THREE = (case.id for case in CASES[:3])


class Terminal(io.StringIO):
    """A text stream that says whether it is a terminal."""

    def __init__(self, *, terminal: bool = True) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        """Whether a person looks at it."""
        return self._terminal


class Clock:
    """A clock that moves only where a test moves it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.now


def over(number: int, total: int, verdict: Verdict = Verdict.PASS) -> CaseOver:
    """The case of this number, counted from 1, that is over."""
    case = replace(CASES[number - 1], title=f"title {number}\x1b")
    symptom = "accepted" if verdict is Verdict.FAIL else ""
    return CaseOver(case, CaseResult(case.id, verdict, symptom=symptom), number, total)


def test_each_case_that_ends_later_is_shown() -> None:
    """The count, the total and the case, over the line before."""
    terminal, clock = Terminal(), Clock()
    line = ProgressLine(terminal, clock)
    line(over(1, 4))
    line(over(2, 4))
    clock.now = LINE_EVERY_S
    line(over(3, 4))

    assert terminal.getvalue() == f"\r1/4 cases, 0 failed, {ONE}\r3/4 cases, 0 failed, {THREE}"


def test_the_last_case_is_always_shown_and_the_line_cleared() -> None:
    """Nothing of it is left before the report."""
    terminal = Terminal()
    line = ProgressLine(terminal, Clock())
    for number in (1, 2, 3):
        line(over(number, 3))
    line.clear()
    last = f"3/3 cases, 0 failed, {THREE}"

    assert terminal.getvalue().endswith(f"\r{last}\r{' ' * len(last)}\r")
    assert "2/3" not in terminal.getvalue()


def test_a_failure_is_written_above_the_line_at_once() -> None:
    """However soon it comes after the last update, and the line follows it."""
    terminal = Terminal()
    line = ProgressLine(terminal, Clock())
    line(over(1, 3))
    line(over(2, 3, Verdict.FAIL))
    before = f"1/3 cases, 0 failed, {ONE}"

    assert terminal.getvalue() == (
        f"\r{before}\r{' ' * len(before)}\r"
        f"FAIL {TWO}  title 2\\x1b: accepted\n"
        f"\r2/3 cases, 1 failed, {TWO}"
    )


def test_a_terminal_shows_only_the_first_failures() -> None:
    """Causes come first in the report, and must not scroll away."""
    terminal = Terminal()
    line = ProgressLine(terminal, Clock())
    for number in range(1, 101):
        line(over(number, 100, Verdict.FAIL))

    assert terminal.getvalue().count("FAIL") == SHOWN_MAX
    assert "100/100 cases, 100 failed" in terminal.getvalue()


def test_a_log_has_each_failure_and_the_counts_every_ten_seconds() -> None:
    """No line is half or overwritten, and a case that passes has none."""
    stream, clock = Terminal(terminal=False), Clock()
    log = ProgressLog(stream, clock)
    for number, moment in ((1, 0.0), (2, 4.0), (3, 9.9), (4, 10.0), (5, 19.9), (6, 20.1)):
        clock.now = moment
        log(over(number, 9, Verdict.FAIL if number in {2, 5} else Verdict.PASS))
    log.clear()

    assert stream.getvalue().splitlines() == [
        f"FAIL {TWO}  title 2\\x1b: accepted",
        "4/9 cases, 1 failed",
        f"FAIL {CASES[4].id}  title 5\\x1b: accepted",
        "6/9 cases, 2 failed",
    ]


def test_a_log_goes_on_while_no_case_ends() -> None:
    """A run that waits for a slow target differs from one that hangs the build."""
    stream, clock = Terminal(terminal=False), Clock()
    log = ProgressLog(stream, clock)
    ticks: asyncio.Queue[float] = asyncio.Queue()

    async def pause() -> None:
        clock.now += LOG_EVERY_S / 4
        await ticks.join()

    async def work() -> str:
        for number in range(12):
            await ticks.get()
            ticks.task_done()
            if number == 3:
                log(over(1, 3, Verdict.KNOWN_FAILING))
        return "over"

    def tick() -> None:
        log.tick()
        ticks.put_nowait(clock.now)

    assert asyncio.run(ticking(work(), tick, pause)) == "over"
    assert stream.getvalue().splitlines() == [
        "no case is over yet",
        "1/3 cases, 0 failed",
        "1/3 cases, 0 failed",
    ]


def test_a_log_names_what_is_waited_for_while_no_case_ends() -> None:
    """A target that answers nothing is seen by the cases that wait for it."""
    stream, clock = Terminal(terminal=False), Clock()
    log = ProgressLog(stream, clock)

    def later() -> None:
        clock.now += LOG_EVERY_S
        log.tick()

    with log.waits_for(TWO):
        later()
        log(over(1, 9))
        later()
        with ExitStack() as stack:
            for case in CASES[2:9]:
                stack.enter_context(log.waits_for(case.id))
            later()
        later()
    later()

    lines = stream.getvalue().splitlines()
    assert lines[0] == f"no case is over yet; waiting for {TWO}"
    assert lines[1] == "1/9 cases, 0 failed"
    assert lines[2].startswith(f"1/9 cases, 0 failed; waiting for {TWO}, {THREE}, ")
    assert lines[2].endswith(" and 3 more")
    assert lines[3:] == [f"1/9 cases, 0 failed; waiting for {TWO}", "1/9 cases, 0 failed"]


def test_ticks_end_with_the_work_that_raises() -> None:
    """And the error is that of the work."""
    ticked = asyncio.Event()

    async def pause() -> None:
        if ticked.is_set():
            await asyncio.Event().wait()

    async def work() -> None:
        await ticked.wait()
        raise LookupError

    with pytest.raises(LookupError):
        asyncio.run(ticking(work(), ticked.set, pause))


def test_a_run_without_cases_writes_nothing() -> None:
    """There is nothing to clear."""
    terminal = Terminal()
    for progress in (ProgressLine(terminal, Clock()), ProgressLog(terminal, Clock())):
        progress.clear()

    assert terminal.getvalue() == ""


@pytest.mark.parametrize(
    ("terminal", "environment", "expected"),
    [
        (True, {"TERM": "xterm"}, ProgressLine),
        (False, {}, ProgressLog),
        (True, {"TERM": "dumb"}, ProgressLog),
    ],
    ids=["a terminal", "piped", "a terminal that cannot go back"],
)
def test_only_a_terminal_has_a_line_that_moves(
    terminal: bool,  # noqa: FBT001 - a parameter of the test
    environment: dict[str, str],
    expected: type[SilentProgress],
) -> None:
    """A log holds no half lines."""
    made = progress_on(Terminal(terminal=terminal), environment, colour=False)

    assert type(made) is expected


@pytest.mark.parametrize("kind", [ProgressLine, ProgressLog])
def test_colour_only_where_it_is_asked_for(kind: type[ProgressLine | ProgressLog]) -> None:
    """The line and the counts have none at all."""
    plain, coloured = Terminal(), Terminal()
    kind(plain, Clock())(over(1, 1, Verdict.FAIL))
    kind(coloured, Clock(), colour=True)(over(1, 1, Verdict.FAIL))

    assert "\x1b" not in plain.getvalue()
    assert f"\x1b[31mFAIL\x1b[0m {ONE}" in coloured.getvalue()


class Full(Terminal):
    """A stream to which only the first writes succeed."""

    def __init__(self, *, room: int) -> None:
        super().__init__()
        self._room = room

    def flush(self) -> None:
        """Fail once the room is used up."""
        self._room -= 1
        if self._room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("kind", [ProgressLine, ProgressLog])
@pytest.mark.parametrize("room", [0, 1])
def test_a_progress_that_cannot_be_written_is_given_up(
    kind: type[ProgressLine | ProgressLog], room: int
) -> None:
    """The cases are still counted, and nothing is raised."""
    clock = Clock()
    shown = kind(Full(room=room), clock)
    for number in (1, 2):
        shown(over(number, 3, Verdict.FAIL))
    clock.now = LOG_EVERY_S
    shown.tick()
    shown.clear()

    assert shown.failed == 2
