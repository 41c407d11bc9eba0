"""Progress is shown on a terminal, as cases end, and nowhere else."""

import io

import pytest

from meshwire_conformance.commands.check import EVERY_S, ProgressLine, progress_on
from meshwire_conformance.verdicts import CaseResult, Verdict


class Terminal(io.StringIO):
    """A text stream that says whether it is a terminal."""

    def __init__(self, *, terminal: bool = True) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        """Whether a person looks at it."""
        return self._terminal


def result(number: int) -> CaseResult:
    """A case that is over."""
    return CaseResult(f"MW-{number}", Verdict.PASS)


def test_each_case_that_ends_later_is_shown() -> None:
    """The count, the total and the case, over the line before."""
    terminal, times = Terminal(), iter((0.0, 0.0, EVERY_S, EVERY_S))
    line = ProgressLine(terminal, lambda: next(times))
    for number in (1, 2, 3):
        line(result(5000 + number), number, 4)

    assert terminal.getvalue() == "\r1/4 cases, MW-5001\r2/4 cases, MW-5002"


def test_the_last_case_is_always_shown_and_the_line_cleared() -> None:
    """Nothing of it is left before the report."""
    terminal = Terminal()
    line = ProgressLine(terminal, lambda: 0.0)
    line(result(5001), 1, 3)
    line(result(5002), 2, 3)
    line(result(5003), 3, 3)
    line.clear()

    assert terminal.getvalue().endswith("\r3/3 cases, MW-5003\r" + " " * 18 + "\r")
    assert "2/3" not in terminal.getvalue()


def test_a_run_without_cases_writes_nothing() -> None:
    """There is nothing to clear."""
    terminal = Terminal()
    ProgressLine(terminal, lambda: 0.0).clear()

    assert terminal.getvalue() == ""


@pytest.mark.parametrize(
    ("terminal", "environment"),
    [(False, {}), (True, {"TERM": "dumb"})],
    ids=["piped", "a terminal that cannot go back"],
)
def test_no_progress_where_it_would_be_in_the_way(
    terminal: bool,  # noqa: FBT001 - a parameter of the test
    environment: dict[str, str],
) -> None:
    """A log holds no half lines."""
    assert progress_on(Terminal(terminal=terminal), environment) is None


def test_progress_needs_no_colour() -> None:
    """NO_COLOR changes nothing, for there is no escape code in it."""
    terminal = Terminal()
    line = progress_on(terminal, {"NO_COLOR": "1", "TERM": "xterm"})
    assert line is not None
    line(result(5001), 1, 1)

    assert "\x1b" not in terminal.getvalue()
    assert "1/1" in terminal.getvalue()
