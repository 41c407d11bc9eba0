"""The memory store: documents as snapshot plus appended changes, lost with the process.

It has the interface of a durable store: a document reads back as bytes that the Automerge library
loads, the snapshot followed by every change appended since.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class StoredDocument:
    """The stored bytes of one document."""

    snapshot: bytes = b""
    changes: list[bytes] = field(default_factory=list)


class MemoryStore:
    """Documents in memory. Every method takes effect at once and none can fail."""

    def __init__(self) -> None:
        self._documents: dict[str, StoredDocument] = {}

    async def load(self, key: str) -> bytes | None:
        """Return the bytes of a document, or None if there is none. Sees every earlier write."""
        stored = self._documents.get(key)
        return None if stored is None else b"".join((stored.snapshot, *stored.changes))

    async def write(self, key: str, snapshot: bytes | None, changes: bytes) -> None:
        """Store the changes of a call: replace by `snapshot` if there is one, then append."""
        if snapshot is not None:
            self._documents[key] = StoredDocument(snapshot)
        if changes:
            self._documents.setdefault(key, StoredDocument()).changes.append(changes)

    async def remove(self, key: str) -> None:
        """Remove a document, if it exists."""
        self._documents.pop(key, None)

    def keys(self) -> Iterator[str]:
        """Yield the key of every document, in the order of their first write."""
        return iter(tuple(self._documents))

    def __contains__(self, key: str) -> bool:
        return key in self._documents

    def __len__(self) -> int:
        return len(self._documents)
