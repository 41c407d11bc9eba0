"""The documents in the worker's memory, and the one place where a document changes.

The store's bytes are the authority: a document can be dropped here at any time and comes back
from them with the next call for its key.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from automerge.core import Document

from meshwire_reference.core.document_calls import Heads, Write
from meshwire_spec.numbers import PAYLOAD_MAX

COMPACTION_BYTES: Final = 4096
"""A new snapshot is made once later changes exceed this and twice the snapshot's size."""
ORPHAN_BYTES_MAX: Final = PAYLOAD_MAX
"""Greatest size of changes without their dependencies; beyond it they are dropped."""
HELD_MAX: Final = 20_000
"""Greatest number of documents in memory; beyond it the least recently used are dropped."""
HELD_BYTES_MAX: Final = 32 * 2**20
"""Greatest saved size of all documents in memory, in bytes; they use ten times as much."""
BARE_MAX: Final = 1024
"""Greatest number of documents that consist only of such changes; the oldest are dropped first."""


def heads_of(document: Document) -> Heads:
    """Return the heads of a document, sorted."""
    return tuple(sorted(document.get_heads()))


@dataclass(slots=True)
class Entry:
    """One document in memory, and the form of its bytes in the store."""

    document: Document
    heads: Heads = ()
    snapshot_bytes: int = 0
    appended_bytes: int = 0
    orphan_bytes: int = 0

    @property
    def stored_bytes(self) -> int:
        """Size of the document in the store, in bytes."""
        return self.snapshot_bytes + self.appended_bytes

    def snapshot(self) -> bytes:
        """Return the whole document as bytes, without changes that wait for others."""
        return save(self.document, has_orphans=self.orphan_bytes > 0)


def save(document: Document, *, has_orphans: bool) -> bytes:
    """Save a document without its orphans, the changes whose dependencies are missing."""
    if has_orphans:
        clean = Document()
        clean.merge(document)
        document = clean
    return document.save()


class Entries:
    """Documents by key."""

    def __init__(self) -> None:
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._bytes = 0
        self._bare: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def size_of(self, key: str) -> int:
        """Return the size of a document that is held, with what waits for others; 0 without one."""
        entry = self._entries.get(key)
        return 0 if entry is None else entry.stored_bytes + entry.orphan_bytes

    def load(self, key: str, stored: bytes) -> None:
        """Load a document from its stored bytes, unless in memory. Raises errors of the library.

        Its size is taken to be all snapshot, so that the next compaction comes late, not early.
        """
        if key not in self._entries:
            document = Document.load(stored)
            entry = Entry(document, heads_of(document), snapshot_bytes=len(stored))
            self._entries[key] = entry
            self._bytes += entry.stored_bytes

    def get(self, key: str) -> Entry:
        """Return the entry of a key; an unknown one gets an empty entry that is not held."""
        entry = self._entries.get(key)
        if entry is None:
            return Entry(Document())
        self._entries.move_to_end(key)
        return entry

    def drop(self, key: str) -> None:
        """Remove a document from memory, if it is there."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= entry.stored_bytes
        self._bare.pop(key, None)

    def release(self) -> tuple[str, ...]:
        """Drop the least recently used documents while too many are held; return their keys.

        The last one used stays; all others can be loaded from their stored bytes.
        """
        released = []
        while len(self._entries) > 1 and (
            len(self._entries) > HELD_MAX or self._bytes > HELD_BYTES_MAX
        ):
            key = next(iter(self._entries))
            self.drop(key)
            released.append(key)
        return tuple(released)

    def replace(
        self, key: str, entry: Entry, fork: Document, orphan_bytes: int = 0
    ) -> Write | None:
        """Replace the document by a changed fork; return the write for the store, or None.

        `orphan_bytes` bounds what of the fork's newest changes may still wait for others.
        """
        orphan_bytes += entry.orphan_bytes
        if orphan_bytes > ORPHAN_BYTES_MAX:
            clean = Document()
            clean.merge(fork)
            fork, orphan_bytes = clean, 0
        heads = heads_of(fork)
        stored_bytes = entry.stored_bytes if key in self._entries else 0
        # DC-014, DC-032
        write = None if heads == entry.heads else self._write_of(entry, fork, orphan_bytes)
        # Nothing below can fail: from here on the change has taken place.
        entry.document, entry.heads, entry.orphan_bytes = fork, heads, orphan_bytes
        if heads or orphan_bytes:
            self._entries[key] = entry
            self._entries.move_to_end(key)
            self._bytes += entry.stored_bytes - stored_bytes
        self._bound_bare(key, is_bare=not heads and orphan_bytes > 0)
        return write

    def _write_of(self, entry: Entry, fork: Document, orphan_bytes: int) -> Write:
        if entry.heads:
            changes = b"".join(change.bytes for change in fork.get_changes(list(entry.heads)))
            appended = entry.appended_bytes + len(changes)
            if appended <= max(COMPACTION_BYTES, 2 * entry.snapshot_bytes):
                entry.appended_bytes = appended
                return Write(None, changes)
        snapshot = save(fork, has_orphans=orphan_bytes > 0)
        entry.snapshot_bytes, entry.appended_bytes = len(snapshot), 0
        return Write(snapshot, b"")

    def _bound_bare(self, key: str, *, is_bare: bool) -> None:
        self._bare.pop(key, None)
        if is_bare:
            self._bare[key] = None
        while len(self._bare) > BARE_MAX:
            oldest, _ = self._bare.popitem(last=False)
            self.drop(oldest)
