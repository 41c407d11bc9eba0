"""Blocks made of other blocks: nested messages, counted elements, tagged bodies, ranges."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from construct import Container

from meshwire_spec.cursor import Cursor, Span, field_path
from meshwire_spec.errors import Malformed
from meshwire_spec.fields import (
    Block,
    End,
    Int32ub,
    Row,
    Tolerated,
    blocks_of,
    bytes_from_json,
    fail,
    number_type,
    struct_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from construct import Struct

    from meshwire_spec.fields import Wire


@dataclass(frozen=True, slots=True)
class Frame:
    """A length before a whole message; the JSON form omits it, because it is derived."""

    wire: Wire
    minimum: int
    maximum: int


@dataclass(frozen=True, slots=True)
class Layout:
    """One message kind: its named blocks in wire order.

    A layout ends closed unless its last block takes what is left.
    """

    kind: str
    title: str
    blocks: dict[str, Block]
    frame: Frame | None = None
    opened: Struct = field(init=False, repr=False, compare=False)
    closed: Struct = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        takes_rest = isinstance(list(self.blocks.values())[-1], Tolerated)
        ends = {} if takes_rest else {"end": End()}
        object.__setattr__(self, "opened", struct_of(self.blocks))
        object.__setattr__(self, "closed", struct_of({**self.blocks, **ends}))

    def parse(self, cursor: Cursor, path: str, *, closed: bool = True) -> dict[str, Any]:
        """Read one message; an open one may be followed by others in the same scope."""
        if self.frame is not None:
            return self._parse_framed(self.frame, cursor, path)
        return self._parse_blocks(cursor, path, closed=closed)

    def _parse_framed(self, frame: Frame, cursor: Cursor, path: str) -> dict[str, Any]:
        size = parse_size(cursor, frame.wire, path, frame.maximum, frame.minimum)
        with scope(cursor, size, f"{path} -> length"):
            parsed = self._parse_blocks(cursor, path, closed=True)
        if cursor.left():
            fail("trailing-bytes", cursor.tell(), path, f"{cursor.left()} bytes follow")
        return parsed

    def _parse_blocks(self, cursor: Cursor, path: str, *, closed: bool) -> dict[str, Any]:
        struct = self.closed if closed else self.opened
        parsed = struct._parsereport(cursor, _CONTEXT, path)  # noqa: SLF001 - the doorway
        return {name: parsed[name] for name in self.blocks}

    def build(self, value: Any, cursor: Cursor, path: str) -> None:
        """Write one message; members must be exactly those of the layout."""
        if not isinstance(value, dict) or value.keys() != self.blocks.keys():
            fail("bad-value", cursor.tell(), path, f"members must be {', '.join(self.blocks)}")
        if self.frame is None:
            self.opened._build(value, cursor, _CONTEXT, path)  # noqa: SLF001 - the doorway
        else:
            with _apart(cursor, self.frame.wire) as inner:
                self.opened._build(value, inner, _CONTEXT, path)  # noqa: SLF001 - as above
            data = inner.getvalue()
            if not self.frame.minimum <= len(data) <= self.frame.maximum:
                fail("length-limit", cursor.tell(), f"{path} -> length", f"{len(data)} bytes")
            cursor.write(self.frame.wire.build(len(data)) + data)

    def to_json(self, obj: Any) -> dict[str, Any]:
        """Return the JSON form of a parsed message."""
        return {name: block.to_json(obj[name]) for name, block in self.blocks.items()}

    def from_json(self, value: Any, path: str) -> dict[str, Any]:
        """Return the message of a JSON form; raises `Malformed` bad-value."""
        if not isinstance(value, dict) or value.keys() != self.blocks.keys():
            fail("bad-value", 0, path, f"members must be {', '.join(self.blocks)}")
        return {
            name: block.from_json(value[name], f"{path} -> {name}")
            for name, block in self.blocks.items()
        }

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the value: exactly these members."""
        return {
            "type": "object",
            "required": list(self.blocks),
            "additionalProperties": False,
            "properties": {name: block.schema() for name, block in self.blocks.items()},
        }

    @property
    def fields(self) -> list[tuple[str, Block]]:
        """Named blocks in wire order."""
        return blocks_of(self.opened)


def value_of_kind(kind: str) -> dict[str, Any]:
    """Return a JSON Schema that refers to the value of a kind in `harness.json`."""
    return {"$ref": f"#/$defs/values/{kind}"}


_CONTEXT: Any = Container(_parsing=True, _building=True, _sizing=False, _params=None, _root=None)
"""The outermost context, which nothing changes. Without `_root` each inner one would refer to
itself, and every message would be garbage that only the collector finds."""


@contextmanager
def scope(cursor: Cursor, size: int, path: str) -> Iterator[None]:
    """Narrow the cursor to the next `size` bytes; raises `Malformed` truncated."""
    if cursor.left() < size:
        fail("truncated", cursor.tell(), path)
    outer, cursor.end = cursor.end, cursor.tell() + size
    try:
        yield
    finally:
        cursor.end = outer


@contextmanager
def _apart(cursor: Cursor, length: Wire | None) -> Iterator[Cursor]:
    """Yield a cursor for a message that is written here after its length, if it has one.

    The offset of a fault in it is counted from the start of the outer message.
    """
    try:
        yield Cursor()
    except Malformed as fault:
        raise fault.behind(cursor.tell() + (0 if length is None else length.length)) from fault


def parse_size(cursor: Cursor, wire: Wire, path: str, ceiling: int | None, low: int = 0) -> int:
    """Read a length field and refuse one outside its limits."""
    start = cursor.tell()
    where = f"{path}.length" if field_path(path) else f"{path} -> length"
    size = int(wire.parse(cursor.take(wire.length, where)))
    if size < low or (ceiling is not None and size > ceiling):
        fail("length-limit", start, where, f"{size} is not {low}..{ceiling}")
    if cursor.annotates:
        means = f"bytes of `{field_path(path)}`" if field_path(path) else "bytes that follow"
        cursor.note(Span(start, wire.length, field_path(where), size, number_type(wire), means))
    return size


class Nested(Block):
    """A message inside another; with `length` it must fill exactly that number of bytes."""

    def __init__(
        self,
        layout: Layout,
        means: str,
        *,
        length: Wire | None = None,
        minimum: int = 0,
        ceiling: int | None = None,
        rule: str = "",
    ) -> None:
        super().__init__(means, rule=rule)
        self.layout = layout
        self.length = length
        self.minimum = minimum
        self.ceiling = ceiling

    def _parse(self, stream: Any, context: Any, path: str) -> Any:
        if self.length is None:
            return self.layout.parse(stream, path, closed=False)
        size = parse_size(stream, self.length, path, self.ceiling, self.minimum)
        with scope(stream, size, path):
            return self.layout.parse(stream, path)

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        with _apart(stream, self.length) as inner:
            self.layout.build(obj, inner, path)
        data = inner.getvalue()
        if self.length is not None:
            ceiling = min(2 ** (8 * self.length.length) - 1, self.ceiling or 2**64)
            if not self.minimum <= len(data) <= ceiling:
                fail("length-limit", stream.tell(), f"{path}.length", f"{len(data)} > {ceiling}")
            stream.write(self.length.build(len(data)))
        stream.write(data)
        return obj

    def to_json(self, obj: Any) -> Any:
        return self.layout.to_json(obj)

    def from_json(self, value: Any, path: str) -> Any:
        return self.layout.from_json(value, path)

    def schema(self) -> dict[str, Any]:
        return value_of_kind(self.layout.kind)

    def type_text(self) -> str:
        return self.layout.kind

    def rows(self, name: str) -> list[Row]:
        own = Row(name, "n", self.type_text(), self.meaning())
        if self.length is None:
            return [own]
        bounded = f", {self.minimum}..{self.ceiling}"
        limits = bounded if self.ceiling is not None or self.minimum else ""
        kind = f"{number_type(self.length)}{limits}"
        return [Row(f"{name}.length", str(self.length.length), kind, f"bytes of `{name}`"), own]


class When(Block):
    """A block that is present only if a flag before it is 1; absent is None."""

    def __init__(self, flag: str, block: Block) -> None:
        super().__init__(block.means, rule=block.rule)
        self.flag = flag
        self.block = block

    def _parse(self, stream: Any, context: Any, path: str) -> Any:
        if context[self.flag] != 1:
            return None
        return self.block._parse(stream, context, path)  # noqa: SLF001 - construct's own protocol

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        if (obj is None) == (context[self.flag] == 1):
            fail("bad-value", stream.tell(), path, f"must be there exactly when {self.flag} is 1")
        if obj is not None:
            self.block._build(obj, stream, context, path)  # noqa: SLF001 - construct's own protocol
        return obj

    def to_json(self, obj: Any) -> Any:
        return None if obj is None else self.block.to_json(obj)

    def from_json(self, value: Any, path: str) -> Any:
        return None if value is None else self.block.from_json(value, path)

    def schema(self) -> dict[str, Any]:
        return {"oneOf": [{"type": "null"}, self.block.schema()]}

    def type_text(self) -> str:
        return self.block.type_text()

    def rows(self, name: str) -> list[Row]:
        note = f", if `{self.flag}` is 1"
        return [Row(r.field, r.size, r.type + note, r.means) for r in self.block.rows(name)]


class Elements(Block):
    """The number of elements that a count before them gives.

    With `length`, each element has its length before it and its own scope.
    """

    def __init__(
        self,
        count: str,
        layout: Layout,
        means: str,
        *,
        length: Wire | None = None,
        rule: str = "",
    ) -> None:
        super().__init__(means, rule=rule)
        self.count = count
        self.layout = layout
        self.length = length

    def _parse(self, stream: Any, context: Any, path: str) -> list[Any]:
        element = Nested(self.layout, self.means, length=self.length)
        elements: list[Any] = []
        for index in range(context[self.count]):
            start = stream.tell()
            scope_end = stream.end
            try:
                elements.append(element._parse(stream, context, f"{path}[{index}]"))  # noqa: SLF001
            except Malformed as exc:
                if not elements:
                    raise
                stream.end = scope_end
                rest = stream.data[start:scope_end]
                stream.fault = {"reason": exc.reason, "offset": start, "rest": rest}
                stream.seek(scope_end)
                break
        return elements

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        if not isinstance(obj, list) or len(obj) > context[self.count]:
            fail("bad-value", stream.tell(), path, f"not a list of at most {self.count}")
        if (context["fault"] is None) != (len(obj) == context[self.count]):
            fail("bad-value", stream.tell(), path, f"{self.count} does not agree with the fault")
        element = Nested(self.layout, self.means, length=self.length)
        for index, item in enumerate(obj):
            element._build(item, stream, context, f"{path}[{index}]")  # noqa: SLF001 - as above
        return obj

    def to_json(self, obj: Any) -> Any:
        return [self.layout.to_json(item) for item in obj]

    def from_json(self, value: Any, path: str) -> Any:
        if not isinstance(value, list):
            fail("bad-value", 0, path, "not a list")
        return [self.layout.from_json(v, f"{path}[{i}]") for i, v in enumerate(value)]

    def schema(self) -> dict[str, Any]:
        return {"type": "array", "items": value_of_kind(self.layout.kind)}

    def type_text(self) -> str:
        prefix = f"{number_type(self.length)} length, then " if self.length else ""
        return f"`{self.count}` x ({prefix}{self.layout.kind})"


class Fault(Block):
    """The fault that ended the elements: reason, offset and the bytes from there; not a field."""

    def _parse(self, stream: Any, context: Any, path: str) -> Any:
        fault, stream.fault = stream.fault, None
        if fault is not None and stream.annotates:
            where = field_path(path)
            value = {**fault, "rest": fault["rest"].hex()}
            span = Span(fault["offset"], len(fault["rest"]), where, value, "bytes", self.means)
            stream.note(span)
        return fault

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        if obj is not None:
            stream.write(obj["rest"])
        return obj

    def to_json(self, obj: Any) -> Any:
        return None if obj is None else {**obj, "rest": obj["rest"].hex()}

    def from_json(self, value: Any, path: str) -> Any:
        if value is None:
            return None
        if not isinstance(value, dict) or value.keys() != {"reason", "offset", "rest"}:
            fail("bad-value", 0, path, "members must be reason, offset, rest")
        return {**value, "rest": bytes_from_json(value["rest"], path)}

    def schema(self) -> dict[str, Any]:
        return {"$ref": "#/$defs/fault"}

    def type_text(self) -> str:
        return "bytes"

    def rows(self, name: str) -> list[Row]:
        kind = "bytes from the first malformed element on"
        return [Row(name, "0 or n", kind, self.meaning())]


class Body(Block):
    """A length, then the members that the preceding type byte determines."""

    def __init__(
        self, tag: str, cases: dict[int, Layout], means: str, *, ceiling: int, rule: str = ""
    ) -> None:
        super().__init__(means, rule=rule)
        self.tag = tag
        self.cases = cases
        self.ceiling = ceiling

    def _parse(self, stream: Any, context: Any, path: str) -> Any:
        size = parse_size(stream, Int32ub, path, self.ceiling)
        with scope(stream, size, path):
            return self.cases[context[self.tag]].parse(stream, path)

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        layout = self.cases[context[self.tag]]
        block = Nested(layout, self.means, length=Int32ub, ceiling=self.ceiling)
        block._build(obj, stream, context, path)  # noqa: SLF001 - construct's own protocol
        return obj

    def to_json(self, obj: Any) -> Any:
        layout = next(c for c in self.cases.values() if c.blocks.keys() == obj.keys())
        return layout.to_json(obj)

    def from_json(self, value: Any, path: str) -> Any:
        members = value.keys() if isinstance(value, dict) else None
        for layout in self.cases.values():
            if layout.blocks.keys() == members:
                return layout.from_json(value, path)
        return fail("bad-value", 0, path, "members fit no type")

    def schema(self) -> dict[str, Any]:
        shapes: list[dict[str, Any]] = []
        for layout in self.cases.values():
            if layout.schema() not in shapes:
                shapes.append(layout.schema())
        return {"oneOf": shapes}

    def type_text(self) -> str:
        return f"by `{self.tag}`"

    def rows(self, name: str) -> list[Row]:
        limit = f"{number_type(Int32ub)}, at most {self.ceiling}"
        return [
            Row(f"{name}.length", "4", limit, f"bytes of `{name}`"),
            Row(name, "n", self.type_text(), self.meaning()),
        ]


__all__ = ["Body", "Elements", "Fault", "Frame", "Layout", "Nested", "When", "parse_size", "scope"]
