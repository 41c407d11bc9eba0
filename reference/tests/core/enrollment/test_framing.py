"""One message on a half: its length, its bytes, its end, and what is no message."""

import pytest

from meshwire_reference.core.enrollment.framing import FramedMessage, framed
from meshwire_spec.numbers import ENROLLMENT_MAX

CONTENT = bytes(range(1, 200))


def test_a_message_follows_its_length() -> None:
    """In little endian, and it is whole with the end of the half alone."""
    half = framed(CONTENT)
    message = FramedMessage()
    for at in range(len(half)):
        message.receive(half[at : at + 1], fin=False)
        assert not message.is_over
    message.receive(b"", fin=True)

    assert half[:4] == b"\xc7\x00\x00\x00"
    assert (message.message, message.fault) == (CONTENT, None)


@pytest.mark.parametrize("size", [0, 1, ENROLLMENT_MAX])
def test_a_message_of_any_size_up_to_the_limit_comes_whole(size: int) -> None:
    """The limit itself too."""
    message = FramedMessage()
    message.receive(framed(bytes(size)), fin=True)

    assert message.message == bytes(size)


def test_a_long_message_is_refused_by_its_length() -> None:
    """Before any byte of it came, and nothing of it is kept."""
    message = FramedMessage()
    message.receive((ENROLLMENT_MAX + 1).to_bytes(4, "little"), fin=False)
    assert message.fault == "length-limit"

    message.receive(bytes(ENROLLMENT_MAX), fin=True)
    assert (message.fault, message.message) == ("length-limit", None)
    assert not message._received


@pytest.mark.parametrize(
    ("half", "fault"),
    [
        (b"", "truncated"),
        (b"\x05\x00\x00", "truncated"),
        (framed(CONTENT)[:-1], "truncated"),
        (framed(CONTENT) + b"\x00", "trailing-bytes"),
        (framed(b"") + b"\x00", "trailing-bytes"),
        (b"\xff\xff\xff\xff", "length-limit"),
    ],
)
def test_a_half_that_is_no_message_is_refused(half: bytes, fault: str) -> None:
    """Each with its reason."""
    message = FramedMessage()
    message.receive(half, fin=True)

    assert (message.fault, message.message, message.is_over) == (fault, None, True)


def test_a_half_that_ends_otherwise_is_truncated() -> None:
    """By a reset for example; one that was whole stays so."""
    message, whole = FramedMessage(), FramedMessage()
    message.receive(framed(CONTENT), fin=False)
    whole.receive(framed(CONTENT), fin=True)
    message.end()
    whole.end()

    assert message.fault == "truncated"
    assert whole.message == CONTENT
