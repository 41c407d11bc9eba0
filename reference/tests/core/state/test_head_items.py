"""The documents as items by their heads: which are known, and what an answer may replace."""

from meshwire_reference.core.state.head_items import HeadItems, identify_version

KEY = "notes:1"
OLD, NEW = (b"\x01" * 32,), (b"\x02" * 32,)


def asked() -> HeadItems:
    """Return the set of a node that has asked for the heads of its one document."""
    items = HeadItems(is_kept=True)
    items.note(KEY, ())
    assert items.take_unknown() == KEY
    return items


def test_heads_are_known_once_they_are_answered() -> None:
    """Not while they are asked for, though nothing is left to ask."""
    items = asked()
    assert items.take_unknown() is None
    assert not items.is_known
    items.answer(KEY, OLD)

    assert items.is_known
    assert items.key_of(identify_version(KEY, OLD)) == KEY


def test_an_answer_from_before_a_change_replaces_nothing() -> None:
    """The heads of the change stay, and those of a document that is gone do not come back."""
    items = asked()
    items.note(KEY, NEW)
    items.answer(KEY, OLD)
    gone = asked()
    gone.remove(KEY)
    gone.answer(KEY, OLD)

    assert items.key_of(identify_version(KEY, NEW)) == KEY
    assert items.as_storage().size == 1
    assert items.key_of(identify_version(KEY, OLD)) is None
    assert gone.as_storage().size == 0
