"""Signed operations as JSON, as peers send them.

How deployed peers spell byte strings, path segments and content is not known. The writer uses the
default of their library; the reader takes every spelling that is unambiguous. Two spellings of
content, and an absent one beside null, are distinguished by the id, which is hashed over the value.
"""

import json
from base64 import b64decode
from binascii import Error as Base64Error
from contextlib import suppress
from typing import Any

from meshwire_reference.oplog.canonical import (
    CANONICAL_VERSION,
    canonical_content,
    canonical_segment,
)
from meshwire_reference.oplog.operations import (
    KEY_SIZE,
    SIGNATURE_SIZE,
    Operation,
    Path,
    Segment,
    SignedOperation,
    has_valid_id,
    sequence_max,
)
from meshwire_reference.oplog.values import (
    ABSENT,
    Content,
    Unreadable,
    parse_json,
    take_content,
    take_text,
)
from meshwire_spec.numbers import OPLOG_OPERATION_BYTES_MAX

_BYTE_MAX = 0xFF

# Names of the two sorts of path segments; the first of each is written.
_FIELD_NAMES = ("Field", "field")
_INDEX_NAMES = ("Index", "index")

# Names of content that is spelled with its type, and what each takes.
_TYPE_NAMES: dict[str, type | tuple[type, ...]] = {
    "Bool": bool,
    "Number": (int, float),
    "String": str,
    "Array": list,
    "Object": dict,
}


def write_operation(signed: SignedOperation) -> dict[str, Any]:
    """Return `signed` as a JSON value, in the spelling that we send."""
    inner = signed.inner
    if inner.version == CANONICAL_VERSION:
        return _write_canonical(signed)
    return {
        "inner": {
            "origin": list(inner.origin),
            "author": list(inner.author),
            "seq": inner.sequence,
            "content": None if inner.content is ABSENT else inner.content,
            "path": [_write_segment(segment) for segment in inner.path],
            "is_deleted": inner.is_deleted,
            "id": list(inner.id),
        },
        "author": list(signed.author),
        "signed_digest": list(signed.signed_digest),
        "depends_on": [list(digest) for digest in signed.depends_on],
    }


def _write_canonical(signed: SignedOperation) -> dict[str, Any]:
    """Return the envelope of an operation of version 2: bytes are hexadecimal."""
    inner = signed.inner
    content = {} if inner.content is ABSENT else {"content": inner.content}
    operation = {
        "inner": {
            "origin": inner.origin.hex(),
            "author": inner.author.hex(),
            "seq": inner.sequence,
            **content,
            "path": [canonical_segment(segment) for segment in inner.path],
            "is_deleted": inner.is_deleted,
            "id": inner.id.hex(),
        },
        "author": signed.author.hex(),
        "signed_digest": signed.signed_digest.hex(),
        "depends_on": [digest.hex() for digest in signed.depends_on],
    }
    return {"v": CANONICAL_VERSION, "op": operation}


def operation_json(signed: SignedOperation) -> str:
    """Return `signed` as JSON text without spaces; version 2 in its envelope."""
    return json.dumps(
        write_operation(signed), ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )


def read_operation_json(text: str) -> SignedOperation:
    """Return the signed operation of a JSON text; raise Unreadable."""
    # OP-052
    if len(text) > OPLOG_OPERATION_BYTES_MAX:
        raise Unreadable("length-limit")
    value = parse_json(text)
    # OP-065
    if isinstance(value, dict) and "v" in value and "inner" not in value:
        return read_envelope(value, (CANONICAL_VERSION,))
    return read_operation(value)


def read_envelope(value: Any, versions: tuple[int, ...]) -> SignedOperation:
    """Return the signed operation of an envelope of one of `versions`; raise Unreadable."""
    envelope = _take_object(value)
    # D-135: another version is refused and counted, never guessed at.
    version = envelope.get("v")
    if type(version) is not int or version not in versions:
        raise Unreadable("unknown-version")
    return read_operation(envelope.get("op"), version)


def read_operation(value: Any, version: int = 1) -> SignedOperation:
    """Return the signed operation of a parsed JSON value; raise Unreadable."""
    outer = _take_object(value)
    dependencies = outer.get("depends_on")
    if not isinstance(dependencies, list | None):
        raise Unreadable("wrong-type", "depends_on")
    return SignedOperation(
        author=_take_bytes(outer, "author", KEY_SIZE),
        signed_digest=_take_bytes(outer, "signed_digest", SIGNATURE_SIZE),
        depends_on=tuple(read_bytes(part, SIGNATURE_SIZE) for part in dependencies or ()),
        inner=_read_inner(_take_object(outer.get("inner")), version),
    )


def _read_inner(inner: dict[str, Any], version: int) -> Operation:
    is_deleted = inner.get("is_deleted", False)
    if not isinstance(is_deleted, bool):
        raise Unreadable("wrong-type", "is_deleted")
    if version == CANONICAL_VERSION:
        readings = [_canonical_content(inner)]
    else:
        readings = _readings(inner.get("content"), is_deleted=is_deleted)
    found = [
        Operation(
            origin=_take_bytes(inner, "origin", KEY_SIZE),
            author=_take_bytes(inner, "author", KEY_SIZE),
            sequence=_take_sequence(inner.get("seq"), version),
            is_deleted=is_deleted,
            content=content,
            path=_read_path(inner.get("path")),
            id=_take_bytes(inner, "id", KEY_SIZE),
            version=version,
        )
        for content in readings
    ]
    if len(found) == 1:
        return found[0]
    return next((operation for operation in found if has_valid_id(operation)), found[0])


def _canonical_content(inner: dict[str, Any]) -> Content:
    """Return the content of version 2, which has one spelling: left out, there is none."""
    return canonical_content(take_content(inner["content"])) if "content" in inner else ABSENT


def _readings(content: Any, *, is_deleted: bool) -> list[Content]:
    """Return every value that `content` may spell, the likely one first."""
    if content is None:
        return [ABSENT, None] if is_deleted else [None]
    readings: list[Content] = [take_content(content)]
    # Most content is not spelled with types.
    with suppress(Unreadable):
        readings.append(take_content(_untagged(content)))
    return readings


def _untagged(value: Any) -> Any:
    """Return a value that is spelled with its types, without them; raise Unreadable."""
    if value == "Null":
        return None
    if not isinstance(value, dict) or len(value) != 1:
        raise Unreadable("wrong-type")
    [(name, inner)] = value.items()
    wanted = _TYPE_NAMES.get(name)
    if wanted is None or not isinstance(inner, wanted):
        raise Unreadable("wrong-type")
    if isinstance(inner, list):
        return [_untagged(part) for part in inner]
    if isinstance(inner, dict):
        return {key: _untagged(part) for key, part in inner.items()}
    return inner


def _take_object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unreadable("wrong-type", "object expected")
    return value


def _take_bytes(members: dict[str, Any], name: str, size: int) -> bytes:
    if name not in members:
        raise Unreadable("missing-member", name)
    return read_bytes(members[name], size)


def read_bytes(value: Any, size: int) -> bytes:
    """Return `size` bytes that are spelled as numbers, hexadecimal or base64."""
    if isinstance(value, list):
        return _read_numbers(value, size)
    if not isinstance(value, str) or not value.isascii():
        raise Unreadable("wrong-type", "bytes expected")
    try:
        found = bytes.fromhex(value) if len(value) == 2 * size else _read_base64(value)
    except ValueError as exc:
        raise Unreadable("bad-bytes") from exc
    if len(found) != size:
        raise Unreadable("bad-length")
    return found


def _read_numbers(value: list[Any], size: int) -> bytes:
    if len(value) != size:
        raise Unreadable("bad-length")
    # A bool is an int to Python, and bytes() would take one.
    if not all(type(part) is int and 0 <= part <= _BYTE_MAX for part in value):
        raise Unreadable("bad-bytes")
    return bytes(value)


def _read_base64(value: str) -> bytes:
    padded = value + "=" * (-len(value) % 4)
    try:
        return b64decode(padded, validate=True)
    except Base64Error as exc:
        raise Unreadable("bad-bytes") from exc


def _take_sequence(value: Any, version: int) -> int:
    # A float is refused even if it is whole: it may have lost digits on the way.
    if type(value) is not int or not 0 <= value <= sequence_max(version):
        raise Unreadable("bad-sequence")
    return value


def _write_segment(segment: Segment) -> dict[str, Any]:
    if isinstance(segment, str):
        return {_FIELD_NAMES[0]: segment}
    return {_INDEX_NAMES[0]: list(segment)}


def _read_path(value: Any) -> Path:
    if not isinstance(value, list):
        raise Unreadable("wrong-type", "path")
    return tuple(_read_segment(part) for part in value)


def _read_segment(value: Any) -> Segment:
    """Return a segment that is tagged, or short: a text is a field, numbers are an index."""
    if isinstance(value, str):
        return take_text(value)
    if isinstance(value, list):
        return _read_numbers(value, KEY_SIZE)
    if isinstance(value, dict) and len(value) == 1:
        [(name, inner)] = value.items()
        if name in _FIELD_NAMES:
            return take_text(inner)
        if name in _INDEX_NAMES:
            return read_bytes(inner, KEY_SIZE)
    raise Unreadable("wrong-type", "path segment")
