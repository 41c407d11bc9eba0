"""Who is told of a change: every ready peer but the one that brought it (D-55, D-70)."""

from collections.abc import Iterator
from typing import Protocol

from meshwire_reference.core.context import Context
from meshwire_reference.core.sending.outbound import Outbound
from meshwire_reference.core.sending.parcels import Kind
from meshwire_reference.core.switches import Switch


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

    def __init__(self, context: Context) -> None:
        self._context = context
        self.peers: dict[int, Peer] = {}

    def pass_on_document(self, key: str, source: int) -> None:
        """Queue a changed document for all others."""
        # DC-030, DC-031
        if self._context.has(Switch.NO_RELAY):
            return
        for peer in self._others(source, echo=Switch.ECHO_TO_SOURCE):
            peer.outbound.add(Kind.PUSH, key)

    def pass_on_tombstone(self, key: str, source: int) -> None:
        """Queue a new or greater tombstone for all others."""
        # TS-037, TS-038
        if self._context.has(Switch.TOMBSTONE_NOT_RELAYED):
            return
        for peer in self._others(source, echo=Switch.TOMBSTONE_ECHO):
            peer.outbound.add(Kind.TOMBSTONE, key)

    def _others(self, source: int, *, echo: Switch) -> Iterator[Peer]:
        for peer in list(self.peers.values()):
            if peer.is_ready and (peer.connection != source or self._context.has(echo)):
                yield peer
