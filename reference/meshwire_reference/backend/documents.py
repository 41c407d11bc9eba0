"""The document store: documents by collection and id, as fields of JSON."""

from __future__ import annotations

import asyncio
import secrets
from functools import partial
from typing import Final, NoReturn

from meshwire_reference.backend.changes import ChangeStream
from meshwire_reference.backend.errors import (
    BackendError,
    BadFields,
    BadKey,
    CannotDelete,
    CannotRead,
    Deleted,
    NotStored,
    TooLarge,
)
from meshwire_reference.backend.model import Document, Where, key_of
from meshwire_reference.backend.values import check_text, fields_of, values_of
from meshwire_reference.core.document_calls import (
    DELETION_MARKS,
    Edit,
    Edited,
    Fields,
    Listed,
    Refused,
    Result,
)
from meshwire_reference.core.effects import LocalRefusal
from meshwire_reference.core.inputs import Deletion
from meshwire_reference.node.driver import Node

ID_BYTES: Final = 16
"""Random bytes of an id that the store gives."""
BY_MAX: Final = 256
"""Bytes of the name of who deletes."""
READ_AT_ONCE: Final = 64
"""Documents that a query reads at a time."""


class DocumentStore:
    """The documents of one backend.

    Every change is durable when its call returns, where the backend has a folder. Every method
    raises BackendError as its docstring says, and NotStored while the store cannot be written.
    """

    def __init__(self, node: Node, payload_cap: int) -> None:
        self._node = node
        self._payload_cap = payload_cap
        self._streams: list[ChangeStream] = []

    async def upsert(self, document: Document, *, replace: bool = False) -> Document:
        """Write the fields of a document, and return it as it is stored.

        Fields that are not given stay, unless `replace` is True. Only what differs is written, so
        what peers change elsewhere in the document is kept. A document that was deleted by marks
        comes back. Raises BadKey, BadFields, TooLarge, Deleted. Source: rows M-03, M-04, D-48.
        """
        document_id = document.id or secrets.token_hex(ID_BYTES)
        key = key_of(document.collection, document_id)
        edit = Edit(key, values_of(document.fields), DELETION_MARKS, exact=replace, as_json=True)
        result = await self._node.user.operate(edit)
        if not isinstance(result, Edited):
            self._refuse(key, result)
        if not result.heads:
            raise BadFields(f"{key} is new, and a document without a field cannot be stored")
        stored = await self.get(document.collection, document_id)
        # A peer may have deleted it in the meantime.
        return stored or Document(document.collection, document.fields, document_id)

    async def get(self, collection: str, document_id: str) -> Document | None:
        """Return a document, None if there is none or it is deleted.

        Raises BadKey. Source: row M-03.
        """
        return await self.read(key_of(collection, document_id))

    async def read(self, key: str) -> Document | None:
        """Return the document with a key, None if there is none or it is deleted."""
        result = await self._node.user.operate(Fields(key))
        if not isinstance(result, Listed):
            self._refuse(key, result)
        if result.fields is None or result.deleted:
            return None
        collection, _, document_id = key.partition(":")
        return Document(collection, fields_of(result.fields), document_id, result.heads)

    async def query(
        self, collection: str | None = None, where: Where | None = None
    ) -> list[Document]:
        """Return the documents of a collection, or of all, that `where` selects.

        Sorted by collection and id. Source: rows M-03, M-19, D-86.
        """
        keys = self.keys(collection)
        found: list[Document] = []
        for at in range(0, len(keys), READ_AT_ONCE):
            read = await asyncio.gather(*map(self.read, keys[at : at + READ_AT_ONCE]))
            found += [one for one in read if one is not None and (where is None or where(one))]
        return found

    async def page(
        self, collection: str | None, after: str, limit: int
    ) -> tuple[list[Document], bool]:
        """Return up to `limit` documents behind a key, and True if there may be more."""
        found: list[Document] = []
        for key in self.keys(collection):
            if key <= after:
                continue
            if len(found) == limit:
                return found, True
            document = await self.read(key)
            if document is not None:
                found.append(document)
        return found, False

    async def count(self, collection: str | None = None, where: Where | None = None) -> int:
        """Return how many documents `query` would return. Source: row M-19."""
        return len(await self.query(collection, where))

    async def remove(self, collection: str, document_id: str, *, by: str = "") -> bool:
        """Delete a document everywhere; return False if there is none.

        In a collection with tombstones the document goes and cannot come back while its tombstone
        lives; elsewhere it is marked as deleted. `by` is who does it, this node if left out. Raises
        BadKey, BadFields, CannotDelete. Source: rows M-05, M-19, D-86.
        """
        key = key_of(collection, document_id)
        check_text(by, "`by`", BY_MAX)
        if await self.read(key) is None:
            return False
        author = by or self._node.endpoint_id.hex()
        result = await self._node.user.operate(Deletion(key, author))
        if result is LocalRefusal.ABSENT:
            return False
        if isinstance(result, LocalRefusal | Refused):
            self._refuse(key, result)
        return True

    def observe(self, collection: str | None = None, where: Where | None = None) -> ChangeStream:
        """Return an async iterator of what happens to documents: Initial, then Updated and Removed.

        Changes count from this call on, and none is lost: several of one document may be one event
        with its latest state, and a reader that is far behind gets another Initial. A change is
        reported once it is durable. Close the stream in the end. Source: rows M-05, M-20.
        """
        stream = ChangeStream(collection, where, self.read, partial(self.query, collection, where))
        forget = self._node.user.observe(stream.note)
        self._streams.append(stream)

        def end() -> None:
            forget()
            self._streams.remove(stream)

        stream.at_end = end
        return stream

    def end_streams(self) -> None:
        """End every stream of `observe`: the backend is closed."""
        for stream in tuple(self._streams):
            stream.close()

    def keys(self, collection: str | None = None) -> list[str]:
        """Return the keys of all documents, deleted ones included, sorted."""
        begin = "" if collection is None else f"{collection}:"
        return sorted(key for key in self._node.keys if key.startswith(begin))

    def _refuse(self, key: str, result: Result | LocalRefusal) -> NoReturn:
        """Raise the error for an operation that was not carried out."""
        if isinstance(result, LocalRefusal):
            error, said = REFUSALS[result]
            raise error(said.format(key=key, cap=self._payload_cap))
        detail = f" ({result.detail})" if isinstance(result, Refused) and result.detail else ""
        reason = result.reason if isinstance(result, Refused) else type(result).__name__
        if reason == "document-limit":
            raise TooLarge(f"{key} costs more to write than a document call may{detail}")
        raise CannotRead(f"the document worker refuses {key}: {reason}{detail}")


REFUSALS: Final[dict[LocalRefusal, tuple[type[BackendError], str]]] = {
    LocalRefusal.DELETED: (
        Deleted,
        "{key} was deleted and its tombstone guards it: use another id, or wait until it expires",
    ),
    LocalRefusal.ABSENT: (BadKey, "there is no document {key}"),
    LocalRefusal.EXPIRES: (
        CannotDelete,
        "{key} cannot be deleted: documents of its collection expire by themselves",
    ),
    LocalRefusal.TOO_LARGE: (
        TooLarge,
        "{key} would have more than {cap} bytes, which no peer takes: divide it into several",
    ),
    LocalRefusal.NOT_STORED: (
        NotStored,
        "the store of the node cannot be written: look for `store-failed` in its log",
    ),
    LocalRefusal.FULL: (
        NotStored,
        "{key} cannot be deleted now: the node holds as many tombstones as it may",
    ),
}
"""What each refusal of the core raises, and what it says."""
