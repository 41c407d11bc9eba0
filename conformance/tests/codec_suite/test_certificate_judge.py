"""Answers about certificates: what passes, what fails, and what gives no reason."""

import json
from dataclasses import replace
from typing import Any

import pytest

from meshwire_conformance.catalogue.certificates import load_cases
from meshwire_conformance.codec_suite.certificate_judge import (
    asks_of_certificate,
    finding_of_certificate,
)
from meshwire_conformance.codec_suite.judge import Finding, Given, Hello
from meshwire_spec.schemas.certificates import CertificateVector

CASES = {case.id: case for case in load_cases()}
POSITIVE, NEGATIVE = "MW-3390", "MW-3402"
"""A certificate of a root, and one with another bit in its subject."""
HELLO = Hello("codec", "1", frozenset(("certificate_check",)), reasons=True)


def found(case_id: str, answer: dict[str, Any] | None, hello: Hello = HELLO) -> Finding:
    """Judge an answer to the one request of a case."""
    case = CASES[case_id]
    assert isinstance(case.body, CertificateVector)
    (ask,) = asks_of_certificate(case, case.body, 7)
    pairs = [(ask, Given(answer))]
    return finding_of_certificate(case.body, pairs, hello, case.demanded("strict")).finding


@pytest.mark.parametrize(
    ("case_id", "answer", "symptom"),
    [
        (POSITIVE, {"result": {"refused": None}}, ""),
        (POSITIVE, {"result": {"refused": "expired"}}, "wrong-refused"),
        (POSITIVE, {"result": {}}, "no-value"),
        (POSITIVE, {"error": {"reason": "expired"}}, "no-value"),
        (POSITIVE, {"result": "fine"}, "wrong-shape"),
        (POSITIVE, None, "no-answer"),
        (NEGATIVE, {"result": {"refused": "wrong-subject"}}, ""),
        (NEGATIVE, {"result": {"refused": "bad-signature"}}, ""),
        (NEGATIVE, {"result": {"refused": "expired"}}, "wrong-refused"),
        (NEGATIVE, {"result": {"refused": None}}, "wrong-refused"),
    ],
)
def test_an_answer_is_judged(case_id: str, answer: dict[str, Any] | None, symptom: str) -> None:
    """By the member `refused`; any reason of the vector is right."""
    assert found(case_id, answer).symptom == symptom


def test_a_codec_without_reasons_has_to_refuse() -> None:
    """Its refusals count as unbound, and what it takes is a failure all the same."""
    mute = replace(HELLO, reasons=False)
    refused = found(NEGATIVE, {"result": {"refused": "no"}}, mute)

    assert (refused.symptom, refused.unbound) == ("", True)
    assert found(NEGATIVE, {"result": {"refused": None}}, mute).symptom == "wrong-refused"
    assert found(POSITIVE, {"result": {"refused": "no"}}, mute).symptom == "wrong-refused"


def test_every_negative_has_a_control_that_counts() -> None:
    """The control differs in what the title says, and is asked under the same trust."""
    for case in CASES.values():
        if case.demanded("strict") == "reject":
            assert case.control is not None
            assert CASES[case.control].demanded("strict") == "valid"


def test_a_request_has_what_the_page_lists() -> None:
    """With the operation and a number."""
    case = CASES[POSITIVE]
    assert isinstance(case.body, CertificateVector)
    (ask,) = asks_of_certificate(case, case.body, 7)

    assert json.loads(ask.line).keys() == {
        "id", "op", "kind", "data", "subject", "now", "mesh_id", "roots", "certificates",
        "revocations",
    }  # fmt: skip
