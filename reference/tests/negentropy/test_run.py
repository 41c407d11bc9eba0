"""Runs: a peer that lies, repeats itself or never ends gets a reason in bounded time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwire_reference.negentropy import Index, Misused, Refused, Run
from meshwire_reference.negentropy.messages import FINGERPRINT_MODE, ID_LIST_MODE, Writer
from meshwire_reference.negentropy.run import rounds_allowed
from meshwire_reference.negentropy.storage import INFINITY, Storage
from negentropy_sets import identity, numbered, sealed


def run_both(ours: Storage, theirs: Storage, limit: int = 65536) -> tuple[set[bytes], set[bytes]]:
    """What the active side has and needs after a run with an honest peer."""
    active, passive = Run(ours, limit), Run(theirs, limit)
    query: bytes | None = active.initiate()
    have: set[bytes] = set()
    need: set[bytes] = set()
    while query is not None:
        step = active.receive(passive.receive(query).reply or b"")
        have.update(step.have)
        need.update(step.need)
        query = step.reply
    return have, need


@given(
    ours=st.sets(st.integers(0, 3000), max_size=600),
    theirs=st.sets(st.integers(0, 3000), max_size=600),
    step=st.integers(0, 1),
    limit=st.sampled_from([4096, 5000, 65536]),
)
def test_honest_peers_never_meet_a_limit(
    ours: set[int], theirs: set[int], step: int, limit: int
) -> None:
    """Whatever the sets are, both sides go through without a reason to stop."""
    have, need = run_both(sealed(numbered(ours, step)), Index(numbered(theirs, step)), limit)

    assert have == {identity(number) for number in ours - theirs}
    assert need == {identity(number) for number in theirs - ours}


def test_small_frames_and_nothing_in_common() -> None:
    """A run of hundreds of rounds is within what its items allow."""
    ours, theirs = numbered(range(0, 16_000, 2)), numbered(range(1, 16_000, 2))
    have, need = run_both(sealed(ours), sealed(theirs), 4096)

    assert (len(have), len(need)) == (8000, 8000)


def fingerprint_of_all(content: bytes = bytes(16)) -> bytes:
    """A message that calls everything different."""
    writer = Writer()
    writer.range(INFINITY, FINGERPRINT_MODE + content)
    return b"\x61" + bytes(writer.buffer)


def ids_of_all(identities: list[bytes]) -> bytes:
    """A message that claims a list of ids to be everything."""
    writer = Writer()
    writer.range(INFINITY, ID_LIST_MODE)
    writer.ids(identities)
    return b"\x61" + bytes(writer.buffer)


def feed(run: Run, message: bytes) -> None:
    """Give a run the same message three times."""
    for _ in range(3):
        run.receive(message)


@pytest.mark.parametrize("is_active", [True, False])
def test_a_peer_that_repeats_itself_makes_no_progress(*, is_active: bool) -> None:
    """Two messages in a row that leave the same range in front end the run."""
    run = Run(sealed(numbered(range(2000))))
    message = fingerprint_of_all()
    if is_active:
        run.initiate()
    with pytest.raises(Refused, match="no-progress"):
        feed(run, message)

    assert run.rounds == (2 if is_active else 3)
    with pytest.raises(Misused):
        run.receive(message)


def test_a_peer_that_asks_for_everything_again_and_again_makes_no_progress() -> None:
    """An id list to infinity is answered twice, in full frames."""
    run = Run(sealed(numbered(range(9000))))
    with pytest.raises(Refused, match="no-progress"):
        feed(run, ids_of_all([bytes(32)]))


def test_a_peer_that_never_agrees_runs_out_of_rounds() -> None:
    """Bounds that move all the time do not help."""
    run = Run(sealed(numbered(range(2000))))
    run.initiate()
    allowed = rounds_allowed(2000, 65536)
    for number in range(allowed):
        writer = Writer()
        writer.range((20 * number + 100).to_bytes(8, "big"), FINGERPRINT_MODE + bytes(16))
        assert run.receive(b"\x61" + bytes(writer.buffer)).reply is not None
    with pytest.raises(Refused, match="too-many-rounds"):
        run.receive(fingerprint_of_all())

    assert run.rounds == allowed + 1


@pytest.mark.parametrize(
    ("items", "limit", "rounds"),
    [(0, 65536, 64), (1, 65536, 65), (1_000_000, 60_000, 1398), (819, 65536, 65), (820, 65536, 66)],
)
def test_rounds_grow_with_the_items(items: int, limit: int, rounds: int) -> None:
    """64, and one for every frame that 80 bytes an item would fill or begin."""
    assert rounds_allowed(items, limit) == rounds


def test_a_message_over_the_limit_is_refused_unread() -> None:
    """131,072 bytes are the most."""
    run = Run(sealed([]))
    with pytest.raises(Refused, match="length-limit"):
        run.receive(b"\x61" + bytes(131_072))


def test_a_run_is_over_after_a_malformed_message() -> None:
    """Nothing that a peer sends afterwards counts."""
    run = Run(sealed([]))
    with pytest.raises(Refused, match="bad-mode"):
        run.receive(bytes.fromhex("61000003"))
    with pytest.raises(Misused):
        run.receive(b"\x61")


def test_a_complete_run_takes_nothing_more() -> None:
    """None is the end."""
    run = Run(sealed([]))
    run.initiate()

    assert run.receive(b"\x61").reply is None
    with pytest.raises(Misused):
        run.receive(b"\x61")


def test_a_run_has_a_frame_limit() -> None:
    """Only a session may be without."""
    with pytest.raises(Misused):
        Run(sealed([]), 0)
