"""Received and expected frames are shown together, and the first byte that differs is named."""

import pytest

from meshwire_conformance.socket_suite.content import Mismatch, Wanted
from meshwire_conformance.socket_suite.inbox import Arrival
from meshwire_conformance.socket_suite.shortfall import (
    arrival_lines,
    headline,
    received_lines,
    wanted_lines,
)
from meshwire_spec.codec import encode, from_value
from meshwire_spec.numbers import FrameType

KEY = "tracks:alpha"
HEAD = "ab" * 32
OTHER = "ab" * 3 + "cd" * 29


def tombstone(**members: object) -> bytes:
    """Bytes of a tombstone for tracks:alpha with these members."""
    value = {
        "collection": "tracks",
        "document_id": "alpha",
        "deleted_at": "1700000000001",
        "lamport": "257",
        "deleted_by": "node-b",
        "reason": "",
        "direction": 0,
        "extra": "",
        **members,
    }
    return encode(from_value("tombstone", value))


def arrival(frame_type: int, payload: bytes, carrier: int | None = None, key: str = KEY) -> Arrival:
    """Content that peer A got on stream 9."""
    return Arrival(
        "mw-1/x/A", 9, 1, frame_type, key, payload, frame_type if carrier is None else carrier
    )


def pointer(lines: tuple[str, ...]) -> tuple[str, str]:
    """The marked row and what the mark says of it."""
    at = next(number for number, line in enumerate(lines) if "^^" in line)
    return lines[at - 1], lines[at].strip()


CASES = [
    ({"lamport": 258}, "257", "00 00 00 00 00 00 01 01", "lamport = 257 (expected 258)"),
    (
        {"deleted_at": 1700000000002},
        "1700000000001",
        "00 00 01 8b cf e5 68 01",
        "deleted_at = 1700000000001 (expected 1700000000002)",
    ),
    ({"deleted_by": "node-c"}, "node-b", "6e 6f 64 65 2d 62", '"node-c"'),
    ({"deleted_by": "node"}, "node-b", "00 06", "deleted_by.length = 6 (expected 4)"),
    ({"extra": b""}, "5a5b", "5a 5b", "extra = 5a5b (expected nothing more)"),
    ({"direction": 2}, "0", "0000", "direction = 0 (expected 2)"),
]


@pytest.mark.parametrize(("wanted", "came", "row", "says"), CASES, ids=[case[3] for case in CASES])
def test_the_first_byte_of_a_tombstone_that_differs(
    wanted: dict[str, object], came: str, row: str, says: str
) -> None:
    """Its row is marked, and both values are named."""
    demand = Wanted(KEY, FrameType.TOMBSTONE, None, wanted)
    data = tombstone(extra="5a5b" if "extra" in wanted else "")
    mismatch = Mismatch(next(iter(wanted)), came)
    marked, said = pointer(arrival_lines(arrival(FrameType.TOMBSTONE, data), demand, mismatch))

    assert row.replace("0000", "00") in marked
    assert says in said


def test_the_pointer_stands_under_the_byte() -> None:
    """257 and 258 differ in the last of eight bytes."""
    demand = Wanted(KEY, FrameType.TOMBSTONE, None, {"lamport": 258})
    lines = arrival_lines(
        arrival(FrameType.TOMBSTONE, tombstone()), demand, Mismatch("lamport", "257")
    )
    at = next(number for number, line in enumerate(lines) if "^^" in line)

    assert lines[at - 1].rindex("01 ") == lines[at].index("^^")


def test_another_type_is_marked_at_the_type_byte() -> None:
    """Both types with their names."""
    demand = Wanted(KEY, FrameType.DELTA)
    lines = arrival_lines(
        arrival(FrameType.SNAPSHOT, b"\x2a"), demand, Mismatch("type", "a snapshot")
    )

    assert pointer(lines)[1] == "^^ type = 1 (snapshot) (expected 0, delta)"


def test_heads_that_differ_are_both_named() -> None:
    """The first byte of the head that differs, and the beginning of both."""
    payload = bytes.fromhex(f"4201{OTHER}00010000")
    demand = Wanted(KEY, None, frozenset((HEAD,)))
    came = arrival(FrameType.DELTA, payload)
    mismatch = Mismatch("heads", OTHER, HEAD)
    row, said = pointer(arrival_lines(came, demand, mismatch))

    assert "payload.heads[0]" in row
    assert said == f"^^ heads = {OTHER[:16]}... (expected {HEAD[:16]}...)"
    assert HEAD in headline(demand, mismatch)
    assert OTHER in headline(demand, mismatch)
    assert f"head = {HEAD}" in wanted_lines(demand)


def test_another_number_of_heads_is_marked_at_their_count() -> None:
    """An empty document where one was wanted."""
    demand = Wanted(KEY, None, frozenset((HEAD,)))
    came = arrival(FrameType.DELTA, bytes.fromhex("420000010000"))

    assert (
        pointer(arrival_lines(came, demand, Mismatch("heads", "none")))[1]
        == "^^ heads.count = 0 (expected 1)"
    )


def test_what_no_byte_shows_is_said_in_words() -> None:
    """The heads that changes give are not in the bytes."""
    demand = Wanted(KEY, None, frozenset((HEAD,)))
    came = arrival(FrameType.SNAPSHOT, b"\x2a")

    assert arrival_lines(came, demand, Mismatch("heads", "its changes give none"))[-1] == (
        "heads: its changes give none"
    )


@pytest.mark.parametrize(
    ("carrier", "first"),
    [
        (FrameType.BATCH, "tombstones:tracks:alpha"),
        (FrameType.TOMBSTONE_BATCH, 'collection = "tracks"'),
    ],
)
def test_what_came_inside_a_batch_is_shown_as_the_entry_it_was(carrier: int, first: str) -> None:
    """The bytes shown are those that stood in the batch."""
    demand = Wanted(KEY, FrameType.TOMBSTONE, None, {"lamport": 258})
    lines = arrival_lines(
        arrival(FrameType.TOMBSTONE, tombstone(), carrier), demand, Mismatch("lamport", "257")
    )

    assert "inside a" in lines[0]
    assert first in lines[2]
    assert "(expected 258)" in pointer(lines)[1]


def test_of_many_arrivals_the_last_is_shown_in_full() -> None:
    """The others have a line each, and not all of them."""
    came = [(arrival(FrameType.SNAPSHOT, b"\x2a"), Mismatch("type", "a snapshot"))] * 9
    lines = received_lines(came, Wanted(KEY, FrameType.DELTA))

    assert sum(line.startswith("peer A") for line in lines) == 5
    assert sum("^^" in line for line in lines) == 1
