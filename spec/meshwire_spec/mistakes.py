"""Typical mistakes of a codec: what each says of a field, and how it changes a block of a layout.

Each changes how a block is read, how it is written, or both; `planting` puts them into the layouts.
"""

# Longer than 500 lines: each mistake is next to what it plants, and all are one table.

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

BOM = "\ufeff"
DOUBLE_BYTES = 8
"""Bytes of a number that a floating-point number cannot hold."""
UNSAID = "unsaid"
"""Reason of a failure that no codec foresees: what an adapter says of it differs."""
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
    it. With `of_length` the field at fault is the length before the block. The texts have `verb`
    where they differ between reading and writing, and `width` where fields of one width alone may
    have the mistake.
    """

    name: str
    says: str
    everywhere: str
    plant: Callable[[Any], Patches | None]
    of_length: bool = False

    @property
    def has_width(self) -> bool:
        """True if a codec may make the mistake in all fields of one width."""
        return "{width}" in self.everywhere


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

        return {
            "parse_length": parse_length,
            "_build": _built(block, lambda _obj, data: (max(0, len(data) + step), data)),
        }

    return plant


def _built(block: Any, change: Callable[[Any, bytes], tuple[int, bytes]]) -> Callable[..., Any]:
    """Return a `_build` that writes another length or content than those of the value."""
    largest = 2 ** (8 * block.length.length) - 1

    def build(obj: Any, stream: Any, context: Any, path: str) -> Any:
        del context
        size, data = change(obj, block.bytes_of(obj, stream.tell(), path))
        if size > min(largest, block.ceiling or largest):
            raise Malformed("length-limit", stream.tell(), field_path(path))
        stream.write(block.length.build(size) + data)
        return obj

    return build


def _signed(block: Any) -> Patches | None:
    if not isinstance(block, Number):
        return None

    # In the block itself the mistake takes the place of this one.
    right, most = block.wire, block.maximum // 2

    class Signed:
        length = right.length
        fmtstr = right.fmtstr

        @staticmethod
        def parse(data: bytes) -> int:
            is_little = right.fmtstr[0] == "<"
            return int.from_bytes(data[::-1] if is_little else data, "big", signed=True)

        @staticmethod
        def build(obj: int) -> bytes:
            if obj > most:
                raise Malformed(UNSAID, 0, "")
            data: bytes = right.build(obj)
            return data

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

    build = _built(block, lambda obj, data: (len(obj), data))
    return {"parse_length": parse_length, "_build": build}


def _full_is_short(block: Any) -> Patches | None:
    """Return a reader that refuses a field which the message ends with, as if it were cut."""
    if isinstance(block, Blob):
        read, width = block.parse_length, block.length.length

        def parse_length(stream: Cursor, path: str) -> int:
            if stream.left() <= width:
                raise Malformed("truncated", stream.tell(), field_path(path))
            size = read(stream, path)
            if stream.left() <= size:
                raise Malformed("truncated", stream.tell(), field_path(path))
            return size

        return {"parse_length": parse_length}
    if not isinstance(block, Number | Fixed):
        return None
    size = block.wire.length if isinstance(block, Number) else block.size
    parsed = block._parse  # noqa: SLF001 - construct's own protocol

    def parse(stream: Any, context: Any, path: str) -> Any:
        if stream.left() <= size:
            raise Malformed("truncated", stream.tell(), field_path(path))
        return parsed(stream, context, path)

    return {"_parse": parse}


def _text_by(
    read: Callable[[bytes], str], write: Callable[[str], bytes]
) -> Callable[[Any], Patches | None]:
    """Return what plants other functions between text and bytes."""

    def plant(block: Any) -> Patches | None:
        if not isinstance(block, Text):
            return None
        strict = block.bytes_of

        def bytes_of(obj: Any, offset: int, path: str) -> bytes:
            return write(obj) if isinstance(obj, str) else strict(obj, offset, path)

        return {"value_of": lambda data, _start, _path: read(data), "bytes_of": bytes_of}

    return plant


def _strict_text(data: bytes, errors: str = "strict") -> str:
    try:
        return data.decode("utf-8", errors)
    except UnicodeDecodeError as exc:
        raise Malformed("bad-utf8", 0, "") from exc


def _strict_bytes(text: str, encoding: str = "utf-8", reason: str = "bad-utf8") -> bytes:
    try:
        return text.encode(encoding)
    except UnicodeEncodeError as exc:
        raise Malformed(reason, 0, "") from exc


def _replaced(text: str) -> bytes:
    """Return the UTF-8 of a text with U+FFFD in the place of each half of a surrogate pair."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def _double(block: Any) -> Patches | None:
    if not isinstance(block, Number) or block.wire.length < DOUBLE_BYTES:
        return None
    return {
        "to_json": lambda value: str(int(float(value))),
        "from_json": lambda value, _path: min(int(float(value)), block.maximum),
    }


def _bare_number(block: Any) -> Patches | None:
    """Return the JSON form of a 64-bit number as a JSON number."""
    is_text = isinstance(block, Number) and isinstance(block.to_json(0), str)
    return {"to_json": lambda value: value} if is_text else None


def _upper_hex(block: Any) -> Patches | None:
    is_hex = isinstance(block, Fixed | Blob) or (isinstance(block, Rest) and not block.is_text)
    if not is_hex or isinstance(block, Chars | Text):
        return None
    return {"to_json": lambda data: data.hex().upper()}


def _wrapped_length(block: Any) -> Patches | None:
    """Return a writer that keeps the low bytes alone of a length too large for its field."""
    if not isinstance(block, Blob):
        return None
    size = 2 ** (8 * block.length.length)
    return {"_build": _built(block, lambda _obj, data: (len(data) % size, data))}


def _wrapped_number(block: Any) -> Patches | None:
    """Return a writer that keeps the low bytes alone of a 64-bit number that is too large."""
    if not isinstance(block, Number) or block.wire.length < DOUBLE_BYTES:
        return None
    strict = block.from_json

    def from_json(value: Any, path: str) -> Any:
        is_number = isinstance(value, str) and value.isascii() and value.isdigit()
        return int(value) % (block.maximum + 1) if is_number else strict(value, path)

    return {"from_json": from_json}


def _cut(block: Any) -> Patches | None:
    """Return a writer that cuts content to the longest that its length can say."""
    if not isinstance(block, Blob):
        return None
    most = 2 ** (8 * block.length.length) - 1
    return {"_build": _built(block, lambda _obj, data: (len(data[:most]), data[:most]))}


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


def _unchecked(block: Any) -> Patches | None:
    if isinstance(block, Choice | Constant) or (isinstance(block, Flag) and not block.lenient):
        return {"check": lambda *_: None}
    return {"value": None} if isinstance(block, Fixed) and block.value is not None else None


def _unlimited(block: Any) -> Patches | None:
    limited = isinstance(block, Blob | Rest) and block.ceiling is not None
    return {"ceiling": None} if limited else None


def _limit_off_by(step: int) -> Callable[[Any], Patches | None]:
    def plant(block: Any) -> Patches | None:
        limited = isinstance(block, Blob | Rest) and block.ceiling is not None
        return {"ceiling": block.ceiling + step} if limited else None

    return plant


def _one_value_more(block: Any) -> Patches | None:
    if not isinstance(block, Choice):
        return None
    return {"legal": block.legal | {max(block.legal) + 1}}


def _extra_lost(block: Any) -> Patches | None:
    return {"to_json": lambda _: ""} if isinstance(block, Tolerated) else None


def _open_end(block: Any) -> Patches | None:
    return {"_parse": lambda *_: None} if isinstance(block, End) else None


LENGTH_ORDER = Mistake(
    "other-byte-order",
    "{} is {verb} in the other byte order",
    "{width}numbers are {verb} in the other byte order",
    _other_order("length"),
    of_length=True,
)
CHARACTERS = Mistake(
    "characters",
    "{} counts characters instead of bytes",
    "lengths of texts count characters instead of bytes",
    _characters,
    of_length=True,
)
UPPER_HEX = Mistake(
    "upper-hex",
    "the hex of {} is in upper case (CH-005)",
    "hex is in upper case (CH-005)",
    _upper_hex,
)
MISTAKES = (
    LENGTH_ORDER,
    replace(LENGTH_ORDER, plant=_other_order("wire"), of_length=False),
    Mistake(
        "one-too-many",
        "{} is taken for one more than it is",
        "{width}lengths are taken for one more than they are",
        _off_by(1),
        of_length=True,
    ),
    Mistake(
        "one-too-few",
        "{} is taken for one less than it is",
        "{width}lengths are taken for one less than they are",
        _off_by(-1),
        of_length=True,
    ),
    Mistake(
        "signed", "{} is {verb} as a signed number", "{width}numbers are {verb} as signed", _signed
    ),
    CHARACTERS,
    Mistake(
        "full-is-short",
        "a message that ends with {} is taken for truncated, as if a byte were missing",
        "a message that ends with a field is taken for truncated: more bytes must be left than are "
        "needed",
        _full_is_short,
    ),
    Mistake(
        "bom-dropped",
        "a U+FEFF at the start of {} is dropped",
        "a U+FEFF at the start of a text is dropped",
        _text_by(
            lambda data: _strict_text(data).removeprefix(BOM),
            lambda text: _strict_bytes(text.removeprefix(BOM)),
        ),
    ),
    Mistake(
        "bad-utf8-replaced",
        "bytes of {} that are not UTF-8 are replaced instead of refused",
        "bytes that are not UTF-8 are replaced instead of refused",
        _text_by(lambda data: data.decode("utf-8", "replace"), _replaced),
    ),
    Mistake(
        "latin-1",
        "{} is {verb} as Latin-1 instead of UTF-8",
        "texts are {verb} as Latin-1 instead of UTF-8",
        _text_by(
            lambda data: data.decode("latin-1"),
            lambda text: _strict_bytes(text, "latin-1", UNSAID),
        ),
    ),
    Mistake(
        "surrogates",
        "half a surrogate pair is taken in {}",
        "half a surrogate pair is taken in a text",
        _text_by(
            lambda data: _strict_text(data, "surrogatepass"),
            lambda text: text.encode("utf-8", "surrogatepass"),
        ),
    ),
    Mistake(
        "double",
        "{} is held as a floating-point number, which loses its last digits",
        "64-bit numbers are held as floating-point numbers, which loses their last digits",
        _double,
    ),
    Mistake(
        "bare-number",
        "{} is a JSON number instead of a decimal string (CH-005)",
        "64-bit integers are JSON numbers instead of decimal strings (CH-005)",
        _bare_number,
    ),
    UPPER_HEX,
    Mistake(
        "length-wrapped",
        "{} that is too large for its field is written without its high bytes",
        "{width}lengths too large for their fields are written without their high bytes",
        _wrapped_length,
        of_length=True,
    ),
    Mistake(
        "number-wrapped",
        "{} that is too large for its field is written without its high bytes",
        "numbers too large for their fields are written without their high bytes",
        _wrapped_number,
    ),
    Mistake(
        "cut",
        "content too long for {} is cut instead of refused",
        "content too long for its {width}length is cut instead of refused",
        _cut,
        of_length=True,
    ),
    Mistake(
        "limit-too-low",
        "the upper limit of {} is lower than it should be",
        "upper limits of lengths are lower than they should be",
        _limit_off_by(-1),
        of_length=True,
    ),
    Mistake(
        "limit-too-high",
        "the upper limit of {} is higher than it should be",
        "upper limits of lengths are higher than they should be",
        _limit_off_by(1),
        of_length=True,
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
        _text_by(
            lambda data: data.decode("utf-8", "ignore"),
            lambda text: text.encode("utf-8", "ignore"),
        ),
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
        "one-value-more",
        "{} may be one more than its greatest value",
        "values may be one more than the greatest",
        _one_value_more,
    ),
    Mistake(
        "extra-lost",
        "bytes after the last field are left out of {}",
        "bytes after the last field are left out of the value",
        _extra_lost,
    ),
    Mistake(
        "trailing-ignored",
        "bytes after the end of {} are ignored",
        "bytes after the end of a message are ignored",
        _open_end,
    ),
)
"""Mistakes in one field, the most frequent ones first."""
