"""Bytes as rows of fields for a person: offset, bytes, field and value, one place marked.

The fields are found by the schemas. A payload is decoded too: as the kind of message
of its type, or the first fields of an Automerge sync message, which has no schema here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from meshwire_conformance.explain.hexdump import Mark, dump
from meshwire_conformance.explain.values import shown
from meshwire_spec.codec import Malformed, accept, annotate, decode
from meshwire_spec.cursor import Span
from meshwire_spec.numbers import AUTOMERGE_SYNC_MARKERS, FRAME_TYPES, FrameType, LabRecordType

ROW = 8
"""Number of bytes of a field that are shown."""
ROWS_MAX = 24
"""Greatest number of rows shown without omission."""
ROWS_FIRST = 4
"""Rows kept at the beginning if others are omitted."""
ROWS_AROUND = 7
"""Rows kept on each side of the marked field if others are omitted."""
VALUE_MAX = 40
"""Characters shown of a value."""
HASH_MAX = 32
"""Characters shown of a hash."""
NAMED = "name"
"""Type of a field whose value is shown with its name."""
HASH = 32
"""Bytes of a hash."""
HEADS = 2
"""Offset of the heads in a sync message."""
PAYLOAD = "payload"

TYPE_NAMES: Mapping[int, str] = {int(row.type): row.name for row in FRAME_TYPES}
_NAMES = {"lab_record": {int(one): one.name.lower() for one in LabRecordType}}
"""Names of types in kinds that have types of their own."""


def type_names(kind: str) -> Mapping[int, str]:
    """Return names of the types that a message of this kind can have."""
    return _NAMES.get(kind, TYPE_NAMES)


PAYLOAD_KINDS: Mapping[int, str] = {
    FrameType.TOMBSTONE: "tombstone",
    FrameType.TOMBSTONE_BATCH: "tombstone_batch",
    FrameType.BATCH: "sync_batch",
    FrameType.NEGENTROPY_INIT: "negentropy_message",
    FrameType.NEGENTROPY_RESPONSE: "negentropy_message",
}
"""Kind of the payload of a frame or an entry of this type."""


@dataclass(frozen=True, slots=True)
class Fields:
    """Fields found in some bytes, and the offset at which decoding failed."""

    spans: Sequence[Span]
    fault: Mark | None = None

    def at(self, offset: int) -> Span | None:
        """Return the innermost field that contains this offset."""
        inside = (one for one in self.spans if one.offset <= offset < one.offset + one.size)
        return min(inside, key=lambda one: one.size, default=None)

    def named(self, path: str) -> Span | None:
        """Return the field of this path."""
        return next((one for one in self.spans if one.path == path), None)


def fields_of(kind: str, data: bytes) -> Fields:
    """Return the fields of a message, its payloads opened."""
    spans, malformed = annotate(kind, data)
    fault = None if malformed is None else _fault_mark(malformed)
    opened: list[Span] = []
    types: dict[str, int] = {}
    for span in spans:
        parent, _, name = span.path.rpartition(".")
        if name == "fault" and span.value is not None:
            says = f"{span.value['reason']}: the element that begins here is malformed"
            fault = fault or Mark(span.offset, 1, says)
            continue
        if name == "type":
            types[parent] = span.value
            called = type_names(kind).get(span.value, "unknown")
            span = replace(span, value=f"{span.value} ({called})", type=NAMED)  # noqa: PLW2901
        inner = _payload(types.get(parent), data, span) if name == PAYLOAD else None
        opened += [span] if inner is None else inner.spans
        fault = fault or (None if inner is None else inner.fault)
    return Fields(opened, fault)


def _fault_mark(fault: Malformed) -> Mark:
    detail = f" ({fault.detail})" if fault.detail else ""
    return Mark(fault.offset, 1, f"{fault.field or 'end of the message'}: {fault.reason}{detail}")


def _payload(frame_type: int | None, data: bytes, span: Span) -> Fields | None:
    """Return the fields inside a payload, or None if it has no schema."""
    body = data[span.offset : span.offset + span.size]
    if frame_type == FrameType.DELTA:
        found = Fields(list(_sync_message(body)))
    elif (kind := PAYLOAD_KINDS.get(frame_type or 0)) is not None:
        found = fields_of(kind, body)
    else:
        return None
    fault = found.fault
    return Fields(
        [
            replace(one, offset=one.offset + span.offset, path=f"{span.path}.{one.path}")
            for one in found.spans
        ],
        None if fault is None else replace(fault, offset=fault.offset + span.offset),
    )


def _sync_message(body: bytes) -> Iterator[Span]:
    """Yield the first fields of an Automerge sync message: marker, heads, and the rest as bytes."""
    if len(body) < HEADS or body[0] not in AUTOMERGE_SYNC_MARKERS:
        yield Span(0, len(body), "message", body.hex(), "bytes", "no sync message")
        return
    yield Span(0, 1, "marker", body[0], "u8", "a sync message")
    yield Span(1, 1, "heads.count", body[1], "varint", "how many heads follow")
    end = HEADS
    for number in range(min(body[1], (len(body) - HEADS) // HASH)):
        head = body[end : end + HASH].hex()
        yield Span(end, HASH, f"heads[{number}]", head, "hash", "a head of the sender's document")
        end += HASH
    if end < len(body):
        yield Span(end, len(body) - end, "rest", body[end:].hex(), "bytes", "needs and changes")


def rows_of(kind: str, data: bytes, mark: Mark | None = None) -> tuple[str, ...]:
    """Return the message field by field; without a mark, its fault is marked if it has one."""
    if not kind:
        return dump(data, mark)
    fields = fields_of(kind, data)
    point = mark or fields.fault
    spans = [one for one in fields.spans if one.size or one.value == ""]
    marked = _marked(spans, point, len(data))
    lines: list[str] = []
    for number, one in _few(spans, marked):
        lines += _row(one, data, point if number == marked else None)
    end = max((one.offset + one.size for one in spans), default=0)
    if end < len(data):
        rest = Span(end, len(data) - end, "(the rest)", None, "", "")
        lines += _row(rest, data, point if marked is None else None)
    elif point is not None and marked is None:
        lines += [f"{end:04x}  (end)", f"{'':6}^^ {point.says}"]
    if point is None:
        lines += _refusals(kind, data)
    return tuple(lines)


def _marked(spans: Sequence[Span], mark: Mark | None, size: int) -> int | None:
    """Return the index of the field that contains the mark."""
    if mark is None or mark.offset >= size:
        return None
    for number, one in enumerate(spans):
        if one.offset <= mark.offset < one.offset + one.size:
            return number
    return None


def _few(spans: Sequence[Span], marked: int | None) -> Iterator[tuple[int, Span]]:
    """Yield the fields to show, with their indices; those left out are one field."""
    near = len(spans) if marked is None else marked
    if marked is None:
        near = ROWS_MAX - ROWS_AROUND
    last = -1
    for number, one in enumerate(spans):
        beyond = len(spans) > ROWS_MAX and number >= ROWS_FIRST and abs(number - near) > ROWS_AROUND
        if beyond:
            continue
        if number != last + 1:
            yield -1, _gap(spans[last + 1 : number])
        yield number, one
        last = number
    if last + 1 < len(spans):
        yield -1, _gap(spans[last + 1 :])


def _gap(spans: Sequence[Span]) -> Span:
    return Span(spans[0].offset, 0, f"... {len(spans)} more fields", "", "", "")


def _row(span: Span, data: bytes, mark: Mark | None) -> Iterator[str]:
    """Yield the lines of one field; the bytes shown are those around the mark."""
    start = span.offset
    if mark is not None:
        start += (mark.offset - span.offset) // ROW * ROW
    end = span.offset + span.size
    found = data[start : min(start + ROW, end)]
    text = found.hex(" ") + (" .." if start + ROW < end else "")
    yield f"{start:04x}  {text:<{ROW * 3 + 2}} {_said(span)}".rstrip()
    if mark is not None:
        column = 6 + 3 * (mark.offset - start)
        arrows = " ".join(["^^"] * max(1, min(mark.size, len(found) - (mark.offset - start))))
        yield f"{'':{column}}{arrows} {mark.says}"


def _said(span: Span) -> str:
    if not span.type:
        return span.path
    if span.type.startswith("bytes"):
        return f"{span.path}, {span.size} bytes"
    return f"{span.path} = {value_text(span)}"


def value_text(span: Span) -> str:
    """Return the value of a field, cut if it is long, with its name if it has one."""
    # Bytes, names and 64-bit integers are texts in JSON; a person reads them without quotes.
    plain = span.type.startswith(("bytes", "hash", "u64", NAMED))
    text = span.value if plain and isinstance(span.value, str) else shown(span.value)
    most = HASH_MAX if span.type == "hash" else VALUE_MAX
    return text if len(text) <= most else f"{text[:most]}..."


def _refusals(kind: str, data: bytes) -> Iterator[str]:
    """Yield the reasons for which a strict node refuses bytes that decode."""
    message = decode(kind, data)
    reason = accept(kind, message)
    # The type of a lab record does not describe a payload.
    framed = PAYLOAD in message.fields
    inner = PAYLOAD_KINDS.get(message.fields.get("type", -1)) if framed else None
    if reason is None and inner is not None:
        reason = accept(inner, decode(inner, message.fields[PAYLOAD]))
    if reason is not None:
        yield f"every field is whole, and yet this is to be refused: {reason}"


def summary(kind: str, data: bytes) -> str:
    """Return the message in a few words: the fields that distinguish it from others."""
    if not kind:
        return data[:ROW].hex(" ") + (" .." if len(data) > ROW else "")
    fields = fields_of(kind, data)
    told = (fields.named(path) for path in SUMMARY)
    known = [one for one in told if one is not None and one.value != ""]
    parts = [f"{one.path.rpartition('.')[2]} = {value_text(one)}" for one in known]
    if fields.fault is not None:
        parts.append(fields.fault.says)
    return ", ".join(parts)


SUMMARY = (
    "key",
    "payload.deleted_at",
    "payload.lamport",
    "payload.deleted_by",
    "payload.reason",
    "payload.direction",
    "payload.tombstone_count",
    "payload.entry_count",
    "sent_at",
    "formation_id",
)
"""Fields shown of a message in one line, after its name."""
