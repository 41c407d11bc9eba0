"""Sync mode, deletion policy and lifetime of documents, by collection."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from meshwire_spec.numbers import (
    CLOSED_COLLECTIONS,
    COLLECTIONS,
    DEFAULT_COLLECTION,
    DEFAULT_TOMBSTONE_TTL_S,
    URGENCIES,
    DeletionPolicy,
    FrameType,
    PolicyRow,
    SyncMode,
    Urgency,
)

PUSHED_AS = {
    # DC-033
    SyncMode.LATEST_ONLY: FrameType.SNAPSHOT,
    SyncMode.WINDOWED_HISTORY: FrameType.SNAPSHOT,
    # DC-034
    SyncMode.FULL_HISTORY: FrameType.DELTA,
}
"""The frame type that carries a document of each mode when this node pushes it (D-07, D-62)."""


ANYONE: Final = frozenset(("anyone",))
"""In the place of endpoint ids."""


@dataclass(frozen=True, slots=True)
class Collections:
    """The collection table of a node; `own` are the rows that its user gives, by name."""

    own: Mapping[str, PolicyRow] = field(default_factory=dict)
    urgencies: Mapping[str, Urgency] = field(default_factory=dict)
    """The class of each collection to which the user gives another one, by its name."""
    senders: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Endpoint ids, in hex, of the peers from which a collection is taken, by its name."""

    def row(self, key: str) -> PolicyRow:
        """Return the row for a document key, or for the name of a collection."""
        # DC-050, DC-070
        name = key.partition(":")[0]
        return self.own.get(name) or COLLECTIONS.get(name, DEFAULT_COLLECTION)

    def admits(self, peer: str, collection: str) -> bool:
        """Return True if a collection is taken from a peer, by its endpoint id in hex."""
        senders = self.senders.get(collection)
        if senders is None:
            return collection not in CLOSED_COLLECTIONS
        return senders == ANYONE or peer in senders

    def push_type(self, key: str) -> FrameType:
        """Return the frame type with which a document is pushed."""
        return PUSHED_AS[self.row(key).mode]

    def urgency(self, key: str) -> Urgency:
        """Return how urgent a document is, from its key."""
        name = key.partition(":")[0]
        return self.urgencies.get(name) or URGENCIES.get(name, Urgency.NORMAL)

    def place(self, key: str) -> tuple[Urgency, bool]:
        """Return the place of a document among those that are offered; the least goes first."""
        return self.urgency(key), self.push_type(key) is FrameType.DELTA

    def obeys_tombstones(self, key: str) -> bool:
        """Return True if a tombstone may remove documents of the key's collection (D-73)."""
        # CT-036
        if key.partition(":")[0] in CLOSED_COLLECTIONS:
            return False
        return self.row(key).deletion is DeletionPolicy.TOMBSTONE

    def tombstone_lifetime_ms(self, key: str) -> int:
        """Return the lifetime of a collection's tombstones (D-78 if the table has none)."""
        lifetime_s = self.row(key).ttl_s
        return 1000 * (DEFAULT_TOMBSTONE_TTL_S if lifetime_s is None else lifetime_s)


PUBLISHED: Final = Collections()
"""The table as the page on documents has it."""
