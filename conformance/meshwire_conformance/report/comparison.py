"""Two reports of the same target compared: what broke, what was mended, what fails otherwise."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from meshwire_conformance.errors import UsageError
from meshwire_conformance.explain.values import printable
from meshwire_conformance.verdicts import Verdict
from meshwire_spec.schemas.report import ReportedCase, ReportFile

BAD = frozenset({Verdict.FAIL.value, Verdict.COULD_NOT_RUN.value})
"""Verdicts by which a run is not green."""
LISTED = 50
"""Cases that are listed under one heading."""
HEADINGS: Mapping[str, str] = {
    "broken": "broken since",
    "new": "fail, and were not in the old run",
    "otherwise": "fail otherwise",
    "other": "ended otherwise",
    "mended": "mended",
    "gone": "failed, and are not in the new run",
}
"""The sorts of change in the order in which they are shown."""
WORSE = frozenset({"broken", "new"})
"""Sorts of change by which the newer run is worse."""


@dataclass(frozen=True, slots=True)
class CaseChange:
    """A case that ended otherwise, in the run of this name."""

    run: str
    case: str
    title: str
    before: str
    after: str


@dataclass(slots=True)
class Comparison:
    """Changes by sort, the number of cases that ended alike, and what makes the runs unlike."""

    changes: dict[str, list[CaseChange]] = field(default_factory=dict)
    alike: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def is_worse(self) -> bool:
        """Whether something fails that did not fail before."""
        return bool(WORSE & self.changes.keys())


def read_report(path: Path) -> ReportFile:
    """Return a JSON report from a file; raises UsageError if it is none."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=ReportFile)
    except OSError as exc:
        raise UsageError(f"the report {path} cannot be read: {exc}") from exc
    except msgspec.DecodeError as exc:
        raise UsageError(f"{path} is no JSON report of meshwire: {exc}") from exc


def compare(old: ReportFile, new: ReportFile) -> Comparison:
    """Return what changed from the old run to the new one, case by case."""
    found = Comparison(notes=list(_unlike(old, new)))
    before, after = _by_key(old), _by_key(new)
    for key in sorted(before.keys() | after.keys()):
        sort = _sort(before.get(key), after.get(key))
        if sort is None:
            found.alike += key in before and key in after
            continue
        case = after.get(key) or before[key]
        change = CaseChange(
            key[0], case.id, case.title, _end(before.get(key)), _end(after.get(key))
        )
        found.changes.setdefault(sort, []).append(change)
    return found


def _unlike(old: ReportFile, new: ReportFile) -> Iterator[str]:
    for what, one, other in (
        ("target", old.target, new.target),
        ("level", old.level, new.level),
        ("suite", old.suite.digest, new.suite.digest),
        ("selection", old.suite.selection_digest, new.suite.selection_digest),
    ):
        if one != other:
            yield f"another {what}: {printable(one)[:100]} -> {printable(other)[:100]}"


def _by_key(report: ReportFile) -> dict[tuple[str, str, str], ReportedCase]:
    # A target that was started by another command has the same runs, so their order names them.
    return {
        (run.name if len(report.runs) > 1 else "", case.id, case.variant): case
        for run in report.runs
        for case in run.cases
    }


def _sort(before: ReportedCase | None, after: ReportedCase | None) -> str | None:
    """Return the sort of change between two ends of a case, or None if nothing is to be said."""
    if before is None or after is None:
        one, sort = (after, "new") if before is None else (before, "gone")
        return sort if one is not None and one.verdict in BAD else None
    was, is_bad = before.verdict in BAD, after.verdict in BAD
    if was != is_bad:
        return "broken" if is_bad else "mended"
    if before.verdict == after.verdict and before.symptom == after.symptom:
        return None
    return "otherwise" if is_bad else "other"


def _end(case: ReportedCase | None) -> str:
    if case is None:
        return "not run"
    return f"{case.verdict} ({case.symptom})" if case.symptom else case.verdict


def comparison_lines(found: Comparison) -> Iterator[str]:
    """Yield a comparison as lines, what broke first, and the counts last."""
    yield from found.notes
    for sort, heading in HEADINGS.items():
        changes = found.changes.get(sort, [])
        if not changes:
            continue
        yield f"{len(changes)} {heading}:"
        yield from _listed(changes)
    counts = [f"{len(found.changes.get(sort, ()))} {sort}" for sort in ("broken", "new", "mended")]
    yield f"{', '.join(counts)}, {found.alike} alike"


def _listed(changes: Sequence[CaseChange]) -> Iterator[str]:
    for one in changes[:LISTED]:
        run = f"{printable(one.run)} " if one.run else ""
        ends = printable(f"{one.before} -> {one.after}")
        yield f"  {run}{one.case}  {printable(one.title)}: {ends}"
    if len(changes) > LISTED:
        yield f"  ... and {len(changes) - LISTED} more"
