"""The lines of a client: where they end, how long they may be, and what is cut short."""

import asyncio

import pytest

from meshwire_reference.control.socket_file import LineTooLong, read_line

PART = 0x10
"""Greatest number of bytes that the reader gives at once."""
LINE_MAX = 0x25


def lines_of(sent: bytes) -> list[bytes | None]:
    """Return what a client that sends these bytes and leaves has said; None is a line too long."""

    async def read() -> list[bytes | None]:
        reader = asyncio.StreamReader(limit=PART)
        reader.feed_data(sent)
        reader.feed_eof()
        found: list[bytes | None] = []
        while True:
            try:
                line = await read_line(reader, LINE_MAX)
            except LineTooLong:
                found.append(None)
                continue
            if line is None:
                return found
            found.append(line)

    return asyncio.run(read())


@pytest.mark.parametrize(
    ("size", "fits"),
    [(0, True), (PART, True), (PART + 1, True), (LINE_MAX - 1, True), (LINE_MAX, False)],
)
def test_a_line_fits_with_its_end(size: int, *, fits: bool) -> None:
    """Whether it comes at once or in parts; the next one is read in either case."""
    line = b"x" * size + b"\n"

    assert lines_of(line + b"next\n") == [line if fits else None, b"next\n"]


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        pytest.param(b"", [], id="nothing"),
        pytest.param(b" \r", [], id="space"),
        pytest.param(b"status", [b"status"], id="a whole line perhaps"),
        pytest.param(b"x" * (PART + 3), [], id="the first part of a line"),
        pytest.param(b"x" * (2 * LINE_MAX + 3), [], id="a line that is too long already"),
    ],
)
def test_a_last_line_without_an_end_is_read_unless_it_is_long(
    sent: bytes, said: list[bytes | None]
) -> None:
    """What follows a dropped part is no line of its own."""
    assert lines_of(b"first\n" + sent) == [b"first\n", *said]
