"""Several rounds of one selection give rates for each case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace

import pytest

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.contracts import Attachment, Settings
from meshwire_conformance.report.json import file_of
from meshwire_conformance.report.junit import document_of
from meshwire_conformance.report.record import Report, TargetRun
from meshwire_conformance.report.text import lines_of
from meshwire_conformance.run import runner
from meshwire_conformance.run.loading import load_catalogue
from meshwire_conformance.run.rounds import merged, ordered
from meshwire_conformance.run.runner import Options, check
from meshwire_conformance.verdicts import CaseResult, ExitCode, Verdict

CASES = [case for case in load_catalogue().cases if case.kind == "socket"][:20]
FLAKY, SLOW = CASES[3].id, CASES[5].id
TARGET = Attachment("tcp", "127.0.0.1:1", "tcp://127.0.0.1:1", command="tcp://127.0.0.1:1")


class ScriptedPart:
    """Judges cases by a script: one of them fails in the second round, one is slow in the third."""

    def __init__(self) -> None:
        self.orders: list[list[str]] = []
        self.settings: list[Settings] = []

    async def __call__(
        self,
        cases: Sequence[Case],
        _catalogue: object,
        _target: object,
        settings: Settings,
        progress: object,
    ) -> list[CaseResult]:
        """Return the results of one round."""
        self.orders.append([case.id for case in cases])
        self.settings.append(settings)
        number = len(self.orders)
        fails = {FLAKY} if number == 2 else set()
        return [
            CaseResult(case.id, Verdict.FAIL, ("no",), symptom="no-answer")
            if case.id in fails
            else CaseResult(case.id, Verdict.PASS, slow=case.id == SLOW and number == 3)
            for case in cases
        ]


def report_of(monkeypatch: pytest.MonkeyPatch, options: Options) -> tuple[Report, ScriptedPart]:
    """The report of a run that a script judges, and the script."""
    part = ScriptedPart()
    scripted = SimpleNamespace(takes=lambda case: case.kind == "socket", load=lambda: part)
    monkeypatch.setattr(runner, "part_over", lambda _scheme: scripted)
    only = [case.id for case in CASES]
    return check([TARGET], "tcp://127.0.0.1:1", replace(options, only=only)), part


def test_every_case_has_its_rates_in_every_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """One failure in three rounds fails the run, and the reports say that it was one of three."""
    report, part = report_of(monkeypatch, Options(rounds=3))
    results = {result.case: result for result in report.runs[0].results}
    cases = {case.id: case for case in file_of(report).runs[0].cases}
    lines = list(lines_of(report))

    assert len(part.orders) == 3
    assert report.exit_code is ExitCode.VIOLATIONS
    assert results[FLAKY].verdict is Verdict.FAIL
    assert results[FLAKY].rounds == ((Verdict.FAIL, 1), (Verdict.PASS, 2))
    assert results[SLOW].slow
    assert cases[FLAKY].rounds == {"fail": 1, "pass": 2}
    assert cases[SLOW].rounds == {"pass": 3}
    assert '<property name="rounds" value="fail 1, pass 2"/>' in document_of(report)
    assert f"    {FLAKY}  fail 1, pass 2" in lines
    assert "  3 rounds: 19 cases ended alike in each, 1 did not" in lines


def test_one_round_has_no_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    """A single run is reported as ever."""
    report, part = report_of(monkeypatch, Options())

    assert part.orders == [[case.id for case in CASES]]
    assert not part.settings[0].keeps_order
    assert all(result.rounds == () for result in report.runs[0].results)
    assert not any("rounds" in line for line in lines_of(report))


def test_each_round_has_an_order_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The seed determines them, and the part keeps them."""
    _, part = report_of(monkeypatch, Options(rounds=2, shuffle=True, seed=7))
    _, again = report_of(monkeypatch, Options(rounds=2, shuffle=True, seed=7))
    _, other = report_of(monkeypatch, Options(rounds=2, shuffle=True, seed=8))

    assert part.orders == again.orders
    assert part.orders != other.orders
    assert part.orders[0] != part.orders[1]
    assert sorted(part.orders[0]) == [case.id for case in CASES]
    assert all(settings.keeps_order for settings in part.settings)


def test_the_worst_round_of_a_case_counts() -> None:
    """A case that could not run in one round is not complete; faults of a round stay."""
    one = TargetRun("t", "", [CaseResult("MW-5001", Verdict.PASS)])
    two = TargetRun("t", "", [CaseResult("MW-5001", Verdict.COULD_NOT_RUN, ("gone",))], ("gone",))
    found = merged([one, two, one])

    assert found.faults == ("gone",)
    assert found.results[0].verdict is Verdict.COULD_NOT_RUN
    assert found.results[0].rates == "could-not-run 1, pass 2"


def test_an_order_holds_every_case_once() -> None:
    """Whatever the seed."""
    for seed in range(5):
        assert sorted(case.id for case in ordered(CASES, seed, 0)) == [case.id for case in CASES]
