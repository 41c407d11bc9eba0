"""Which connection of a listener gives way to a caller that is one too many."""

import pytest

from meshwire_reference.transport.places import PROVEN, CallerPlace, Places

BEGUN = 1


class Guest(CallerPlace):
    """A place whose stage a test sets."""

    def __init__(self, name: str, stage: int, gone: list[str]) -> None:
        super().__init__(name[0], lambda: gone.append(name))
        self._stage = stage

    @property
    def stage(self) -> int:
        """As the test has it."""
        return self._stage


@pytest.mark.parametrize(
    ("taken", "caller", "gone"),
    [
        # The address is the letter.
        ((("a1", PROVEN), ("b1", 0), ("b2", BEGUN)), "a2", "b1"),
        ((("b1", BEGUN), ("b2", 0), ("a1", PROVEN)), "a2", "b2"),
        ((("b1", BEGUN), ("b2", BEGUN), ("a1", PROVEN)), "b3", "b1"),
        ((("a1", 0), ("b1", BEGUN), ("b2", BEGUN)), "c1", "b1"),
        ((("a1", PROVEN), ("a2", PROVEN), ("b1", BEGUN)), "a3", "b1"),
        ((("a1", PROVEN), ("a2", PROVEN), ("b1", PROVEN)), "b2", "b2"),
        ((("a1", PROVEN), ("a2", PROVEN), ("b1", PROVEN)), "c1", "a2"),
        ((("a1", PROVEN), ("a2", PROVEN), ("b1", PROVEN)), "a3", "a3"),
        ((("a1", PROVEN), ("b1", PROVEN), ("c1", PROVEN)), "d1", "d1"),
    ],
)
def test_one_gives_way(taken: tuple[tuple[str, int], ...], caller: str, gone: str) -> None:
    """TR-032, TR-033: unproven ones, then those of the greediest address, then the caller."""
    left: list[str] = []
    places = Places(len(taken))
    for name, stage in taken:
        places.take(Guest(name, stage, left))
    assert left == []
    places.take(Guest(caller, 0, left))

    assert left == [gone]
    assert len(places) == len(taken)


def test_a_place_that_was_left_is_free() -> None:
    """Nobody gives way, and to leave twice frees one place."""
    left: list[str] = []
    places = Places(1)
    first, second = Guest("a1", PROVEN, left), Guest("b1", PROVEN, left)
    places.take(first)
    places.leave(first)
    places.leave(first)
    places.take(second)

    assert left == []
    assert len(places) == 1
