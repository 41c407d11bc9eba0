"""The report for a person: failures with their bytes, a summary per part, the digest."""

from collections.abc import Callable, Iterator, Sequence
from textwrap import wrap
from typing import Literal

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.catalogue.oplog import PART as OPLOG_PART
from meshwire_conformance.explain.values import printable
from meshwire_conformance.report.causes import cause_lines, groups_of, in_order_of_causes
from meshwire_conformance.report.ledger import UNTRIED
from meshwire_conformance.report.record import Report, Tally, TargetRun, first_of, tallies
from meshwire_conformance.report.side_by_side import side_by_side, table_lines
from meshwire_conformance.verdicts import ENDED, CaseResult, Remark, Verdict
from meshwire_spec.numbers import OPLOG_PROFILE, PROFILE

IN_FULL = 25
"""Number of failures shown in full; the rest have one line each."""
LABEL = 10
"""Characters of the labels at the left of a failure."""
WIDTH = 100
"""Characters of a line of a failure."""
LINE_MAX = 1200
"""Characters of a target's text that are shown; the full length follows."""
NAME = 24
"""Characters of the name of a target in the table."""
REASONS_MAX = 10
"""Most reasons that are listed for which cases are not applicable."""
RED, GREEN, PLAIN = "\x1b[31m", "\x1b[32m", "\x1b[0m"
Paint = Callable[[str, str], str]
Detail = Literal["quiet", "normal", "verbose"]
"""How much of a run is shown; quiet: a line for each failure and the verdict; verbose: a line for
each case too."""


def lines_of(report: Report, *, colour: bool = False, detail: Detail = "normal") -> Iterator[str]:
    """Yield the report, line by line."""
    paint = painter(colour=colour)
    if detail == "quiet":
        yield from (failure_line(case, result, paint) for _, case, result in report.failures())
    else:
        yield from _body(report, paint, detail)
    yield from _ledger_lines(report)
    verdict = paint(report.meaning, RED if report.exit_code else GREEN)
    yield f"{verdict} (level {report.level}, exit {int(report.exit_code)})"


def _ledger_lines(report: Report) -> Iterator[str]:
    """Yield what a ledger made of the run: its counts, and the entries to change."""
    if not report.ledger:
        return
    yield from report.expiry_notes
    stale = report.stale
    yield report.closing.text
    if stale:
        which = (
            "1 case of the ledger passes"
            if len(stale) == 1
            else f"{len(stale)} cases of the ledger pass"
        )
        yield f"{which} now ({first_of(stale)}): remove with `{printable(report.prune_command)}`"


def _body(report: Report, paint: Paint, detail: Detail) -> Iterator[str]:
    """Yield everything but the verdict."""
    for run in report.runs:
        yield from contact_lines(run)
        if detail == "verbose":
            yield from _case_lines(report, run)
    groups = groups_of(report)
    yield from cause_lines(groups)
    for number, (run, case, result) in enumerate(in_order_of_causes(report, groups)):
        if number < IN_FULL:
            yield from failure_lines(report, run, case, result, paint)
        else:
            yield failure_line(case, result, paint)
    for run in report.runs:
        yield from _other_lines(report, run)
        yield from _summary(report, run)
    yield from _early_end(report)
    columns = side_by_side(report)
    if columns is not None:
        yield from table_lines(columns)
    yield f"suite {report.suite_digest}"
    # The selection is shown only if it is not the whole suite.
    if report.selection_digest != report.suite_digest:
        yield f"cases {report.selection_digest} (those selected)"


def _early_end(report: Report) -> Iterator[str]:
    """Yield why the run ended before its last case, for how many cases, and what failed.

    More cases may have failed than end a run: some end at the same time, and a watch can fail a
    case that was over.
    """
    left = [result for run in report.runs for result in run.results if result.symptom == ENDED]
    if left:
        failed = sum(1 for _ in report.failures())
        count = "1 case" if len(left) == 1 else f"{len(left)} cases"
        told = "1 failure is" if failed == 1 else f"{failed} failures are"
        yield f"{'; '.join(left[0].reasons)}: {count} did not run; {told} shown"


def failure_line(case: Case, result: CaseResult, paint: Paint) -> str:
    """Return a failure in one line."""
    return f"{paint('FAIL', RED)} {case.id}  {_capped(f'{case.title}: {result.symptom}')}"


def _case_lines(report: Report, run: TargetRun) -> Iterator[str]:
    """Yield a line for each case: how it ended, after what time, and why."""
    yield f"{printable(run.name)}: every case"
    for result in run.results:
        title = printable(report.cases[result.case].title)
        marks = ("slow", *result.reasons) if result.slow else result.reasons
        why = _capped("; ".join(marks) or result.symptom)
        is_run = result.verdict is not Verdict.NOT_APPLICABLE
        took = f"{result.duration_s:.3f} s" if is_run else "-"
        yield (
            f"  {result.verdict.value:<14}  {result.case}  {took:>9}  {title}"
            f"{f': {why}' if why else ''}"
        )
    yield ""


def contact_lines(run: TargetRun) -> Iterator[str]:
    """Yield what the target did on its first connection."""
    if run.contact:
        yield f"{printable(run.name)}: first contact"
        yield from (f"  {_capped(line)}" for line in run.contact)
        yield ""


def painter(*, colour: bool) -> Paint:
    """Return what colours a text, or leaves it as it is."""
    return _paint if colour else _leave


def _paint(text: str, colour: str) -> str:
    return f"{colour}{text}{PLAIN}"


def _leave(text: str, colour: str) -> str:
    return text


def failure_lines(
    report: Report, run: TargetRun, case: Case, result: CaseResult, paint: Paint = _leave
) -> Iterator[str]:
    """Yield one failure: the rule, what was sent, expected and received, and how to repeat it."""
    rules = ", ".join(case.rules)
    name = f"{run.name} · " if len(report.runs) > 1 else ""
    yield f"{paint('FAIL', RED)} {case.id}  {printable(case.title)}  ({name}{case.kind} · {rules})"
    yield ""
    for line in report.rule_lines(case):
        # Never cut: half of a rule has another meaning.
        yield from _folded(printable(line), "  ", " " * 10)
    yield ""
    for reason in result.reasons:
        yield from _folded(_capped(reason), "  ", "  ")
    for label in ("sent", "expected", "received"):
        yield from _block(label, getattr(result, label))
    yield from _block("symptom", (result.symptom,) if result.symptom else ())
    yield from _block("under", (result.circumstances,) if result.circumstances else ())
    yield ""
    if case.hunts:
        yield from _block("hunts", (case.hunts,))
        yield from _block("harm", (case.harm,) if case.harm else ())
    yield from _block("note", result.notes)
    # In one line, to be copied.
    yield f"  {'again':<{LABEL}}{printable(report.again(run, case))}"
    yield ""


def _block(label: str, lines: Sequence[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        first = f"  {label if number == 0 else '':<{LABEL}}"
        yield from _folded(_capped(line), first, " " * (len(first) + 2))


def _capped(text: str) -> str:
    """Return a text of the target, cut if it is longer than `LINE_MAX`."""
    more = f"... ({len(text)} characters)" if len(text) > LINE_MAX else ""
    return printable(text[:LINE_MAX]) + more


def _folded(text: str, first: str, others: str) -> Iterator[str]:
    """Yield a line, folded to the width of a terminal; runs of blanks are kept."""
    if len(first) + len(text) <= WIDTH:
        yield first + text
        return
    yield from wrap(text, WIDTH, initial_indent=first, subsequent_indent=others)


def _other_lines(report: Report, run: TargetRun) -> Iterator[str]:
    """Yield what could not run, what was excused, and changes of predicted failures."""
    if run.codec:
        told = " ".join(text for text in (run.codec["name"], run.codec["version"]) if text)
        yield f"{run.name}: the codec calls itself {_capped(told) or 'nothing'}"
    yield from (f"{run.name}: {_capped(note)}" for note in run.notes)
    for fault in run.faults:
        left = sum(result.reasons == (fault,) for result in run.results)
        yield f"{run.name}: {_capped(fault)} ({left} cases could not run)"
    waiting: dict[str, list[str]] = {}
    for result in run.results:
        if result.verdict is Verdict.COULD_NOT_RUN:
            if result.symptom != ENDED and result.reasons != tuple(run.faults):
                waiting.setdefault("; ".join(result.reasons), []).append(result.case)
        elif result.verdict is Verdict.KNOWN_FAILING:
            yield f"known failing {result.case}  {printable(report.cases[result.case].title)}"
        elif result.remark is Remark.SURPRISE:
            yield f"passed {result.case}  {printable(result.notes[-1])}"
    for reason, cases in waiting.items():
        yield f"could not run {len(cases)} ({first_of(cases)}): {_capped(reason)}"
    untried = [result.case for result in run.results if result.remark is Remark.UNTRIED]
    if untried:
        yield f"{UNTRIED}: {len(untried)} ({first_of(untried)})"


def _rates(run: TargetRun) -> Iterator[str]:
    """Yield the counts of verdicts of each case whose rounds ended differently."""
    repeated = [result for result in run.results if result.rounds]
    if not repeated:
        return
    rounds = sum(count for _, count in repeated[0].rounds)
    differing = [result for result in repeated if len(result.rounds) > 1]
    alike = len(repeated) - len(differing)
    yield f"  {rounds} rounds: {alike} cases ended alike in each, {len(differing)} did not"
    for result in differing:
        yield f"    {result.case}  {result.rates}"


def _inapplicable(run: TargetRun) -> Iterator[str]:
    """Yield the reasons for which cases are not applicable, with their numbers and first cases."""
    cases_of: dict[str, list[str]] = {}
    for result in run.results:
        if result.verdict is Verdict.NOT_APPLICABLE:
            cases_of.setdefault("; ".join(result.reasons) or "no reason", []).append(result.case)
    reasons = sorted(cases_of.items(), key=lambda item: -len(item[1]))
    for reason, cases in reasons[:REASONS_MAX]:
        line = f"not applicable {len(cases)}: {_capped(reason)} ({first_of(cases)})"
        yield from _folded(line, "  ", "    ")
    if rest := reasons[REASONS_MAX:]:
        count = sum(len(cases) for _, cases in rest)
        yield f"  not applicable {count}: for {len(rest)} further reasons"


HEADINGS = ("passed", "failed", "known", "not run", "n/a", "info")
COLUMNS = (
    Verdict.PASS,
    Verdict.FAIL,
    Verdict.KNOWN_FAILING,
    Verdict.COULD_NOT_RUN,
    Verdict.NOT_APPLICABLE,
    Verdict.INFORMATIONAL,
)


def _by_profile(run: TargetRun, report: Report) -> dict[str, Tally]:
    """Return a tally of each profile, if cases of more than one were applicable."""
    found: dict[str, Tally] = {PROFILE: Tally(), OPLOG_PROFILE: Tally()}
    for result in run.results:
        is_oplog = report.cases[result.case].part == OPLOG_PART
        found[OPLOG_PROFILE if is_oplog else PROFILE].add(result)
    return found if all(tally.applicable for tally in found.values()) else {}


def _summary(report: Report, run: TargetRun) -> Iterator[str]:
    found = tallies(run, report.cases)
    everything = Tally()
    for result in run.results:
        everything.add(result)
    heads = "".join(f"{heading:>8}" for heading in HEADINGS)
    yield ""
    # A long name has a line of its own, so that no column is shifted.
    name = printable(run.name)
    if len(name) >= NAME:
        yield name
        name = ""
    yield f"{name:<{NAME}}{'applicable':>14}{heads}"
    idle = {part: tally.total for part, tally in found.items() if not tally.applicable}
    shown = {part: tally for part, tally in found.items() if part not in idle}
    for part, tally in {**shown, **_by_profile(run, report), "all": everything}.items():
        counts = "".join(f"{tally.shown(verdict):>8}" for verdict in COLUMNS)
        share = f"{tally.applicable}/{tally.total}"
        yield f"  {part:<22}{share:>14}{counts}"
    if idle:
        told = ", ".join(f"{part} ({total})" for part, total in idle.items())
        yield from _folded(f"no case applicable: {told}", "  ", "    ")
    yield from _inapplicable(run)
    yield from _rates(run)
    slow = [result.case for result in run.results if result.slow and result.verdict is Verdict.PASS]
    if slow:
        cases = "1 case" if len(slow) == 1 else f"{len(slow)} cases"
        told = f"{cases} passed only when run alone: the machine is busy ({first_of(slow)})"
        yield from _folded(told, "  ", "    ")
    if everything.unbound:
        yield f"  {everything.unbound} refusals passed without a reason or code (unbound)"
    yield ""
