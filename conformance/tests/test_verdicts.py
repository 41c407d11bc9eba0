"""Verdicts and the exit code of a run."""

import pytest

from meshwire_conformance.verdicts import CaseResult, ExitCode, Verdict, exit_code, strongest


def results(*verdicts: Verdict) -> list[CaseResult]:
    """One result for each verdict."""
    return [CaseResult(f"MW-{number:04d}", verdict) for number, verdict in enumerate(verdicts)]


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ((Verdict.PASS,), ExitCode.PASSED),
        ((Verdict.PASS, Verdict.FAIL), ExitCode.VIOLATIONS),
        ((Verdict.PASS, Verdict.COULD_NOT_RUN), ExitCode.INCOMPLETE),
        ((Verdict.FAIL, Verdict.COULD_NOT_RUN), ExitCode.VIOLATIONS),
        ((Verdict.KNOWN_FAILING,), ExitCode.PASSED),
        ((Verdict.INFORMATIONAL,), ExitCode.INCOMPLETE),
        ((Verdict.NOT_APPLICABLE,), ExitCode.INCOMPLETE),
        ((Verdict.PASS, Verdict.NOT_APPLICABLE, Verdict.INFORMATIONAL), ExitCode.PASSED),
        ((), ExitCode.INCOMPLETE),
    ],
)
def test_exit_code_says_what_happened(verdicts: tuple[Verdict, ...], expected: ExitCode) -> None:
    """A failure is 1, an open case 3, and a run that judged nothing is never 0."""
    assert exit_code(results(*verdicts)) == expected


def test_a_suite_fault_outweighs_all_and_violations_outweigh_incomplete() -> None:
    """Precedence is 2, 1, 3, 0."""
    order = [ExitCode.FAULT, ExitCode.VIOLATIONS, ExitCode.INCOMPLETE, ExitCode.PASSED]
    for place, code in enumerate(order):
        assert strongest(order[place:]) == code

    assert strongest([]) == ExitCode.PASSED
