"""The memory of peers that end connections at a run."""

from meshwire_reference.core.limits.refusals import PEERS_MAX, RunRefusals


def test_the_peers_have_a_bound() -> None:
    """The oldest is forgotten."""
    refusals = RunRefusals()
    for number in range(PEERS_MAX + 1):
        refusals.note(str(number), is_in_order=False)

    assert not refusals.take("0")
    assert refusals.take("1")
    assert refusals.take(str(PEERS_MAX))


def test_a_peer_is_taken_once() -> None:
    """The connection after the next begins a run again."""
    refusals = RunRefusals()
    refusals.note("a", is_in_order=False)

    assert refusals.take("a")
    assert not refusals.take("a")
