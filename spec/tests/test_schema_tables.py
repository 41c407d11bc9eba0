"""The tables of schemas are faithful: what limits a member stands in its row."""

import copy
import json
from collections.abc import Iterator
from importlib import resources
from typing import Any

import pytest

from meshwire_spec.render import UnknownTable, render
from meshwire_spec.schema_tables import FLAGS, LIMITS, WORDS, UnknownKeyword, members
from meshwire_spec.schemas.validation import load_schema

SCHEMA: dict[str, Any] = {
    "type": "object",
    "$ref": "#/$defs/base",
    "required": ["kind"],
    "if": {"properties": {"kind": {"enum": ["a"]}}},
    "then": {"required": ["more"]},
    "properties": {
        "kind": {"description": "What it is.", "enum": ["a", "b"]},
        "more": {"type": "array", "uniqueItems": True, "items": {"$ref": "#/$defs/entry"}},
        "counts": {"type": "object", "additionalProperties": {"type": "integer", "minimum": 3}},
    },
    "$defs": {
        "base": {"properties": {"version": {"const": 7}}, "required": ["version"]},
        "entry": {
            "type": "object",
            "properties": {"name": {"type": ["string", "null"], "maxLength": 5}},
        },
    },
}
PUBLISHED = ("ready", "target", "report", "listing")


def limited(schema: Any) -> Iterator[tuple[dict[str, Any], str]]:
    """Every place in a schema where something limits a member, as the part and its keyword."""
    if isinstance(schema, dict):
        for name, value in schema.items():
            is_leaf = name == "type" and "properties" not in schema
            if name in LIMITS or name in FLAGS or name in ("const", "required") or is_leaf:
                yield schema, name
            # What a condition itself needs is no member of what is described.
            yield from () if name == "if" else limited(value)
    if isinstance(schema, list):
        for value in schema:
            yield from limited(value)


def changed(value: Any) -> Any:
    """Another value of the same sort."""
    if isinstance(value, str) and value in WORDS:
        return "string" if value == "boolean" else "boolean"
    if isinstance(value, list | str):
        return value[1:]
    return not value if isinstance(value, bool) else value + 1


def test_every_member_has_a_row_in_its_place() -> None:
    """Those referred to, those of list entries, and those under any name."""
    rows = {row.path: (row.type, row.presence, row.means) for row in members(SCHEMA)}

    assert rows == {
        "version": ("always `7`", "required", ""),
        "kind": ("`a` or `b`", "required", "What it is."),
        "more": ("list, each once: object", "required where `kind` is `a`", ""),
        "more[].name": ("text or null, length 5 at most", "optional", ""),
        "counts": ("object", "optional", ""),
        "counts.*": ("integer, 3 or more", "optional", ""),
    }


@pytest.mark.parametrize("name", PUBLISHED)
def test_whatever_limits_a_member_shows(name: str) -> None:
    """No limit of a published schema can change without its table changing."""
    schema = load_schema(name)
    before = members(schema)
    places = len(list(limited(schema)))
    silent = []
    for number in range(places):
        mutant = copy.deepcopy(schema)
        part, keyword = list(limited(mutant))[number]
        part[keyword] = changed(part[keyword])
        if members(mutant) == before:
            silent.append((number, keyword))

    assert silent == []
    assert places > 10


def test_a_limit_that_no_row_tells_is_an_error() -> None:
    """Nothing is left out in silence."""
    odd = {"properties": {"a": {"type": "integer", "multipleOf": 5}}}

    with pytest.raises(UnknownKeyword, match="multipleOf"):
        members(odd)


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_member_of_a_published_schema_has_a_meaning(name: str) -> None:
    """A row without one would be a riddle."""
    assert [row.path for row in members(load_schema(name)) if not row.means] == []


def test_several_schemas_share_a_table() -> None:
    """Each has a column, and a member that it does not know a dash."""
    lines = render("schema: ready target").splitlines()

    assert lines[0] == "| Member | Type | Ready line | Target file | Meaning |"
    assert next(line for line in lines if "`formation_secret_file`" in line).count("| - |") == 1
    with pytest.raises(UnknownTable):
        render("schema: nothing")


def test_the_schemas_are_data_of_the_package() -> None:
    """As the suite reads them."""
    source = resources.files("meshwire_spec") / "schemas" / "report.json"

    assert load_schema("report") == json.loads(source.read_text("utf-8"))
