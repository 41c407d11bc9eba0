"""Encode and decode by the schemas: the only caller of parse and build.

Structural only: levels are unknown here. `accept` adds the checks of a strict node.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from meshwire_spec.acceptance import accept_value
from meshwire_spec.cursor import Cursor, Span
from meshwire_spec.errors import Malformed, SpecError, UnknownKind
from meshwire_spec.rules import load_rules, refusals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from meshwire_spec.layouts import Layout

__all__ = ["Malformed", "Message", "SpecError", "UnknownKind", "accept", "annotate", "decode"]
__all__ += ["encode", "from_value", "to_value"]

ROOT = "message"


@dataclass(frozen=True, slots=True)
class Message:
    """One decoded message: its kind and its members by name, as the layout lists them.

    Integers are int, texts str, bytes bytes, elements tuples, nested messages mappings. `decode`
    and `from_value` create it; both create only what `encode` can write.
    """

    kind: str
    fields: Mapping[str, Any]


def _layout(kind: str) -> Layout:
    # Loads construct, which takes longer than all the rest that a codec suite imports.
    from meshwire_spec.layouts import LAYOUTS  # noqa: PLC0415 - see above

    try:
        return LAYOUTS[kind]
    except KeyError:
        msg = f"no kind {kind!r}; kinds are {', '.join(LAYOUTS)}"
        raise UnknownKind(msg) from None


def _freeze(value: Any) -> Any:
    if isinstance(value, dict):
        return MappingProxyType({name: _freeze(item) for name, item in value.items()})
    if isinstance(value, list):
        return tuple(_freeze(item) for item in value)
    return value


def _thaw(value: Any) -> Any:
    if isinstance(value, MappingProxyType | dict):
        return {name: _thaw(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [_thaw(item) for item in value]
    return value


def _attributed(fault: Malformed, kind: str) -> Malformed:
    broken = refusals().get((kind, fault.reason), ())
    rule = fault.rule or (broken[0].id if broken else "")
    return Malformed(
        fault.reason, fault.offset, fault.field, rule=rule, kind=kind, detail=fault.detail
    )


def _parse(layout: Layout, cursor: Cursor) -> dict[str, Any]:
    try:
        parsed = layout.parse(cursor, ROOT)
        again = _build(layout, parsed)
    except Malformed as exc:
        raise _attributed(exc, layout.kind) from exc
    # Universal check: bytes that do not encode to themselves are not canonical.
    assert again == cursor.data, f"{layout.kind} does not re-encode to what was decoded"
    return parsed


def _build(layout: Layout, value: dict[str, Any]) -> bytes:
    cursor = Cursor()
    layout.build(value, cursor, ROOT)
    return cursor.getvalue()


def _check_members(layout: Layout, data: bytes, value: dict[str, Any]) -> None:
    if layout.parse(Cursor(data), ROOT) != value:
        raise Malformed("bad-value", 0, "", detail="members contradict each other")


def decode(kind: str, data: bytes) -> Message:
    """Decode a message that uses all of these bytes.

    Call `accept` before acting on the message. Raises `Malformed` with reason, offset, field path
    and rule (page Errors lists the reasons), and `UnknownKind`.
    """
    return Message(kind, _freeze(_parse(_layout(kind), Cursor(data))))


def encode(message: Message) -> bytes:
    """Return the bytes of a message, exactly those it was decoded from.

    Raises `Malformed` for a value that a field cannot hold; values are never cut to fit.
    """
    layout = _layout(message.kind)
    value = _thaw(message.fields)
    try:
        data = _build(layout, value)
        _check_members(layout, data, value)
    except Malformed as exc:
        raise _attributed(exc, layout.kind) from exc
    return data


def accept(kind: str, message: Message) -> str | None:
    """Return the reason for which a strict node refuses this message, or None.

    Checks key grammar and limits, on receive and before sending. Raises `UnknownKind`.
    """
    _layout(kind)
    return accept_value(kind, message.fields)


def to_value(message: Message) -> dict[str, Any]:
    """Return the JSON form of a message: bytes as hex, 64-bit integers as decimal strings.

    See the page Harness.
    """
    return _layout(message.kind).to_json(_thaw(message.fields))


def from_value(kind: str, value: Any) -> Message:
    """Return the message of a JSON form; raises `Malformed` bad-value if it does not fit."""
    layout = _layout(kind)
    try:
        message = Message(kind, _freeze(layout.from_json(value, ROOT)))
    except Malformed as exc:
        raise _attributed(exc, layout.kind) from exc
    encode(message)
    return message


def annotate(kind: str, data: bytes) -> tuple[list[Span], Malformed | None]:
    """Return the fields found in the bytes, up to the fault, and the fault or None.

    Raises `UnknownKind`.
    """
    layout = _layout(kind)
    cursor = Cursor(data, annotates=True)
    try:
        _parse(layout, cursor)
    except Malformed as exc:
        return _with_rules(cursor.spans, kind), exc
    return _with_rules(cursor.spans, kind), None


def _with_rules(spans: list[Span], kind: str) -> list[Span]:
    about = [rule for rule in load_rules() if kind in rule.kinds and not rule.reason]
    # The rule about the fewest kinds is the most specific one.
    shown = min(about, key=lambda rule: len(rule.kinds)).id if about else ""
    return [span if span.rule else replace(span, rule=shown) for span in spans]
