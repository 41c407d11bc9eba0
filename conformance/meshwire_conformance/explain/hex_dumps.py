"""Hex dumps of `xxd`, `hexdump -C`, `od -t x1` and packet analysers, read back into their bytes.

A row has an offset, bytes, and perhaps their characters. The offsets say how many bytes a row has,
so that characters that look like digits are not taken for bytes; where a row has characters, they
are compared with the bytes, which shows words in another byte order.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

BYTE_DIGITS = 2
"""Hex digits of a byte."""
BASES = (16, 8, 10)
"""Bases that offsets are written in, the usual one first."""
BINARY_GROUP = 8
"""Digits of a byte in a dump of bits."""
SURE_OFFSET = 8
"""Digits of an offset after which a row of digits alone is a dump."""
ROW = re.compile(r"[ \t]*([0-9a-fA-F]{4,16})(:?)((?:[ \t].*)?)")
PACKET_ROW = re.compile(r"[ \t]*0x[0-9a-f]{4}:[ \t]")
FRAMED = re.compile(r"\s*\|.*\|$|\s+>.*<$")
"""Characters of a row between bars or angle brackets."""
GROUP = re.compile(r"[ \t]*([0-9a-fA-F]+)(?=[ \t|]|$)")
REPEATED = "*"
"""A line that represents rows equal to the one before it."""
REPEATED_MAX = 64 * 2**20
"""Greatest offset up to which rows are repeated: as much as a file may have."""


class UnreadableInput(Exception):
    """A text gives no bytes, or not without doubt; its message says why and what helps."""


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of a dump; `is_gap` is that of an asterisk."""

    offset: str = ""
    colon: bool = False
    rest: str = ""
    is_gap: bool = False


def read_dump(text: str) -> bytes | None:
    """Return the bytes of a dump, or None if the text is none.

    Raises UnreadableInput for a dump whose bytes are in doubt.
    """
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    if not lines or not ROW.fullmatch(lines[0]):
        if lines and PACKET_ROW.match(lines[min(1, len(lines) - 1)]):
            raise UnreadableInput("tcpdump printed whole packets; give the file of `tcpdump -w`")
        return None
    rows = _rows(lines)
    if rows is None or not rows[0].rest.strip() or not _is_dump(rows, text):
        return None
    _refuse_words(rows)
    first = rows[0].offset
    if int(first, 16):
        raise UnreadableInput(f"the dump begins at offset {first}; give it from its first byte on")
    for base in BASES:
        data = _read_rows(rows, base)
        if data is not None:
            return data
    raise UnreadableInput(
        "the offsets of the dump do not fit its bytes; give it whole, or hex alone"
    )


def _rows(lines: Sequence[str]) -> list[_Row] | None:
    rows = []
    for line in lines:
        found = ROW.fullmatch(line)
        if line.strip() == REPEATED:
            rows.append(_Row(is_gap=True))
        elif found:
            rows.append(_Row(found[1], bool(found[2]), found[3]))
        else:
            return None
    return rows


def _is_dump(rows: Sequence[_Row], text: str) -> bool:
    """Return True unless digits alone can be plain hex, whose first group is no offset."""
    if rows[0].colon or "|" in rows[0].rest or set(text) - set("0123456789abcdefABCDEF \t\r\n"):
        return True
    known = [row for row in rows if not row.is_gap]
    width = len(rows[0].offset)
    if len(known) == 1 or any(len(row.offset) != width for row in known):
        return (
            width >= SURE_OFFSET and rows[0].rest.startswith("  ") and not int(known[0].offset, 16)
        )
    return any(_offsets_rise(known, base) for base in BASES)


def _offsets_rise(rows: Sequence[_Row], base: int) -> bool:
    try:
        at = [int(row.offset, base) for row in rows]
    except ValueError:
        return False
    return at[0] == 0 and all(here < there for here, there in pairwise(at))


def _refuse_words(rows: Sequence[_Row]) -> None:
    """Raise UnreadableInput if the groups are bits, octal numbers or words of the host."""
    row = rows[0]
    groups = re.split(r"\s{2,}|\|", row.rest.strip())[0].split()
    sizes = {len(group) for group in groups}
    if row.colon and sizes == {BINARY_GROUP} and not set("".join(groups)) - {"0", "1"}:
        raise UnreadableInput("this is a dump of bits; use `xxd` without -b")
    if row.colon or sizes == {BYTE_DIGITS}:
        return
    helps = "use `hexdump -C`, `xxd` or `od -A x -t x1`"
    if all(size % BYTE_DIGITS for size in sizes) or sizes == {6}:
        raise UnreadableInput(f"this is a dump of octal numbers or characters; {helps}")
    raise UnreadableInput(f"this is a dump of words in the byte order of a host; {helps}")


def _read_rows(rows: Sequence[_Row], base: int) -> bytes | None:
    """Return the bytes of all rows; None if the offsets in this base do not fit them."""
    try:
        offsets = [None if row.is_gap else int(row.offset, base) for row in rows]
    except ValueError:
        return None
    data = bytearray()
    last, column, repeats = b"", 0, False
    for number, row in enumerate(rows):
        start = offsets[number]
        if start is None:
            repeats = True
            continue
        if start > len(data) and repeats and last:
            missing = start - len(data)
            if start > REPEATED_MAX:
                raise UnreadableInput(
                    f"the dump repeats a row up to offset {row.offset}; of more than "
                    f"{REPEATED_MAX} bytes give the file itself"
                )
            data += (last * (missing // len(last) + 1))[:missing]
        if start != len(data):
            return None
        end = offsets[number + 1] if number + 1 < len(rows) else None
        found = _ended(row, end - start) if end is not None else _endless(row, column, len(last))
        if found is None:
            return None
        last, column, repeats = found[0] or last, max(column, found[1]), False
        _compare_text(found[0], row.rest[found[1] :])
        data += found[0]
    return bytes(data)


def _ended(row: _Row, count: int) -> tuple[bytes, int] | None:
    """Return `count` bytes of a row and the column after them; None if it has others."""
    data, at = bytearray(), 0
    while len(data) < count:
        found = GROUP.match(row.rest, at)
        if found is None or len(found[1]) % BYTE_DIGITS:
            return None
        data += bytes.fromhex(found[1])
        at = found.end()
    return (bytes(data), at) if len(data) == count else None


def _endless(row: _Row, column: int, width: int) -> tuple[bytes, int]:
    """Return the bytes of a row whose number no offset tells, and the column after them."""
    if column and width:
        end = min(column, len(row.rest))
    elif framed := FRAMED.search(row.rest):
        end = framed.start()
    else:
        gap = re.search(r"(?<=\S)\s{2,}(?!$)" if row.colon else r"(?<=\S)\s{3,}(?!$)", row.rest)
        end = gap.start() if gap else len(row.rest)
    digits = "".join(row.rest[:end].split())
    try:
        return bytes.fromhex(digits), end
    except ValueError:
        raise UnreadableInput("the last line of the dump is no whole number of bytes") from None


def _compare_text(data: bytes, after: str) -> None:
    """Raise UnreadableInput if the characters of a row are those of other bytes."""
    framed = FRAMED.search(after)
    text = framed[0].strip()[1:-1] if framed else after.strip()
    if len(text) != len(data):
        return
    for byte, char in zip(data, text, strict=True):
        if char != "." and char.isascii() and char.isprintable() and char != chr(byte):
            raise UnreadableInput(
                "the characters of the dump are not those of its bytes: words in another order, or "
                "edited; use `xxd` without -e"
            )
