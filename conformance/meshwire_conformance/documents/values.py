"""Documents as data: the JSON form of a document in a transcript and in a report.

A document is {"actor": hex, "fields": {name: value}, "edits": [{name: value}, ...]}. The fields are
its first change, each edit is one more, all at time 0, so that equal data has equal heads.
JSON null, true, whole numbers, fractions and strings are the Automerge scalars of that name; an
object is a map, an array a list. What JSON lacks is an object with one marked name:
{"$bytes": hex} {"$uint": "decimal"} {"$timestamp": milliseconds} {"$text": "..."}, in an edit
{"$delete": true}, and in documents that were read {"$opaque": kind}, which cannot be written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

MARKS: Final = {
    "$bytes": str,
    "$uint": str,
    "$timestamp": int,
    "$text": str,
    "$delete": bool,
}
"""Marked names that may be written, with the JSON type of what they mark."""

DEFAULT_ACTOR: Final = "a7" * 16
ACTOR_BYTES_MAX: Final = 64
"""Bytes of the longest actor id that may be written."""


class BadDocument(Exception):
    """A document in the suite's own data violates the grammar above; a fault of the suite."""


@dataclass(frozen=True, slots=True)
class DocumentData:
    """A document as data, checked."""

    actor: str = DEFAULT_ACTOR
    changes: list[dict[str, Json]] = field(default_factory=list)
    """One change each: the fields, then the edits."""


def check_document(data: Mapping[str, Json]) -> DocumentData:
    """Check a document as data. Raises BadDocument naming the place."""
    unknown = set(data) - {"actor", "fields", "edits"}
    if unknown:
        raise BadDocument(f"unknown parts {sorted(unknown)}")
    edits = data.get("edits", [])
    if not isinstance(edits, list):
        raise BadDocument("edits are a list")
    changes = [
        check_fields(part) for part in ([data["fields"]] if "fields" in data else []) + edits
    ]
    return DocumentData(check_actor(data.get("actor", DEFAULT_ACTOR)), changes)


def check_actor(actor: Json) -> str:
    """Check an actor: hex, 1 to 64 bytes."""
    try:
        size = len(bytes.fromhex(actor)) if isinstance(actor, str) else 0
    except ValueError:
        size = 0
    if not isinstance(actor, str) or not 0 < size <= ACTOR_BYTES_MAX:
        raise BadDocument(f"actor {actor!r} is not 1 to {ACTOR_BYTES_MAX} bytes of hex")
    return actor


def check_fields(fields: Json) -> dict[str, Json]:
    """Check one change: names and values to write."""
    if not isinstance(fields, Mapping):
        raise BadDocument(f"{fields!r} is not an object of fields")
    for name, value in fields.items():
        check_value(value, name)
    return dict(fields)


def check_value(value: Json, place: str) -> None:
    """Check one value. Raises BadDocument naming the place."""
    if isinstance(value, Mapping):
        if marked := [name for name in value if name.startswith("$")]:
            check_marked(value, marked[0], place)
        for name, inner in value.items():
            check_value(inner, f"{place}.{name}")
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for index, inner in enumerate(value):
            check_value(inner, f"{place}[{index}]")


def check_marked(value: Mapping[str, Json], mark: str, place: str) -> None:
    """Check a value that JSON lacks: one marked name, with the type that belongs to it."""
    if len(value) != 1 or mark not in MARKS:
        raise BadDocument(f"{place}: {sorted(value)} is no value")
    if type(value[mark]) is not MARKS[mark]:
        raise BadDocument(f"{place}: {mark} must mark a {MARKS[mark].__name__}")
    try:
        if mark == "$bytes":
            bytes.fromhex(str(value[mark]))
        elif mark == "$uint":
            int(str(value[mark]), 10)
    except ValueError as exc:
        raise BadDocument(f"{place}: {value[mark]!r} is no {mark}") from exc
