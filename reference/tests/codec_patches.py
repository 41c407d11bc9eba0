"""Ways to break the codec inside a running process; nothing of it is changed on disk.

Each function returns a plant: called once, before the harness serves, it leaves one mistake in
the codec. Most mistakes are the same in both directions, so that a codec which only reads back
what it has written would never notice. A mistake of one kind acts while that kind is decoded or
encoded and leaves the other kinds alone.
"""

import re
import sys
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from struct import Struct
from typing import Any

from meshwire_spec import numbers

Plant = Callable[[], None]
Change = Callable[[Any], Any]

WIRE = "meshwire_reference.wire"
JSON_SIDE = ("kinds", "shapes", "values")
U64 = 8
NO_LIMIT = 2**31
INDEX = re.compile(r"\[\d+\]")


def wire(module: str) -> Any:
    """A module of the codec, loaded only now: what moves a number comes before."""
    package = "meshwire_reference.harness" if module in JSON_SIDE else WIRE
    return import_module(f"{package}.{module}")


# --- Numbers and names ---------------------------------------------------------------------


def moved(constant: str, by: int) -> Plant:
    """A limit of `numbers` that is off by so much, as every module of the codec reads it."""

    def plant() -> None:
        assert f"{WIRE}.cursor" not in sys.modules
        setattr(numbers, constant, getattr(numbers, constant) + by)

    return plant


def dropped(constant: str) -> Plant:
    """A limit that nothing reaches."""
    return moved(constant, NO_LIMIT)


def named(module: str, name: str, value: Any) -> Plant:
    """A global of a module of the codec that is something else; builtins can be shadowed too."""

    def plant() -> None:
        setattr(wire(module), name, value)

    return plant


def both(*plants: Plant) -> Plant:
    """Several plants that make one mistake together."""

    def plant() -> None:
        for each in plants:
            each()

    return plant


# --- Whole messages ------------------------------------------------------------------------


def message(kind: str, decoded: Change | None = None, encoded: Change | None = None) -> Plant:
    """A kind whose messages are changed after decoding and before encoding."""

    def plant() -> None:
        row = wire("kinds").KINDS[kind]

        def decode(data: bytes) -> Any:
            found = row.decode(data)
            return decoded(found) if decoded else found

        def encode(content: Any) -> bytes:
            return bytes(row.encode(encoded(content) if encoded else content))

        wire("kinds").KINDS[kind] = replace(row, decode=decode, encode=encode)

    return plant


def member(kind: str, path: str, forth: Change, back: Change | None = None) -> Plant:
    """One field of a kind that is changed on reading, and changed back on writing."""
    steps = path.split(".")
    return message(kind, _inside(steps, forth), _inside(steps, back or forth))


def _inside(steps: list[str], change: Change) -> Change:
    """The change of a message that changes what stands at a path, where it has one."""
    if not steps:
        return change
    name, inner = steps[0], _inside(steps[1:], change)

    def changed(part: Any) -> Any:
        if isinstance(part, tuple):
            return tuple(changed(element) for element in part)
        value = getattr(part, name, None)
        return part if value is None else replace(part, **{name: _each(value, inner)})

    return changed


def _each(value: Any, change: Change) -> Any:
    return (
        tuple(change(element) for element in value) if isinstance(value, tuple) else change(value)
    )


def swapped(kind: str, one: str, other: str, at: str = "") -> Plant:
    """Two fields that are taken for each other, in both directions."""

    def swap(part: Any) -> Any:
        if not hasattr(part, one) or not hasattr(part, other):
            return part
        return replace(part, **{one: getattr(part, other), other: getattr(part, one)})

    change = _inside(at.split("."), swap) if at else swap
    return message(kind, change, change)


def other_order(number: int) -> int:
    """A 64-bit number read in the other byte order."""
    return int.from_bytes(number.to_bytes(U64, "big"), "little")


def as_double(number: int) -> int:
    """A number that went through a 64-bit float."""
    return int(float(number))


def as_signed(number: int) -> int:
    """A 64-bit number read with a sign."""
    return number - (number >> (8 * U64 - 1) << (8 * U64))


def backwards(content: bytes) -> bytes:
    """Bytes from their end."""
    return content[::-1]


def without_extra(kind: str) -> Plant:
    """A kind that refuses the bytes behind its last field."""

    def refuse(found: Any) -> Any:
        if found.extra:
            raise wire("errors").Malformed("trailing-bytes", None, "extra")
        return found

    return message(kind, refuse)


# --- Fields as they are read and written ---------------------------------------------------


def while_coding(
    kind: str, read: dict[str, Callable[..., Any]], written: dict[str, Callable[..., Any]]
) -> Plant:
    """Methods of Reader and Writer that are others while one kind is decoded or encoded.

    Each gets the original method first, then its arguments.
    """

    def plant() -> None:
        cursor = wire("cursor")
        row = wire("kinds").KINDS[kind]

        def decode(data: bytes) -> Any:
            with _patched(cursor.Reader, read):
                return row.decode(data)

        def encode(content: Any) -> bytes:
            with _patched(cursor.Writer, written):
                return bytes(row.encode(content))

        wire("kinds").KINDS[kind] = replace(row, decode=decode, encode=encode)

    return plant


@contextmanager
def _patched(owner: type, methods: dict[str, Callable[..., Any]]) -> Iterator[None]:
    originals = {name: getattr(owner, name) for name in methods}
    for name, method in methods.items():
        setattr(owner, name, _bound(method, originals[name]))
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(owner, name, original)


def _bound(method: Callable[..., Any], original: Callable[..., Any]) -> Callable[..., Any]:
    def call(self: Any, *arguments: Any) -> Any:
        return method(original, self, *arguments)

    return call


def _turned(layout: Struct) -> Struct:
    order, letters = layout.format[0], layout.format[1:]
    return Struct(("<" if order == ">" else ">") + letters)


def _generic(name: str) -> str:
    """A field path without the indices of elements."""
    return INDEX.sub("[]", name)


def order(kind: str, field: str) -> Plant:
    """An integer field in the other byte order, in both directions."""

    def read(original: Callable[..., Any], self: Any, layout: Struct, name: str) -> Any:
        return original(self, _turned(layout) if _generic(name) == field else layout, name)

    def write(
        original: Callable[..., Any], self: Any, layout: Struct, number: int, name: str
    ) -> Any:
        return original(self, _turned(layout) if _generic(name) == field else layout, number, name)

    return while_coding(kind, {"number": read}, {"number": write})


def text(kind: str, field: str, decode: Callable[[bytes], str]) -> Plant:
    """A text field whose bytes become characters in another way."""

    def read(original: Callable[..., Any], self: Any, size: int, name: str) -> Any:
        return decode(self.fixed(size, name)) if name == field else original(self, size, name)

    return while_coding(kind, {"fixed_text": read}, {})


def replacing(content: bytes) -> str:
    """Text with a mark in the place of what is no UTF-8."""
    return content.decode(errors="replace")


def with_surrogates(content: bytes) -> str:
    """Text that may hold halves of a UTF-16 pair."""
    return content.decode(errors="surrogatepass")


def any_single_byte(content: bytes) -> str:
    """Text read byte by byte as Latin-1."""
    return content.decode("latin-1")


def listed(kind: str, field: str, allowed: Container[int], taken_for: int | None = None) -> Plant:
    """A field that takes other values; one that its registry lacks is taken for another."""

    def read(
        original: Callable[..., Any],
        self: Any,
        layout: Struct,
        right: Container[int],
        reason: str,
        name: str,
    ) -> Any:
        if name != field:
            return original(self, layout, right, reason, name)
        value = original(self, layout, allowed, reason, name)
        return value if value in right or taken_for is None else taken_for

    return while_coding(kind, {"listed": read}, {})


def not_closed(kind: str, *, outer: bool = True, inner: bool = True) -> Plant:
    """Bytes behind the last field that nobody looks for: of the message, of what it holds."""

    def read(original: Callable[..., Any], self: Any) -> Any:
        if not (inner if self.path else outer):
            original(self)

    return while_coding(kind, {"close": read}, {})


def cut_short(kind: str, field: str) -> Plant:
    """Fixed bytes that are taken as far as they go, and filled up with zeros."""

    def read(original: Callable[..., Any], self: Any, size: int, name: str) -> Any:
        there = min(size, self.remaining()) if name == field else size
        return bytes(original(self, there, name)).ljust(size, b"\0")

    return while_coding(kind, {"fixed": read}, {})


# --- What is refused although it decodes ---------------------------------------------------


def accepting(kind: str, is_let_through: Callable[[Any, str], bool]) -> Plant:
    """A kind that lets some messages through although they are refused for a reason."""

    def plant() -> None:
        rules = wire("accept").ACCEPT
        rule = rules[kind]

        def accept(content: Any) -> str | None:
            reason = rule(content)
            return None if reason is not None and is_let_through(content, reason) else reason

        rules[kind] = accept

    return plant


def counting_characters(kind: str, field: str, maximum: int) -> Plant:
    """A length limit held against characters instead of bytes."""

    def fits(content: Any, reason: str) -> bool:
        text = getattr(content, field)
        return reason == "length-limit" and len(text) <= maximum < len(text.encode())

    return accepting(kind, fits)


def taking_empty(kind: str, field: str) -> Plant:
    """A text that may be empty where it must not."""
    return accepting(kind, lambda content, _reason: not getattr(content, field))


def counting_decoded_characters(kind: str, constant: str, texts: Change) -> Plant:
    """The same for a limit that decoding keeps; `texts` gives the text it limits, or None."""
    maximum = getattr(numbers, constant)

    def check(content: Any) -> Any:
        found = texts(content)
        if found is not None and len(found) > maximum:
            raise wire("errors").Malformed("length-limit", None, "")
        return content

    return both(dropped(constant), message(kind, check))
