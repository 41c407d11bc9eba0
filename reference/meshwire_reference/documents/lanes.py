"""Which document call is next: one lane per connection, taken in turn.

A peer whose bytes are costly waits behind its own bytes. Its lane has few calls with the worker at
a time while they are slow, and none while one of them is being judged.
"""

from asyncio import Future
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from meshwire_reference.core.document_calls import (
    Call,
    Connection,
    Forget,
    Generate,
    Merge,
    Receive,
    Result,
    Unsent,
)

DEPTH_MAX: Final = 32
"""Calls of one lane that are with the worker at a time, while they are quick."""

LaneName: TypeAlias = Connection | None
"""A connection, or None for what this node does of its own accord."""


def lane_of(call: Call) -> LaneName:
    """Return the lane of a call: that of the connection whose bytes or wish it is."""
    return (
        call.connection if isinstance(call, Receive | Merge | Generate | Unsent | Forget) else None
    )


def size_of(call: Call) -> int:
    """Return how many bytes of a peer a call carries."""
    if isinstance(call, Receive):
        return len(call.message)
    return len(call.snapshot) if isinstance(call, Merge) else 0


@dataclass(slots=True, eq=False)
class Item:
    """A call on its way through the supervisor."""

    number: int
    call: Call
    lane: LaneName
    future: "Future[Result]"
    size: int
    """Bytes that the worker has to work on."""
    serial: int = 0
    """Which sending this is, over all calls; rises on the pipe, also for one sent again."""

    @property
    def key(self) -> str | None:
        """The document it is about; None for a call about a connection."""
        return None if isinstance(self.call, Forget) else self.call.key


@dataclass(slots=True)
class Lane:
    """The calls of one connection that wait, oldest first."""

    waiting: deque[Item] = field(default_factory=deque)
    with_worker: int = 0
    depth: int = DEPTH_MAX
    is_paused: bool = False

    def put_back(self, item: Item) -> None:
        """Put a call back among those that wait, at its old place."""
        place = sum(1 for other in self.waiting if other.number < item.number)
        self.waiting.insert(place, item)


class Lanes:
    """Every call that waits, and the calls' keys that are with a worker."""

    def __init__(self) -> None:
        self._lanes: OrderedDict[LaneName, Lane] = OrderedDict()
        self._busy: set[str] = set()

    def add(self, item: Item) -> None:
        """Let a new call wait in its lane."""
        self._lanes.setdefault(item.lane, Lane()).waiting.append(item)

    def next(self) -> Item | None:
        """Take the next call, lanes in turn; None when every lane is empty or has to wait.

        Two calls about one key are never with the worker at once.
        """
        for name, lane in self._lanes.items():
            if not lane.waiting or lane.is_paused or lane.with_worker >= lane.depth:
                continue
            key = lane.waiting[0].key
            if key is not None and key in self._busy:
                continue
            item = lane.waiting.popleft()
            lane.with_worker += 1
            if key is not None:
                self._busy.add(key)
            self._lanes.move_to_end(name)
            return item
        return None

    def take_waiting(self) -> list[Item]:
        """Take every call that waits out of all lanes; it is never released or put back."""
        items = [item for lane in self._lanes.values() for item in lane.waiting]
        for name, lane in list(self._lanes.items()):
            lane.waiting.clear()
            if not lane.with_worker and lane.depth == DEPTH_MAX:
                del self._lanes[name]
        return items

    def release(self, item: Item, *, was_slow: bool = False) -> None:
        """Note that a call is no longer with a worker, and how it has fared."""
        lane = self._lanes[item.lane]
        lane.with_worker -= 1
        lane.depth = 1 if was_slow else min(DEPTH_MAX, 2 * lane.depth)
        self._busy.discard(item.key or "")
        if not lane.waiting and not lane.with_worker and lane.depth == DEPTH_MAX:
            del self._lanes[item.lane]

    def put_back(self, items: Iterable[Item]) -> None:
        """Let calls that were with a worker wait again, each at its old place."""
        for item in items:
            lane = self._lanes[item.lane]
            lane.with_worker -= 1
            self._busy.discard(item.key or "")
            lane.put_back(item)

    def narrow(self, name: LaneName) -> None:
        """Let one call of a lane at a time go to the worker, until calls are quick again."""
        self._lanes[name].depth = 1

    def pause(self, item: Item, *, is_paused: bool) -> None:
        """Hold back, or no longer hold back, the lane of a call that is judged on its own."""
        self._lanes[item.lane].is_paused = is_paused
