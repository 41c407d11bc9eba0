"""`pytest --meshwire TARGET`: every case of the suite as a test of pytest.

The suite runs once, when the first of its items is to run, with the cases that pytest has selected;
each item then tells how its case ended.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from meshwire_conformance.verdicts import STALE, Verdict

if TYPE_CHECKING:
    from meshwire_conformance.report.record import Report

REPORT = pytest.StashKey["Report"]()
"""The report of the run, once it is over."""
FAULT = pytest.StashKey[str]()
"""Why there is no report."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("meshwire", "conformance to the mesh sync protocol")
    group.addoption(
        "--meshwire", metavar="TARGET", help="Run the cases of meshwire on this target."
    )
    group.addoption(
        "--meshwire-level",
        choices=["wire", "strict"],
        default="strict",
        help="Level whose results are required.",
    )
    group.addoption(
        "--meshwire-known-failing", type=Path, metavar="LEDGER", help="Ledger of known failures."
    )


def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Add an item for each case of the suite."""
    if config.getoption("meshwire") is None:
        return
    from meshwire_conformance.run.loading import load_listing  # noqa: PLC0415 - few sessions need it

    _require_usable(config)
    items += [
        CaseItem.from_parent(session, name=f"{case.id}[{case.kind}]", case=case.id)
        for case in load_listing().cases
    ]


def _require_usable(config: pytest.Config) -> None:
    """Raise pytest's UsageError for a wrong target or ledger, before any case is run."""
    from meshwire_conformance.errors import UsageError  # noqa: PLC0415 - few sessions need it
    from meshwire_conformance.report.ledger import read_ledger  # noqa: PLC0415 - as above
    from meshwire_conformance.run.loading import load_listing  # noqa: PLC0415 - as above
    from meshwire_conformance.targets.base import parse_target  # noqa: PLC0415 - as above

    ledger = config.getoption("meshwire_known_failing")
    try:
        parse_target(config.getoption("meshwire"))
        if ledger is not None:
            read_ledger(ledger, load_listing())
    except UsageError as exc:
        raise pytest.UsageError(f"--meshwire: {exc}") from exc


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say which entries of the ledger have expired or will soon."""
    report = config.stash.get(REPORT, None)
    for note in () if report is None else report.expiry_notes:
        terminalreporter.write_line(f"meshwire: {note}")


class CaseFailedError(Exception):
    """A case failed or could not run; its text is that of the report."""


class CaseItem(pytest.Item):
    """One case of the suite."""

    def __init__(self, *, case: str, **rest: Any) -> None:
        super().__init__(**rest)
        self.case = case

    def runtest(self) -> None:
        """Tell how the case ended; the first one runs the suite."""
        if self.config.stash.get(FAULT, ""):
            raise CaseFailedError(self.config.stash[FAULT])
        if REPORT not in self.config.stash:
            self._run_all()
        lines, verdicts = _ends(self.config.stash[REPORT], self.case)
        if Verdict.FAIL in verdicts or Verdict.COULD_NOT_RUN in verdicts:
            raise CaseFailedError("\n".join(lines))
        if Verdict.KNOWN_FAILING in verdicts:
            pytest.xfail("; ".join(lines))
        if Verdict.PASS not in verdicts:
            pytest.skip("; ".join(lines) or "not applicable")

    def _run_all(self) -> None:
        """Run the suite; raises CaseFailedError if it cannot, and so does then each case."""
        from meshwire_conformance.errors import SuiteError  # noqa: PLC0415 - few sessions need it

        chosen = [item.case for item in self.session.items if isinstance(item, CaseItem)]
        try:
            self.config.stash[REPORT] = _run(self.config, chosen)
        except SuiteError as exc:
            self.config.stash[FAULT] = f"the suite did not run: {exc}"
            raise CaseFailedError(self.config.stash[FAULT]) from exc

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> str:
        """Return the text of the report, without the places of the suite."""
        if isinstance(excinfo.value, CaseFailedError):
            return str(excinfo.value)
        return str(super().repr_failure(excinfo, style))

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Return where the item is and its name."""
        return self.path, None, self.name


def _run(config: pytest.Config, cases: Sequence[str]) -> "Report":
    """Run these cases on the target of the options."""
    from meshwire_conformance.commands.check import CheckOptions, attachments_of, checked  # noqa: PLC0415 - as above
    from meshwire_conformance.commands.progress import SilentProgress  # noqa: PLC0415 - as above
    from meshwire_conformance.run.loading import load_listing  # noqa: PLC0415 - as above

    target = config.getoption("meshwire")
    every = len(load_listing().cases) == len(cases)
    given = CheckOptions(
        targets=[target],
        only=None if every else list(cases),
        level=config.getoption("meshwire_level"),
        known_failing=config.getoption("meshwire_known_failing"),
    )
    silent = SilentProgress()
    return checked(attachments_of(given), target, given.to_run(silent), silent)


def _ends(report: "Report", case: str) -> tuple[list[str], set[Verdict]]:
    """Return what the report says of a case, and how it ended in each of the runs."""
    from meshwire_conformance.report.text import failure_lines  # noqa: PLC0415 - as above

    lines: list[str] = []
    verdicts: set[Verdict] = set()
    for run, result in _results(report, case):
        verdicts.add(result.verdict)
        if result.symptom == STALE:
            lines += (*result.reasons, f"remove its entry: {report.prune_command}")
        elif result.verdict is Verdict.FAIL:
            lines += failure_lines(report, run, report.cases[case], result)
        elif result.verdict is not Verdict.PASS:
            lines += result.reasons
    return lines, verdicts


def _results(report: "Report", case: str) -> Iterator[Any]:
    for run in report.runs:
        for result in run.results:
            if result.case == case:
                yield run, result
