"""The memory store: documents as snapshot plus appended changes, lost with the process.

It has the interface of a durable store: a document reads back as bytes that the Automerge library
loads, the snapshot followed by every change appended since.
"""

import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from meshwire_reference.core.document_calls import KeptTombstone, Life
from meshwire_reference.core.effects import WriteStore
from meshwire_reference.store.base import Contents, Identity, new_identity


@dataclass(slots=True)
class StoredDocument:
    """The stored bytes of one document."""

    snapshot: bytes = b""
    changes: list[bytes] = field(default_factory=list)


class Kept:
    """What a store keeps, in memory; every call takes effect at once."""

    def __init__(self) -> None:
        self._documents: dict[str, StoredDocument] = {}
        self._tombstones: dict[str, KeptTombstone] = {}
        self._lives: dict[str, Life] = {}
        self._lamport = 0

    def contents(self, identity: Identity, keys: Collection[str] | None = None) -> Contents:
        """Return what is kept of some documents, or of all."""
        documents = self._documents if keys is None else set(keys) & self._documents.keys()
        tombstones = self._tombstones if keys is None else set(keys) & self._tombstones.keys()
        return Contents(
            identity,
            {key: len(self.read(key) or b"") for key in sorted(documents)},
            tuple(self._tombstones[key] for key in sorted(tombstones)),
            self._lamport,
            lives={key: self._lives[key] for key in sorted(documents) if key in self._lives},
        )

    def read(self, key: str) -> bytes | None:
        """Return the bytes of a document, None for one that does not exist."""
        stored = self._documents.get(key)
        return None if stored is None else b"".join((stored.snapshot, *stored.changes))

    def apply(self, group: Sequence[WriteStore], expired: Sequence[str] = ()) -> None:
        """Keep the changes of each call: replace by a snapshot if there is one, then append."""
        for key in expired:
            self._tombstones.pop(key, None)
        for effect in group:
            self._lamport = max(self._lamport, effect.lamport)
            if effect.tombstone is not None:
                self._tombstones[effect.key] = effect.tombstone
            write = effect.write
            if write is None:
                self._documents.pop(effect.key, None)
                self._lives.pop(effect.key, None)
                continue
            if effect.life is not None:
                self._lives[effect.key] = effect.life
            if write.snapshot is not None:
                self._documents[effect.key] = StoredDocument(write.snapshot)
            if write.changes:
                stored = self._documents.setdefault(effect.key, StoredDocument())
                stored.changes.append(write.changes)


class MemoryStore:
    """Documents and tombstones in memory. Every method takes effect at once and none can fail."""

    def __init__(self, entropy: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self._identity = new_identity(entropy)
        self._kept = Kept()

    async def open(self) -> Contents:
        """Return a new identity and no documents."""
        return self._kept.contents(self._identity)

    async def find(self, keys: Collection[str]) -> Contents:
        """Return what is kept of some documents."""
        return self._kept.contents(self._identity, keys)

    async def load(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the bytes of each document, None for one that does not exist."""
        return [self._kept.read(key) for key in keys]

    async def write(self, group: Sequence[WriteStore], expired: Sequence[str] = ()) -> None:
        """Keep the changes of each call."""
        self._kept.apply(group, expired)

    async def close(self) -> None:
        """Do nothing."""
