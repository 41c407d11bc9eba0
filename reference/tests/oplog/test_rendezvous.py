"""When the rendezvous is dialled again."""

from meshwire_reference.oplog.rendezvous import ERROR_FROM, SESSION_MIN_S, RendezvousBackoff


def test_waits_double_up_to_the_longest() -> None:
    """One second first, thirty at most."""
    backoff = RendezvousBackoff(lambda: 0.0)

    assert [backoff.failed()[1] for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]


def test_the_tenth_failure_in_a_row_is_an_error() -> None:
    """Nine are warnings."""
    backoff = RendezvousBackoff(lambda: 0.0)
    levels = [backoff.failed()[0] for _ in range(ERROR_FROM + 1)]

    assert levels == ["WARN"] * 9 + ["ERROR"] * 2


def test_a_session_of_a_minute_begins_anew() -> None:
    """A shorter one counts as a failure, so a peer that closes at once does not flap (D-132)."""
    backoff = RendezvousBackoff(lambda: 0.0)
    backoff.failed()

    assert backoff.ended(SESSION_MIN_S - 1) == ("WARN", 2)
    assert backoff.failures == 2
    assert backoff.ended(SESSION_MIN_S) == ("INFO", 1)
    assert backoff.failures == 0


def test_waits_are_spread() -> None:
    """By a fifth in either direction."""
    assert RendezvousBackoff(lambda: -1.0).failed()[1] == 0.8
    assert RendezvousBackoff(lambda: 1.0).failed()[1] == 1.2
