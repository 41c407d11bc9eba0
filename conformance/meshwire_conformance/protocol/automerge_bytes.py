"""Automerge bytes built by hand, for content that its library refuses to write.

Covers only what the hostile cases need: change chunks with chosen columns, sync messages with
chosen filters, and checksums that match whatever content was written. Of a sync message or
a saved document that a target sends, only its counts are read.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Mapping

from meshwire_spec.numbers import AUTOMERGE_SYNC_MARKERS

MAGIC = bytes.fromhex("856f4a83")
CHANGE = 1
DEFLATED = 2
CHECKSUM = 4
TYPE_AT = len(MAGIC) + CHECKSUM
DOCUMENT = 0
HASH = 32
MARKERS = frozenset(bytes((marker,)) for marker in AUTOMERGE_SYNC_MARKERS)

KEY = 0x15
INSERT = 0x34
ACTION = 0x42
VALUE_META = 0x56
VALUE = 0x57
PREDECESSORS = 0x70
"""Specifications of the operation columns."""
SET = 1
INT = 4
TEXT = 6
COUNTER = 8
TIMESTAMP = 9
UNKNOWN = 14


def unsigned(value: int) -> bytes:
    """Return an unsigned LEB128 number."""
    out = bytearray()
    while True:
        value, low = value >> 7, value & 0x7F
        out.append(low | (0x80 if value else 0))
        if not value:
            return bytes(out)


def signed(value: int) -> bytes:
    """Return a signed LEB128 number."""
    out = bytearray()
    while True:
        low = value & 0x7F
        value >>= 7
        over = (value == 0 and not low & 0x40) or (value == -1 and low & 0x40)
        out.append(low if over else low | 0x80)
        if over:
            return bytes(out)


def chunk(kind: int, body: bytes) -> bytes:
    """Return a chunk with the correct checksum."""
    rest = bytes((kind,)) + unsigned(len(body)) + body
    return MAGIC + hashlib.sha256(rest).digest()[:CHECKSUM] + rest


def checksum_mended(data: bytes) -> bytes:
    """Return a single chunk with its checksum computed anew, as an attacker would."""
    start = len(MAGIC) + CHECKSUM
    digest = hashlib.sha256(data[start:]).digest()[:CHECKSUM]
    return data[: len(MAGIC)] + digest + data[start:]


def change_hash(data: bytes) -> str:
    """Return the hash of a change chunk: the head of a document that ends with it."""
    return hashlib.sha256(data[len(MAGIC) + CHECKSUM :]).hexdigest()


def change_body(
    actor: bytes, columns: Mapping[int, bytes], *, message: bytes = b"", sequence: int = 1
) -> bytes:
    """Return the body of a change without ancestors whose operations start at 1, at time 0."""
    metadata = b"".join(unsigned(spec) + unsigned(len(data)) for spec, data in columns.items())
    return b"".join(
        (
            b"\x00",
            unsigned(len(actor)) + actor,
            unsigned(sequence),
            unsigned(1),
            signed(0),
            unsigned(len(message)) + message,
            b"\x00",
            unsigned(len(columns)) + metadata,
            *columns.values(),
        )
    )


def set_columns(count: int, value_type: int, value: bytes) -> dict[int, bytes]:
    """Return columns of `count` operations that set one key of the root to one value each."""
    run = signed(count) if count > 1 else signed(-1)
    meta = unsigned(len(value) << 4 | value_type)
    return {
        KEY: run + b"\x01k",
        INSERT: unsigned(count),
        ACTION: run + bytes((SET,)),
        VALUE_META: run + meta,
        **({VALUE: value * count} if value else {}),
        PREDECESSORS: run + b"\x00",
    }


def change(actor: bytes, count: int, value_type: int, value: bytes) -> bytes:
    """Return a change chunk of `count` equal operations."""
    return chunk(CHANGE, change_body(actor, set_columns(count, value_type, value)))


def deflated_change(actor: bytes, size: int) -> bytes:
    """Return a small deflated change whose message inflates to `size` bytes."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = change_body(actor, set_columns(1, TEXT, b"v"), message=bytes(size))
    return chunk(DEFLATED, packer.compress(body) + packer.flush())


def sync_message(
    *, heads: bytes = b"\x00", need: bytes = b"\x00", have: bytes, changes: bytes = b"\x00"
) -> bytes:
    """Return a sync message of the first kind from its four raw parts."""
    return b"\x42" + heads + need + have + changes


def filters_of(
    *, count: int = 1, entries: int = 1, bits: int = 10, probes: int = 7, size: int = 2
) -> bytes:
    """Return the `have` part of a sync message: `count` equal Bloom filters without hashes.

    Each makes these claims about `size` bytes.
    """
    bloom = unsigned(entries) + unsigned(bits) + unsigned(probes) + bytes(size)
    return unsigned(count) + (b"\x00" + unsigned(len(bloom)) + bloom) * count


def mutations(data: bytes, count: int) -> Iterator[bytes]:
    """Yield copies of the chunk with one byte changed and a correct checksum, always the same."""
    start = len(MAGIC) + CHECKSUM + 1
    for number in range(count):
        digest = hashlib.sha256(number.to_bytes(4, "big")).digest()
        at = start + int.from_bytes(digest[:4], "big") % (len(data) - start)
        changed = data[:at] + bytes((data[at] ^ (digest[4] | 1),)) + data[at + 1 :]
        yield checksum_mended(changed)


def announces(message: bytes) -> bool:
    """Return True if a sync message has heads and no changes (DC-058)."""
    if message[:1] not in MARKERS:
        return False
    try:
        heads, at = _past_hashes(message, 1)
        _, at = _past_hashes(message, at)
        filters, at = _number(message, at)
        for _ in range(filters):
            _, at = _past_hashes(message, at)
            size, at = _number(message, at)
            at += size
        changes, _ = _number(message, at)
    except IndexError:
        return False
    return heads > 0 and changes == 0


def actors_of(saved: bytes) -> tuple[int, int]:
    """Return how many actors and heads a saved document has. Raises ValueError for other bytes."""
    try:
        if saved[TYPE_AT] != DOCUMENT:
            raise ValueError("the bytes begin with another chunk than a document")
        _, at = _number(saved, TYPE_AT + 1)
        actors, at = _number(saved, at)
        for _ in range(actors):
            size, at = _number(saved, at)
            at += size
        heads, _ = _number(saved, at)
    except IndexError:
        raise ValueError("the document is cut short") from None
    return actors, heads


def _past_hashes(message: bytes, at: int) -> tuple[int, int]:
    """Return the number of hashes of a list at a place, and where it ends."""
    count, at = _number(message, at)
    return count, at + count * HASH


def _number(message: bytes, at: int) -> tuple[int, int]:
    """Return the unsigned LEB128 number at a place, and where it ends. Raises IndexError."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at
