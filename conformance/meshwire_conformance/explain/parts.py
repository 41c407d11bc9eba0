"""What an input consists of: named parts, each the bytes of a message, a stream or a connection."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from meshwire_conformance.explain.guess import connection_of, row_of
from meshwire_conformance.explain.hex_dumps import UnreadableInput
from meshwire_conformance.explain.tcp import CapturedConnection, SentHalf, connections_of
from meshwire_spec.codec import Malformed, Message, decode, encode
from meshwire_spec.numbers import KINDS, LAB_MAGIC, LabRecordType

HEX_MEMBERS = ("hex", "data", "bytes", "payload")
"""Members of a JSON object that can have the bytes of a message, such as those of a vector."""
NOT_HEX = "this is not hex"
"""Note of a message that cannot be shown; JSON with no other message is none of ours."""
UNI, LISTENER = 2, 1
"""Bits of a stream id: one direction alone, and opened by the side that listened."""


@dataclass(frozen=True, slots=True)
class InputPart:
    """Some bytes and what they are: a name for a person, and the kind of message if it is known.

    `notes` are what has to be said of the part, such as bytes that are missing; a part without
    bytes is only its name and notes.
    """

    name: str
    data: bytes = b""
    kind: str | None = None
    notes: Sequence[str] = field(default_factory=tuple)
    is_broken: bool = False


def parts_of_json(text: str) -> list[InputPart] | None:
    """Return the messages of a trace, of a request, or of vectors; None for another text.

    Raises UnreadableInput for JSON without any message.
    """
    if text.lstrip()[:1] not in {"{", "["}:
        return None
    lines = [line for line in text.splitlines() if line.strip()]
    try:
        values = [json.loads(line) for line in lines]
    except (ValueError, RecursionError):
        values = _whole(text)
    if not values:
        return None
    try:
        found = [part for value in values for part in _of_json(value, "")]
    except RecursionError as exc:
        raise UnreadableInput("it is JSON nested too deeply") from exc
    if any(part.notes[-1:] != (NOT_HEX,) for part in found):
        return found
    if any(isinstance(value, list) and _is_array(value) for value in values):
        return None
    raise UnreadableInput(
        "it is JSON without a message: no member hex, data, bytes or payload has hex"
    )


def _whole(text: str) -> list[Any]:
    try:
        return [json.loads(text)]
    except (ValueError, RecursionError):
        return []


def _is_array(value: list[Any]) -> bool:
    return all(type(one) is int for one in value)


def _of_json(value: Any, name: str) -> Iterator[InputPart]:
    if isinstance(value, list):
        for one in value:
            yield from _of_json(one, name)
        return
    if not isinstance(value, dict):
        return
    if "received" in value and "key" in value:
        yield _received(value)
        return
    if "sent" in value and isinstance(value.get("bytes"), str):
        told = f"sent by {value.get('peer')} on stream {value.get('stream')}"
        yield from _hex_part(f"{value.get('case')}: {told}: {value['sent']}", value["bytes"], None)
        return
    for way in ("sent", "received"):
        if isinstance(value.get(way), str):
            yield from _line(way, value[way])
            return
    if "fault" in value and "peer" in value:
        told = f"fault of {value['peer']} on stream {value.get('stream')}: {value['fault']}"
        yield InputPart(told, notes=(str(value.get("detail", "")),))
        return
    yield from _message(value, name)


def _message(value: Mapping[str, Any], name: str) -> Iterator[InputPart]:
    kind = value.get("kind")
    known = kind if kind in KINDS else None
    told = " ".join(str(value[one]) for one in ("id", "title", "op") if one in value) or name
    for member in HEX_MEMBERS:
        text = value.get(member)
        if isinstance(text, str) and text:
            yield from _hex_part(told, text, known)
            return
    for one in value.values():
        if isinstance(one, dict | list):
            yield from _of_json(one, told)


def _line(way: str, text: str) -> Iterator[InputPart]:
    """Yield the message in a line to or from a codec; a line that was cut has none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        yield InputPart(f"{way}: a line that is not whole JSON", notes=(text[:80],))
        return
    if isinstance(value, dict):
        yield from (replace(part, name=f"{way}: {part.name}") for part in _message(value, ""))


def _hex_part(name: str, text: str, kind: str | None) -> Iterator[InputPart]:
    try:
        yield InputPart(name, bytes.fromhex(text), kind)
    except ValueError:
        yield InputPart(f"{name}: {text[:60]!r}", notes=(NOT_HEX,), is_broken=True)


def _received(value: Mapping[str, Any]) -> InputPart:
    """Return a frame that a trace has in its members."""
    name = f"received by {value.get('peer')} on stream {value.get('stream')}"
    try:
        fields = {
            "key": str(value["key"]),
            "type": int(str(value["received"]), 16),
            "payload": bytes.fromhex(str(value.get("payload", ""))),
        }
        return InputPart(name, encode(Message("stream_frame", fields)), "stream_frame")
    except (ValueError, Malformed) as exc:
        return InputPart(name, notes=(f"the members are no frame: {exc}",), is_broken=True)


def parts_of_capture(form: str, content: bytes) -> list[InputPart]:
    """Return the connections of a capture, each direction and each stream a part.

    Raises UnreadableInput if it has no TCP connection.
    """
    from meshwire_conformance.explain.captures import read_capture  # noqa: PLC0415 - heavy

    packets = read_capture(form, content)
    connections = connections_of(packets.segments)
    if not connections:
        raise UnreadableInput(f"the capture has no TCP connection; {packets.others} other packets")
    notes = [packets.fault] if packets.fault else []
    if packets.others:
        notes.append(f"{packets.others} packets without TCP are left out")
    if packets.cut:
        notes.append(f"{packets.cut} packets were cut by the capture; use `tcpdump -s 0`")
    if packets.fragments:
        notes.append(f"{packets.fragments} fragments of IP packets are left out")
    is_broken = bool(packets.fault or packets.cut or packets.fragments)
    told = f"{form}: {len(packets.segments)} TCP segments, {len(connections)} connections"
    parts = [InputPart(told, notes=tuple(notes), is_broken=is_broken)]
    for number, connection in enumerate(connections, 1):
        parts += _of_connection(number, connection)
    return parts


def _of_connection(number: int, connection: CapturedConnection) -> Iterator[InputPart]:
    for half in connection.halves:
        name = f"connection {number}, {half.source} to {half.target}"
        notes, broken = _gaps(half)
        row = connection_of(half.data)
        if row is None:
            told = "no preamble of the lab binding" if half.data else "no bytes"
            starts = f": begins {half.data[:8].hex(' ')}" if half.data else ""
            if half.data[: len(LAB_MAGIC)] == LAB_MAGIC[: len(half.data)] and half.data:
                told, broken = "a preamble of the lab binding that is not whole", True
            yield InputPart(f"{name}: {told}{starts}", notes=notes, is_broken=broken)
            continue
        last = row.pieces[-1].end
        yield InputPart(
            f"{name}: preamble", half.data[: row.pieces[0].end], "lab_preamble", notes, broken
        )
        records = half.data[row.pieces[0].end : last]
        yield from _records(name, records)
        if last < len(half.data):
            rest = f"{len(half.data) - last} bytes are the beginning of a record"
            yield InputPart(f"{name}: end", half.data[last:], "lab_record", (rest,), is_broken=True)


def _gaps(half: SentHalf) -> tuple[tuple[str, ...], bool]:
    notes = []
    if not half.has_start:
        notes.append("the capture does not have the beginning of this direction")
    if half.gap:
        notes.append(f"{half.gap} bytes are missing, {half.lost} bytes after them are not shown")
    return tuple(notes), bool(half.gap)


def _records(name: str, data: bytes) -> Iterator[InputPart]:
    """Yield the control records as one part, and each stream with the bytes of its DATA."""
    control: list[str] = []
    streams: dict[int, bytearray] = {}
    ended: set[int] = set()
    for piece in row_of("lab_record", data).pieces:
        try:
            record = decode("lab_record", data[piece.start : piece.end])
        except Malformed as exc:
            yield InputPart(f"{name}: record at {piece.start}", notes=(str(exc),), is_broken=True)
            return
        body = record.fields["body"]
        if record.fields["type"] == LabRecordType.DATA:
            streams.setdefault(body["stream_id"], bytearray()).extend(body["data"])
            if body["fin"]:
                ended.add(body["stream_id"])
            continue
        members = ", ".join(f"{key} {_short(value)}" for key, value in body.items())
        control.append(f"{LabRecordType(record.fields['type']).name.lower()}: {members}")
    if control:
        yield InputPart(f"{name}: {len(control)} control records", notes=tuple(control))
    for stream, content in streams.items():
        opener = "listener" if stream & LISTENER else "dialler"
        sort = "uni" if stream & UNI else "bidi"
        fin = "FIN" if stream in ended else "no FIN"
        told = f"{name}: stream {stream} ({sort}, opened by the {opener}), {fin}"
        kind = "heartbeat" if stream & UNI and content else None
        yield InputPart(told, bytes(content), kind)


def _short(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
