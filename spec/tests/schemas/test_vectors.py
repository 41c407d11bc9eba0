"""Codec vectors: what struct and published schema let through, and what neither does."""

from typing import Any

import msgspec
import pytest

from meshwire_spec.schemas.validation import faults
from meshwire_spec.schemas.vectors import Vector, VectorFile, expand

POSITIVE: dict[str, Any] = {
    "id": "MW-1001",
    "kind": "heartbeat",
    "title": "a plain heartbeat",
    "rules": ["LV-001"],
    "field": "",
    "fault": "",
    "hex": {"join": ["06", {"repeat": "0102", "times": 4}]},
    "value": {"marker": 6, "sent_at": "72340172838076673", "extra": ""},
    "result": {"wire": "valid", "strict": "valid"},
    "source": "hand",
}
NEGATIVE: dict[str, Any] = {
    **{name: POSITIVE[name] for name in POSITIVE if name != "value"},
    "fault": "truncated",
    "at": [1, 9],
    "result": {"wire": "any", "strict": "reject"},
    "reasons": ["truncated"],
    "hunts": "a read past the end",
    "harm": "the reader crashes",
    "control": "MW-1002",
}
UNENCODABLE: dict[str, Any] = {
    **{name: NEGATIVE[name] for name in NEGATIVE if name not in ("hex", "at")},
    "value": POSITIVE["value"],
}
RESPOND = {"formation_id": "f", "secret": "ab", "nonce": "cd"}


def without(vector: dict[str, Any], *names: str) -> dict[str, Any]:
    """A vector that lacks these members."""
    return {name: value for name, value in vector.items() if name not in names}


def file_of(vector: dict[str, Any]) -> dict[str, Any]:
    """A file with this one vector."""
    return {"part": "liveness", "vectors": [vector]}


@pytest.mark.parametrize(
    "vector",
    [
        POSITIVE,
        NEGATIVE,
        UNENCODABLE,
        {**POSITIVE, "disputed": True},
        {**POSITIVE, "respond": RESPOND},
        {**NEGATIVE, "value": POSITIVE["value"]},
    ],
)
def test_a_vector_is_read_and_nothing_of_it_is_lost(vector: dict[str, Any]) -> None:
    """Schema and struct let it through, and the struct has what the file has and no more."""
    file = msgspec.convert(file_of(vector), VectorFile)

    assert list(faults("vectors", file_of(vector))) == []
    assert msgspec.to_builtins(file) == file_of(vector)


@pytest.mark.parametrize(
    "vector",
    [
        *(without(POSITIVE, name) for name in POSITIVE),
        *(without(NEGATIVE, name) for name in ("reasons", "hunts", "harm", "control", "hex", "at")),
        {**UNENCODABLE, "respond": RESPOND},
        {**NEGATIVE, "result": {"wire": "reject", "strict": "any"}, "reasons": None},
        {**POSITIVE, "reasons": ["truncated"]},
        {**POSITIVE, "at": [0, 1]},
        {**UNENCODABLE, "at": [0, 1]},
        {**NEGATIVE, "at": [0]},
        {**NEGATIVE, "at": [0, 1, 2]},
        {**NEGATIVE, "at": [-1, 1]},
        {**POSITIVE, "control": "MW-1002"},
        {**POSITIVE, "disputed": False},
        {**POSITIVE, "colour": "red"},
        {**POSITIVE, "title": "short"},
        {**POSITIVE, "rules": []},
        {**POSITIVE, "rules": ["LV-001", "LV-001"]},
        {**POSITIVE, "rules": ["lv-001"]},
        {**POSITIVE, "hex": {"join": []}},
        {**POSITIVE, "hex": {"join": ["00"], "more": 1}},
        {**POSITIVE, "hex": {"join": [{"repeat": "", "times": 3}]}},
        {**POSITIVE, "hex": {"join": [{"repeat": "00", "times": 0}]}},
        {**POSITIVE, "respond": {**RESPOND, "nonce": "0"}},
        {**POSITIVE, "result": {"wire": "valid", "strict": "perhaps"}},
        {**NEGATIVE, "reasons": ["truncated", "truncated"]},
        {**NEGATIVE, "reasons": []},
        {**NEGATIVE, "reasons": ["Truncated"]},
        {**NEGATIVE, "control": "1002"},
    ],
)
def test_a_wrong_vector_is_refused(vector: dict[str, Any]) -> None:
    """By the schema and by the struct alike."""
    assert list(faults("vectors", file_of(vector)))
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(file_of(vector), VectorFile)


@pytest.mark.parametrize("at", [[2, 1], [0, 10], [10, 10]])
def test_a_range_beyond_the_bytes_is_refused(at: list[int]) -> None:
    """The struct knows the length of the bytes, which the schema cannot."""
    with pytest.raises(msgspec.ValidationError, match="no range of the bytes"):
        msgspec.convert({**NEGATIVE, "at": at}, Vector)


def test_bytes_and_value_are_written_out() -> None:
    """Abbreviations of a file are expanded in the struct."""
    positive = msgspec.convert(POSITIVE, Vector)
    unencodable = msgspec.convert(UNENCODABLE, Vector)

    assert positive.hex == "06" + "0102" * 4
    assert positive.data == bytes.fromhex(positive.hex)
    assert positive.value == POSITIVE["value"]
    assert (unencodable.hex, unencodable.unencodable) == ("", True)
    assert msgspec.convert(NEGATIVE, Vector).value is None


def test_expand_writes_repetitions_out() -> None:
    """A joined text is its parts, at any depth, and everything else stays as it is."""
    node = {"a": {"join": ["00", {"repeat": "ab", "times": 3}]}, "b": [1, None, {"join": ["x"]}]}

    assert expand(node) == {"a": "00ababab", "b": [1, None, "x"]}
