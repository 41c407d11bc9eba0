"""The documents that the node holds: their sizes, and the set that reconciliation compares.

The set is a live index, made at the first run and kept from then on: each document that is added or
removed is an edit of it, so that a run need not list the documents. A node without runs has no
index.
"""

from collections.abc import Callable, Iterator, MutableMapping
from hashlib import sha256
from typing import Final, TypeAlias

from meshwire_reference.negentropy import Index, Storage

Identify: TypeAlias = Callable[[str], bytes]
"""Returns the id of a document in a run, 32 bytes, from its key."""


TIMESTAMP: Final = 0
"""Timestamp of every item: the time of a listing says nothing about a document (D-88)."""


class CannotList(Exception):
    """The documents cannot be listed; a peer would take a partial set for the whole."""


def identify_key(key: str) -> bytes:
    """Return the id of a document from its key alone, so that a run finds missing keys only."""
    # NG-015
    return sha256(key.encode()).digest()


class DocumentIndex(MutableMapping[str, int]):
    """Approximate size in bytes of a frame with the whole document, by key."""

    def __init__(self, identify: Identify = identify_key) -> None:
        """Begin empty; two nodes must use the same `identify` to compare their sets."""
        self._identify = identify
        self._sizes: dict[str, int] = {}
        self._items: Index | None = None
        self._keys: dict[bytes, str] = {}

    def as_storage(self) -> Storage:
        """Return the set for runs; it follows changes of the documents.

        Raises CannotList, which this index in memory never does.
        """
        if self._items is None:
            self._keys = {self._identify(key): key for key in self._sizes}
            self._items = Index((TIMESTAMP, identity) for identity in self._keys)
        return self._items

    def key_of(self, identity: bytes) -> str | None:
        """Return the key of an item of the set, or None if it was removed."""
        return self._keys.get(identity)

    def __getitem__(self, key: str) -> int:
        return self._sizes[key]

    def __setitem__(self, key: str, size: int) -> None:
        is_new = key not in self._sizes
        self._sizes[key] = size
        if is_new and self._items is not None:
            identity = self._identify(key)
            self._keys[identity] = key
            self._items.insert(TIMESTAMP, identity)

    def __delitem__(self, key: str) -> None:
        del self._sizes[key]
        if self._items is None:
            return
        identity = self._identify(key)
        del self._keys[identity]
        self._items.delete(TIMESTAMP, identity)

    def __iter__(self) -> Iterator[str]:
        return iter(self._sizes)

    def __len__(self) -> int:
        return len(self._sizes)

    def __contains__(self, key: object) -> bool:
        return key in self._sizes
