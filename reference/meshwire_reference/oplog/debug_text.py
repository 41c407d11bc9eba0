r"""The text of a value that the id of an operation is hashed over, byte for byte.

It is the debug form of one language's standard library: numbers in their shortest form, six short
escapes, and `\u{..}` for every other code point that is not printed literally. Which ones those
are depends on the Unicode version of the compiler that built a peer, so the ranges are data
(`escapes.py`), recorded from one.
"""

import re
import sys
from math import isfinite, isnan

from meshwire_reference.oplog.escapes import ESCAPED_RANGES
from meshwire_reference.oplog.values import JsonValue

_SHORT = {
    "\0": "\\0", "\t": "\\t", "\n": "\\n", "\r": "\\r", '"': '\\"', "\\": "\\\\",
}  # fmt: skip

# A number is written plainly from the first to below the second, else with an exponent.
_PLAIN_MIN = 1e-4
_PLAIN_END = 1e16


def _escaped_pattern(end: int) -> re.Pattern[str]:
    """Return a pattern that matches each code point below `end` that is not written literally."""
    ranges = (part.partition("-") for part in ESCAPED_RANGES.split())
    bounds = [(int(first, 16), int(last or first, 16)) for first, _, last in ranges]
    parts = [f"\\U{first:08x}-\\U{min(last, end - 1):08x}" for first, last in bounds if first < end]
    return re.compile("[" + "".join(parts) + "]")


_ESCAPED = _escaped_pattern(sys.maxunicode + 1)
# Most texts are ASCII, and the search through the ranges of all others takes 100 ns a character.
_ESCAPED_OF_ASCII = _escaped_pattern(0x80)


def _escape(match: re.Match[str]) -> str:
    character = match.group()
    return _SHORT.get(character) or f"\\u{{{ord(character):x}}}"


def string_text(value: str) -> str:
    """Return `value` in quotes, with escapes."""
    escaped = _ESCAPED_OF_ASCII if value.isascii() else _ESCAPED
    return f'"{escaped.sub(_escape, value)}"'


def number_text(value: float) -> str:
    """Return `value` with the fewest digits that read back as the same number."""
    if not isfinite(value):
        if isnan(value):
            return "NaN"
        return "inf" if value > 0 else "-inf"
    digits = repr(value)
    size = abs(value)
    if size == 0 or _PLAIN_MIN <= size < _PLAIN_END:
        return digits
    mantissa, _, exponent = digits.partition("e")
    return f"{mantissa}e{int(exponent)}"


def debug_text(value: JsonValue) -> str:
    """Return the debug text of `value`; the members of an object in the order that they have."""
    if value is None:
        return "Null"
    if isinstance(value, bool):
        return "Bool(true)" if value else "Bool(false)"
    if isinstance(value, float):
        return f"Number({number_text(value)})"
    if isinstance(value, str):
        return f"String({string_text(value)})"
    if isinstance(value, list):
        return f"Array([{', '.join([debug_text(element) for element in value])}])"
    members = [f"{string_text(name)}: {debug_text(member)}" for name, member in value.items()]
    return f"Object({{{', '.join(members)}}})"
