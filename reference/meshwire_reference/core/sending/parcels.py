"""What is sent to a peer: why, about which document, and the frame on its way."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from meshwire_reference.core.effects import WriteNumber
from meshwire_reference.wire.batches import StreamFrame


class Kind(StrEnum):
    """Why something is sent."""

    ANSWER = "answer"
    READ_ANSWER = "read answer"
    TOMBSTONE = "tombstone"
    SNAPSHOT = "snapshot"
    PUSH = "push"


URGENT: Final = frozenset((Kind.ANSWER, Kind.READ_ANSWER, Kind.TOMBSTONE))
"""What goes before everything else, since the peer waits for it."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to send; two that are equal are one."""

    kind: Kind
    key: str


@dataclass(frozen=True, slots=True)
class Parcel:
    """A whole frame on its way, and what to do if it never leaves."""

    frame: StreamFrame
    after: WriteNumber | None
    on_over: Callable[[], None]
    on_failed: Callable[[], None]
    size: int
    """Bytes of the payload, which is not kept here once the transport has it."""


def nothing() -> None:
    """Do nothing."""
