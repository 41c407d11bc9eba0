"""Typical mistakes of a codec: what each says of a field, and how it changes a block of a layout.

`planting` puts them into the layouts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from meshwire_spec.cursor import Cursor, field_path
from meshwire_spec.errors import Malformed
from meshwire_spec.fields import (
    Blob,
    Chars,
    Choice,
    Constant,
    End,
    Fixed,
    Flag,
    Int16ub,
    Int16ul,
    Int32ub,
    Int32ul,
    Int64ub,
    Int64ul,
    Number,
    Rest,
    Text,
    Tolerated,
)
from meshwire_spec.layouts.reconciliation import CONTINUES, VARINT_BITS
from meshwire_spec.numbers import U64_MAX

BOM = "\ufeff"
DOUBLE_BYTES = 8
"""Bytes of a number that a floating-point number cannot hold."""
OTHER_ORDER = {
    one.fmtstr: other
    for one, other in (
        (Int16ub, Int16ul), (Int16ul, Int16ub), (Int32ub, Int32ul), (Int32ul, Int32ub),
        (Int64ub, Int64ul), (Int64ul, Int64ub),
    )
}  # fmt: skip
"""Each number type of more than one byte with the same one in the other byte order."""

Patches = Mapping[str, Any]
"""Attributes of a block with the values that a mistake gives them."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One kind of mistake: what it says of a field and of all fields, and how it changes a block.

    `plant` returns the attributes to replace in a block, or None if the mistake does not apply to
    it. With `of_length` the field at fault is the length before the block.
    """

    name: str
    says: str
    everywhere: str
    plant: Callable[[Any], Patches | None]
    of_length: bool = False

    @property
    def is_order(self) -> bool:
        """True if the mistake is the other byte order."""
        return self.name == LENGTH_ORDER.name


def _other_order(attribute: str) -> Callable[[Any], Patches | None]:
    def plant(block: Any) -> Patches | None:
        wire = getattr(block, attribute, None)
        other = OTHER_ORDER.get(getattr(wire, "fmtstr", ""))
        return None if other is None else {attribute: other}

    return plant


def _off_by(step: int) -> Callable[[Any], Patches | None]:
    def plant(block: Any) -> Patches | None:
        if not isinstance(block, Blob):
            return None
        read = block.parse_length

        def parse_length(stream: Cursor, path: str) -> int:
            return max(0, read(stream, path) + step)

        return {"parse_length": parse_length}

    return plant


def _signed(block: Any) -> Patches | None:
    if not isinstance(block, Number):
        return None

    class Signed:
        length = block.wire.length
        fmtstr = block.wire.fmtstr

        @staticmethod
        def parse(data: bytes) -> int:
            is_little = block.wire.fmtstr[0] == "<"
            return int.from_bytes(data[::-1] if is_little else data, "big", signed=True)

        build = block.wire.build

    return {"wire": Signed()}


def _characters(block: Any) -> Patches | None:
    """Return a length that counts characters where it should count bytes."""
    if not isinstance(block, Text):
        return None
    read = block.parse_length

    def parse_length(stream: Cursor, path: str) -> int:
        count = read(stream, path)
        rest = stream.data[stream.tell() : stream.end].decode("utf-8", "ignore")
        return len(rest[:count].encode())

    def build(obj: Any, stream: Any, context: Any, path: str) -> Any:
        data = block.bytes_of(obj, stream.tell(), path)
        stream.write(block.length.build(len(obj)) + data)
        return obj

    return {"parse_length": parse_length, "_build": build}


def _text_read_by(read: Callable[[bytes], str]) -> Callable[[Any], Patches | None]:
    def plant(block: Any) -> Patches | None:
        if not isinstance(block, Text):
            return None
        return {"value_of": lambda data, _start, _path: read(data)}

    return plant


def _with_surrogates(data: bytes) -> str:
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as exc:
        raise Malformed("bad-utf8", 0, "") from exc


def _double(block: Any) -> Patches | None:
    if not isinstance(block, Number) or block.wire.length < DOUBLE_BYTES:
        return None
    return {
        "to_json": lambda value: str(int(float(value))),
        "from_json": lambda value, _path: min(int(float(value)), block.maximum),
    }


def _backwards(block: Any) -> Patches | None:
    if not isinstance(block, Fixed) or isinstance(block, Chars) or block.value is not None:
        return None

    def parse(stream: Any, context: Any, path: str) -> bytes:
        del context
        found: bytes = stream.take(block.size, path)
        return found[::-1]

    def build(obj: Any, stream: Any, context: Any, path: str) -> Any:
        del context, path
        stream.write(obj[::-1])
        return obj

    return {"_parse": parse, "_build": build}


def _extra_refused(block: Any) -> Patches | None:
    if not isinstance(block, Tolerated):
        return None
    read = block._parse  # noqa: SLF001 - construct's own protocol

    def parse(stream: Any, context: Any, path: str) -> Any:
        if stream.left():
            raise Malformed("trailing-bytes", stream.tell(), field_path(path))
        return read(stream, context, path)

    return {"_parse": parse}


def _strict_without_bom(data: bytes) -> str:
    try:
        return data.decode("utf-8").removeprefix(BOM)
    except UnicodeDecodeError as exc:
        raise Malformed("bad-utf8", 0, "") from exc


def _unchecked(block: Any) -> Patches | None:
    if isinstance(block, Choice | Constant) or (isinstance(block, Flag) and not block.lenient):
        return {"check": lambda *_: None}
    return {"value": None} if isinstance(block, Fixed) and block.value is not None else None


def _unlimited(block: Any) -> Patches | None:
    limited = isinstance(block, Blob | Rest) and block.ceiling is not None
    return {"ceiling": None} if limited else None


def _open_end(block: Any) -> Patches | None:
    return {"_parse": lambda *_: None} if isinstance(block, End) else None


LENGTH_ORDER = Mistake(
    "other-byte-order",
    "{} is read in the other byte order",
    "{} are read in the other byte order",
    _other_order("length"),
    of_length=True,
)
MISTAKES = (
    LENGTH_ORDER,
    replace(LENGTH_ORDER, plant=_other_order("wire"), of_length=False),
    Mistake(
        "one-too-many",
        "{} is taken for one more than it is",
        "lengths are taken for one more than they are",
        _off_by(1),
        of_length=True,
    ),
    Mistake(
        "one-too-few",
        "{} is taken for one less than it is",
        "lengths are taken for one less than they are",
        _off_by(-1),
        of_length=True,
    ),
    Mistake("signed", "{} is read as a signed number", "numbers are read as signed", _signed),
    Mistake(
        "characters",
        "{} counts characters instead of bytes",
        "lengths of texts count characters instead of bytes",
        _characters,
        of_length=True,
    ),
    Mistake(
        "bom-dropped",
        "a U+FEFF at the start of {} is dropped",
        "a U+FEFF at the start of a text is dropped",
        _text_read_by(_strict_without_bom),
    ),
    Mistake(
        "bad-utf8-replaced",
        "bytes of {} that are not UTF-8 are replaced instead of refused",
        "bytes that are not UTF-8 are replaced instead of refused",
        _text_read_by(lambda data: data.decode("utf-8", "replace")),
    ),
    Mistake(
        "latin-1",
        "{} is read as Latin-1 instead of UTF-8",
        "texts are read as Latin-1 instead of UTF-8",
        _text_read_by(lambda data: data.decode("latin-1")),
    ),
    Mistake(
        "surrogates",
        "half a surrogate pair is taken in {}",
        "half a surrogate pair is taken in a text",
        _text_read_by(_with_surrogates),
    ),
    Mistake(
        "double",
        "{} is held as a floating-point number, which loses its last digits",
        "64-bit numbers are held as floating-point numbers, which loses their last digits",
        _double,
    ),
    Mistake(
        "backwards",
        "the bytes of {} are in reverse order",
        "byte strings of fixed size are in reverse order",
        _backwards,
    ),
    Mistake(
        "extra-refused",
        "bytes after the last field, {}, are refused instead of ignored",
        "bytes after the last field are refused instead of ignored",
        _extra_refused,
    ),
    Mistake(
        "bad-utf8-dropped",
        "bytes of {} that are not UTF-8 are dropped instead of refused",
        "bytes that are not UTF-8 are dropped instead of refused",
        _text_read_by(lambda data: data.decode("utf-8", "ignore")),
    ),
    Mistake("unchecked", "any value of {} is taken", "values are not checked", _unchecked),
    Mistake(
        "unlimited",
        "{} has no upper limit",
        "lengths have no upper limit",
        _unlimited,
        of_length=True,
    ),
    Mistake(
        "trailing-ignored",
        "bytes after the end of {} are ignored",
        "bytes after the end of a message are ignored",
        _open_end,
    ),
)
"""Mistakes in one field, the most frequent ones first."""


def lax_varint(cursor: Cursor, path: str) -> int:
    """Read a varint that may have a leading zero digit."""
    value = 0
    while True:
        if not cursor.left():
            raise Malformed("truncated", cursor.tell(), field_path(path))
        byte = cursor.take(1, path)[0]
        value = value << VARINT_BITS | byte & ~CONTINUES
        if byte < CONTINUES:
            return value


def low_group_first(cursor: Cursor, path: str) -> int:
    """Read a varint with its least significant group first."""
    value = shift = 0
    while True:
        byte = cursor.take(1, path)[0]
        value |= (byte & ~CONTINUES) << shift
        shift += VARINT_BITS
        if value > U64_MAX:
            raise Malformed("bad-varint", cursor.tell(), field_path(path))
        if byte < CONTINUES:
            return value


def build_low_group_first(value: int) -> bytes:
    """Return the bytes of a varint with its least significant group first."""
    groups = bytearray()
    while value >= CONTINUES:
        groups.append(value & ~CONTINUES & 0xFF | CONTINUES)
        value >>= VARINT_BITS
    return bytes([*groups, value])
