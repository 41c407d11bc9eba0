"""A node within this process: opened on a configuration, closed in the end."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from meshwire_reference.backend.document_status import DocumentStatus, status_of
from meshwire_reference.backend.documents import DocumentStore
from meshwire_reference.backend.errors import NotListening
from meshwire_reference.backend.peers import PeerDiscovery, SyncEngine
from meshwire_reference.backend.statistics import NodeStatistics, statistics_of
from meshwire_reference.node.config import Config
from meshwire_reference.node.driver import Node
from meshwire_reference.transport.base import TransportError


class Backend:
    """A node with its three parts: `document_store`, `sync_engine` and `peer_discovery`.

    Made by `open`. Source: row M-02.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.node = Node(config)
        self.document_store = DocumentStore(self.node, config.settings.payload_cap)
        self.sync_engine = SyncEngine(self.node)
        self.peer_discovery = PeerDiscovery(self.node, config)

    @property
    def endpoint_id(self) -> str:
        """The identity that peers see: 64 hex digits."""
        return self.node.endpoint_id.hex()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Addresses at which peers can dial, while the node is syncing."""
        return self.node.addresses

    @classmethod
    async def open(cls, config: Config) -> Self:
        """Open the store and start the document worker; `close` it in the end.

        The documents can be used at once; `sync_engine.start_sync` goes online. Raises StoreError
        for a store that cannot be used, AddressRefused for a peer that may not be dialled,
        Unavailable without a worker, BadFolder for a folder that cannot be loaded.
        """
        backend = cls(config)
        try:
            await backend.node.open()
        except BaseException:
            await backend.close()
            raise
        return backend

    async def close(self) -> None:
        """Close every connection and end the worker; what was acknowledged is durable."""
        self.document_store.end_streams()
        await self.node.close()

    def statistics(self) -> NodeStatistics:
        """Return every counter, in all and by peer, as it is now. Source: rows A-75, N-18."""
        return statistics_of(self.node)

    async def document_status(self, collection: str, document_id: str) -> DocumentStatus:
        """Return why each peer has a document or not, as far as this node knows. Raises BadKey."""
        parts = self.node, self.document_store, self.peer_discovery
        return await status_of(*parts, collection, document_id)

    async def reset(self) -> None:
        """Begin anew without documents, peers and counts; only for a node for tests.

        Raises NotListening if an address cannot be bound again.
        """
        self.document_store.end_streams()
        try:
            await self.node.reset()
        except (TransportError, OSError) as exc:
            raise NotListening(f"the node is empty and unreachable: {exc}; start it again") from exc

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
