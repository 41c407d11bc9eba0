"""What was sent is shown in order: the last stimulus in full, the rest on one line each."""

from meshwire_conformance.socket_suite.evidence import LINES_MAX, NO_ANSWER, Sending, sent_lines

READ = bytes.fromhex("0003613a62 00 0000000a 42000001000000020102")
SNAPSHOT = bytes.fromhex("0003613a62 01 00000001 2a")


def snapshot(stream: int = 4) -> Sending:
    """A frame that changes something."""
    return Sending("A", stream, "snapshot", SNAPSHOT, "stream_frame")


def read(stream: int = 8) -> Sending:
    """A frame that asks."""
    return Sending("A", stream, "read of a:b", READ, "stream_frame", asks=True)


def test_the_last_stimulus_is_shown_field_by_field() -> None:
    """Not the question that it repeats, which is a line."""
    lines = sent_lines([snapshot(0), Sending("A", 0, "FIN"), snapshot(4), read()])

    assert lines == (
        'peer A, stream 0: snapshot, 11 bytes: key = "a:b", FIN',
        "peer A, stream 4: snapshot, 11 bytes",
        "0000  00 03                      key.length = 3",
        '0002  61 3a 62                   key = "a:b"',
        "0005  01                         type = 1 (snapshot)",
        "0006  00 00 00 01                payload.length = 1",
        "000a  2a                         payload, 1 bytes",
        "peer A, stream 8: read of a:b, 20 bytes",
    )


def test_a_question_that_was_not_answered_is_the_stimulus() -> None:
    """Its bytes are what matters then."""
    lines = sent_lines([snapshot(), read()], NO_ANSWER)

    assert lines[1] == "peer A, stream 8: read of a:b, 20 bytes"
    assert lines[4].endswith("type = 0 (delta)")


def test_a_question_alone_is_shown_in_full() -> None:
    """Nothing else was sent."""
    assert sent_lines([read()])[3].endswith("type = 0 (delta)")


def test_many_things_sent_are_told_shortly() -> None:
    """The first, the last, and how many were between them."""
    lines = sent_lines([snapshot(number * 4) for number in range(100)])

    assert len(lines) == LINES_MAX + 1 + 6
    assert lines[3] == "... 87 more lines"


def test_nothing_sent_and_things_without_bytes_have_no_dump() -> None:
    """An attack of many bytes is shown by its size."""
    assert sent_lines([]) == ()
    assert sent_lines([Sending("A", 4, "a tombstone batch of 20000, 1 bytes")]) == (
        "peer A, stream 4: a tombstone batch of 20000, 1 bytes",
    )


def test_bytes_of_no_kind_are_dumped() -> None:
    """The middle of a stream is no message."""
    lines = sent_lines([Sending("A", 4, "the other half", b"\x2a\x2b")])

    assert lines[1].startswith("0000  2a 2b")
