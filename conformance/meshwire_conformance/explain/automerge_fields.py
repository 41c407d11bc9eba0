"""The fields of Automerge's bytes, which have no schema here: sync messages and chunks.

Only what a person needs to find a place is opened: heads, needs, filters, and of a chunk its
header, its ancestors, its author. Columns stay bytes. A reader takes any bytes; at the first that
cannot be, it records a `Mark` and shows the rest as bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from meshwire_conformance.explain.hexdump import Mark
from meshwire_spec.cursor import Span
from meshwire_spec.numbers import AUTOMERGE_SYNC_MARKERS

HASH = 32
"""Bytes of a hash."""
MAGIC = bytes.fromhex("856f4a83")
DOCUMENT = "automerge document"
"""Name of a saved document, or of a chunk alone, that is decoded by itself and not in a frame."""
COLUMNS = "columns"
"""Last member of the path of what stays bytes: only Automerge's library opens it."""
CHECKSUM = 4
NUMBER_MAX = 10
"""Bytes of the longest LEB128 number of 64 bits."""
CHUNKS: Mapping[int, str] = {0: "document", 1: "change", 2: "deflated change", 3: "bundle"}


class _Cut(Exception):
    """The bytes end inside a field, or a field has an impossible value."""


@dataclass(slots=True)
class Reader:
    """A position in some bytes, up to `end`, and the fields found before it."""

    data: bytes
    at: int
    end: int
    spans: list[Span] = field(default_factory=list)
    fault: Mark | None = None

    def note(self, size: int, path: str, value: object, kind: str, means: str) -> None:
        """Record a field of the next bytes and pass it."""
        self.spans.append(Span(self.at, size, path, value, kind, means))
        self.at += size

    def cut(self, path: str, says: str) -> _Cut:
        """Record that a field cannot be read; returns what to raise."""
        self.fault = Mark(self.at, 1, f"{path}: {says}")
        return _Cut()

    def number(self, path: str, means: str) -> int:
        """Read an unsigned LEB128 number."""
        value = 0
        for index, byte in enumerate(self.data[self.at : min(self.end, self.at + NUMBER_MAX)]):
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:  # noqa: PLR2004 - the bit that says more follows
                self.note(index + 1, path, value, "varint", means)
                return value
        raise self.cut(path, "truncated" if self.end - self.at < NUMBER_MAX else "not a varint")

    def blob(self, size: int, path: str, kind: str, means: str) -> bytes:
        """Read bytes of this size."""
        there = self.end - self.at
        if size > there:
            raise self.cut(path, f"{size} bytes announced, {there} there")
        found = self.data[self.at : self.at + size]
        if size:
            self.note(size, path, found.hex(), kind, means)
        return found

    def counted(self, path: str, means: str) -> bytes:
        """Read bytes with their length before them."""
        size = self.number(f"{path}.length", f"bytes of `{path}`")
        return self.blob(size, path, "bytes", means)

    def hashes(self, path: str, means: str) -> None:
        """Read a count and as many hashes."""
        count = self.number(f"{path}.count", "how many hashes follow")
        there = (self.end - self.at) // HASH
        for index in range(min(count, there)):
            self.blob(HASH, f"{path}[{index}]", "hash", means)
        if count > there:
            raise self.cut(path, f"{count} announced, {there} there")

    def rest(self, path: str, means: str) -> None:
        """Record what is left, if anything is."""
        size = self.end - self.at
        if size > 0:
            self.note(size, path, self.data[self.at : self.end].hex(), "bytes", means)


def sync_message_fields(data: bytes) -> Reader:
    """Return the fields of a sync message."""
    reader = Reader(data, 0, len(data))
    return _read(reader, _sync_message, "")


def chunk_fields(data: bytes) -> Reader:
    """Return the fields of a document as it is saved: one chunk or several."""
    return _read(Reader(data, 0, len(data)), _chunks, "")


def _read(reader: Reader, read: Callable[[Reader, str], None], path: str) -> Reader:
    with suppress(_Cut):
        read(reader, path)
    # After a fault what is left has no fields.
    reader.rest(f"{path}rest", "not read" if reader.fault else "ignored by readers")
    return reader


def _sync_message(reader: Reader, _path: str) -> None:
    if reader.end < 1:
        raise reader.cut("marker", "truncated")
    marker = reader.data[reader.at]
    if marker not in AUTOMERGE_SYNC_MARKERS:
        raise reader.cut("marker", f"0x{marker:02x} begins no sync message")
    reader.note(1, "marker", marker, "u8", "a sync message")
    reader.hashes("heads", "a head of the sender's document")
    reader.hashes("needs", "a change that the sender asks for")
    filters = reader.number("haves.count", "how many filters follow")
    for index in range(filters):
        reader.hashes(f"haves[{index}].last_sync", "a head that both had")
        _filter(reader, f"haves[{index}].filter")
    _changes(reader)
    if reader.at < reader.end:
        count = reader.number("capabilities.count", "how many bytes follow")
        reader.blob(count, "capabilities", "bytes", "markers that the sender can read")


def _filter(reader: Reader, path: str) -> None:
    size = reader.number(f"{path}.length", f"bytes of `{path}`")
    if size > reader.end - reader.at:
        raise reader.cut(path, f"{size} bytes announced, {reader.end - reader.at} there")
    if not size:
        return
    outer, reader.end = reader.end, reader.at + size
    reader.number(f"{path}.entries", "changes in the filter")
    reader.number(f"{path}.bits", "bits of an entry")
    reader.number(f"{path}.probes", "probes of an entry")
    reader.rest(f"{path}.bloom", "bits of the filter")
    reader.end = outer


def _changes(reader: Reader) -> None:
    count = reader.number("changes.count", "how many changes follow")
    for index in range(count):
        path = f"changes[{index}]"
        if reader.at >= reader.end:
            raise reader.cut("changes", f"{count} announced, {index} there")
        size = reader.number(f"{path}.length", f"bytes of `{path}`")
        if size > reader.end - reader.at:
            raise reader.cut(path, f"{size} bytes announced, {reader.end - reader.at} there")
        _inside(reader, size, path)


def _inside(reader: Reader, size: int, path: str) -> None:
    """Read a chunk in its own bytes, and the rest of them as bytes."""
    outer, reader.end = reader.end, reader.at + size
    _chunks(reader, f"{path}.")
    reader.rest(f"{path}.rest", "ignored by readers")
    reader.end = outer


def _chunks(reader: Reader, path: str) -> None:
    number = 0
    while reader.at < reader.end:
        _chunk(reader, path if number == 0 else f"{path}chunk[{number}].")
        number += 1


def _chunk(reader: Reader, path: str) -> None:
    magic = reader.data[reader.at : min(reader.end, reader.at + len(MAGIC))]
    if magic != MAGIC:
        raise reader.cut(f"{path}magic", "not that of a chunk")
    reader.note(len(MAGIC), f"{path}magic", magic.hex(), "bytes", "begins a chunk")
    reader.blob(CHECKSUM, f"{path}checksum", "bytes", "of everything after it")
    if reader.at >= reader.end:
        raise reader.cut(f"{path}type", "truncated")
    kind = reader.data[reader.at]
    sort = CHUNKS.get(kind, "unknown")
    reader.note(1, f"{path}type", kind, "u8", f"a {sort}")
    size = reader.number(f"{path}size", f"bytes of the {sort}")
    if size > reader.end - reader.at:
        raise reader.cut(f"{path}{sort}", f"{size} bytes announced, {reader.end - reader.at} there")
    outer, reader.end = reader.end, reader.at + size
    OPENED.get(kind, _unopened)(reader, path)
    reader.rest(f"{path}{COLUMNS}", f"the rest of the {sort}, opaque: not opened here")
    reader.end = outer


def _change(reader: Reader, path: str) -> None:
    reader.hashes(f"{path}ancestors", "a change that this one follows")
    reader.counted(f"{path}actor", "who made the change")
    reader.number(f"{path}sequence", "number of the change by its actor")
    reader.number(f"{path}start_op", "number of its first operation")


def _document(reader: Reader, path: str) -> None:
    count = reader.number(f"{path}actors.count", "how many actors follow")
    for index in range(count):
        reader.counted(f"{path}actors[{index}]", "who made changes")
    reader.hashes(f"{path}heads", "a head of the document")


def _unopened(_reader: Reader, _path: str) -> None:
    """Leave the bytes of a chunk together."""


OPENED: Mapping[int, Callable[[Reader, str], None]] = {0: _document, 1: _change}
"""Functions that read the beginning of a chunk, by its type."""
