"""A message taken apart to its innermost fields: what `decode` shows as lines or as JSON.

The schemas find the fields. A payload is opened as the kind of message of its type, or by the
readers of Automerge's bytes; offsets are those in the whole input. Of a batch the first elements
are opened and the rest is counted (`counted.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any

from meshwire_conformance.explain.automerge_fields import (
    COLUMNS,
    DOCUMENT,
    Reader,
    chunk_fields,
    sync_message_fields,
)
from meshwire_conformance.explain.counted import (
    SORTS,
    Rest,
    Shortened,
    announced,
    element_fault,
    shorten,
    whole_elements,
)
from meshwire_conformance.explain.field_rows import PAYLOAD_KINDS, TYPE_NAMES, type_names
from meshwire_conformance.explain.values import shown
from meshwire_spec.codec import Malformed, Message, accept, annotate, decode
from meshwire_spec.cursor import Span
from meshwire_spec.numbers import (
    Direction,
    EnrollmentStatus,
    FrameType,
    MeshPolicy,
    NegentropyMode,
    Tier,
)
from meshwire_spec.rules import refusals

ELEMENTS_SHOWN = 1000
"""Elements of a batch that are opened unless all are asked for."""
PAYLOAD = "payload"
TIME = "(ms since 1970)"
"""Suffix of the meaning of a time field."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TEXT_MAX = 4096
"""Characters of a value that are kept for a person."""
IGNORED = "unknown-type"
"""The reason for which an entry is skipped and the batch goes on."""
REGISTRIES: Mapping[str, type[IntEnum]] = {
    "direction": Direction,
    "tier": Tier,
    "status": EnrollmentStatus,
    "policy": MeshPolicy,
    "mode": NegentropyMode,
}
"""Registries of numbers by the name of their field."""
CHECKED: Mapping[str, str] = {
    "type": "unknown-type",
    "direction": "bad-direction",
    "marker": "bad-marker",
    "magic": "bad-magic",
    "version": "bad-version",
    "mode": "bad-mode",
    "entry_count": "count-limit",
    "tombstone_count": "count-limit",
    "payload.length": "length-limit",
}
"""Reason for which a value of a field is refused; the rule with that reason explains the field."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field: where it is, its JSON value, the value for a person, and the rule about it."""

    span: Span
    text: str
    rule: str


@dataclass(frozen=True, slots=True)
class Fault:
    """Where bytes stop being a message, and why; `path` is that of the message at fault."""

    offset: int
    reason: str
    field: str
    detail: str
    rule: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """A whole message that a strict node refuses: its path (empty for the outermost) and why."""

    path: str
    kind: str
    reason: str


@dataclass(slots=True)
class Dissection:
    """Everything found in the bytes of one message.

    `omitted` has the counts of elements that are not opened, by the path of their list.
    """

    kind: str
    data: bytes
    fields: list[Field] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    omitted: dict[str, Rest] = field(default_factory=dict)

    @property
    def opaque(self) -> dict[str, int]:
        """The sizes of what stays bytes, since only Automerge's library opens it, by path."""
        spans = (one.span for one in self.fields)
        return {one.path: one.size for one in spans if one.path.rpartition(".")[2] == COLUMNS}

    @property
    def is_accepted(self) -> bool:
        """Whether a strict node accepts the message."""
        unopened = {reason for rest in self.omitted.values() for reason in rest.refused}
        return not self.faults and not self.refusals and unopened <= {IGNORED}


def dissect(kind: str, data: bytes, elements_max: int | None = ELEMENTS_SHOWN) -> Dissection:
    """Return the fields of a message, its payloads opened, up to `elements_max` of a batch."""
    found = Dissection(kind, data)
    place = _Place("", 0, elements_max)
    if kind == DOCUMENT:
        _take_reader(found, chunk_fields(data), place)
    else:
        _open(found, kind, data, place)
    return found


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a message is: the path before its fields, its offset, and how many elements to open."""

    path: str
    offset: int
    elements_max: int | None

    def within(self, name: str) -> str:
        """Return the path of a field."""
        return f"{self.path}.{name}" if self.path and name else self.path or name


def _open(found: Dissection, kind: str, data: bytes, place: _Place) -> None:
    short = shorten(kind, data, place.elements_max)
    read = data if short is None else short.data
    spans, malformed = annotate(kind, read)
    types: dict[str, int] = {}
    for span in spans:
        parent, _, name = span.path.rpartition(".")
        if name == "fault":
            _take_element_fault(found, kind, data, span, place)
            continue
        if name == "type":
            types[parent] = span.value
        if name != PAYLOAD or not _open_payload(found, types.get(parent), data, span, place):
            true = {} if short is None else short.values
            _take_field(found, kind, replace(span, value=true.get(span.path, span.value)), place)
    if malformed is not None:
        _take_fault(found, kind, data, malformed, place)
    else:
        _judge(found, kind, read, place)
    if short is not None:
        _take_rest(found, kind, data, short, place)


def _take_rest(found: Dissection, kind: str, data: bytes, short: Shortened, place: _Place) -> None:
    """Record the elements that are not opened, their fault, and what follows them."""
    rest, path = short.rest, place.within(short.sort.elements)
    found.omitted[path] = rest
    if rest.fault is not None:
        name = f"{path}[{rest.index}]" + (f".{rest.fault.field}" if rest.fault.field else "")
        at = rest.fault.offset + place.offset
        fault = Fault(at, rest.fault.reason, name, rest.fault.detail, rest.fault.rule)
        found.faults.append(fault)
    elif not short.sort.around and rest.end < len(data):
        _take_extra(found, kind, data, rest.end, place)


def _take_extra(found: Dissection, kind: str, data: bytes, at: int, place: _Place) -> None:
    means = "ignored by readers, never added by writers"
    _take_field(
        found, kind, Span(at, len(data) - at, "extra", data[at:].hex(), "bytes", means), place
    )


def _take_field(found: Dissection, kind: str, span: Span, place: _Place) -> None:
    text, rule = value_text(kind, span), rule_of(kind, span)
    moved = replace(span, offset=span.offset + place.offset, path=place.within(span.path))
    found.fields.append(Field(moved, text, rule))


def _open_payload(
    found: Dissection, frame_type: int | None, data: bytes, span: Span, place: _Place
) -> bool:
    """Open a payload; returns False if it has no fields, so that it stays bytes."""
    body = data[span.offset : span.offset + span.size]
    inner = _Place(place.within(span.path), place.offset + span.offset, place.elements_max)
    kind = PAYLOAD_KINDS.get(-1 if frame_type is None else frame_type)
    if kind is not None:
        _open(found, kind, body, inner)
        return True
    if frame_type == FrameType.DELTA:
        _take_reader(found, sync_message_fields(body), inner)
        return True
    if frame_type == FrameType.SNAPSHOT and body:
        _take_reader(found, chunk_fields(body), inner)
        return True
    return False


def _take_reader(found: Dissection, reader: Reader, place: _Place) -> None:
    for span in reader.spans:
        _take_field(found, "", span, place)
    if reader.fault is not None:
        name, _, says = reader.fault.says.partition(": ")
        at = reader.fault.offset + place.offset
        found.faults.append(Fault(at, "bad-document", place.within(name), says, ""))


def _take_fault(found: Dissection, kind: str, data: bytes, fault: Malformed, place: _Place) -> None:
    detail = missing(kind, data, fault) or fault.detail
    offset = fault.offset + place.offset
    found.faults.append(Fault(offset, fault.reason, place.within(fault.field), detail, fault.rule))


def _take_element_fault(
    found: Dissection, kind: str, data: bytes, span: Span, place: _Place
) -> None:
    """Record the fault of an element after the first, which ends the list, if there is one."""
    if span.value is None:
        return
    outer = "channel_record" if span.path.startswith("batch.") else kind
    sort = SORTS[outer]
    there, count = whole_elements(outer, data), announced(outer, data)
    inner = element_fault(data[span.offset : span.offset + span.size], sort, span.offset)
    index = _index_at(found, sort.elements, place)
    rule = next((one.id for one in refusals().get((kind, span.value["reason"]), ())), "")
    says = [f"{sort.count} announces {count}, {there} there"] if there < count else []
    if inner is not None:
        says += [text for text in (inner.field, inner.detail) if text]
    path = place.within(f"{sort.elements}[{index}]")
    at = span.offset if inner is None else inner.offset
    detail = "; ".join(says)
    found.faults.append(Fault(at + place.offset, span.value["reason"], path, detail, rule))


def _index_at(found: Dissection, elements: str, place: _Place) -> int:
    """Return the number of the element whose fields came last."""
    start = f"{place.within(elements)}["
    for one in reversed(found.fields):
        if one.span.path.startswith(start):
            return int(one.span.path[len(start) :].partition("]")[0])
    return 0


def missing(kind: str, data: bytes, fault: Malformed) -> str:
    """Return what a count or a length announces and what is there, if that is the fault."""
    if fault.reason == "count-limit" and kind in SORTS and fault.offset == SORTS[kind].offset:
        return f"{announced(kind, data)} announced, {whole_elements(kind, data)} there"
    if fault.reason != "truncated":
        return ""
    lengths = {one.path: one for one in annotate(kind, data)[0]}
    length = lengths.get(f"{fault.field}.length")
    if length is None or type(length.value) is not int:
        return ""
    return f"{length.value} bytes announced, {max(0, len(data) - fault.offset)} there"


def _judge(found: Dissection, kind: str, data: bytes, place: _Place) -> None:
    """Record why a strict node refuses the message or its entries."""
    message = decode(kind, data)
    reason = accept(kind, message)
    if reason is not None and not _says_fault(found, reason, place):
        found.refusals.append(Refusal(place.path, kind, reason))
    batch = message.fields.get("batch", message.fields)
    for index, entry in enumerate(batch.get("entries", ())):
        refused = accept("sync_entry", Message("sync_entry", entry))
        path = place.within(f"entries[{index}]")
        if refused == IGNORED:
            found.skipped.append(path)
        elif refused is not None:
            found.refusals.append(Refusal(path, "sync_entry", refused))


def _says_fault(found: Dissection, reason: str, place: _Place) -> bool:
    """Return True if the reason is that of a malformed element, which is recorded already."""
    return any(
        fault.reason == reason
        and fault.field.startswith(place.path)
        and fault.offset >= place.offset
        for fault in found.faults
    )


def value_text(kind: str, span: Span) -> str:
    """Return the value of a field, with its name or date if it is a registry number or a time."""
    value = span.value
    text = shown(value[:TEXT_MAX] if isinstance(value, str) and span.type == "bytes" else value)
    if isinstance(value, str) and len(value) > TEXT_MAX and span.type == "bytes":
        text = f"{text.partition('...')[0]}... ({len(value)} characters)"
    name = span.path.rpartition(".")[2]
    if name == "type" and type(value) is int and kind:
        return f"{text} ({type_names(kind).get(value, 'unknown')})"
    registry = REGISTRIES.get(name)
    if registry is not None and value in {int(one) for one in registry}:
        return f"{text} ({registry(value).name.lower().replace('_', ' ')})"
    if span.means.endswith(TIME):
        return f"{text} ({_date(int(value))})"
    return text


def _date(milliseconds: int) -> str:
    try:
        date = EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return "after the year 9999"
    return date.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def rule_of(kind: str, span: Span) -> str:
    """Return the rule about the values of this field, else the one that its layout names."""
    for name, reason in CHECKED.items():
        if span.path == name or span.path.endswith(f".{name}"):
            found = refusals().get((kind, reason), ())
            return found[0].id if found else span.rule
    return span.rule


def types_text(types: Mapping[int, int]) -> str:
    """Return counts of entries by type, most first."""
    ordered = sorted(types.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {TYPE_NAMES.get(kind, f'0x{kind:02x}')}" for kind, count in ordered)


def as_json(found: Dissection) -> dict[str, Any]:
    """Return a message taken apart as JSON values; `data` is left out, `bytes` of fields is hex."""
    return {
        "kind": found.kind,
        "size": len(found.data),
        "accepted": found.is_accepted,
        "fields": [_field_json(found.data, one) for one in found.fields],
        "faults": [
            {
                "offset": one.offset,
                "reason": one.reason,
                "field": one.field,
                "detail": one.detail,
                "rule": one.rule,
            }
            for one in found.faults
        ],
        "refused": [
            {"path": one.path, "kind": one.kind, "reason": one.reason} for one in found.refusals
        ],
        "skipped": found.skipped,
        "opaque": [{"path": path, "size": size} for path, size in found.opaque.items()],
        "omitted": [
            {"path": path, "count": rest.count, "refused": dict(rest.refused)}
            for path, rest in found.omitted.items()
        ],
    }


def _field_json(data: bytes, one: Field) -> dict[str, Any]:
    span = one.span
    return {
        "offset": span.offset,
        "size": span.size,
        "path": span.path,
        "bytes": data[span.offset : span.offset + span.size].hex(),
        "value": span.value,
        "text": one.text,
        "type": span.type,
        "means": span.means,
        "rule": one.rule,
    }
