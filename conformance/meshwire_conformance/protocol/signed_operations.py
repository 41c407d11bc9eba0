"""Signed operations as the suite makes and reads them, independent of the reference.

An operation here is the JSON object that peers send. What is hashed is made from its members by
templates, and `normal_form` makes one text of every spelling of one operation.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from nacl.signing import SigningKey

ROOT = [0] * 32
SHORT = {0: "\\0", 9: "\\t", 10: "\\n", 13: "\\r", 34: '\\"', 92: "\\\\"}


PLAIN_QUOTES = frozenset('"\\')


class Escapes:
    """Which code points a debug text escapes, from the recorded file."""

    def __init__(self, path: Path) -> None:
        ranges = json.loads(path.read_text())["ranges"]
        self._ranges = [(int(first, 16), int(last, 16)) for first, last, *_ in ranges]

    def quoted(self, text: str) -> str:
        """Return a text in quotation marks, as it is hashed."""
        if text.isascii() and text.isprintable() and not PLAIN_QUOTES & set(text):
            return f'"{text}"'
        return '"' + "".join(self._one(ord(character)) for character in text) + '"'

    @cache  # noqa: B019 - one object, a few hundred code points
    def _one(self, point: int) -> str:
        if point in SHORT:
            return SHORT[point]
        is_escaped = any(first <= point <= last for first, last in self._ranges)
        return f"\\u{{{point:x}}}" if is_escaped else chr(point)


def number_text(number: float) -> str:
    """Return a finite number as it is hashed."""
    written = repr(float(number))
    mantissa, has_exponent, exponent = written.partition("e")
    if not has_exponent:
        return written
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"


def content_text(value: Any, escapes: Escapes) -> str:
    """Return content as it is hashed."""
    match value:
        case None:
            return "Null"
        case bool():
            return f"Bool({str(value).lower()})"
        case int() | float():
            return f"Number({number_text(value)})"
        case str():
            return f"String({escapes.quoted(value)})"
        case list():
            return f"Array([{', '.join(content_text(part, escapes) for part in value)}])"
    members = (f"{escapes.quoted(k)}: {content_text(v, escapes)}" for k, v in value.items())
    return f"Object({{{', '.join(members)}}})"


def id_of(inner: Mapping[str, Any], escapes: Escapes) -> list[int]:
    """Return the id of an inner operation; a deletion has no content."""
    deletes = inner["is_deleted"]
    content = "" if deletes else content_text(inner["content"], escapes)
    parts = (inner["origin"], inner["author"], inner["seq"], str(deletes).lower(), content)
    return list(sha256(",".join(map(str, parts)).encode()).digest())


def digest_of(inner: Mapping[str, Any], depends_on: Sequence[Sequence[int]]) -> bytes:
    """Return what the signer signs."""
    path = ".".join(
        segment["Field"] if "Field" in segment else bytes(segment["Index"]).hex()[:6]
        for segment in inner["path"]
    )
    others = "".join(bytes(one).hex() for one in depends_on)
    return sha256(f"{inner['id']},{path},{others}".encode()).digest()


def signer_of(seed: bytes) -> SigningKey:
    """Return a key; equal seeds are equal keys."""
    return SigningKey(seed)


def public_of(signer: SigningKey) -> list[int]:
    """Return the public half of a key."""
    return list(bytes(signer.verify_key))


def signature_of(signer: SigningKey, digest: bytes) -> list[int]:
    """Return the signature over a digest."""
    return list(signer.sign(digest).signature)


def normal_form(operation: Any) -> str | None:
    """Return one text for every spelling of an operation, or None if it is none."""
    try:
        inner = operation["inner"]
        dependencies = operation.get("depends_on") or []
        return json.dumps(
            [
                _hex(operation["author"]),
                _hex(operation["signed_digest"]),
                [_hex(one) for one in dependencies],
                *(_hex(inner[name]) for name in ("origin", "author", "id")),
                inner["seq"],
                bool(inner.get("is_deleted")),
                [_segment(one) for one in inner["path"]],
                None if inner.get("is_deleted") else _plain(inner.get("content")),
            ],
        )
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return None


def _hex(value: Any) -> str:
    """Return bytes as hexadecimal, however they are spelled: numbers, hexadecimal, base64."""
    if isinstance(value, list):
        return bytes(value).hex()
    if len(value) in {64, 128}:
        return str(value).lower()
    return b64decode(value + "=" * (-len(value) % 4), validate=True).hex()


def _segment(value: Any) -> list[str]:
    if isinstance(value, dict):
        [(name, inner)] = value.items()
        return [name.lower(), inner if name.lower() == "field" else _hex(inner)]
    return ["field", value] if isinstance(value, str) else ["index", _hex(value)]


TAGS = frozenset({"Bool", "Number", "String", "Array", "Object"})


def _plain(value: Any) -> Any:
    """Return content with numbers as floats, and without the types that some peers write."""
    if isinstance(value, dict) and len(value) == 1 and TAGS & value.keys():
        [value] = value.values()
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return None if value == "Null" else value
