"""The messages of a session: bulks and single operations as text, live operations as bytes.

A long message is read without making every value of it: a value of three bytes would take twenty
times as much memory. So a long text must be a bulk, whose operations are made one by one.
"""

import json
import re
from collections.abc import Iterable, Iterator
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


def announcement() -> str:
    """Return a bulk without operations that says which versions this node reads."""
    # OP-066: a peer that cannot read it loses nothing.
    return f'{{"type":"bulk","ops":[],"versions":{json.dumps(VERSIONS)}}}'


def announced_versions(text: str) -> frozenset[int]:
    """Return the versions that a text says its sender reads, or none."""
    if len(text) > _ANNOUNCEMENT_MAX or '"versions"' not in text:
        return NONE
    try:
        value = parse_json(text)
    except Unreadable:
        return NONE
    found = value.get("versions") if isinstance(value, dict) else None
    return frozenset(one for one in found if type(one) is int) if isinstance(found, list) else NONE


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
