"""The outer structure of an Automerge sync message (0x00), read before the library sees it.

Layout, as measured: marker 0x42 or 0x43 | heads | need | have | changes | rest.
Heads and need are a count and 32-byte hashes. Have is a count of pairs: hashes of the last sync,
and a length-prefixed bloom filter. Changes is a count of length-prefixed runs of chunks. Counts
and lengths are unsigned LEB128. The rest (capabilities, later extensions) is left to the library.

A filter of 15 bytes may claim 2^32 probes, for which the next answer reserves 16 GiB (D-160), so
its claims are compared with its size here.

The core recognises a read with this module, without a document call; `documents` uses the rest.
"""

from dataclasses import dataclass
from typing import Final

from meshwire_spec.numbers import AUTOMERGE_SYNC_MARKERS

HASH: Final = 32
HAVE_MIN: Final = 2
"""Bytes of an empty filter without hashes."""
HAVE_MAX: Final = 16
"""The library sends one; each costs a pass over every change."""
PROBES_MAX: Final = 64
"""The library uses 7; each change that is tested against the filter costs this many."""
BITS_PER_ENTRY_MAX: Final = 256
"""The library uses 10."""
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

    @property
    def is_read(self) -> bool:
        """True if there are no heads and no chunks: the message starts a new exchange (DC-002)."""
        return not self.heads and not any(self.changes)


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


def read_hashes(data: bytes, offset: int) -> tuple[tuple[bytes, ...], int]:
    """Read a counted list of hashes; return it and the offset after it."""
    count, offset = read_leb(data, offset)
    end = offset + count * HASH
    if end > len(data):
        raise Unfit("bad-document", f"{count} hashes announced at offset {offset}")
    return tuple(data[at : at + HASH] for at in range(offset, end, HASH)), end


def read_bytes(data: bytes, offset: int) -> tuple[bytes, int]:
    """Read a length-prefixed run of bytes; return it and the offset after it."""
    length, offset = read_leb(data, offset)
    end = offset + length
    if end > len(data):
        raise Unfit("bad-document", f"{length} bytes announced at offset {offset}")
    return data[offset:end], end


def check_filter(bloom: bytes) -> None:
    """Raise Unfit unless the bytes of a bloom filter cover its claims; an empty one has none.

    The reason is bad-document if it cannot be a filter, document-limit if it costs too much.
    """
    if not bloom:
        return
    entries, offset = read_leb(bloom, 0)
    bits_per_entry, offset = read_leb(bloom, offset)
    probes, offset = read_leb(bloom, offset)
    if len(bloom) - offset != (entries * bits_per_entry + 7) // 8:
        raise Unfit("bad-document", "the filter is not as long as its entries need")
    if offset == len(bloom):
        raise Unfit("bad-document", "the filter has no bits")
    # DC-041
    if probes > PROBES_MAX or bits_per_entry > BITS_PER_ENTRY_MAX:
        raise Unfit("document-limit", f"the filter claims {probes} probes")


def read_message(message: bytes) -> SyncMessage:
    """Return the outer structure of a sync message, with its claims checked against its size.

    Raises Unfit: bad-document if the structure is broken, document-limit if it costs too much.
    """
    # DC-012
    if not message or message[0] not in AUTOMERGE_SYNC_MARKERS:
        raise Unfit("bad-document", "not a sync message")
    heads, offset = read_hashes(message, 1)
    need, offset = read_hashes(message, offset)
    have_count, offset = read_leb(message, offset)
    if have_count * HAVE_MIN > len(message) - offset:
        raise Unfit("bad-document", f"{have_count} filters announced at offset {offset}")
    if have_count > HAVE_MAX:
        raise Unfit("document-limit", f"{have_count} filters in one message")
    for _ in range(have_count):
        _, offset = read_hashes(message, offset)
        bloom, offset = read_bytes(message, offset)
        check_filter(bloom)
    changes_count, offset = read_leb(message, offset)
    changes = []
    for _ in range(changes_count):
        chunks, offset = read_bytes(message, offset)
        changes.append(chunks)
    return SyncMessage(heads, need, tuple(changes))


def is_read(message: bytes) -> bool:
    """Return True if a 0x00 payload is a read; False also if it is not a sync message.

    The core calls this where it answers without a document call. Never raises.
    """
    try:
        return read_message(message).is_read
    except Unfit:
        return False
