"""The outside of sync messages: what it says, and which claims are refused before the library."""

import pytest

from meshwire_reference.core import sync_messages
from meshwire_reference.core.sync_messages import (
    EMPTY_DOCUMENT,
    EMPTY_RUNS_MAX,
    Unfit,
    is_read,
    read_message,
)
from meshwire_spec.numbers import READ_MESSAGE, SYNC_CHANGES_MAX

CAPABILITIES = bytes.fromhex("020102")
HEAD = bytes(range(32))
WITH_HEAD = b"\x42\x01" + HEAD + b"\x00\x01\x00\x00\x00" + CAPABILITIES


def with_filter(bloom: bytes) -> bytes:
    """Return a message without heads that carries this filter."""
    return b"\x42\x00\x00\x01\x00" + bytes((len(bloom),)) + bloom + b"\x00" + CAPABILITIES


def test_the_read_is_a_read() -> None:
    """The constant 10 bytes have no heads and no changes."""
    message = read_message(READ_MESSAGE)

    assert message.is_read


@pytest.mark.parametrize("marker", [b"\x42", b"\x43"])
@pytest.mark.parametrize("tail", [b"", CAPABILITIES, CAPABILITIES + b"later"])
def test_a_read_of_any_form_is_a_read(marker: bytes, tail: bytes) -> None:
    """Marker, capabilities and what follows do not matter."""
    assert is_read(marker + b"\x00\x00\x01\x00\x00\x00" + tail)


@pytest.mark.parametrize("marker", [b"\x42", b"\x43"])
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(
    "chunk",
    [b"", EMPTY_DOCUMENT, EMPTY_DOCUMENT * 2],
    ids=["empty", "empty document", "two empty documents"],
)
def test_chunks_without_a_change_are_no_changes(marker: bytes, count: int, chunk: bytes) -> None:
    """Only one with the empty document is how a node without the document answers."""
    chunks = bytes((count,)) + (bytes((len(chunk),)) + chunk) * count
    message = read_message(marker + b"\x00\x00\x01\x00\x00" + chunks + CAPABILITIES)

    assert message.is_read
    assert message.is_empty_answer is bool(chunk)


@pytest.mark.parametrize(
    "chunk",
    [b"z", b"z" * 14, EMPTY_DOCUMENT[:-1], EMPTY_DOCUMENT + b"z", EMPTY_DOCUMENT + b"z" * 14],
)
def test_a_chunk_that_may_hold_a_change_is_no_read(chunk: bytes) -> None:
    """Whatever it holds: the library judges it."""
    data = b"\x42\x00\x00\x00\x02\x00" + bytes((len(chunk),)) + chunk
    message = read_message(data)

    assert not message.is_read
    assert not message.is_empty_answer
    assert not is_read(data)


def with_changes(count: int, changes: bytes) -> bytes:
    """Return a message without heads and filters that announces this many changes."""
    groups = (count & 0x7F | 0x80, count >> 7 & 0x7F | 0x80, count >> 14 & 0x7F)
    return b"\x42\x00\x00\x00" + bytes(groups) + changes


def test_changes_have_a_bound() -> None:
    """Each costs a step, even an empty one, so their number is checked before the first."""
    at_most = with_changes(SYNC_CHANGES_MAX, bytes(SYNC_CHANGES_MAX))
    beyond = with_changes(SYNC_CHANGES_MAX + 1, bytes(SYNC_CHANGES_MAX + 1))
    with pytest.raises(Unfit) as caught:
        read_message(beyond)

    assert caught.value.reason == "document-limit"
    assert is_read(at_most)
    assert not is_read(beyond)


@pytest.mark.parametrize(
    ("data", "steps"),
    [
        (b"\x42" + bytes((100,)) + bytes(32 * 100) + bytes(3), 0),
        (with_changes(SYNC_CHANGES_MAX, b"\x00\x01z" + bytes(SYNC_CHANGES_MAX)), 1),
        (with_changes(SYNC_CHANGES_MAX, b"\x80\x00" + bytes(SYNC_CHANGES_MAX)), 1),
        (with_changes(SYNC_CHANGES_MAX + 1, bytes(SYNC_CHANGES_MAX + 1)), 0),
    ],
    ids=["heads", "a change", "an overlong length", "above the bound"],
)
def test_what_shows_that_a_message_is_no_read_ends_its_reading(
    data: bytes, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The core reads payloads between inputs of other peers, so it reads no further than needed."""
    read: list[int] = []
    whole = sync_messages.read_bytes

    def count(data: bytes, offset: int) -> tuple[bytes, int]:
        read.append(offset)
        return whole(data, offset)

    monkeypatch.setattr(sync_messages, "read_bytes", count)

    assert not is_read(data)
    assert len(read) == steps


def test_more_empty_documents_than_a_read_needs_are_no_read() -> None:
    """Each costs a step between the inputs of other peers."""
    run = bytes((len(EMPTY_DOCUMENT),)) + EMPTY_DOCUMENT

    assert is_read(with_changes(EMPTY_RUNS_MAX - 1, run * (EMPTY_RUNS_MAX - 1)))
    assert not is_read(with_changes(EMPTY_RUNS_MAX, run * EMPTY_RUNS_MAX))


def test_heads_are_no_read() -> None:
    """A message with a head announces something."""
    message = read_message(WITH_HEAD)

    assert message.heads == (HEAD,)
    assert not message.is_read


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x41" + READ_MESSAGE[1:],
        READ_MESSAGE[:1],
        READ_MESSAGE[:6],
        b"\x42\x00\x00\x01\x00\x05\x01",
        b"\x42\x00\x00\x00\x01\x02\x00",
        b"\x42" + b"\x80" * 9 + b"\x02" + b"\x00" * 40,
    ],
    ids=["empty", "marker", "1 byte", "no changes", "filter", "change", "65 bits"],
)
def test_broken_structure_is_refused(data: bytes) -> None:
    """A message that ends early, or is none, is refused and is no read."""
    with pytest.raises(Unfit) as caught:
        read_message(data)

    assert caught.value.reason == "bad-document"
    assert not is_read(data)


@pytest.mark.parametrize("power", [14, 40, 56, 63])
@pytest.mark.parametrize("field", [0, 1, 2, 3], ids=["heads", "need", "have", "changes"])
def test_counts_without_bytes_are_refused(power: int, field: int) -> None:
    """A count that the rest of the message cannot hold is refused before anything is reserved."""
    count, number = 2**power, b""
    while count > 0x7F:
        number, count = number + bytes((count & 0x7F | 0x80,)), count >> 7
    with pytest.raises(Unfit) as caught:
        read_message(b"\x42" + b"\x00" * field + number + bytes((count,)) + CAPABILITIES)

    assert caught.value.reason == "document-limit"


@pytest.mark.parametrize(
    "data",
    [
        b"\x42\x01" + HEAD[:31],
        b"\x42\x00\x00\x02\x00\x00\x00",
        b"\x42\x00\x00\x00\x01",
        b"\x42\x00\x00\x00\x00\x03\x01\x02",
    ],
    ids=["heads", "filters", "changes", "capabilities"],
)
def test_a_count_one_above_what_is_left_is_refused(data: bytes) -> None:
    """The bound of a count is what the bytes after it can hold."""
    with pytest.raises(Unfit) as caught:
        read_message(data)

    assert caught.value.reason == "document-limit"


def test_many_filters_are_refused() -> None:
    """Each filter costs a pass over the document."""
    read_message(b"\x42\x00\x00\x10" + b"\x00\x00" * 16 + b"\x00")
    with pytest.raises(Unfit) as caught:
        read_message(b"\x42\x00\x00\x11" + b"\x00\x00" * 17 + b"\x00")

    assert caught.value.reason == "document-limit"


@pytest.mark.parametrize(
    "bloom",
    [
        "010a0789af",
        "010a0789af00",
        "010a0089af",
        "000a07",
        "010a4089af",
        "01800207" + "00" * 32,
    ],
    ids=["of the library", "a byte after", "no probes", "no entries", "64 probes", "256 bits"],
)
def test_a_filter_within_its_bounds_passes(bloom: str) -> None:
    """Messages within all bounds are passed to the library."""
    assert read_message(with_filter(bytes.fromhex(bloom))).is_read


@pytest.mark.parametrize(
    "bloom",
    [
        "010affffffff0f89af",
        "010a80c2d72f89af",
        "010a4189af",
        "01810207" + "00" * 33,
        "010a07",
        "010a0789",
        "010007",
        "ffffffff0f0a0789af",
    ],
)
def test_a_filter_that_claims_too_much_is_refused(bloom: str) -> None:
    """Probes and bits have a ceiling, entries are backed by bytes."""
    with pytest.raises(Unfit) as caught:
        read_message(with_filter(bytes.fromhex(bloom)))

    assert caught.value.reason == "document-limit"
