"""The report as JUnit XML, for continuous integration."""

import re
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from meshwire_conformance.report.record import Report, TargetRun
from meshwire_conformance.report.saving import CUT, save
from meshwire_conformance.report.text import failure_lines
from meshwire_conformance.verdicts import ENDED, CaseResult, Verdict

ILLEGAL = re.compile(
    "[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
    "|[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)
"""Characters that XML 1.0 cannot contain, even escaped, or that change how a text is shown."""

DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>'

SKIPPED = {
    Verdict.NOT_APPLICABLE: "not applicable",
    Verdict.KNOWN_FAILING: "known failing",
    Verdict.INFORMATIONAL: "informational",
}


def legal(text: str) -> str:
    """Return the text with every character that XML cannot contain replaced by its number."""
    return ILLEGAL.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _attribute(text: str) -> str:
    more = f"... ({len(text)} characters)" if len(text) > CUT else ""
    return quoteattr(legal(text[:CUT]) + more)


def document_of(report: Report) -> str:
    """Return the report as XML text."""
    unshown = report.unshown
    suites = "\n".join(
        _suite(report, run, "" if number else unshown) for number, run in enumerate(report.runs)
    )
    name = _attribute(f"meshwire {report.suite_version} {report.spec_revision}")
    return f"{DECLARATION}\n<testsuites name={name}>\n{suites}\n</testsuites>\n"


def _suite(report: Report, run: TargetRun, unshown: str) -> str:
    """Return one run; `unshown` is the reason of a failure that no case shows, or empty."""
    counted = [result.verdict for result in run.results]
    unrun = [result for result in run.results if result.symptom == ENDED]
    skipped = sum(verdict in SKIPPED for verdict in counted) + len(unrun)
    properties = {
        "suite-digest": report.suite_digest,
        "selection-digest": report.selection_digest,
        "level": report.level,
        "seed": str(report.seed),
        "target": report.target,
        **{f"codec-{member}": text for member, text in run.codec.items()},
    }
    inner = "\n".join(
        f"  <property name={_attribute(name)} value={_attribute(value)}/>"
        for name, value in properties.items()
    )
    cases = [_case(report, run, result) for result in run.results]
    errors = counted.count(Verdict.COULD_NOT_RUN) - len(unrun)
    if unrun:
        # One error for all: a case that was not begun has none of its own.
        unshown = "; ".join((*unrun[0].reasons, f"{len(unrun)} cases did not run"))
    if unshown:
        group = _attribute(run.name)
        error = f'<error message={_attribute(unshown)} type="incomplete"/>'
        cases.insert(0, f'<testcase classname={group} name="the run" time="0">{error}</testcase>')
        errors += 1
    lines = "\n".join(cases)
    return (
        f'<testsuite name={_attribute(run.name)} tests="{len(cases)}"'
        f' failures="{counted.count(Verdict.FAIL)}"'
        f' errors="{errors}" skipped="{skipped}"'
        f' time="{sum(result.duration_s for result in run.results):.3f}">\n'
        f"<properties>\n{inner}\n</properties>\n{lines}\n{_contact(run)}</testsuite>"
    )


def _contact(run: TargetRun) -> str:
    """Return what the target did on its first connection, or nothing."""
    if not run.contact:
        return ""
    text = "\n".join(("first contact", *run.contact))
    return f"<system-out>{escape(legal(text))}</system-out>\n"


def _case(report: Report, run: TargetRun, result: CaseResult) -> str:
    case = report.cases[result.case]
    name = _attribute(f"{case.id} {case.title}")
    group = _attribute(f"{run.name}.{case.part}")
    head = f'<testcase classname={group} name={name} time="{result.duration_s:.6f}"'
    inner = _marks(result) + _outcome(report, run, result)
    return f"{head}>{inner}</testcase>" if inner else f"{head}/>"


def _marks(result: CaseResult) -> str:
    """Return the properties of a case that missed a deadline and passed, or ran several times."""
    marks = {"slow": "true" if result.slow else "", "rounds": result.rates}
    told = "".join(
        f"<property name={_attribute(name)} value={_attribute(value)}/>"
        for name, value in marks.items()
        if value
    )
    return f"<properties>{told}</properties>" if told else ""


def _outcome(report: Report, run: TargetRun, result: CaseResult) -> str:
    message = _attribute("; ".join(result.reasons) or result.symptom)
    if result.verdict is Verdict.FAIL:
        lines = failure_lines(report, run, report.cases[result.case], result)
        text = escape(legal("\n".join(lines)))
        return f"<failure message={message} type={_attribute(result.symptom)}>{text}</failure>"
    if result.symptom == ENDED:
        return f"<skipped message={message}/>"
    if result.verdict is Verdict.COULD_NOT_RUN:
        return f'<error message={message} type="could-not-run"/>'
    if result.verdict in SKIPPED:
        skipped = _attribute(f"{SKIPPED[result.verdict]}: {'; '.join(result.reasons)}")
        return f"<skipped message={skipped}/>"
    return ""


def write(report: Report, path: Path) -> None:
    """Write the report; raises UsageError if that fails, BrokenPipeError if its reader has gone."""
    save(document_of(report), path)
