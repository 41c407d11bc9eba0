"""Vectors of whole reconciliations: the format, and targets that get them right or wrong."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator
from msgspec import UNSET

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.catalogue.reconciliations import (
    expand_items,
    listed,
    load_cases,
    run_files,
)
from meshwire_conformance.codec_suite.judge import Given, Hello
from meshwire_conformance.codec_suite.part import run
from meshwire_conformance.codec_suite.reconciliation_judge import finding_of_run
from meshwire_conformance.codec_suite.requests import asks_of_run
from meshwire_conformance.contracts import Attachment, Settings
from meshwire_conformance.protocol.negentropy import Reconciliation
from meshwire_conformance.protocol.negentropy_messages import Refused
from meshwire_conformance.run.loading import load_catalogue
from meshwire_conformance.targets.bundle import bundled_codec
from meshwire_conformance.verdicts import CaseResult, Verdict
from meshwire_spec.schemas.reconciliation import ReconciliationRun, Role
from meshwire_spec.schemas.validation import faults, load_schema

PEER = Path(__file__).parents[1] / "programs" / "reconciling_peer.py"
DEADLY = "6f00000200"
ROLES: tuple[Role, ...] = ("client", "server")


def runs() -> dict[str, ReconciliationRun]:
    """Every run by its id."""
    return {case.id: body_of(case) for case in load_cases()}


def body_of(case: Case) -> ReconciliationRun:
    """The run that a case is made of."""
    assert isinstance(case.body, ReconciliationRun)
    return case.body


def few_cases() -> list[Case]:
    """A positive of one round, one of several, their negatives, and what was written by hand."""
    chosen = [case for case in load_cases() if len(msgspec.json.encode(case.body)) < 8000]
    return chosen[::3] + [case for case in chosen if case.control in {c.id for c in chosen[::3]}]


def check(target: Attachment, cases: list[Case], level: str = "strict") -> Mapping[str, CaseResult]:
    """The suite run against a target, by the id of the case."""
    unique = list({case.id: case for case in cases}.values())
    results = asyncio.run(
        run(unique, load_catalogue(), target, Settings(level=level), lambda _result: None)
    )
    return {result.case: result for result in results}


def peer(mode: str) -> Attachment:
    """The bundled implementation behind a peer that spoils its answers."""
    command = f"'{sys.executable}' '{PEER}' {mode}"
    return Attachment("stdio", command, f"stdio:{command}", command=f"stdio:{mode}")


def test_every_file_fits_the_schema() -> None:
    """The format is what the published schema says."""
    for path in run_files():
        assert list(faults("reconciliation", json.loads(path.read_text()))) == [], path.name


def test_every_request_fits_the_harness_schema() -> None:
    """Requests to a target have the published form."""
    document = load_schema("harness")
    shape = {"$defs": document["$defs"], "$ref": "#/$defs/request"}
    validator = Draft202012Validator(shape)
    for case in few_cases():
        for ask in asks_of_run(case, body_of(case), 7):
            assert validator.is_valid(json.loads(ask.line)), ask.line[:200]


def test_there_are_as_many_as_there_should_be() -> None:
    """Enough of them, enough with several messages, enough malformed."""
    bad = [one for one in runs().values() if one.bad is not UNSET]
    several = [one for one in runs().values() if one.bad is UNSET and len(one.messages) > 2]

    assert len(runs()) >= 150
    assert len(bad) >= 50
    assert len(several) >= 60


def test_the_suites_own_sides_agree_with_every_run() -> None:
    """The suite's own sides produce the frozen messages of an independent implementation."""
    for name, one in runs().items():
        sides = {
            role: Reconciliation(
                expand_items(one.side(role).items),
                one.side(role).frame_limit,
                client=role == "client",
            )
            for role in ROLES
        }
        role = one.only or None
        have: list[bytes] = []
        need: list[bytes] = []
        for at, message in enumerate(one.messages):
            getter = ROLES[(at + 1) % 2]
            if at == 0 and role != "server":
                assert sides["client"].initiate().hex() == message, name
            if role in (None, getter) and at + 1 < len(one.messages) + (getter == "client"):
                answer = sides[getter].reconcile(bytes.fromhex(message))
                have += answer.have
                need += answer.need
                reply = None if answer.reply is None else answer.reply.hex()
                if at + 1 < len(one.messages) or one.bad is UNSET:
                    assert [reply] == ([*one.messages, None][at + 1 : at + 2]), name
        if one.bad is UNSET:
            assert [listed(have), listed(need)] == msgspec.to_builtins([one.have, one.need]), name
        else:
            with pytest.raises(Refused) as refused:
                sides[one.bad_role].reconcile(bytes.fromhex(one.bad))
            assert refused.value.reason in one.reasons, name


@pytest.mark.process
def test_the_bundled_implementation_passes_all() -> None:
    """The reference gives every frozen byte."""
    results = check(bundled_codec(), list(load_cases()))

    assert {name: r.symptom for name, r in results.items() if r.verdict is not Verdict.PASS} == {}


@pytest.mark.process
def test_a_target_without_the_operations_is_not_asked() -> None:
    """A target without reconciliation has no verdicts about it."""
    results = check(peer("without"), few_cases())

    assert {result.verdict for result in results.values()} == {Verdict.NOT_APPLICABLE}


@pytest.mark.process
@pytest.mark.parametrize(
    ("mode", "symptom"),
    [
        ("flips-a-byte", "wrong-bytes"),
        ("never-done", "wrong-bytes"),
        ("forgets-have", "wrong-have"),
        ("invents-need", "wrong-need"),
        ("lists-nothing", "wrong-have"),
        ("takes-all", "accepted"),
        ("other-reason", "wrong-reason bad-value"),
        ("no-reply", "no-reply"),
        ("silent-begin", "wrong-bytes"),
    ],
)
def test_a_wrong_answer_fails_by_its_symptom(mode: str, symptom: str) -> None:
    """Each kind of wrong answer is seen, and told with what was expected and came."""
    results = check(peer(mode), few_cases())
    failed = [result for result in results.values() if result.verdict is Verdict.FAIL]

    assert symptom in {result.symptom for result in failed}
    assert all(result.sent and result.expected and result.received for result in failed)


@pytest.mark.process
def test_a_refusal_counts_only_beside_its_control() -> None:
    """A target that refuses everything passes no case."""
    results = check(peer("refuses-all"), few_cases())
    found = Counter(result.verdict for result in results.values())

    assert set(found) == {Verdict.FAIL, Verdict.COULD_NOT_RUN}


@pytest.mark.process
def test_a_run_is_asked_again_from_its_start_where_the_target_dies() -> None:
    """Sessions do not outlive a process, and a death lands on the run that caused it."""
    results = check(peer("dies-at-one"), list(load_cases()))
    failed = {name for name, result in results.items() if result.verdict is Verdict.FAIL}
    killers = {name for name, one in runs().items() if DEADLY in (one.bad, *one.messages)}

    assert killers
    assert failed == killers


@pytest.mark.process
@pytest.mark.parametrize(("level", "verdict"), [("strict", Verdict.FAIL), ("wire", Verdict.PASS)])
def test_the_place_of_a_closing_fingerprint_is_demanded_at_strict_alone(
    level: str, verdict: Verdict
) -> None:
    """NG-064: level `wire` takes the place of version 0.5.0 of the library too."""
    row = "negentropy-closes-behind-what-it-leaves-out"
    hook = Path(__file__).parents[2] / "mutants" / "hook"
    program = f"env MUTANT_ROWS={row} PYTHONPATH='{hook}' '{sys.executable}'"
    command = f"{program} -m meshwire_reference.cli codec"
    placed = [case for case in load_cases() if "NG-064" in case.rules]
    others = [case for case in load_cases() if "NG-058" in case.rules and case not in placed]
    target = Attachment("stdio", command, command)
    results = check(target, [*placed, *others], level)

    assert {results[case.id].verdict for case in placed} == {verdict}
    assert {results[case.id].verdict for case in others} == {Verdict.PASS}


@pytest.mark.parametrize("answer", [{"result": "zzz"}, {"error": "bad"}, {}])
def test_an_answer_of_another_type_is_named_with_its_rule(answer: dict[str, Any]) -> None:
    """To each operation: it neither goes on nor refuses."""
    hello = Hello("a codec", "1", frozenset(), reasons=True)
    for case in load_catalogue().cases:
        if isinstance(case.body, ReconciliationRun):
            for ask in asks_of_run(case, case.body, 2):
                pairs = [(ask, Given({"id": ask.id, **answer}))]
                found = finding_of_run(case.body, pairs, hello, "valid", "strict").finding

                assert found.symptom == "wrong-shape"
                assert "CH-015" in found.received
