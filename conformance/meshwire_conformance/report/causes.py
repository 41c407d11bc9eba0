"""Failures grouped by their cause: what a person reads first of a red run."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.explain.values import printable
from meshwire_conformance.report.record import Report, TargetRun
from meshwire_conformance.verdicts import CONTROL_FAILED, CaseResult, Verdict
from meshwire_spec.schemas.vectors import Vector

GROUPS_MAX = 10
"""Groups that are listed."""
SAYS_MAX = 200
"""Characters that are shown of a group; its symptom may have text of the target."""
KINDS_MAX = 4
"""Kinds of message that are listed with a group."""

Failure = tuple[TargetRun, Case, CaseResult]


@dataclass(slots=True)
class Group:
    """Failures with one cause, or alike in rule and symptom, simplest case first.

    `waiting` is the number of negatives that were not judged, because their control failed for this
    cause. `unjudged` counts the other cases that could not run because of it. A cause may show in
    several kinds.
    """

    says: str
    known: bool
    failures: list[Failure] = field(default_factory=list)
    waiting: int = 0
    unjudged: int = 0


def groups_of(report: Report) -> list[Group]:
    """Return the failures of a report by cause, most failures first."""
    groups: dict[tuple[str, str, str], Group] = {}
    for failure in report.failures():
        key, says = _key(failure)
        group = groups.setdefault(key, Group(says, known=bool(failure[2].cause)))
        group.failures.append(failure)
    for run in report.runs:
        for result in run.results:
            key = (run.name, "", result.cause)
            if result.verdict is Verdict.COULD_NOT_RUN and result.cause and key in groups:
                is_control = result.symptom == CONTROL_FAILED
                groups[key].waiting += is_control
                groups[key].unjudged += not is_control
    for group in groups.values():
        group.failures.sort(key=lambda failure: _simplicity(failure[1]))
    return sorted(groups.values(), key=lambda group: -len(group.failures) - group.unjudged)


def _key(failure: Failure) -> tuple[tuple[str, str, str], str]:
    """Return the group of a failure, and the sentence that describes the group."""
    run, case, result = failure
    if result.cause:
        return (run.name, "", result.cause), result.cause
    rule = case.rules[0]
    place = case.body.field if isinstance(case.body, Vector) else ""
    says = f"{rule}: {result.symptom or 'failed'}" + (f", `{place}`" if place else "")
    return (run.name, case.kind, says), says


def _simplicity(case: Case) -> tuple[bool, int, str]:
    """Return the order of cases: a positive before a negative, few bytes before many."""
    size = len(case.body.hex) if isinstance(case.body, Vector) else 0
    return case.control is not None, size, case.id


def cause_lines(groups: Sequence[Group]) -> Iterator[str]:
    """Yield the groups as lines; nothing for a single failure without a known cause."""
    total = sum(len(group.failures) for group in groups)
    if total <= 1 and not any(group.known for group in groups):
        return
    yield f"{total} failure{'s' if total > 1 else ''}, by cause:"
    for group in groups[:GROUPS_MAX]:
        _, first, _ = group.failures[0]
        yield (
            f"{len(group.failures):>5}  {printable(group.says[:SAYS_MAX])} ({_kinds(group)}); "
            f"start with {first.id}"
        )
        if group.waiting:
            yield f"{'':7}{_waiting(group.waiting)}"
        if group.unjudged:
            cases = "1 case" if group.unjudged == 1 else f"{group.unjudged} cases"
            yield f"{'':7}{cases} could not run because of it"
    if len(groups) > GROUPS_MAX:
        rest = sum(len(group.failures) for group in groups[GROUPS_MAX:])
        yield f"{rest:>5}  in {len(groups) - GROUPS_MAX} more groups"
    yield ""


def _kinds(group: Group) -> str:
    """Return the kinds of the failures of a group, that of the simplest first."""
    kinds = list(dict.fromkeys(case.kind for _, case, _ in group.failures))
    more = f" and {len(kinds) - KINDS_MAX} more kinds" if len(kinds) > KINDS_MAX else ""
    return ", ".join(kinds[:KINDS_MAX]) + more


def _waiting(count: int) -> str:
    """Return why the number of failures may grow once the cause is corrected."""
    if count == 1:
        return "1 negative was not judged, since its control fails for it; it is judged after this"
    return (
        f"{count} negatives were not judged, since their controls fail for it; they are judged "
        "after this is corrected, and may fail in their turn"
    )


def in_order_of_causes(report: Report, groups: Iterable[Group]) -> Iterator[Failure]:
    """Yield every failure: the simplest of each cause first, then the rest in order of id."""
    firsts = [group.failures[0] for group in groups]
    yield from firsts
    shown = {(run.name, case.id, result.variant) for run, case, result in firsts}
    for run, case, result in report.failures():
        if (run.name, case.id, result.variant) not in shown:
            yield run, case, result
