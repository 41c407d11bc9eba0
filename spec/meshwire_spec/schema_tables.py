"""The JSON schemas of files and lines as rows: each member with its type, limits and meaning.

The row of a member shows every keyword that limits it. An unknown keyword is an error, so that no
limit is left out of a page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from meshwire_spec.errors import SpecError

ReadSchema = Mapping[str, Any]
"""A JSON Schema, or a part of one, which is read only."""


class UnknownKeyword(SpecError):
    """A schema has a keyword for which the tables have no column."""


@dataclass(frozen=True, slots=True)
class Member:
    """A row of a table; `presence` says when the member must be present."""

    path: str
    type: str
    presence: str
    means: str


WORDS: Final[Mapping[str, str]] = {
    "string": "text",
    "integer": "integer",
    "number": "number",
    "boolean": "true or false",
    "object": "object",
    "array": "list",
    "null": "null",
}
LIMITS: Final[Mapping[str, str]] = {
    "pattern": "matching `{}`",
    "minLength": "length {} or more",
    "maxLength": "length {} at most",
    "minimum": "{} or more",
    "maximum": "at most {}",
    "exclusiveMinimum": "above {}",
    "minItems": "{} or more of them",
}
FLAGS: Final[Mapping[str, str]] = {"uniqueItems": "each once"}
ABOUT_THE_FILE = ("$schema", "$id", "title", "$defs")
BY_ROWS = ("$ref", "properties", "items", "additionalProperties")
BY_CELLS = ("description", "type", "const", "enum", "propertyNames", "required", "if", "then")
KNOWN = frozenset((*ABOUT_THE_FILE, *BY_ROWS, *BY_CELLS, *LIMITS, *FLAGS))
"""Keywords that a table shows."""


def members(schema: ReadSchema) -> list[Member]:
    """Return every member of what a schema describes; nested ones follow their parent."""
    return list(_members(schema, schema, ""))


def _members(root: ReadSchema, schema: ReadSchema, prefix: str) -> Iterator[Member]:
    whole = _resolved(root, schema)
    for name, member in whole.get("properties", {}).items():
        path = f"{prefix}{name}"
        yield Member(path, type_text(root, member), _need(whole, name), _means(root, member))
        yield from _inside(root, member, path)


def _inside(root: ReadSchema, schema: ReadSchema, path: str) -> Iterator[Member]:
    """Yield the rows of the elements of a list, or of the values of an object with any names."""
    whole = _resolved(root, schema)
    if "items" in whole:
        yield from _inside(root, whole["items"], f"{path}[]")
    named = whole.get("additionalProperties")
    if isinstance(named, Mapping):
        yield Member(f"{path}.*", type_text(root, named), "optional", _means(root, named))
        yield from _inside(root, named, f"{path}.*")
    yield from _members(root, whole, f"{path}.")


def _resolved(root: ReadSchema, schema: ReadSchema) -> dict[str, Any]:
    """Return a schema merged with the one that it refers to."""
    unknown = schema.keys() - KNOWN
    if unknown:
        raise UnknownKeyword(f"no row shows {', '.join(sorted(unknown))}")
    if "$ref" not in schema:
        return dict(schema)
    found: Any = root
    for step in schema["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    base = _resolved(root, found)
    whole = {**base, **schema}
    whole["properties"] = {**base.get("properties", {}), **schema.get("properties", {})}
    whole["required"] = [*base.get("required", []), *schema.get("required", [])]
    return whole


def _means(root: ReadSchema, schema: ReadSchema) -> str:
    return str(_resolved(root, schema).get("description", ""))


def _need(schema: ReadSchema, name: str) -> str:
    """Return when a member must be present: always, optionally, or depending on another one."""
    if name in schema.get("required", []):
        return "required"
    if name in schema.get("then", {}).get("required", []):
        conditions = schema["if"]["properties"].items()
        wanted = (f"`{other}` is {_either(values['enum'])}" for other, values in conditions)
        return f"required where {' and '.join(wanted)}"
    return "optional"


def _either(values: list[Any]) -> str:
    return " or ".join(f"`{value}`" for value in values)


def type_text(root: ReadSchema, schema: ReadSchema) -> str:
    """Return the type of a member with all its limits; raises UnknownKeyword."""
    whole = _resolved(root, schema)
    if "const" in whole:
        return f"always `{whole['const']}`"
    if "enum" in whole:
        return _either(whole["enum"])
    kinds = whole["type"] if isinstance(whole["type"], list) else [whole["type"]]
    text = " or ".join(WORDS[kind] for kind in kinds)
    limits = [LIMITS[word].format(whole[word]) for word in LIMITS if word in whole]
    limits += [FLAGS[word] for word in FLAGS if whole.get(word)]
    if "propertyNames" in whole:
        limits.append(f"under the names {_either(whole['propertyNames']['enum'])}")
    inner = f": {type_text(root, whole['items'])}" if "items" in whole else ""
    return ", ".join([text, *limits]) + inner
