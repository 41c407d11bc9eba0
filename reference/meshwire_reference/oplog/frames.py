"""The messages of a session: bulks and single operations as text, live operations as bytes.

A long message is read without making every value of it: a value of three bytes would take twenty
times as much memory. So a long text must be a bulk, whose operations are made one by one.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from json.decoder import scanstring  # type: ignore[attr-defined] # not in its stubs
from typing import Any

from meshwire_reference.oplog.canonical import CANONICAL_VERSION
from meshwire_reference.oplog.operations import SignedOperation
from meshwire_reference.oplog.spelling import read_envelope
from meshwire_reference.oplog.values import Unreadable, parse_json
from meshwire_spec.numbers import OPLOG_CHUNK_BYTES_MAX, OPLOG_OPERATION_BYTES_MAX

ENVELOPE_VERSION = 1
# What this node reads, in the order in which it says so.
VERSIONS = (ENVELOPE_VERSION, CANONICAL_VERSION)

NONE: frozenset[int] = frozenset()

# How the text of an operation that is in its envelope begins.
_ENVELOPE_BEGIN = f'{{"v":{CANONICAL_VERSION},'

# The longest bulk that is looked at for the versions that a peer reads.
_ANNOUNCEMENT_MAX = 256

_NODE_ID = re.compile(r"[0-9a-f]{64}")

_BEGIN, _END = '{"type":"bulk","ops":[', "]}"

# How a long text begins, what is between two of its operations, and how it ends.
_LONG_BEGIN = re.compile(r'[ \t\n\r]*\{\s*(?:"type"\s*:\s*"bulk"\s*,\s*)?"ops"\s*:\s*\[\s*')
_LONG_NEXT = re.compile(r'\s*(,\s*(?=")|\])')
_LONG_END_MAX = 64


def bulk_chunks(
    texts: Iterable[str], size_max: int = OPLOG_CHUNK_BYTES_MAX
) -> Iterator[tuple[str, int]]:
    """Yield bulk messages with the number of operations in each; one that is too long is alone."""
    parts: list[str] = []
    size = 0
    for text in texts:
        part = json.dumps(text, ensure_ascii=False)
        length = len(part.encode()) + 1
        # OP-043
        if parts and size + length > size_max - len(_BEGIN) - len(_END):
            yield _BEGIN + ",".join(parts) + _END, len(parts)
            parts, size = [], 0
        parts.append(part)
        size += length
    if parts:
        yield _BEGIN + ",".join(parts) + _END, len(parts)


def empty_bulk() -> str:
    """Return the bulk of a node without operations."""
    return _BEGIN + _END


@dataclass(frozen=True, slots=True)
class Announcement:
    """What the first bulk of a peer says: what it reads, its id, and that it dials for the mesh.

    `node` is in hexadecimal, or None if the peer does not say. It is a claim.
    """

    versions: frozenset[int] = NONE
    node: str | None = None
    for_mesh: bool = False


SILENT = Announcement()


def announcement(node: str = "", *, for_mesh: bool = False) -> str:
    """Return a bulk without operations that says what this node reads, and who it is."""
    # OP-066, OP-077: a peer that cannot read it loses nothing.
    who = f',"node":"{node}"' if node else ""
    mesh = ',"mesh":true' if for_mesh else ""
    return f'{{"type":"bulk","ops":[],"versions":{json.dumps(VERSIONS)}{who}{mesh}}}'


def read_announcement(text: str) -> Announcement:
    """Return what a text says of its sender; members that it cannot read say nothing."""
    if len(text) > _ANNOUNCEMENT_MAX or '"versions"' not in text:
        return SILENT
    try:
        value = parse_json(text)
    except Unreadable:
        return SILENT
    if not isinstance(value, dict):
        return SILENT
    found, node = value.get("versions"), value.get("node")
    versions = frozenset(one for one in found if type(one) is int) if type(found) is list else NONE
    is_id = isinstance(node, str) and _NODE_ID.fullmatch(node)
    return Announcement(versions, node if is_id else None, value.get("mesh") is True)


def decode_text(text: str, whole_max: int = OPLOG_OPERATION_BYTES_MAX) -> Iterator[str]:
    """Return the JSON texts of the operations of a message, in their order; raise Unreadable.

    A text of more than `whole_max` is read in parts.
    """
    if len(text) <= whole_max:
        return iter(_texts_of(parse_json(text)))
    for _ in _scan(text):
        pass
    return _scan(text)


def _texts_of(value: Any) -> list[str]:
    if not isinstance(value, dict):
        raise Unreadable("wrong-type", "object expected")
    match value.get("type"):
        case "bulk":
            texts = value.get("ops")
        case "op":
            texts = [value.get("op")]
        case _:
            raise Unreadable("unknown-frame")
    if not isinstance(texts, list) or not all(isinstance(part, str) for part in texts):
        raise Unreadable("wrong-type", "ops")
    return texts


def _scan(text: str) -> Iterator[str]:
    """Yield the operations of a long bulk; raise Unreadable at the place of a fault."""
    begin = _LONG_BEGIN.match(text)
    if begin is None:
        raise Unreadable("length-limit")
    at = begin.end()
    try:
        while text[at] == '"':
            part, at = scanstring(text, at + 1)
            yield part
            after = _LONG_NEXT.match(text, at)
            if after is None:
                raise Unreadable("bad-json")
            if after[1] == "]":
                at = after.end() - 1
                break
            at = after.end()
    except (ValueError, IndexError) as exc:
        raise Unreadable("bad-json") from exc
    if text[at] != "]":
        raise Unreadable("wrong-type", "ops")
    if len(text) - at > _LONG_END_MAX:
        raise Unreadable("length-limit")
    # What is around the operations makes a message without any.
    _texts_of(parse_json(text[: begin.end()] + text[at:]))


def encode_live(text: str) -> bytes:
    """Return the binary message of one operation, given as its JSON text."""
    if text.startswith(_ENVELOPE_BEGIN):
        return text.encode()
    return f'{{"v":{ENVELOPE_VERSION},"op":{text}}}'.encode()


def decode_binary(data: bytes) -> SignedOperation:
    """Return the operation of a binary message; raise Unreadable."""
    # OP-052
    if len(data) > OPLOG_OPERATION_BYTES_MAX:
        raise Unreadable("length-limit")
    try:
        text = data.decode()
    except UnicodeDecodeError as exc:
        raise Unreadable("bad-utf8") from exc
    return read_envelope(parse_json(text), VERSIONS)
