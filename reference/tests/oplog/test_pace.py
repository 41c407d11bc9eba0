"""How fast operations are taken from one session."""

from meshwire_reference.oplog.pace import Pace


def test_a_second_of_operations_comes_at_once() -> None:
    """What follows waits for as long as it takes at the rate."""
    pace = Pace(10.0, 4)

    assert pace.take(4, 10.0) == 0
    assert pace.take(1, 10.0) == 0.25
    assert pace.take(2, 10.0) == 0.75
    assert pace.take(1, 11.0) == 0


def test_silence_saves_one_second_at_most() -> None:
    """A session that was quiet for long is not faster afterwards."""
    pace = Pace(0.0, 4)

    assert pace.take(5, 1000.0) == 0.25
