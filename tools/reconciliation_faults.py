"""Malformed messages of a reconciliation: one change each, and the reason to refuse it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from meshwire_conformance.protocol.negentropy_messages import read_message, varint_of
from meshwire_spec.numbers import NEGENTROPY_ID, NEGENTROPY_VERSION, U64_MAX

VERSION = bytes((NEGENTROPY_VERSION,))
LONG = b"\x80"
"""A group of zero bits in front of a varint."""


@dataclass(frozen=True, slots=True)
class MessageFault:
    """The common properties of the faults of one class."""

    rule: str
    reasons: tuple[str, ...]
    hunts: str
    harm: str


CLASSES = {
    "long": MessageFault(
        "NG-003",
        ("bad-varint",),
        "a varint with leading zero groups is accepted",
        "one message has any number of encodings, and long ones cost time",
    ),
    "wide": MessageFault(
        "NG-003",
        ("bad-varint",),
        "a varint of more than 64 bits is truncated",
        "the two sides decode different bounds or counts",
    ),
    "prefix": MessageFault(
        "NG-004",
        ("bad-bound",),
        "a prefix longer than an id is accepted",
        "memory after the id is overwritten, or the bound differs from the encoded one",
    ),
    "timestamp": MessageFault(
        "NG-005",
        ("bad-bound",),
        "a sum above the greatest timestamp is truncated to infinity",
        "ranges are skipped without being compared",
    ),
    "behind": MessageFault(
        "NG-006",
        ("bad-bound",),
        "ranges after infinity are answered",
        "each range costs work for items that cannot exist",
    ),
    "mode": MessageFault(
        "NG-007",
        ("bad-mode",),
        "an unknown mode is treated as a skip or a list",
        "the rest of the message is decoded at the wrong offset",
    ),
    "count": MessageFault(
        "NG-008",
        ("count-limit",),
        "memory is allocated for the announced id count before it is checked",
        "nine bytes from a peer end the process",
    ),
    "cut": MessageFault(
        "NG-009",
        ("truncated", "count-limit"),
        "a truncated range is decoded as if zeros followed",
        "ranges are skipped without being compared",
    ),
    "order": MessageFault(
        "NG-011",
        ("bad-bound",),
        "bounds that do not increase are accepted",
        "a range of negative size is processed, or one range is answered repeatedly",
    ),
    "version": MessageFault(
        "NG-002",
        ("bad-version",),
        "a message of another version or protocol is decoded as this version",
        "its bytes are misinterpreted, and equal sets are reported as different",
    ),
    "empty": MessageFault(
        "NG-009",
        ("truncated",),
        "an empty message is treated as the end of the run",
        "an incomplete run is reported as complete",
    ),
}


@dataclass(frozen=True, slots=True)
class Spoilt:
    """A malformed message: its class, its fault, the field of the fault, and the bytes."""

    fault: MessageFault
    name: str
    field: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Piece:
    """One range as bytes: difference, length and prefix, mode, count, and content."""

    step: bytes
    size: bytes
    prefix: bytes
    mode: bytes
    count: bytes
    said: bytes

    def data(self) -> bytes:
        """Return the bytes of the range."""
        return self.step + self.size + self.prefix + self.mode + self.count + self.said


def pieces_of(message: bytes) -> list[Piece]:
    """Return the ranges of a valid message as pieces."""
    found, last = [], 0
    for part in read_message(message):
        timestamp, prefix = part.upper
        step = varint_of(0 if timestamp == U64_MAX else timestamp - last + 1)
        last = timestamp
        bound = (step, varint_of(len(prefix)), prefix)
        if part.said is None:
            found.append(Piece(*bound, b"\x00", b"", b""))
        elif isinstance(part.said, bytes):
            found.append(Piece(*bound, b"\x01", b"", part.said))
        else:
            found.append(Piece(*bound, b"\x02", varint_of(len(part.said)), b"".join(part.said)))
    return found


def message_of(pieces: list[Piece]) -> bytes:
    """Return a message of these ranges."""
    return VERSION + b"".join(piece.data() for piece in pieces)


FIELDS = ("step", "size", "mode", "count")
WORDS = {"step": "timestamp", "size": "prefix length", "mode": "mode", "count": "id count"}


def spoil(message: bytes) -> Iterator[Spoilt]:
    """Yield every malformed message made from this valid one."""
    pieces = pieces_of(message)
    listed = [at for at, piece in enumerate(pieces) if piece.mode == b"\x02" and piece.said]
    at = listed[0] if listed else len(pieces) // 2
    yield from _numbers(pieces, at)
    yield from _bounds(pieces, at)
    yield from _ends(pieces)
    yield from _cuts(pieces, at)
    if listed:
        yield from _counts(pieces, at)


def _at(pieces: list[Piece], at: int, **changes: bytes) -> bytes:
    return message_of([*pieces[:at], replace(pieces[at], **changes), *pieces[at + 1 :]])


def _numbers(pieces: list[Piece], at: int) -> Iterator[Spoilt]:
    for field in FIELDS:
        value = getattr(pieces[at], field)
        if not value:
            continue
        place = f"ranges[{at}], {WORDS[field]}"
        data = _at(pieces, at, **{field: LONG + value})
        yield Spoilt(CLASSES["long"], f"{WORDS[field]} with a leading zero group", place, data)
        data = _at(pieces, at, **{field: varint_of(2**64)})
        yield Spoilt(CLASSES["wide"], f"{WORDS[field]} of 65 bits", place, data)
    for mode in (3, 4, 127, 128, 2**63):
        place = f"ranges[{at}], mode"
        yield Spoilt(CLASSES["mode"], f"mode {mode}", place, _at(pieces, at, mode=varint_of(mode)))


def _bounds(pieces: list[Piece], at: int) -> Iterator[Spoilt]:
    prefix = (b"\x6b" * 33, b"\x6b" * 255)
    for text in prefix:
        data = _at(pieces, at, size=varint_of(len(text)), prefix=text)
        name = f"a prefix of {len(text)} bytes"
        yield Spoilt(CLASSES["prefix"], name, f"ranges[{at}], prefix length", data)
    start = Piece(b"\x02", b"\x00", b"", b"\x00", b"", b"")
    far = replace(start, step=varint_of(U64_MAX))
    # No range may follow: any range after an infinite bound would be refused.
    data = message_of([start, far])
    yield Spoilt(
        CLASSES["timestamp"], "differences that add up to a timestamp of 2^64-1", "ranges[1]", data
    )
    low = replace(start, step=b"\x01", size=b"\x01", prefix=b"\x0b")
    for name, text in (("a decreasing bound", b"\x0a"), ("a repeated bound", b"\x0b")):
        data = message_of([low, replace(low, prefix=text), *pieces])
        yield Spoilt(CLASSES["order"], name, "ranges[1], bound", data)
    shorter = replace(low, size=b"\x00", prefix=b"")
    data = message_of([low, shorter, *pieces])
    yield Spoilt(CLASSES["order"], "a bound that is a prefix of the one before", "ranges[1]", data)


def _ends(pieces: list[Piece]) -> Iterator[Spoilt]:
    if pieces[-1].step != b"\x00":
        return
    end = Piece(b"\x00", b"\x00", b"", b"\x00", b"", b"")
    behind = (
        ("a skip", replace(end)),
        ("an empty list", replace(end, mode=b"\x02", count=b"\x00")),
        ("a fingerprint of items", replace(end, mode=b"\x01", said=b"\xa5" * 16)),
        ("a finite bound", replace(end, step=b"\x05")),
        ("a varint with a leading zero group", replace(end, step=b"\x80\x01")),
    )
    for name, piece in behind:
        place = f"ranges[{len(pieces)}]"
        data = message_of([*pieces, piece])
        yield Spoilt(CLASSES["behind"], f"{name} after infinity", place, data)


def _cuts(pieces: list[Piece], at: int) -> Iterator[Spoilt]:
    head = message_of(pieces[:at])
    piece = pieces[at]
    bound = piece.step + piece.size + piece.prefix
    cuts = [
        ("timestamp", piece.step[:-1] or b"\xb5"),
        ("prefix length", piece.step),
        ("prefix", bound[:-1] if piece.prefix else piece.step + b"\x03\x41\x42"),
        ("mode", bound),
    ]
    if piece.count:
        cuts.append(("id count", bound + piece.mode))
    if piece.said:
        cuts.append(("last id" if piece.count else "fingerprint", piece.data()[:-1]))
    for name, rest in cuts:
        place = f"ranges[{at}], {name}"
        yield Spoilt(CLASSES["cut"], f"truncated in the {name}", place, head + rest)


def _counts(pieces: list[Piece], at: int) -> Iterator[Spoilt]:
    place = f"ranges[{at}], id count"
    left = len(message_of(pieces[at:])) // NEGENTROPY_ID
    for name, number in (
        ("an id count one above the greatest that fits", left + 1),
        ("an id count of 2^28 - 1", 2**28 - 1),
        ("an id count of 2^59, which overflows as a size", 2**59),
        ("an id count of 2^64 - 1", U64_MAX),
    ):
        data = _at(pieces, at, count=varint_of(number))
        yield Spoilt(CLASSES["count"], name, place, data)


def versions(*, server: bool) -> Iterator[Spoilt]:
    """Yield messages whose first byte is not this version; a server answers some of them."""
    numbers = (0x00, 0x5F, 0x70, 0xFF) if server else (0x00, 0x5F, 0x60, 0x62, 0x6F, 0x70, 0xFF)
    for number in numbers:
        data = bytes((number,)) + b"\x00\x00\x02\x00"
        yield Spoilt(CLASSES["version"], f"first byte {number:02x}", "version", data)
    yield Spoilt(CLASSES["empty"], "an empty message", "version", b"")
