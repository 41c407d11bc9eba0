"""The documents in the worker's memory, and the one place where a document changes.

The store's bytes are the authority: a document can be dropped here at any time and comes back
from them with the next call for its key. Pending changes stay, since the store does not have them.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from automerge.core import Document

from meshwire_reference.core.document_calls import Heads, Write
from meshwire_reference.documents.chunks import CheckedChunk
from meshwire_reference.documents.pending import PendingChanges, Settled, settle

COMPACTION_BYTES: Final = 4096
"""A new snapshot is made once later changes exceed this and twice the snapshot's size."""
HELD_MAX: Final = 20_000
"""Greatest number of documents in memory; beyond it the least recently used are dropped."""
HELD_BYTES_MAX: Final = 32 * 2**20
"""Greatest saved size of all documents in memory, in bytes; they use ten times as much."""


EMPTY: Final = Document()
"""What represents every document that does not exist; only forks of it are changed."""


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

    @property
    def stored_bytes(self) -> int:
        """Size of the document in the store, in bytes."""
        return self.snapshot_bytes + self.appended_bytes


class Entries:
    """Documents by key."""

    def __init__(self) -> None:
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._bytes = 0
        self.pending = PendingChanges()

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def size_of(self, key: str) -> int:
        """Return the size of a document that is held, with what waits for others; 0 without one."""
        entry = self._entries.get(key)
        stored_bytes = 0 if entry is None else entry.stored_bytes
        return stored_bytes + self.pending.size_of(key)

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
        """Return the entry of a key; an unknown one gets an empty entry that is not held.

        The document of an entry is never changed, only replaced.
        """
        entry = self._entries.get(key)
        if entry is None:
            return Entry(EMPTY)
        self._entries.move_to_end(key)
        return entry

    def drop(self, key: str) -> None:
        """Remove a document from memory, if it is there."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= entry.stored_bytes

    def settle(self, key: str, fork: Document, early: Iterable[CheckedChunk] = ()) -> Settled:
        """Apply to a fork what is pending of its document, `early` changes included, if possible.

        Nothing has changed before `replace` takes the result.
        """
        changes = [*self.pending.of(key), *early]
        return settle(fork, changes) if changes else Settled(fork, [], [])

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
        self, key: str, entry: Entry, settled: Settled, saved: bytes | None = None
    ) -> Write | None:
        """Replace the document by a changed fork; return the write for the store, or None.

        `saved` is the new document as bytes, if those exist already.
        """
        heads = heads_of(settled.document)
        stored_bytes = entry.stored_bytes if key in self._entries else 0
        # DC-014, DC-032
        changed = heads != entry.heads
        write = write_of(entry, settled.document, heads, saved) if changed else None
        # Nothing below can fail: from here on the change has taken place.
        entry.document, entry.heads = settled.document, heads
        if heads:
            self._entries[key] = entry
            self._entries.move_to_end(key)
            self._bytes += entry.stored_bytes - stored_bytes
        self.pending.refuse(key, settled.refused)
        # DC-046
        self.pending.keep(key, settled.waiting)
        return write


def write_of(entry: Entry, fork: Document, heads: Heads, saved: bytes | None = None) -> Write:
    """Return the write that brings the store from an entry to a fork; count its bytes."""
    if entry.heads:
        changes = b"".join(change.bytes for change in fork.get_changes(list(entry.heads)))
        appended = entry.appended_bytes + len(changes)
        if appended <= max(COMPACTION_BYTES, 2 * entry.snapshot_bytes):
            entry.appended_bytes = appended
            return Write(None, changes, heads)
    snapshot = fork.save() if saved is None else saved
    entry.snapshot_bytes, entry.appended_bytes = len(snapshot), 0
    return Write(snapshot, b"", heads)
