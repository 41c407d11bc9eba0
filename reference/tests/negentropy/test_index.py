"""The live index: after every edit it is what a vector of the same items would be."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwire_reference.negentropy import Index, Misused, Reconciliation, Storage
from meshwire_reference.wire.reconciliation import INFINITY
from negentropy_sets import identity, numbered, sealed

edits = st.lists(st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=12), max_size=12)


def answers(storage: Storage) -> list[object]:
    """Return the answer to every question of a session."""
    size = storage.size
    keys = [storage.key(rank) for rank in range(1, size)]
    return [
        size,
        Reconciliation(storage).initiate(),
        storage.ids(0, size),
        storage.ids(size // 3, size // 2),
        keys,
        [storage.cut(rank) for rank in range(1, size)],
        [storage.locate(key, 0, 0) for key in (bytes(8), *keys, INFINITY)],
    ]


@given(batches=edits, start=st.integers(0, 40), step=st.integers(0, 1))
def test_after_every_batch_of_edits_it_equals_a_rebuilt_vector(
    batches: list[list[tuple[int, bool]]], start: int, step: int
) -> None:
    """Blocks of four split and join all the time, and no rank or sum is ever off."""
    items = set(numbered(range(start), step))
    index = Index(items, block_size=4)
    for batch in batches:
        for number, is_wanted in batch:
            item = (number * step, identity(number))
            if is_wanted:
                index.insert(*item)
                items.add(item)
            elif item in items:
                index.delete(*item)
                items.remove(item)
        assert answers(index) == answers(sealed(items))


def test_blocks_of_the_usual_size_split_and_join() -> None:
    """Thousands of random edits, from empty to full and back to empty."""
    random = Random(2)
    items = numbered(range(5000), step=0)
    random.shuffle(items)
    index = Index()
    for item in items:
        index.insert(*item)
    full = sealed(items)
    assert Reconciliation(index).initiate() == Reconciliation(full).initiate()
    for item in items[:4900]:
        index.delete(*item)
    assert answers(index) == answers(sealed(items[4900:]))
    for item in items[4900:]:
        index.delete(*item)
    assert answers(index) == answers(sealed(()))


def test_equal_items_count_once() -> None:
    """An item that is there stays as it is."""
    index = Index(numbered([1, 2, 2]))
    index.insert(*numbered([2])[0])

    assert index.size == 2
    assert index.holds(*numbered([2])[0])


def test_only_what_is_there_can_be_deleted() -> None:
    """A delete of nothing is a bug of the caller's."""
    index = Index(numbered(range(3)))
    with pytest.raises(Misused):
        index.delete(1, identity(0))

    assert not index.holds(1, identity(0))
    assert index.size == 3


def test_what_is_no_item_is_not_taken() -> None:
    """The same limits as those of a vector."""
    with pytest.raises(Misused):
        Index().insert(2**64 - 1, bytes(32))
    with pytest.raises(Misused):
        Index([(0, bytes(31))])


def test_items_may_come_and_go_during_a_run() -> None:
    """A message is answered from what is there then, and what stood still is settled."""
    ours, theirs = Index(numbered(range(400))), Index(numbered(range(5, 405)))
    client, server = Reconciliation(ours), Reconciliation(theirs)
    query: bytes | None = client.initiate()
    have, need = set(), set()
    number = 1000
    while query is not None:
        ours.insert(number, identity(number))
        theirs.delete(*numbered([number - 800])[0])
        number += 1
        step = client.reconcile(server.reconcile(query).reply or b"")
        have.update(step.have)
        need.update(step.need)
        query = step.reply

    assert {identity(number) for number in range(5)} <= have
    assert need == {identity(number) for number in range(400, 405)}
