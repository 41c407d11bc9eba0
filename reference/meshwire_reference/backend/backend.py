"""A node within this process: opened on a configuration, closed in the end."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from meshwire_reference.backend.documents import DocumentStore
from meshwire_reference.node.config import Config
from meshwire_reference.node.driver import Node


class Backend:
    """A node with its parts: `document_store`. Source: row M-02."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.node = Node(config)
        self.document_store = DocumentStore(self.node, config.settings.payload_cap)

    @classmethod
    async def open(cls, config: Config) -> Self:
        """Open the store, start the document worker, and go online; close it in the end.

        Raises what `Node.start` raises.
        """
        backend = cls(config)
        try:
            await backend.node.start()
        except BaseException:
            await backend.close()
            raise
        return backend

    async def close(self) -> None:
        """Close every connection and end the worker; what was acknowledged is durable."""
        await self.node.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
