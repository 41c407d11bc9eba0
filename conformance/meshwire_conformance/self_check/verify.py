"""Compares the schema codec with the reference codec, which runs as a separate process.

Both were written from the pages and neither from the other, so where they disagree one of them, or
a vector, is wrong. That is a fault of the suite.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.contracts import Attachment, Settings, untraced
from meshwire_conformance.errors import Incomplete
from meshwire_conformance.explain.values import difference, shown
from meshwire_conformance.self_check.generated import samples
from meshwire_conformance.targets.stdio import Harness
from meshwire_spec.codec import accept, decode, encode, from_value, to_value
from meshwire_spec.errors import Malformed
from meshwire_spec.numbers import KINDS
from meshwire_spec.schemas.vectors import Vector

SAMPLES = 25
"""Random messages per kind; each is also tried with three mutations."""
ANSWER_S = 20.0
"""Seconds that one answer may take."""
TOTAL_S = 120.0
"""Seconds that all answers may take."""


@dataclass(frozen=True, slots=True)
class Question:
    """Bytes to decode with both codecs, and their origin.

    Without bytes there is a `value`, which both must refuse to encode.
    """

    name: str
    kind: str
    data: bytes
    value: Any = None


def questions(cases: Sequence[Case], settings: Settings) -> Iterator[Question]:
    """Yield every vector, then random messages and their mutations."""
    for case in cases:
        if isinstance(case.body, Vector):
            value = case.body.value if case.body.unencodable else None
            yield Question(case.id, case.kind, case.body.data, value)
    for kind in KINDS:
        source = settings.generator(f"verify:{kind}")
        for number, data in enumerate(samples(kind, SAMPLES, source)):
            yield Question(f"{kind} sample {number} of seed {settings.seed}", kind, data)


def expected_answer(question: Question) -> dict[str, Any]:
    """Return the answer of the schema codec in the format of the harness."""
    try:
        if question.value is not None:
            return {"result": {"data": encode(from_value(question.kind, question.value)).hex()}}
        message = decode(question.kind, question.data)
    except Malformed as exc:
        return {"error": {"reason": exc.reason, "offset": exc.offset, "field": exc.field}}
    refused = accept(question.kind, message)
    return {"result": {"value": to_value(message), "refused": refused}}


def disagreement(question: Question, expected: dict[str, Any], answer: dict[str, Any]) -> str:
    """Return how two answers differ, or an empty text; optional members count only if present."""
    given = {name: member for name, member in answer.items() if name != "id"}
    if question.value is not None:
        # The offset of a byte that was never written is optional.
        said = [shown(one.get("error", {}).get("reason")) for one in (expected, given)]
        return "" if said[0] == said[1] else f"encode: schema {said[0]}, reference {said[1]}"
    if "error" in expected and isinstance(given.get("error"), dict):
        told = given["error"]
        expected = {"error": {k: v for k, v in expected["error"].items() if k in told}}
        given = {"error": {k: v for k, v in told.items() if k in expected["error"]}}
        if "reason" not in told:
            return "the reference gives no reason"
    found = difference(expected, given)
    if found is None:
        return ""
    return f"{found.path}: schema {found.expected}, reference {found.received}"


async def verify(
    cases: Sequence[Case], attachment: Attachment, settings: Settings
) -> tuple[int, list[str]]:
    """Return the number of questions asked, and one line for each disagreement.

    Raises Incomplete if the reference codec does not answer.
    """
    asked = list(questions(cases, settings))
    expected = [expected_answer(question) for question in asked]
    requests = dict(enumerate(_requests(asked, expected)))
    harness = Harness(attachment.location, ANSWER_S, TOTAL_S, untraced)
    await harness.start()
    try:
        spoken = await harness.converse(requests)
    finally:
        await harness.close()
    if len(spoken.answers) < len(requests):
        raise Incomplete(f"the reference codec stopped answering: {spoken.detail or spoken.ending}")
    return len(asked), list(_disagreements(asked, expected, spoken.answers))


def _requests(asked: Sequence[Question], expected: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield a decode request for each question, then an encode request for each with a value."""
    for number, question in enumerate(asked):
        if question.value is not None:
            request: dict[str, Any] = {"op": "encode", "value": question.value}
        else:
            request = {"op": "decode", "data": question.data.hex()}
        yield json.dumps({"id": number, "kind": question.kind, **request})
    for number, (question, answer) in enumerate(_valued(asked, expected), start=len(asked)):
        members = {"kind": question.kind, "value": answer["result"]["value"]}
        yield json.dumps({"id": number, "op": "encode", **members})


def _valued(
    asked: Sequence[Question], expected: Sequence[dict[str, Any]]
) -> Iterator[tuple[Question, dict[str, Any]]]:
    """Yield the questions whose bytes decode, with the expected answer."""
    pairs = zip(asked, expected, strict=True)
    for question, answer in pairs:
        if "result" in answer and question.value is None:
            yield question, answer


def _disagreements(
    asked: Sequence[Question],
    expected: Sequence[dict[str, Any]],
    answers: dict[int, dict[str, Any]],
) -> Iterator[str]:
    for number, (question, answer) in enumerate(zip(asked, expected, strict=True)):
        said = disagreement(question, answer, answers[number])
        if said:
            yield f"{question.name} ({question.kind} {shown(question.data.hex())}): {said}"
    for number, (question, _) in enumerate(_valued(asked, expected), start=len(asked)):
        found = answers[number].get("result")
        if not isinstance(found, dict) or found.get("data") != question.data.hex():
            yield f"{question.name} ({question.kind}): encodes to {shown(answers[number])}"
