"""The fields of every kind as the schema has them, and which classes of fault fit each.

Paths are written as vectors write them: `entries[].key.length` for a length, `body(reset).code`
for a member that only records of one type have, the empty path for the message as a whole.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from meshwire_spec import fields as blocks
from meshwire_spec.layouts import LAYOUTS, Layout, compound, reconciliation
from meshwire_spec.numbers import LabRecordType

UTF8_FAULTS = (
    "bad-utf8",
    "bad-utf8-cut",
    "bad-utf8-overlong",
    "bad-utf8-surrogate",
    "bad-utf8-above-10ffff",
)

TEXT_FORMS = ("last-newline", "leading-mark", "other-forms")

CLASSES: Mapping[str, tuple[str, ...]] = {
    "number": ("truncated", "greatest", "zero"),
    "constant": ("truncated", "unknown-value", "far-value"),
    "choice": ("truncated", "unknown-value", "far-value"),
    "flag": ("truncated", "unknown-value", "far-value"),
    "count": ("truncated", "count-short", "count-long", "greatest"),
    "fixed": ("truncated",),
    "magic": ("truncated", "unknown-value"),
    "chars": ("truncated", *UTF8_FAULTS, *TEXT_FORMS),
    "length": ("truncated", "length-short", "length-long", "greatest"),
    "bytes": ("truncated", "empty"),
    "text": ("truncated", "empty", "control-character", *UTF8_FAULTS, *TEXT_FORMS),
    "rest-bytes": ("empty",),
    "rest-text": ("empty", "control-character", *UTF8_FAULTS, *TEXT_FORMS),
    "tolerated": ("trailing",),
    "closed": ("trailing",),
    "varint": ("truncated", "not-minimal", "over-64-bits"),
    "prefix": ("truncated", "not-minimal", "over-limit"),
    "mode": ("truncated", "not-minimal", "unknown-value", "far-value"),
    "fingerprint": ("truncated",),
    "ids": ("truncated", "not-minimal", "count-long", "greatest"),
}
"""Fault classes that fit each role of a field; `meshwire vectors stats` demands each one."""

INDEX = re.compile(r"\[\d+\]")


@dataclass(frozen=True, slots=True)
class FieldRow:
    """One field of one kind: its path without indices, and its role in `CLASSES`."""

    kind: str
    path: str
    role: str

    @property
    def classes(self) -> tuple[str, ...]:
        """Fault classes that fit it."""
        return CLASSES[self.role]


def generic(path: str) -> str:
    """Return a field path without its indices."""
    return INDEX.sub("[]", path)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def fields_of(kind: str) -> tuple[FieldRow, ...]:
    """Return every field of a kind, in wire order, the end of the message last."""
    rows = [FieldRow(kind, path, role) for path, role in _layout(LAYOUTS[kind], "")]
    return tuple(rows)


def _is_closed(layout: Layout) -> bool:
    last = list(layout.blocks.values())[-1]
    return not isinstance(last, blocks.Rest | reconciliation.Ranges)


def _layout(layout: Layout, path: str, *, closed: bool = True) -> Iterator[tuple[str, str]]:
    for name, block in layout.blocks.items():
        yield from _block(block, _join(path, name))
    if closed and _is_closed(layout):
        yield path, "closed"


def _block(block: Any, path: str) -> Iterator[tuple[str, str]]:
    for kind, walk in WALKS:
        if isinstance(block, kind):
            yield from walk(block, path)
            return
    raise TypeError(f"{type(block).__name__} at {path} has no role")


def _as(role: str) -> Any:
    def walk(_block: Any, path: str) -> Iterator[tuple[str, str]]:
        yield path, role

    return walk


def _fixed(block: Any, path: str) -> Iterator[tuple[str, str]]:
    yield path, "fixed" if block.value is None else "magic"


def _with_length(role: str) -> Any:
    def walk(_block: Any, path: str) -> Iterator[tuple[str, str]]:
        yield f"{path}.length", "length"
        yield path, role

    return walk


def _rest(block: Any, path: str) -> Iterator[tuple[str, str]]:
    yield path, "rest-text" if block.is_text else "rest-bytes"


def _nested(block: Any, path: str) -> Iterator[tuple[str, str]]:
    if block.length is not None:
        yield f"{path}.length", "length"
    yield from _layout(block.layout, path, closed=block.length is not None)


def _when(block: Any, path: str) -> Iterator[tuple[str, str]]:
    yield from _block(block.block, path)


def _elements(block: Any, path: str) -> Iterator[tuple[str, str]]:
    if block.length is not None:
        yield f"{path}[].length", "length"
    yield from _layout(block.layout, f"{path}[]", closed=block.length is not None)


def _body(block: Any, path: str) -> Iterator[tuple[str, str]]:
    yield f"{path}.length", "length"
    for number, layout in block.cases.items():
        yield from _layout(layout, f"{path}({LabRecordType(number).name.lower()})")


def _inner(block: Any, path: str) -> Iterator[tuple[str, str]]:
    yield from _layout(block.layout, path, closed=False)


def _ranges(_block: Any, path: str) -> Iterator[tuple[str, str]]:
    yield from _layout(reconciliation.RANGE, f"{path}[]", closed=False)


def _range_payload(_block: Any, path: str) -> Iterator[tuple[str, str]]:
    yield f"{path}.fingerprint", "fingerprint"
    yield f"{path}.ids", "ids"


WALKS: tuple[tuple[Any, Any], ...] = (
    (blocks.Constant, _as("constant")),
    (blocks.Choice, _as("choice")),
    (blocks.Flag, _as("flag")),
    (blocks.Count, _as("count")),
    (blocks.Number, _as("number")),
    (blocks.Chars, _as("chars")),
    (blocks.Fixed, _fixed),
    (blocks.Text, _with_length("text")),
    (blocks.Blob, _with_length("bytes")),
    (blocks.Tolerated, _as("tolerated")),
    (blocks.Rest, _rest),
    (compound.Nested, _nested),
    (compound.When, _when),
    (compound.Elements, _elements),
    (compound.Fault, lambda _block, _path: iter(())),
    (compound.Body, _body),
    (reconciliation.Inner, _inner),
    (reconciliation.Ranges, _ranges),
    (reconciliation.Timestamp, _as("varint")),
    (reconciliation.Prefix, _as("prefix")),
    (reconciliation.Mode, _as("mode")),
    (reconciliation.RangePayload, _range_payload),
)
"""Functions that list the fields of a block, by its type; the first match is used."""
