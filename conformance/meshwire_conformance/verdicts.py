"""Verdicts: what a case can end in, what it says when it does, and the exit code of a run."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Verdict(StrEnum):
    """How one case ended; the words of the reports."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    FAIL = "fail"
    NOT_APPLICABLE = "not-applicable"
    COULD_NOT_RUN = "could-not-run"
    KNOWN_FAILING = "known-failing"
    INFORMATIONAL = "informational"


class ExitCode(IntEnum):
    """What the process ends with."""

    PASSED = 0
    VIOLATIONS = 1
    FAULT = 2
    INCOMPLETE = 3


class Remark(StrEnum):
    """What a ledger of known failures has to say of a result that it leaves as it is."""

    UNTRIED = "untried"
    """The ledger knows the case, and this target could not be asked."""
    SURPRISE = "surprise"
    """The case passed, although the ledger predicts that it fails."""


APPLICABLE = frozenset(
    (Verdict.PASS, Verdict.FAIL, Verdict.COULD_NOT_RUN, Verdict.KNOWN_FAILING),
)
"""Verdicts of cases that the target was asked to meet; the summary counts them."""

PRECEDENCE = (ExitCode.FAULT, ExitCode.VIOLATIONS, ExitCode.INCOMPLETE, ExitCode.PASSED)
"""Of several exit codes the first in this order stands."""

_EXIT_OF_VERDICT = {
    Verdict.FAIL: ExitCode.VIOLATIONS,
    Verdict.COULD_NOT_RUN: ExitCode.INCOMPLETE,
}


@dataclass(frozen=True, slots=True)
class CaseResult:
    """How one case ended, with everything a report prints about it.

    `symptom` is a short, stable name of what went wrong ("accepted", "no-answer",
    "wrong-value entries[0].key"): a ledger of known failures binds to it. The line tuples are
    printed as they stand. `variant` tells runs of one case apart (the dialect, say), and
    `unbound` says that a refusal came without a reason or code, where that is allowed. With a
    `remark` the last of the notes is that of the ledger.
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
    variant: str = ""
    duration_s: float = 0.0
    remark: Remark | None = None


def strongest(codes: Iterable[ExitCode]) -> ExitCode:
    """The exit code that stands where several apply: 2 before 1 before 3 before 0."""
    return min(codes, key=PRECEDENCE.index, default=ExitCode.PASSED)


def exit_code(results: Iterable[CaseResult]) -> ExitCode:
    """Exit code of a run by its results alone; a run without any applicable case is incomplete."""
    verdicts = {result.verdict for result in results}
    codes = [_EXIT_OF_VERDICT.get(verdict, ExitCode.PASSED) for verdict in verdicts]
    if not verdicts & APPLICABLE:
        codes.append(ExitCode.INCOMPLETE)
    return strongest(codes)
