"""`meshwire decode`: every field, and where a bad message ends."""

import io
from pathlib import Path

import pytest

from meshwire_conformance.commands.decode import read_bytes
from meshwire_conformance.errors import UsageError
from meshwire_conformance.explain.decode import decode_lines, guess_lines

TOMBSTONE = "000374726b0003642d310000018bcfe5687b010203040506070800046e642d610003776879"


def test_every_field_has_offset_bytes_value_and_meaning() -> None:
    """One line per field, in wire order."""
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

    assert not stands
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
    many, stands = guess_lines(b"\x01")
    none, stands_not = guess_lines(b"\xff" * 7)

    assert one[0].startswith("tombstone,")
    assert stands
    assert "formation_result" in "\n".join(many)
    assert not stands_not
    assert none[-1].startswith("0 kinds fit")


@pytest.mark.parametrize(
    ("text", "stands", "last"),
    [
        ("000b747261636b73616c7068610100000003515253", False, "2 kinds fit, each refused by a str"),
        ("0000000000000142", True, "3 kinds fit; --kind"),
        ("0003613a620100000000", True, "2 kinds fit; --kind"),
    ],
)
def test_bytes_stand_where_one_fitting_kind_takes_them(
    text: str, *, stands: bool, last: str
) -> None:
    """Those that fit and are refused say so; where each is refused the whole says so too."""
    lines, found = guess_lines(bytes.fromhex(text))

    assert found is stands
    assert lines[-1].startswith(last)
    assert stands or sum("a strict node refuses it: bad-key" in line for line in lines) == 2


def test_the_only_kind_that_fits_may_be_refused() -> None:
    """Then its fields are shown, and the reason to refuse it."""
    lines, stands = guess_lines(bytes.fromhex("00096e6f7465733a6e2e3703000000020102"))

    assert not stands
    assert "decodes, but a strict node refuses it" in "\n".join(lines)


def test_hex_may_have_blanks_and_files_may_hold_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hex typed, hex in a file, or the bytes themselves."""
    (tmp_path / "hex").write_text("01 02\n03")
    (tmp_path / "raw").write_bytes(b"\x01\x02\xff")

    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"0x01:02:03\n")))

    assert read_bytes("-") == b"\x01\x02\x03"
    assert read_bytes("0x010203") == b"\x01\x02\x03"
    assert read_bytes("01:02:03") == b"\x01\x02\x03"
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
