"""Observers of a node's own user: what they hear, when, and that one does not disturb another."""

import pytest

from meshwire_reference.core.effects import WriteStore
from meshwire_reference.node.local import LocalUser


@pytest.fixture
def user() -> LocalUser:
    """Return the user of a node whose core does nothing."""
    return LocalUser(lambda _: None)


def test_a_change_is_heard_once_it_is_durable(user: LocalUser) -> None:
    """In the order of the writes."""
    heard: list[str] = []
    user.observe(heard.append)
    for number, key in enumerate(("notes:1", "notes:2", "notes:1"), 1):
        user.note_write(WriteStore(number, key, None))
    assert heard == []
    user.note_durable(2)
    assert heard == ["notes:1", "notes:2"]
    user.note_durable(3)
    assert heard == ["notes:1", "notes:2", "notes:1"]


def test_a_write_that_is_lost_is_never_heard(user: LocalUser) -> None:
    """Later writes have greater numbers, and their end is not that of the lost ones."""
    heard: list[str] = []
    user.observe(heard.append)
    user.note_write(WriteStore(1, "notes:1", None))
    user.lose_writes()
    user.note_write(WriteStore(2, "notes:2", None))
    user.note_durable(2)

    assert heard == ["notes:2"]


def test_an_observer_that_ends_by_what_it_hears_takes_nothing_from_the_next(
    user: LocalUser,
) -> None:
    """It hears nothing more itself."""
    heard: list[str] = []

    def end(key: str) -> None:
        heard.append(f"first {key}")
        forget()

    forget = user.observe(end)
    user.observe(heard.append)
    for number in (1, 2):
        user.note_write(WriteStore(number, f"notes:{number}", None))
        user.note_durable(number)

    assert heard == ["first notes:1", "notes:1", "notes:2"]
