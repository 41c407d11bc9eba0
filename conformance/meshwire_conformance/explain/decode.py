"""Decoding for a person: the fields of a message, up to its fault if it has one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum

from meshwire_conformance.explain.field_rows import type_names
from meshwire_conformance.explain.values import printable, shown
from meshwire_spec.codec import accept, annotate, decode
from meshwire_spec.cursor import Span
from meshwire_spec.errors import Malformed
from meshwire_spec.numbers import (
    KINDS,
    Direction,
    EnrollmentStatus,
    MeshPolicy,
    NegentropyMode,
    Tier,
)
from meshwire_spec.rules import refusals, rules_by_id

BYTES_SHOWN = 8
"""Greatest number of bytes shown per field."""
TIME = "(ms since 1970)"
"""Suffix of the meaning of a time field."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
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


def decode_lines(kind: str, data: bytes, *, full: bool = False) -> tuple[list[str], bool]:
    """Return the fields of a message as lines, and whether it is accepted.

    The last lines describe a fault, if there is one. With `full` every byte of a field is shown.
    """
    spans, fault = annotate(kind, data)
    size = f"{len(data)} byte" + ("" if len(data) == 1 else "s")
    lines = [f"{kind}, {size}", *_table(kind, spans, data, full=full)]
    if fault is not None:
        lines += _fault_lines(fault, data)
        return lines, False
    refused = accept(kind, decode(kind, data))
    if refused is not None:
        lines.append(f"decodes, but a strict node refuses it: {refused}")
        found = refusals().get((kind, refused), ())
        lines += [printable(f"{rule.id}  {rule.text}") for rule in found]
    return lines, refused is None


def _value_text(kind: str, span: Span) -> str:
    """Return the value of a field, with its name or date if it is a registry number or a time."""
    text = shown(span.value)
    name = span.path.rpartition(".")[2]
    if name == "type" and type(span.value) is int:
        return f"{text} ({type_names(kind).get(span.value, 'unknown')})"
    registry = REGISTRIES.get(name)
    if registry is not None and span.value in {int(one) for one in registry}:
        return f"{text} ({registry(span.value).name.lower().replace('_', ' ')})"
    if span.means.endswith(TIME):
        return f"{text} ({_date(int(span.value))})"
    return text


def _date(milliseconds: int) -> str:
    try:
        date = EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return "after the year 9999"
    return date.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _rule_of(kind: str, span: Span) -> str:
    """Return the rule about the values of this field, else the one that its layout names."""
    for name, reason in CHECKED.items():
        if span.path == name or span.path.endswith(f".{name}"):
            found = refusals().get((kind, reason), ())
            return found[0].id if found else span.rule
    return span.rule


def _table(kind: str, spans: list[Span], data: bytes, *, full: bool) -> Iterator[str]:
    path_width = max((len(span.path) for span in spans), default=0)
    for span in spans:
        found = data[span.offset : span.offset + span.size]
        cut = not full and len(found) > BYTES_SHOWN
        bytes_text = found[:BYTES_SHOWN].hex(" ") + " .." if cut else found.hex(" ")
        cited = _rule_of(kind, span)
        rule = f"  [{cited}]" if cited else ""
        says = f"{_value_text(kind, span)}  -- {span.type}; {span.means}{rule}"
        line = (
            f"{span.offset:04x}  {bytes_text:<{BYTES_SHOWN * 3 + 2}} "
            f"{span.path:<{path_width}}  {says}"
        )
        yield printable(line)


def _fault_lines(fault: Malformed, data: bytes) -> Iterator[str]:
    rest = data[fault.offset :]
    bytes_text = rest[:BYTES_SHOWN].hex(" ") + (" .." if len(rest) > BYTES_SHOWN else "")
    yield f"{fault.offset:04x}  {bytes_text or '(end)'}"
    tail = f" ({fault.detail})" if fault.detail else ""
    yield printable(f"refused: {fault.reason} at {fault.field or 'the end of the message'}{tail}")
    if fault.rule:
        rule = rules_by_id().get(fault.rule)
        yield f"{fault.rule}  {rule.text if rule else ''}".rstrip()


def guess_lines(data: bytes, *, full: bool = False) -> tuple[list[str], bool]:
    """Return the kinds that fit the bytes, as lines, and whether one of them is accepted.

    If only one kind fits, its fields are shown.
    """
    verdicts = {kind: _judge(kind, data) for kind in KINDS}
    fitting = [kind for kind, verdict in verdicts.items() if verdict.fits]
    if len(fitting) == 1:
        return decode_lines(fitting[0], data, full=full)
    width = max(len(kind) for kind in verdicts)
    lines = [f"{kind:<{width}}  {verdict.text}" for kind, verdict in verdicts.items()]
    stands = any(verdict.stands for verdict in verdicts.values())
    each = ", each refused by a strict node" if fitting and not stands else ""
    lines.append(f"{len(fitting)} kinds fit{each}; --kind shows the fields of one")
    return lines, stands


@dataclass(frozen=True, slots=True)
class _Guess:
    """Whether bytes decode as a kind, whether a strict node accepts them, and both as text."""

    fits: bool
    stands: bool
    text: str


def _judge(kind: str, data: bytes) -> _Guess:
    try:
        message = decode(kind, data)
    except Malformed as exc:
        return _Guess(fits=False, stands=False, text=f"no: {exc.reason} at byte {exc.offset}")
    refused = accept(kind, message)
    if refused is None:
        return _Guess(fits=True, stands=True, text="fits")
    text = f"fits, but a strict node refuses it: {refused}"
    return _Guess(fits=True, stands=False, text=text)
