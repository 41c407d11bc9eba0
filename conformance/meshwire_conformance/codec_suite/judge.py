"""Judges the answers of a codec harness."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from msgspec import UNSET

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.codec_suite.requests import Ask
from meshwire_conformance.errors import SuiteFault
from meshwire_conformance.explain.values import Difference, difference, member_at, shown
from meshwire_spec.schemas.vectors import Vector

VARIANT = re.compile(r"\(\w+\)")
"""The type of a record, as vectors write it into field paths; codecs do not."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The fault found in the answers to one case; an empty `symptom` means that there is none.

    `place` is the field that the target's own error names, `reason` its reason, `also` the wrong
    bytes of another request of the same case.
    """

    symptom: str = ""
    op: str = ""
    received: str = ""
    difference: Difference | None = None
    data: Any = None
    unbound: bool = False
    place: str = ""
    reason: str = ""
    also: "Finding | None" = None


@dataclass(frozen=True, slots=True)
class Hello:
    """What the harness states about itself."""

    name: str
    version: str
    kinds: frozenset[str]
    reasons: bool


@dataclass(frozen=True, slots=True)
class Given:
    """The outcome of one request: an answer, or the cause of its absence."""

    answer: Mapping[str, Any] | None
    ending: str = ""
    unasked: bool = False


def vector_of(case: Case) -> Vector:
    """Return the vector of a codec case; raises SuiteFault for any other case."""
    if not isinstance(case.body, Vector):
        raise SuiteFault(f"{case.id} is no codec case")
    return case.body


def finding_of(pairs: Sequence[tuple[Ask, Given]], hello: Hello, demanded: str) -> Finding:
    """Return the first fault in the answers to one case, or a finding without symptom.

    Wrong bytes in a later answer are added: if a positive is refused, they are more useful than the
    refusal.
    """
    unbound = False
    for number, (ask, given) in enumerate(pairs):
        vector = vector_of(ask.case)
        if given.answer is None:
            return Finding("no-answer", ask.op, received=given.ending)
        if demanded == "any":
            continue
        judge = (REFUSALS if demanded == "reject" else JUDGES)[ask.op]
        found = misshapen(ask.op, given.answer) or judge(vector, given.answer, hello)
        if found.symptom:
            return replace(found, also=_wrong_bytes(pairs[number + 1 :], hello))
        unbound |= found.unbound
    return Finding(unbound=unbound)


def _wrong_bytes(pairs: Sequence[tuple[Ask, Given]], hello: Hello) -> Finding | None:
    """Return the first answer whose bytes are not those of the vector."""
    for ask, given in pairs:
        if given.answer is not None:
            found = JUDGES[ask.op](vector_of(ask.case), given.answer, hello)
            if found.symptom == "wrong-bytes":
                return found
    return None


def _result_of(answer: Mapping[str, Any]) -> Mapping[str, Any] | None:
    result = answer.get("result")
    return result if isinstance(result, dict) and "error" not in answer else None


ANSWERS: Mapping[str, str] = {
    "decode": "CH-011: an object with `value` and `refused`",
    "encode": "CH-012: an object with `data`",
    "formation_respond": "CH-013: an object with `hmac`",
}
"""What the result of each operation is, with the rule that says so."""


def _answer_to(op: str) -> str:
    return ANSWERS.get(op, "CH-015: an object, perhaps empty")


def misshapen(op: str, answer: Mapping[str, Any]) -> Finding | None:
    """Return the finding of an answer whose result or error is no object, else None."""
    for member in ("error", "result"):
        if member in answer:
            if isinstance(answer[member], dict):
                return None
            said = f"the {member} is {shown(answer[member])}"
            break
    else:
        said = f"neither a result nor an error: {shown(answer)}"
    return Finding("wrong-shape", op, received=f"{said}; expected an error, or by {_answer_to(op)}")


def _judge_decode(vector: Vector, answer: Mapping[str, Any], hello: Hello) -> Finding:
    result = _result_of(answer)
    if result is None:
        return _refused("decode", answer)
    if missing := [f"`{name}`" for name in ("value", "refused") if name not in result]:
        said = f"no {' and no '.join(missing)} in the result: {shown(result)}"
        return Finding("no-value", "decode", received=said)
    if found := difference(vector.value, result["value"]):
        return _wrong(found)
    if result["refused"] is not None:
        return Finding("refused", "decode", received=f"refused: {shown(result['refused'])}")
    return Finding()


def _judge_refusal(vector: Vector, answer: Mapping[str, Any], hello: Hello) -> Finding:
    error = answer.get("error")
    result = _result_of(answer)
    if isinstance(error, dict):
        reason, where = error.get("reason"), error.get("field")
    elif result is not None and result.get("refused") is not None:
        # CH-011: what does not decode has no value beside which a reason could be given.
        if vector.written_value is UNSET:
            said = f"a value, refused for {shown(result['refused'])}, instead of an error"
            return Finding("decoded", "decode", received=said)
        reason, where = result["refused"], None
        if (found := _wrong_value(vector, result)) is not None:
            return found
    else:
        return Finding("accepted", "decode", received=_accepted(vector, answer, result))
    return _judge_reason(vector, hello, "decode", reason, where)


def _judge_encode_refusal(vector: Vector, answer: Mapping[str, Any], hello: Hello) -> Finding:
    """Judge the answer to a value that has no encoding (FR-007, ER-004)."""
    error = answer.get("error")
    if isinstance(error, dict) and answer.get("id") is None:
        # CH-021: the line itself was refused, by a reader that knows no reasons.
        return Finding(unbound=True)
    if isinstance(error, dict):
        return _judge_reason(vector, hello, "encode", error.get("reason"), error.get("field"))
    result = _result_of(answer) or {}
    data = result.get("data")
    if not isinstance(data, str):
        return Finding("encoded", "encode", received=f"neither bytes nor an error: {shown(answer)}")
    return Finding("encoded", "encode", received=f"encoded in {len(data) // 2} bytes", data=data)


def _judge_reason(vector: Vector, hello: Hello, op: str, reason: Any, where: Any) -> Finding:
    """Judge whether a refusal gives one of the allowed reasons."""
    if not hello.reasons:
        return Finding(unbound=True)
    if reason in (vector.reasons or ()):
        return Finding()
    place = f" at {where}" if isinstance(where, str) and where else ""
    said = f"refused for {shown(reason)}{place}" if reason else "refused without a reason"
    return Finding(f"wrong-reason {reason or 'none'}", op, received=said)


def _refused(op: str, answer: Mapping[str, Any]) -> Finding:
    """Return the finding of a positive that was refused, with what the error names."""
    error = answer.get("error")
    said = error if isinstance(error, dict) else {}
    place, reason = (
        text if isinstance(text := said.get(name), str) else "" for name in ("field", "reason")
    )
    return Finding("refused", op, f"refused: {shown(error)}", place=place, reason=reason)


def _accepted(vector: Vector, answer: Mapping[str, Any], result: Mapping[str, Any] | None) -> str:
    """Return in words what the target decoded from bytes that it should have refused."""
    if result is None:
        return f"accepted: {shown(answer)}"
    value = result.get("value")
    found = None if vector.value is None else difference(vector.value, value)
    if found is not None and found.path:
        return f"accepted, {found.path} = {found.received}"
    path = VARIANT.sub("", vector.field)
    try:
        return f"accepted, {path} = {shown(member_at(value, path))}"
    except LookupError:
        return f"accepted: {shown(value)}"


def _wrong_value(vector: Vector, result: Mapping[str, Any]) -> Finding | None:
    """Return the finding if a message that is refused has a wrong decoded value, else None."""
    if vector.value is None or "value" not in result:
        return None
    found = difference(vector.value, result["value"])
    return None if found is None else _wrong(found)


def _wrong(found: Difference) -> Finding:
    return Finding(f"wrong-value {found.path}", "decode", difference=found)


def _judge_encode(vector: Vector, answer: Mapping[str, Any], hello: Hello) -> Finding:
    return _judge_bytes(vector.hex, answer, "data", "encode")


def _judge_respond(vector: Vector, answer: Mapping[str, Any], hello: Hello) -> Finding:
    return _judge_bytes(vector.hex, answer, "hmac", "formation_respond")


def _judge_bytes(expected: str, answer: Mapping[str, Any], member: str, op: str) -> Finding:
    result = _result_of(answer)
    if result is None:
        return _refused(op, answer)
    if result.get(member) == expected:
        return Finding()
    if member not in result:
        return Finding("no-value", op, received=f"no `{member}` in the result: {shown(result)}")
    return Finding("wrong-bytes", op, received=shown(result.get(member)), data=result.get(member))


JUDGES = {
    "decode": _judge_decode,
    "encode": _judge_encode,
    "formation_respond": _judge_respond,
}
REFUSALS = {
    "decode": _judge_refusal,
    "encode": _judge_encode_refusal,
    "formation_respond": _judge_respond,
}
