"""The sync engine and the peers: whether a node is online, whom it dials, and who is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from meshwire_reference.backend.changes import do_nothing
from meshwire_reference.backend.errors import BadAddress, NotConnected
from meshwire_reference.backend.failures import explained
from meshwire_reference.core.inputs import PeerRole
from meshwire_reference.discovery.announced import DiscoveryEvent, ServiceFound
from meshwire_reference.node.config import Config
from meshwire_reference.node.driver import Node
from meshwire_reference.node.online import Dial
from meshwire_reference.transport.base import TransportError
from meshwire_spec.states import SessionState

NO_SUBSCRIPTION: Final = (
    "sync/1 has no message that asks a peer for some documents only, and a node that dropped the "
    "others would not pass them on to its own peers: everything is received and kept"
)
"""What a subscription says of itself."""


@dataclass(frozen=True, slots=True)
class KnownPeer:
    """A peer that is connected or dialled.

    `endpoint_id` is 64 hex digits, empty while nobody has answered at the address. `addresses` are
    those at which this node dials it. `why` is the reason of the last failure, empty without one.
    """

    endpoint_id: str
    addresses: tuple[str, ...]
    is_connected: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class Subscription:
    """What was asked for; `limits_peers` is False, for the reason in `why_not`."""

    collection: str | None
    limits_peers: bool = False
    why_not: str = NO_SUBSCRIPTION


@dataclass(frozen=True, slots=True)
class RefusedPeer:
    """A connection that this node has refused, and when, in ms since 1970."""

    endpoint_id: str
    reason: str
    at_ms: int


class SyncEngine:
    """Whether documents are exchanged with peers."""

    def __init__(self, node: Node) -> None:
        self._node = node

    @property
    def is_syncing(self) -> bool:
        """True between `start_sync` and `stop_sync`. Source: row M-19."""
        return self._node.network.is_open

    async def start_sync(self) -> None:
        """Bind the addresses, dial the peers, and exchange documents with all that are there.

        Does nothing while it is done. Raises OSError or TransportError for an address that cannot
        be bound. Source: rows M-06, M-15.
        """
        if self.is_syncing:
            return
        try:
            await self._node.go_online()
        except BaseException:
            await self._node.go_offline()
            raise

    async def stop_sync(self) -> None:
        """Close every connection, and listen and dial no longer; the documents stay usable.

        Port 0 takes another port at the next start. Source: row M-19.
        """
        await self._node.go_offline()

    def subscribe(self, collection: str | None = None) -> Subscription:
        """Ask for the documents of a collection, or of all; the result says what that limits.

        Source: row M-06.
        """
        return Subscription(collection)

    async def force_sync(self) -> None:
        """Offer every document again to every peer that is connected. Source: row M-19."""
        self._node.offer_again()


class PeerDiscovery:
    """The peers of a node: those that it dials, and those that have dialled it."""

    def __init__(self, node: Node, config: Config) -> None:
        self._node = node
        self._config = config

    async def start(self) -> None:
        """Dial the addresses that were added; so it is from the beginning. Source: row M-19."""
        self._node.network.gate.set()

    async def stop(self) -> None:
        """Dial nobody any more; connections that are open stay. Source: row M-19."""
        self._node.network.gate.clear()

    def add_peer(self, address: str) -> None:
        """Keep a connection to an address while the node is syncing, `tcp://127.0.0.1:4711`.

        An address that is known already is left alone. Raises BadAddress. Source: rows M-08, M-19.
        """
        self._add(address)

    def _add(self, address: str) -> Dial:
        try:
            return self._node.network.add(address, lab=self._config.lab)
        except TransportError as exc:
            raise BadAddress(str(exc)) from exc

    def announced_peers(self) -> tuple[ServiceFound, ...]:
        """Return the services that other machines announce; none where nothing is discovered.

        Which node is there is known once it is connected. Source: TR-062, rows M-07, M-19.
        """
        discovery = self._node.discovery
        return () if discovery is None else discovery.found

    def on_peer_event(self, listener: Callable[[DiscoveryEvent], None]) -> Callable[[], None]:
        """Call `listener` for each service that is found, lost or ignored; return what ends that.

        It is called on the event loop and must not wait. Without discovery it is never called.
        Source: row M-19.
        """
        discovery = self._node.discovery
        if discovery is None:
            return do_nothing
        discovery.listeners.append(listener)
        return partial(discovery.forget, listener)

    def assign_role(self, peer_id: bytes, role: PeerRole | None) -> None:
        """Say what a peer is to this node from now on: what it is sent and may send.

        None takes its role away; a node that knows no role sends everything to everyone. Source:
        rows A-20, A-51.
        """
        self._node.assign_role(peer_id, role)

    def discovered_peers(self) -> list[KnownPeer]:
        """Return the peers that are connected, then the addresses where none is.

        Source: rows M-07, M-08.
        """
        dials = self._node.network.dials.values()
        peers = []
        connected = dict.fromkeys(
            one.peer_id for one in self._node.peers if one.state is SessionState.READY
        )
        for peer_id in connected:
            addresses = tuple(dial.address for dial in dials if dial.peer_id == peer_id)
            peers.append(KnownPeer(peer_id.hex(), addresses, is_connected=True))
        for dial in dials:
            if dial.peer_id not in connected:
                known = "" if dial.peer_id is None else dial.peer_id.hex()
                peers.append(KnownPeer(known, (dial.address,), is_connected=False, why=dial.why))
        return peers

    def refused_peers(self) -> list[RefusedPeer]:
        """Return the latest connections that this node has refused, the oldest first."""
        return [
            RefusedPeer(refusal.peer, refusal.reason, at_ms)
            for at_ms, refusal in self._node.network.refusals
        ]

    async def wait_for_peer(self, name: str | None = None) -> KnownPeer:
        """Wait until a peer is connected, and return it; `asyncio.timeout` limits the wait.

        `name` is an endpoint id or an address that is dialled; any peer without it. Source: M-19.
        """
        await self._node.network.changed.until(lambda: self._find(name) is not None)
        found = self._find(name)
        assert found is not None, "nothing runs between the wait and this"
        return found

    async def connect(self, address: str) -> KnownPeer:
        """Add a peer, wait until it is connected, and return it.

        Raises BadAddress; NotConnected if the first dial fails or the peer refuses this node, or if
        this node is not syncing. The address is dialled again all the same. Source: row M-09.
        """
        dial = self._add(address)
        if not self._node.network.is_open:
            raise NotConnected(f"{address} is dialled once the node is syncing")
        failures = dial.failures
        await self._node.network.changed.until(
            lambda: self._find(address) is not None or dial.failures > failures
        )
        found = self._find(address)
        if found is None:
            raise NotConnected(
                f"{address} was not connected: {explained(dial.why)}; it is dialled again and again"
            )
        return found

    def _find(self, name: str | None) -> KnownPeer | None:
        """Return a peer that is connected."""
        for peer in self.discovered_peers():
            if peer.is_connected and (name in (None, peer.endpoint_id) or name in peer.addresses):
                return peer
        return None
