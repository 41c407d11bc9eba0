"""Local edits of typed documents: what is written and kept, and how two edits are merged."""

from __future__ import annotations

import pytest
from automerge.core import Document
from hypothesis import given
from hypothesis import strategies as st

from meshwire_reference.core.document_calls import (
    Edit,
    Edited,
    Fields,
    Listed,
    Merge,
    Refused,
    Save,
    Saved,
    Scalar,
    SoftDelete,
    Value,
)
from meshwire_reference.documents.table import Table

KEY = "notes:1"
COUNTER = bytes.fromhex(
    "856f4a83c16038a4012f0010c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c50101000000061503340142025602570170027f01"
    "6b017f017f18057f00"
)
"""A document whose field `k` is a counter."""


class Holder:
    """A node's copy of one document."""

    def __init__(self, actor: int) -> None:
        self.table = Table(bytes((actor,)) * 16)

    def edit(self, *removed: str, **fields: Scalar | Value) -> Edited:
        """Edit the document."""
        edited = self.table.answer(Edit(KEY, dict(fields), removed), None)
        assert isinstance(edited, Edited), edited
        return edited

    def refusal(self, **fields: Scalar | Value) -> Refused:
        """Make an edit that must not be made."""
        refused = self.table.answer(Edit(KEY, dict(fields)), None)
        assert isinstance(refused, Refused), refused
        return refused

    @property
    def listed(self) -> Listed:
        """What a reader sees."""
        listed = self.table.answer(Fields(KEY), None)
        assert isinstance(listed, Listed), listed
        return listed

    @property
    def fields(self) -> dict[str, Value]:
        """The root fields."""
        return self.listed.fields or {}

    @property
    def saved(self) -> bytes:
        """The whole document."""
        saved = self.table.answer(Save(KEY), None)
        assert isinstance(saved, Saved)
        return saved.snapshot or b""

    def take(self, other: Holder) -> None:
        """Merge what another one has."""
        self.table.answer(Merge(KEY, other.saved), None)


def pair(**fields: Scalar | Value) -> tuple[Holder, Holder]:
    """Return two copies of one document."""
    one, two = Holder(1), Holder(2)
    one.edit(**fields)
    two.take(one)
    return one, two


def meet(one: Holder, two: Holder) -> dict[str, Value]:
    """Merge two copies both ways and return what both have."""
    one.take(two)
    two.take(one)

    assert one.fields == two.fields
    return one.fields


def text(content: str) -> Value:
    """Return a text."""
    return Value("text", content)


def numbers(*values: int) -> Value:
    """Return a list of numbers."""
    return Value("list", [Value("int", value) for value in values])


def record(**fields: Scalar | Value) -> Value:
    """Return a map of texts, numbers and values."""
    kinds = {int: "int", str: "str"}
    entries = {
        name: value if isinstance(value, Value) else Value(kinds[type(value)], value)
        for name, value in fields.items()
    }
    return Value("map", entries)


SCALARS = st.one_of(
    st.just(Value("null", None)),
    st.booleans().map(lambda value: Value("boolean", value)),
    st.integers(-(2**63), 2**63 - 1).map(lambda value: Value("int", value)),
    st.integers(0, 2**64 - 1).map(lambda value: Value("uint", value)),
    st.floats(allow_nan=False).map(lambda value: Value("f64", value)),
    st.text(max_size=8).map(lambda value: Value("str", value)),
    st.text(max_size=8).map(text),
    st.binary(max_size=8).map(lambda value: Value("bytes", value.hex())),
    st.integers(-(10**12), 10**13).map(lambda value: Value("timestamp", value)),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda items: Value("list", items))
        | st.dictionaries(st.text(max_size=3), inner, max_size=4).map(
            lambda entries: Value("map", entries)
        )
    ),
    max_leaves=12,
)


@given(st.lists(VALUES, min_size=1, max_size=4))
def test_a_field_reads_as_it_was_written(values: list[Value]) -> None:
    """Whatever it was before, and the same value once more writes nothing."""
    holder = Holder(1)
    for value in values:
        holder.edit(field=value)

        assert holder.fields == {"field": value}
        assert holder.edit(field=value).write is None


class TestTogether:
    """Changes of two nodes on one value come together."""

    def test_fields_of_the_root(self) -> None:
        """D-48: an update writes the fields that differ, on the document there is."""
        one, two = pair(a=1, b=2, c=3)
        one.edit(a=10, b=2, c=3)
        two.edit(a=1, b=20, c=3)

        assert meet(one, two) == {
            "a": Value("int", 10),
            "b": Value("int", 20),
            "c": Value("int", 3),
        }

    def test_a_later_version_always_wins(self) -> None:
        """D-48: v2 of the one who wrote v1 is no rival of v1 elsewhere."""
        for _ in range(20):
            one, two = pair(version=1)
            one.edit(version=2)

            assert meet(one, two) == {"version": Value("int", 2)}

    def test_entries_of_a_map(self) -> None:
        """One is changed here, one is added and one removed there."""
        one, two = pair(place=record(lat=1, lon=2, note="x"))
        one.edit(place=record(lat=10, lon=2, note="x"))
        two.edit(place=record(lat=1, lon=2, height=3))

        assert meet(one, two) == {"place": record(lat=10, lon=2, height=3)}

    def test_elements_of_a_list(self) -> None:
        """One is inserted at the front here, one is appended there."""
        one, two = pair(path=numbers(2, 3, 4))
        one.edit(path=numbers(1, 2, 3, 4))
        two.edit(path=numbers(2, 3, 4, 5))

        assert meet(one, two) == {"path": numbers(1, 2, 3, 4, 5)}

    def test_an_element_that_changes_stays_the_same_element(self) -> None:
        """A field of it is changed here, another one there."""
        one, two = pair(stops=Value("list", [record(a=1, b=1), record(a=2, b=2)]))
        one.edit(stops=Value("list", [record(a=10, b=1), record(a=2, b=2)]))
        two.edit(stops=Value("list", [record(a=1, b=10), record(a=2, b=2)]))

        assert meet(one, two) == {"stops": Value("list", [record(a=10, b=10), record(a=2, b=2)])}

    def test_places_of_a_text(self) -> None:
        """Words are changed here and there, also beside characters of several bytes."""
        one, two = pair(body=text("the \U0001f600 fox \u00e9 dog"))
        one.edit(body=text("the \U0001f600 quick fox \u00e9 dog"))
        two.edit(body=text("the \U0001f600 fox \u00e9 lazy dog"))

        assert meet(one, two) == {"body": text("the \U0001f600 quick fox \u00e9 lazy dog")}

    def test_one_actor_signs_all_of_a_node(self) -> None:
        """D-47: a thousand updates leave one actor."""
        holder = Holder(5)
        for number in range(1000):
            holder.edit(count=number, place=record(lat=number))
        changes = Document.load(holder.saved).get_changes([])

        assert {change.actor_id for change in changes} == {b"\x05" * 16}
        assert len(changes) == 1000


class TestOpaque:
    """A counter is kept and can be removed, but is never written."""

    def setup_method(self) -> None:
        """Hold a document with a counter."""
        self.holder = Holder(1)
        self.holder.table.answer(Merge(KEY, COUNTER), None)

    def test_it_is_given_back_as_it_was_read(self) -> None:
        """A whole record that is written again leaves it alone."""
        self.holder.edit(**self.holder.fields, other=1)
        changes = Document.load(self.holder.saved).get_changes([])

        assert changes[0].bytes == COUNTER
        assert self.holder.fields == {"k": Value("counter", None), "other": Value("int", 1)}

    @pytest.mark.parametrize("value", [5, Value("map", {}), Value("unknown", None)])
    def test_it_is_not_replaced(self, value: Scalar | Value) -> None:
        """The whole edit is refused."""
        self.holder.refusal(other=1, k=value)

        assert self.holder.fields == {"k": Value("counter", None)}

    def test_it_can_be_removed(self) -> None:
        """As any other field."""
        self.holder.edit("k", other=1)

        assert self.holder.fields == {"other": Value("int", 1)}

    @pytest.mark.parametrize("kind", ["counter", "unknown", "no-such-type"])
    def test_a_new_one_is_not_made(self, kind: str) -> None:
        """Nor a value of a type that does not exist."""
        before = dict(self.holder.fields)
        self.holder.refusal(other=Value(kind, None))

        assert self.holder.fields == before


def deep(levels: int) -> Value:
    """Return lists in lists."""
    value = Value("list", [])
    for _ in range(levels - 1):
        value = Value("list", [value])
    return value


@pytest.mark.parametrize(
    "value",
    [
        Value("timestamp", 2**62),
        Value("bytes", "xyz"),
        Value("int", 2**63),
        deep(65),
    ],
)
def test_what_cannot_be_written_is_refused(value: Value) -> None:
    """And nothing of the edit is made."""
    holder = Holder(1)
    holder.edit(a=1)
    before = holder.saved
    holder.refusal(b=2, c=value)

    assert holder.saved == before


def test_the_deepest_that_reads_is_written() -> None:
    """A document that is read can be written again."""
    holder = Holder(1)
    holder.edit(a=deep(64))

    assert holder.fields == {"a": deep(64)}
    assert holder.edit(a=deep(64)).write is None


class TestSoftDelete:
    """D-86: a deletion is marked where the fields are read."""

    def test_a_reader_sees_it(self) -> None:
        """With who deleted the document and when; its other fields stay."""
        holder = Holder(1)
        holder.edit(a=1)

        assert not holder.listed.deleted

        holder.table.answer(SoftDelete(KEY, "node-a", 1_700_000_000_123), None)

        assert holder.listed.deleted
        assert holder.fields == {
            "a": Value("int", 1),
            "_deleted": Value("boolean", value=True),
            "_deleted_at": Value("timestamp", 1_700_000_000_123),
            "_deleted_by": Value("str", "node-a"),
        }

    def test_it_can_be_undone(self) -> None:
        """Another edit sets the mark to false."""
        holder = Holder(1)
        holder.edit(a=1)
        holder.table.answer(SoftDelete(KEY, "node-a", 1), None)
        holder.edit(_deleted=False)

        assert not holder.listed.deleted

    def test_a_document_that_does_not_exist_is_not_made(self) -> None:
        """There is nothing to mark."""
        holder = Holder(1)

        assert holder.table.answer(SoftDelete(KEY, "node-a", 1), None) == Edited((), None)
        assert holder.listed.fields is None


def as_json(holder: Holder, *removed: str, exact: bool = False, **fields: Scalar | Value) -> Edited:
    """Make an edit with values of JSON."""
    edit = Edit(KEY, dict(fields), removed, exact=exact, as_json=True)
    edited = holder.table.answer(edit, None)
    assert isinstance(edited, Edited), edited
    return edited


class TestJson:
    """Values of JSON on fields whose types JSON does not have."""

    def test_what_was_read_can_be_written_back(self) -> None:
        """Nothing changes, also within maps and lists."""
        holder = Holder(1)
        held = {
            "text": text("green"),
            "bytes": Value("bytes", "0102"),
            "time": Value("timestamp", 1_700_000_000_123),
            "uint": Value("uint", 7),
            "inner": record(text=text("blue"), times=Value("list", [Value("timestamp", 5)])),
        }
        holder.edit(**held)
        shown = record(text="blue", times=numbers(5))
        same = as_json(
            holder, text="green", bytes="0102", time=1_700_000_000_123, uint=7, inner=shown
        )

        assert same.write is None
        assert holder.fields == held

    def test_new_values_keep_the_type_where_they_can(self) -> None:
        """A text is edited in place; bytes and a negative number are values of another type."""
        holder = Holder(1)
        holder.edit(
            text=text("green"),
            time=Value("timestamp", 5),
            bytes=Value("bytes", "0102"),
            uint=Value("uint", 7),
        )
        as_json(holder, text="grey", time=6, bytes="0103", uint=-1)

        assert holder.fields == {
            "text": text("grey"),
            "time": Value("timestamp", 6),
            "bytes": Value("str", "0103"),
            "uint": Value("int", -1),
        }

    def test_a_value_that_cannot_be_shown_is_kept_by_null(self) -> None:
        """A counter, which reads as null; any other value for it is refused."""
        holder = Holder(1)
        holder.table.answer(Merge(KEY, COUNTER), None)
        as_json(holder, k=None, a=1)
        refused = holder.table.answer(Edit(KEY, {"k": 5}, as_json=True), None)

        assert holder.fields == {"k": Value("counter", None), "a": Value("int", 1)}
        assert isinstance(refused, Refused)

    def test_an_exact_edit_removes_what_it_does_not_give(self) -> None:
        """Any other keeps it."""
        holder = Holder(1)
        holder.edit(a=1, b=2)
        as_json(holder, b=3)
        assert holder.fields == {"a": Value("int", 1), "b": Value("int", 3)}
        as_json(holder, exact=True, b=4)
        assert holder.fields == {"b": Value("int", 4)}

    def test_a_document_that_comes_back_begins_anew(self) -> None:
        """An edit that removes the marks of its deletion removes the old fields with them."""
        holder = Holder(1)
        holder.edit(a=1)
        holder.table.answer(SoftDelete(KEY, "node-a", 1), None)
        as_json(holder, "_deleted", "_deleted_at", "_deleted_by", b=2)

        assert holder.fields == {"b": Value("int", 2)}
        assert not holder.listed.deleted
