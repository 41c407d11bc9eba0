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

import rfc8785
from nacl.signing import SigningKey

ROOT = [0] * 32
SECOND = 2
"""The version whose ids and signatures are over canonical JSON."""
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


def canonical_id_of(inner: Mapping[str, Any]) -> list[int]:
    """Return the id of an inner operation of version 2, whose path is that around its target."""
    value: dict[str, Any] = {
        **{name: bytes(inner[name]).hex() for name in ("origin", "author")},
        **{name: inner[name] for name in ("seq", "is_deleted")},
        **({"content": inner["content"]} if "content" in inner else {}),
        "path": [_in_hex(segment) for segment in inner["path"]],
        "v": SECOND,
    }
    return list(sha256(rfc8785.dumps(value)).digest())


def canonical_digest_of(
    signer: Sequence[int], inner: Mapping[str, Any], depends_on: Sequence[Sequence[int]]
) -> bytes:
    """Return what the signer of an operation of version 2 signs."""
    value: dict[str, Any] = {
        "author": bytes(signer).hex(),
        "depends_on": [bytes(one).hex() for one in depends_on],
        "id": bytes(inner["id"]).hex(),
        "path": [_in_hex(segment) for segment in inner["path"]],
        "v": SECOND,
    }
    return sha256(rfc8785.dumps(value)).digest()


def canonical_envelope(operation: Mapping[str, Any]) -> dict[str, Any]:
    """Return an operation of version 2 as peers send it, with its bytes in hexadecimal."""
    inner = dict(operation["inner"])
    inner |= {name: bytes(inner[name]).hex() for name in ("origin", "author", "id")}
    inner["path"] = [_in_hex(segment) for segment in inner["path"]]
    op = {
        "inner": inner,
        "author": bytes(operation["author"]).hex(),
        "signed_digest": bytes(operation["signed_digest"]).hex(),
        "depends_on": [bytes(one).hex() for one in operation["depends_on"]],
    }
    return {"v": SECOND, "op": op}


def _in_hex(segment: Mapping[str, Any]) -> dict[str, Any]:
    return {"Index": bytes(segment["Index"]).hex()} if "Index" in segment else dict(segment)


def signer_of(seed: bytes) -> SigningKey:
    """Return a key; equal seeds are equal keys."""
    return SigningKey(seed)


def public_of(signer: SigningKey) -> list[int]:
    """Return the public half of a key."""
    return list(bytes(signer.verify_key))


def signature_of(signer: SigningKey, digest: bytes) -> list[int]:
    """Return the signature over a digest."""
    return list(signer.sign(digest).signature)


def normal_form_of_envelope(value: Any) -> str | None:
    """Return one text for every spelling of an operation in its envelope, or None."""
    if not isinstance(value, dict):
        return None
    version = value.get("v")
    if type(version) is not int or version not in {1, SECOND}:
        return None
    form = normal_form(value.get("op"), sorts=version == SECOND)
    return form and f"{version} {form}" if version == SECOND else form


def normal_form_in_bulk(value: Any) -> str | None:
    """Return one text for every spelling of what stands in a bulk, or None if it is no operation.

    That is an operation of version 1, or the envelope of one of version 2.
    """
    if isinstance(value, dict) and value.get("v") == SECOND and "inner" not in value:
        return normal_form_of_envelope(value)
    return normal_form(value)


def normal_form(operation: Any, *, sorts: bool = False) -> str | None:
    """Return one text for every spelling of an operation, or None if it is none.

    `sorts` says that the order of members is a matter of spelling, as it is in version 2.
    """
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
            sort_keys=sorts,
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
