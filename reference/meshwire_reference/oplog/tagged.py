"""Signed operations as the vectors and the codec harness spell them: nothing is left to a reader.

Bytes are hexadecimal, a sequence is a decimal text, and content is a tree of pairs in which a
number is the bits of a 64-bit float, so that no JSON library can change what is hashed.
"""

import struct
from typing import Any

from meshwire_reference.oplog.operations import (
    KEY_SIZE,
    SEQUENCE_MAX,
    SIGNATURE_SIZE,
    Operation,
    Path,
    Segment,
    SignedOperation,
)
from meshwire_reference.oplog.values import (
    ABSENT,
    Content,
    JsonValue,
    Unreadable,
    take_text,
)
from meshwire_spec.numbers import OPLOG_DEPTH_MAX

_SEQUENCE_DIGITS = len(str(SEQUENCE_MAX))
_NUMBER_SIZE = 8


def write_tagged(signed: SignedOperation) -> dict[str, Any]:
    """Return `signed` in the spelling of the vectors."""
    inner = signed.inner
    return {
        "author": signed.author.hex(),
        "depends_on": [digest.hex() for digest in signed.depends_on],
        "inner": {
            "author": inner.author.hex(),
            "content": None if inner.content is ABSENT else write_tree(inner.content),
            "id": inner.id.hex(),
            "is_deleted": inner.is_deleted,
            "origin": inner.origin.hex(),
            "path": [_write_tagged_segment(segment) for segment in inner.path],
            "seq": str(inner.sequence),
        },
        "signed_digest": signed.signed_digest.hex(),
    }


def read_tagged(value: Any) -> SignedOperation:
    """Return the signed operation that `value` spells; raise Unreadable."""
    try:
        inner = value["inner"]
        if not isinstance(inner["is_deleted"], bool):
            raise Unreadable("wrong-type", "is_deleted")
        return SignedOperation(
            author=read_hex(value["author"], KEY_SIZE),
            signed_digest=read_hex(value["signed_digest"], SIGNATURE_SIZE),
            depends_on=tuple(read_hex(part, SIGNATURE_SIZE) for part in value["depends_on"]),
            inner=Operation(
                origin=read_hex(inner["origin"], KEY_SIZE),
                author=read_hex(inner["author"], KEY_SIZE),
                sequence=read_sequence(inner["seq"]),
                is_deleted=inner["is_deleted"],
                content=read_content(inner["content"]),
                path=read_path(inner["path"]),
                id=read_hex(inner["id"], KEY_SIZE),
            ),
        )
    except (KeyError, TypeError) as exc:
        raise Unreadable("wrong-type", "signed operation") from exc


def read_hex(value: Any, size: int) -> bytes:
    """Return `size` bytes of hexadecimal digits; raise Unreadable."""
    if not isinstance(value, str) or len(value) != 2 * size:
        raise Unreadable("bad-length")
    try:
        return bytes.fromhex(value)
    except ValueError as exc:
        raise Unreadable("bad-bytes") from exc


def read_sequence(value: Any) -> int:
    """Return a sequence that is spelled in decimal digits; raise Unreadable."""
    if not isinstance(value, str) or not value.isascii() or not value.isdigit():
        raise Unreadable("bad-sequence")
    if len(value) > _SEQUENCE_DIGITS or int(value) > SEQUENCE_MAX:
        raise Unreadable("bad-sequence")
    return int(value)


def _write_tagged_segment(segment: Segment) -> dict[str, str]:
    return {"field": segment} if isinstance(segment, str) else {"index": segment.hex()}


def read_path(value: Any) -> Path:
    """Return the path whose segments `value` has; raise Unreadable."""
    if not isinstance(value, list):
        raise Unreadable("wrong-type", "path")
    return tuple(_read_tagged_segment(part) for part in value)


def _read_tagged_segment(value: Any) -> Segment:
    if not isinstance(value, dict):
        raise Unreadable("wrong-type", "path segment")
    if value.keys() == {"field"}:
        return take_text(value["field"])
    if value.keys() == {"index"}:
        return read_hex(value["index"], KEY_SIZE)
    raise Unreadable("wrong-type", "path segment")


def write_tree(value: JsonValue) -> list[Any]:
    """Return content as a tree of pairs."""
    if value is None:
        return ["null"]
    if isinstance(value, bool):
        return ["bool", value]
    if isinstance(value, float):
        return ["num", struct.pack(">d", value).hex()]
    if isinstance(value, str):
        return ["str", value]
    if isinstance(value, list):
        return ["arr", [write_tree(part) for part in value]]
    return ["obj", [[name, write_tree(part)] for name, part in value.items()]]


def read_content(value: Any) -> Content:
    """Return content, of which null is none at all."""
    return ABSENT if value is None else read_tree(value)


def read_tree(value: Any, depth: int = OPLOG_DEPTH_MAX) -> JsonValue:
    """Return the value of a tree of pairs; raise Unreadable."""
    match value:
        case ["null"]:
            return None
        case ["bool", bool(flag)]:
            return flag
        case ["num", str(bits)]:
            number: float = struct.unpack(">d", read_hex(bits, _NUMBER_SIZE))[0]
            return number
        case ["str", str(text)]:
            return take_text(text)
        case ["arr", list(parts)] if depth:
            return [read_tree(part, depth - 1) for part in parts]
        case ["obj", list(members)] if depth:
            found = {take_text(name): read_tree(part, depth - 1) for name, part in members}
            if len(found) != len(members):
                raise Unreadable("duplicate-member")
            return found
        case ["arr" | "obj", list()]:
            raise Unreadable("too-deep")
    raise Unreadable("wrong-type", "content")
