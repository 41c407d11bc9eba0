"""The record of a run, which every report is made from."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.verdicts import APPLICABLE, STALE, CaseResult, ExitCode, Verdict
from meshwire_spec.schemas.base import Level

RED = frozenset((Verdict.FAIL, Verdict.COULD_NOT_RUN))
"""Verdicts by which a run is not green."""


@dataclass(frozen=True, slots=True)
class TargetRun:
    """The verdicts of one attachment; `again` is the command that repeats it, without a case.

    `codec` has the name and version that a codec states, or nothing; `notes` what is worth knowing
    of the target and belongs to no case; `contact` says what it did on its first connection.
    """

    name: str
    again: str
    results: Sequence[CaseResult]
    faults: Sequence[str] = ()
    codec: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    contact: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a report shows of a run of the suite."""

    suite_version: str
    spec_revision: str
    suite_digest: str
    selection_digest: str
    level: Level
    seed: int
    target: str
    cases: Mapping[str, Case]
    runs: Sequence[TargetRun]
    exit_code: ExitCode
    rules: Mapping[str, str] = field(default_factory=dict)
    """Sentence of each rule, by its id."""
    duration_s: float = 0.0
    repeat: str = ""
    """Further options that a repetition needs for the same result."""
    ledger: str = ""
    """The ledger of known failures that was applied, as it was given."""
    compares: bool = False
    """Whether the runs are those of several targets, to be shown beside each other."""

    @property
    def nothing_ran(self) -> tuple[str, ...]:
        """Why no run could send its target anything, each reason once; empty if one could."""
        if self.exit_code is not ExitCode.INCOMPLETE or not all(run.faults for run in self.runs):
            return ()
        return tuple(dict.fromkeys(fault for run in self.runs for fault in run.faults))

    @property
    def unshown(self) -> str:
        """Why the run did not pass although no result shows it; empty if one does."""
        verdicts = {result.verdict for run in self.runs for result in run.results}
        if self.exit_code is ExitCode.PASSED or verdicts & RED:
            return ""
        faults = [fault for run in self.runs for fault in run.faults]
        reasons = [text for run in self.runs for result in run.results for text in result.reasons]
        return "; ".join(dict.fromkeys(faults or ["no case was applicable", *reasons]))

    @property
    def stale(self) -> list[str]:
        """Cases that pass although the ledger says that they fail."""
        found = (result for run in self.runs for result in run.results)
        return list(dict.fromkeys(one.case for one in found if one.symptom == STALE))

    def failures(self) -> Iterator[tuple[TargetRun, Case, CaseResult]]:
        """Yield every failed case with the run it failed in, without those that pass by now."""
        for run in self.runs:
            for result in run.results:
                if result.verdict is Verdict.FAIL and result.symptom != STALE:
                    yield run, self.cases[result.case], result

    def again(self, run: TargetRun, case: Case) -> str:
        """Return the command that runs this case alone."""
        words = ["meshwire check", run.again, f"--only {case.id}"]
        if self.level != "strict":
            words.append(f"--level {self.level}")
        if self.seed:
            words.append(f"--seed {self.seed}")
        words.append(self.repeat)
        return " ".join(word for word in words if word)

    def rule_lines(self, case: Case) -> list[str]:
        """Return the rules of a case with their sentences, if they are known."""
        return [f"{rule}  {self.rules.get(rule, '')}".rstrip() for rule in case.rules]


@dataclass(slots=True)
class Tally:
    """Counts of the verdicts of one part."""

    total: int = 0
    unbound: int = 0
    verdicts: Counter[Verdict] = field(default_factory=Counter)

    @property
    def applicable(self) -> int:
        """Number of cases that are applicable to the target."""
        return sum(self.verdicts[verdict] for verdict in APPLICABLE)

    def add(self, result: CaseResult) -> None:
        """Count one more case."""
        self.total += 1
        self.unbound += result.unbound
        self.verdicts[result.verdict] += 1


def tallies(run: TargetRun, cases: Mapping[str, Case]) -> dict[str, Tally]:
    """Tally of each part in a run, parts in alphabetical order."""
    found: dict[str, Tally] = {}
    for result in run.results:
        found.setdefault(cases[result.case].part, Tally()).add(result)
    return dict(sorted(found.items()))
