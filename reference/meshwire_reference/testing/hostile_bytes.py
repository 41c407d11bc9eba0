"""Bytes that hurt the Automerge library, with right checksums: a wrong one hides the parser."""

import hashlib
import random
import zlib
from typing import Final

from meshwire_spec.numbers import READ_MESSAGE

MAGIC: Final = bytes.fromhex("856f4a83")

CLAIMS_6: Final = "856f4a8355c4d1fe01360010c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c501010000000515053403420456047004c0843d016bc0843dc0843d01c0843d02c0843d00"  # noqa: E501  # one change
CLAIMS_7: Final = "856f4a836fc328ba013b0010c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c50101000000051506340442055605700580ade204016b80ade20480ade2040180ade2040280ade20400"  # noqa: E501  # one change
TWO_HISTORIES: Final = "856f4a831e94736c012c0010c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5010100000005150334014202560270027f016b017f017f027f00856f4a83b5dd944b01320010c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5010100000005150934014202560270027f07616e6f74686572017f017f027f00"  # noqa: E501  # two changes
ODD_SCALARS: Final = {
    "counter": "856f4a83c16038a4012f0010c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c50101000000061503340142025602570170027f016b017f017f18057f00",  # noqa: E501  # one change
    "timestamp": "856f4a83750baecd01370010c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c50101000000061503340142025603570870027f016b017f017f89018080bb8b939bc4007f00",  # noqa: E501  # one change
    "unknown 10": "856f4a8309a9de4d01300010c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c50101000000061503340142025602570270027f016b017f017f2a01027f00",  # noqa: E501  # one change
    "unknown 15": "856f4a83999159d301300010c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c50101000000061503340142025602570270027f016b017f017f2f01027f00",  # noqa: E501  # one change
}


def hash_of(change: bytes) -> bytes:
    """Return the hash of a change chunk."""
    return hashlib.sha256(change[8:]).digest()


def delta(change: bytes) -> bytes:
    """Return the sync message that brings one change."""
    head = b"\x42\x01" + hash_of(change) + b"\x00\x01\x00\x00\x01"
    return head + bytes((len(change),)) + change + READ_MESSAGE[-3:]


def bomb() -> bytes:
    """Return a compressed change of 292 KB that inflates to 300 MB."""
    stream = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = b"".join(stream.compress(bytes(10**6)) for _ in range(300)) + stream.flush()
    size = len(body)
    content = bytes((2, size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14)) + body
    return MAGIC + hashlib.sha256(content).digest()[:4] + content


def mutate(payload: bytes, mutation: random.Random) -> bytes:
    """Return a payload with a few bytes changed and the checksum of its one chunk made right."""
    data = bytearray(payload)
    for _ in range(mutation.choice((1, 1, 1, 2, 3))):
        data[mutation.randrange(len(data))] = mutation.choice((0, 1, 0x7F, 0x80, 0xFF))
    at = data.find(MAGIC)
    end = at + 11 + (data[at + 9] & 0x7F) + (data[at + 10] << 7)
    if at >= 0 and end <= len(data):
        data[at + 4 : at + 8] = hashlib.sha256(data[at + 8 : end]).digest()[:4]
    return bytes(data)


HEADS: Final = {"no heads": "00", "a head": "01" + "32" * 32}
# One filter of one entry with 10 bits: its length, then what it claims.
FILTERS: Final = {
    f"10^8 probes, {name}": bytes.fromhex(f"42{heads}00010008010a80c2d72fffff00020102")
    for name, heads in HEADS.items()
} | {
    f"2^32 - 1 probes, {name}": bytes.fromhex(f"42{heads}00010009010affffffff0fffff00020102")
    for name, heads in HEADS.items()
}
COUNTS: Final = {
    f"2^{power} {field}": b"\x42" + b"\x00" * place + number + READ_MESSAGE[-3:]
    for power, number in (
        (40, b"\x80" * 5 + b"\x20"),
        (56, b"\x80" * 8 + b"\x01"),
        (63, b"\x80" * 9 + b"\x01"),
    )
    for place, field in enumerate(("heads", "needs", "filters", "changes"))
}
