"""The sealed vector: order, sums, and what it takes and when."""

import gc

import pytest

from meshwire_reference.negentropy import Misused, Vector
from meshwire_reference.wire.reconciliation import INFINITY
from meshwire_spec.numbers import NEGENTROPY_TIMESTAMP_MAX
from negentropy_sets import identity, numbered, sealed


def bound(timestamp: int, prefix: bytes = b"") -> bytes:
    """The key of a bound."""
    return timestamp.to_bytes(8, "big") + prefix


def test_items_stand_by_timestamp_and_then_by_id() -> None:
    """The order of insertion leaves no trace."""
    items = [(7, identity(2)), (7, identity(1)), (0, identity(3)), (2**53, identity(0))]

    assert sealed(items).ids(0, 4) == [found for _, found in sorted(items)]


def test_equal_items_count_once() -> None:
    """Insertion of an item that is there changes nothing, sorted or not."""
    assert sealed([*numbered(range(9)), *numbered(range(9))]).size == 9


def test_one_id_at_two_timestamps_is_two_items() -> None:
    """An item is its timestamp and its id."""
    assert sealed([(1, identity(1)), (2, identity(1))]).size == 2


@pytest.mark.parametrize("expected", [0, 1, 50, 99, 100, 5000])
def test_a_bound_is_located_wherever_it_is_looked_for_first(expected: int) -> None:
    """The hint decides where to look, never what is found."""
    vector = sealed(numbered(range(100), step=3))
    numbers = [int.from_bytes(identity(number), "little") for number in range(100)]
    found = [vector.locate(bound(3 * rank), 0, expected) for rank in range(100)]

    assert found == [(rank, sum(numbers[:rank])) for rank in range(100)]
    assert vector.locate(INFINITY, 0, expected) == (100, sum(numbers))


def test_a_cut_is_the_shortest_bound_between_two_items() -> None:
    """A timestamp alone where it tells them apart, else one byte more than they share."""
    vector = sealed([(5, b"\x01\x02" + bytes(30)), (5, b"\x01\x03" + bytes(30)), (9, bytes(32))])

    assert vector.cut(1)[1] == bound(5, b"\x01\x03")
    assert vector.cut(2)[1] == bound(9)


@pytest.mark.parametrize(
    ("timestamp", "item_identity"),
    [(-1, bytes(32)), (NEGENTROPY_TIMESTAMP_MAX + 1, bytes(32)), (0, bytes(31)), (0, bytes(33))],
)
def test_what_is_no_item_is_not_taken(timestamp: int, item_identity: bytes) -> None:
    """2^64-1 means infinity, and an id has 32 bytes."""
    vector = Vector()
    with pytest.raises(Misused):
        vector.insert(timestamp, item_identity)
    with pytest.raises(Misused):
        vector.extend([0, timestamp], [bytes(32), item_identity])
    vector.seal()

    assert vector.size == 0


def test_many_items_are_added_like_one_by_one() -> None:
    """A vector that was extended has the same order and sums; two lengths are an error."""
    items = [(7, identity(2)), (7, identity(1)), (0, identity(3)), (2**53, identity(0))]
    vector = Vector()
    vector.extend([], [])
    vector.extend(*map(list, zip(*items, strict=True)))
    with pytest.raises(Misused):
        vector.extend([1, 2], [identity(4)])
    vector.seal()

    assert vector.ids(0, 9) == sealed(items).ids(0, 9)
    assert vector.locate(INFINITY, 0, 4) == sealed(items).locate(INFINITY, 0, 4)


def test_a_vector_is_filled_and_then_sealed() -> None:
    """It serves nobody before and takes nothing after."""
    vector = Vector()
    with pytest.raises(Misused, match="not sealed"):
        _ = vector.size
    vector.seal()
    with pytest.raises(Misused, match="is sealed"):
        vector.seal()
    with pytest.raises(Misused, match="takes no items"):
        vector.insert(0, bytes(32))
    with pytest.raises(Misused, match="is sealed"):
        vector.extend([0], [bytes(32)])


def test_a_dropped_vector_leaves_no_cycle() -> None:
    """Its memory is free at once, however rarely the garbage is collected."""
    gc.collect()
    gc.disable()
    try:
        sealed(numbered(range(9)))
        unreachable = gc.collect()
    finally:
        gc.enable()

    assert not unreachable


@pytest.mark.parametrize(
    ("timestamp", "item_identity"),
    [(0, "a" * 32), (0, memoryview(bytes(32))), (0, [0] * 32), (1.5, bytes(32))],
)
def test_items_of_another_type_are_told_when_the_vector_is_sealed(
    timestamp: int, item_identity: bytes
) -> None:
    """At the latest: no session meets them."""
    vector = Vector()
    vector.insert(timestamp, item_identity)

    with pytest.raises(Misused, match="32 bytes"):
        vector.seal()
