"""Why a peer does not have a document: what became of it, and what it waits for.

A node knows what it sent, and what it did with the frames of its peers. What a peer did with a
frame that has left, only that peer knows: its own status says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from meshwire_reference.backend.documents import DocumentStore
from meshwire_reference.backend.failures import explained
from meshwire_reference.backend.model import key_of
from meshwire_reference.backend.peers import PeerDiscovery
from meshwire_reference.core.state.document_fates import Fate, Noted
from meshwire_reference.core.state.waits import Cause, Wait
from meshwire_reference.node.driver import Node
from meshwire_spec.states import SessionState

__all__ = ["Cause", "DocumentStatus", "Fate", "Noted", "PeerDocument", "Wait", "status_of"]

FATES: Final[Mapping[Fate, str]] = {
    Fate.OFFERED: "queued for it",
    Fate.SENT: "sent to it",
    Fate.LOST: "lost on the way to it",
    Fate.NOT_SENT: "not sent to it",
    Fate.RECEIVED: "received from it",
    Fate.APPLIED: "a change of it applied here",
    Fate.EQUAL: "found to be the same on both sides",
    Fate.DELETED: "deleted here by a tombstone of it",
    Fate.GUARDED: "held back by a tombstone of this node",
    Fate.REFUSED: "refused as it came from it",
    Fate.IGNORED: "without effect as it came from it",
    Fate.EXPIRED: "its tombstone had expired as it came",
    Fate.AWAITING: "came with changes whose ancestors have not come",
}
"""The words for each fate, between this node and a peer."""
CAUSES: Final[Mapping[Cause, str]] = {
    Cause.CONNECTION: "a connection",
    Cause.HANDSHAKE: "the end of the handshake",
    Cause.ROLE: "another role of the peer: what goes its way does not go to a peer of this one",
    Cause.TOMBSTONES: "the tombstones, which are sent before documents",
    Cause.RECONCILIATION: "a reconciliation, which finds out whether the peer lacks it",
    Cause.TURN: "its turn, behind {ahead} others",
    Cause.CREDIT: "frames on their way, of which the peer takes no more at once",
    Cause.ROOM: "room for what is made for peers",
    Cause.INTERVAL: "the end of the interval between two snapshots",
    Cause.WORK: "calls of the document that are under way",
    Cause.WRITE: "its last change to be durable",
}
"""The words for each cause of waiting."""
MS_PER_S: Final = 1000


@dataclass(frozen=True, slots=True)
class PeerDocument:
    """One document between this node and one peer.

    `why` is the reason of the last failure of a peer that is not connected. `noted` has what became
    of the document, as far as it is remembered; `waits` what it waits for now.
    """

    endpoint_id: str
    addresses: tuple[str, ...]
    noted: Mapping[Fate, Noted]
    waits: tuple[Wait, ...]
    is_connected: bool = False
    why: str = ""

    def lines(self) -> Iterator[str]:
        """Yield the answer in words."""
        name = self.endpoint_id or " ".join(self.addresses)
        why = f": {explained(self.why)}" if self.why else ""
        yield f"peer {name} is {'connected' if self.is_connected else f'not connected{why}'}"
        for fate, one in sorted(self.noted.items(), key=lambda item: (item[1].at_ms, item[0])):
            times = "once" if one.times == 1 else f"{one.times} times"
            detail = f" ({one.why})" if one.why else ""
            yield f"  {FATES[fate]}: {times}, last {_time(one.at_ms)}{detail}"
        if not self.noted:
            yield "  nothing is noted about it"
        for wait in self.waits:
            yield f"  waits for {CAUSES[wait.cause].format(ahead=wait.ahead)}"


@dataclass(frozen=True, slots=True)
class DocumentStatus:
    """A document at this node, and between it and its peers.

    `size` is that of the document as it is stored, None without one. `is_deleted` is True
    for one that has marks of deletion, and for one that a tombstone keeps away.
    """

    collection: str
    id: str
    size: int | None
    tombstone_expires_ms: int | None
    peers: tuple[PeerDocument, ...]
    is_deleted: bool = False

    def lines(self) -> Iterator[str]:
        """Yield the answer in words, a line each."""
        here = "not on this node" if self.size is None else f"on this node, {self.size} bytes"
        if self.tombstone_expires_ms is not None:
            here += f", deleted by a tombstone that expires {_time(self.tombstone_expires_ms)}"
        elif self.is_deleted:
            here += ", deleted by its marks"
        yield f"{self.collection}:{self.id} is {here}"
        for peer in self.peers:
            yield from peer.lines()
        if not self.peers:
            yield "there are no peers"


def _time(at_ms: int) -> str:
    try:
        return datetime.fromtimestamp(at_ms // MS_PER_S, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"at {at_ms} ms"


async def status_of(
    node: Node, store: DocumentStore, discovery: PeerDiscovery, collection: str, document_id: str
) -> DocumentStatus:
    """Return what is known of a document, of each peer that is known too. Raises BadKey."""
    key = key_of(collection, document_id)
    expires_ms = node.tombstone_expires_ms(key)
    size = node.size_of(key)
    is_deleted = expires_ms is not None
    if size is not None and not is_deleted:
        is_deleted = await store.read(key) is None
    peers = tuple(_peers(node, discovery, key))
    return DocumentStatus(collection, document_id, size, expires_ms, peers, is_deleted=is_deleted)


def _peers(node: Node, discovery: PeerDiscovery, key: str) -> Iterator[PeerDocument]:
    """Yield the peers that are connected or dialled, then others of which something is noted."""
    waits = {
        one.peer_id.hex(): node.waits(one.connection, key)
        for one in node.peers
        if one.state is SessionState.READY
    }
    known = set()
    for peer in discovery.discovered_peers():
        known.add(peer.endpoint_id)
        noted = node.fates.of(peer.endpoint_id, key)
        at_rest = () if peer.is_connected else (Wait(Cause.CONNECTION),)
        yield PeerDocument(
            peer.endpoint_id,
            peer.addresses,
            noted,
            waits.get(peer.endpoint_id, at_rest),
            is_connected=peer.is_connected,
            why=peer.why,
        )
    for endpoint_id in dict.fromkeys(node.fates.peers_of(key)):
        if endpoint_id not in known:
            noted = node.fates.of(endpoint_id, key)
            yield PeerDocument(endpoint_id, (), noted, (Wait(Cause.CONNECTION),))
