"""Canonical JSON, and the texts of version 2 of an operation, as the second model has them.

Content is a tree of pairs and bytes are hexadecimal, as the vectors spell them. Nothing is shared
with the library that the reference and the suite use.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from oplog_model_texts import number_of

# RFC 8785, section 3.2.2.2: every other control character has four hexadecimal digits.
SHORT = {8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}
# Numbers with as many digits before the point, or zeros after it, have no exponent.
DIGITS_MAX, ZEROS_MAX = 21, 6


def quoted(text: str) -> str:
    """Return a text in quotation marks."""
    parts = (
        SHORT.get(ord(one)) or (one if ord(one) >= ord(" ") else f"\\u{ord(one):04x}")
        for one in text
    )
    return '"' + "".join(parts) + '"'


def number_text(number: float) -> str:
    """Return a number as ECMAScript writes it."""
    if number == 0:
        return "0"
    sign, figures, exponent = Decimal(repr(number)).normalize().as_tuple()
    digits = "".join(map(str, figures))
    # The value is 0.DIGITS times ten to this power.
    power = len(digits) + int(exponent)
    if len(digits) <= power <= DIGITS_MAX:
        text = digits + "0" * (power - len(digits))
    elif 0 < power <= DIGITS_MAX:
        text = f"{digits[:power]}.{digits[power:]}"
    elif -ZEROS_MAX < power <= 0:
        text = "0." + "0" * -power + digits
    else:
        mantissa = digits[0] + (f".{digits[1:]}" if digits[1:] else "")
        text = f"{mantissa}e{power - 1:+d}"
    return "-" * sign + text


def units(text: str) -> list[int]:
    """Return the UTF-16 code units of a text, by which members are sorted."""
    return list(memoryview(text.encode("utf-16-le")).cast("H"))


def object_text(members: dict[str, str]) -> str:
    """Return an object of texts that are canonical already."""
    names = sorted(members, key=units)
    return "{" + ",".join(f"{quoted(name)}:{members[name]}" for name in names) + "}"


def tree_text(tree: Any) -> str:
    """Return content as canonical JSON."""
    match tree:
        case ["num", bits]:
            return number_text(number_of(bits))
        case ["str", text]:
            return quoted(text)
        case ["arr", parts]:
            return "[" + ",".join(map(tree_text, parts)) + "]"
        case ["obj", members]:
            return object_text({name: tree_text(part) for name, part in members})
        case ["bool", flag]:
            return str(flag).lower()
    return "null"


def path_text(path: Any) -> str:
    """Return a path as canonical JSON."""
    segments = (
        object_text({name.capitalize(): quoted(value)}) for [(name, value)] in map(dict.items, path)
    )
    return "[" + ",".join(segments) + "]"


def canonical_id_text(inner: Any) -> str:
    """Return the text whose hash is the id of an operation of version 2."""
    members = {
        "author": quoted(inner["author"]),
        "is_deleted": str(inner["is_deleted"]).lower(),
        "origin": quoted(inner["origin"]),
        "path": path_text(inner["path"][:-1]),
        "seq": inner["seq"],
        "v": "2",
    }
    content = {} if inner["content"] is None else {"content": tree_text(inner["content"])}
    return object_text({**members, **content})


def canonical_digest_text(operation: Any) -> str:
    """Return the text whose hash is signed."""
    return object_text(
        {
            "author": quoted(operation["author"]),
            "depends_on": "[" + ",".join(map(quoted, operation["depends_on"])) + "]",
            "id": quoted(operation["inner"]["id"]),
            "path": path_text(operation["inner"]["path"]),
            "v": "2",
        }
    )
