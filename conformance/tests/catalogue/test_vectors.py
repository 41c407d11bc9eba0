"""The vectors as data: their schema, their ids, and whether they are enough."""

import json
import math
import re
from collections import Counter
from enum import IntEnum
from types import MappingProxyType
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from meshwire_conformance.catalogue.data_files import vectors_folder
from meshwire_conformance.catalogue.vectors import load_cases, read_vectors, vector_files
from meshwire_conformance.codec_suite.judge import VARIANT
from meshwire_conformance.errors import SuiteFault
from meshwire_conformance.explain.values import difference, member_at
from meshwire_conformance.self_check.coverage import measure
from meshwire_spec import numbers, states
from meshwire_spec.fields import Constant
from meshwire_spec.layouts import LAYOUTS
from meshwire_spec.numbers import KINDS, LIMITS
from meshwire_spec.schemas.validation import faults, load_schema
from meshwire_spec.schemas.vectors import expand

BOUNDARIES = {
    "payload": ("payload.length", "at-limit", "over-limit"),
    "document key": ("key", "at-limit", "over-limit"),
    "frame key": ("key", "frame-key-at-limit", "frame-key-over-limit"),
    "collection": ("collection", "at-limit", "over-limit"),
    "document id": ("document_id", "at-limit", "over-limit"),
    "author": ("deleted_by", "at-limit", "over-limit"),
    "deletion reason": ("reason", "at-limit", "over-limit"),
    "negentropy prefix": ("ranges[0].upper.prefix", "at-limit", "over-limit"),
    "formation id": ("formation_id", "at-limit", "over-limit"),
    "H2 challenge": ("length", "at-limit", "over-limit"),
    "H2 response": ("length", "at-limit", "over-limit"),
    "callsign": ("callsign", "at-limit", "over-limit"),
    "lab record body": ("body.length", "at-limit", "over-limit"),
    "close reason": ("body(close).reason", "at-limit", "over-limit"),
}
"""Field and fault classes of the hand-written pair of each limit."""


def raw_vectors() -> list[dict[str, Any]]:
    """Every vector as it stands in its file."""
    return [raw for path in vector_files() for raw in json.loads(path.read_text())["vectors"]]


def hand_written() -> list[dict[str, Any]]:
    """The vectors that nobody derived or recorded."""
    return [raw for raw in raw_vectors() if raw["source"] == "hand"]


def test_every_file_fits_the_schema() -> None:
    """The format is what the published schema says."""
    for path in vector_files():
        assert list(faults("vectors", json.loads(path.read_text()))) == [], path.name


def test_every_value_fits_the_harness_schema() -> None:
    """The shape of every value is the published one."""
    document = load_schema("harness")
    validators = {
        kind: Draft202012Validator({"$defs": document["$defs"], "$ref": f"#/$defs/values/{kind}"})
        for kind in KINDS
    }
    for raw in raw_vectors():
        if "value" in raw and "hex" in raw:
            assert validators[raw["kind"]].is_valid(expand(raw["value"])), raw["id"]


def test_what_cannot_be_encoded_differs_from_its_control_in_one_member() -> None:
    """Only the member at stake can be what the encoder refuses."""
    by_id = {raw["id"]: raw for raw in raw_vectors()}
    found = [raw for raw in by_id.values() if "hex" not in raw]

    assert len(found) >= 300
    for raw in found:
        path = VARIANT.sub("", raw["field"])
        value, control = expand(raw["value"]), expand(by_id[raw["control"]]["value"])
        first = difference(control, value)

        assert first is not None, raw["id"]
        if first.expected.endswith(" elements"):
            # An element more is a difference of its list.
            assert path.startswith(f"{first.path}["), raw["id"]
            path = first.path
        # Some vectors name the list of which one element is wrong.
        assert path in {first.path, re.sub(r"\[\d+\]$", "", first.path)}, raw["id"]
        assert _without(value, path) == _without(control, path), raw["id"]


def _without(value: Any, path: str) -> Any:
    """A copy of a value in which the text or number at a path is None."""
    copy = json.loads(json.dumps(value))
    if path.endswith("]"):
        items, _, number = path.removesuffix("]").rpartition("[")
        member_at(copy, items)[int(number)] = None
        return copy
    member, _, name = path.rpartition(".")
    (member_at(copy, member) if member else copy)[name] = None
    return copy


def test_ids_are_those_of_the_ledger() -> None:
    """Every id stands in the ledger; none stands twice."""
    ledger = json.loads((vectors_folder() / "ids.json").read_text(encoding="utf-8"))
    ids = [raw["id"] for raw in raw_vectors()]

    assert len(ids) == len(set(ids))
    assert set(ids) <= set(ledger)


def test_there_are_enough_and_no_cell_is_empty() -> None:
    """500 triples or positives, 60 positives, every fitting fault class on every field."""
    coverage = measure(load_cases())

    assert coverage.triples >= 500
    assert coverage.positives >= 60
    assert coverage.empty() == []


def test_at_most_one_derived_truncation_a_field() -> None:
    """The count of vectors does not come from cutting at every byte."""
    cuts = Counter(
        (raw["kind"], raw["field"]) for raw in raw_vectors() if raw["fault"] == "truncated"
    )

    assert max(cuts.values()) == 1


def test_at_least_three_hand_written_a_kind() -> None:
    """Positives written by hand guard against a mistake that schema and codec share."""
    plain = Counter(raw["kind"] for raw in hand_written() if raw["result"]["strict"] == "valid")
    short = {kind for kind in KINDS if plain[kind] < min(3, messages_of(kind))}

    assert short == set()


def messages_of(kind: str) -> float:
    """The number of messages that a kind has: one where every byte is given."""
    blocks = LAYOUTS[kind].blocks.values()
    return 1 if all(isinstance(block, Constant) for block in blocks) else math.inf


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.name)
def test_every_limit_has_its_pair_written_by_hand(limit: numbers.Limit) -> None:
    """The last legal and the first illegal length of each limit, for each of its kinds."""
    assert limit.name in BOUNDARIES, f"no row of BOUNDARIES for the limit {limit.name!r}"
    field, legal, illegal = BOUNDARIES[limit.name]
    held = {(raw["kind"], raw["field"], raw["fault"]) for raw in hand_written()}

    for kind in limit.kinds:
        assert {(kind, field, legal), (kind, field, illegal)} <= held


def test_an_unreadable_file_is_a_suite_fault(tmp_path: Any) -> None:
    """A broken file ends the run with its name, not with a traceback."""
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "broken.json").write_text('{"part": "frames"}')

    with pytest.raises(SuiteFault, match=r"broken\.json"):
        list(read_vectors(tmp_path))


def plain(value: Any) -> Any:
    """A number of the protocol as JSON holds it."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, int) and value > 2**53:
        return str(value)
    return value


@pytest.fixture(name="restated", scope="module")
def restated_numbers() -> dict[str, list[dict[str, Any]]]:
    """The numbers as written down a second time, by hand."""
    found: dict[str, list[dict[str, Any]]] = json.loads(
        (vectors_folder() / "numbers.json").read_text(encoding="utf-8")
    )
    return found


def test_every_constant_is_restated(restated: dict[str, list[dict[str, Any]]]) -> None:
    """A slip in `numbers.py` meets the same number written elsewhere."""
    stated = {row["name"]: row["value"] for row in restated["constants"] + restated["times"]}
    simple = (int, float, str, bytes)
    own = {
        name: plain(value)
        for name, value in vars(numbers).items()
        if name[0] != "_" and name.isupper() and (isinstance(value, simple) or name in stated)
    }

    assert stated == own


def test_every_registry_is_restated(restated: dict[str, list[dict[str, Any]]]) -> None:
    """Names and values of each enumeration, none more and none less."""
    stated = {row["name"]: row["members"] for row in restated["registries"]}
    own = {
        name: {member.name: member.value for member in found}
        for name, found in vars(numbers).items()
        if isinstance(found, type) and issubclass(found, IntEnum) and found is not IntEnum
    }

    assert stated == own


def test_every_reason_and_limit_is_restated(restated: dict[str, list[dict[str, Any]]]) -> None:
    """Codes of reasons, limits, and what bounds a count."""
    reasons = {row["name"]: row["code"] for row in restated["reasons"]}
    limits = {row["name"]: (row["minimum"], row["maximum"]) for row in restated["limits"]}
    kinds = {row["name"]: tuple(row["kinds"]) for row in restated["limits"]}
    bounds = {row["kind"]: row["minimum_element"] for row in restated["count_bounds"]}

    assert reasons == {row.name: row.code for row in numbers.REASON_ROWS}
    assert limits == {row.name: (row.minimum, row.maximum) for row in LIMITS}
    assert kinds == {row.name: row.kinds for row in LIMITS}
    assert bounds == numbers.COUNT_BOUNDS


def test_every_collection_is_restated(restated: dict[str, list[dict[str, Any]]]) -> None:
    """The collection table, with the row for anything else."""
    rows = (*numbers.COLLECTION_ROWS, numbers.DEFAULT_COLLECTION)
    own = [
        {
            "name": row.name,
            "mode": row.mode,
            "deletion": row.deletion,
            "ttl_s": row.ttl_s,
            "delete_wins": row.delete_wins,
            "resurrection": row.resurrection,
            "tombstone_direction": row.tombstone_direction,
            "batch_direction": row.batch_direction,
            "source": "09-documents.md",
        }
        for row in rows
    ]

    assert restated["collections"] == own


def test_every_urgency_is_restated(restated: dict[str, list[dict[str, Any]]]) -> None:
    """The classes of urgency and their collections."""
    rows = dict(numbers.URGENCY_ROWS)
    own = [(int(one), one.name, list(rows.get(one, ()))) for one in numbers.Urgency]

    stated = restated["urgencies"]
    assert [(row["number"], row["name"], row["collections"]) for row in stated] == own


def test_every_capability_is_restated(restated: dict[str, list[dict[str, Any]]]) -> None:
    """Names of capabilities, and which of them every node must offer."""
    stated = {row["name"]: row["required"] for row in restated["capabilities"]}

    assert stated == {row.name: row.is_required for row in numbers.CAPABILITY_ROWS}


def test_every_transition_is_restated(restated: dict[str, list[dict[str, Any]]]) -> None:
    """The transition tables as they were once written down and reviewed."""
    own_tables = {
        name for name, table in vars(states).items() if isinstance(table, MappingProxyType)
    }

    assert {table["table"] for table in restated["transitions"]} == own_tables
    for table in restated["transitions"]:
        found = vars(states)[table["table"]]
        own = [[state, event, after] for (state, event), after in found.items()]

        assert sorted(table["rows"]) == sorted(own), table["table"]
