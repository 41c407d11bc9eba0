"""Failures of codec cases, described with bytes: sent, expected, received, and the difference."""

from typing import Any

import msgspec
from msgspec import UNSET

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.codec_suite.judge import VARIANT, Finding
from meshwire_conformance.errors import SuiteFault
from meshwire_conformance.explain.field_rows import Fields, fields_of, rows_of, value_text
from meshwire_conformance.explain.hexdump import Mark, dump
from meshwire_conformance.explain.values import Difference, first_difference, member_at, shown
from meshwire_conformance.verdicts import CaseResult, Verdict
from meshwire_spec.codec import annotate
from meshwire_spec.cursor import Span
from meshwire_spec.errors import SpecError
from meshwire_spec.schemas.vectors import Vector

LENGTH_REASONS = ("truncated", "length-limit")
"""Reasons that content gets if its length was decoded wrong."""
WIDE_MAX = 8
"""Bytes of the longest field that is shown whole beside its first wrong byte."""
MEMBER_MAX = 40
"""Characters shown of a long text."""


def describe(case: Case, found: Finding, control: Finding | None, level: str) -> CaseResult:
    """Return the result of a failed case with what a person needs to repair the codec."""
    assert isinstance(case.body, Vector)
    vector = case.body
    return CaseResult(
        case.id,
        Verdict.FAIL,
        reasons=(_headline(vector, found),),
        symptom=found.symptom,
        sent=_sent(case, vector, found, level),
        expected=_expected(case, vector, found, level),
        received=_received(vector, found),
        notes=(*_also(vector, found), *_notes(case, control)),
    )


def _headline(vector: Vector, found: Finding) -> str:
    if found.difference is not None:
        place = found.difference.path or "the value"
        return f"{place} is {found.difference.received}, not {found.difference.expected}"
    if found.symptom == "wrong-bytes":
        return _wrong_bytes(vector, found)
    return f"{found.op}: {found.received.splitlines()[0]}" if found.received else found.symptom


def _wrong_bytes(vector: Vector, found: Finding) -> str:
    """Return in words where the bytes of an answer are wrong first, and what is there."""
    data, mark = _bytes_of(found.data), _first_wrong(vector, found)
    if data is None or mark is None:
        return f"{found.op}: no bytes in lower-case hex: {found.received}"
    if mark.offset >= len(data):
        return f"{found.op}: {len(data)} bytes, not {len(vector.data)}; {mark.says} is missing"
    if mark.offset >= len(vector.data):
        return f"{found.op}: {len(data)} bytes, not {len(vector.data)}; {mark.says}"
    span = fields_found(vector).at(mark.offset)
    end = mark.offset + 1 if span is None or span.size > WIDE_MAX else span.offset + span.size
    start = mark.offset if end == mark.offset + 1 or span is None else span.offset
    came, correct = data[start:end].hex(" "), vector.data[start:end].hex(" ")
    return f"{found.op}: {mark.says}, at {mark.offset:04x}: {came}, not {correct}"


def _sent(case: Case, vector: Vector, found: Finding, level: str) -> tuple[str, ...]:
    if found.op == "formation_respond":
        return (f"formation_respond {shown(msgspec.to_builtins(vector.respond))}",)
    if found.op == "encode":
        path = VARIANT.sub("", vector.field) if vector.unencodable else found.place
        return (f"encode {vector.kind}", *_member_lines(vector.value, path))
    if found.difference is not None:
        mark = mark_of(vector, found.difference.path)
    elif case.demanded(level) == "reject":
        mark = mark_at(vector)
    else:
        mark = _mark_of_refusal(vector, found)
    return (*dump(vector.data, mark), *(() if mark else ("(no byte can be marked)",)))


def _expected(case: Case, vector: Vector, found: Finding, level: str) -> tuple[str, ...]:
    if vector.unencodable:
        return (f"an error: {' or '.join(vector.reasons or ())}",)
    if found.op in ("encode", "formation_respond"):
        return dump(vector.data, _first_wrong(vector, found))
    if found.difference is not None:
        return (f"{found.difference.path} = {found.difference.expected}",)
    if case.demanded(level) == "reject":
        place = place_of(vector)
        return (f"reject: {' or '.join(vector.reasons or ())}{' in ' + place if place else ''}",)
    return (f"decoded: {shown(vector.value)}",)


def _received(vector: Vector, found: Finding) -> tuple[str, ...]:
    if found.difference is not None:
        return _aligned(found.difference)
    data = _bytes_of(found.data)
    if data is None:
        return tuple(found.received.splitlines())
    # If the value has no such bytes, the mark is where the schema fails.
    return rows_of(vector.kind, data) if vector.unencodable else _other_bytes(vector, found, data)


def _other_bytes(vector: Vector, found: Finding, data: bytes) -> tuple[str, ...]:
    return dump(data, _first_wrong(vector, found))


def _aligned(found: Difference) -> tuple[str, ...]:
    """Return the received value, and below it a caret at the first character that differs."""
    equal = first_difference(found.expected, found.received) or 0
    start = f"{found.path} = "
    return (f"{start}{found.received}", f"{' ' * (len(start) + equal)}^")


def _member_lines(value: Any, path: str) -> tuple[str, ...]:
    """Return the member of a value at a field path as lines, and without it the whole value."""
    try:
        return (f"{path} = {_member(value, path)}",)
    except LookupError:
        return (*([f"{path} = (no such member)"] if path else []), shown(value))


def _member(value: Any, path: str) -> str:
    """Return the value at a field path, with its size in bytes if it is a long text."""
    member = member_at(value, path)
    if not isinstance(member, str) or len(member) <= MEMBER_MAX:
        return shown(member)
    size = len(member.encode())
    return f'"{member[:MEMBER_MAX]}..." ({len(member)} characters, {size} bytes in UTF-8)'


def _also(vector: Vector, found: Finding) -> tuple[str, ...]:
    if found.also is None:
        return ()
    mark = _first_wrong(vector, found.also)
    where = "" if mark is None else f": {mark.says}, at {mark.offset:04x}"
    return (f"{found.also.op} gives other bytes too{where}",)


def _notes(case: Case, control: Finding | None) -> tuple[str, ...]:
    if case.control is None or control is None:
        return ()
    state = f"did not pass ({control.symptom})" if control.symptom else "passed"
    return (f"control {case.control} {state}",)


def _bytes_of(text: Any) -> bytes | None:
    try:
        return bytes.fromhex(text)
    except (TypeError, ValueError):
        return None


def _first_wrong(vector: Vector, found: Finding) -> Mark | None:
    """Return the first byte that differs from the expected ones, with the field it belongs to."""
    data = _bytes_of(found.data)
    if data is None or (offset := first_difference(vector.data, data)) is None:
        return None
    span = fields_found(vector).at(offset)
    if span is None:
        return Mark(offset, 1, "first wrong byte, in no field: the message ends before it")
    order = ", whose byte order is reversed" if _is_reversed(span, vector.data, data) else ""
    return Mark(offset, 1, f"first wrong byte, in {span.path}{order}")


def _is_reversed(span: Span, expected: bytes, received: bytes) -> bool:
    """Return True if a number was written with its bytes in the other order."""
    place = slice(span.offset, span.offset + span.size)
    return "endian" in span.type and received[place] == expected[place][::-1]


def fields_found(vector: Vector) -> Fields:
    """Return the fields that the schema finds in the bytes, those of payloads included."""
    try:
        return fields_of(vector.kind, vector.data)
    except SpecError as exc:
        raise SuiteFault(f"the schema has no {vector.kind}") from exc


def mark_at(vector: Vector) -> Mark | None:
    """Return the bytes at fault of a negative, with the field that has them."""
    if vector.at is UNSET:
        return None
    start, end = vector.at
    path = VARIANT.sub("", vector.field) or "end of the message"
    if start == end:
        return Mark(start, 1, f"{place_of(vector) or path}: bytes are missing here")
    exact = next((one for one in fields_found(vector).spans if _covers(one, start, end)), None)
    if exact is not None:
        return Mark(start, end - start, _named(exact))
    several = f"{end - start} bytes" if end > start + 1 else "this byte"
    return Mark(start, end - start, f"{path}: {several} at fault")


def place_of(vector: Vector) -> str:
    """Return the field that the error for a negative names.

    The field under test may be another one: a length too large is found where the content ends.
    """
    fault = annotate(vector.kind, vector.data)[1]
    return VARIANT.sub("", vector.field if fault is None else fault.field)


def _covers(span: Span, start: int, end: int) -> bool:
    return (span.offset, span.offset + span.size) == (start, end)


def _mark_of_refusal(vector: Vector, found: Finding) -> Mark | None:
    """Return the position of the field at which a target refused a positive.

    Its bytes are right, so content that does not fit its length means that the length was decoded
    wrong: then the length is marked.
    """
    if found.reason in LENGTH_REASONS:
        length = fields_found(vector).named(f"{VARIANT.sub('', found.place)}.length")
        if length is not None:
            says = f"{_named(length)}, which the content of {found.place} has to fit"
            return Mark(length.offset, length.size, says)
    return mark_of(vector, found.place or vector.field)


def mark_of(vector: Vector, path: str) -> Mark | None:
    """Return the position of a field in the bytes, with its value, type and meaning.

    Without such a field it is what the field contains, else where the schema fails, else None. The
    length before a field is never taken for the field.
    """
    found = fields_found(vector)
    wanted = VARIANT.sub("", path)
    exact = found.named(wanted)
    if exact is not None:
        return Mark(exact.offset, exact.size, _named(exact))
    inside = [one for one in found.spans if _is_inside(one.path, wanted)]
    if inside:
        size = inside[-1].offset + inside[-1].size - inside[0].offset
        return Mark(inside[0].offset, size, wanted)
    return found.fault


def _is_inside(path: str, outer: str) -> bool:
    return bool(outer) and path.startswith((f"{outer}.", f"{outer}[")) and path != f"{outer}.length"


def _named(span: Span) -> str:
    return f"{span.path} = {value_text(span)} ({span.type})"
