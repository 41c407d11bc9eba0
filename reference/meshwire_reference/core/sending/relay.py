"""Who is told of a change: every ready peer but the one that brought it (D-55, D-70)."""

from collections.abc import Iterator
from typing import Protocol

from meshwire_reference.core.sending.outbound import Outbound
from meshwire_reference.core.sending.parcels import Kind


class Peer(Protocol):
    """What routing needs of a session."""

    connection: int
    outbound: Outbound

    @property
    def is_ready(self) -> bool:
        """Say whether the peer has proven itself, or need not."""
        ...


class Routing:
    """The sessions of a node, and what a change in one means for the others."""

    def __init__(self) -> None:
        self.peers: dict[int, Peer] = {}

    def pass_on_document(self, key: str, source: int) -> None:
        """Queue a changed document for all others."""
        # DC-030, DC-031
        for peer in self._others(source):
            peer.outbound.add(Kind.PUSH, key)

    def pass_on_tombstone(self, key: str, source: int) -> None:
        """Queue a new or greater tombstone for all others."""
        # TS-037, TS-038
        for peer in self._others(source):
            peer.outbound.add(Kind.TOMBSTONE, key)

    def _others(self, source: int) -> Iterator[Peer]:
        for peer in list(self.peers.values()):
            if peer.is_ready and peer.connection != source:
                yield peer
