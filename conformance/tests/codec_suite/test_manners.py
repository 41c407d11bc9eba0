"""The rules of the codec harness itself: stray lines, order, shape, hello."""

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from meshwire_conformance.catalogue.case import SOCKET
from meshwire_conformance.catalogue.catalogue import Catalogue
from meshwire_conformance.codec_suite.manners import TEXT_IDS, hello_faults
from meshwire_conformance.codec_suite.part import run
from meshwire_conformance.codec_suite.requests import OPERATIONS
from meshwire_conformance.contracts import Attachment, Settings
from meshwire_conformance.errors import Incomplete
from meshwire_conformance.run.loading import load_catalogue
from meshwire_conformance.run.runner import Options, check
from meshwire_conformance.targets import stdio
from meshwire_conformance.targets.base import parse_target
from meshwire_conformance.verdicts import CaseResult, ExitCode, Verdict

pytestmark = pytest.mark.process

PEER = Path(__file__).parents[1] / "programs" / "codec_peer.py"
LINES, SHAPE, HELLO, STRICT = "MW-6001", "MW-6002", "MW-6003", "MW-6004"
OFFSETS, PLACES, OUTPUT_PLACES = "MW-6005", "MW-6500", "MW-6501"
PATIENT = Settings()
FAST = Settings(timeout_scale=0.1)


def target_of(mode: str) -> Attachment:
    """A codec that is right in all its answers, and bad in its manners."""
    return parse_target(f"stdio:'{sys.executable}' '{PEER}' {mode}")


def judged(
    mode: str, *patterns: str, settings: Settings = PATIENT, known: Catalogue | None = None
) -> dict[str, CaseResult]:
    """Results by case, of a suite of these cases, else of the whole one."""
    known = known or load_catalogue()
    cases = [case for case in known.select(patterns) if case.kind != SOCKET]
    results = asyncio.run(run(cases, known, target_of(mode), settings, lambda _result: None))
    return {result.case: result for result in results}


def broken(results: dict[str, CaseResult]) -> Sequence[str]:
    """Cases that failed."""
    return [name for name, result in results.items() if result.verdict is Verdict.FAIL]


@pytest.mark.parametrize(
    ("mode", "case", "symptom"),
    [
        ("rude-debug", LINES, "stray-line"),
        ("rude-banner", LINES, "stray-line"),
        ("rude-twice", LINES, "stray-line"),
        ("rude-farewell", LINES, "stray-line"),
        ("rude-order", LINES, "wrong-order"),
        ("rude-both", SHAPE, "wrong-shape"),
        ("rude-zero", OFFSETS, "no-offset"),
        ("rude-place", PLACES, "wrong-offset"),
        ("rude-place", OUTPUT_PLACES, "wrong-offset"),
        ("rude-half", OUTPUT_PLACES, "wrong-offset"),
        ("hello-harness", HELLO, "wrong-hello"),
        ("hello-kinds", HELLO, "wrong-hello"),
        ("hello-version", HELLO, "wrong-hello"),
    ],
)
def test_a_broken_rule_of_the_harness_fails_its_case(mode: str, case: str, symptom: str) -> None:
    """All answers are right, and yet the target breaks a rule."""
    results = judged(mode, "LV-*", "CH-*")

    assert case in broken(results)
    assert results[case].symptom == symptom
    assert results[case].received
    adapter = {LINES, SHAPE, HELLO, OFFSETS, PLACES, OUTPUT_PLACES}
    assert set(broken(results)) <= adapter or mode == "rude-both"


@pytest.mark.parametrize(
    ("mode", "fault"),
    [
        ("strict-bom", "byte order mark"),
        ("strict-nan", "NaN"),
        ("strict-infinity", "-Infinity"),
        ("strict-twice", "`refused` twice"),
        ("strict-latin", "not UTF-8"),
    ],
)
def test_a_line_that_is_no_strict_json_is_named(mode: str, fault: str) -> None:
    """It is a fault of the adapter; a byte order mark costs nothing else."""
    results = judged(mode, "LV-*", "CH-*")

    assert results[STRICT].verdict is Verdict.FAIL
    assert fault in results[STRICT].received[0]
    assert SHAPE not in broken(results)
    others = [
        result for name, result in results.items() if name in broken(results) and name != STRICT
    ]
    assert bool(others) is (mode != "strict-bom")
    assert all(fault in result.received[0] for result in others)


@pytest.mark.parametrize("mode", ["rude-banner", "rude-log"])
def test_a_banner_costs_the_case_about_lines_alone(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However late the answer to hello follows it, and also where the banner is JSON."""
    monkeypatch.setattr(stdio, "GRACE_S", 0.0)

    assert broken(judged(mode, "LV-*", "CH-*")) == [LINES]


def test_good_manners_pass() -> None:
    """The bundled codec behind another hello."""
    results = judged("good-unreasoned", "LV-*", "CH-*")

    assert {result.verdict for result in results.values()} == {Verdict.PASS}


def test_the_cases_are_asked_with_any_other_and_alone() -> None:
    """`--only` does not hide a rule that every case shows, and the case repeats alone."""
    report = check([target_of("rude-debug")], "x", Options(only=("LV-002",)))
    # Alone it asks all that the suite has, each request by itself since no line can be trusted.
    chosen = {case.id: case for case in load_catalogue().select(("LV-*", "CH-*"))}
    few = (case for case in chosen.values() if case.control is None or case.control in chosen)
    alone = judged("rude-debug", LINES, known=Catalogue(tuple(few)))

    assert {case.id for _, case, _ in report.failures()} == {LINES}
    assert report.exit_code is ExitCode.VIOLATIONS
    assert broken(alone) == [LINES]


def test_manners_alone_are_no_verdict_where_nothing_is_offered() -> None:
    """A codec whose kinds are none of those selected was not judged."""
    report = check([target_of("good-heartbeats")], "x", Options(only=("TS-001",)))

    assert report.exit_code is ExitCode.INCOMPLETE


@pytest.mark.parametrize("mode", ["hello-id", "hello-no-kinds", "hello-no-list", "hello-text"])
def test_a_wrong_answer_to_hello_breaks_its_rule(mode: str) -> None:
    """It was reached, and it is wrong: a violation, and all other cases are open."""
    report = check([target_of(mode)], "x", Options(only=("LV-*",), timeout_scale=0.3))

    assert HELLO in {case.id for _, case, _ in report.failures()}
    assert report.exit_code is ExitCode.VIOLATIONS


def test_another_profile_is_not_judged() -> None:
    """Nothing is known of a codec for something else."""
    with pytest.raises(Incomplete, match=r"sync/9, this suite sync/1"):
        judged("hello-profile", "LV-*", "CH-*")


@pytest.mark.parametrize(
    ("operations", "said"),
    [
        (["negentropy_open", "negentropy_close"], "and not negentropy_initiate, negentropy_rec"),
        ([*OPERATIONS, "negentropy_more"], None),
        (["formation_respond"], None),
        ("negentropy_open", "expected a list of texts"),
    ],
)
def test_the_operations_of_a_run_go_together(operations: object, said: str | None) -> None:
    """A misspelt one must not pass for an offer that was never made."""
    names = {"harness": 1, "name": "x", "version": "1"}
    result = {**names, "kinds": [], "profiles": ["sync/1"], "reasons": True}
    faults = list(hello_faults({"id": 1, "result": result | {"operations": operations}}))

    assert len(faults) == (said is not None)
    assert said is None or said in faults[0]


@pytest.mark.parametrize("mode", ["silent-hello"])
def test_silence_at_hello_asks_whether_it_was_flushed(mode: str) -> None:
    """The commonest mistake of an adapter is named."""
    with pytest.raises(Incomplete, match=r"CH-002.*flush"):
        judged(mode, "LV-*", settings=FAST)


def test_the_codec_is_named_in_the_report() -> None:
    """The report uses the name in the answer to hello."""
    report = check([target_of("good-unreasoned")], "x", Options(only=("LV-001",)))

    assert set(report.runs[0].codec) == {"name", "version"}
    assert json.dumps(dict(report.runs[0].codec))


def test_ids_given_back_as_texts_are_the_cause_of_all_that_could_not_run() -> None:
    """Nothing has an answer then, and the first screen says why."""
    results = judged("hello-id", "LV-*", "CH-*")
    silent = [one for one in results.values() if one.verdict is Verdict.COULD_NOT_RUN]

    assert results[SHAPE].cause == TEXT_IDS
    assert silent
    assert {one.cause for one in silent} == {TEXT_IDS}


def test_another_fault_of_manners_has_no_such_cause() -> None:
    """A stray line says nothing about ids."""
    assert {one.cause for one in judged("rude-debug", "LV-*", "CH-*").values()} == {""}
