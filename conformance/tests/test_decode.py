"""`meshwire decode`: every field, and where a bad message ends."""

from pathlib import Path

import pytest

from meshwire_conformance.commands.decode import read_bytes
from meshwire_conformance.decode import decode_lines, guess_lines
from meshwire_conformance.errors import UsageError

TOMBSTONE = "000374726b0003642d310000018bcfe5687b010203040506070800046e642d610003776879"


def test_every_field_has_offset_bytes_value_and_meaning() -> None:
    """One line a field, in wire order."""
    lines, stands = decode_lines("heartbeat", bytes.fromhex("010000018bcfe56801"))

    assert stands
    assert lines[1].startswith("0000  01 ")
    assert "marker" in lines[1]
    assert "sent_at" in lines[2]
    assert '"1700000000001"' in lines[2]
    assert "u64, big endian" in lines[2]


def test_a_bad_message_is_shown_up_to_its_fault() -> None:
    """The fields before the fault, then offset, reason, field and rule."""
    lines, stands = decode_lines("tombstone", bytes.fromhex(TOMBSTONE + "04"))

    assert not stands
    assert any("deleted_by" in line for line in lines)
    assert any("bad-direction at direction" in line for line in lines)
    assert lines[-1].startswith("TS-002")


def test_what_a_strict_node_refuses_is_said() -> None:
    """Bytes can be sound and still be refused."""
    lines, stands = decode_lines("sync_entry", bytes.fromhex("000178010000000101"))

    assert stands
    assert "bad-key" in lines[-1]


def test_one_fitting_kind_is_shown_and_several_are_listed() -> None:
    """Without a kind all are tried."""
    one, _ = guess_lines(bytes.fromhex(TOMBSTONE + "02"))
    many, stands = guess_lines(b"\x01")
    none, stands_not = guess_lines(b"\xff" * 7)

    assert one[0].startswith("tombstone,")
    assert stands
    assert "formation_result" in "\n".join(many)
    assert not stands_not
    assert none[-1].startswith("0 kinds fit")


def test_hex_may_have_blanks_and_files_may_hold_either(tmp_path: Path) -> None:
    """Hex typed, hex in a file, or the bytes themselves."""
    (tmp_path / "hex").write_text("01 02\n03")
    (tmp_path / "raw").write_bytes(b"\x01\x02\xff")

    assert read_bytes(" 01 0203 ") == b"\x01\x02\x03"
    assert read_bytes(str(tmp_path / "hex")) == b"\x01\x02\x03"
    assert read_bytes(str(tmp_path / "raw")) == b"\x01\x02\xff"


@pytest.mark.parametrize("text", ["0", "xyz", "\x00", "a" * 5000])
def test_what_is_neither_hex_nor_file_is_a_usage_error(text: str) -> None:
    """Also where the file system would choke on the name."""
    if text == "a" * 5000:
        text += "g"
    with pytest.raises(UsageError):
        read_bytes(text)
