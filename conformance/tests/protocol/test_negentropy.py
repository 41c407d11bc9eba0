"""The suite's own reconciliation: messages as the schema reads them, runs that find everything."""

from hashlib import sha256

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import replace

from meshwire_conformance.catalogue.reconciliations import expand_items, load_cases
from meshwire_conformance.protocol.negentropy import Answer, Item, Reconciliation
from meshwire_conformance.protocol.negentropy_messages import Refused, read_message, varint_of
from meshwire_spec.codec import accept, decode
from meshwire_spec.errors import Malformed
from meshwire_spec.schemas.reconciliation import Items

ROUNDS_MAX = 200
LIMITS = st.sampled_from((0, 4096, 4097, 5000))
NUMBERS = st.integers(0, 400)
REST = bytes.fromhex("000001") + sha256(bytes(33)).digest()[:16]


def item(number: int, timestamps: int) -> Item:
    """An item made of a number; ids are its hash."""
    return number % timestamps, sha256(b"%d" % number).digest()


def reconciled(client: Reconciliation, server: Reconciliation) -> tuple[set[bytes], set[bytes]]:
    """The ids that the client has and needs at the end of a run."""
    have: set[bytes] = set()
    need: set[bytes] = set()
    message: bytes | None = client.initiate()
    for _ in range(ROUNDS_MAX):
        assert message is not None
        reply = server.reconcile(message).reply
        assert reply is not None
        answer = client.reconcile(reply)
        have |= set(answer.have)
        need |= set(answer.need)
        message = answer.reply
        if message is None:
            return have, need
    raise AssertionError(f"no end after {ROUNDS_MAX} rounds")


@settings(max_examples=60)
@given(
    st.frozensets(NUMBERS),
    st.frozensets(NUMBERS),
    st.booleans(),
    st.sampled_from((1, 2, 40, 2**64 - 1)),
    st.tuples(LIMITS, LIMITS),
)
def test_any_two_sets_find_their_differences(
    ours: frozenset[int],
    theirs: frozenset[int],
    is_shifted: bool,  # noqa: FBT001 - drawn
    timestamps: int,
    limits: tuple[int, int],
) -> None:
    """Whatever the sets and limits, the client learns exactly what each side lacks."""
    common = {number + 1000 for number in range(300)} if is_shifted else set()
    mine = {item(number, timestamps) for number in ours | common}
    other = {item(number, timestamps) for number in theirs | common}
    have, need = reconciled(
        Reconciliation(mine, limits[0], client=True), Reconciliation(other, limits[1], client=False)
    )

    assert have == {name for _, name in mine - other}
    assert need == {name for _, name in other - mine}


def own_word(data: bytes) -> str:
    """The verdict of our own decoder."""
    try:
        read_message(data)
    except Refused as refused:
        return refused.reason
    return "ok"


def schema_word(data: bytes) -> str:
    """The verdict of the schema on them."""
    try:
        message = decode("negentropy_message", data)
    except Malformed as exc:
        return exc.reason
    return accept("negentropy_message", message) or "ok"


@settings(max_examples=300)
@given(st.lists(st.binary(max_size=4) | st.sampled_from((b"\0", b"\1", b"\2", bytes(32), REST))))
@example([b"\0\0\2\0", REST])
def test_any_bytes_give_a_reason_or_a_reply(parts: list[bytes]) -> None:
    """Neither side ever raises anything else, however the bytes lie."""
    data = b"a" + b"".join(parts)
    for is_client in (True, False):
        side = Reconciliation([item(n, 3) for n in range(50)], 4096, client=is_client)
        try:
            answer = side.reconcile(data)
        except Refused:
            assert own_word(data) != "ok"
        else:
            assert isinstance(answer, Answer)


def test_every_message_of_the_vectors_is_read_as_the_schema_reads_it() -> None:
    """Our reading and the schema, written apart, give one word for every frozen message."""
    texts = {text for case in load_cases() for text in case.body.messages}  # type: ignore[attr-defined]
    texts |= {case.body.bad for case in load_cases()} - {UNSET}  # type: ignore[attr-defined]
    words = {
        text: (own_word(bytes.fromhex(text)), schema_word(bytes.fromhex(text))) for text in texts
    }
    differing = {text[:60] for text, (own, schema) in words.items() if own != schema}

    assert len(texts) > 400
    assert differing == set()


@pytest.mark.parametrize(
    ("value", "text"), [(0, "00"), (127, "7f"), (128, "8100"), (2**64 - 1, "81ffffffffffffffff7f")]
)
def test_a_number_has_its_highest_group_first(value: int, text: str) -> None:
    """Known numbers are written as on the page."""
    assert varint_of(value).hex() == text


def test_a_rule_makes_the_items_it_says() -> None:
    """Number, group, step and prefix decide timestamp and id."""
    part = Items(label="x", first=5, count=2, timestamp="100", step="7", group=3)
    digest = [sha256(f"x:{number}".encode()).digest() for number in (5, 6)]

    assert expand_items([part]) == [(107, digest[0]), (114, digest[1])]
    assert expand_items([replace(part, prefix="aabb")])[0] == (107, b"\xaa\xbb" + digest[0][:30])
