"""The run of mutants that operators make: stages, the first failed case, and what is known then."""

import argparse
import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

import operators
from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.catalogue.catalogue import Catalogue
from meshwire_conformance.contracts import Attachment, Progress, Settings
from meshwire_conformance.errors import Incomplete
from meshwire_conformance.verdicts import CaseResult, Verdict
from operator_sample import COULD_NOT_RUN, NOTICED, SURVIVED, Draw, Drawn
from operators import CODEC, COSTLY, QUICK, STAGES, Result, cases_of, chosen_of, judge

LIVENESS = Drawn("one", "meshwire_reference.wire.liveness", "AddNot", 1, "a", "b")
CORE = Drawn("two", "meshwire_reference.core.node", "AddNot", 1, "a", "b")
RELAY = Drawn("three", "meshwire_reference.core.sending.relay", "AddNot", 1, "a", "b")
Verdicts = dict[str, list[Verdict]]
EACH = 4
"""Cases of each stage that most tests run."""


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> Catalogue:
    """Reduce the catalogue to a few cases of each stage, among them ones that rows name."""
    chosen: dict[str, Case] = {}
    for stage in STAGES:
        cases = cases_of(stage)
        noticing = [case for case in cases if case.id in operators.near_cases([RELAY])]
        few = (*cases[:EACH], *noticing)
        chosen |= {case.id: replace(case, control=None) for case in few}
    catalogue = Catalogue(tuple(sorted(chosen.values(), key=lambda case: case.id)))
    monkeypatch.setattr(operators, "load_catalogue", lambda: catalogue)
    monkeypatch.setattr("mutants.load_catalogue", lambda: catalogue)
    return catalogue


@pytest.fixture
def suite(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[list[str]]]:
    """Return what replaces both parts; a case has the verdicts given for it, one per run of it.

    What it returns lists the cases of each run of a part.
    """

    def replaced(verdicts: Verdicts, *, hangs: str = "", lost: bool = False) -> list[list[str]]:
        runs: list[list[str]] = []

        async def part(
            cases: Sequence[Case],
            _catalogue: Catalogue,
            _attachment: Attachment,
            _settings: Settings,
            progress: Progress,
        ) -> list[CaseResult]:
            runs.append([case.id for case in cases])
            if lost:
                raise Incomplete("it does not start")
            results = []
            for case in cases:
                if case.id == hangs:
                    await asyncio.Event().wait()
                left = verdicts.get(case.id, [])
                verdict = left.pop(0) if left else Verdict.PASS
                results.append(CaseResult(case.id, verdict, symptom="odd"))
                progress(results[-1])
                if verdict is Verdict.FAIL:
                    await asyncio.sleep(0)
            return results

        monkeypatch.setattr(operators, "run_codec", part)
        monkeypatch.setattr(operators, "run_sockets", part)
        monkeypatch.setattr(operators, "unapplied", lambda *_: [])
        return runs

    return replaced


def judged(drawn: Drawn, known: Result | None = None, stages: Sequence[str] = STAGES) -> Result:
    """What is known of a mutant after these stages."""
    return asyncio.run(judge([drawn], known or Result(drawn.id), stages))


def first(stage: str) -> str:
    """The id of a case of a stage that no row names for the modules of these tests."""
    near = operators.near_cases([LIVENESS, CORE, RELAY])
    return next(case.id for case in cases_of(stage) if case.id not in near)


class TestStages:
    """The order of the cases."""

    def test_every_case_is_in_one_stage(self, few: Catalogue) -> None:
        """None is left out and none is run twice."""
        found = [case.id for stage in STAGES for case in cases_of(stage)]

        assert sorted(found) == [case.id for case in few.cases]

    @pytest.mark.parametrize(
        ("drawn", "stages"), [(LIVENESS, (CODEC, QUICK, COSTLY)), (CORE, (QUICK, COSTLY, CODEC))]
    )
    def test_the_fitting_part_is_first(
        self, suite: Callable[..., list[list[str]]], drawn: Drawn, stages: tuple[str, ...]
    ) -> None:
        """The codec for `wire`, sockets for the core."""
        suite({})

        assert judged(drawn).passed == stages

    def test_cases_that_notice_rows_of_the_module_are_first(
        self, suite: Callable[..., list[list[str]]]
    ) -> None:
        """Since they fail most probably."""
        runs = suite({})

        judged(RELAY, stages=(QUICK,))

        near = {case.id for case in cases_of(QUICK)} & operators.near_cases([RELAY])
        assert near
        for run in runs:
            ours = near & set(run)
            assert ours == set(run[: len(ours)])

    def test_a_later_run_goes_on_after_the_stages_that_are_over(
        self, suite: Callable[..., list[list[str]]]
    ) -> None:
        """And begins no stage before its turn."""
        runs = suite({})

        found = judged(LIVENESS, Result("one", passed=(CODEC, QUICK)))
        assert judged(CORE, stages=(CODEC,)) == Result("two", took_s=0.0)

        assert found.state == SURVIVED
        assert {name for run in runs for name in run} == {case.id for case in cases_of(COSTLY)}


class TestJudge:
    """What becomes of a mutant."""

    def test_a_case_of_the_codec_notices(self, suite: Callable[..., list[list[str]]]) -> None:
        """With its symptom, and no socket is opened."""
        runs = suite({first(CODEC): [Verdict.FAIL]})

        found = judged(LIVENESS)

        assert (found.state, found.case, found.symptom) == (NOTICED, first(CODEC), "odd")
        assert len(runs) == 1

    def test_the_first_failed_case_ends_the_run(
        self, suite: Callable[..., list[list[str]]]
    ) -> None:
        """Those after it are not awaited; it is run once more."""
        noticing, after = [case.id for case in cases_of(QUICK) if case.id != first(QUICK)][-2:]
        runs = suite({noticing: [Verdict.FAIL, Verdict.FAIL]}, hangs=after)

        found = judged(CORE)

        assert (found.state, found.case) == (NOTICED, noticing)
        assert runs[-1] == [noticing]

    def test_a_case_that_passes_then_has_not_noticed(
        self, suite: Callable[..., list[list[str]]]
    ) -> None:
        """It is noted, and the others are run without it."""
        suite({first(QUICK): [Verdict.FAIL]})

        found = judged(CORE)

        assert found.state == SURVIVED
        assert found.notes == (f"{first(QUICK)} failed once: odd",)

    def test_what_could_not_be_run_is_no_notice(
        self, suite: Callable[..., list[list[str]]]
    ) -> None:
        """Also where the node does not start."""
        suite({first(QUICK): [Verdict.COULD_NOT_RUN]})
        assert judged(CORE).state == COULD_NOT_RUN

        suite({}, lost=True)
        assert judged(CORE).state == COULD_NOT_RUN

    def test_an_endless_run_is_no_notice(
        self, suite: Callable[..., list[list[str]]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It ends after a time."""
        monkeypatch.setattr(operators, "TOTAL_S", 0.0)
        suite({}, hangs=first(QUICK))

        assert judged(CORE).state == COULD_NOT_RUN


class TestResults:
    """What is kept between runs."""

    @pytest.fixture
    def results(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
        """An empty file of results in its place."""
        monkeypatch.setattr(operators, "RESULTS", tmp_path / "results.jsonl")
        return tmp_path / "results.jsonl"

    def options(self, **given: Any) -> argparse.Namespace:
        """Options of a run."""
        usual = {"first": None, "id": None, "together": None, "stage": None, "beside": 2}
        return argparse.Namespace(**{**usual, "seconds": 1e9, **given})

    def test_mutants_with_a_state_are_not_run_again(self, results: Path) -> None:
        """Nor those of which another stage is the next."""
        known = [Result("one", passed=(CODEC,)), Result("two", NOTICED)]
        results.write_text("".join(json.dumps(asdict(one)) + "\n" for one in known))
        sample = Draw(1, (LIVENESS, CORE), 2, 0)

        assert chosen_of(sample, self.options()) == [(LIVENESS,)]
        assert chosen_of(sample, self.options(stage=[CODEC])) == []
        assert chosen_of(sample, self.options(stage=[QUICK])) == [(LIVENESS,)]
        assert chosen_of(sample, self.options(first=0)) == []
        assert chosen_of(sample, self.options(id=["two"])) == [(CORE,)]
        assert chosen_of(sample, self.options(together=["one,two"])) == [(LIVENESS, CORE)]

    def test_results_of_several_at_once_count_for_each_that_passes(
        self, results: Path, suite: Callable[..., list[list[str]]]
    ) -> None:
        """If they are noticed together, nothing is known of a single one."""
        suite({})
        asyncio.run(operators.run([(LIVENESS, CORE)], self.options(stage=[CODEC])))
        assert {one.passed for one in operators.read_results(results).values()} == {(CODEC,)}

        suite({first(QUICK): [Verdict.FAIL, Verdict.FAIL]})
        asyncio.run(operators.run([(LIVENESS, CORE)], self.options()))
        found = operators.read_results(results)
        assert {one.state for one in found.values()} == {""}

    def test_results_are_put_into_the_sample(self) -> None:
        """Those of unfinished mutants are not."""
        found = operators.with_results(
            Draw(1, (LIVENESS, CORE), 2, 0),
            {
                "one": Result("one", NOTICED, "MW-1157", "odd"),
                "two": Result("two", passed=(QUICK,)),
            },
        )

        assert [(one.state, one.case) for one in found.mutants] == [(NOTICED, "MW-1157"), ("", "")]
