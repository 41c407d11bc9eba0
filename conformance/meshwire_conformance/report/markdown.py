"""A summary in Markdown, such as a job shows: counts, causes, failures with their commands."""

import re
from collections.abc import Iterator
from pathlib import Path

from meshwire_conformance.report.causes import groups_of, in_order_of_causes
from meshwire_conformance.report.record import Report, Tally, tallies
from meshwire_conformance.report.saving import harmless, save
from meshwire_conformance.report.side_by_side import side_by_side
from meshwire_conformance.report.text import COLUMNS, HEADINGS
from meshwire_conformance.verdicts import ExitCode

FAILURES_MAX = 25
"""Failures that are listed."""
CAUSES_MAX = 10
_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~!&@:])")
SYMBOLS = {ExitCode.PASSED: "passed", ExitCode.VIOLATIONS: "failed"}


def plain(text: str) -> str:
    """Return a text in which no character has a meaning in Markdown."""
    return _MARKUP.sub(r"\\\1", harmless(text))


def code(text: str) -> str:
    """Return a text as code in a line; backticks of a target cannot end it."""
    return f"`{harmless(text).replace('`', chr(0x27))}`".replace("|", "\\|")


def document_of(report: Report) -> str:
    """Return the summary as Markdown."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    end = SYMBOLS.get(report.exit_code, "incomplete")
    yield f"## meshwire: {end} at level {report.level}"
    yield ""
    code_number = int(report.exit_code)
    yield f"{report.meaning} (exit {code_number}), target {code(report.target)}"
    yield ""
    if report.stale:
        cases = ", ".join(report.stale[:10])
        yield f"{len(report.stale)} of the ledger pass now ({cases}): {code(report.prune_command)}"
        yield ""
    for note in report.expiry_notes:
        yield plain(note)
        yield ""
    if report.hindrance:
        yield f"{plain(report.hindrance)}"
        yield ""
    yield from _table(report)
    yield from _columns(report)
    yield from _causes(report)
    yield from _failures(report)
    yield f"Suite {code(report.suite_digest)}"


def _table(report: Report) -> Iterator[str]:
    yield f"| | applicable | {' | '.join(HEADINGS)} |"
    yield f"| --- |{' ---: |' * (len(HEADINGS) + 1)}"
    for run in report.runs:
        everything = Tally()
        for result in run.results:
            everything.add(result)
        found = {part: one for part, one in tallies(run, report.cases).items() if one.applicable}
        yield _row(f"**{plain(run.name)}**", everything)
        for part, tally in found.items():
            yield _row(plain(part), tally)
    yield ""


def _row(name: str, tally: Tally) -> str:
    counts = " | ".join(str(tally.shown(verdict)) for verdict in COLUMNS)
    return f"| {name} | {tally.applicable}/{tally.total} | {counts} |"


def _columns(report: Report) -> Iterator[str]:
    found = side_by_side(report)
    if found is None:
        return
    yield f"| | {' | '.join(plain(name) for name in found.names)} |"
    yield f"| --- |{' --- |' * len(found.names)}"
    for part, shares in found.parts:
        yield f"| {plain(part)} | {' | '.join(shares)} |"
    for case, title, ends in found.differing[:FAILURES_MAX]:
        yield f"| {case} {plain(title)} | {' | '.join(plain(end) for end in ends)} |"
    yield ""


def _causes(report: Report) -> Iterator[str]:
    groups = groups_of(report)
    if len(groups) < 2 and not any(group.known for group in groups):  # noqa: PLR2004 - one failure needs no list
        return
    yield "### Causes"
    yield ""
    for group in groups[:CAUSES_MAX]:
        _, first, _ = group.failures[0]
        yield f"- {len(group.failures)} failed: {plain(group.says)}; start with {first.id}"
    yield ""


def _failures(report: Report) -> Iterator[str]:
    failures = list(in_order_of_causes(report, groups_of(report)))
    if not failures:
        return
    yield "### Failures"
    yield ""
    for run, case, result in failures[:FAILURES_MAX]:
        rules = ", ".join(case.rules)
        yield f"- **{case.id}** {plain(case.title)} ({rules}): {code(result.symptom or 'failed')}"
        for reason in result.reasons[:3]:
            yield f"  - {plain(reason)}"
        yield f"  - {code(report.again(run, case))}"
    if len(failures) > FAILURES_MAX:
        yield f"- and {len(failures) - FAILURES_MAX} more"
    yield ""


def write(report: Report, path: Path) -> None:
    """Write the summary; raises UsageError if that fails."""
    save(document_of(report), path)
