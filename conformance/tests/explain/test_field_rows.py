"""Bytes are shown field by field, and the place that matters is marked."""

import random

import pytest

from meshwire_conformance.explain.field_rows import ROWS_MAX, rows_of, summary
from meshwire_conformance.explain.hexdump import Mark
from meshwire_conformance.self_check.generated import samples
from meshwire_spec.numbers import KINDS

TOMBSTONE = (
    "0006747261636b73 0005616c706861 0000018bcfe56801 0000000000000102 00066e6f64652d62 0001 78"
)
FRAME = f"0017 746f6d6273746f6e65733a747261636b733a616c706861 04 0000002b {TOMBSTONE}"


def frame(direction: int = 2) -> bytes:
    """A frame that deletes tracks:alpha, with this direction."""
    return bytes.fromhex(FRAME) + bytes((direction,))


def test_every_field_of_a_frame_and_its_payload_is_a_row() -> None:
    """Offset, bytes, path and value, the payload opened by its type."""
    rows = rows_of("stream_frame", frame())

    assert rows == (
        "0000  00 17                      key.length = 23",
        '0002  74 6f 6d 62 73 74 6f 6e .. key = "tombstones:tracks:alpha"',
        "0019  04                         type = 4 (tombstone)",
        "001a  00 00 00 2b                payload.length = 43",
        "001e  00 06                      payload.collection.length = 6",
        '0020  74 72 61 63 6b 73          payload.collection = "tracks"',
        "0026  00 05                      payload.document_id.length = 5",
        '0028  61 6c 70 68 61             payload.document_id = "alpha"',
        "002d  00 00 01 8b cf e5 68 01    payload.deleted_at = 1700000000001",
        "0035  00 00 00 00 00 00 01 02    payload.lamport = 258",
        "003d  00 06                      payload.deleted_by.length = 6",
        '003f  6e 6f 64 65 2d 62          payload.deleted_by = "node-b"',
        "0045  00 01                      payload.reason.length = 1",
        '0047  78                         payload.reason = "x"',
        "0048  02                         payload.direction = 2",
    )


def test_a_fault_inside_a_payload_is_marked_where_it_is() -> None:
    """The byte, its field and the reason."""
    *_, row, pointer = rows_of("stream_frame", frame(direction=4))

    assert row == "0048  04                         (the rest)"
    assert pointer.startswith("      ^^ direction: bad-direction")


def test_a_mark_points_at_its_byte() -> None:
    """The pointer stands under the byte, also behind the first ones of a long field."""
    rows = rows_of("stream_frame", frame(), Mark(2 + 19, 1, "here"))
    at = next(number for number, row in enumerate(rows) if "here" in row)

    assert rows[at - 1] == '0012  73 3a 61 6c 70 68 61       key = "tombstones:tracks:alpha"'
    assert rows[at].index("^^") == rows[at - 1].index("6c")
    assert rows[at].strip() == "^^ here"


def test_bytes_that_end_too_early_are_marked_at_their_end() -> None:
    """Where the next byte should have been."""
    *_, end, pointer = rows_of("heartbeat", bytes.fromhex("01000001"))

    assert end.startswith("0001  00 00 01")
    assert "sent_at: truncated" in pointer


def test_what_is_whole_and_yet_refused_says_why() -> None:
    """A key outside the grammar has no byte that is wrong by itself."""
    *_, last = rows_of("sync_entry", bytes.fromhex("0002 6e6f 01 00000001 2a"))

    assert last == "every field is whole, and yet this is to be refused: bad-key"


def test_heads_of_a_sync_message_are_fields() -> None:
    """Automerge's messages are in no schema, but their heads are what cases ask for."""
    payload = bytes.fromhex("4201" + "ab" * 32 + "00010000")
    data = b"\x00\x03a:b\x00" + len(payload).to_bytes(4, "big") + payload
    rows = rows_of("stream_frame", data)

    assert rows[4:] == (
        "000a  42                         payload.marker = 66",
        "000b  01                         payload.heads.count = 1",
        f"000c  {'ab ' * 8}.. payload.heads[0] = {'ab' * 16}...",
        "002c  00 01 00 00                payload.rest, 4 bytes",
    )


def test_a_fault_behind_whole_entries_is_marked_where_its_entry_begins() -> None:
    """A batch stands up to there."""
    head = bytes.fromhex("0000000000000102 0000018bcfe56801 05 00000002")
    entry = bytes.fromhex("0003 613a62 01 00000001 2a")
    rows = rows_of("sync_batch", head + entry + entry[:-1])
    at = next(number for number, row in enumerate(rows) if "^^" in row)

    assert rows[at - 1].startswith("0020  00 03")
    assert "truncated" in rows[at]


def test_many_fields_are_told_shortly() -> None:
    """The first ones, those around the mark, and how many were left out."""
    head = bytes.fromhex("0000000000000102 0000018bcfe56801 05 00000010")
    data = head + bytes.fromhex("0003 613a62 01 00000001 2a") * 16
    plain = rows_of("sync_batch", data)
    marked = rows_of("sync_batch", data, Mark(len(data) - 1, 1, "here"))

    assert len(plain) <= ROWS_MAX + 2
    assert any("more fields" in row for row in plain)
    assert marked[-1].endswith("here")
    assert "entries[15].payload" in marked[-2]


@pytest.mark.parametrize(
    ("kind", "data", "said"),
    [
        ("", "2a2b", "2a 2b"),
        ("heartbeat", "010000018bcfe56801", "sent_at = 1700000000001"),
        ("heartbeat", "02", "marker: bad-marker (0x02 instead of 0x01)"),
    ],
)
def test_a_message_in_one_line(kind: str, data: str, said: str) -> None:
    """The fields that distinguish a message from others of its kind, and its fault."""
    assert summary(kind, bytes.fromhex(data)) == said


def test_a_record_of_the_lab_binding_has_its_own_types() -> None:
    """Type 0 is DATA there, not a delta."""
    (first, *_) = rows_of("lab_record", bytes.fromhex("07 00000008 0102030405060708"))

    assert first.endswith("type = 7 (ping)")


@pytest.mark.parametrize("kind", KINDS)
def test_any_bytes_can_be_shown(kind: str) -> None:
    """Any bytes of a target are shown as rows, never as an error of the suite."""
    source = random.Random(f"rows of {kind}")
    for data in samples(kind, 20, source):
        for length in {len(data), source.randrange(len(data) + 1)}:
            rows = rows_of(kind, data[:length])
            summary(kind, data[:length])

            assert len(rows) <= ROWS_MAX + 6
            assert rows or not length
