"""Hex dumps for a person: rows of sixteen bytes, one span of them marked and named."""

from dataclasses import dataclass

ROW = 16
"""Bytes of a row."""
ROWS_BEFORE = 2
"""Rows shown of the beginning."""
ROWS_MAX = 4
"""Rows shown of bytes without a mark."""


@dataclass(frozen=True, slots=True)
class Mark:
    """The bytes to mark and the text to show below them."""

    offset: int
    size: int
    says: str


def row(data: bytes, offset: int) -> str:
    """Return one row: offset, sixteen bytes, and their printable characters."""
    chunk = data[offset : offset + ROW]
    text = "".join(map(_printable, chunk.decode("ascii", "replace")))
    return f"{offset:04x}  {chunk.hex(' '):<{ROW * 3 - 1}}   {text}"


def _printable(char: str) -> str:
    return char if char.isascii() and char.isprintable() else "."


def dump(data: bytes, mark: Mark | None = None) -> tuple[str, ...]:
    """Return rows of the first bytes and of those around the mark; rows left out show as dots."""
    if not data and mark is None:
        return ("0000  (no bytes)",)
    point = 0 if mark is None else min(mark.offset, len(data))
    wanted = set(range(ROWS_BEFORE)) | {point // ROW - 1, point // ROW}
    if mark is None:
        wanted |= set(range(ROWS_MAX))
    lines: list[str] = []
    last = -1
    for number in sorted(
        n for n in wanted if 0 <= n * ROW < max(len(data), 1) or n == point // ROW
    ):
        if number != last + 1:
            lines.append("...")
        lines.append(row(data, number * ROW))
        if mark is not None and number == point // ROW:
            lines.append(_pointer(mark, point))
        last = number
    if (last + 1) * ROW < len(data):
        lines.append(f"... {len(data)} bytes in all")
    return tuple(lines)


def _pointer(mark: Mark, point: int) -> str:
    column = point % ROW
    start = len(f"{point // ROW * ROW:04x}  ")
    count = max(1, min(mark.size, ROW - column))
    arrows = " ".join(["^^"] * count)
    return " " * (start + 3 * column) + f"{arrows} {mark.says}"
