"""Failures of codec cases, described with bytes: sent, expected, received, and the difference."""

import re
from dataclasses import dataclass
from typing import Any

import msgspec

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.errors import SuiteFault
from meshwire_conformance.explain.hexdump import Mark, dump, first_difference
from meshwire_conformance.explain.values import Difference, member_at, shown
from meshwire_conformance.verdicts import CaseResult, Verdict
from meshwire_spec.schemas.vectors import Vector

VARIANT = re.compile(r"\(\w+\)")
"""The type of a record, as vectors write it into field paths; codecs do not."""
MEMBER_MAX = 40
"""Characters shown of a long text."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The fault found in the answers to one case; an empty `symptom` means that there is none.

    `place` is the field that the target's own error names, `also` the wrong bytes of another
    request of the same case.
    """

    symptom: str = ""
    op: str = ""
    received: str = ""
    difference: Difference | None = None
    data: Any = None
    unbound: bool = False
    place: str = ""
    also: "Finding | None" = None


def describe(case: Case, found: Finding, control: Finding | None, level: str) -> CaseResult:
    """Return the result of a failed case with what a person needs to repair the codec."""
    assert isinstance(case.body, Vector)
    vector = case.body
    return CaseResult(
        case.id,
        Verdict.FAIL,
        reasons=(_headline(found),),
        symptom=found.symptom,
        sent=_sent(vector, found),
        expected=_expected(case, vector, found, level),
        received=_received(vector, found),
        notes=(*_also(vector, found), *_notes(case, control)),
    )


def _headline(found: Finding) -> str:
    if found.difference is not None:
        place = found.difference.path or "the value"
        return f"{place} is {found.difference.received}, not {found.difference.expected}"
    return f"{found.op}: {found.received}" if found.received else found.symptom


def _sent(vector: Vector, found: Finding) -> tuple[str, ...]:
    if vector.unencodable:
        path = VARIANT.sub("", vector.field)
        return (f"encode {vector.kind}", f"{path} = {_member(vector.value, path)}")
    if found.op == "encode":
        return (f"encode {shown(vector.value)}",)
    if found.op == "formation_respond":
        return (f"formation_respond {shown(msgspec.to_builtins(vector.respond))}",)
    path = found.difference.path if found.difference else found.place or vector.field
    return dump(vector.data, mark_of(vector, path))


def _expected(case: Case, vector: Vector, found: Finding, level: str) -> tuple[str, ...]:
    if vector.unencodable:
        return (f"an error: {' or '.join(vector.reasons or ())}",)
    if found.op in ("encode", "formation_respond"):
        return dump(vector.data, _first_wrong(vector, found))
    if found.difference is not None:
        return (f"{found.difference.path} = {found.difference.expected}",)
    if case.demanded(level) == "reject":
        place = VARIANT.sub("", vector.field)
        return (f"reject: {' or '.join(vector.reasons or ())}{' in ' + place if place else ''}",)
    return (shown(vector.value),)


def _received(vector: Vector, found: Finding) -> tuple[str, ...]:
    if found.difference is not None:
        return (f"{found.difference.path} = {found.difference.received}",)
    data = _bytes_of(found.data)
    if data is None:
        return (found.received,)
    return dump(data, None if vector.unencodable else _first_wrong(vector, found))


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
    offset = None if data is None else first_difference(vector.data, data)
    if offset is None:
        return None
    spans = spans_of(vector)
    names = [span.path for span in spans if span.offset <= offset < span.offset + span.size]
    return Mark(offset, 1, f"first wrong byte, in {names[-1] if names else 'no field'}")


def spans_of(vector: Vector) -> list[Any]:
    """Return the fields that the schema finds in the bytes; loads the codec on first use."""
    from meshwire_spec.codec import annotate  # noqa: PLC0415 - heavy, and needed for failures only
    from meshwire_spec.errors import SpecError  # noqa: PLC0415 - beside its only use

    try:
        return list(annotate(vector.kind, vector.data)[0])
    except SpecError as exc:
        raise SuiteFault(f"the schema has no {vector.kind}") from exc


def mark_of(vector: Vector, path: str) -> Mark | None:
    """Return the position of a field in the bytes, with its value, type and meaning."""
    spans = spans_of(vector)
    wanted = VARIANT.sub("", path)
    fits = [span for span in spans if span.path == wanted]
    if fits:
        span = fits[0]
        return Mark(span.offset, span.size, f"{span.path} = {shown(span.value)} ({span.type})")
    inside = [span for span in spans if wanted and span.path.startswith(wanted)]
    if inside:
        size = sum(span.size for span in inside)
        return Mark(inside[0].offset, size, wanted)
    from meshwire_spec.codec import annotate  # noqa: PLC0415 - as above

    fault = annotate(vector.kind, vector.data)[1]
    if fault is None:
        return None
    return Mark(fault.offset, 1, f"{fault.field or 'end of the message'}: {fault.reason}")
