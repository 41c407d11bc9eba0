"""The frames that wait for one peer, the most urgent first.

Frames are ordered by the class of urgency of their collection, and in a class by age. Nothing
raises the class of a frame that waits: less urgent ones wait as long as more urgent ones come.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from meshwire_spec.numbers import Urgency


class Purpose(StrEnum):
    """Why a frame is sent."""

    ANSWER = "answer"
    READ_ANSWER = "read answer"
    TOMBSTONE = "tombstone"
    """The answer to a frame about a document that is deleted."""
    DELETION = "deletion"
    """A tombstone that is new here: relayed, or of this node's own user."""
    PIECE = "piece"
    OPENING = "opening"
    POLL_ANSWER = "poll answer"
    SNAPSHOT = "snapshot"
    PUSH = "push"
    ANNOUNCEMENT = "announcement"


OWED: Final = frozenset(Purpose) - {
    Purpose.DELETION,
    Purpose.SNAPSHOT,
    Purpose.PUSH,
    Purpose.ANNOUNCEMENT,
}
"""Purposes that are sent before all others, since the peer waits for them."""


@dataclass(frozen=True, slots=True)
class QueueItem:
    """One frame to send; equal items are queued once."""

    purpose: Purpose
    key: str


class WaitingFrames:
    """Items with their message, or None where it is made when their turn comes."""

    def __init__(self, urgency_of: Callable[[str], Urgency]) -> None:
        """Begin empty; `urgency_of` returns the class of a document, from its key."""
        self._urgency_of = urgency_of
        self._classes: dict[Urgency, OrderedDict[QueueItem, bytes | None]] = {
            one: OrderedDict() for one in Urgency
        }

    def add(self, item: QueueItem) -> None:
        """Queue an item whose frame is made later, unless it waits already."""
        self._class_of(item).setdefault(item, None)

    def put(self, item: QueueItem, message: bytes | None) -> None:
        """Queue an item with its message, in the place of the same one if that waits."""
        self._class_of(item)[item] = message

    def pop(self, item: QueueItem) -> bytes | None:
        """Remove an item if it waits; return its message."""
        return self._class_of(item).pop(item, None)

    def size_of(self, item: QueueItem) -> int:
        """Return the size of the message of an item; 0 without one."""
        return len(self._class_of(item).get(item) or b"")

    def first(self) -> QueueItem | None:
        """Return the item that is to be sent first, or None if none waits."""
        # DC-076
        return next(iter(self), None)

    def clear(self) -> None:
        """Forget every item."""
        for items in self._classes.values():
            items.clear()

    def _class_of(self, item: QueueItem) -> OrderedDict[QueueItem, bytes | None]:
        return self._classes[self._urgency_of(item.key)]

    def __iter__(self) -> Iterator[QueueItem]:
        for items in self._classes.values():
            yield from items

    def __contains__(self, item: QueueItem) -> bool:
        return item in self._class_of(item)

    def __bool__(self) -> bool:
        return any(self._classes.values())
