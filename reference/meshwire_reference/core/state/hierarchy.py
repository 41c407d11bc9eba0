"""The places of the peers in a hierarchy: what is sent to each of them, and taken from it.

A node that knows the role of none of its peers sends everything to everyone. One that knows some
has a parent, children, or both; a peer without a role is lateral: neither (D-70).
"""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from meshwire_reference.core.inputs import PeerRole
from meshwire_reference.core.state.policy import Collections
from meshwire_spec.numbers import CLOSED_COLLECTIONS, Direction, FrameType

Admits: TypeAlias = Callable[[str, str, int], bool]
"""Whether a peer, by its endpoint id in hex, may send frames of a collection and type."""

EVERYONE: Final = frozenset(PeerRole)
DOWNWARD: Final = "downward"

DOCUMENTS_GO: Final[Mapping[str, frozenset[PeerRole]]] = {
    "upward": frozenset((PeerRole.PARENT,)),
    DOWNWARD: frozenset((PeerRole.CHILD,)),
    "lateral": frozenset((PeerRole.LATERAL,)),
    "broadcast": EVERYONE,
}
"""The peers that documents of a direction are sent to."""
TOMBSTONES_GO: Final[Mapping[Direction, frozenset[PeerRole]]] = {
    Direction.BIDIRECTIONAL: EVERYONE,
    Direction.UP_ONLY: frozenset((PeerRole.PARENT,)),
    Direction.DOWN_ONLY: frozenset((PeerRole.CHILD,)),
    Direction.SYSTEM_WIDE: EVERYONE,
}
"""The peers that tombstones with a direction byte are sent to."""


class Hierarchy:
    """The roles of the peers, by endpoint id in hex."""

    def __init__(
        self,
        roles: Mapping[str, PeerRole],
        collections: Collections,
        admits: Admits | None = None,
    ) -> None:
        self._roles = dict(roles)
        self._collections = collections
        self._admits = admits

    def role_of(self, peer: str) -> PeerRole | None:
        """Return the role of a peer, or None in a node that knows no role at all."""
        return self._roles.get(peer, PeerRole.LATERAL) if self._roles else None

    def assign(self, peer: str, role: PeerRole | None) -> None:
        """Give a peer a role, or take it away."""
        if role is None:
            self._roles.pop(peer, None)
        else:
            self._roles[peer] = role

    def sends_document(self, peer: str, key: str) -> bool:
        """Return True if a document goes to a peer that has not asked for it."""
        # DC-071
        role = self.role_of(peer)
        return role is None or role in DOCUMENTS_GO[self._collections.row(key).batch_direction]

    def sends_tombstone(self, peer: str, direction: Direction) -> bool:
        """Return True if a tombstone with this direction byte goes to a peer."""
        # TS-051
        role = self.role_of(peer)
        return role is None or role in TOMBSTONES_GO[direction]

    def is_closed(self, peer: str, key: str, frame_type: int) -> bool:
        """Return True if nothing of a collection is taken from a peer, reads included."""
        collection = key.partition(":")[0]
        if self._admits is not None:
            return not self._admits(peer, collection, frame_type)
        # DC-073
        return collection in CLOSED_COLLECTIONS and not self._collections.admits(peer, collection)

    def only_asks(self, peer: str, key: str) -> bool:
        """Return True if a peer may ask for a document, and may not change it."""
        # DC-087
        if self._admits is None and not self._collections.admits(peer, key.partition(":")[0]):
            return True
        # DC-072
        is_downward = self._collections.row(key).batch_direction == DOWNWARD
        return is_downward and self.role_of(peer) is PeerRole.CHILD

    def takes_tombstone(self, peer: str, key: str, direction: Direction) -> bool:
        """Return True if a tombstone of a peer for the document of a key is taken."""
        if self.is_closed(peer, key, FrameType.TOMBSTONE) or self.only_asks(peer, key):
            return False
        # TS-052
        return direction is not Direction.DOWN_ONLY or self.role_of(peer) is not PeerRole.CHILD
