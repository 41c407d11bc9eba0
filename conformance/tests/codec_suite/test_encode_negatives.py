"""A value that no bytes can say has to be refused, and that counts only with its control."""

import asyncio
import sys
from pathlib import Path

import pytest

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.codec_suite.part import run
from meshwire_conformance.codec_suite.requests import asks_of
from meshwire_conformance.contracts import Attachment, Settings
from meshwire_conformance.run.loading import load_catalogue
from meshwire_conformance.verdicts import CaseResult, Verdict
from meshwire_spec.schemas.vectors import Vector

pytestmark = pytest.mark.process

PEER = Path(__file__).parents[1] / "programs" / "codec_peer.py"


def negatives(*patterns: str) -> list[Case]:
    """Cases that ask an encoder to refuse a value."""
    cases = load_catalogue().select(patterns)
    return [case for case in cases if isinstance(case.body, Vector) and case.body.unencodable]


def verdicts_of(mode: str, cases: list[Case]) -> list[CaseResult]:
    """The results of the cases with a codec of this mode."""
    command = f"'{sys.executable}' '{PEER}' {mode}"
    target = Attachment("stdio", command, f"stdio:{command}")
    settings = Settings(timeout_scale=2.0)
    return asyncio.run(run(cases, load_catalogue(), target, settings, lambda _result: None))


def test_nothing_but_the_encoding_is_asked() -> None:
    """There are no bytes that could be decoded."""
    (case, *_) = negatives("FR-007")
    assert isinstance(case.body, Vector)
    asks = list(asks_of(case, case.body, 7))

    assert [(ask.id, ask.op) for ask in asks] == [(7, "encode")]


def test_the_reference_refuses_each_for_its_reason() -> None:
    """And unbound where a harness gives no reasons."""
    cases = negatives("FR-007", "ER-004")
    results = verdicts_of("good-unreasoned", cases)

    assert {result.verdict for result in results} == {Verdict.PASS}
    assert all(result.unbound for result in results)


def test_an_encoder_that_refuses_nothing_fails_each() -> None:
    """The report shows the field, its size, and the bytes that came."""
    cases = negatives("FR-007", "ER-004")
    results = verdicts_of("good-unrefusing", cases)
    by_case = {result.case: result for result in results}
    long_key = next(case for case in cases if case.kind == "stream_frame" and "65536" in case.title)
    told = by_case[long_key.id]

    assert {result.symptom for result in results} == {"encoded"}
    assert told.sent[0] == "encode stream_frame"
    assert told.sent[1].startswith('key = "notes:kkk')
    assert told.sent[1].endswith('..." (65536 characters, 65536 bytes in UTF-8)')
    assert told.expected == ("an error: length-limit",)
    assert told.received[0].startswith("0000  00 00 ")
    assert told.received[0].endswith("key.length = 0")
    assert told.notes == (f"control {long_key.control} passed",)


@pytest.mark.parametrize("mode", ["truncated", "unreasoned"])
def test_a_refusal_counts_only_where_the_control_was_encoded(mode: str) -> None:
    """A target that refuses everything passes no negative."""
    verdicts = {result.verdict for result in verdicts_of(mode, negatives("ER-004"))}

    assert Verdict.PASS not in verdicts


@pytest.mark.parametrize("mode", ["first", "empty", "echo", "hello-again"])
def test_an_answer_that_is_no_error_is_no_refusal(mode: str) -> None:
    """Neither is a result without bytes."""
    results = verdicts_of(mode, negatives("ER-004"))

    assert {result.symptom for result in results} == {"encoded"}


def test_a_line_that_cannot_be_read_is_refused_without_its_id() -> None:
    """CH-021: some readers of JSON refuse half of a surrogate pair with the whole line."""
    cases = negatives("CH-021")
    results = verdicts_of("good-unread", cases)

    assert len(results) == len(cases) > 10
    assert {(result.verdict, result.unbound) for result in results} == {(Verdict.PASS, True)}
