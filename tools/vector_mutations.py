"""Fault classes: how the bytes of a positive are mutated, and the expected outcome.

A mutation changes one field and corrects the lengths around it, so that nothing else is wrong. Its
class states the outcome it expects; if the schema disagrees the tool fails, because then the class
or the schema is wrong.
"""
# Longer than 500 lines: the table of fault classes is next to the functions that it names.

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from meshwire_conformance.self_check.field_table import UTF8_FAULTS, FieldRow
from meshwire_spec import fields as blocks
from meshwire_spec.codec import annotate
from meshwire_spec.cursor import Span
from meshwire_spec.layouts import LAYOUTS
from meshwire_spec.numbers import LabRecordType

VALID = "valid"
MISREAD = frozenset(
    (
        "truncated",
        "trailing-bytes",
        "length-limit",
        "count-limit",
        "bad-utf8",
        "bad-direction",
        "bad-enum",
        "bad-flag",
        "unknown-type",
        "bad-key",
        "bad-bound",
        "bad-varint",
        "bad-mode",
    )
)
"""Reasons that a length off by one may lead to, because all later bytes are misread."""


@dataclass(frozen=True, slots=True)
class FaultClass:
    """One kind of fault: its possible outcomes, title, the mistake it hunts, and its harm.

    In `title` and `hunts`, `{}` is replaced by the name of the field. If several things are wrong
    at once, the first in the order of the fields counts (ER-001).
    """

    expects: frozenset[str]
    title: str
    hunts: str
    harm: str


def _class(expects: str, title: str, hunts: str = "", harm: str = "") -> FaultClass:
    return FaultClass(frozenset(expects.split()), title, hunts, harm)


SHIFTED = "every later field is decoded at the wrong offset"
TWO_NAMES = "two byte strings decode to one text, and filters can be bypassed"
UNDEFINED = "input that no rule defines takes effect"
CLASSES = {
    "truncated": _class(
        "truncated count-limit length-limit",
        "{} truncated",
        "the end of the input is not checked inside {}",
        "a truncated message is accepted as complete, or memory past its end is read",
    ),
    "length-short": FaultClass(
        MISREAD, "{} one too small", "{} is decoded as one more than its value", SHIFTED
    ),
    "length-long": FaultClass(
        MISREAD, "{} one too large", "{} is decoded as one less than its value", SHIFTED
    ),
    "count-short": _class("valid", "{} one too small"),
    "count-long": _class(
        "truncated count-limit bad-bound",
        "{} one too large",
        "{} is not compared with the elements that follow",
        "a truncated message is accepted as complete",
    ),
    "greatest": _class(
        "valid truncated count-limit length-limit unknown-type bad-enum",
        "{} at its greatest value",
        "{} is used before it is checked, or is too large for its number type",
        "memory is allocated for data that never arrives, or the last bits are lost",
    ),
    "zero": _class("valid", "{} of zero"),
    "unknown-value": _class(
        "bad-marker bad-version bad-magic bad-direction bad-enum bad-flag unknown-type bad-mode",
        "{} with an unassigned value",
        "{} is decoded without checking that its registry contains the value",
        UNDEFINED,
    ),
    "far-value": _class(
        "bad-marker bad-version bad-direction bad-enum bad-flag unknown-type bad-mode",
        "{} with an unassigned value whose high bits are set",
        "the value of {} is masked or truncated before it is checked",
        UNDEFINED,
    ),
    "bad-utf8": _class(
        "bad-utf8",
        "{} with the byte ff, which UTF-8 does not have",
        "a byte that starts no character is accepted in {}",
        TWO_NAMES,
    ),
    "bad-utf8-cut": _class(
        "bad-utf8",
        "{} ending inside a UTF-8 character",
        "a character truncated at the end of {} is accepted",
        TWO_NAMES,
    ),
    "bad-utf8-overlong": _class(
        "bad-utf8",
        "{} with an overlong UTF-8 form",
        "an overlong UTF-8 form is accepted in {}",
        TWO_NAMES,
    ),
    "bad-utf8-surrogate": _class(
        "bad-utf8",
        "{} with an encoded surrogate",
        "an encoded surrogate is accepted in {}",
        TWO_NAMES,
    ),
    "bad-utf8-above-10ffff": _class(
        "bad-utf8",
        "{} with a code point above U+10FFFF",
        "a code point above U+10FFFF is accepted in {}",
        TWO_NAMES,
    ),
    "control-character": _class(
        "valid bad-key",
        "{} with a NUL",
        "a NUL ends {}, or is accepted where the grammar forbids it",
        "nodes disagree about which document the key names",
    ),
    "last-newline": _class(
        "valid bad-key",
        "{} with a newline at its end",
        "a newline at the end of {} is dropped, or overlooked by a pattern that ends before it",
        TWO_NAMES,
    ),
    "leading-mark": _class(
        "valid bad-key",
        "{} with a leading U+FEFF",
        "a leading U+FEFF of {} is dropped as a byte order mark",
        TWO_NAMES,
    ),
    "other-forms": _class(
        "valid bad-key",
        "{} with a combining mark, a character beyond U+FFFF and a space at its end",
        "{} is normalised, trimmed, or cut to 16 bits for each character",
        TWO_NAMES,
    ),
    "empty": _class(
        "valid length-limit bad-key",
        "empty {}",
        "an empty {} is accepted",
        "data without a name is stored and relayed",
    ),
    "trailing": _class(
        "valid trailing-bytes truncated bad-bound",
        "two bytes after {}",
        "bytes after {} are discarded without an error",
        "one message has two encodings, or unsigned bytes are accepted as part of a signed message",
    ),
    "not-minimal": _class(
        "bad-varint",
        "{} as an overlong varint",
        "an overlong varint is accepted in {}",
        "one message has two encodings",
    ),
    "over-64-bits": _class(
        "bad-varint",
        "{} of more than 64 bits",
        "{} is truncated to 64 bits",
        "the two sides decode different bounds",
    ),
    "over-limit": _class(
        "bad-bound",
        "{} of 33 bytes",
        "the length of {} is not limited",
        "memory beyond an id is read",
    ),
}
"""Every class of derived vectors."""

ILL_FORMED = {
    "bad-utf8": b"\xff",
    "bad-utf8-cut": b"\xc3",
    "bad-utf8-overlong": b"\xc0\xaf",
    "bad-utf8-surrogate": b"\xed\xa0\x80",
    "bad-utf8-above-10ffff": b"\xf4\x90\x80\x80",
}
FORMS = {
    "last-newline": b"\n",
    "leading-mark": b"\xef\xbb\xbf",
    "other-forms": "e\u0301\U0001f600 ".encode(),
}
"""Bytes that are added to a text: the mark before its first byte, the others after its last."""
FIRST_NOT_ASCII = 0x80
TAIL = b"\x5a\xa5"
OVERLONG_DIGIT = b"\x80"
OVER_64_BITS = b"\x82" + b"\x80" * 8 + b"\x00"
PREFIX_OVER = bytes([33]) + bytes(range(1, 34))


@dataclass(frozen=True, slots=True)
class Base:
    """A positive to be mutated, with the fields found in its bytes."""

    kind: str
    data: bytes
    spans: tuple[Span, ...]

    def span(self, path: str) -> Span | None:
        """Return the field of this path, or None."""
        return next((span for span in self.spans if span.path == path), None)


def base_of(kind: str, data: bytes) -> Base:
    """Return the bytes with their fields; they must decode as this kind."""
    spans, fault = annotate(kind, data)
    assert fault is None, f"{kind} {data.hex()}: {fault}"
    return Base(kind, data, tuple(spans))


def wire_path(path: str) -> str:
    """Return the path as codecs write it, without the type of a record."""
    head, bracket, tail = path.partition("(")
    return head + tail.partition(")")[2] if bracket else path


def fits(base: Base, row: FieldRow) -> bool:
    """Return True if the bytes are of the record type that has the field."""
    if "(" not in row.path:
        return True
    wanted = row.path.partition("(")[2].partition(")")[0]
    return LabRecordType(base.data[0]).name.lower() == wanted


@dataclass(frozen=True, slots=True)
class Mutated:
    """Mutated bytes, and the offsets at which the fault begins and ends.

    Both offsets are equal where bytes are missing and none is wrong.
    """

    data: bytes
    start: int
    end: int


def _with(base: Base, start: int, end: int, new: bytes) -> Mutated:
    """Return the bytes with `new` in the place of those from `start` to `end`."""
    return Mutated(base.data[:start] + new + base.data[end:], start, start + len(new))


@dataclass(frozen=True, slots=True)
class Place:
    """A field as found: its position, the bytes of its scope, and its own length field."""

    path: str
    start: int
    end: int
    length: Span | None


def places(base: Base, row: FieldRow) -> Iterator[Place]:
    """Yield the positions of a field in the bytes: in the first element, then in a later one."""
    wire = wire_path(row.path)
    for index in ("[0]", "[1]", "[2]") if "[]" in wire else ("",):
        path = wire.replace("[]", index, 1)
        if (found := _place(base, row, path)) is not None:
            yield found


def _place(base: Base, row: FieldRow, path: str) -> Place | None:
    if row.role == "closed":
        return _scope(base, path)
    if row.role == "tolerated":
        outer = _scope(base, path.rpartition(".")[0])
        return outer and Place(path, outer.end, outer.end, None)
    if row.role in ("fingerprint", "ids"):
        owner = base.span(path.rpartition(".")[0])
        if owner is None or row.role not in owner.value:
            return None
        return Place(path, owner.offset, owner.offset + owner.size, None)
    span = base.span(path)
    length = base.span(f"{path}.length")
    if span is None:
        return None
    return Place(path, span.offset, span.offset + span.size, length)


def _scope(base: Base, path: str) -> Place | None:
    """Return the whole message, or a nested one with a length before it."""
    if not path:
        return Place(path, 0, len(base.data), None)
    length = base.span(f"{path}.length")
    if length is None:
        return None
    start = length.offset + length.size
    return Place(path, start, start + int(length.value), length)


def _number(span: Span, value: int) -> bytes:
    return value.to_bytes(span.size, "little" if "little" in span.type else "big")


def _scopes(base: Base) -> Iterator[tuple[Span, int, int]]:
    """Yield every length before a nested message, with the start and end of that message."""
    for span in base.spans:
        path = span.path.removesuffix("length")
        if path != span.path and _holds_fields(base, span, path):
            first = span.offset + span.size
            yield span, first, first + int(span.value)


def _holds_fields(base: Base, length: Span, path: str) -> bool:
    """Return True if a length belongs to a message, which has fields below its path."""
    return any(span.path.startswith(path) and span is not length for span in base.spans)


def splice(base: Base, start: int, end: int, new: bytes, *, own: Span | None = None) -> bytes:
    """Return the bytes with a piece replaced, and every length around it corrected."""
    data = bytearray(base.data)
    delta = len(new) - (end - start)
    around = [span for span, first, last in _scopes(base) if first <= start and end <= last]
    for span in {s.offset: s for s in (*around, *([own] if own else []))}.values():
        mended = _number(span, int(span.value) + delta)
        data[span.offset : span.offset + span.size] = mended
    return bytes(data[:start]) + new + bytes(data[end:])


def cut(base: Base, at: int) -> bytes:
    """Return the bytes up to a place, with the lengths of the messages around it corrected."""
    data = bytearray(base.data)
    for span, first, last in _scopes(base):
        if first <= at < last:
            data[span.offset : first] = _number(span, at - first)
    return bytes(data[:at])


def _truncated(base: Base, row: FieldRow, place: Place) -> Mutated | None:
    size = place.end - place.start
    if size == 0:
        return None
    # A varint is cut before its last digit: before its first one the message would be complete.
    if row.role == "varint" and size == 1:
        return None
    end = place.end - 1 if row.role == "varint" else place.start + size // 2
    return Mutated(cut(base, end), place.start, end)


def _length_by(step: int) -> "Mutator":
    def mutate(base: Base, row: FieldRow, place: Place) -> Mutated | None:
        span = base.span(place.path)
        assert span is not None
        value = int(span.value) + step
        if not 0 <= value < 2 ** (8 * span.size):
            return None
        return _with(base, place.start, place.end, _number(span, value))

    return mutate


def _filled(byte: int) -> "Mutator":
    def mutate(base: Base, row: FieldRow, place: Place) -> Mutated | None:
        if row.role == "ids":
            return _with(base, place.start, place.start + 1, b"\x81\xff\xff\xff\x7f")
        new = bytes([byte]) * (place.end - place.start)
        if new == base.data[place.start : place.end]:
            return None
        return _with(base, place.start, place.end, new)

    return mutate


def block_of(kind: str, path: str) -> object:
    """Return the schema's block of a top-level or nested number, to find its registry."""
    return _find(LAYOUTS[kind].blocks, [part.partition("[")[0] for part in path.split(".")])


def _find(members: dict[str, blocks.Block], names: list[str]) -> object:
    block: object = members[names[0]]
    block = getattr(block, "block", block)
    if len(names) == 1:
        return block
    layout = getattr(block, "layout", None)
    if layout is not None:
        return _find(layout.blocks, names[1:])
    for case in getattr(block, "cases", {}).values():
        if names[1] in case.blocks:
            return _find(case.blocks, names[1:])
    raise KeyError(names)


def _unknown(base: Base, row: FieldRow, place: Place) -> Mutated | None:
    """Return the first value above the legal ones."""
    old = base.data[place.start : place.end]
    if row.role == "magic":
        return _with(base, place.end - 1, place.end, bytes([old[-1] ^ 1]))
    if row.role == "mode":
        return _with(base, place.start, place.end, b"\x03")
    block = block_of(base.kind, place.path)
    if isinstance(block, blocks.Flag):
        new = 2
        if block.lenient and old != b"\x00":
            return None
    elif isinstance(block, blocks.Choice):
        new = max(block.legal) + 1
    else:
        new = old[0] + 1
    return _with(base, place.start, place.end, bytes([new]))


def _far(base: Base, row: FieldRow, place: Place) -> Mutated | None:
    """Return a value with the high bit set, which only a reader of all eight bits distinguishes."""
    old = base.data[place.start]
    if row.role == "mode":
        return _with(base, place.start, place.end, b"\x7f")
    block = block_of(base.kind, place.path)
    if isinstance(block, blocks.Flag) and block.lenient and old != 0:
        return None
    return _with(base, place.start, place.end, bytes([old | 0x80]))


def _ill_formed(fault: str) -> "Mutator":
    def mutate(base: Base, row: FieldRow, place: Place) -> Mutated | None:
        bad = ILL_FORMED[fault]
        size = place.end - place.start
        if row.role == "chars" or size >= len(bad) + 1:
            return _with(base, place.end - len(bad), place.end, bad)
        data = splice(base, place.start, place.end, b"a" + bad, own=place.length)
        return Mutated(data, place.start + 1, place.start + 1 + len(bad))

    return mutate


def _formed(form: str) -> "Mutator":
    new = FORMS[form]
    at_end = form != "leading-mark"

    def mutate(base: Base, row: FieldRow, place: Place) -> Mutated | None:
        if row.role == "chars":
            start = place.end - len(new) if at_end else place.start
            return _with(base, start, start + len(new), new)
        longer = place.end - place.start + len(new)
        if place.length is not None and longer >= 2 ** (8 * place.length.size):
            return None
        start = place.end if at_end else place.start
        data = splice(base, start, start, new, own=place.length)
        return Mutated(data, start, start + len(new))

    return mutate


def _emptied(base: Base, row: FieldRow, place: Place) -> Mutated | None:
    data = base.data
    if place.end > place.start:
        data = splice(base, place.start, place.end, b"", own=place.length)
    if place.length is None:
        return Mutated(data, place.start, place.start)
    # No byte of the field is left: its length is at fault.
    return Mutated(data, place.length.offset, place.length.offset + place.length.size)


def _control(base: Base, row: FieldRow, place: Place) -> Mutated | None:
    plain = [at for at in range(place.start + 1, place.end) if base.data[at] < FIRST_NOT_ASCII]
    if not plain:
        return None
    return _with(base, plain[-1], plain[-1] + 1, b"\x00")


def _trailing(base: Base, row: FieldRow, place: Place) -> Mutated | None:
    data = splice(base, place.end, place.end, TAIL, own=place.length)
    return Mutated(data, place.end, place.end + len(TAIL))


def _not_minimal(base: Base, row: FieldRow, place: Place) -> Mutated | None:
    return _with(base, place.start, place.start, OVERLONG_DIGIT)


def _over_64(base: Base, row: FieldRow, place: Place) -> Mutated | None:
    return _with(base, place.start, place.end, OVER_64_BITS)


def _over_limit(base: Base, row: FieldRow, place: Place) -> Mutated | None:
    found = _with(base, place.start, place.end, PREFIX_OVER)
    return Mutated(found.data, place.start, place.start + 1)


def _count_by(step: int) -> "Mutator":
    plain = _length_by(step)

    def mutate(base: Base, row: FieldRow, place: Place) -> Mutated | None:
        if row.role == "ids":
            count = base.data[place.start]
            return _with(base, place.start, place.start + 1, bytes([count + step]))
        return plain(base, row, place)

    return mutate


Mutator = Callable[[Base, FieldRow, Place], Mutated | None]
MUTATORS: dict[str, Mutator] = {
    "truncated": _truncated,
    "length-short": _length_by(-1),
    "length-long": _length_by(1),
    "count-short": _count_by(-1),
    "count-long": _count_by(1),
    "greatest": _filled(0xFF),
    "zero": _filled(0),
    "unknown-value": _unknown,
    "far-value": _far,
    "control-character": _control,
    "empty": _emptied,
    "trailing": _trailing,
    "not-minimal": _not_minimal,
    "over-64-bits": _over_64,
    "over-limit": _over_limit,
    **{name: _ill_formed(name) for name in UTF8_FAULTS},
    **{name: _formed(name) for name in FORMS},
}
"""Functions that mutate the bytes, by class; they return None if the bytes do not permit it."""
