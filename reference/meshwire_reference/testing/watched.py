"""A node whose every input can be waited for, and documents in the process of the test.

The documents of a node are in a worker process, which takes longer to start than a conversation to
play. Tests about bytes that a deployed peer wrote need no protection from them.
"""

from __future__ import annotations

import asyncio
from typing import Any

from meshwire_reference.core.document_calls import (
    Call,
    Each,
    Fields,
    Listed,
    Result,
    Together,
)
from meshwire_reference.core.inputs import Input
from meshwire_reference.documents.process import DocumentSettings
from meshwire_reference.documents.table import Table
from meshwire_reference.node.config import Config
from meshwire_reference.node.driver import Node
from meshwire_reference.testing.progress import Progress


class DocumentsHere:
    """Carries out the calls of a node at once; in the place of its supervisor."""

    def __init__(self, _load: Any, settings: DocumentSettings, _on_event: Any) -> None:
        self._table = Table(settings.worker.actor)

    async def start(self) -> None:
        """Start nothing."""

    async def close(self) -> None:
        """End nothing."""

    def submit(self, call: Call) -> asyncio.Future[Result]:
        """Carry out a call."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        future.set_result(self._table.answer(call, None))
        return future

    def submit_together(self, together: Together) -> asyncio.Future[Result | Each]:
        """Carry out several calls."""
        future: asyncio.Future[Result | Each] = asyncio.get_running_loop().create_future()
        results = tuple(self._table.answer(call, None) for call in together.calls)
        future.set_result(Each(results))
        return future


class WatchedNode(Node):
    """A node whose inputs are progress."""

    def __init__(self, config: Config) -> None:
        self.progress = Progress()
        super().__init__(config)

    def _feed(self, happened: Input) -> None:
        super()._feed(happened)
        self.progress.note()

    @property
    def taken_bytes(self) -> int:
        """Bytes of all streams that have come."""
        return self.statistics.snapshot().numbers["received_bytes"]

    async def settled(self, size: int, *, open_streams: int = 0) -> None:
        """Wait until this number of bytes has come, and everything that they set off is over."""

        def is_settled() -> bool:
            at = self.outstanding
            is_busy = at.documents or at.held or at.outbound_bytes or at.streams > open_streams
            return self.taken_bytes >= size and not is_busy

        await self.progress.until(is_settled)

    async def heads(self, key: str) -> list[str]:
        """Return the heads of a document in hex, none where there is no such document."""
        listed = await self.user.operate(Fields(key))
        assert isinstance(listed, Listed), listed
        return [head.hex() for head in listed.heads]

    async def fields(self, key: str) -> dict[str, object] | None:
        """Return the root fields of a document, None where there is no such document."""
        listed = await self.user.operate(Fields(key))
        assert isinstance(listed, Listed), listed
        if listed.fields is None:
            return None
        return {name: value.value for name, value in listed.fields.items()}
