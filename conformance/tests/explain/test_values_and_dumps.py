"""Values compared, and bytes shown."""

from typing import Any

import pytest

from meshwire_conformance.explain.hexdump import Mark, dump
from meshwire_conformance.explain.values import difference, first_difference, member_at, shown


@pytest.mark.parametrize(
    ("expected", "received", "path"),
    [
        ({"a": [1, {"b": "x"}]}, {"a": [1, {"b": "y"}]}, "a[1].b"),
        ({"a": 1}, {}, "a"),
        ({"a": 1}, {"a": 1, "b": 2}, "b"),
        ({"a": [1]}, {"a": [1, 2]}, "a"),
        ({"a": 1}, {"a": True}, "a"),
        ({"a": 1}, {"a": 1.0}, "a"),
        ({"a": "1"}, {"a": 1}, "a"),
        ({"a": None}, {"a": ""}, "a"),
    ],
)
def test_the_first_difference_is_named_by_its_path(expected: Any, received: Any, path: str) -> None:
    """Types count: 1, 1.0, true and "1" are four values."""
    found = difference(expected, received)

    assert found is not None
    assert found.path == path


def test_equal_values_have_no_difference() -> None:
    """Deep equality, the order of members aside."""
    assert difference({"a": [1, None], "b": "x"}, {"b": "x", "a": [1, None]}) is None


def test_a_member_is_found_by_its_path() -> None:
    """Names and indices, as deep as the path goes."""
    value = {"a": [{"b": "x"}, {"b": "y"}], "c": None}

    assert member_at(value, "a[1].b") == "y"
    assert member_at(value, "c") is None


@pytest.mark.parametrize("path", ["", "a", "b.c", "b[0]", "d[3]", "d.e", "b.length"])
def test_a_path_that_leads_nowhere_is_a_lookup_error(path: str) -> None:
    """Also where a target answers with another type than the field has."""
    with pytest.raises(LookupError):
        member_at({"b": 1, "d": [1]}, path)


def test_long_values_are_cut() -> None:
    """A report stays readable whatever a target answers."""
    assert len(shown("x" * 100_000)) < 200


def test_a_mark_points_at_its_bytes() -> None:
    """The row of the marked field is shown with the field's name beneath its bytes."""
    lines = dump(bytes(range(0x20, 0x60)), Mark(0x21, 2, "lamport = 3"))

    assert lines[0].startswith("0000  20 21")
    assert lines[2].startswith("0020  40 41 42")
    assert lines[3] == " " * 9 + "^^ ^^ lamport = 3"
    assert lines[-1].startswith("...")


def test_the_end_of_the_bytes_can_be_marked() -> None:
    """A truncated field has no byte to mark, but has a position."""
    assert dump(b"\x01", Mark(1, 1, "truncated"))[-1] == " " * 9 + "^^ truncated"
    assert dump(b"") == ("0000  (no bytes)",)


@pytest.mark.parametrize(
    ("one", "other", "offset"),
    [(b"abc", b"abd", 2), (b"ab", b"abc", 2), (b"abc", b"ab", 2), (b"", b"", None)],
)
def test_first_difference_of_bytes(one: bytes, other: bytes, offset: int | None) -> None:
    """The first byte that differs, also where one side is only longer."""
    assert first_difference(one, other) == offset


def test_a_caret_is_below_its_byte_behind_a_longer_offset_too() -> None:
    """From 65536 bytes on an offset has five digits."""
    lines = dump(b"\x00" * 0x10002 + b"\xab" + b"\x00" * 32, Mark(0x10002, 1, "here"))
    at = next(number for number, line in enumerate(lines) if line.startswith("10000"))

    assert lines[at + 1].index("^^") == lines[at].index("ab")
