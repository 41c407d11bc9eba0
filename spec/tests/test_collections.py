"""The collection table, asked by key."""

import pytest

from meshwire_spec.numbers import collection_of

DIRECTIONS = {
    "upward": ("nodes:node-1", "beacons:beacon-42", "platforms:platform-a", "summaries:cell-1"),
    "downward": ("commands:cmd-123", "commands:urgent-456"),
    "lateral": ("cells:cell-alpha", "cells:formation-1"),
    "broadcast": (
        "alerts:alert-1",
        "contact_reports:cr-789",
        "events:event-1",
        "unknown:item-1",
        "custom_collection:x",
    ),
}
"""T-011 to T-014: keys as the tests of peat-mesh 0.8.2 have them."""


@pytest.mark.parametrize(
    ("key", "direction"), [(key, way) for way, keys in DIRECTIONS.items() for key in keys]
)
def test_the_collection_says_which_way_a_batch_goes(key: str, direction: str) -> None:
    """A collection that the table lacks goes everywhere."""
    assert collection_of(key).batch_direction == direction


@pytest.mark.parametrize(
    ("key", "direction"), [("nodes", "upward"), ("commands", "downward"), ("", "broadcast")]
)
def test_a_key_without_a_colon_is_its_own_collection(key: str, direction: str) -> None:
    """T-015: such keys are refused on the wire, and the table has a row for them all the same."""
    assert collection_of(key).batch_direction == direction


def test_the_first_colon_ends_the_collection() -> None:
    """A second one belongs to the id."""
    assert collection_of("commands:nodes:1") is collection_of("commands:x")
    assert collection_of("nodes::node-1") is collection_of("nodes:x")
