"""The node as a Python library: its documents, its sync, and its peers.

`Backend.open` begins on a configuration of `make_config`, `close` ends; used with `async with` it
ends by itself.
"""

from meshwire_reference.backend.backend import Backend
from meshwire_reference.backend.changes import Change, ChangeStream, Initial, Removed, Updated
from meshwire_reference.backend.document_status import (
    Cause,
    DocumentStatus,
    Fate,
    Noted,
    PeerDocument,
    Wait,
)
from meshwire_reference.backend.documents import DocumentStore
from meshwire_reference.backend.errors import (
    BackendError,
    BadAddress,
    BadFields,
    BadKey,
    CannotDelete,
    CannotRead,
    Deleted,
    NotConnected,
    NotListening,
    NotStored,
    TooLarge,
)
from meshwire_reference.backend.model import Document, Where
from meshwire_reference.backend.peers import (
    KnownPeer,
    PeerDiscovery,
    RefusedPeer,
    Subscription,
    SyncEngine,
)
from meshwire_reference.backend.statistics import NodeStatistics
from meshwire_reference.backend.values import Json
from meshwire_reference.core.inputs import PeerRole
from meshwire_reference.node.config import Choices, Config, ConfigError, make_config

__all__ = [
    "Backend",
    "BackendError",
    "BadAddress",
    "BadFields",
    "BadKey",
    "CannotDelete",
    "CannotRead",
    "Cause",
    "Change",
    "ChangeStream",
    "Choices",
    "Config",
    "ConfigError",
    "Deleted",
    "Document",
    "DocumentStatus",
    "DocumentStore",
    "Fate",
    "Initial",
    "Json",
    "KnownPeer",
    "NodeStatistics",
    "NotConnected",
    "NotListening",
    "NotStored",
    "Noted",
    "PeerDiscovery",
    "PeerDocument",
    "PeerRole",
    "RefusedPeer",
    "Removed",
    "Subscription",
    "SyncEngine",
    "TooLarge",
    "Updated",
    "Wait",
    "Where",
    "make_config",
]
