"""Failures of codec cases: the marked bytes are the ones at fault."""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.codec_suite.findings import describe
from meshwire_conformance.codec_suite.judge import (
    JUDGES,
    REFUSALS,
    Finding,
    Given,
    Hello,
    finding_of,
    vector_of,
)
from meshwire_conformance.codec_suite.requests import asks_of
from meshwire_conformance.run.loading import load_catalogue
from meshwire_conformance.verdicts import CaseResult
from meshwire_spec.schemas.vectors import Vector

ROW = re.compile(r"(?P<offset>[0-9a-f]{4,})  ")
POINTER = re.compile(r" *(?P<carets>\^\^(?: \^\^)*) ")
BYTES = 16
HELLO = Hello("a codec", "1", frozenset(), reasons=True)


def cases() -> Iterator[tuple[Case, Vector]]:
    """Every case with a vector."""
    for case in load_catalogue().cases:
        if isinstance(case.body, Vector):
            yield case, case.body


def negatives() -> Iterator[tuple[Case, Vector]]:
    """Every vector whose bytes are refused."""
    return ((case, body) for case, body in cases() if isinstance(body.at, list))


def described(case: Case, found: Finding) -> CaseResult:
    """A failure as the report shows it."""
    return describe(case, found, None, "strict")


def marked(lines: tuple[str, ...]) -> tuple[int, int]:
    """The offsets at which the marked bytes of a dump begin and end."""
    for row, pointer in pairwise(lines):
        if found := POINTER.match(pointer):
            offset = ROW.match(row)
            assert offset, row
            column = found.start("carets") - 6
            start = int(offset["offset"], 16) + column // 3
            return start, start + (len(found["carets"]) + 1) // 3
    raise AssertionError(f"nothing is marked in {lines}")


def test_the_caret_of_every_negative_is_below_the_bytes_at_fault() -> None:
    """A range that goes on in the next row is marked to the end of its first one."""
    wrong = []
    for case, vector in negatives():
        assert isinstance(vector.at, list)
        start, end = vector.at
        in_row = min(end, start // BYTES * BYTES + BYTES)
        told = described(case, Finding("accepted", "decode", received="accepted"))
        if marked(told.sent) != (start, max(in_row, start + 1)):
            wrong.append((case.id, vector.at, told.sent))

    assert wrong == []


def test_every_value_that_has_no_bytes_names_its_member() -> None:
    """A value that an encoder had to refuse is shown by its field."""
    lines = {
        case.id: described(case, Finding("encoded", "encode", received="encoded")).sent[1]
        for case, vector in cases()
        if vector.unencodable
    }

    assert lines
    assert all(re.match(r"\S+ = ", line) for line in lines.values()), lines


def answered(case: Case, op: str, result: dict[str, Any]) -> CaseResult:
    """The failure of a positive whose answer is this."""
    assert isinstance(case.body, Vector)
    found = JUDGES[op](case.body, {"result": result}, HELLO)
    assert found.symptom
    return described(case, found)


@pytest.fixture(name="frame")
def _frame() -> Case:
    return load_catalogue().by_id["MW-1001"]


def test_a_refused_positive_is_marked_at_the_field_that_the_target_names(frame: Case) -> None:
    """The length of a key is another field than the key."""
    found = {
        name: marked(described(frame, Finding("refused", "decode", place=name)).sent)
        for name in ("key", "key.length", "type")
    }

    assert found == {"key": (2, 16), "key.length": (0, 2), "type": (16, 17)}


def test_content_that_does_not_fit_is_marked_at_its_length(frame: Case) -> None:
    """The bytes of a positive are right, so the length was decoded wrong."""
    found = {
        reason: marked(
            described(frame, Finding("refused", "decode", place="key", reason=reason)).sent
        )
        for reason in ("truncated", "length-limit", "bad-utf8")
    }

    assert found == {"truncated": (0, 2), "length-limit": (0, 2), "bad-utf8": (2, 16)}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("MW-1014", "reject: truncated in payload"),
        ("MW-1324", "reject: truncated in key"),
        ("MW-1337", "reject: trailing-bytes"),
        ("MW-1019", "reject: bad-key in key"),
    ],
)
def test_a_negative_expects_the_field_that_its_error_names(name: str, expected: str) -> None:
    """Content that is shorter than its length is a fault of the content (page Harness)."""
    told = described(
        load_catalogue().by_id[name], Finding("accepted", "decode", received="accepted")
    )

    assert told.expected == (expected,)


def test_a_number_in_the_other_byte_order_is_named(frame: Case) -> None:
    """A codec that reads and writes both lengths from their low byte refuses and encodes wrong."""
    body = frame.body
    assert isinstance(body, Vector)
    data = body.data
    wrong = data[1::-1] + data[2:17] + data[17:21][::-1] + data[21:]
    encoded = JUDGES["encode"](body, {"result": {"data": wrong.hex()}}, HELLO)
    refused = Finding("refused", "decode", place="key", reason="truncated", also=encoded)
    told = described(frame, refused)

    assert marked(told.sent) == (0, 2)
    assert told.notes[0].endswith("in key.length, whose byte order is reversed, at 0000")

    other = answered(frame, "encode", {"data": (b"\x01" + data[1:]).hex()})
    assert other.received[1].endswith("first wrong byte, in key.length")


def test_a_value_beside_a_reason_is_no_error() -> None:
    """CH-011: what does not decode has no value; what `accept` refuses has one."""
    by_id = load_catalogue().by_id
    symptoms = {}
    for name, reason in (("MW-1102", "bad-utf8"), ("MW-1019", "bad-key")):
        body = by_id[name].body
        assert isinstance(body, Vector)
        answer = {"result": {"value": body.value or {}, "refused": reason}}
        symptoms[name] = REFUSALS["decode"](body, answer, HELLO).symptom

    assert symptoms == {"MW-1102": "decoded", "MW-1019": ""}


def test_where_nothing_can_be_marked_the_report_says_so(frame: Case) -> None:
    """A field that the bytes do not have is no reason to mark a neighbour."""
    told = described(frame, Finding("refused", "decode", place="ke"))

    assert told.sent[-1] == "(no byte can be marked)"


def test_a_value_is_shown_below_the_expected_one(frame: Case) -> None:
    """The caret is below the first character that differs."""
    body = frame.body
    assert isinstance(body, Vector)
    value = {**body.value, "key": "tracks:alphA-7"}
    told = answered(frame, "decode", {"value": value, "refused": None})

    assert told.expected == ('key = "tracks:alpha-7"',)
    assert told.received == ('key = "tracks:alphA-7"', " " * len('key = "tracks:alph') + "^")
    assert marked(told.sent) == (2, 16)


def test_long_texts_are_cut_to_the_place_where_they_differ() -> None:
    """Both are cut alike, so that the difference is visible."""
    (case, vector) = next(one for one in cases() if one[0].id == "MW-1007")
    key = vector.value["key"]
    told = answered(case, "decode", {"value": {**vector.value, "key": key[:-1]}, "refused": None})

    assert f"({len(key)} characters)" in told.expected[0]
    assert f"({len(key) - 1} characters)" in told.received[0]
    assert (
        told.received[0][len(told.received[1]) - 1] != told.expected[0][len(told.received[1]) - 1]
    )


def test_other_bytes_are_named_by_the_innermost_field_of_a_payload() -> None:
    """A frame that carries a tombstone shows which field of the tombstone is wrong."""
    case, vector = next(
        one
        for one in cases()
        if one[1].kind == "stream_frame"
        and one[1].result.strict == "valid"
        and one[1].value["type"] == 4
        and len(one[1].value["payload"]) > 40
    )
    data = bytearray(vector.data)
    data[-1] ^= 1
    told = answered(case, "encode", {"data": data.hex()})

    assert told.received[-1].endswith("first wrong byte, in payload.direction")
    assert marked(told.received) == marked(told.expected) == (len(data) - 1, len(data))


@pytest.mark.parametrize(
    ("op", "result", "said"),
    [
        ("decode", {"refused": None}, "no `value` in the result"),
        ("decode", {}, "no `value` and no `refused` in the result"),
        ("encode", {"bytes": "00"}, "no `data` in the result"),
        ("formation_respond", {"data": "00"}, "no `hmac` in the result"),
    ],
)
def test_a_missing_member_is_named(op: str, result: dict[str, Any], said: str) -> None:
    """An answer without a member that it must have."""
    case = next(case for case, vector in cases() if vector.respond)
    told = answered(case, op, result)

    assert told.received[0].startswith(said)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"result": "zzz"}, "the result is "),
        ({"result": None}, "the result is null"),
        ({"error": "bad-key"}, "the error is "),
        ({"error": None, "result": {"value": 1, "refused": None, "data": "00"}}, "the error is"),
        ({}, "neither a result nor an error"),
    ],
)
@pytest.mark.parametrize("demanded", ["valid", "reject"])
def test_an_answer_of_another_type_is_named_with_its_rule(
    answer: dict[str, Any], said: str, demanded: str
) -> None:
    """It accepts nothing, and refuses nothing."""
    wanted = [case for case, _ in cases() if case.demanded("strict") == demanded]
    rules = {"decode": "CH-011", "encode": "CH-012", "formation_respond": "CH-013"}
    asked = set()
    for case in wanted:
        for ask in asks_of(case, vector_of(case), 2):
            found = finding_of([(ask, Given({"id": 2, **answer}))], HELLO, demanded)
            asked.add(ask.op)

            assert found.symptom == "wrong-shape"
            assert said in found.received
            assert rules[ask.op] in found.received
    assert asked >= {"decode", "encode"}


@pytest.mark.parametrize(
    ("at", "cut", "says"),
    [
        (1, None, "encode: first wrong byte, in key.length, at 0001: ff, not "),
        (0, None, "encode: first wrong byte, in key.length, at 0000: ff "),
        (None, -1, " bytes, not "),
    ],
)
def test_a_failed_encode_leads_with_its_first_wrong_byte(
    at: int | None, cut: int | None, says: str
) -> None:
    """The bytes as a whole say nothing of what is wrong."""
    case = load_catalogue().by_id["MW-1001"]
    assert isinstance(case.body, Vector)
    data = bytearray(case.body.data[:cut])
    if at is not None:
        data[at] = 0xFF
    (headline,) = answered(case, "encode", {"data": data.hex()}).reasons

    assert says in headline
    assert data.hex()[:40] not in headline
