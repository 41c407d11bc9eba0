"""Strict blocks over construct: layouts consist of these blocks only.

construct reads leniently: it ignores trailing bytes, accepts overlong varints, unknown enum values
and flags of 7, and reserves whatever a count claims. Each block here is strict in these respects
and fails in one way, with `Malformed`. A block also describes itself (`rows`), so that the byte
tables of the pages are generated from the very object that parses.

Theory: a layout is a construct `Struct` of named blocks. All of them read one `Cursor`, whose `end`
is the scope of the innermost length prefix, so offsets are absolute and nothing is copied into
substreams. `_parse` and `_build` are next to each other and mirror each other; `to_json` and
`from_json` convert a value between Python (int, str, bytes, dict, list) and its JSON form.
"""
# Longer than 500 lines: all blocks are defined in one module.

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

from construct import Construct, FormatField, Renamed, Struct

from meshwire_spec.cursor import Cursor, Span, field_path
from meshwire_spec.errors import Malformed

if TYPE_CHECKING:
    Base = Construct[Any, Any]
    Width = FormatField[int, int]
else:
    Base = Construct
    Width = FormatField

__all__ = [
    "Int8ub",
    "Int16ub",
    "Int16ul",
    "Int32ub",
    "Int32ul",
    "Int64ub",
    "Int64ul",
]

JSON_NUMBER_BYTES: Final = 4
"""Integers wider than this are decimal strings in JSON, which is exact up to 53 bits only."""
DECIMAL: Final = {"type": "string", "pattern": "^(0|[1-9][0-9]{0,19})$"}
"""JSON Schema of a decimal string."""


class Wire(Width):
    """Width and byte order of a number, as construct has them.

    `parse` and `build` make no stream, which would take most of the time of short messages.
    """

    def parse(self, data: Any, **contextkw: Any) -> int:
        """Return the number that these bytes are."""
        del contextkw
        return int(struct.unpack(self.fmtstr, data)[0])

    def build(self, obj: int, **contextkw: Any) -> bytes:
        """Return the bytes of a number of this width."""
        del contextkw
        return struct.pack(self.fmtstr, obj)


Int8ub: Final = Wire(">", "B")
Int16ub: Final = Wire(">", "H")
Int16ul: Final = Wire("<", "H")
Int32ub: Final = Wire(">", "L")
Int32ul: Final = Wire("<", "L")
Int64ub: Final = Wire(">", "Q")
Int64ul: Final = Wire("<", "Q")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a byte table: size in bytes or a letter, and the type with its limits."""

    field: str
    size: str
    type: str
    means: str


def number_type(wire: Width) -> str:
    """Return width, signedness and byte order of a number as text: `u16, big endian`."""
    order, letter = wire.fmtstr[0], wire.fmtstr[1]
    sign = "u" if letter.isupper() else "i"
    text = f"{sign}{wire.length * 8}"
    return text if wire.length == 1 else f"{text}, {'big' if order == '>' else 'little'} endian"


def span_text(low: int, high: int | None) -> str:
    """Return limits as text: `1..128 bytes`, `at most 16 bytes`, or nothing."""
    if high is None:
        return f"at least {low} bytes" if low else ""
    return f"{low}..{high} bytes" if low else f"at most {high} bytes"


def fail(reason: str, offset: int, path: str, detail: str = "", rule: str = "") -> NoReturn:
    """Raise `Malformed` for the field at a construct path."""
    raise Malformed(reason, offset, field_path(path), detail=detail, rule=rule)


class Block(Base):
    """One field of a layout. Subclasses parse, build, convert and describe it."""

    def __init__(self, means: str, *, rule: str = "", unit: str = "") -> None:
        super().__init__()
        self.means = means
        self.rule = rule
        self.unit = unit

    def _sizeof(self, context: Any, path: str) -> int:
        msg = "strict blocks have no size without data"
        raise NotImplementedError(msg)

    def to_json(self, obj: Any) -> Any:
        """Return the JSON form of a parsed value."""
        return obj

    def from_json(self, value: Any, path: str) -> Any:
        """Return the value of a JSON form; raises `Malformed` bad-value."""
        del path
        return value

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the value."""
        raise NotImplementedError

    def type_text(self) -> str:
        """Return type and limits as the byte table shows them."""
        raise NotImplementedError

    def rows(self, name: str) -> list[Row]:
        """Return the rows of the byte table."""
        return [Row(name, "n", self.type_text(), self.meaning())]

    def meaning(self) -> str:
        """Return the meaning with the unit, as the byte table shows it."""
        return f"{self.means} ({self.unit})" if self.unit else self.means

    def note(self, cursor: Cursor, start: int, path: str, value: Any) -> None:
        """Record this field, with the JSON form of its value, for the annotated dump."""
        if not cursor.annotates:
            return
        size, where, shown = cursor.tell() - start, field_path(path), self.to_json(value)
        cursor.note(Span(start, size, where, shown, self.type_text(), self.meaning(), self.rule))


class Number(Block):
    """An integer of fixed width; 64-bit ones are decimal strings in JSON."""

    def __init__(self, wire: Wire, means: str, *, rule: str = "", unit: str = "") -> None:
        super().__init__(means, rule=rule, unit=unit)
        self.wire = wire

    @property
    def maximum(self) -> int:
        """Greatest value of this width."""
        bits = self.wire.length * 8
        return int(2 ** (bits if self.wire.fmtstr[1].isupper() else bits - 1) - 1)

    def _parse(self, stream: Any, context: Any, path: str) -> int:
        start = stream.tell()
        value = int(self.wire.parse(stream.take(self.wire.length, path)))
        self.check(value, start, path, context, stream)
        self.note(stream, start, path, value)
        return value

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        if type(obj) is not int or not 0 <= obj <= self.maximum:
            fail("bad-value", stream.tell(), path, f"not a {number_type(self.wire)}")
        self.check(obj, stream.tell(), path, context, None)
        stream.write(self.wire.build(obj))
        return obj

    def check(
        self, value: int, offset: int, path: str, context: Any, cursor: Cursor | None
    ) -> None:
        """Raise `Malformed` if the value is not valid; here every value is."""

    def to_json(self, obj: Any) -> Any:
        return str(obj) if self.wire.length > JSON_NUMBER_BYTES else obj

    def from_json(self, value: Any, path: str) -> Any:
        if self.wire.length <= JSON_NUMBER_BYTES:
            return value
        canonical = isinstance(value, str) and value.isascii() and value.isdigit()
        if not canonical or str(int(value)) != value:
            fail("bad-value", 0, path, "64-bit integers are decimal strings")
        return int(value)

    def schema(self) -> dict[str, Any]:
        if self.wire.length > JSON_NUMBER_BYTES:
            return dict(DECIMAL)
        return {"type": "integer", "minimum": 0, "maximum": self.maximum}

    def type_text(self) -> str:
        return number_type(self.wire)

    def rows(self, name: str) -> list[Row]:
        return [Row(name, str(self.wire.length), self.type_text(), self.meaning())]


class Constant(Number):
    """A number with one legal value, such as a marker or a version."""

    def __init__(self, wire: Wire, value: int, means: str, *, reason: str, rule: str = "") -> None:
        super().__init__(wire, means, rule=rule)
        self.value = value
        self.reason = reason

    def check(
        self, value: int, offset: int, path: str, context: Any, cursor: Cursor | None
    ) -> None:
        if value != self.value:
            fail(self.reason, offset, path, f"0x{value:02x} instead of 0x{self.value:02x}")

    def type_text(self) -> str:
        return f"{number_type(self.wire)}, always 0x{self.value:02x}"


class Choice(Number):
    """A number of a registry; any other is refused with `reason`."""

    def __init__(
        self,
        wire: Wire,
        registry: type[IntEnum],
        means: str,
        *,
        reason: str,
        rule: str = "",
    ) -> None:
        super().__init__(wire, means, rule=rule)
        self.registry = registry
        self.reason = reason
        self.legal = frozenset(int(member) for member in registry)

    def check(
        self, value: int, offset: int, path: str, context: Any, cursor: Cursor | None
    ) -> None:
        if value not in self.legal:
            fail(self.reason, offset, path, f"{value} is none of {sorted(self.legal)}")

    def type_text(self) -> str:
        members = sorted(self.legal)
        ranged = f"{members[0]}..{members[-1]}"
        listed = ", ".join(f"0x{member:02x}" for member in members)
        gapless = members[-1] - members[0] + 1 == len(members)
        return f"{number_type(self.wire)}, {ranged if gapless else listed}"


class Flag(Number):
    """A byte that is 0 or 1; with `lenient` any other value means 0, and is preserved."""

    def __init__(self, means: str, *, lenient: bool = False, rule: str = "") -> None:
        super().__init__(Int8ub, means, rule=rule)
        self.lenient = lenient

    def check(
        self, value: int, offset: int, path: str, context: Any, cursor: Cursor | None
    ) -> None:
        if value > 1 and not self.lenient:
            fail("bad-flag", offset, path, f"{value} is neither 0 nor 1")

    def schema(self) -> dict[str, Any]:
        return super().schema() if self.lenient else {"enum": [0, 1]}

    def type_text(self) -> str:
        tail = "1 is yes, any other no" if self.lenient else "0 or 1"
        return f"{number_type(self.wire)}, {tail}"


class Count(Number):
    """Number of elements: at most the bytes left divided by the smallest element size (D-03)."""

    def __init__(self, wire: Wire, means: str, *, minimum_element: int, rule: str = "") -> None:
        super().__init__(wire, means, rule=rule)
        self.minimum_element = minimum_element

    def check(
        self, value: int, offset: int, path: str, context: Any, cursor: Cursor | None
    ) -> None:
        if cursor is not None and value > cursor.left() // self.minimum_element:
            fail("count-limit", offset, path, f"{value} elements do not fit {cursor.left()} bytes")

    def type_text(self) -> str:
        return f"{number_type(self.wire)}, at most what is left / {self.minimum_element}"


class Fixed(Block):
    """A fixed number of bytes; with `value`, exactly these bytes."""

    def __init__(
        self, size: int, means: str, *, value: bytes | None = None, reason: str = "", rule: str = ""
    ) -> None:
        super().__init__(means, rule=rule)
        self.size = size
        self.value = value
        self.reason = reason

    def _parse(self, stream: Any, context: Any, path: str) -> bytes:
        start = stream.tell()
        data: bytes = stream.take(self.size, path)
        if self.value is not None and data != self.value:
            fail(self.reason, start, path)
        self.note(stream, start, path, data)
        return data

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        if not isinstance(obj, bytes) or len(obj) != self.size:
            fail("bad-value", stream.tell(), path, f"not {self.size} bytes")
        if self.value is not None and obj != self.value:
            fail(self.reason, stream.tell(), path)
        stream.write(obj)
        return obj

    def to_json(self, obj: Any) -> Any:
        return obj.hex()

    def from_json(self, value: Any, path: str) -> Any:
        return bytes_from_json(value, path)

    def schema(self) -> dict[str, Any]:
        return hex_schema(self.size)

    def type_text(self) -> str:
        return "bytes" if self.value is None else f"bytes, always {self.value.hex(' ')}"

    def rows(self, name: str) -> list[Row]:
        return [Row(name, str(self.size), self.type_text(), self.meaning())]


class JsonText(Block):
    """A block whose JSON form is its text as it is."""

    def to_json(self, obj: Any) -> Any:
        return obj

    def from_json(self, value: Any, path: str) -> Any:
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "string"}


class Chars(JsonText, Fixed):
    """UTF-8 text of a fixed number of bytes, without a length before it."""

    def _parse(self, stream: Any, context: Any, path: str) -> Any:
        start = stream.tell()
        value = text_from_bytes(stream.take(self.size, path), start, path)
        self.note(stream, start, path, value)
        return value

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        data = bytes_from_text(obj, stream.tell(), path)
        super()._build(data, stream, context, path)
        return obj

    def type_text(self) -> str:
        return "UTF-8"


class Blob(Block):
    """Bytes with their length before them.

    A length over `ceiling` is refused before the content is read. `minimum` and `limit`, in bytes,
    are held by `acceptance`; decoding takes every length up to `ceiling`.
    """

    def __init__(
        self,
        length: Wire,
        means: str,
        *,
        ceiling: int | None = None,
        minimum: int = 0,
        limit: int | None = None,
        rule: str = "",
    ) -> None:
        super().__init__(means, rule=rule)
        # Only `accept` checks a minimum, with the limit; the page must not print another.
        assert limit is not None or not minimum, "a minimum needs the limit that accept holds"
        self.length = length
        self.ceiling = ceiling
        self.minimum = minimum
        self.limit = limit

    def _parse(self, stream: Any, context: Any, path: str) -> Any:
        size = self.parse_length(stream, path)
        start = stream.tell()
        value = self.value_of(stream.take(size, path), start, path)
        self.note(stream, start, path, value)
        return value

    def parse_length(self, stream: Cursor, path: str) -> int:
        """Read the length and refuse one over the ceiling."""
        start = stream.tell()
        size = int(self.length.parse(stream.take(self.length.length, f"{path}.length")))
        if self.ceiling is not None and size > self.ceiling:
            fail("length-limit", start, f"{path}.length", f"{size} > {self.ceiling}")
        if stream.annotates:
            where = field_path(path)
            stream.note(
                Span(start, self.length.length, f"{where}.length", size, number_type(self.length),
                     f"bytes of `{where}`", self.rule)
            )  # fmt: skip
        return size

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        data = self.bytes_of(obj, stream.tell(), path)
        ceiling = min(2 ** (8 * self.length.length) - 1, self.ceiling or 2**64)
        if len(data) > ceiling:
            fail("length-limit", stream.tell(), f"{path}.length", f"{len(data)} > {ceiling}")
        stream.write(self.length.build(len(data)))
        stream.write(data)
        return obj

    def value_of(self, data: bytes, start: int, path: str) -> Any:
        """Return the Python value of the content."""
        del start, path
        return data

    def bytes_of(self, obj: Any, offset: int, path: str) -> bytes:
        """Return the content of a Python value."""
        if not isinstance(obj, bytes):
            fail("bad-value", offset, path, "not bytes")
        return obj

    def to_json(self, obj: Any) -> Any:
        return obj.hex()

    def from_json(self, value: Any, path: str) -> Any:
        return bytes_from_json(value, path)

    def schema(self) -> dict[str, Any]:
        return hex_schema()

    def limits_text(self) -> str:
        """Return the limits that decode or accept keeps, each named, or nothing."""
        if self.limit is None:
            return span_text(self.minimum, self.ceiling)
        accepted = f"{span_text(self.minimum, self.limit)} (accept)"
        return ", ".join(filter(None, [span_text(0, self.ceiling), accepted]))

    def type_text(self) -> str:
        limits = self.limits_text()
        return f"bytes, {limits}" if limits else "bytes"

    def rows(self, name: str) -> list[Row]:
        size = str(self.length.length)
        return [
            Row(f"{name}.length", size, number_type(self.length), f"bytes of `{name}`"),
            Row(name, "n", self.type_text(), self.meaning()),
        ]


class Text(JsonText, Blob):
    """UTF-8 text with its length in bytes before it; limits of characters are `accept`'s."""

    def value_of(self, data: bytes, start: int, path: str) -> Any:
        return text_from_bytes(data, start, path)

    def bytes_of(self, obj: Any, offset: int, path: str) -> bytes:
        return bytes_from_text(obj, offset, path)

    def type_text(self) -> str:
        limits = self.limits_text()
        return f"UTF-8, {limits}" if limits else "UTF-8"


class Rest(Block):
    """Every byte left in the scope; with `is_text` a text, of at most `ceiling` bytes."""

    def __init__(
        self, means: str, *, is_text: bool = False, ceiling: int | None = None, rule: str = ""
    ) -> None:
        super().__init__(means, rule=rule)
        self.is_text = is_text
        self.ceiling = ceiling

    def _parse(self, stream: Any, context: Any, path: str) -> Any:
        start = stream.tell()
        if self.ceiling is not None and stream.left() > self.ceiling:
            fail("length-limit", start, path, f"{stream.left()} > {self.ceiling}")
        data = stream.read(stream.left())
        value = text_from_bytes(data, start, path) if self.is_text else data
        if data:
            self.note(stream, start, path, value)
        return value

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        if self.is_text:
            data = bytes_from_text(obj, stream.tell(), path)
        elif isinstance(obj, bytes):
            data = obj
        else:
            fail("bad-value", stream.tell(), path, "not bytes")
        if self.ceiling is not None and len(data) > self.ceiling:
            fail("length-limit", stream.tell(), path, f"{len(data)} > {self.ceiling}")
        stream.write(data)
        return obj

    def to_json(self, obj: Any) -> Any:
        return obj if self.is_text else obj.hex()

    def from_json(self, value: Any, path: str) -> Any:
        return value if self.is_text else bytes_from_json(value, path)

    def schema(self) -> dict[str, Any]:
        return {"type": "string"} if self.is_text else hex_schema()

    def type_text(self) -> str:
        limits = span_text(0, self.ceiling)
        return f"{'UTF-8' if self.is_text else 'bytes'}{', ' + limits if limits else ''}"


class Tolerated(Rest):
    """Bytes after a message that readers ignore and writers never add (D-04)."""

    def type_text(self) -> str:
        return "bytes, ignored"


class End(Block):
    """The end of a message: nothing may follow."""

    def __init__(self) -> None:
        super().__init__("end")

    def _parse(self, stream: Any, context: Any, path: str) -> None:
        if stream.left():
            reason_path = " -> ".join(path.split(" -> ")[:-1])
            fail("trailing-bytes", stream.tell(), reason_path, f"{stream.left()} bytes follow")

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        return None

    def rows(self, name: str) -> list[Row]:
        return []

    def type_text(self) -> str:
        return ""


def hex_schema(size: int | None = None) -> dict[str, Any]:
    """Return the JSON Schema of bytes as lower-case hex: `size` bytes, or any number."""
    digits = "([0-9a-f]{2})*" if size is None else f"[0-9a-f]{{{2 * size}}}"
    return {"type": "string", "pattern": f"^{digits}$"}


def bytes_from_json(value: Any, path: str) -> bytes:
    """Return the bytes of lower-case hex; raises `Malformed` bad-value."""
    try:
        data = bytes.fromhex(value)
    except (TypeError, ValueError):
        fail("bad-value", 0, path, "not hex")
    if data.hex() != value:
        fail("bad-value", 0, path, "not lower-case hex without spaces")
    return data


def text_from_bytes(data: bytes, offset: int, path: str) -> str:
    """Return the text of strict UTF-8; raises `Malformed` bad-utf8."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise Malformed("bad-utf8", offset, field_path(path)) from exc


def bytes_from_text(value: Any, offset: int, path: str) -> bytes:
    """Return the UTF-8 of a text; raises `Malformed` for lone surrogates and other types."""
    if not isinstance(value, str):
        fail("bad-value", offset, path, "not a text")
    try:
        return value.encode("utf-8")
    except UnicodeEncodeError as exc:
        raise Malformed("bad-utf8", offset, field_path(path)) from exc


def blocks_of(struct: Struct) -> list[tuple[str, Block]]:
    """Return the named blocks of a layout in wire order, without the closing one."""
    pairs: list[tuple[str, Block]] = []
    for renamed in struct.subcons:
        block = cast("Renamed[Any, Any]", renamed).subcon
        if not isinstance(block, End):
            pairs.append((str(renamed.name), cast("Block", block)))
    return pairs


def struct_of(blocks: dict[str, Block]) -> Struct:
    """Return a construct Struct of named blocks, in the order given."""
    return Struct(*(Renamed(block, newname=name) for name, block in blocks.items()))
