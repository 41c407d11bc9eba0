"""Writing and reading fields with the Automerge library, inside the child process only."""

import datetime as dt
import re
from typing import Any, Final

from automerge.core import ROOT, Document, ObjType, ScalarType

from meshwire_conformance.documents.values import Json

UTC: Final = dt.UTC
EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND: Final = dt.timedelta(milliseconds=1)

PLAIN_TYPES: Final = {
    type(None): ScalarType.Null,
    bool: ScalarType.Boolean,
    int: ScalarType.Int,
    float: ScalarType.F64,
    str: ScalarType.Str,
}

STRING: Final = r'"(?:[^"\\]|\\.)*"'
ROOT_SCALAR: Final = re.compile(
    rf"Patch \{{ obj: Root, path: \[\], action: PutMap \{{ key: (?P<key>{STRING}), "
    r"value: \(Scalar\((?P<kind>\w+)(?:\((?P<number>-?\d+)\))?",
    re.DOTALL,
)
NESTED: Final = re.compile(rf"Patch \{{ .*?path: \[\(Root, Map\((?P<key>{STRING})\)\)", re.DOTALL)
ODD: Final = re.compile(r"Scalar\((Counter|Unknown)|Scalar\(Timestamp\((-?\d+)\)")
ESCAPE: Final = re.compile(r"\\(?:u\{([0-9a-f]+)\}|(.))", re.DOTALL)
ESCAPED: Final = {"n": "\n", "r": "\r", "t": "\t", "0": "\0"}
CALENDAR_MS: Final = range(-62_135_596_800_000, 253_402_300_800_000)
"""Timestamps in ms that the library can convert to a date; it panics on others."""


def write_change(document: Document, fields: dict[str, Json]) -> None:
    """Write fields as one change at time 0."""
    with document.transaction() as transaction:
        for name, value in fields.items():
            if value == {"$delete": True}:
                transaction.delete(ROOT, name)
            else:
                write_value(transaction, ROOT, name, value)


def write_value(
    transaction: Any, parent: bytes, place: str | int, value: Json
) -> None:  # the library does not export the type
    """Write one value into a map by name, or into a list by index."""
    is_item = isinstance(place, int)
    make = transaction.insert_object if is_item else transaction.put_object
    put = transaction.insert if is_item else transaction.put
    if isinstance(value, list):
        inner = make(parent, place, ObjType.List)
        for index, item in enumerate(value):
            write_value(transaction, inner, index, item)
    elif isinstance(value, dict) and "$text" in value:
        inner = make(parent, place, ObjType.Text)
        transaction.splice_text(inner, 0, 0, value["$text"])
    elif isinstance(value, dict) and not any(name.startswith("$") for name in value):
        inner = make(parent, place, ObjType.Map)
        for name, item in value.items():
            write_value(transaction, inner, name, item)
    else:
        put(parent, place, *scalar_of(value))


def scalar_of(value: Json) -> tuple[ScalarType, Any]:
    """Return type and value of a scalar as the library takes them."""
    if not isinstance(value, dict):
        return PLAIN_TYPES[type(value)], value
    ((mark, inner),) = value.items()
    if mark == "$bytes":
        return ScalarType.Bytes, bytes.fromhex(str(inner))
    if mark == "$uint":
        return ScalarType.Uint, int(str(inner))
    return ScalarType.Timestamp, (EPOCH + int(str(inner)) * MILLISECOND).replace(tzinfo=None)


def read_fields(document: Document) -> dict[str, Json]:
    """Return the root fields as data.

    Types are read from the patches first: reading a scalar of an unusual type makes the library
    panic.
    """
    known = odd_fields(document)
    return {
        name: known[name] if name in known else read_place(document, ROOT, name)
        for name in document.keys(ROOT)
    }


def odd_fields(document: Document) -> dict[str, Json]:
    """Return the root fields that must not be read; one that holds such a value is opaque."""
    found: dict[str, Json] = {}
    for patch in document.diff([], document.get_heads()):
        text = repr(patch)
        if match := ROOT_SCALAR.match(text):
            if match["kind"] == "Timestamp":
                found[unquote(match["key"])] = {"$timestamp": int(match["number"])}
            elif match["kind"] in ("Counter", "Unknown"):
                found[unquote(match["key"])] = {"$opaque": match["kind"]}
        elif (match := NESTED.match(text)) and holds_odd(re.sub(STRING, '""', text)):
            found[unquote(match["key"])] = {"$opaque": "nested"}
    return found


def holds_odd(text: str) -> bool:
    """Return True if a patch, without its strings, writes a scalar that must not be read."""
    return any(
        kind or int(milliseconds) not in CALENDAR_MS for kind, milliseconds in ODD.findall(text)
    )


def unquote(quoted: str) -> str:
    """Return the text of a string as the library's patches quote it."""
    return ESCAPE.sub(
        lambda match: chr(int(match[1], 16)) if match[1] else ESCAPED.get(match[2], match[2]),
        quoted[1:-1],
    )


def read_place(document: Document, parent: bytes, place: str | int) -> Json:
    """Return the value at one place of a map or list as data."""
    found = document.get(parent, place)
    if found is None:
        return None
    held, identity = found
    if isinstance(held, tuple):
        return read_scalar(*held)
    if held == ObjType.Text:
        return {"$text": document.text(identity)}
    if held == ObjType.List:
        length = document.length(identity)
        return [read_place(document, identity, index) for index in range(length)]
    return {name: read_place(document, identity, name) for name in document.keys(identity)}


def read_scalar(kind: ScalarType, value: Any) -> Json:  # any scalar of the library
    """Return a scalar as data."""
    if kind == ScalarType.Bytes:
        return {"$bytes": bytes(value).hex()}
    if kind == ScalarType.Uint:
        return {"$uint": str(value)}
    if kind == ScalarType.Timestamp:
        return {"$timestamp": (value.replace(tzinfo=UTC) - EPOCH) // MILLISECOND}
    plain: Json = value
    return plain
