"""The progress of a run, and its early end after a number of violations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace

import pytest

from meshwire_conformance.contracts import Attachment, Progress, Settings
from meshwire_conformance.report.ledger import KnownFailure
from meshwire_conformance.report.text import lines_of
from meshwire_conformance.run import runner
from meshwire_conformance.run.loading import load_catalogue
from meshwire_conformance.run.progress import CaseOver, RunProgress
from meshwire_conformance.run.runner import Options, check
from meshwire_conformance.verdicts import ENDED, CaseResult, ExitCode, Verdict

CASES = [case for case in load_catalogue().cases if case.kind == "socket"][:20]
IDS = [case.id for case in CASES]
TARGETS = [
    Attachment("tcp", f"127.0.0.1:{port}", f"tcp://127.0.0.1:{port}", variant=f"variant {port}")
    for port in (1, 2)
]


def passed(number: int) -> CaseResult:
    """A case that passed."""
    return CaseResult(IDS[number], Verdict.PASS)


def failed(number: int, symptom: str = "no-answer") -> CaseResult:
    """A case that failed."""
    return CaseResult(IDS[number], Verdict.FAIL, ("no",), symptom=symptom)


def progress_of(
    *results: CaseResult, known: Sequence[KnownFailure] = (), most: int | None = 2
) -> tuple[RunProgress, list[CaseOver]]:
    """The progress after these results, and what it reported."""
    seen: list[CaseOver] = []
    ledger = {failure.id: failure for failure in known}
    progress = RunProgress(load_catalogue().by_id, ledger, len(IDS), seen.append, most)
    for result in results:
        progress(result)
    return progress, seen


def test_the_maximum_of_violations_ends_a_run() -> None:
    """No further case is counted or shown; without a maximum all are."""
    results = [failed(0), passed(1), failed(2), passed(3), failed(4)]
    progress, seen = progress_of(*results)
    endless, all_seen = progress_of(*results, most=None)

    assert progress.ended() == "the run ended after 2 violations"
    assert [(over.case.id, over.done, over.total) for over in seen] == [
        (IDS[0], 1, 20),
        (IDS[1], 2, 20),
        (IDS[2], 3, 20),
    ]
    assert endless.ended() == ""
    assert len(all_seen) == 5
    assert endless.over(results) == results


def test_an_expected_failure_is_no_violation_and_a_stale_entry_is_one() -> None:
    """As the report counts them in the end."""
    known = [KnownFailure(IDS[0], "r", "no-answer"), KnownFailure(IDS[1], "r", "accepted")]
    progress, seen = progress_of(failed(0), known=known, most=1)
    assert progress.ended() == ""

    progress(failed(1))
    assert progress.ended() == "the run ended after 1 violation"
    assert [over.result.verdict for over in seen] == [Verdict.KNOWN_FAILING, Verdict.FAIL]
    assert progress_of(passed(0), known=known, most=1)[0].ended()


def test_cases_that_were_not_over_at_the_end_could_not_run() -> None:
    """Whatever the part says of them; what was over keeps its verdict, also a later one."""
    progress, _ = progress_of(passed(0), failed(1), failed(2), passed(3))
    turned = replace(failed(0), symptom="came-anyway")
    found = progress.over([turned, failed(1), failed(2), passed(3), failed(4)])

    assert found[:3] == [turned, failed(1), failed(2)]
    for result in found[3:]:
        assert (result.verdict, result.symptom) == (Verdict.COULD_NOT_RUN, ENDED)
        assert result.reasons == ("the run ended after 2 violations",)


def test_a_failure_that_a_watch_makes_counts_for_the_next_target() -> None:
    """It is known only when the run over its target is over."""
    progress, _ = progress_of(passed(0), failed(1))
    progress.over([failed(0), failed(1)])

    assert progress.ended()


class ScriptedPart:
    """Judges cases in their order, some as failed, until the run ends."""

    def __init__(self, fails: Sequence[str]) -> None:
        self.fails = fails
        self.begun: list[str] = []

    async def __call__(
        self,
        cases: Sequence[object],
        _catalogue: object,
        _target: object,
        settings: Settings,
        progress: Progress,
    ) -> list[CaseResult]:
        """Return the results of one round."""
        assert settings.ends_early
        results = []
        for case in CASES:
            if settings.ended():
                results.append(CaseResult(case.id, Verdict.COULD_NOT_RUN))
                continue
            self.begun.append(case.id)
            verdict = Verdict.FAIL if case.id in self.fails else Verdict.PASS
            results.append(CaseResult(case.id, verdict, symptom="s"))
            progress(results[-1])
        assert len(cases) == len(results)
        return results


@pytest.mark.parametrize(
    ("most", "begun", "rounds"), [(1, 4, 1), (2, 24, 1), (1, 4, 3), (3, 44, 3), (7, 120, 3)]
)
def test_the_end_holds_for_all_targets_and_rounds(
    most: int, begun: int, rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 1 stays, and the report says in one line why the rest did not run."""
    part = ScriptedPart([IDS[3]])
    scripted = SimpleNamespace(takes=lambda case: case.kind == "socket", load=lambda: part)
    monkeypatch.setattr(runner, "part_over", lambda _scheme: scripted)
    report = check(TARGETS, "x", Options(only=IDS, rounds=rounds, violations_max=most))
    said = [line for line in lines_of(report) if "the run ended" in line]
    left = [result for run in report.runs for result in run.results if result.symptom == ENDED]

    assert len(part.begun) == begun
    assert report.exit_code is ExitCode.VIOLATIONS
    assert [len(run.results) for run in report.runs] == [20, 20]
    if most == 7:
        assert not said + left
        return
    (line,) = said
    assert line.startswith(f"the run ended after {most} violation")
    assert f": {len(left)} cases did not run" in line
