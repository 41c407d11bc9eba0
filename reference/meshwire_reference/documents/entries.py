"""The documents in the worker's memory, and the one place where a document changes.

The store's bytes are the authority: a document can be dropped here at any time and comes back
from them with the next call for its key.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from automerge.core import Document

from meshwire_reference.documents.calls import Heads, Write
from meshwire_spec.numbers import PAYLOAD_MAX

COMPACTION_BYTES: Final = 4096
"""A snapshot is made anew once the changes behind it exceed this and twice its own size."""
ORPHAN_BYTES_MAX: Final = PAYLOAD_MAX
"""Changes may arrive before what they build on; beyond this they are let go."""
BARE_MAX: Final = 1024
"""How many documents may consist of such early changes only; beyond it the oldest go."""


def heads_of(document: Document) -> Heads:
    """Return the heads of a document, sorted."""
    return tuple(sorted(document.get_heads()))


@dataclass(slots=True)
class Entry:
    """One document in memory, and how its bytes lie in the store."""

    document: Document
    heads: Heads = ()
    snapshot_bytes: int = 0
    appended_bytes: int = 0
    orphan_bytes: int = 0

    def snapshot(self) -> bytes:
        """Return the whole document as bytes, without changes that wait for others."""
        return save(self.document, has_orphans=self.orphan_bytes > 0)


def save(document: Document, *, has_orphans: bool) -> bytes:
    """Save a document; orphans are no part of it yet, and stay behind in a merge."""
    if has_orphans:
        clean = Document()
        clean.merge(document)
        document = clean
    return document.save()


class Entries:
    """Documents by key."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._bare: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def load(self, key: str, stored: bytes) -> None:
        """Take a document from its stored bytes, unless it is held. Raises what the library does.

        Its size is taken to be all snapshot, so that the next compaction comes late, not early.
        """
        if key not in self._entries:
            document = Document.load(stored)
            self._entries[key] = Entry(document, heads_of(document), snapshot_bytes=len(stored))

    def get(self, key: str) -> Entry:
        """Return the entry of a key; an unknown one gets an empty entry that is not held."""
        return self._entries.get(key) or Entry(Document())

    def drop(self, key: str) -> None:
        """Let go of a document; one that is not held is let go already."""
        self._entries.pop(key, None)
        self._bare.pop(key, None)

    def replace(
        self, key: str, entry: Entry, fork: Document, orphan_bytes: int = 0
    ) -> Write | None:
        """Put a changed fork in the document's place; return what the store must keep, if anything.

        `orphan_bytes` bounds what of the fork's newest changes may still wait for others.
        """
        orphan_bytes += entry.orphan_bytes
        if orphan_bytes > ORPHAN_BYTES_MAX:
            clean = Document()
            clean.merge(fork)
            fork, orphan_bytes = clean, 0
        heads = heads_of(fork)
        # DC-014, DC-032
        write = None if heads == entry.heads else self._write_of(entry, fork, orphan_bytes)
        # Everything that can fail has passed: from here on the change has taken place.
        entry.document, entry.heads, entry.orphan_bytes = fork, heads, orphan_bytes
        if heads or orphan_bytes:
            self._entries[key] = entry
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
            self._entries.pop(oldest, None)
