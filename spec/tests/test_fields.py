"""Each strict block closes one of construct's lax defaults."""

from __future__ import annotations

from typing import Any

import pytest

from meshwire_spec.cursor import Cursor
from meshwire_spec.errors import Malformed
from meshwire_spec.fields import (
    Blob,
    Block,
    Choice,
    Constant,
    Count,
    Fixed,
    Flag,
    Int8ub,
    Int16ub,
    Int32ub,
    Int64ub,
    Number,
    Text,
)
from meshwire_spec.layouts.compound import Layout
from meshwire_spec.layouts.reconciliation import Mode, Prefix, Timestamp
from meshwire_spec.numbers import Direction


def parse(block: Block, data: str) -> Any:
    """Value of one block standing alone in a closed message."""
    return Layout("probe", "", {"it": block}).parse(Cursor(bytes.fromhex(data)), "message")["it"]


def refusal(block: Block, data: str) -> tuple[str, int, str]:
    """Reason, offset and field of a refused block."""
    with pytest.raises(Malformed) as caught:
        parse(block, data)
    return caught.value.reason, caught.value.offset, caught.value.field


REFUSED: list[tuple[str, Block, str, tuple[str, int, str]]] = [
    ("a short number", Number(Int16ub, "x"), "01", ("truncated", 0, "it")),
    ("a byte after it", Number(Int8ub, "x"), "0102", ("trailing-bytes", 1, "")),
    (
        "another marker",
        Constant(Int8ub, 7, "x", reason="bad-marker"),
        "08",
        ("bad-marker", 0, "it"),
    ),
    (
        "a value above the registry",
        Choice(Int8ub, Direction, "x", reason="bad-direction"),
        "04",
        ("bad-direction", 0, "it"),
    ),
    ("a flag of 7", Flag("x"), "07", ("bad-flag", 0, "it")),
    (
        "a count beyond the rest",
        Count(Int32ub, "x", minimum_element=7),
        "ffffffff",
        ("count-limit", 0, "it"),
    ),
    ("other magic", Fixed(2, "x", value=b"MW", reason="bad-magic"), "4d58", ("bad-magic", 0, "it")),
    ("a cut length", Text(Int16ub, "x"), "00", ("truncated", 0, "it.length")),
    ("a cut text", Text(Int16ub, "x"), "000361", ("truncated", 2, "it")),
    ("a surrogate", Text(Int16ub, "x"), "0003eda080", ("bad-utf8", 2, "it")),
    ("an overlong form", Text(Int16ub, "x"), "0002c080", ("bad-utf8", 2, "it")),
    ("a scalar above 10FFFF", Text(Int16ub, "x"), "0004f4908080", ("bad-utf8", 2, "it")),
    (
        "a length over its ceiling, before its content is missed",
        Blob(Int32ub, "x", ceiling=16),
        "00000011",
        ("length-limit", 0, "it.length"),
    ),
    ("an overlong varint", Mode("x"), "8000", ("bad-varint", 0, "it")),
    ("a varint over 64 bits", Mode("x"), "ff" * 9 + "7f", ("bad-varint", 0, "it")),
    ("an unknown mode", Mode("x"), "03", ("bad-mode", 0, "it")),
    ("a prefix of 33 bytes", Prefix("x"), "21" + "ab" * 33, ("bad-bound", 0, "it.length")),
    ("timestamp 2^64-1", Timestamp("x"), "8180808080808080808000", ("bad-varint", 0, "it")),
]


@pytest.mark.parametrize(
    ("block", "data", "expected"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_a_block_refuses(block: Block, data: str, expected: tuple[str, int, str]) -> None:
    """Input that construct would accept is refused with its reason, offset and field."""
    assert expected == refusal(block, data)


def test_a_lenient_flag_keeps_its_value() -> None:
    """A flag other than 1 means absent and still re-encodes as it was."""
    assert parse(Flag("x", lenient=True), "07") == 7


def test_64_bit_integers_survive_json() -> None:
    """2^64-1 travels as a decimal string, also where JSON has only 53 bits."""
    block = Number(Int64ub, "x")

    assert block.to_json(2**64 - 1) == "18446744073709551615"
    assert block.from_json("18446744073709551615", "message -> it") == 2**64 - 1


@pytest.mark.parametrize("value", [5, "05", "-1", "1e3", "", " 1", "٣", None])
def test_64_bit_integers_are_canonical_decimal_strings(value: Any) -> None:
    """Any other spelling of a 64-bit integer is a caller's fault."""
    with pytest.raises(Malformed, match="bad-value"):
        Number(Int64ub, "x").from_json(value, "message -> it")


@pytest.mark.parametrize("value", [True, -1, 256, 1.0, "1", None])
def test_building_refuses_what_is_no_integer_of_the_width(value: Any) -> None:
    """The library would build True as 1 and raise three kinds of errors for the rest."""
    with pytest.raises(Malformed, match="bad-value"):
        Layout("probe", "", {"it": Number(Int8ub, "x")}).build({"it": value}, Cursor(), "message")


@pytest.mark.parametrize("value", [{}, {"it": 1, "more": 2}, None, [1]])
def test_building_refuses_other_members(value: Any) -> None:
    """A missing member and an extra one are the same fault."""
    with pytest.raises(Malformed, match="bad-value"):
        Layout("probe", "", {"it": Number(Int8ub, "x")}).build(value, Cursor(), "message")


def test_a_text_longer_than_its_length_field_is_refused() -> None:
    """65,536 bytes never go out with a length of 0 (D-01)."""
    layout = Layout("probe", "", {"it": Text(Int16ub, "x")})

    with pytest.raises(Malformed) as caught:
        layout.build({"it": "k" * 65536}, Cursor(), "message")

    assert (caught.value.reason, caught.value.field) == ("length-limit", "it.length")


@pytest.mark.parametrize("kind", [Blob, Text])
def test_a_minimum_without_its_limit_is_no_block(kind: type[Blob]) -> None:
    """The page would print a minimum that neither decode nor accept holds."""
    with pytest.raises(AssertionError, match="a minimum needs the limit"):
        kind(Int8ub, "name of a host", minimum=1, ceiling=64)
