"""Documents as data: what is a document, and what is a fault of the suite."""

import pytest

from meshwire_conformance.documents.values import (
    DEFAULT_ACTOR,
    BadDocument,
    DocumentData,
    Json,
    check_document,
)


def test_fields_come_before_edits() -> None:
    """Fields are the first change, each edit one more."""
    data = check_document({"actor": "0a1b", "fields": {"a": 1}, "edits": [{"a": 2}, {"b": None}]})

    assert data == DocumentData("0a1b", [{"a": 1}, {"a": 2}, {"b": None}])


def test_nothing_is_an_empty_document() -> None:
    """No part is required."""
    assert check_document({}) == DocumentData(DEFAULT_ACTOR, [])


@pytest.mark.parametrize(
    "data",
    [
        {"field": {}},
        {"actor": ""},
        {"actor": "0"},
        {"actor": "aa" * 65},
        {"actor": 7},
        {"fields": [1]},
        {"edits": {"a": 1}},
        {"edits": [1]},
        {"fields": {"a": {"$byte": "00"}}},
        {"fields": {"a": {"$bytes": "0"}}},
        {"fields": {"a": {"$bytes": "00", "b": 1}}},
        {"fields": {"a": {"$uint": 7}}},
        {"fields": {"a": {"$uint": "x"}}},
        {"fields": {"a": {"$timestamp": "1"}}},
        {"fields": {"a": {"$opaque": "Counter"}}},
        {"fields": {"a": [{"b": {"$text": 1}}]}},
    ],
)
def test_other_data_is_a_fault(data: dict[str, Json]) -> None:
    """A misspelt document never runs as another one."""
    with pytest.raises(BadDocument):
        check_document(data)
