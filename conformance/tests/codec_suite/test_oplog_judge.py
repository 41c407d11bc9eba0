"""Signed operations: the requests to a codec, and the faults of its answers."""

import json
import struct
from typing import Any

import pytest

from meshwire_conformance.catalogue import oplog
from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.catalogue.oplog import OplogRun
from meshwire_conformance.codec_suite.judge import Given
from meshwire_conformance.codec_suite.oplog_judge import (
    OplogFinding,
    OplogStep,
    asks_of_oplog,
    describe_oplog,
    finding_of_oplog,
    plain,
)
from meshwire_conformance.codec_suite.requests import Ask
from meshwire_conformance.verdicts import Verdict

CASES = {case.id: case for case in oplog.load_cases()}


def asked(case: Case, level: str = "strict") -> list[Ask]:
    """Return the requests of a case."""
    assert isinstance(case.body, OplogRun)
    return list(asks_of_oplog(case, case.body, 7, level))


def tree(value: Any) -> list[Any]:
    """Return a JSON value as a tree of pairs; numbers by their bits."""
    if value is None:
        return ["null"]
    if isinstance(value, bool):
        return ["bool", value]
    if isinstance(value, float):
        return ["num", struct.pack(">d", value).hex()]
    if isinstance(value, str):
        return ["str", value]
    if isinstance(value, list):
        return ["arr", [tree(part) for part in value]]
    return ["obj", [[name, tree(part)] for name, part in value.items()]]


def right(ask: Ask) -> dict[str, Any]:
    """Return the result that is expected of a request."""
    assert isinstance(ask.step, OplogStep)
    result: dict[str, Any] = {"waiting": 0} if ask.op == "oplog_apply" else {}
    for name, wanted in ask.step.expected.items():
        if name == "view":
            result[name] = tree(wanted)
        elif isinstance(wanted, frozenset):
            result[name] = min(wanted)
        else:
            result[name] = "ErrMismatchedType" if wanted == "refused" else wanted
    return result


def found(case: Case, level: str = "strict", **changes: object) -> OplogFinding:
    """Return the finding for right answers in which members are changed wherever they occur."""
    pairs = []
    asks = asked(case, level)
    shown = [right(ask)["view"] for ask in asks if "view" in right(ask)]
    for ask in asks:
        result = right(ask)
        if ask.op == "oplog_view":
            # Where the table leaves a view open, it is that of the other orders.
            result.setdefault("view", shown[0] if shown else None)
        result |= {name: value for name, value in changes.items() if name in result}
        pairs.append((ask, Given({"id": ask.id, "result": result})))
    return finding_of_oplog(pairs, case.demanded(level), level)


@pytest.mark.parametrize("level", ["wire", "strict"])
def test_right_answers_have_no_fault(level: str) -> None:
    """Every case passes with what is expected of it, at each level."""
    for case in CASES.values():
        assert found(case, level).finding.symptom == "", case.id


@pytest.mark.parametrize(
    ("name", "member", "value", "symptom"),
    [
        ("MW-8001", "digest_text", "x", "wrong-digest-text"),
        ("MW-8001", "id", "00", "wrong-id"),
        ("MW-8001", "valid_id", False, "wrong-valid-id"),
        ("MW-8367", "valid", True, "wrong-valid"),
        ("MW-8402", "outcome", "ErrPathMismatch", "wrong-outcome"),
        ("MW-8402", "view", ["null"], "wrong-view"),
        ("MW-8402", "view", ["num", "zz"], "wrong-view"),
        ("MW-8402", "lists", {}, "wrong-lists"),
        ("MW-8920", "outcome", "Ok", "wrong-outcome"),
        ("MW-8920", "outcome", None, "wrong-outcome"),
    ],
)
def test_a_wrong_member_is_a_fault(name: str, member: str, value: object, symptom: str) -> None:
    """The symptom names the member, and the report has request, expectation and answer."""
    case = CASES[name]
    fault = found(case, **{member: value})
    result = describe_oplog(case, fault)

    assert fault.finding.symptom == symptom
    assert result.verdict is Verdict.FAIL
    assert result.sent[0].startswith('{"id":')
    assert result.expected
    assert result.received


def test_lists_may_be_left_out() -> None:
    """Their order shows in the view, and an adapter need not give them."""
    assert found(CASES["MW-8402"], lists=None).finding.symptom == ""


def test_a_queue_is_judged_at_wire_alone() -> None:
    """At `strict` the queue also holds what waits for its target, as each node counts it."""
    case = CASES["MW-8402"]

    assert found(case, "wire", waiting=7).finding.symptom == "wrong-waiting"
    assert found(case, "strict", waiting=7).finding.symptom == ""


@pytest.mark.parametrize("waiting", [None, "0", -1, True])
def test_the_number_of_waiting_operations_is_a_number(waiting: object) -> None:
    """At both levels, also where its value is free."""
    assert found(CASES["MW-8402"], "strict", waiting=waiting).finding.symptom == "wrong-waiting"


def test_a_history_ends_in_one_document_in_any_order() -> None:
    """At `strict` another one is a fault, in whichever order the history was applied."""
    case = CASES["MW-8909"]
    pairs = [(ask, Given({"id": ask.id, "result": right(ask)})) for ask in asked(case)]
    views = [at for at, (ask, _) in enumerate(pairs) if ask.op == "oplog_view"]

    assert len(views) > 1
    assert not finding_of_oplog(pairs, "valid", "strict").finding.symptom
    for at in views:
        ask = pairs[at][0]
        other = Given({"id": ask.id, "result": {"view": tree({"items": [], "nodes": []})}})
        changed = [*pairs[:at], (ask, other), *pairs[at + 1 :]]
        assert finding_of_oplog(changed, "valid", "strict").finding.symptom == "wrong-view"


def test_an_error_and_no_answer_are_faults() -> None:
    """A request of a vector has a result."""
    ask = asked(CASES["MW-8001"])[0]
    for given, symptom in (
        (Given({"id": ask.id, "error": {"reason": "x"}}), "refused"),
        (Given(None, "it died"), "no-answer"),
    ):
        assert finding_of_oplog([(ask, given)], "valid", "strict").finding.symptom == symptom


def test_the_level_is_that_of_the_run() -> None:
    """A replica is opened at the level that is judged, under a number of its own."""
    lines = [json.loads(ask.line) for ask in asked(CASES["MW-8900"], "wire")]
    opened = [line["session"] for line in lines if line["op"] == "oplog_open"]

    assert {line["level"] for line in lines if line["op"] == "oplog_open"} == {"wire"}
    assert len(set(opened)) == len(opened) > 1
    assert {line["session"] for line in lines} == set(opened)


def test_a_tree_is_read_as_json() -> None:
    """Each type of pair, and nothing else."""
    value = {"a": [None, True, 0.5, "x"]}

    assert plain(tree(value)) == value
    with pytest.raises(ValueError, match="other"):
        plain(["other", 1])
