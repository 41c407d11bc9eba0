"""Document payloads that hurt the library that reads them, and legal ones that it cannot show.

Everything is made byte by byte: the library itself refuses to write most of it. Checksums are
right, since a wrong one would hide the parser behind it.
"""

import hashlib
import random
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from meshwire_spec.numbers import READ_MESSAGE, FrameType

MAGIC: Final = bytes.fromhex("856f4a83")
DOCUMENT, CHANGE, COMPRESSED_CHANGE = 0, 1, 2
CAPABILITIES: Final = READ_MESSAGE[-3:]

KEY_TEXT, INSERT, ACTION, VALUE_META, VALUE_RAW, PREDECESSORS = 0x15, 0x34, 0x42, 0x56, 0x57, 0x70
"""Columns of a change: their ids with their types."""
SET: Final = 1
TRUE, COUNTER, TIMESTAMP = 2, 8, 9
UNKNOWN_TYPES: Final = (10, 15)
PAST_THE_CALENDAR_MS: Final = 300_000_000_000_000
"""In the year 11476."""

ACTOR: Final = bytes.fromhex("c5" * 16)
COUNTS: Final = tuple(2**power for power in (40, 48, 56, 63))
PROBES: Final = (10**8, 2**32 - 1)
CLAIMS: Final = (10**6, 10**7)
BOMB_BYTES: Final = 300 * 10**6


@dataclass(frozen=True, slots=True)
class Payload:
    """One payload with the frame type that carries it, and what it does to a careless reader."""

    name: str
    type: FrameType
    data: bytes
    harm: str


def unsigned(number: int) -> bytes:
    """Encode an unsigned LEB128 number."""
    encoded = bytearray()
    while number > 0x7F:  # noqa: PLR2004  # seven bits a byte
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*encoded, number))


def signed(number: int) -> bytes:
    """Encode a signed LEB128 number."""
    encoded = bytearray()
    while not -0x40 <= number < 0x40:  # noqa: PLR2004  # seven bits a byte, one of them the sign
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*encoded, number & 0x7F))


def prefixed(data: bytes) -> bytes:
    """Put the length in front."""
    return unsigned(len(data)) + data


def chunk(kind: int, body: bytes) -> bytes:
    """Make a chunk with the right checksum."""
    content = bytes((kind,)) + prefixed(body)
    return MAGIC + hashlib.sha256(content).digest()[:4] + content


def change(meta: int, raw: bytes = b"", *, count: int = 1, key: str = "k") -> bytes:
    """Make a change that sets one root field, `count` times over by its run-length columns.

    `meta` is type and length of the value, `raw` its bytes.
    """

    def run(value: bytes) -> bytes:
        return signed(count if count > 1 else -1) + value

    columns = [
        (KEY_TEXT, run(prefixed(key.encode()))),
        (INSERT, unsigned(count)),
        (ACTION, run(unsigned(SET))),
        (VALUE_META, run(unsigned(meta))),
        (VALUE_RAW, raw),
        (PREDECESSORS, run(unsigned(0))),
    ]
    columns = [(column, data) for column, data in columns if data]
    # No dependencies; sequence number 1, first operation 1, time 0; no message, no other actors.
    body = unsigned(0) + prefixed(ACTOR) + bytes((1, 1, 0, 0, 0)) + unsigned(len(columns))
    body += b"".join(unsigned(column) + unsigned(len(data)) for column, data in columns)
    return chunk(CHANGE, body + b"".join(data for _, data in columns))


def scalar(kind: int, raw: bytes) -> bytes:
    """Make a change that sets the field `k` to a scalar of this type."""
    return change(len(raw) << 4 | kind, raw)


def change_hash(single: bytes) -> bytes:
    """Return the hash of a change chunk."""
    return hashlib.sha256(single[len(MAGIC) + 4 :]).digest()


def sync_message(
    *changes: bytes, heads: tuple[bytes, ...] = (), have: bytes = b"\x01\x00\x00"
) -> bytes:
    """Make a sync message; `have` is the whole field, with its count."""
    message = b"\x42" + unsigned(len(heads)) + b"".join(heads) + unsigned(0) + have
    return message + unsigned(len(changes)) + b"".join(map(prefixed, changes)) + CAPABILITIES


def delta(single: bytes) -> bytes:
    """Make the sync message that brings one change."""
    return sync_message(single, heads=(change_hash(single),))


def odd_scalars() -> Iterator[tuple[str, bytes]]:
    """Yield legal changes whose value many a library cannot show: to be kept and passed on."""
    yield "counter", scalar(COUNTER, signed(5))
    yield "timestamp past the year 9999", scalar(TIMESTAMP, signed(PAST_THE_CALENDAR_MS))
    for kind in UNKNOWN_TYPES:
        yield f"unknown scalar type {kind}", scalar(kind, b"\x01\x02")


def hostile_payloads() -> Iterator[Payload]:
    """Yield every hostile payload but the mutated ones."""
    yield from hostile_filters()
    yield from hostile_claims()
    yield from hostile_counts()
    yield Payload("deflated to 300 MB", FrameType.SNAPSHOT, bomb(), "takes 513 MiB")
    yield Payload("one actor, two histories", FrameType.SNAPSHOT, fork(), "must not be merged")


def hostile_filters() -> Iterator[Payload]:
    """Yield messages whose bloom filter claims more probes than there is memory."""
    head = hashlib.sha256(b"nobody has it").digest()
    for probes in PROBES:
        # One entry of 10 bits in two bytes.
        bloom = unsigned(1) + unsigned(10) + unsigned(probes) + b"\xff\xff"
        have = unsigned(1) + unsigned(0) + prefixed(bloom)
        harm = "the next answer reserves 16 GiB, or takes a minute"
        yield Payload(f"filter of {probes} probes", FrameType.DELTA, sync_message(have=have), harm)
        message = sync_message(have=have, heads=(head,))
        name = f"filter of {probes} probes, with a head"
        yield Payload(name, FrameType.DELTA, message, harm)


def hostile_claims() -> Iterator[Payload]:
    """Yield changes of 70 bytes whose run-length columns claim millions of operations."""
    for claim in CLAIMS:
        single, harm = change(TRUE, count=claim), "seconds and gigabytes"
        yield Payload(f"snapshot that claims {claim} rows", FrameType.SNAPSHOT, single, harm)
        yield Payload(f"delta that claims {claim} rows", FrameType.DELTA, delta(single), harm)


def hostile_counts() -> Iterator[Payload]:
    """Yield messages that announce more heads, filters or changes than bytes could follow."""
    start, harm = b"\x42", "none here, an abort where the count is reserved"
    for count in COUNTS:
        number = unsigned(count)
        for name, data in {
            "heads": start + number,
            "needs": start + b"\x00" + number,
            "filters": start + b"\x00\x00" + number,
            "changes": start + b"\x00\x00\x00" + number,
        }.items():
            yield Payload(f"{count} {name}", FrameType.DELTA, data + CAPABILITIES, harm)


def bomb() -> bytes:
    """Make a compressed change of 292 KB that inflates to 300 MB."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    zeros = bytes(10**6)
    parts = [deflate.compress(zeros) for _ in range(BOMB_BYTES // len(zeros))]
    return chunk(COMPRESSED_CHANGE, b"".join((*parts, deflate.flush())))


def fork() -> bytes:
    """Make two changes of one actor with one sequence number."""
    return scalar(TRUE, b"") + change(TRUE, key="another")


def mutate(payload: bytes, seed: int) -> bytes:
    """Return a payload with one to three bytes changed and every checksum made right again."""
    mutation = random.Random(seed)
    data = bytearray(payload)
    for _ in range(mutation.choice((1, 1, 1, 2, 3))):
        place = mutation.randrange(len(data))
        flipped = data[place] ^ 1 << mutation.randrange(8)
        data[place] = mutation.choice((mutation.randrange(256), flipped, 0, 0x7F, 0x80, 0xFF))
    return mend_checksums(bytes(data))


def mend_checksums(payload: bytes) -> bytes:
    """Return a payload in which the checksum of every whole chunk is right."""
    data = bytearray(payload)
    at = data.find(MAGIC)
    while at >= 0:
        size = shift = 0
        end = at + 9
        while end < len(data):
            size |= (data[end] & 0x7F) << shift
            shift += 7
            end += 1
            if data[end - 1] < 0x80:  # noqa: PLR2004  # the last byte of a number
                break
        end += size
        if size and end <= len(data):
            data[at + 4 : at + 8] = hashlib.sha256(data[at + 8 : end]).digest()[:4]
        at = data.find(MAGIC, end if end <= len(data) else at + 1)
    return bytes(data)
