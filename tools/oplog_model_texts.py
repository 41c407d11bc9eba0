"""Texts, hashes and signatures of `oplog/1` as the second model has them: `oplog_model.py`.

Content is a tree of pairs and bytes are hexadecimal, as the vectors spell them.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

ESCAPES = Path(__file__).resolve().parents[1] / "vectors/oplog/recorded/escapes.json"
# Numbers from the one to below the other are written without exponent.
PLAIN_MIN, PLAIN_END = 1e-4, 1e16
# The field of the curve, its constant, and the bits of a coordinate.
P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P
BITS = 255


def bytes_text(digits: str) -> str:
    """Return bytes as they are hashed."""
    return "[" + ", ".join(str(byte) for byte in bytes.fromhex(digits)) + "]"


def number_of(bits: str) -> float:
    """Return the float with these bits."""
    [number] = struct.unpack(">d", bytes.fromhex(bits))
    return float(number)


def plain(content: Any) -> Any:
    """Return content as a JSON value."""
    name, *value = content
    if name == "obj":
        return {key: plain(part) for key, part in value[0]}
    if name == "arr":
        return [plain(part) for part in value[0]]
    return number_of(value[0]) if name == "num" else value[0] if value else None


def number_text(number: float) -> str:
    """Return a number as it is hashed, put together from its shortest digits."""
    if math.isnan(number):
        return "NaN"
    sign = "-" if math.copysign(1, number) < 0 else ""
    if math.isinf(number):
        return f"{sign}inf"
    if not number:
        return f"{sign}0.0"
    _, digits, exponent = Decimal(repr(number)).normalize().as_tuple()
    assert isinstance(exponent, int)
    text = "".join(map(str, digits))
    point = len(text) + exponent
    if PLAIN_MIN <= abs(number) < PLAIN_END:
        whole = text[:point].ljust(point, "0") if point > 0 else "0"
        after = text[point:] if point > 0 else "0" * -point + text
        return f"{sign}{whole}.{after or '0'}"
    rest = f".{text[1:]}" if len(text) > 1 else ""
    return f"{sign}{text[0]}{rest}e{point - 1}"


@cache
def escapes() -> tuple[tuple[int, int, str], ...]:
    """Return the ranges of code points that are escaped, each with its sort."""
    rows = json.loads(ESCAPES.read_text())["ranges"]
    return tuple((int(first, 16), int(last, 16), kind) for first, last, kind in rows)


def quoted(text: str) -> str:
    """Return a text as it is hashed."""
    return '"' + "".join(map(escaped, text)) + '"'


@cache
def escaped(character: str) -> str:
    """Return a character, or its escape."""
    point = ord(character)
    for first, last, kind in escapes():
        if first <= point <= last:
            return f"\\u{{{point:x}}}" if kind == "u" else kind
    return character


def content_text(content: Any) -> str:
    """Return content as it is hashed."""
    if content is None:
        return ""
    name, *value = content
    return FORMS[name](*value)


def array_text(parts: list[Any]) -> str:
    """Return an array as it is hashed."""
    return "Array([" + ", ".join(map(content_text, parts)) + "])"


def object_text(members: list[Any]) -> str:
    """Return an object as it is hashed, its members in their order."""
    written = [f"{quoted(key)}: {content_text(part)}" for key, part in members]
    return "Object({" + ", ".join(written) + "})"


FORMS: dict[str, Callable[..., str]] = {
    "null": lambda: "Null",
    "bool": lambda flag: "Bool(true)" if flag else "Bool(false)",
    "num": lambda bits: f"Number({number_text(number_of(bits))})",
    "str": lambda text: f"String({quoted(text)})",
    "arr": array_text,
    "obj": object_text,
}


def id_text(inner: Any) -> str:
    """Return the text whose hash is the id of an operation."""
    flag = "true" if inner["is_deleted"] else "false"
    first = f"{bytes_text(inner['origin'])},{bytes_text(inner['author'])}"
    return f"{first},{inner['seq']},{flag},{content_text(inner['content'])}"


def path_text(path: Any) -> str:
    """Return the path as it is signed."""
    return ".".join(part["field"] if "field" in part else part["index"][:6] for part in path)


def digest_text(operation: Any) -> str:
    """Return the text whose hash is signed."""
    inner = operation["inner"]
    others = "".join(operation["depends_on"])
    return f"{bytes_text(inner['id'])},{path_text(inner['path'])},{others}"


def hash_of(text: str) -> str:
    """Return the hash of a text."""
    return sha256(text.encode()).hexdigest()


def add(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    """Return the sum of two points of the curve."""
    both = D * a[0] * b[0] * a[1] * b[1] % P
    x = (a[0] * b[1] + a[1] * b[0]) * pow(1 + both, -1, P)
    y = (a[1] * b[1] + a[0] * b[0]) * pow(1 - both, -1, P)
    return x % P, y % P


@cache
def is_sound(key: str) -> bool:
    """Return True if a key is a point in canonical form whose order is not small."""
    sign, y = divmod(int.from_bytes(bytes.fromhex(key), "little"), 2**BITS)
    if y >= P:
        return False
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    if x * x % P != square or (not x and sign):
        return False
    point = (x if x % 2 == sign else P - x, y)
    for _ in range(3):
        point = add(point, point)
    return point != (0, 1)


@cache
def is_signed(author: str, digest: str, signature: str) -> bool:
    """Return True if a signature of a digest is valid."""
    if not is_sound(author):
        return False
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(author))
        key.verify(bytes.fromhex(signature), bytes.fromhex(digest))
    except (InvalidSignature, ValueError):
        return False
    return True
