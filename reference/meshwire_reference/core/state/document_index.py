"""The documents that the node holds: their sizes, and the set that reconciliation compares.

The set is a live index, made at the first run and kept from then on: each document that is added or
removed is an edit of it, so that a run need not list the documents. A node without runs has no
index. It is made in slices, since others wait meanwhile; what changes until it is complete is made
up for at the end. A document that is removed is removed from the set of `by_heads` too.
"""

from collections.abc import Callable, Iterator, MutableMapping
from hashlib import sha256
from itertools import islice
from typing import Final, Protocol, TypeAlias

from meshwire_reference.core.state.head_items import HeadItems
from meshwire_reference.negentropy import Index, Storage

Identify: TypeAlias = Callable[[str], bytes]
"""Returns the id of a document in a run, 32 bytes, from its key."""


TIMESTAMP: Final = 0
"""Timestamp of every item: the time of a listing says nothing about a document (D-88)."""


EDITS: Final = 50
"""Changes of the documents that one slice makes up for."""


class CannotList(Exception):
    """The documents cannot be listed; a peer would take a partial set for the whole."""


class RunItems(Protocol):
    """A set of items that runs compare."""

    def as_storage(self) -> Storage:
        """Return the set, which follows changes of the documents. Raises CannotList."""

    def key_of(self, identity: bytes) -> str | None:
        """Return the key of the document of an item, or None if there is none now."""


def identify_key(key: str) -> bytes:
    """Return the id of a document from its key alone, so that a run finds missing keys only."""
    # NG-015
    return sha256(key.encode()).digest()


class DocumentIndex(MutableMapping[str, int]):
    """Approximate size in bytes of a frame with the whole document, by key."""

    def __init__(self, identify: Identify = identify_key, *, keeps_heads: bool = False) -> None:
        """Begin empty; two nodes must use the same `identify` to compare their sets."""
        self._identify = identify
        self.by_heads = HeadItems(is_kept=keeps_heads)
        self._sizes: dict[str, int] = {}
        self._items: Index | None = None
        self._keys: dict[bytes, str] = {}
        # Documents that were added or removed while they are listed, None at other times.
        self._changed: dict[str, None] | None = None

    def list_in_slices(self) -> Iterator[None]:
        """Make the set for runs, unless there is one; yield between slices of the work."""
        if self._items is not None:
            return
        changed: dict[str, None] = {}
        self._changed = changed
        keys: dict[bytes, str] = {}
        items = yield from Index.in_slices(self._identify_each(list(self._sizes), keys))
        while changed:
            for key in list(islice(changed, EDITS)):
                del changed[key]
                self._edit(items, keys, key)
            if changed:
                yield
        if self._items is None:
            self._items, self._keys, self._changed = items, keys, None

    def _identify_each(
        self, documents: list[str], keys: dict[bytes, str]
    ) -> Iterator[tuple[int, bytes]]:
        """Yield the item of each document, and note its key."""
        for key in documents:
            identity = self._identify(key)
            keys[identity] = key
            yield TIMESTAMP, identity

    def _edit(self, items: Index, keys: dict[bytes, str], key: str) -> None:
        """Add a document to a set, or remove it, as it is held now or not."""
        identity = self._identify(key)
        if key in self._sizes:
            keys[identity] = key
            items.insert(TIMESTAMP, identity)
        elif keys.pop(identity, None) is not None:
            items.delete(TIMESTAMP, identity)

    def as_storage(self) -> Storage:
        """Return the set for runs, made at once if need be; it follows changes of the documents.

        Raises CannotList, which this index in memory never does.
        """
        for _ in self.list_in_slices():
            continue
        assert self._items is not None, "the documents were listed"
        return self._items

    def key_of(self, identity: bytes) -> str | None:
        """Return the key of an item of the set, or None if it was removed."""
        return self._keys.get(identity)

    def __getitem__(self, key: str) -> int:
        return self._sizes[key]

    def __setitem__(self, key: str, size: int) -> None:
        is_new = key not in self._sizes
        self._sizes[key] = size
        if is_new:
            self.by_heads.note(key, ())
            self._note_change(key)

    def __delitem__(self, key: str) -> None:
        del self._sizes[key]
        self.by_heads.remove(key)
        self._note_change(key)

    def _note_change(self, key: str) -> None:
        if self._items is not None:
            self._edit(self._items, self._keys, key)
        elif self._changed is not None:
            self._changed[key] = None

    def __iter__(self) -> Iterator[str]:
        return iter(self._sizes)

    def __len__(self) -> int:
        return len(self._sizes)

    def __contains__(self, key: object) -> bool:
        return key in self._sizes
