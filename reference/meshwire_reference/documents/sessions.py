"""Sync states of the worker: one per (connection, key), bounded per connection.

A state cannot be saved or copied, so a session also keeps what a new one can be built from: the
heads that both sides are known to share.
Losing a session is never wrong, only costlier: the next message starts the exchange afresh.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from automerge.core import SyncState

from meshwire_reference.core.document_calls import Connection, Heads

SESSION_BYTES: Final = 512
"""What a session is taken to hold besides the message it has kept."""
CONNECTION_BYTES_MAX: Final = 32 * 2**20
"""What the sessions of one connection may hold; beyond it the longest unused go."""


@dataclass(slots=True)
class Session:
    """The exchange about one document with one peer."""

    state: SyncState = field(default_factory=SyncState)
    shared: Heads = ()
    """Heads that the peer has shown and this node holds."""
    reading: bool = False
    """True while this node's own read (F2) has no answer."""
    resent_at: Heads | None = None
    """Local heads at which everything was sent once more to a peer that had shown none."""
    weight: int = SESSION_BYTES


class Sessions:
    """All sessions of the worker."""

    def __init__(self) -> None:
        self._sessions: dict[Connection, OrderedDict[str, Session]] = {}
        self._weights: dict[Connection, int] = {}

    def get(self, connection: Connection, key: str) -> Session | None:
        """Return the session, None when there is none, and count it as used."""
        sessions = self._sessions.get(connection)
        if sessions is None or key not in sessions:
            return None
        sessions.move_to_end(key)
        return sessions[key]

    def put(self, connection: Connection, key: str, session: Session, kept_bytes: int) -> None:
        """Keep a session whose state has grown by a message of this size."""
        self.remove(connection, key)
        session.weight = SESSION_BYTES + kept_bytes
        sessions = self._sessions.setdefault(connection, OrderedDict())
        sessions[key] = session
        weight = self._weights.get(connection, 0) + session.weight
        while weight > CONNECTION_BYTES_MAX and len(sessions) > 1:
            _, oldest = sessions.popitem(last=False)
            weight -= oldest.weight
        self._weights[connection] = weight

    def remove(self, connection: Connection, key: str) -> None:
        """Remove one session; removing none is fine."""
        session = self._sessions.get(connection, OrderedDict()).pop(key, None)
        if session is not None:
            self._weights[connection] -= session.weight

    def forget(self, connection: Connection) -> None:
        """Remove every session of a connection."""
        self._sessions.pop(connection, None)
        self._weights.pop(connection, None)

    def drop(self, key: str) -> None:
        """Remove the sessions of every connection about one document."""
        for connection in self._sessions:
            self.remove(connection, key)
