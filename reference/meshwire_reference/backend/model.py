"""A document as the user has it, and the key under which a node holds it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from meshwire_reference.backend.errors import BadKey
from meshwire_reference.backend.values import Json, shown
from meshwire_reference.core.document_calls import Heads
from meshwire_reference.wire.accept import document_key_fault
from meshwire_spec.numbers import COLLECTION_MAX, DOCUMENT_ID_MAX, DOCUMENT_KEY_MAX


@dataclass(frozen=True, slots=True)
class Document:
    """A document: its collection, its fields, and its id; without an id it is given one.

    `heads` are the hashes of its newest changes, empty for a document that was not read from a
    store.
    """

    collection: str
    fields: Mapping[str, Json]
    id: str = ""
    heads: Heads = field(default=(), compare=False, repr=False)

    @property
    def key(self) -> str:
        """The key of the document, `collection:id`."""
        return f"{self.collection}:{self.id}"


Where: TypeAlias = Callable[[Document], bool]
"""Selects documents."""


def key_of(collection: str, document_id: str) -> str:
    """Return the key of a document. Raises BadKey if no document can have it."""
    key = f"{collection}:{document_id}"
    try:
        fault = document_key_fault(key)
    except UnicodeEncodeError:
        fault = "bad-key"
    if fault is None and ":" not in collection:
        return key
    raise BadKey(
        f"no document can be {shown(document_id)} of {shown(collection)}: a collection has 1 to "
        f"{COLLECTION_MAX} letters, digits, '_', '.' and '-' and is not 'tombstones', an id 1 to "
        f"{DOCUMENT_ID_MAX} bytes without control characters, both {DOCUMENT_KEY_MAX} at most"
    )
