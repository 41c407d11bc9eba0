"""Local edits: brings a document from the values that it has to those that are wanted.

An edit is a change on the existing document, field by field (D-48). A value that stays is not
written again, a map or list or text that stays one is changed in place: what others have changed in
the rest of it meanwhile is kept when both changes come together. A counter, and a scalar of a type
that the library does not know, reads as an opaque value; it is kept and can be removed, but is
never written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from automerge.core import ROOT, ObjType, ScalarType

from meshwire_reference.core.document_calls import DELETION_MARKS, Scalar, Value
from meshwire_reference.core.sync_messages import Unfit
from meshwire_reference.documents.patches import DEPTH_MAX

if TYPE_CHECKING:
    from automerge._automerge import Transaction

SIGNED_END: Final = 2**63
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
OPAQUE: Final = frozenset(("counter", "unknown"))
DELETED, DELETED_AT, DELETED_BY = DELETION_MARKS

Place: TypeAlias = str | int
"""A key of a map, or an index of a list."""

Written: TypeAlias = str | bytes | int | float | bool | datetime | None
"""A scalar as the library takes it."""

KINDS: Final[dict[type, str]] = {
    type(None): "null",
    bool: "boolean",
    int: "int",
    float: "f64",
    str: "str",
}
SCALAR_TYPES: Final[dict[str, ScalarType]] = {
    "null": ScalarType.Null,
    "boolean": ScalarType.Boolean,
    "int": ScalarType.Int,
    "uint": ScalarType.Uint,
    "f64": ScalarType.F64,
    "str": ScalarType.Str,
    "bytes": ScalarType.Bytes,
    "timestamp": ScalarType.Timestamp,
}
OBJECT_TYPES: Final[dict[str, ObjType]] = {
    "map": ObjType.Map,
    "list": ObjType.List,
    "text": ObjType.Text,
}


def value_of(given: Scalar | Value) -> Value:
    """Return a local value with its type; a whole number past the signed range is unsigned."""
    if isinstance(given, Value):
        return given
    if isinstance(given, int) and given >= SIGNED_END:
        return Value("uint", given)
    return Value(KINDS[type(given)], given)


def soft_deletion(by: str, at_ms: int) -> dict[str, Scalar | Value]:
    """Return the fields that mark a document as deleted."""
    # DC-083
    return {DELETED: True, DELETED_AT: Value("timestamp", at_ms), DELETED_BY: by}


def is_deleted(fields: Mapping[str, Value]) -> bool:
    """Return True if a document with these root fields is marked as deleted."""
    return fields.get(DELETED) == Value("boolean", value=True)


def as_held(held: Value, wanted: Value) -> Value:
    """Return a value of JSON with the type that is held, where JSON has one type for both."""
    if held.kind in OPAQUE and wanted.kind == "null":
        return held
    is_kept = (wanted.kind, held.kind) in SAME_IN_JSON
    if not is_kept or (held.kind == "uint" and cast("int", wanted.value) < 0):
        return wanted
    # Bytes are shown in hex, and any other string is a new value.
    is_other_text = held.kind == "bytes" and wanted.value != held.value
    return wanted if is_other_text else Value(held.kind, wanted.value)


SAME_IN_JSON: Final = frozenset(
    (("str", "text"), ("str", "bytes"), ("int", "timestamp"), ("int", "uint"))
)
"""A type that JSON is read as, and one that is shown alike."""


class Editor:
    """Writes values within one transaction. Raises Unfit for a value that cannot be written.

    With `as_json` the wanted values are those of JSON, which take over the types that are held.
    """

    def __init__(self, transaction: Transaction, *, as_json: bool = False) -> None:
        self._transaction = transaction
        self._as_json = as_json

    def write_fields(self, held: Mapping[str, Value], wanted: Mapping[str, Value]) -> None:
        """Write root fields; those that are not wanted stay as they are."""
        for name, value in wanted.items():
            self._write(ROOT, name, held.get(name), value, 1)

    def remove_fields(self, names: Sequence[str]) -> None:
        """Remove root fields."""
        for name in names:
            self._transaction.delete(ROOT, name)

    def _write(
        self, parent: bytes, place: Place, held: Value | None, wanted: Value, depth: int
    ) -> None:
        """Bring the value at a place of an object to the wanted one."""
        if self._as_json and held is not None:
            wanted = as_held(held, wanted)
        if held == wanted:
            return
        if held is not None and held.kind in OPAQUE:
            raise Unfit("internal", f"{place} is opaque and is never rewritten")
        if depth > DEPTH_MAX:
            raise Unfit("internal", f"{place} is nested deeper than {DEPTH_MAX}")
        kind = wanted.kind
        if kind not in OBJECT_TYPES:
            self._transaction.put(parent, place, *scalar_of(wanted))
        elif held is not None and held.kind == kind:
            child = cast("tuple[object, bytes]", self._transaction.get(parent, place))[1]
            FILL[kind](self, child, held.value, wanted.value, depth + 1)
        else:
            child = self._transaction.put_object(parent, place, OBJECT_TYPES[kind])
            FILL[kind](self, child, EMPTY[kind], wanted.value, depth + 1)

    def fill_map(
        self, child: bytes, held: dict[str, Value], wanted: dict[str, Value], depth: int
    ) -> None:
        """Bring a map to the wanted entries."""
        for name in held.keys() - wanted.keys():
            self._transaction.delete(child, name)
        for name, value in wanted.items():
            self._write(child, name, held.get(name), value, depth)

    def fill_list(self, child: bytes, held: list[Value], wanted: list[Value], depth: int) -> None:
        """Bring a list to the wanted elements; those that it begins and ends with stay."""
        start, held_end, wanted_end = find_difference(held, wanted)
        common_end = min(held_end, wanted_end)
        for index in range(start, common_end):
            self._write(child, index, held[index], wanted[index], depth)
        for _ in range(common_end, held_end):
            self._transaction.delete(child, common_end)
        for index in range(common_end, wanted_end):
            self._insert(child, index, wanted[index], depth)

    def _insert(self, parent: bytes, index: int, wanted: Value, depth: int) -> None:
        if depth > DEPTH_MAX:
            raise Unfit("internal", f"element {index} is nested deeper than {DEPTH_MAX}")
        kind = wanted.kind
        if kind in OBJECT_TYPES:
            child = self._transaction.insert_object(parent, index, OBJECT_TYPES[kind])
            FILL[kind](self, child, EMPTY[kind], wanted.value, depth + 1)
        else:
            self._transaction.insert(parent, index, *scalar_of(wanted))

    def fill_text(self, child: bytes, held: str, wanted: str, _depth: int) -> None:
        """Bring a text to the wanted one; what it begins and ends with stays."""
        start, held_end, wanted_end = find_difference(held, wanted)
        splice = getattr(self._transaction, "splice_text")  # noqa: B009 - missing from its stub
        splice(child, start, held_end - start, wanted[start:wanted_end])


FILL: Final[dict[str, Callable[..., None]]] = {
    "map": Editor.fill_map,
    "list": Editor.fill_list,
    "text": Editor.fill_text,
}
EMPTY: Final[dict[str, object]] = {"map": {}, "list": [], "text": ""}


def find_difference(held: Sequence[object], wanted: Sequence[object]) -> tuple[int, int, int]:
    """Return where two sequences begin to differ, and where that ends in each of them."""
    shorter = min(len(held), len(wanted))
    start = next((at for at in range(shorter) if held[at] != wanted[at]), shorter)
    same = next(
        (back for back in range(shorter - start) if held[-1 - back] != wanted[-1 - back]),
        shorter - start,
    )
    return start, len(held) - same, len(wanted) - same


def scalar_of(wanted: Value) -> tuple[ScalarType, Written]:
    """Return a scalar as the library takes it. Raises Unfit for one that it cannot write."""
    kind, value = wanted.kind, wanted.value
    if kind not in SCALAR_TYPES:
        raise Unfit("internal", f"a value of type {kind} is never written")
    try:
        if kind == "timestamp":
            return ScalarType.Timestamp, EPOCH + timedelta(milliseconds=cast("int", value))
        if kind == "bytes":
            return ScalarType.Bytes, bytes.fromhex(cast("str", value))
    except (OverflowError, ValueError) as exc:
        raise Unfit("internal", f"{value!r} is no {kind}: {exc}") from exc
    return SCALAR_TYPES[kind], cast("Written", value)
