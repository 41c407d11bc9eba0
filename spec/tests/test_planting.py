"""Mistakes planted into the layouts: each shows in a vector, and none is left behind."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meshwire_spec.mistakes import MISTAKES
from meshwire_spec.numbers import KINDS
from meshwire_spec.planting import Answer, decoded, encoded, plantable, planted
from meshwire_spec.schemas.vectors import expand

VECTORS = Path(__file__).resolve().parents[2] / "vectors"
SHORT = 1000


def vectors() -> Iterator[tuple[str, bytes, Any]]:
    """Kind, bytes and value of the short vectors."""
    for path in sorted(VECTORS.glob("*/*.json")):
        document = json.loads(path.read_text())
        for vector in document.get("vectors", ()):
            text = expand(vector.get("hex", ""))
            if text and len(text) < SHORT:
                value = vector["value"] if vector["result"]["strict"] == "valid" else None
                yield vector["kind"], bytes.fromhex(text), expand(value)
            elif "hex" not in vector:
                yield vector["kind"], b"", expand(vector["value"])


@pytest.fixture(name="of_kind", scope="module")
def _of_kind() -> dict[str, list[tuple[bytes, Any]]]:
    found: dict[str, list[tuple[bytes, Any]]] = {kind: [] for kind in KINDS}
    for kind, data, value in vectors():
        found[kind].append((data, value))
    return found


def answers(kind: str, asked: list[tuple[bytes, Any]]) -> list[Answer]:
    """What the present layouts answer to the vectors of a kind."""
    encodable = [encoded(kind, value) for _, value in asked if value is not None]
    return [decoded(kind, data) for data, _ in asked] + encodable


def test_each_mistake_shows_and_none_is_left_behind(
    of_kind: dict[str, list[tuple[bytes, Any]]],
) -> None:
    """A mistake that no vector shows could never be named."""
    correct = {kind: answers(kind, asked) for kind, asked in of_kind.items()}
    shown = set()
    for one in plantable():
        kind = next(iter(one.paths))
        with planted(one):
            if answers(kind, of_kind[kind]) != correct[kind]:
                shown.add(one.mistake.name)

    assert {mistake.name for mistake in MISTAKES} - shown == set()
    assert {kind: answers(kind, asked) for kind, asked in of_kind.items()} == correct


def test_the_sentence_names_the_field_of_the_kind() -> None:
    """One field of the schema has another path in each kind that contains it."""
    (one,) = (
        one
        for one in plantable()
        if one.mistake.name == "signed" and one.paths.get("tombstone") == "lamport"
    )

    assert one.says("tombstone") == "`lamport` is read as a signed number"
    assert one.says("tombstone_batch") == "`tombstones[].lamport` is read as a signed number"


def test_a_mistake_is_taken_out_after_an_error() -> None:
    """The layouts are whole again whatever happens in the block."""
    one = next(one for one in plantable() if "heartbeat" in one.paths)
    data = bytes.fromhex("010000018bcfe56801")
    before = decoded("heartbeat", data)
    with pytest.raises(RuntimeError), planted(one):
        raise RuntimeError

    assert decoded("heartbeat", data) == before
