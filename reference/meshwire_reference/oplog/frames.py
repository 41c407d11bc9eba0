"""The messages of a session: bulks and single operations as text, live operations as bytes."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from meshwire_reference.oplog.operations import SignedOperation
from meshwire_reference.oplog.spelling import read_operation
from meshwire_reference.oplog.values import Unreadable, parse_json

# D-126: a bulk is sent in chunks of at most this many bytes of UTF-8.
CHUNK_BYTES_MAX = 2**20
ENVELOPE_VERSION = 1

_BEGIN, _END = '{"type":"bulk","ops":[', "]}"


@dataclass(frozen=True, slots=True)
class Bulk:
    """Operations as JSON texts, in their order; each is read on its own."""

    texts: tuple[str, ...]


def bulk_chunks(texts: Iterable[str], size_max: int = CHUNK_BYTES_MAX) -> Iterator[tuple[str, int]]:
    """Yield bulk messages with the number of operations in each; one that is too long is alone."""
    parts: list[str] = []
    size = 0
    for text in texts:
        part = json.dumps(text, ensure_ascii=False)
        length = len(part.encode()) + 1
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


def decode_text(text: str) -> Bulk:
    """Return the operations of a text message; raise Unreadable."""
    value = parse_json(text)
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
    return Bulk(tuple(texts))


def encode_live(text: str) -> bytes:
    """Return the binary message of one operation, given as its JSON text."""
    return f'{{"v":{ENVELOPE_VERSION},"op":{text}}}'.encode()


def decode_binary(data: bytes) -> SignedOperation:
    """Return the operation of a binary message; raise Unreadable."""
    try:
        text = data.decode()
    except UnicodeDecodeError as exc:
        raise Unreadable("bad-utf8") from exc
    value: Any = parse_json(text)
    if not isinstance(value, dict):
        raise Unreadable("wrong-type", "object expected")
    # D-135: another version is refused and counted, never guessed at.
    version = value.get("v")
    if type(version) is not int or version != ENVELOPE_VERSION:
        raise Unreadable("unknown-version")
    return read_operation(value.get("op"))
