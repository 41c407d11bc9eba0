"""Documents that end by themselves: when, and what is remembered of them."""

from __future__ import annotations

from meshwire_reference.core.document_calls import Life
from meshwire_reference.core.state import lifetimes
from meshwire_reference.core.state.lifetimes import Lifetimes
from meshwire_reference.core.state.policy import PUBLISHED

LIFETIME_S = 3600.0
KEY, OTHER = "beacons:b1", "platforms:p1"
ONE, TWO = (b"\x01\x02" * 16,), (b"\xf1\xf2" * 16,)


def over(held: Lifetimes, now_s: float) -> list[str]:
    """Return the keys of documents whose lifetime has passed."""
    return [key for step in held.over(now_s) for key in step]


def test_a_document_lives_for_a_lifetime_after_its_last_change() -> None:
    """DC-077, DC-078: one deadline for each key, and none where documents do not end."""
    held = Lifetimes(PUBLISHED)
    first = held.note_written(KEY, ONE, 10.0, 5000)
    assert held.note_written("notes:n1", ONE, 10.0, 5000) is None
    assert held.note_written(KEY, TWO, 3000.0, 7000) == Life(5000, 7000)
    assert first == Life(5000, 5000)

    assert over(held, 10.0 + LIFETIME_S + 1) == []
    assert over(held, 3000.0 + LIFETIME_S) == []
    assert over(held, 3000.0 + LIFETIME_S + 1) == [KEY]
    assert len(held) == 1


def test_one_that_has_ended_is_known_by_its_heads_for_a_lifetime() -> None:
    """DC-079: with other heads, or later, it is another document."""
    held = Lifetimes(PUBLISHED)
    held.note_written(KEY, (*ONE, *TWO), 0.0, 5000)
    held.end(KEY, 4000.0)

    assert held.has_returned(KEY, (*TWO, *ONE), 4000.0 + LIFETIME_S)
    assert not held.has_returned(KEY, ONE, 4000.0)
    assert not held.has_returned(OTHER, (*TWO, *ONE), 4000.0)
    assert not held.has_returned(KEY, (*TWO, *ONE), 4001.0 + LIFETIME_S)
    assert over(held, 4001.0 + LIFETIME_S) == []
    held.note_written(KEY, ONE, 9000.0, 9000)
    assert not held.has_returned(KEY, (*TWO, *ONE), 9000.0)


def test_one_that_was_written_anew_is_no_ended_one() -> None:
    """DC-079: what is held again is no document that returns."""
    held = Lifetimes(PUBLISHED)
    held.note_written(KEY, ONE, 0.0, 5000)
    held.end(KEY, 4000.0)
    held.note_written(KEY, TWO, 4100.0, 9000)

    assert not held.has_returned(KEY, ONE, 4100.0)


def test_those_that_have_ended_are_bounded() -> None:
    """The oldest are forgotten."""
    held = Lifetimes(PUBLISHED)
    for number in range(lifetimes.ENDED_MAX + 1):
        held.note_written(f"beacons:{number}", ONE, 0.0, 5000)
        held.end(f"beacons:{number}", 4000.0)

    assert not held.has_returned("beacons:0", ONE, 4000.0)
    assert held.has_returned("beacons:1", ONE, 4000.0)


def test_those_that_have_ended_are_forgotten_a_few_in_each_step() -> None:
    """Ten thousands of them may be remembered, and one turn must stay short."""
    held = Lifetimes(PUBLISHED)
    for number in range(lifetimes.CHECKED_AT_ONCE + 1):
        held.note_written(f"beacons:{number}", ONE, 0.0, 5000)
        held.end(f"beacons:{number}", 4000.0)
    steps = held.over(4001.0 + LIFETIME_S)

    assert next(steps) == ()
    # Asked about the time at which it ended, when it is still known.
    assert not held.has_returned("beacons:0", ONE, 4000.0)
    assert held.has_returned(f"beacons:{lifetimes.CHECKED_AT_ONCE}", ONE, 4000.0)
    assert list(steps) == [()]
    assert not held.has_returned(f"beacons:{lifetimes.CHECKED_AT_ONCE}", ONE, 4000.0)


def test_a_restart_counts_by_the_calendar() -> None:
    """Never more than what has passed, and a document without a note begins at the start."""
    held = Lifetimes(PUBLISHED)
    held.restore(KEY, Life(1000, 2_000_000), ONE, 7.0, 4_000_000)
    held.restore(OTHER, None, TWO, 7.0, 4_000_000)
    held.restore("beacons:b2", Life(1000, 9_000_000), ONE, 7.0, 4_000_000)
    held.restore("notes:n1", None, ONE, 7.0, 4_000_000)

    assert over(held, 7.0 + LIFETIME_S - 2000 + 1) == [KEY]
    assert over(held, 7.0 + LIFETIME_S) == [KEY]
    assert over(held, 7.0 + LIFETIME_S + 1) == [KEY, OTHER, "beacons:b2"]
    assert (held.begin(KEY, 9), held.begin(OTHER, 9), held.begin("beacons:b9", 9)) == (1000, 0, 9)


def test_a_life_that_the_user_begins_has_the_time_of_its_author() -> None:
    """The document is stored a little later than it was written."""
    held = Lifetimes(PUBLISHED)
    assert held.begin(KEY, 5000) == 5000

    assert held.note_written(KEY, ONE, 1.0, 5003) == Life(5000, 5003)
    assert held.begin(KEY, 6000) == 5000
    held.forget(KEY)
    assert held.begin(KEY, 6000) == 6000
