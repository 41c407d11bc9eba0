"""The node as a Python library: its documents, its sync, and its peers.

`Backend.open` begins, `close` ends; one that is used with `async with` ends by itself.
"""

from meshwire_reference.backend.backend import Backend
from meshwire_reference.backend.documents import Document, DocumentStore, Where
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
from meshwire_reference.backend.values import Json

__all__ = [
    "Backend",
    "BackendError",
    "BadFields",
    "BadKey",
    "CannotDelete",
    "CannotRead",
    "Deleted",
    "Document",
    "DocumentStore",
    "Json",
    "NotStored",
    "TooLarge",
    "Where",
]
