"""Observing documents: what is there, then every change, as often as the reader asks.

Theory of operation. A stream keeps the keys of the documents that have changed and were not read
yet, and reads a document when its turn comes. So several changes of one document that came in the
meantime are one event with the latest state, no change is lost, and a slow reader costs one key per
document. Beyond `BEHIND_MAX` keys the stream forgets them and begins again, with an `Initial`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Self, TypeAlias

from meshwire_reference.backend.errors import BackendError
from meshwire_reference.backend.model import Document, Where
from meshwire_reference.core.document_calls import Heads

BEHIND_MAX: Final = 1024
"""Documents that have changed and were not read yet, beyond which a stream begins again."""


@dataclass(frozen=True, slots=True)
class Initial:
    """Every document that fits: the first event, and again for a reader that is far behind."""

    documents: tuple[Document, ...]


@dataclass(frozen=True, slots=True)
class Updated:
    """A document is new or has changed."""

    document: Document


@dataclass(frozen=True, slots=True)
class Removed:
    """A document was deleted, or does not fit any more."""

    collection: str
    id: str


Change: TypeAlias = Initial | Updated | Removed


def do_nothing() -> None:
    """Do nothing."""


class ChangeStream:
    """An async iterator of changes; `close` it, or use it with `async with`."""

    def __init__(
        self,
        collection: str | None,
        where: Where | None,
        read: Callable[[str], Awaitable[Document | None]],
        query: Callable[[], Awaitable[list[Document]]],
    ) -> None:
        self._prefix = "" if collection is None else f"{collection}:"
        self._where = where
        self._read = read
        self._query = query
        self._changed: dict[str, None] = {}
        self._shown: dict[str, Heads] = {}
        self._is_behind = True
        self._is_closed = False
        self._news = asyncio.Event()
        self.at_end: Callable[[], None] = do_nothing
        """Called once, when the stream is closed."""

    def note(self, key: str) -> None:
        """Note that a document has changed; never waits."""
        if self._is_behind or not key.startswith(self._prefix):
            return
        self._changed[key] = None
        if len(self._changed) > BEHIND_MAX:
            self._changed.clear()
            self._is_behind = True
        self._news.set()

    def close(self) -> None:
        """End the stream: its reader sees the end. A second call does nothing."""
        at_end, self.at_end = self.at_end, do_nothing
        at_end()
        self._is_closed = True
        self._news.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Change:
        """Return the next event; one caller at a time."""
        while not self.is_closed():
            try:
                event = await self._next()
            except BackendError:
                # A reading that the end of the backend has cut short.
                if self.is_closed():
                    break
                raise
            if event is not None:
                return event
        raise StopAsyncIteration

    def is_closed(self) -> bool:
        """Return True if the stream was closed."""
        return self._is_closed

    async def _next(self) -> Change | None:
        """Return the next event, None if there is none yet."""
        if self._is_behind:
            return await self._begin()
        if not self._changed:
            self._news.clear()
            await self._news.wait()
            return None
        key = next(iter(self._changed))
        # First, since it may change again while it is read.
        del self._changed[key]
        try:
            return await self._event_of(key)
        except BaseException:
            # Nothing is lost with a reader that was cancelled.
            self._changed[key] = None
            raise

    async def _begin(self) -> Initial:
        # First: what changes while the documents are read is reported again.
        self._is_behind = False
        try:
            documents = await self._query()
        except BaseException:
            # As below: the reader has seen nothing.
            self._is_behind = True
            raise
        self._shown = {document.key: document.heads for document in documents}
        return Initial(tuple(documents))

    async def _event_of(self, key: str) -> Change | None:
        """Return the event of a document, None if the reader has seen its state already."""
        document = await self._read(key)
        if document is not None and (self._where is None or self._where(document)):
            if self._shown.get(key) == document.heads:
                return None
            self._shown[key] = document.heads
            return Updated(document)
        if self._shown.pop(key, None) is None:
            return None
        collection, _, document_id = key.partition(":")
        return Removed(collection, document_id)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self.close()
