"""The record of a run, which every report is made from."""

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.verdicts import APPLICABLE, STALE, CaseResult, ExitCode, Verdict
from meshwire_spec.schemas.base import Level

RED = frozenset((Verdict.FAIL, Verdict.COULD_NOT_RUN))
"""Verdicts by which a run is not green."""
MEANINGS = {
    ExitCode.PASSED: "every applicable case passed",
    ExitCode.VIOLATIONS: "the target breaks rules",
    ExitCode.FAULT: "the suite or its use is at fault",
    ExitCode.INCOMPLETE: "incomplete: not every case could be judged",
}
"""The end of a run in words."""
LISTED = 5
"""Most cases or reasons that one line lists."""
LESS_THAN_KNOWN = "the target breaks no rule that the ledger does not list, and fewer than it lists"


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
class Closing:
    """The counts with which every report of a run ends, the same in each."""

    passed: int
    known: int
    failed: int
    not_run: int
    has_ledger: bool

    @property
    def text(self) -> str:
        """The counts in words; a failure that a ledger does not list is a new one."""
        left = f", {self.not_run} not run" if self.not_run else ""
        if self.has_ledger:
            return f"{self.passed} passed, {self.known} known, {self.failed} new{left}"
        return f"{self.passed} passed, {self.failed} failed{left}"


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
    expired: Mapping[str, date] = field(default_factory=dict)
    """Cases that fail since their entries in the ledger have expired, each with the day."""
    expiring: Mapping[str, date] = field(default_factory=dict)
    """Cases that are known to fail, and whose entries expire soon."""
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
    def hindrance(self) -> str:
        """What kept a run from judging anything, else what no result shows (`unshown`), or "".

        A target that cannot be started leaves a result for each case, all with the same reason.
        """
        faults = (fault for run in self.runs for fault in run.faults)
        return "; ".join(dict.fromkeys(faults)) or self.unshown

    @property
    def closing(self) -> "Closing":
        """The counts of the whole run."""
        counts = Counter(result.verdict for run in self.runs for result in run.results)
        failed = sum(1 for _ in self.failures())
        return Closing(
            # A case that passes although the ledger lists it has passed.
            passed=counts[Verdict.PASS] + counts[Verdict.FAIL] - failed,
            known=counts[Verdict.KNOWN_FAILING],
            failed=failed,
            not_run=counts[Verdict.COULD_NOT_RUN],
            has_ledger=bool(self.ledger),
        )

    @property
    def meaning(self) -> str:
        """The verdict in words, which are those of the ledger where it alone is the reason."""
        if self.exit_code is ExitCode.VIOLATIONS and self.stale and not any(self.failures()):
            return LESS_THAN_KNOWN
        if self.exit_code is ExitCode.PASSED and self.closing.known:
            return "every applicable case passed or is known to fail"
        return MEANINGS[self.exit_code]

    @property
    def prune_command(self) -> str:
        """The command that removes the cases from the ledger that pass now."""
        # A target that needs options, such as its formation, is one for a JSON report of the run.
        plain = (shlex.quote(self.target), f'"{self.target}"')
        is_plain = bool(self.runs) and all(run.again in plain for run in self.runs)
        target = self.runs[0].again if is_plain else "TARGET"
        level = "" if self.level == "strict" else f" --level {self.level}"
        return f"meshwire ledger prune {shlex.quote(self.ledger)} {target}{level}"

    @property
    def stale(self) -> list[str]:
        """Cases that pass although the ledger says that they fail."""
        found = (result for run in self.runs for result in run.results)
        return list(dict.fromkeys(one.case for one in found if one.symptom == STALE))

    @property
    def expiry_notes(self) -> list[str]:
        """What a person has to know of the days in the ledger, a line each."""
        advice = "mend the cases, or give their entries a later day"
        notes = []
        if self.expired:
            cases, last = first_of([*self.expired]), max(self.expired.values())
            notes.append(f"expired in the ledger {len(self.expired)} ({cases}) by {last}: {advice}")
        if self.expiring:
            cases, first = first_of([*self.expiring]), min(self.expiring.values())
            notes.append(
                f"expires soon in the ledger {len(self.expiring)} ({cases}) from {first}: {advice}"
            )
        return notes

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


def first_of(cases: Sequence[str]) -> str:
    """Return the first cases of a list, as one text."""
    return ", ".join(cases[:LISTED]) + (", ..." if len(cases) > LISTED else "")


@dataclass(slots=True)
class Tally:
    """Counts of the verdicts of one part."""

    total: int = 0
    unbound: int = 0
    stale: int = 0
    """Cases with the verdict `fail` that have passed, although a ledger lists them."""
    verdicts: Counter[Verdict] = field(default_factory=Counter)

    @property
    def applicable(self) -> int:
        """Number of cases that are applicable to the target."""
        return sum(self.verdicts[verdict] for verdict in APPLICABLE)

    def shown(self, verdict: Verdict) -> int:
        """Return the number that a table shows; a case that the ledger lists in vain has passed."""
        moved = {Verdict.PASS: self.stale, Verdict.FAIL: -self.stale}
        return self.verdicts[verdict] + moved.get(verdict, 0)

    def add(self, result: CaseResult) -> None:
        """Count one more case."""
        self.total += 1
        self.unbound += result.unbound
        self.stale += result.verdict is Verdict.FAIL and result.symptom == STALE
        self.verdicts[result.verdict] += 1


def tallies(run: TargetRun, cases: Mapping[str, Case]) -> dict[str, Tally]:
    """Tally of each part in a run, parts in alphabetical order."""
    found: dict[str, Tally] = {}
    for result in run.results:
        found.setdefault(cases[result.case].part, Tally()).add(result)
    return dict(sorted(found.items()))
