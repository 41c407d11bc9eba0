"""Compare expected and received frames: the first byte that differs, its field, both values."""

from __future__ import annotations

from collections.abc import Sequence

from meshwire_conformance.explain.field_rows import TYPE_NAMES, fields_of, rows_of, value_text
from meshwire_conformance.explain.hexdump import Mark
from meshwire_conformance.explain.values import first_difference
from meshwire_conformance.socket_suite.content import Mismatch, Wanted, member_text
from meshwire_conformance.socket_suite.inbox import Arrival
from meshwire_spec.codec import Malformed, Message, decode, encode
from meshwire_spec.numbers import TOMBSTONE_COLLECTION, FrameType

EARLIER_MAX = 4
"""Number of earlier arrivals that are shown on one line each."""
SHOWN = 8
"""Bytes shown of values that are equal up to the place where they are cut."""
DELTA_HEADS = "payload.heads"


def message_of(arrival: Arrival) -> tuple[str, bytes]:
    """Return kind and bytes of the message that carried an arrival.

    It is a frame, an entry, or a bare tombstone.
    """
    if arrival.carrier == FrameType.TOMBSTONE_BATCH:
        return "tombstone", arrival.payload
    key = arrival.key
    if arrival.type == FrameType.TOMBSTONE:
        key = f"{TOMBSTONE_COLLECTION}:{key}"
    kind = "stream_frame" if arrival.carrier == arrival.type else "sync_entry"
    fields = {"key": key, "type": int(arrival.type), "payload": arrival.payload}
    return kind, encode(Message(kind, fields))


def line_of(arrival: Arrival) -> str:
    """Return an arrival as one line: the receiving peer, the stream, and the content."""
    name = TYPE_NAMES.get(arrival.type, f"type {arrival.type}")
    inside = f" inside a {TYPE_NAMES[arrival.carrier]}" if arrival.carrier != arrival.type else ""
    peer = arrival.peer.rpartition("/")[2]
    size = len(arrival.payload)
    what = f"{name} for {arrival.key}{inside}"
    return f"peer {peer}, stream {arrival.stream}: {what}, payload {size} bytes"


def arrival_lines(
    arrival: Arrival, wanted: Wanted | None = None, mismatch: Mismatch | None = None
) -> tuple[str, ...]:
    """Return an arrival field by field; the first byte that differs from `wanted` is marked."""
    kind, data = message_of(arrival)
    if wanted is None or mismatch is None:
        return (line_of(arrival), *rows_of(kind, data))
    mark = _mark(kind, data, arrival, wanted, mismatch.field)
    unsaid = (mismatch.line(),) if mark is None else ()
    return (line_of(arrival), *rows_of(kind, data, mark), *unsaid)


def received_lines(came: Sequence[tuple[Arrival, Mismatch]], wanted: Wanted) -> tuple[str, ...]:
    """Return the other frames received, each with its mismatch; the last one field by field."""
    *earlier, (last, why) = came
    lines = [f"{line_of(arrival)}: {one.line()}" for arrival, one in earlier[-EARLIER_MAX:]]
    return (*lines, *arrival_lines(last, wanted, why))


def wanted_lines(wanted: Wanted) -> tuple[str, ...]:
    """Return the expected content, one line per member."""
    name = "content" if wanted.type is None else TYPE_NAMES[wanted.type]
    lines = [f"{name} for {wanted.key}"]
    if wanted.heads is not None:
        heads = sorted(wanted.heads) or ["none, for the document is empty"]
        lines += [f"head = {head}" for head in heads]
    members = wanted.tombstone or {}
    lines += [f"{name} = {member_text(value)}" for name, value in members.items()]
    return tuple(lines)


def headline(wanted: Wanted, mismatch: Mismatch) -> str:
    """Return one sentence that says how the last arrival differs."""
    about = f"the frames received for {wanted.key} differ"
    if mismatch.wanted is None:
        return f"{about}: {mismatch.line()}"
    is_plural = mismatch.field == "heads"
    says = mismatch.line() if is_plural else f"{mismatch.field} is {mismatch.came}"
    return f"{about}: {says}, expected {mismatch.wanted}"


def _mark(kind: str, data: bytes, arrival: Arrival, wanted: Wanted, name: str) -> Mark | None:
    if name == "type" and wanted.type is not None:
        return _type_mark(kind, data, TYPE_NAMES[wanted.type], wanted.type)
    if name == "heads" and wanted.heads is not None:
        return _heads_mark(kind, data, wanted.heads)
    if wanted.tombstone is not None and name in wanted.tombstone:
        return _tombstone_mark(kind, data, arrival, wanted)
    return None


def _type_mark(kind: str, data: bytes, name: str, number: int) -> Mark | None:
    span = fields_of(kind, data).named("type")
    if span is None:
        return None
    return Mark(span.offset, 1, f"type = {value_text(span)} (expected {number}, {name})")


def _heads_mark(kind: str, data: bytes, wanted: frozenset[str]) -> Mark | None:
    """Return the count of heads if it differs, else the first head that is not wanted."""
    fields = fields_of(kind, data)
    count = fields.named(f"{DELTA_HEADS}.count")
    if count is None:
        return None
    if count.value != len(wanted):
        says = f"heads.count = {count.value} (expected {len(wanted)})"
        return Mark(count.offset, 1, says)
    found = [span for span in fields.spans if span.path.startswith(f"{DELTA_HEADS}[")]
    missing = sorted(wanted - {span.value for span in found})
    for span in found:
        if span.value not in wanted:
            head = span.value
            at = first_difference(bytes.fromhex(head), bytes.fromhex(missing[0])) or 0
            says = f"heads = {head[:16]}... (expected {missing[0][:16]}...)"
            return Mark(span.offset + at, 1, says)
    return None


def _tombstone_mark(kind: str, data: bytes, arrival: Arrival, wanted: Wanted) -> Mark | None:
    """Return the first byte of a tombstone that differs if the wanted members are put in."""
    try:
        fields = decode("tombstone", arrival.payload).fields
        payload = encode(Message("tombstone", {**fields, **(wanted.tombstone or {})}))
    except Malformed:
        return None
    return difference("tombstone", payload, kind, data, arrival.payload)


def difference(inner: str, wanted: bytes, kind: str, data: bytes, came: bytes) -> Mark | None:
    """Return the first byte in which the payload at the end of a message differs from `wanted`.

    `inner` is the kind of both payloads, `kind` that of the whole message `data`.
    """
    at = first_difference(wanted, came)
    if at is None:
        return None
    offset = len(data) - len(came) + at
    found = fields_of(kind, data).at(offset)
    should = fields_of(inner, wanted).at(at)
    says = "nothing more" if should is None else value_text(should)
    if found is None:
        return Mark(offset, 1, f"the message ends here (expected {says})")
    text = value_text(found)
    if text == says:
        # Both are cut before the place where they differ.
        text, says = f"...{came[at : at + SHOWN].hex()}", f"...{wanted[at : at + SHOWN].hex()}"
    name = found.path.removeprefix("payload.")
    return Mark(offset, 1, f"{name} = {text} (expected {says})")
