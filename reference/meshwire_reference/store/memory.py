"""The memory store: documents as snapshot plus appended changes, lost with the process.

It has the interface of a durable store: a document reads back as bytes that the Automerge library
loads, the snapshot followed by every change appended since.
"""

import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from meshwire_reference.core.effects import WriteStore
from meshwire_reference.store.base import Contents, new_identity


@dataclass(slots=True)
class StoredDocument:
    """The stored bytes of one document."""

    snapshot: bytes = b""
    changes: list[bytes] = field(default_factory=list)


class MemoryStore:
    """Documents in memory. Every method takes effect at once and none can fail.

    Tombstones are left to the node, which holds them in memory anyway.
    """

    def __init__(self, entropy: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self._identity = new_identity(entropy)
        self._documents: dict[str, StoredDocument] = {}

    async def open(self) -> Contents:
        """Return a new identity and no documents."""
        return Contents(self._identity)

    async def find(self, keys: Collection[str]) -> Contents:
        """Return the sizes of some documents."""
        found = {key: self._read(key) for key in keys}
        sizes = {key: len(content) for key, content in found.items() if content is not None}
        return Contents(self._identity, sizes)

    async def load(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the bytes of each document, None for one that does not exist."""
        return [self._read(key) for key in keys]

    def _read(self, key: str) -> bytes | None:
        stored = self._documents.get(key)
        return None if stored is None else b"".join((stored.snapshot, *stored.changes))

    async def write(self, group: Sequence[WriteStore], _expired: Sequence[str] = ()) -> None:
        """Store the changes of each call: replace by a snapshot if there is one, then append."""
        for effect in group:
            write = effect.write
            if write is None:
                self._documents.pop(effect.key, None)
                continue
            if write.snapshot is not None:
                self._documents[effect.key] = StoredDocument(write.snapshot)
            if write.changes:
                stored = self._documents.setdefault(effect.key, StoredDocument())
                stored.changes.append(write.changes)

    async def close(self) -> None:
        """Do nothing."""
