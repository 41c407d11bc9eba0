"""Sessions: any two sets settle, with the messages that other V1 implementations send."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwire_reference.negentropy import Misused, Refused, Session
from meshwire_spec.numbers import NEGENTROPY_TIMESTAMP_MAX
from negentropy_sets import Item, identity, numbered, run_sessions, sealed

# Digests of all messages, each behind its length; source: negentropy crate 0.5.3.
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
    first = Session(sealed([(7, identity(1))])).initiate()

    assert first == bytes.fromhex("6100000201") + identity(1)


def test_a_thousand_documents_and_one_more() -> None:
    """At timestamp 0 there is exactly one difference, found in two rounds."""
    outcome = run_sessions(sealed(numbered(range(1000), 0)), sealed(numbered(range(1001), 0)))

    assert outcome.need == [identity(1000)]
    assert outcome.have == []
    assert len(outcome.messages) == 4


@pytest.mark.parametrize("count", [31, 32])
def test_few_items_are_listed_and_more_are_split(count: int) -> None:
    """A range of 32 items is told by 16 fingerprints."""
    first = Session(sealed(numbered(range(count), 0))).initiate()

    assert (len(first) == 5 + 32 * count) == (count == 31)


@pytest.mark.parametrize("version", [0x60, 0x62, 0x6F])
def test_another_version_is_answered_with_ours(version: int) -> None:
    """A server says which version it has; a client cannot go on."""
    server, client = Session(sealed([])), Session(sealed([]))
    client.initiate()

    assert server.reconcile(bytes((version, 0xFF))) == (b"\x61", [], [])
    with pytest.raises(Refused, match="bad-version"):
        client.reconcile(bytes((version,)))


@pytest.mark.parametrize("version", [0x00, 0x5F, 0x70, 0xFF])
def test_what_is_no_version_is_refused(version: int) -> None:
    """Versions of the protocol are 0x60 to 0x6F."""
    with pytest.raises(Refused, match="bad-version"):
        Session(sealed([])).reconcile(bytes((version, 0, 0, 2, 0)))


def test_the_version_alone_ends_a_run() -> None:
    """The client is done and the server has nothing to say."""
    client, server = Session(sealed(numbered(range(40)))), Session(sealed([]))
    client.initiate()

    assert client.reconcile(b"\x61").reply is None
    assert server.reconcile(b"\x61").reply == b"\x61"


@pytest.mark.parametrize("limit", [1, 4095, -1])
def test_a_frame_limit_has_a_least_value(limit: int) -> None:
    """Below 4096 bytes a run may not come to an end."""
    with pytest.raises(Misused):
        Session(sealed([]), limit)


def test_a_session_begins_once() -> None:
    """A second first message would be another run."""
    session = Session(sealed([]))
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
    client, server = Session(sealed([])), Session(sealed([]))
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
        with pytest.raises(Refused, match="bad-bound at byte 4"):
            Session(sealed([])).reconcile(bytes.fromhex("61000000" + tail))
