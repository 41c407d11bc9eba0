"""The outer structure of an Automerge sync message (0x00), read before the library sees it.

Layout, as measured: marker 0x42 or 0x43 | heads | need | have | changes | rest.
Heads and need are a count and 32-byte hashes. Have is a count of pairs: hashes of the last sync,
and a length-prefixed bloom filter. Changes is a count of length-prefixed runs of chunks. Counts
and lengths are unsigned LEB128. Of the rest (a count of capabilities, these, later extensions) only
the count is read.

A filter of 15 bytes may claim 2^32 probes, for which the next answer reserves 16 GiB (D-160), so
every count and every claim of a filter is compared with its bound here (DC-041).

The core recognises a read with this module, without a document call; `documents` uses the rest.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from meshwire_spec.numbers import (
    AUTOMERGE_SYNC_MARKERS,
    SYNC_CHANGES_MAX,
    SYNC_FILTER_BITS_MAX,
    SYNC_FILTER_PROBES_MAX,
    SYNC_FILTERS_MAX,
)

HASH: Final = 32
HAVE_MIN: Final = 2
"""Bytes of an empty filter without hashes."""
CHANGES_MIN: Final = 1
"""Bytes of an empty run of chunks."""
CAPABILITY_MIN: Final = 1
"""Bytes of a capability."""
EMPTY_DOCUMENT: Final = bytes.fromhex("856f4a83b81a9544000400000000")
"""The saved document that holds no change."""
EMPTY_RUNS_MAX: Final = 64
"""Runs of empty documents in one message after which the core takes it for no read."""
LEB_BYTES_MAX: Final = 10
LEB_MORE: Final = 0x80
"""The bit of a byte of a number that says that another byte follows."""


class Unfit(Exception):
    """Document bytes that were refused before or by the library; `reason` is in the registry."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class SyncMessage:
    """The outer structure of a sync message; `changes` are runs of chunks, unread."""

    heads: tuple[bytes, ...]
    need: tuple[bytes, ...]
    changes: tuple[bytes, ...]
    parts: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Where `need` and `changes` are: the offset of the count of each, and that after the last."""

    def with_need(self, data: bytes, need: Iterable[bytes]) -> bytes:
        """Return this message, whose bytes are `data`, with other hashes in `need`."""
        hashes = list(need)
        written = encode_leb(len(hashes)) + b"".join(hashes)
        return data[: self.parts[0]] + written + data[self.parts[1] :]

    def with_changes(self, data: bytes, runs: Sequence[bytes]) -> bytes:
        """Return this message, whose bytes are `data`, with other runs of chunks."""
        written = b"".join(encode_leb(len(run)) + run for run in runs)
        return data[: self.parts[2]] + encode_leb(len(runs)) + written + data[self.parts[3] :]

    @property
    def is_read(self) -> bool:
        """True if there are no heads and no changes: the message starts a new exchange (DC-002)."""
        return not self.heads and not any(map(may_hold_change, self.changes))

    @property
    def is_empty_answer(self) -> bool:
        """True for a read with the empty document: how a node without the document answers one."""
        return self.is_read and any(self.changes)


def may_hold_change(chunks: bytes) -> bool:
    """Return True unless a run of chunks is empty or consists of saved empty documents."""
    # DC-002
    count, rest = divmod(len(chunks), len(EMPTY_DOCUMENT))
    return bool(rest) or chunks != EMPTY_DOCUMENT * count


def encode_leb(number: int) -> bytes:
    """Return a number as unsigned LEB128."""
    encoded = bytearray()
    while number >= LEB_MORE:
        encoded.append(number & ~LEB_MORE & 0xFF | LEB_MORE)
        number >>= 7
    return bytes((*encoded, number))


def read_leb(data: bytes, offset: int) -> tuple[int, int]:
    """Read one unsigned LEB128 number; return it and the offset after it.

    Raises Unfit (bad-document) when the bytes end inside it or it exceeds 64 bits.
    """
    if offset < len(data) and data[offset] < LEB_MORE:
        return data[offset], offset + 1
    number = shift = 0
    for end in range(offset, min(len(data), offset + LEB_BYTES_MAX)):
        byte = data[end]
        number |= (byte & ~LEB_MORE) << shift
        if byte < LEB_MORE:
            if number >> 64:
                break
            return number, end + 1
        shift += 7
    raise Unfit("bad-document", f"no number at offset {offset}")


def read_count(data: bytes, offset: int, element_bytes: int) -> tuple[int, int]:
    """Read a count of elements that take `element_bytes` or more; return it and where it ends.

    Raises Unfit (document-limit) if the rest of the data cannot hold as many.
    """
    count, offset = read_leb(data, offset)
    # DC-041
    if count > (len(data) - offset) // element_bytes:
        raise Unfit("document-limit", f"{count} elements announced at offset {offset}")
    return count, offset


def read_hashes(data: bytes, offset: int) -> tuple[tuple[bytes, ...], int]:
    """Read a counted list of hashes; return it and the offset after it."""
    count, offset = read_count(data, offset, HASH)
    end = offset + count * HASH
    return tuple(data[at : at + HASH] for at in range(offset, end, HASH)), end


def read_bytes(data: bytes, offset: int) -> tuple[bytes, int]:
    """Read a length-prefixed run of bytes; return it and the offset after it."""
    length, offset = read_leb(data, offset)
    end = offset + length
    if end > len(data):
        raise Unfit("bad-document", f"{length} bytes announced at offset {offset}")
    return data[offset:end], end


def check_filter(bloom: bytes) -> None:
    """Raise Unfit (document-limit) if a Bloom filter claims more than its bounds allow.

    An empty filter claims nothing. Bytes after its last bit are the library's to judge.
    """
    if not bloom:
        return
    entries, offset = read_leb(bloom, 0)
    bits_per_entry, offset = read_leb(bloom, offset)
    probes, offset = read_leb(bloom, offset)
    # DC-041
    is_dense = bits_per_entry <= SYNC_FILTER_BITS_MAX and (bits_per_entry > 0 or not entries)
    is_backed = entries * bits_per_entry <= 8 * (len(bloom) - offset)
    if not is_dense or not is_backed or probes > SYNC_FILTER_PROBES_MAX:
        claims = f"{entries} entries of {bits_per_entry} bits and {probes} probes"
        raise Unfit("document-limit", f"the filter claims {claims}")


def skip_hashes(data: bytes, offset: int) -> int:
    """Return the offset after a counted list of hashes."""
    count, offset = read_count(data, offset, HASH)
    return offset + count * HASH


def find_changes(message: bytes) -> tuple[int, int]:
    """Return the count of changes of a sync message and where the first begins.

    Everything before them is checked. Raises Unfit, as `read_message` does.
    """
    return _find_changes(message, skip_hashes(message, skip_hashes(message, check_marker(message))))


def _find_changes(message: bytes, offset: int) -> tuple[int, int]:
    """Do the same from the end of the needed hashes on."""
    have_count, offset = read_count(message, offset, HAVE_MIN)
    # DC-041
    if have_count > SYNC_FILTERS_MAX:
        raise Unfit("document-limit", f"{have_count} filters in one message")
    for _ in range(have_count):
        bloom, offset = read_bytes(message, skip_hashes(message, offset))
        check_filter(bloom)
    count, offset = read_count(message, offset, CHANGES_MIN)
    # DC-041
    if count > SYNC_CHANGES_MAX:
        raise Unfit("document-limit", f"{count} changes in one message")
    return count, offset


def check_marker(message: bytes) -> int:
    """Return the offset after the first byte. Raises Unfit (bad-document) if it is not a marker."""
    # DC-012
    if not message or message[0] not in AUTOMERGE_SYNC_MARKERS:
        raise Unfit("bad-document", "not a sync message")
    return 1


def read_message(message: bytes) -> SyncMessage:
    """Return the outer structure of a sync message, with its claims checked against its size.

    Raises Unfit: bad-document if the structure is broken, document-limit if a bound is exceeded.
    """
    heads, need_at = read_hashes(message, check_marker(message))
    need, need_end = read_hashes(message, need_at)
    changes_count, offset = _find_changes(message, need_end)
    # The library takes a number only in its shortest form.
    changes_at = offset - len(encode_leb(changes_count))
    changes = []
    for _ in range(changes_count):
        chunks, offset = read_bytes(message, offset)
        changes.append(chunks)
    if offset < len(message):
        read_count(message, offset, CAPABILITY_MIN)
    return SyncMessage(heads, need, tuple(changes), (need_at, need_end, changes_at, offset))


def read_need(message: bytes) -> tuple[bytes, ...]:
    """Return the hashes that a message needs. Raises Unfit, as `read_message` does."""
    return read_hashes(message, skip_hashes(message, check_marker(message)))[0]


def needs_changes(message: bytes) -> bool:
    """Return True if the message of a peer asks for changes. Never raises."""
    try:
        return bool(read_need(message))
    except Unfit:
        return False


def confirms_heads(message: bytes) -> bool:
    """Return True if the peer has learned in this exchange which heads both have. Never raises.

    Its filters begin where the last sync ended; the first message of an exchange knows of none.
    """
    try:
        offset = skip_hashes(message, skip_hashes(message, check_marker(message)))
        have_count, offset = read_count(message, offset, HAVE_MIN)
        return bool(have_count) and read_count(message, offset, HASH)[0] > 0
    except Unfit:
        return False


def has_changes(message: bytes) -> bool:
    """Return True if a 0x00 payload has changes, or is no sync message. Never raises."""
    try:
        return find_changes(message)[0] > 0
    except Unfit:
        return True


def is_read(message: bytes) -> bool:
    """Return True if a 0x00 payload is a read; False also if it is not a sync message.

    The core calls this where it answers without a document call, so it stops at the first head or
    change, or after more empty documents than any read needs. Never raises.
    """
    try:
        if read_count(message, check_marker(message), HASH)[0]:
            return False
        changes_left, offset = find_changes(message)
        for _ in range(EMPTY_RUNS_MAX):
            # Empty runs are one byte each, and their number may be great.
            rest = message[offset : offset + changes_left]
            empty = len(rest) - len(rest.lstrip(b"\x00"))
            changes_left, start = changes_left - empty, offset + empty
            if not changes_left:
                if start < len(message):
                    read_count(message, start, CAPABILITY_MIN)
                return True
            chunks, offset = read_bytes(message, start)
            # An empty run here is overlong: the library refuses it.
            if not chunks or may_hold_change(chunks):
                return False
            changes_left -= 1
    except Unfit:
        return False
    return False
