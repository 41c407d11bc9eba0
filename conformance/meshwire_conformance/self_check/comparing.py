"""Two codecs asked the same: every vector, random messages and mutations of them.

Neither is presumed to be right. A disagreement is shown with its bytes, and with what the schema
says of them.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.contracts import Attachment, Settings, untraced
from meshwire_conformance.errors import Incomplete
from meshwire_conformance.explain.field_rows import rows_of
from meshwire_conformance.explain.values import difference, printable, shown
from meshwire_conformance.self_check.verify import (
    ANSWER_S,
    TOTAL_S,
    Question,
    expected_answer,
    questions,
)
from meshwire_conformance.targets.stdio import Harness
from meshwire_spec.rules import refusals

HELLO = 0
"""Id of the request that begins a conversation."""
START_S = 15.0
"""Seconds that a codec may take to start."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A question on which two codecs differ: how, and the rule that the schema has for it."""

    question: Question
    says: str
    schema: str
    rule: str


Answers = Mapping[int, dict[str, Any]]


async def compared(
    cases: Sequence[Case], pair: tuple[Attachment, Attachment], settings: Settings
) -> tuple[int, list[Disagreement]]:
    """Return the number of questions that both know, and where their answers differ.

    Raises Incomplete if one of them stops answering.
    """
    asked = dict(enumerate(questions(cases, settings), start=HELLO + 1))
    answers = [await _answers(one, asked) for one in pair]
    kinds = [set(_kinds(one)) for one in answers]
    common = {
        number: question
        for number, question in asked.items()
        if all(question.kind in known for known in kinds)
    }
    found = []
    for number, question in common.items():
        says = _difference(answers[0][number], answers[1][number])
        if says:
            found.append(_disagreement(question, says))
    return len(common), found


async def _answers(target: Attachment, asked: Mapping[int, Question]) -> Answers:
    harness = Harness(target.location, ANSWER_S, TOTAL_S, untraced)
    await harness.start()
    try:
        hello = {HELLO: json.dumps({"id": HELLO, "op": "hello"})}
        begun = await harness.converse(hello, start_s=START_S)
        if HELLO not in begun.answers:
            raise Incomplete(f"{target.text} does not answer hello: {begun.detail or begun.ending}")
        known = set(_kinds(begun.answers))
        requests = {
            number: _request(number, question)
            for number, question in asked.items()
            if question.kind in known
        }
        spoken = await harness.converse(requests)
    finally:
        await harness.close()
    if len(spoken.answers) < len(requests):
        number = next(one for one in requests if one not in spoken.answers)
        told = f"{asked[number].name} ({asked[number].kind} {shown(asked[number].data.hex())})"
        why = spoken.detail or spoken.ending
        raise Incomplete(f"{target.text} stopped answering at {told}: {why}")
    return {**begun.answers, **spoken.answers}


def _kinds(answers: Answers) -> Sequence[str]:
    result = answers[HELLO].get("result")
    kinds = result.get("kinds") if isinstance(result, dict) else None
    return [kind for kind in kinds if isinstance(kind, str)] if isinstance(kinds, list) else []


def _request(number: int, question: Question) -> str:
    if question.value is not None:
        members: dict[str, Any] = {"op": "encode", "value": question.value}
    else:
        members = {"op": "decode", "data": question.data.hex()}
    return json.dumps({"id": number, "kind": question.kind, **members})


def _difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Return how two answers differ, or an empty text; a missing reason is no difference."""
    ends = [_end(answer) for answer in (one, other)]
    if ends[0] == ends[1] == "result":
        found = difference(one["result"], other["result"])
        return "" if found is None else f"{found.path}: {found.expected} | {found.received}"
    if "result" in ends:
        return " | ".join("accepted" if end == "result" else f"error {end}" for end in ends)
    return "" if ends[0] == ends[1] or "" in ends else f"error {ends[0]} | error {ends[1]}"


def _end(answer: Mapping[str, Any]) -> str:
    """Return `result`, or the reason of an error, which may be empty."""
    if "result" in answer:
        return "result"
    error = answer.get("error")
    reason = error.get("reason") if isinstance(error, dict) else None
    return reason if isinstance(reason, str) else ""


def _disagreement(question: Question, says: str) -> Disagreement:
    answer = expected_answer(question)
    reason = answer.get("error", {}).get("reason") or answer.get("result", {}).get("refused")
    rules = refusals().get((question.kind, reason), ()) if reason else ()
    schema = f"refused: {reason}" if reason else "accepted"
    return Disagreement(question, says, schema, rules[0].id if rules else "")


def disagreement_lines(found: Disagreement) -> Iterator[str]:
    """Yield a disagreement for a person: how, what the schema says, the rule, the bytes."""
    question = found.question
    yield f"DIFFER {printable(question.name)}  {question.kind}"
    yield f"  A | B   {printable(found.says)}"
    rule = f"  [{found.rule}]" if found.rule else ""
    yield f"  schema  {found.schema}{rule}"
    if question.value is not None:
        yield f"  encode  {printable(shown(question.value))}"
        return
    for row in rows_of(question.kind, question.data):
        yield f"    {printable(row)}"
