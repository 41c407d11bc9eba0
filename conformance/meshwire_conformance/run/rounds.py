"""Runs of one selection several times: their order, and what each case did in all of them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.report.record import TargetRun
from meshwire_conformance.verdicts import CaseResult, Verdict

SEVERITY = (
    Verdict.FAIL,
    Verdict.COULD_NOT_RUN,
    Verdict.KNOWN_FAILING,
    Verdict.PASS,
    Verdict.INFORMATIONAL,
    Verdict.NOT_APPLICABLE,
)
"""If a case ends differently in several rounds, the first of these verdicts counts."""


def ordered(cases: Sequence[Case], seed: int, number: int) -> list[Case]:
    """Return the cases in the random order of a round; equal for an equal seed and number."""
    order = list(cases)
    random.Random(f"{seed}:order:{number}").shuffle(order)
    return order


def merged(rounds: Sequence[TargetRun]) -> TargetRun:
    """Return the rounds of one attachment as one run, with the counts of verdicts by case.

    The result of a case is that of the round which ended worst.
    """
    if len(rounds) == 1:
        return rounds[0]
    by_case: dict[str, list[CaseResult]] = {}
    for one in rounds:
        for result in one.results:
            by_case.setdefault(result.case, []).append(result)
    faults = dict.fromkeys(fault for one in rounds for fault in one.faults)
    notes = dict.fromkeys(note for one in rounds for note in one.notes)
    return replace(
        rounds[0],
        results=[_worst(results) for results in by_case.values()],
        faults=tuple(faults),
        notes=tuple(notes),
    )


def _worst(results: Sequence[CaseResult]) -> CaseResult:
    counts = Counter(result.verdict for result in results)
    worst = min(results, key=lambda one: (SEVERITY.index(one.verdict), not one.slow))
    rounds = tuple((verdict, counts[verdict]) for verdict in SEVERITY if counts[verdict])
    return replace(worst, rounds=rounds)
