"""Counts the rows and bytes that chunks claim, before the library allocates memory for them.

A chunk is magic, 4-byte checksum, type, length and body. A document (0) and a change (1) keep
their operations in run-length columns, so that 64 bytes may claim 10^7 operations, which cost the
library 14 s and 3.8 GiB (D-160). A compressed change (2) is a change, deflated; a document may
deflate single columns. So here every column is walked once, inflating no more than is allowed and
adding up the rows that its runs announce.

Claims and checksums are checked. What else the bytes say is left to the library, under a budget of
CPU time and a memory limit. It ignores what follows a damaged chunk if the document has changes, so
checksums are verified here, and the caller asks the document afterwards whether it took everything.
"""

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Final, TypeAlias

from meshwire_reference.core.sync_messages import (
    HASH,
    Unfit,
    encode_leb,
    read_bytes,
    read_hashes,
    read_leb,
)
from meshwire_spec.numbers import PAYLOAD_MAX

MAGIC: Final = bytes.fromhex("856f4a83")
CHECKSUM: Final = 4
"""Bytes of the checksum of a chunk; that of a change is the beginning of its hash."""
DOCUMENT, CHANGE, COMPRESSED_CHANGE = 0, 1, 2

ROWS_MAX: Final = 150_000
"""Rows that a small item may claim; the library loads them in about 0.25 s."""
ROWS_MAX_PER_KIB: Final = 5_000
"""Further rows per KiB of the item; they take less than the budget grows by per KiB."""
INFLATED_FACTOR: Final = 8
"""Factor of the inflated size limit: this times the size of the item, plus the largest payload."""

GROUP, ACTOR, NUMBER, DELTA, BOOLEAN, TEXT, VALUE_META, VALUE_RAW = range(8)
"""Types of columns, the low three bits of a column's specification."""
DEFLATED: Final = 0b1000

ROWS_PER_ASCII_BYTE: Final = 128
"""No column of bytes below 0x80 claims more rows than this times its length."""
ROWS_PER_ASCII_GROUP_BYTE: Final = 8192
"""The same for group columns, whose values count rows of other columns."""
ROWS_PER_ASCII_BYTE_OF: Final = (
    (ROWS_PER_ASCII_GROUP_BYTE, *(ROWS_PER_ASCII_BYTE,) * (DEFLATED - 1))
    # The bytes of a deflated column say nothing of its rows.
    + (ROWS_MAX,) * DEFLATED
)
"""The same by the low four bits of a column's specification."""

OF_NUMBERS: Final = (ACTOR, NUMBER, DELTA, BOOLEAN, TEXT, VALUE_META)
"""Columns whose rows their counts alone claim: values of a group count too, raw values do not."""
ROWS_PER_SHORT_BYTE: Final = 8192
"""None of these claims more rows than this times its length, if no number has over two bytes."""
LONG_NUMBER: Final = re.compile(rb"[\x80-\xff]{2}")
"""Found wherever a number takes more than two bytes."""
ANY_NUMBER: Final = rb"[\x80-\xff]{0,9}[\x00-\x7f]"
KNOWN_MAX: Final = 1024
"""Lists of columns that are remembered: documents of one shape have few different ones."""
KNOWN_COLUMNS_MAX: Final = 32
"""Columns of a list that is remembered; the library writes fewer."""

ColumnSize: TypeAlias = tuple[int, int]
"""The specification of a column, and the number of its bytes."""


@dataclass(frozen=True, slots=True)
class Columns:
    """A list of columns, as it is announced before them.

    Where the bytes of `ascii_spans` are all ASCII and those of `short_spans` have no long number,
    no column claims more than ROWS_MAX rows, unless it `must_be_read`.
    """

    sizes: tuple[ColumnSize, ...]
    length: int
    ascii_spans: tuple[tuple[int, int], ...]
    short_spans: tuple[tuple[int, int], ...]
    must_be_read: bool

    def claim_few(self, body: bytes, offset: int) -> bool:
        """Return True if it is certain without reading them that no column claims many rows."""
        if self.must_be_read:
            return False
        for start, end in self.ascii_spans:
            if not body[offset + start : offset + end].isascii():
                return False
        for start, end in self.short_spans:
            if LONG_NUMBER.search(body, offset + start, offset + end):
                return False
        return True


@dataclass(slots=True)
class ClaimBudget:
    """The remaining budget of one item: rows, and inflated bytes."""

    rows: int
    inflated: int

    @classmethod
    def of(cls, item_bytes: int) -> "ClaimBudget":
        """Return the budget of an item of this size."""
        return cls(
            rows=ROWS_MAX + ROWS_MAX_PER_KIB * item_bytes // 1024,
            inflated=PAYLOAD_MAX + INFLATED_FACTOR * item_bytes,
        )

    def spend_rows(self, rows: int) -> None:
        """Subtract rows. Raises Unfit (document-limit) if fewer remain."""
        self.rows -= rows
        if self.rows < 0:
            raise Unfit("document-limit", "columns claim too many operations")

    def inflate(self, deflated: bytes) -> bytes:
        """Inflate within the budget. Raises Unfit (document-limit) beyond it."""
        stream = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            inflated = stream.decompress(deflated, self.inflated + 1)
        except zlib.error as exc:
            raise Unfit("bad-document", "a deflated part does not inflate") from exc
        self.inflated -= len(inflated)
        if self.inflated < 0:
            raise Unfit("document-limit", "a deflated part inflates to too much")
        return inflated


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk, not verified: `body` is still deflated where the type says so."""

    type: int
    checksum: bytes
    body: bytes
    data: bytes
    """The whole chunk."""


@dataclass(frozen=True, slots=True)
class CheckedChunk:
    """What a verified chunk says of itself."""

    type: int
    data: bytes
    hash: bytes
    """The hash of a change; of a document it has no meaning."""
    links: tuple[bytes, ...]
    """The dependencies of a change, the heads of a document."""
    size: int
    """Size of its body, inflated."""


def walk_chunks(data: bytes) -> Iterator[Chunk]:
    """Yield the chunks of a payload. Raises Unfit (bad-document) where no whole chunk follows."""
    offset = 0
    while offset < len(data):
        start = offset
        if data[offset : offset + len(MAGIC)] != MAGIC or len(data) - offset < len(MAGIC) + 6:
            raise Unfit("bad-document", f"no chunk at offset {offset}")
        kind = data[offset + 8]
        if kind > COMPRESSED_CHANGE:
            raise Unfit("bad-document", f"unknown chunk type {kind}")
        body, offset = read_bytes(data, offset + 9)
        checksum = data[start + len(MAGIC) : start + len(MAGIC) + CHECKSUM]
        yield Chunk(kind, checksum, body, data[start:offset])


def check_chunks(data: bytes, budget: ClaimBudget) -> tuple[CheckedChunk, ...]:
    """Compare the claims of the chunks with the budget, and verify their checksums.

    Raises Unfit: document-limit for claims beyond it, bad-document if the bytes are no sequence of
    chunks, or a checksum is wrong.
    """
    return tuple(check_chunk(chunk, budget) for chunk in walk_chunks(data))


def check_chunk(chunk: Chunk, budget: ClaimBudget) -> CheckedChunk:
    """Compare the claims of one chunk with the budget, and verify its checksum."""
    # DC-041
    compressed = chunk.type == COMPRESSED_CHANGE
    body = budget.inflate(chunk.body) if compressed else chunk.body
    is_document = chunk.type == DOCUMENT
    lists, columns_at = document_columns(body) if is_document else change_columns(body)
    budget.spend_rows(rows_of_columns(body, lists, columns_at, budget))
    # DC-051: a compressed change has the checksum and the hash of the change.
    kind = CHANGE if compressed else chunk.type
    digest = sha256(bytes((kind,)) + encode_leb(len(body)) + body).digest()
    if digest[: len(chunk.checksum)] != chunk.checksum:
        raise Unfit("bad-document", "the checksum of a chunk is wrong")
    links, _ = read_hashes(body, skip_actors(body) if is_document else 0)
    return CheckedChunk(chunk.type, chunk.data, digest, links, len(body))


def skip_actors(body: bytes) -> int:
    """Return the offset after the actors of a document chunk, where its heads begin."""
    count, offset = read_leb(body, 0)
    for _ in range(count):
        _, offset = read_bytes(body, offset)
    return offset


def document_columns(body: bytes) -> tuple[tuple[Columns, ...], int]:
    """Return the lists of columns of a document chunk, and where the first column begins."""
    count, offset = read_leb(body, skip_actors(body))
    changes, offset = read_columns(body, offset + count * HASH)
    operations, offset = read_columns(body, offset)
    return (changes, operations), offset


def change_columns(body: bytes) -> tuple[tuple[Columns, ...], int]:
    """Return the columns of a change chunk, inflated, and where the first begins."""
    count, offset = read_leb(body, 0)
    offset += count * HASH
    _, offset = read_bytes(body, offset)
    # Sequence number, first operation and time: LEB128 numbers, skipped.
    for _ in range(3):
        _, offset = read_leb(body, offset)
    _, offset = read_bytes(body, offset)
    count, offset = read_leb(body, offset)
    for _ in range(count):
        _, offset = read_bytes(body, offset)
    columns, offset = read_columns(body, offset)
    return (columns,), offset


def read_columns(body: bytes, offset: int) -> tuple[Columns, int]:
    """Read the list of (specification, length) in front of columns."""
    count, offset = read_leb(body, offset)
    if 2 * count > len(body) - offset:
        raise Unfit("bad-document", f"{count} columns announced")
    if count <= KNOWN_COLUMNS_MAX and (found := numbers_pattern(2 * count).match(body, offset)):
        return columns_of(found[0]), found.end()
    numbers, offset = read_numbers(body, offset, 2 * count)
    return make_columns(numbers), offset


def read_numbers(data: bytes, offset: int, count: int) -> tuple[Sequence[int], int]:
    """Read numbers one after another; return them and the offset after the last."""
    plain = data[offset : offset + count]
    if plain.isascii():
        return plain, offset + len(plain)
    # Some number takes more than one byte, so each has to be read.
    numbers = []
    for _ in range(count):
        number, offset = read_leb(data, offset)
        numbers.append(number)
    return numbers, offset


@lru_cache(2 * KNOWN_COLUMNS_MAX)
def numbers_pattern(count: int) -> re.Pattern[bytes]:
    """Return a pattern of as many numbers."""
    return re.compile(b"(?:%s){%d}" % (ANY_NUMBER, count))


@lru_cache(KNOWN_MAX)
def columns_of(announced: bytes) -> Columns:
    """Return the columns that were announced by a few numbers."""
    return make_columns(read_numbers(announced, 0, len(re.findall(ANY_NUMBER, announced)))[0])


def make_columns(numbers: Sequence[int]) -> Columns:
    """Return the columns of these specifications and lengths, which take turns."""
    sizes = tuple(zip(numbers[::2], numbers[1::2], strict=True))
    spans: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
    must_be_read = False
    start = 0
    for specification, length in sizes:
        end = start + length
        kind = specification & 15
        if kind in OF_NUMBERS and length * ROWS_PER_SHORT_BYTE < ROWS_MAX:
            spans[1].append((start, end))
        elif kind != VALUE_RAW and length * ROWS_PER_ASCII_BYTE_OF[kind] < ROWS_MAX:
            spans[0].append((start, end))
        else:
            must_be_read = must_be_read or kind != VALUE_RAW
        start = end
    return Columns(sizes, start, joined(spans[0]), joined(spans[1]), must_be_read)


def joined(spans: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Return spans, those that touch as one."""
    whole: list[tuple[int, int]] = []
    for start, end in spans:
        if whole and whole[-1][1] == start:
            whole[-1] = (whole[-1][0], end)
        else:
            whole.append((start, end))
    return tuple(whole)


def rows_of_columns(body: bytes, lists: Sequence[Columns], offset: int, budget: ClaimBudget) -> int:
    """Return how many rows the longest column claims, or a bound on it that is within the budget.

    Raises Unfit (bad-document) if the columns are longer than the body.
    """
    if offset + sum([columns.length for columns in lists]) > len(body):
        raise Unfit("bad-document", "the columns are longer than their chunk")
    rows = 0
    for columns in lists:
        # Small and without long runs, as most columns are: too few rows to count.
        if budget.rows < ROWS_MAX or not columns.claim_few(body, offset):
            rows = max(rows, rows_of_list(body, columns.sizes, offset, budget))
        offset += columns.length
    return rows


def rows_of_list(body: bytes, sizes: Sequence[ColumnSize], offset: int, budget: ClaimBudget) -> int:
    """Return how many rows the longest of these columns claims, or a bound as above."""
    rows = 0
    few = min(budget.rows, ROWS_MAX)
    for specification, length in sizes:
        column = body[offset : offset + length]
        offset += length
        if length * ROWS_PER_ASCII_BYTE_OF[specification & 15] < few and column.isascii():
            continue
        rows = max(rows, rows_of(specification, column, budget))
    return rows


def rows_of(specification: int, column: bytes, budget: ClaimBudget) -> int:
    """Return how many rows a column claims."""
    if specification & DEFLATED:
        column = budget.inflate(column)
    kind = specification & 7
    if kind == VALUE_RAW:
        return 0
    try:
        return count_booleans(column) if kind == BOOLEAN else count_runs(column, kind, budget.rows)
    except Unfit:
        # This walk cannot follow the column: its claims are not counted, the library refuses it.
        return 0


def count_booleans(column: bytes) -> int:
    """Add up the runs of a boolean column, all of which are plain counts."""
    rows = offset = 0
    while offset < len(column):
        count, offset = read_leb(column, offset)
        rows += count
    return rows


def count_runs(column: bytes, kind: int, limit: int) -> int:
    """Add up the runs of a run-length column; stop where they pass the limit.

    A run is a signed count: above zero that many times the value that follows, below zero as many
    values, zero a number of nulls. Values of a group column count as rows too.
    """
    rows = offset = 0
    while offset < len(column) and rows <= limit:
        raw, end = read_leb(column, offset)
        width = 7 * (end - offset)
        count = raw - (1 << width) if raw >> (width - 1) & 1 else raw
        offset = end
        if count == 0:
            nulls, offset = read_leb(column, offset)
            rows += nulls
        elif count > 0:
            value, offset = skip_value(column, offset, kind)
            rows += max(count, count * value if kind == GROUP else 0)
        else:
            rows -= count
            for _ in range(-count):
                value, offset = skip_value(column, offset, kind)
                rows += value if kind == GROUP else 0
    return rows


def skip_value(column: bytes, offset: int, kind: int) -> tuple[int, int]:
    """Return the number at `offset` and where the value ends, a text's bytes included."""
    number, offset = read_leb(column, offset)
    return number, offset + number if kind == TEXT else offset
