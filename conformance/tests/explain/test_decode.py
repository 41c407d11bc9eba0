"""`meshwire decode`: every field, and where a bad message ends."""

import pytest

from meshwire_conformance.explain.decode import decode_lines, guess_lines

TOMBSTONE = "000374726b0003642d310000018bcfe5687b010203040506070800046e642d610003776879"


def test_every_field_has_offset_bytes_value_and_meaning() -> None:
    """One line per field, in wire order."""
    lines, accepted = decode_lines("heartbeat", bytes.fromhex("010000018bcfe56801"))

    assert accepted
    assert lines[1].startswith("0000  01 ")
    assert "marker" in lines[1]
    assert "sent_at" in lines[2]
    assert '"1700000000001"' in lines[2]
    assert "u64, big endian" in lines[2]


def test_a_bad_message_is_shown_up_to_its_fault() -> None:
    """The fields before the fault, then offset, reason, field and rule."""
    lines, accepted = decode_lines("tombstone", bytes.fromhex(TOMBSTONE + "04"))

    assert not accepted
    assert any("deleted_by" in line for line in lines)
    assert any("bad-direction at direction" in line for line in lines)
    assert lines[-1].startswith("TS-002")


def test_what_a_strict_node_refuses_is_said() -> None:
    """Bytes can be sound and still be refused."""
    lines, accepted = decode_lines("sync_entry", bytes.fromhex("000178010000000101"))

    assert not accepted
    assert any(line.endswith("bad-key") for line in lines)
    assert lines[-1].startswith("FR-02")


def test_values_say_what_they_mean() -> None:
    """Names of numbers, times as dates, and the rule about the values of a field."""
    text = "\n".join(decode_lines("tombstone", bytes.fromhex(TOMBSTONE + "02"))[0])
    frame = "\n".join(decode_lines("stream_frame", bytes.fromhex("0003613a62" + "0100000000"))[0])
    far = "\n".join(decode_lines("heartbeat", b"\x01" + b"\xff" * 8)[0])

    assert "2 (down only)" in text
    assert "[TS-002]" in text
    assert "(2023-11-14T22:13:20.123Z)" in text
    assert "1 (snapshot)" in frame
    assert "[FR-011]" in frame
    assert "after the year 9999" in far


def test_every_byte_of_a_field_on_demand() -> None:
    """Eight bytes are shown, and all of them with the option."""
    data = bytes.fromhex("0003613a62" + "010000000c") + bytes(range(12))

    assert not any("09 0a 0b" in line for line in decode_lines("stream_frame", data)[0])
    assert any("09 0a 0b" in line for line in decode_lines("stream_frame", data, full=True)[0])
    assert decode_lines("formation_result", b"\x01")[0][0] == "formation_result, 1 byte"


def test_one_fitting_kind_is_shown_and_several_are_listed() -> None:
    """Without a kind all are tried."""
    one, _ = guess_lines(bytes.fromhex(TOMBSTONE + "02"))
    many, accepted = guess_lines(b"\x01")
    none, none_accepted = guess_lines(b"\xff" * 7)

    assert one[0].startswith("tombstone,")
    assert accepted
    assert "formation_result" in "\n".join(many)
    assert not none_accepted
    assert none[-1].startswith("0 kinds fit")


@pytest.mark.parametrize(
    ("text", "accepted", "first", "last"),
    [
        ("000b747261636b73616c7068610100000003515253", False, "stream_frame", "also fits: sync_e"),
        ("0003613a620100000000", True, "stream_frame", "also fits: sync_entry"),
        ("0000000000000142", False, "stream_frame", "also fits: sync_entry, tomb"),
    ],
)
def test_bytes_stand_where_a_fitting_kind_takes_them(
    text: str, *, accepted: bool, first: str, last: str
) -> None:
    """A frame has the layout of an entry, so it is shown as the frame, and the entry is named."""
    lines, found = guess_lines(bytes.fromhex(text))

    assert found is accepted
    assert lines[0].startswith(first)
    assert lines[-1].startswith(last)


def test_the_nearest_kind_is_shown_where_none_fits() -> None:
    """With its fields and its fault, and every verdict after that."""
    lines, accepted = guess_lines(bytes.fromhex("0003613a6201000000050102"))

    assert not accepted
    assert lines[0] == "no kind fits; the one that goes furthest is stream_frame:"
    assert lines[-1].startswith("0 kinds fit")


def test_a_row_of_records_is_more_likely_than_ignored_bytes() -> None:
    """Two RESET records fit a heartbeat too, if all but nine bytes are ignored."""
    lines, accepted = guess_lines(bytes.fromhex(("0100000010" + "0000000000000004" * 2) * 2))

    assert accepted
    assert lines[0].startswith("lab_records in a row: 2 whole")
    assert "heartbeat" in lines[-1]


def test_the_only_kind_that_fits_may_be_refused() -> None:
    """Then its fields are shown, and the reason to refuse it."""
    lines, accepted = guess_lines(bytes.fromhex("00096e6f7465733a6e2e3703000000020102"))

    assert not accepted
    assert "decodes, but a strict node refuses it" in "\n".join(lines)
