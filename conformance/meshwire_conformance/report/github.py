"""Annotations of GitHub: workflow commands, one for each cause of failure and one for the whole."""

from pathlib import Path

from meshwire_conformance.report.causes import groups_of
from meshwire_conformance.report.record import Report
from meshwire_conformance.report.saving import harmless, save
from meshwire_conformance.verdicts import ExitCode

ANNOTATIONS_MAX = 9
"""Annotations of failures: a step shows ten of a sort, and the last one counts them."""


def _message(text: str) -> str:
    """Return a text as the message of a workflow command, in one line."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")


def commands_of(report: Report) -> str:
    """Return the workflow commands, one a line."""
    lines = []
    groups = groups_of(report)
    for group in groups[:ANNOTATIONS_MAX]:
        run, case, result = group.failures[0]
        count = len(group.failures)
        rules = "\n".join(report.rule_lines(case))
        why = "; ".join(harmless(reason) for reason in result.reasons)
        again = harmless(report.again(run, case))
        text = f"{case.title}: {why}\n{rules}\n{again}"
        more = f" and {count - 1} more" if count > 1 else ""
        title = harmless(f"{case.id}{more}: {group.says}")
        lines.append(f"::error title={_property(title)}::{_message(text)}")
    lines += [f"::warning title=meshwire::{_message(note)}" for note in report.expiry_notes]
    lines.append(_whole(report))
    return "\n".join(lines) + "\n"


def _whole(report: Report) -> str:
    stale = ""
    if report.stale:
        prune = harmless(report.prune_command)
        stale = f", {len(report.stale)} of the ledger pass now ({prune})"
    why = harmless(report.hindrance)
    counts = report.closing
    if why and not (counts.passed or counts.known or counts.failed):
        text = f"{why}; nothing was judged"
    else:
        text = f"{counts.text}{stale}, level {report.level}{f'; {why}' if why else ''}"
    word = "notice" if report.exit_code is ExitCode.PASSED else "error"
    return f"::{word} title=meshwire::{_message(text)}"


def write(report: Report, path: Path) -> None:
    """Write the commands; raises UsageError if that fails."""
    save(commands_of(report), path)
