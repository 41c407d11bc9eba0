"""Timers: order, moving, cancelling."""

from meshwire_reference.core.timers import Timers


class TestTimers:
    """Named points in time."""

    def test_they_run_in_the_order_of_time(self) -> None:
        """Whatever the order of setting."""
        timers, ran = Timers(), list[str]()
        for name, at_s in (("b", 2.0), ("a", 1.0), ("c", 3.0)):
            timers.set(name, at_s, lambda name=name: ran.append(name))  # type: ignore[misc]

        timers.run(2.0)

        assert ran == ["a", "b"]
        assert timers.next_s() == 3.0

    def test_setting_again_moves(self) -> None:
        """The last time set counts."""
        timers, ran = Timers(), list[int]()
        timers.set("a", 1.0, lambda: ran.append(1))
        timers.set("a", 5.0, lambda: ran.append(5))

        timers.run(4.0)

        assert ran == []
        assert timers.next_s() == 5.0

    def test_what_is_cancelled_never_runs(self) -> None:
        """Nor does it count as the next."""
        timers = Timers()
        timers.set("a", 1.0, lambda: None)
        timers.cancel("a")

        assert timers.next_s() is None

    def test_moving_for_ever_takes_no_memory(self) -> None:
        """A timer that is set with every byte leaves nothing behind."""
        timers = Timers()
        for number in range(10_000):
            timers.set("a", float(number), lambda: None)

        assert len(timers._heap) < 100


def test_of_one_timer_nothing_else_is_done() -> None:
    """It runs for as long as it is the next one; what others wait for stays due."""
    timers, ran = Timers(), list[str]()
    for at_s, name in ((1.0, "turn"), (2.0, "a"), (3.0, "b")):
        timers.set(name, at_s, lambda name=name: ran.append(name))
    timers.run(9.0, only="turn")
    timers.run(9.0, only="turn")
    assert ran == ["turn"]
    assert timers.next_name() == "a"
    timers.run(9.0)

    assert ran == ["turn", "a", "b"]
    assert timers.next_name() is None
