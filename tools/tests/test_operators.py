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
from operator_sample import COULD_NOT_RUN, NOTICED, SURVIVED, UNFINISHED, Draw, Drawn
from operators import (
    CALLED,
    CODEC,
    NEAR,
    OTHERS,
    STAGES,
    Result,
    cases_of,
    chosen_of,
    grouped,
    judge,
)

LIVENESS = Drawn("one", "meshwire_reference.wire.liveness", "AddNot", 1, "a", "b")
CORE = Drawn("two", "meshwire_reference.core.node", "AddNot", 1, "a", "b")
RELAY = Drawn("three", "meshwire_reference.core.sending.relay", "AddNot", 1, "a", "b")
Verdicts = dict[str, list[Verdict]]
EACH = 4
"""Cases of each stage that most tests run."""


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> Catalogue:
    """Reduce the catalogue to a few cases of each stage of the mutant of RELAY."""
    chosen = [case for stage in STAGES for case in cases_of(stage, [RELAY])[:EACH]]
    alone = (replace(case, control=None) for case in chosen)
    catalogue = Catalogue(tuple(sorted(alone, key=lambda case: case.id)))
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
                left = verdicts.get(case.id, [])
                verdict = left.pop(0) if left else Verdict.PASS
                results.append(CaseResult(case.id, verdict, symptom="odd"))
                progress(results[-1])
                if verdict is Verdict.FAIL or case.id == hangs:
                    # Later cases are not awaited.
                    await asyncio.Event().wait()
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
    """The id of the first case of a stage of RELAY."""
    return cases_of(stage, [RELAY])[0].id


class TestStages:
    """The order of the cases."""

    def test_every_case_is_in_one_stage(self, few: Catalogue) -> None:
        """None is left out and none is run twice."""
        found = [case.id for stage in STAGES for case in cases_of(stage, [RELAY])]

        assert sorted(found) == [case.id for case in few.cases]

    @pytest.mark.parametrize(
        ("drawn", "stages"),
        [(LIVENESS, (CODEC, NEAR, OTHERS, CALLED)), (RELAY, (NEAR, OTHERS, CALLED, CODEC))],
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
        """Since they fail most probably; the README has a row that names this one."""
        runs = suite({})

        judged(RELAY, stages=(NEAR,))

        assert {name for run in runs for name in run} == {
            case.id for case in cases_of(NEAR, [RELAY])
        }
        assert {case.id for case in cases_of(OTHERS, [RELAY])}.isdisjoint(*runs)

    def test_cases_of_a_node_that_dials_are_a_stage(self) -> None:
        """Also those that notice rows of the module."""
        needs = {frozenset(case.needs) for case in cases_of(CALLED, [RELAY])}

        assert needs
        assert all(one & {"dials", "reconciles"} for one in needs)

    def test_a_later_run_goes_on_after_the_stages_that_are_over(
        self, suite: Callable[..., list[list[str]]]
    ) -> None:
        """And begins no stage before its turn."""
        runs = suite({})

        found = judged(LIVENESS, Result("one", passed=(CODEC, NEAR, CALLED)))
        assert not judged(RELAY, stages=(CODEC,)).passed

        assert found.state == SURVIVED
        assert {name for run in runs for name in run} == {
            case.id for case in cases_of(OTHERS, [LIVENESS])
        }


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
        noticing, after = [case.id for case in cases_of(OTHERS, [RELAY])][-2:]
        runs = suite({noticing: [Verdict.FAIL, Verdict.FAIL]}, hangs=after)

        found = judged(RELAY)

        assert (found.state, found.case) == (NOTICED, noticing)
        assert runs[-1] == [noticing]

    def test_a_case_that_passes_then_has_not_noticed(
        self, suite: Callable[..., list[list[str]]]
    ) -> None:
        """It is noted, and the others are run without it."""
        suite({first(NEAR): [Verdict.FAIL]})

        found = judged(RELAY)

        assert found.state == SURVIVED
        assert found.notes == (f"{first(NEAR)} failed once: odd",)

    @pytest.mark.parametrize(("last", "state"), [(Verdict.FAIL, NOTICED), (Verdict.PASS, SURVIVED)])
    def test_three_cases_that_fail_beside_others_are_run_beside_each_other(
        self, suite: Callable[..., list[list[str]]], last: Verdict, state: str
    ) -> None:
        """Some mistakes show there alone; on a busy machine others fail once too."""
        names = [case.id for case in cases_of(OTHERS, [RELAY])][:3]
        verdicts = {name: [Verdict.FAIL] for name in names}
        suite({**verdicts, names[1]: [Verdict.FAIL, Verdict.PASS, last]})

        found = judged(RELAY)

        assert (found.state, found.case) == (state, names[1] if state == NOTICED else "")
        assert found.notes == tuple(f"{name} failed once: odd" for name in names)

    def test_what_could_not_be_run_is_no_notice(
        self, suite: Callable[..., list[list[str]]]
    ) -> None:
        """Also where the node does not start."""
        suite({first(NEAR): [Verdict.COULD_NOT_RUN] * 2})
        assert judged(RELAY).state == COULD_NOT_RUN

        suite({}, lost=True)
        assert judged(RELAY).state == COULD_NOT_RUN

    def test_an_endless_run_is_no_notice(
        self, suite: Callable[..., list[list[str]]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It ends after a time."""
        monkeypatch.setattr(operators, "TOTAL_S", 0.0)
        suite({}, hangs=first(NEAR))

        assert judged(RELAY).state == COULD_NOT_RUN


class TestResults:
    """What is kept between runs."""

    @pytest.fixture
    def results(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
        """An empty file of results in its place."""
        monkeypatch.setattr(operators, "RESULTS", tmp_path / "results.jsonl")
        return tmp_path / "results.jsonl"

    def options(self, **given: Any) -> argparse.Namespace:
        """Options of a run."""
        usual = {"first": None, "id": None, "stage": None, "beside": 2, "group": 1}
        return argparse.Namespace(**{**usual, "seconds": 1e9, **given})

    def test_one_that_survived_before_a_stage_was_added_is_still_to_run(
        self, results: Path
    ) -> None:
        """With the stages that it has passed."""
        survivors = [
            Result("one", SURVIVED, passed=(CODEC, NEAR, OTHERS)),
            Result("two", SURVIVED, passed=STAGES),
        ]
        results.write_text("".join(json.dumps(asdict(one)) + "\n" for one in survivors))

        found = operators.read_results(results)

        assert [found[name].state for name in ("one", "two")] == ["", SURVIVED]
        assert found["one"].passed == (CODEC, NEAR, OTHERS)

    def test_mutants_with_a_state_are_not_run_again(self, results: Path) -> None:
        """Nor those of which another stage is the next."""
        known = [Result("one", passed=(CODEC,)), Result("two", NOTICED)]
        results.write_text("".join(json.dumps(asdict(one)) + "\n" for one in known))
        sample = Draw(1, (LIVENESS, CORE), 2, 0)

        assert chosen_of(sample, self.options()) == [(LIVENESS,)]
        assert chosen_of(sample, self.options(stage=[CODEC])) == []
        assert chosen_of(sample, self.options(stage=[NEAR])) == [(LIVENESS,)]
        assert chosen_of(sample, self.options(first=0)) == []
        assert chosen_of(sample, self.options(id=["two"])) == [(CORE,)]
        both = self.options(id=["one", "two"], group=2)
        assert chosen_of(sample, both) == [(CORE, LIVENESS)]

    def test_groups_have_every_mutant_once(self) -> None:
        """Those of one module are in different groups where there are enough of them."""
        mutants = [CORE, LIVENESS, RELAY, replace(CORE, id="four"), replace(RELAY, id="five")]

        groups = list(grouped(mutants, 2))

        assert sorted(one.id for group in groups for one in group) == sorted(
            one.id for one in mutants
        )
        assert all(len({one.module for one in group}) == len(group) <= 2 for group in groups)
        assert list(grouped(mutants, 1)) == [(one,) for one in mutants]

    @pytest.mark.parametrize(
        ("verdicts", "states"),
        [
            ([], {"three": (SURVIVED, ""), "six": (SURVIVED, "")}),
            # Twice against both at once, then against the first of them and against the second.
            (
                [Verdict.FAIL] * 4 + [Verdict.PASS],
                {"three": (NOTICED, "first"), "six": ("", "")},
            ),
            ([Verdict.FAIL] * 2 + [Verdict.PASS] * 2, {"three": ("", ""), "six": ("", "")}),
            ([Verdict.COULD_NOT_RUN] * 2, {}),
        ],
    )
    def test_a_case_that_notices_a_group_is_run_against_each(
        self,
        results: Path,
        suite: Callable[..., list[list[str]]],
        verdicts: list[Verdict],
        states: dict[str, tuple[str, str]],
    ) -> None:
        """Nothing is known of the others; a group that passes has passed one by one."""
        suite({first(NEAR): verdicts})
        group = (RELAY, replace(RELAY, id="six"))

        asyncio.run(operators.run([group], self.options()))

        found = operators.read_results(results)
        assert {one.id: (one.state, one.case and "first") for one in found.values()} == states

    def test_one_with_a_result_is_run_again_from_the_first_stage(
        self, results: Path, suite: Callable[..., list[list[str]]]
    ) -> None:
        """Also one that has passed every stage."""
        results.write_text(json.dumps(asdict(Result("three", SURVIVED, passed=STAGES))) + "\n")
        suite({first(NEAR): [Verdict.FAIL] * 2})

        asyncio.run(operators.run([(RELAY,)], self.options()))

        assert operators.read_results(results)["three"].state == NOTICED

    def test_results_are_put_into_the_sample(self) -> None:
        """Up to the first mutant that was not begun, since the others are not a fair part."""
        found = operators.with_results(
            Draw(1, (LIVENESS, RELAY, CORE, replace(CORE, id="four")), 4, 0),
            {
                "one": Result("one", NOTICED, "MW-1157", "odd"),
                "three": Result("three", passed=(NEAR,)),
                "four": Result("four", NOTICED),
            },
        )

        assert [(one.state, one.case) for one in found.mutants] == [
            (NOTICED, "MW-1157"),
            (UNFINISHED, ""),
            ("", ""),
            ("", ""),
        ]
