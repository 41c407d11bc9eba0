"""Verdicts: the possible results of a case, their details, and the exit code of a run."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum


class Verdict(StrEnum):
    """The result of one case, in the words of the reports."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    FAIL = "fail"
    NOT_APPLICABLE = "not-applicable"
    COULD_NOT_RUN = "could-not-run"
    KNOWN_FAILING = "known-failing"
    INFORMATIONAL = "informational"


class ExitCode(IntEnum):
    """Exit code of the process."""

    PASSED = 0
    VIOLATIONS = 1
    FAULT = 2
    INCOMPLETE = 3


class Remark(StrEnum):
    """A remark of a ledger of known failures on a result that it does not change."""

    UNTRIED = "untried"
    """The ledger lists the case, and it is not applicable to this target."""
    SURPRISE = "surprise"
    """The case passed, although the ledger predicts that it fails."""


PROMPT = 0.25
"""A probe beside a repetition is prompt if it takes at most this part of the deadline."""
TOO_SLOW_REASON = (
    "too slow to judge: it missed its deadline again, and what was asked beside it or the suite "
    "itself was late too; a greater --timeout-scale gives the target more time"
)
TOO_SLOW = "too-slow"
"""Symptom of a case that the suite could not judge, because probes beside it were slow too."""

ENDED = "run-ended"
"""Symptom of a case that did not run, since enough violations had ended the run."""
CONTROL_FAILED = "control-failed"
"""Symptom of a negative of a codec that was not judged, because its control did not pass."""
TARGET_ENDED = "target-ended"
"""Symptom of a case that did not run, since the target had ended for good before."""
TARGET_SILENT = "target-silent"
"""Symptom of a case that was not judged, since the target answered nothing at all any more."""
NOT_DIALLED = "not-dialled"
"""Symptom of a case that was not judged, since the target did not dial the suite in time."""
ADVICE = (
    "it may be stopped or blocked: resume it (kill -CONT) or start it again, and repeat the run; "
    "a greater --timeout-scale gives a slow target more time"
)
"""What to do about a target that answers nothing at all."""
STALE = "stale"
"""Symptom of a case that passes although a ledger says that it fails."""
NO_EVIDENCE = frozenset({TOO_SLOW, ENDED, TARGET_ENDED, TARGET_SILENT, NOT_DIALLED})
"""Symptoms of cases that were not judged, so that no ledger can expect or miss them."""
SUITE_FAULT = "suite-fault"
"""Symptom of a case that could not run because of a fault of the suite."""

APPLICABLE = frozenset(
    (Verdict.PASS, Verdict.FAIL, Verdict.COULD_NOT_RUN, Verdict.KNOWN_FAILING),
)
"""Verdicts of applicable cases; the summary counts them."""

PRECEDENCE = (ExitCode.FAULT, ExitCode.VIOLATIONS, ExitCode.INCOMPLETE, ExitCode.PASSED)
"""If several exit codes apply, the first in this order is used."""

_EXIT_OF_VERDICT = {
    Verdict.FAIL: ExitCode.VIOLATIONS,
    Verdict.COULD_NOT_RUN: ExitCode.INCOMPLETE,
}


@dataclass(frozen=True, slots=True)
class Moment:
    """One step of the timeline of a case: when, which way, what in a line, and its bytes as rows.

    `at_s` is in seconds since the case began, for information only.
    """

    at_s: float
    way: str
    line: str
    rows: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CaseResult:
    """The result of one case, with everything that a report prints about it.

    `symptom` is a short, stable name of the failure ("accepted", "no-answer", "wrong-value
    entries[0].key"), to which a ledger of known failures refers. The line tuples are printed
    unchanged. `variant` distinguishes several runs of one case (the dialect, for example).
    `cause` is the mistake that explains the failure, or that of the control, if one was found.
    `unbound` is True if a refusal came without a reason or code and none is required. `slow` is
    True if it missed a deadline and passed when it was repeated. With a `remark` the last of the
    notes is that of the ledger. `rounds` has the counts of verdicts if the run had several rounds.
    `circumstances` are those in which it ran, as a line for a person; empty for cases without any.
    `timeline` has the messages sent and received in order, of a case over connections that failed.
    """

    case: str
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    symptom: str = ""
    sent: tuple[str, ...] = ()
    expected: tuple[str, ...] = ()
    received: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unbound: bool = False
    slow: bool = False
    variant: str = ""
    duration_s: float = 0.0
    remark: Remark | None = None
    cause: str = ""
    rounds: tuple[tuple[Verdict, int], ...] = ()
    circumstances: str = ""
    timeline: tuple[Moment, ...] = ()

    @property
    def rates(self) -> str:
        """The counts of verdicts in several rounds as a text; empty for one round."""
        return ", ".join(f"{verdict.value} {count}" for verdict, count in self.rounds)


def unjudged(result: CaseResult, reason: str) -> CaseResult:
    """Return the result of a case that cannot be judged, because everything is slow."""
    return replace(
        result, verdict=Verdict.COULD_NOT_RUN, reasons=(reason,), symptom=TOO_SLOW, sent=()
    )


def strongest(codes: Iterable[ExitCode]) -> ExitCode:
    """Return the exit code to use if several apply: 2 before 1 before 3 before 0."""
    return min(codes, key=PRECEDENCE.index, default=ExitCode.PASSED)


def exit_code(results: Iterable[CaseResult]) -> ExitCode:
    """Return the exit code for these results; without an applicable case it is INCOMPLETE."""
    results = list(results)
    verdicts = {result.verdict for result in results}
    codes = [ExitCode.FAULT for result in results if result.symptom == SUITE_FAULT]
    codes += [_EXIT_OF_VERDICT.get(verdict, ExitCode.PASSED) for verdict in verdicts]
    if not verdicts & APPLICABLE:
        codes.append(ExitCode.INCOMPLETE)
    return strongest(codes)
