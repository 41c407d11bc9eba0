"""The progress of a run over all its targets, and its early end after a number of violations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.report.ledger import KnownFailure, apply_ledger
from meshwire_conformance.verdicts import ENDED, CaseResult, Verdict


@dataclass(frozen=True, slots=True)
class CaseOver:
    """A case that is over, its result, and the numbers of cases that are over and of all."""

    case: Case
    result: CaseResult
    done: int
    total: int


Watcher = Callable[[CaseOver], None]
"""Called with each case that is over; its result has regard to the ledger."""


@dataclass(slots=True)
class RunProgress:
    """Counts the cases that are over, and the violations; their maximum ends the run.

    A failure that the ledger expects is no violation, and a case that passes against it is one. A
    case counts as judged if it was over before the end of the run.
    """

    cases: Mapping[str, Case]
    known: Mapping[str, KnownFailure]
    total: int
    watcher: Watcher | None = None
    violations_max: int | None = None
    """None is no maximum."""
    today: date = date.min
    done: int = 0
    violations: int = 0
    _judged: dict[str, Verdict] = field(default_factory=dict)
    """Verdicts of the cases that are over at the present target, by id.

    Targets run beside each other only without a maximum, where nothing is decided by them.
    """

    def __call__(self, result: CaseResult) -> None:
        """Count one case that is over; does nothing once the run has ended."""
        if self.ended():
            return
        (judged,) = apply_ledger([result], self.known, self.today)
        self._judged[result.case] = judged.verdict
        self.violations += judged.verdict is Verdict.FAIL
        self.done += 1
        if self.watcher is not None:
            self.watcher(CaseOver(self.cases[result.case], judged, self.done, self.total))

    def ended(self) -> str:
        """Return why the run has ended early, or an empty text."""
        if self.violations_max is None or self.violations < self.violations_max:
            return ""
        count = self.violations_max
        return f"the run ended after {count} violation{'' if count == 1 else 's'}"

    def begin(self) -> None:
        """Begin a run over the next target."""
        self._judged.clear()

    def over(self, results: Iterable[CaseResult]) -> list[CaseResult]:
        """Return the results of a run over a target; call it once the run is over.

        Cases that were not over when the whole run ended could not run, unless they are not
        applicable at all.
        """
        found = list(results)
        if why := self.ended():
            found = [
                result
                if result.case in self._judged or result.verdict is Verdict.NOT_APPLICABLE
                else unrun(result.case, why)
                for result in found
            ]
        # A watch can turn a case that was over into a failure.
        for judged in apply_ledger(found, self.known, self.today):
            was = self._judged.get(judged.case)
            self.violations += judged.verdict is Verdict.FAIL and was is not Verdict.FAIL
        return found


def unrun(case: str, why: str) -> CaseResult:
    """Return the result of a case that did not run, since the run has ended."""
    return CaseResult(case, Verdict.COULD_NOT_RUN, (why,), ENDED)
