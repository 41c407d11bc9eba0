"""Sessions: any two sets settle, with the messages that other V1 implementations send."""

from dataclasses import dataclass, field
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwire_reference.negentropy import Index, Misused, Reconciliation, Run, RunRefused
from meshwire_reference.negentropy.session import fingerprint, rounds_allowed
from meshwire_reference.negentropy.storage import Storage
from meshwire_reference.wire.reconciliation import (
    FINGERPRINT_MODE,
    ID_LIST_MODE,
    INFINITY,
    RangeWriter,
)
from meshwire_spec.numbers import NEGENTROPY_TIMESTAMP_MAX
from negentropy_sets import Item, identity, numbered, sealed

# Digests of all messages, each after its length; source: negentropy crate 0.5.3.
FROZEN: dict[tuple[int, tuple[int, int]], str] = {
    (0, (0, 0)): "0efeffc40f3421464c32565f56e1990aaf6494ed59f3ea93f2b90742d15beb30",
    (0, (4096, 4096)): "de3ca6f03d014579fc05e13867984be519d6e8867aa55f001656a0ec8c4b1452",
    (0, (60000, 4096)): "8004a435bb19cfd9dd7b8cbe4ba3febd75ba230b5beddfc1df7ee323638d3cd3",
    (1, (0, 0)): "0005ba9d5b1e6de0d9f367a866a47a6efeb088e9800cbca6a274992bb66150bf",
    (1, (4096, 4096)): "b3ee74f68202212c3a71c2946171a4d6c472cef2436d44c0a8cd873f3a3e8ed3",
    (1, (60000, 4096)): "b3ee74f68202212c3a71c2946171a4d6c472cef2436d44c0a8cd873f3a3e8ed3",
    (1099511627776, (0, 0)): "ce432184856f7c8e052387df30b99c317c9bee5ce419fc660f574e48ad41deea",
    (
        1099511627776,
        (4096, 4096),
    ): "6854ef029a61bbf26953edc747021a101078b4fba51c69ed57ae016eb0b5f2e6",
    (
        1099511627776,
        (60000, 4096),
    ): "6854ef029a61bbf26953edc747021a101078b4fba51c69ed57ae016eb0b5f2e6",
}

timestamps = st.one_of(
    st.integers(0, 3),
    st.sampled_from([2**31, 2**32, 2**53, 2**63, NEGENTROPY_TIMESTAMP_MAX]),
    st.integers(0, NEGENTROPY_TIMESTAMP_MAX),
)
items = st.tuples(timestamps, st.integers(0, 10**9).map(identity))
limits = st.sampled_from([0, 4096, 4099, 60000])

ROUNDS_MAX = 10_000


@dataclass(slots=True)
class Outcome:
    """All messages of a run, by turns from client and server, and what the client learnt."""

    messages: list[bytes] = field(default_factory=list)
    have: list[bytes] = field(default_factory=list)
    need: list[bytes] = field(default_factory=list)


def run_sessions(ours: Storage, theirs: Storage, limits: tuple[int, int] = (0, 0)) -> Outcome:
    """Let the reference reconcile two sets with itself; an endless run is an assertion."""
    client, server = Reconciliation(ours, limits[0]), Reconciliation(theirs, limits[1])
    outcome = Outcome()
    query: bytes | None = client.initiate()
    while query is not None:
        reply = server.reconcile(query).reply
        assert reply is not None
        step = client.reconcile(reply)
        outcome.messages += (query, reply)
        outcome.have += step.have
        outcome.need += step.need
        query = step.reply
        assert len(outcome.messages) < 2 * ROUNDS_MAX, "the run does not end"
    return outcome


def key_id(key: str) -> bytes:
    """The id of a document key."""
    return sha256(key.encode()).digest()


@given(
    shared=st.lists(items, max_size=60, unique_by=lambda item: item[1]),
    ours=st.lists(items, max_size=60, unique_by=lambda item: item[1]),
    theirs=st.lists(items, max_size=60, unique_by=lambda item: item[1]),
    client=limits,
    server=limits,
)
def test_any_two_sets_settle(
    shared: list[Item], ours: list[Item], theirs: list[Item], client: int, server: int
) -> None:
    """In the end the client knows exactly what each side lacks."""
    taken = {found for _, found in shared}
    ours = [item for item in ours if item[1] not in taken]
    taken |= {found for _, found in ours}
    theirs = [item for item in theirs if item[1] not in taken]
    outcome = run_sessions(sealed(shared + ours), sealed(shared + theirs), (client, server))

    assert set(outcome.have) == {found for _, found in ours}
    assert set(outcome.need) == {found for _, found in theirs}


@pytest.mark.parametrize("case", FROZEN, ids=str)
def test_messages_are_those_of_the_crate(case: tuple[int, tuple[int, int]]) -> None:
    """10,000 items on each side, timestamps equal and not, frames limited and not."""
    step, frame_limits = case
    ours, theirs = numbered(range(10_000), step), numbered(range(2000, 12_000), step)
    outcome = run_sessions(sealed(ours), sealed(theirs), frame_limits)
    content = b"".join(len(message).to_bytes(4, "little") + message for message in outcome.messages)

    assert sha256(content).hexdigest() == FROZEN[case]


def test_two_indexes_send_what_two_vectors_send() -> None:
    """Messages do not tell which storage they come from."""
    ours, theirs = numbered(range(3000)), numbered(range(7, 3020))

    assert run_sessions(Index(ours), Index(theirs), (4096, 5000)) == run_sessions(
        sealed(ours), sealed(theirs), (4096, 5000)
    )


def test_ids_of_keys() -> None:
    """T-017: the id of an item is the digest of its key."""
    assert key_id("nodes::node-1").hex().startswith("08f49ba182472b38")
    assert key_id("nodes::node-1") != key_id("nodes::node-2")


def test_equal_sets_settle_in_one_round() -> None:
    """T-018: each side says 101 bytes, and nobody lacks anything."""
    same = [(1000 + number, key_id(f"doc-{number + 1}")) for number in range(3)]
    outcome = run_sessions(sealed(same), sealed(same))

    assert [len(message) for message in outcome.messages] == [101, 101]
    assert (outcome.have, outcome.need) == ([], [])


def test_both_sides_lack_something() -> None:
    """T-019: the need is complete as ids, which the client cannot name."""
    ours = [(1000, key_id("doc-1")), (1001, key_id("doc-2"))]
    theirs = [(1000, key_id("doc-2")), (1001, key_id("doc-3"))]
    outcome = run_sessions(sealed(ours), sealed(theirs))

    assert [len(message) for message in outcome.messages] == [69, 69]
    assert (outcome.have, outcome.need) == ([key_id("doc-1")], [key_id("doc-3")])


def test_the_first_message_for_one_item() -> None:
    """T-020: version, one range to infinity, one id."""
    first = Reconciliation(sealed([(7, identity(1))])).initiate()

    assert first == bytes.fromhex("6100000201") + identity(1)


def test_a_thousand_documents_and_one_more() -> None:
    """At timestamp 0 there is exactly one difference, found in two rounds."""
    outcome = run_sessions(sealed(numbered(range(1000), 0)), sealed(numbered(range(1001), 0)))

    assert outcome.need == [identity(1000)]
    assert outcome.have == []
    assert len(outcome.messages) == 4


@pytest.mark.parametrize("count", [31, 32])
def test_few_items_are_listed_and_more_are_split(count: int) -> None:
    """A range of 32 items is described by 16 fingerprints."""
    first = Reconciliation(sealed(numbered(range(count), 0))).initiate()

    assert (len(first) == 5 + 32 * count) == (count == 31)


@pytest.mark.parametrize("version", [0x60, 0x62, 0x6F])
def test_another_version_is_answered_with_ours(version: int) -> None:
    """A server says which version it has; a client cannot go on."""
    server, client = Reconciliation(sealed([])), Reconciliation(sealed([]))
    client.initiate()

    assert server.reconcile(bytes((version, 0xFF))) == (b"\x61", [], [])
    with pytest.raises(RunRefused, match="bad-version"):
        client.reconcile(bytes((version,)))


@pytest.mark.parametrize("version", [0x00, 0x5F, 0x70, 0xFF])
def test_what_is_no_version_is_refused(version: int) -> None:
    """Versions of the protocol are 0x60 to 0x6F."""
    with pytest.raises(RunRefused, match="bad-version"):
        Reconciliation(sealed([])).reconcile(bytes((version, 0, 0, 2, 0)))


def test_the_version_alone_ends_a_run() -> None:
    """The client is done and the server has nothing to say."""
    client, server = Reconciliation(sealed(numbered(range(40)))), Reconciliation(sealed([]))
    client.initiate()

    assert client.reconcile(b"\x61").reply is None
    assert server.reconcile(b"\x61").reply == b"\x61"


@pytest.mark.parametrize("limit", [1, 4095, -1])
def test_a_frame_limit_has_a_least_value(limit: int) -> None:
    """Below 4096 bytes a run may not come to an end."""
    with pytest.raises(Misused):
        Reconciliation(sealed([]), limit)


def test_a_session_begins_once() -> None:
    """A second first message would be another run."""
    session = Reconciliation(sealed([]))
    session.initiate()
    with pytest.raises(Misused):
        session.initiate()


def test_no_message_exceeds_its_frame_limit() -> None:
    """Whatever the other side's limit is."""
    ours, theirs = sealed(numbered(range(6000))), sealed(numbered(range(3000, 9000)))
    outcome = run_sessions(ours, theirs, (4096, 8192))

    assert max(len(message) for message in outcome.messages[::2]) <= 4096
    assert max(len(message) for message in outcome.messages[1::2]) <= 8192


def test_a_session_keeps_its_role_and_ends() -> None:
    """One that has served does not begin, and one that is through answers nothing more."""
    client, server = Reconciliation(sealed([])), Reconciliation(sealed([]))
    reply = server.reconcile(client.initiate()).reply
    assert reply is not None
    with pytest.raises(Misused, match="has begun"):
        server.initiate()
    assert client.reconcile(reply).reply is None

    with pytest.raises(Misused, match="is over"):
        client.reconcile(reply)


def test_nothing_follows_infinity_not_even_a_bad_varint() -> None:
    """NG-006: the order of the checks is that of the page, and of the codec."""
    for tail in ("e3", "80", "8080"):
        with pytest.raises(RunRefused, match="bad-bound at byte 4"):
            Reconciliation(sealed([])).reconcile(bytes.fromhex("61000000" + tail))


def test_a_fingerprint_is_that_of_sum_and_count() -> None:
    """The first fingerprint recorded of 32 items is that of the two ids it sums."""
    identities = (
        "0333f7b41fb43b87ea741d39a9c4fde15e9c3cf9188508dfe993c623d336424a",
        "04e9098f2596cdfeed12def63908de355d846829e7c919c68dfbb6a0c3c93055",
    )
    total = sum(int.from_bytes(bytes.fromhex(text), "little") for text in identities)

    assert fingerprint(total + 2**256, 2) == fingerprint(total, 2)
    assert fingerprint(0, 0).hex() == "7f9c9e31ac8256ca2f258583df262dbc"


# Runs: a peer that lies, repeats itself or never ends gets a reason in bounded time.


def run_both(ours: Storage, theirs: Storage, limit: int = 65536) -> tuple[set[bytes], set[bytes]]:
    """The ids that the active side has and needs after a run with an honest peer."""
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
    writer = RangeWriter()
    writer.range(INFINITY, FINGERPRINT_MODE + content)
    return b"\x61" + bytes(writer.buffer)


def ids_of_all(identities: list[bytes]) -> bytes:
    """A message that claims a list of ids to be everything."""
    writer = RangeWriter()
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
    with pytest.raises(RunRefused, match="no-progress"):
        feed(run, message)

    assert run.rounds == (2 if is_active else 3)
    with pytest.raises(Misused):
        run.receive(message)


def test_a_peer_that_asks_for_everything_again_and_again_makes_no_progress() -> None:
    """An id list to infinity is answered twice, in full frames."""
    run = Run(sealed(numbered(range(9000))))
    with pytest.raises(RunRefused, match="no-progress"):
        feed(run, ids_of_all([bytes(32)]))


def test_an_answer_without_ranges_leaves_none_in_front() -> None:
    """The answer to another version stands between two that leave the same range."""
    run = Run(sealed(numbered(range(2000))))
    for _ in range(4):
        assert len(run.receive(fingerprint_of_all()).reply or b"") > 1
        for _ in range(3):
            assert run.receive(b"\x62").reply == b"\x61"


def test_a_peer_that_never_agrees_runs_out_of_rounds() -> None:
    """Bounds that move all the time do not help."""
    run = Run(sealed(numbered(range(2000))))
    run.initiate()
    allowed = rounds_allowed(2000, 65536)
    for number in range(allowed):
        writer = RangeWriter()
        writer.range((20 * number + 100).to_bytes(8, "big"), FINGERPRINT_MODE + bytes(16))
        assert run.receive(b"\x61" + bytes(writer.buffer)).reply is not None
    with pytest.raises(RunRefused, match="too-many-rounds"):
        run.receive(fingerprint_of_all())

    assert run.rounds == allowed + 1


@pytest.mark.parametrize(
    ("items", "limit", "rounds"),
    [(0, 65536, 64), (1, 65536, 65), (1_000_000, 60_000, 1398), (819, 65536, 65), (820, 65536, 66)],
)
def test_rounds_grow_with_the_items(items: int, limit: int, rounds: int) -> None:
    """64, and one for every frame that 80 bytes per item would fill or begin."""
    assert rounds_allowed(items, limit) == rounds


def test_a_message_over_the_limit_is_refused_unread() -> None:
    """131,072 bytes are the most."""
    run = Run(sealed([]))
    with pytest.raises(RunRefused, match="length-limit"):
        run.receive(b"\x61" + bytes(131_072))


def test_a_run_is_over_after_a_malformed_message() -> None:
    """Nothing that a peer sends afterwards counts."""
    run = Run(sealed([]))
    with pytest.raises(RunRefused, match="bad-mode"):
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
