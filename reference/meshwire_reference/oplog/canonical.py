"""Version 2 of an operation: its id and its signature are over canonical JSON (RFC 8785).

Unlike the texts of version 1 they have the path and every id of it in full (D-115), and depend
neither on the order of members nor on how a number is spelled (D-114).
"""

from typing import Any

import rfc8785

from meshwire_reference.oplog.values import (
    ABSENT,
    Content,
    JsonValue,
    take_number,
    take_text,
)

CANONICAL_VERSION = 2
# A larger integer is not exact in canonical JSON.
CANONICAL_SEQUENCE_MAX = 2**53 - 1


def canonical_text(value: Any) -> str:
    """Return the canonical JSON text of a value; raise ValueError if it has none."""
    return rfc8785.dumps(value).decode()


def canonical_content(content: Content) -> Content:
    """Return content in its canonical order, with one zero; raise Unreadable if it has none.

    Whatever else is derived from it is then the same on every node.
    """
    return ABSENT if content is ABSENT else _canonical(content)


def _canonical(value: JsonValue) -> JsonValue:
    match value:
        case float():
            # Negative zero has the text of zero.
            return take_number(value) + 0.0
        case str():
            return take_text(value)
        case list():
            return [_canonical(part) for part in value]
        case dict():
            # By UTF-16 code units, as RFC 8785 sorts.
            names = sorted(value, key=lambda name: take_text(name).encode("utf-16-be"))
            return {name: _canonical(value[name]) for name in names}
    return value


def canonical_segment(segment: str | bytes) -> dict[str, str]:
    """Return a segment of a path as an object."""
    return {"Field": segment} if isinstance(segment, str) else {"Index": segment.hex()}


# OP-062
def canonical_id_text(
    origin: bytes,
    author: bytes,
    sequence: int,
    content: Content,
    around: tuple[str | bytes, ...],
    *,
    is_deleted: bool,
) -> str:
    """Return the text whose SHA-256 is the id; `around` is the path without its last segment."""
    value: dict[str, Any] = {
        "author": author.hex(),
        "is_deleted": is_deleted,
        "origin": origin.hex(),
        "path": [canonical_segment(segment) for segment in around],
        "seq": sequence,
        "v": CANONICAL_VERSION,
    }
    return canonical_text(value if content is ABSENT else {**value, "content": content})


# OP-063
def canonical_signed_text(
    author: bytes,
    operation_id: bytes,
    path: tuple[str | bytes, ...],
    depends_on: tuple[bytes, ...],
) -> str:
    """Return the text whose SHA-256 the outer author signs."""
    return canonical_text(
        {
            "author": author.hex(),
            "depends_on": [digest.hex() for digest in depends_on],
            "id": operation_id.hex(),
            "path": [canonical_segment(segment) for segment in path],
            "v": CANONICAL_VERSION,
        }
    )
