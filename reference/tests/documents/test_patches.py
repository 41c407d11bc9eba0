"""Fields and their types, read from the text of patches."""

import datetime as dt

import pytest
from automerge.core import ROOT, Document, ObjType, ScalarType

from meshwire_reference.core.document_calls import Value
from meshwire_reference.documents.patches import (
    DEPTH_MAX,
    Named,
    UnreadableText,
    fields_of,
    read_text,
)

COUNTER = "856f4a83c16038a4012f0010c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c50101000000061503340142025602570170027f016b017f017f18057f00"  # noqa: E501  # one change
UNKNOWN = "856f4a8309a9de4d01300010c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c50101000000061503340142025602570270027f016b017f017f2a01027f00"  # noqa: E501  # one change
FAR_TIME = "856f4a83750baecd01370010c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c50101000000061503340142025603570870027f016b017f017f89018080bb8b939bc4007f00"  # noqa: E501  # one change


def read(document: Document) -> dict[str, Value]:
    """Return the fields of a document."""
    return fields_of(document.diff([], document.get_heads()))


@pytest.mark.parametrize(
    ("kind", "written", "value"),
    [
        (ScalarType.Null, None, Value("null", None)),
        (ScalarType.Boolean, True, Value("boolean", value=True)),
        (ScalarType.Boolean, False, Value("boolean", value=False)),
        (ScalarType.Int, -(2**63), Value("int", -(2**63))),
        (ScalarType.Uint, 2**64 - 1, Value("uint", 2**64 - 1)),
        (ScalarType.F64, -1.5e300, Value("f64", -1.5e300)),
        (ScalarType.F64, float("inf"), Value("f64", float("inf"))),
        (ScalarType.Str, 'a"\\\n\t\0é\u2028😀{', Value("str", 'a"\\\n\t\0é\u2028😀{')),
        (ScalarType.Bytes, b"\x01\x02", Value("bytes", "0102")),
        (
            ScalarType.Timestamp,
            dt.datetime(2020, 1, 1, tzinfo=dt.UTC).replace(tzinfo=None),
            Value("timestamp", 1577836800000),
        ),
    ],
)
def test_every_scalar_reads_back(kind: ScalarType, written: object, value: Value) -> None:
    """A scalar reads as what was written, with its type."""
    document = Document(b"\xa1" * 16)
    with document.transaction() as transaction:
        transaction.put(ROOT, 'the "key"', kind, written)

    assert read(document) == {'the "key"': value}


def test_objects_read_back() -> None:
    """Maps, lists and texts read with what they hold."""
    document = Document(b"\xa1" * 16)
    with document.transaction() as transaction:
        items = transaction.put_object(ROOT, "items", ObjType.List)
        transaction.insert(items, 0, ScalarType.Int, 2)
        inner = transaction.insert_object(items, 0, ObjType.Map)
        transaction.put(inner, "x", ScalarType.Str, "y")
        text = transaction.put_object(ROOT, "text", ObjType.Text)
        transaction.splice_text(text, 0, 0, 'it\'s "a"')

    assert read(document) == {
        "items": Value("list", [Value("map", {"x": Value("str", "y")}), Value("int", 2)]),
        "text": Value("text", 'it\'s "a"'),
    }


@pytest.mark.parametrize(
    ("change", "value"),
    [
        (COUNTER, Value("counter", None)),
        (UNKNOWN, Value("unknown", None)),
        (FAR_TIME, Value("timestamp", 300_000_000_000_000)),
    ],
)
def test_odd_scalars_read_without_harm(change: str, value: Value) -> None:
    """Values whose reading panics are read from patches."""
    assert read(Document.load(bytes.fromhex(change))) == {"k": value}


def test_depth_is_bounded() -> None:
    """An object nested deeper than the limit reads as opaque."""
    document = Document(b"\xa1" * 16)
    with document.transaction() as transaction:
        place = ROOT
        for _ in range(DEPTH_MAX + 5):
            place = transaction.put_object(place, "in", ObjType.Map)
    value, depth = read(document)["in"], 1
    while isinstance(value.value, dict) and value.value:
        value, depth = value.value["in"], depth + 1

    assert (value.kind, depth) == ("unknown", DEPTH_MAX + 1)


def test_the_notation_is_read() -> None:
    """Names, records, tuples, lists, strings and numbers."""
    assert read_text('A { b: [1, -2.5], c: (D("x\\u{7f}"), E) }') == Named(
        "A", fields={"b": [1, -2.5], "c": (Named("D", ("x\x7f",)), Named("E"))}
    )


@pytest.mark.parametrize("text", ["", "}", "A {", "A { 1: 2 }", "[1", '"open', "§"])
def test_other_text_is_refused(text: str) -> None:
    """Text outside the notation is an error, never a guess."""
    with pytest.raises(UnreadableText):
        read_text(text)
