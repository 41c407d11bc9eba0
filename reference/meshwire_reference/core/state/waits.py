"""What a document waits for on its way to a peer, as this node sees it now."""

from dataclasses import dataclass
from enum import StrEnum


class Cause(StrEnum):
    """What has to happen first."""

    CONNECTION = "connection"
    HANDSHAKE = "handshake"
    ROLE = "role"
    """Documents or tombstones of its direction do not go to a peer of this role."""
    TOMBSTONES = "tombstones"
    """The initial exchange sends every tombstone before the first document."""
    RECONCILIATION = "reconciliation"
    """A run finds out whether the peer lacks the document."""
    TURN = "turn"
    CREDIT = "credit"
    """As many frames are on their way to the peer as may be."""
    ROOM = "room"
    """As many bytes are made for peers as may be."""
    INTERVAL = "interval"
    """A snapshot answers once in a while only."""
    WORK = "work"
    """Calls of the document are under way."""
    WRITE = "write"
    """The last change is not durable yet."""


@dataclass(frozen=True, slots=True)
class Wait:
    """One cause; of a turn, how many others come before."""

    cause: Cause
    ahead: int = 0
