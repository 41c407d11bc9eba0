"""The lanes of calls: which waiting call goes to the worker next.

Each connection has a lane, and calls of the node itself have one, as have calls for several
connections at once; lanes take turns. So a peer whose bytes are costly waits behind its own bytes:
its lane has few calls with the worker at a time while they are slow, and none while one of them is
being judged.

A call that is slow narrows its lane: calls that wait after it in the worker are taken back, so that
other lanes wait for one slow call at most. This is measured in wall time, which affects the order
of calls and never a result.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Final, TypeAlias

from meshwire_reference.core.document_calls import (
    Call,
    ConnectionName,
    Each,
    Forget,
    Result,
    lane_of,
)

DEPTH_MAX: Final = 32
"""Greatest number of calls of one lane in the worker at a time, while they are quick."""
SLOW_S: Final = 0.025
"""Seconds after which a call on a small document is slow."""
SLOW_S_PER_KIB: Final = 0.0001
"""Seconds that a call may take besides, for each KiB that was sent with it, before it is slow."""

LaneName: TypeAlias = ConnectionName | None
"""A connection, or None for calls that this node makes for itself."""


@dataclass(slots=True, eq=False)
class QueuedCall:
    """A call on its way through the supervisor, or several that were made together.

    Those that were answered leave `calls`. What a worker has left of several goes on one by one.
    """

    number: int
    calls: list[Call]
    lane: LaneName
    future: asyncio.Future[Result | Each]
    keys: set[str]
    """The documents concerned; none for a call about a connection."""
    is_together: bool
    """True if the future gets the results of several calls."""
    is_divided: bool = False
    """True if the calls go to the worker one by one."""
    size: int = 0
    """Bytes that are sent to the worker."""
    weight: int = 1
    """The number of calls for which it counts in its lane."""
    serial: int = 0
    """Number of the request on the pipe; each sending has a greater one, also if repeated."""
    results: list[Result] = field(default_factory=list)

    @property
    def slow_s(self) -> float:
        """Seconds of work after which it is slow."""
        return SLOW_S + SLOW_S_PER_KIB * self.size / 1024

    @property
    def next_lane(self) -> LaneName:
        """The lane in which its calls go on."""
        return lane_of(self.calls[0]) if self.is_divided else self.lane

    @property
    def sent(self) -> list[Call]:
        """The calls that are with the worker, or go there next."""
        return self.calls[:1] if self.is_divided else self.calls


def lane_of_all(calls: Sequence[Call]) -> LaneName:
    """Return the connection that calls are made for, None where there are several."""
    lanes = {lane_of(call) for call in calls}
    return lanes.pop() if len(lanes) == 1 else None


def key_of(call: Call) -> str | None:
    """Return the document that a call concerns; None for a call about a connection."""
    return None if isinstance(call, Forget) else call.key


@dataclass(slots=True)
class Lane:
    """The waiting calls of one connection, oldest first."""

    waiting: list[tuple[int, QueuedCall]] = field(default_factory=list)
    """A heap by number: a call that was skipped finds its old place among any number of others."""
    with_worker: int = 0
    depth: int = DEPTH_MAX
    is_paused: bool = False

    def add(self, item: QueuedCall) -> None:
        """Put a call among the waiting ones: a new one behind all others, an old one at its place.

        Takes steps in the logarithm of their number at most.
        """
        heappush(self.waiting, (item.number, item))

    @property
    def first(self) -> QueuedCall | None:
        """The oldest of the waiting calls."""
        return self.waiting[0][1] if self.waiting else None

    def take_first(self) -> QueuedCall:
        """Take the oldest of the waiting calls."""
        return heappop(self.waiting)[1]


class Lanes:
    """Every waiting call, and the keys of calls that are with a worker."""

    def __init__(self) -> None:
        self._lanes: OrderedDict[LaneName, Lane] = OrderedDict()
        self._busy: set[str] = set()

    def add(self, item: QueuedCall) -> None:
        """Queue a new call in its lane."""
        self._lanes.setdefault(item.lane, Lane()).add(item)

    def next(self) -> QueuedCall | None:
        """Take the next call, lanes in turn; None when every lane is empty or has to wait.

        Two calls about one key are never with the worker at once.
        """
        # TM-005
        for name, lane in self._lanes.items():
            item = lane.first
            if item is None or lane.is_paused or lane.with_worker >= lane.depth:
                continue
            if not self._busy.isdisjoint(item.keys):
                continue
            lane.take_first()
            lane.with_worker += item.weight
            self._busy |= item.keys
            self._lanes.move_to_end(name)
            return item
        return None

    def take_waiting(self) -> list[QueuedCall]:
        """Take every call that waits out of all lanes; it is never released or put back."""
        items = [item for lane in self._lanes.values() for _, item in sorted(lane.waiting)]
        for name, lane in list(self._lanes.items()):
            lane.waiting.clear()
            if not lane.with_worker and lane.depth == DEPTH_MAX:
                del self._lanes[name]
        return items

    def release(self, item: QueuedCall, *, was_slow: bool = False) -> None:
        """Record that a call is no longer with a worker, and whether it was slow."""
        lane = self._lanes[item.lane]
        lane.depth = 1 if was_slow else min(DEPTH_MAX, 2 * lane.depth)
        self._take_off(item, lane)

    def _take_off(self, item: QueuedCall, lane: Lane) -> None:
        """Count a call as no longer with a worker."""
        lane.with_worker -= item.weight
        self._busy -= item.keys
        if not lane.waiting and not lane.with_worker and lane.depth == DEPTH_MAX:
            del self._lanes[item.lane]

    def put_back(self, items: Iterable[QueuedCall]) -> None:
        """Queue calls again that were with a worker, each at its old place."""
        for item in items:
            self._take_off(item, self._lanes[item.lane])
            item.lane = item.next_lane
            self._lanes.setdefault(item.lane, Lane()).add(item)

    def narrow(self, name: LaneName) -> None:
        """Limit a lane to one call in the worker until its calls are quick again."""
        self._lanes[name].depth = 1

    def pause(self, item: QueuedCall, *, is_paused: bool) -> None:
        """Pause or resume the lane of a call that is run alone."""
        self._lanes[item.lane].is_paused = is_paused
