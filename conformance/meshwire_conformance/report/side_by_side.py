"""Several targets of one run beside each other: counts by part, and where they differ."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from meshwire_conformance.explain.values import printable
from meshwire_conformance.report.record import Report, TargetRun, tallies
from meshwire_conformance.verdicts import CaseResult, Verdict

NAME_MAX = 28
"""Characters of the name of a target over its column."""
DIFFERING_MAX = 25
"""Cases that are listed of those on which the targets differ."""
WORST = (
    Verdict.FAIL,
    Verdict.COULD_NOT_RUN,
    Verdict.KNOWN_FAILING,
    Verdict.INFORMATIONAL,
    Verdict.PASS,
)
"""Verdicts of cases that ran, the worst one first."""
NOT_RUN = "-"
"""What is shown of a case that a target did not have."""


@dataclass(frozen=True, slots=True)
class SideBySide:
    """Columns of targets; `parts` has the share of each that passed, `differing` the verdicts."""

    names: Sequence[str]
    parts: Sequence[tuple[str, Sequence[str]]]
    differing: Sequence[tuple[str, str, Sequence[str]]]


def side_by_side(report: Report) -> SideBySide | None:
    """Return the targets of a run as columns; None if it had one, in whatever dialects."""
    if not report.compares:
        return None
    counted = [tallies(run, report.cases) for run in report.runs]
    names = sorted({part for found in counted for part in found})
    parts = []
    for name in names:
        cells = [found.get(name) for found in counted]
        if not any(cell is not None and cell.applicable for cell in cells):
            continue
        shares = [
            NOT_RUN if cell is None else f"{cell.shown(Verdict.PASS)}/{cell.applicable}"
            for cell in cells
        ]
        parts.append((name, shares))
    return SideBySide([run.name for run in report.runs], parts, list(_differing(report)))


def _differing(report: Report) -> Iterator[tuple[str, str, Sequence[str]]]:
    by_case = [_worst(run) for run in report.runs]
    for case in sorted({case for results in by_case for case in results}):
        ends = [_end(results.get(case)) for results in by_case]
        if len(set(ends) - {NOT_RUN}) > 1:
            yield case, report.cases[case].title, ends


def _worst(run: TargetRun) -> dict[str, CaseResult]:
    """Return the worst result of each case, which may have run in several variants."""
    found: dict[str, CaseResult] = {}
    for result in run.results:
        if result.verdict not in WORST:
            continue
        other = found.get(result.case, result)
        found[result.case] = min(other, result, key=lambda one: WORST.index(one.verdict))
    return found


def _end(result: CaseResult | None) -> str:
    if result is None:
        return NOT_RUN
    return f"{result.verdict.value} ({result.symptom})" if result.symptom else result.verdict.value


def table_lines(found: SideBySide) -> Iterator[str]:
    """Yield the columns as lines of text."""
    names = [printable(name)[-NAME_MAX:] for name in found.names]
    widths = [max(len(name), 12) + 2 for name in names]
    yield "side by side, passed of applicable"
    yield f"  {'':<24}" + "".join(f"{n:>{w}}" for n, w in zip(names, widths, strict=True))
    for part, shares in found.parts:
        cells = "".join(f"{s:>{w}}" for s, w in zip(shares, widths, strict=True))
        yield f"  {part:<24}{cells}"
    if found.differing:
        yield f"  they differ in {len(found.differing)} cases"
    for case, title, ends in found.differing[:DIFFERING_MAX]:
        yield f"    {case}  {printable(title)}: {printable(' | '.join(ends))}"
    if len(found.differing) > DIFFERING_MAX:
        yield f"    ... and {len(found.differing) - DIFFERING_MAX} more"
    yield ""
