"""Cooldowns by name."""

from meshwire_reference.core.limits.rate_limit import Cooldowns


def test_a_cooldown_lets_each_name_through_once_in_a_while() -> None:
    """Names do not disturb each other, and are forgotten when they may go again."""
    cooldowns = Cooldowns(60.0)

    assert [cooldowns.take(name, at_s) for name, at_s in (("a", 0), ("b", 1), ("a", 59))] == [
        True,
        True,
        False,
    ]
    assert cooldowns.take("a", 60.0)
    cooldowns.take("c", 1000.0)
    assert len(cooldowns._used) == 1
