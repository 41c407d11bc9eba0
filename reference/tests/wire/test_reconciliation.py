"""The bytes of messages: what is refused and why, and that it costs little to find out."""

import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwire_reference.harness.kinds import KINDS
from meshwire_reference.negentropy import Index, Reconciliation, RunRefused
from meshwire_reference.wire.accept import accept
from meshwire_reference.wire.errors import Malformed
from meshwire_reference.wire.reconciliation import (
    encode_varint,
    read_ranges,
    read_varint,
)
from meshwire_spec.numbers import NEGENTROPY_EMPTY_REST, REASONS, U64_MAX
from negentropy_sets import numbered, sealed

FAULTS = {
    "an unknown mode": ("61000003", "bad-mode", 3),
    "a mode of two bytes": ("6100008101", "bad-mode", 3),
    "a padded timestamp": ("61800000", "bad-varint", 1),
    "a padded prefix length": ("6100800002", "bad-varint", 2),
    "a padded mode": ("6100008002", "bad-varint", 3),
    "a padded count": ("610000028000", "bad-varint", 4),
    "a varint of 65 bits": ("6182808080808080808000" + "0000", "bad-varint", 1),
    "an endless varint": ("61" + "ff" * 1000, "bad-varint", 1),
    "a prefix of 33 bytes": ("610121" + "00" * 33 + "00", "bad-bound", 2),
    "a timestamp of 2^64-1": (
        "6181ffffffffffffffff7f" + "0000" + "020000",
        "bad-bound",
        13,
    ),
    "a bound that stands still": ("61020000" + "010000", "bad-bound", 4),
    "a prefix that goes back": ("6102010200" + "01010100", "bad-bound", 5),
    "a range after infinity": ("61000000" + "000000", "bad-bound", 4),
    "a full range after infinity": ("61000000" + "000001" + "00" * 16, "bad-bound", 4),
    "one id too many": ("61000002" + "02" + "00" * 63, "count-limit", 4),
    "2^31 ids": ("6100000281ffffff7f", "count-limit", 4),
    "nothing at all": ("", "truncated", 0),
    "no prefix length": ("6105", "truncated", 2),
    "half a prefix": ("61050401", "truncated", 3),
    "no mode": ("610000", "truncated", 3),
    "half a fingerprint": ("61000001" + "00" * 15, "truncated", 4),
    "no count": ("61000002", "truncated", 4),
    "half a varint": ("6181", "truncated", 1),
}


@pytest.mark.parametrize(("text", "reason", "offset"), FAULTS.values(), ids=list(FAULTS))
def test_a_malformed_message_is_refused_for_its_reason(text: str, reason: str, offset: int) -> None:
    """Active and passive side give the same reason, at the field that is wrong."""
    active, passive = Reconciliation(sealed(numbered(range(50)))), Reconciliation(Index())
    active.initiate()
    for session in (active, passive):
        with pytest.raises(RunRefused) as caught:
            session.reconcile(bytes.fromhex(text))
        assert (caught.value.reason, caught.value.offset) == (reason, offset)
        assert caught.value.code == REASONS[reason].code


def test_only_the_tail_of_a_full_frame_may_follow_infinity() -> None:
    """A V1 server whose last ids reach infinity and fill the frame adds an empty range."""
    message = bytes.fromhex("610000020100") + bytes(31)
    whole = list(read_ranges(message))

    assert list(read_ranges(message + NEGENTROPY_EMPTY_REST)) == whole
    with pytest.raises(Malformed, match="bad-bound"):
        list(read_ranges(message + NEGENTROPY_EMPTY_REST + NEGENTROPY_EMPTY_REST))


def test_the_end_of_a_message_is_checked_even_where_nobody_answers_it() -> None:
    """A full frame ends the answer, not the duty to refuse."""
    store = sealed(numbered(range(3000)))
    query = bytes.fromhex("61000002" + "00" + "000000")
    with pytest.raises(RunRefused, match="bad-bound"):
        Reconciliation(store, 4096).reconcile(query)


@pytest.mark.parametrize(
    "piece",
    [
        b"\x02\x00\x00",
        b"\x02\x00\x02\x00",
        b"\x02\x00\x01" + bytes(16),
        b"\xff",
        b"\x00\x00\x02\xff",
    ],
    ids=["skips", "empty lists", "fingerprints", "a varint without end", "counts"],
)
def test_a_long_message_takes_memory_for_its_answer_alone(piece: bytes) -> None:
    """Ranges are read one by one; the answer is a frame, with room to grow and a copy."""
    store = sealed(numbered(range(1000)))
    message = b"\x61" + piece * (131_071 // len(piece))
    session = Reconciliation(store, 65536)
    tracemalloc.start()
    try:
        with suppress(RunRefused):
            session.reconcile(message)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 4 * 65536


@given(value=st.integers(0, U64_MAX))
def test_a_varint_is_read_as_it_was_written(value: int) -> None:
    """Every number of 64 bits has one form."""
    content = encode_varint(value)

    assert read_varint(content + b"\x55", 0, "mode") == (value, len(content))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "00"), (127, "7f"), (128, "8100"), (16383, "ff7f"), (16384, "818000"), (300, "822c")],
)
def test_varints_go_from_the_most_significant_digit(value: int, text: str) -> None:
    """Seven bits a byte, the high bit on all but the last."""
    assert encode_varint(value).hex() == text


@given(body=st.binary(max_size=200), is_active=st.booleans())
def test_any_bytes_end_in_a_reply_or_a_reason(body: bytes, *, is_active: bool) -> None:
    """Nothing but RunRefused is ever raised for bytes of a peer."""
    session = Reconciliation(sealed(numbered(range(40))), 4096)
    if is_active:
        session.initiate()
    outcome: object
    try:
        outcome = session.reconcile(b"\x61" + body)[0]
    except RunRefused as fault:
        outcome = fault.reason

    assert isinstance(outcome, bytes) or outcome is None or outcome in REASONS


small_bytes = st.lists(st.sampled_from([0, 1, 2, 3, 0x7F, 0x80, 0x81, 0xFF]), max_size=60)


@given(body=small_bytes)
def test_what_the_codec_refuses_the_session_refuses(body: list[int]) -> None:
    """Both forms of the codec agree, once `accept` has judged the order of bounds."""
    message = b"\x61" + bytes(body)
    try:
        found = KINDS["negentropy_message"].decode(message)
        expected = accept("negentropy_message", found)
    except Malformed as fault:
        expected = fault.reason
    try:
        list(read_ranges(message))
        reason = None
    except Malformed as fault:
        reason = fault.reason

    assert (reason is None) == (expected is None)
