"""The connections that a listener has, and which one gives way when there are too many.

Theory of operation. A caller takes a place when it calls, and leaves it when its connection is
over. A place is proven once the node has accepted the peer (`PlacedConnection.is_proven`). Where a
caller is one too many, the first of these gives way:

1. a place that is not proven, of the address that has most of them; of these one whose connection
   has not begun, and then the oldest, which had the most time;
2. if all others are proven, the newest place of the address that has most places of all, where
   this is not the address of the caller itself;
3. the caller.

So callers that prove nothing shut nobody out, and no address shuts out another one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Protocol


class PlacedConnection(Protocol):
    """What a place needs of a connection, of any transport."""

    @property
    def is_proven(self) -> bool:
        """True once the node has accepted the peer."""

    async def close(self, code: int, reason: str) -> None:
        """End the connection."""


class CallerPlace:
    """The place of one caller; `give_way` closes its connection, or turns it away."""

    def __init__(self, share: str, give_way: Callable[[], None]) -> None:
        self.share = share
        """What counts as one address."""
        self.give_way = give_way
        self.connection: PlacedConnection | None = None
        """The connection, once it has begun."""

    @property
    def stage(self) -> int:
        """How far the caller has come: 0 before its connection has begun, 2 once it is proven."""
        return 0 if self.connection is None else 1 + self.connection.is_proven


class Places:
    """The places of one listener, at most `maximum`."""

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._taken: dict[CallerPlace, None] = {}

    def take(self, caller: CallerPlace) -> None:
        """Give a caller a place; if it is one too many, let one give way, perhaps the caller."""
        self._taken[caller] = None
        if len(self._taken) > self._maximum:
            leaving = self._choose(caller)
            # What gives way needs its place no more, however long its end takes.
            self.leave(leaving)
            leaving.give_way()

    def leave(self, place: CallerPlace) -> None:
        """Free a place; does nothing if it was freed before."""
        self._taken.pop(place, None)

    def __len__(self) -> int:
        return len(self._taken)

    def _choose(self, caller: CallerPlace) -> CallerPlace:
        """Return the place that gives way to a caller."""
        # TR-032
        unproven = [one for one in self._taken if one.stage < PROVEN and one is not caller]
        if unproven:
            _, _, theirs = _greatest_share(unproven)
            return min(theirs, key=lambda one: one.stage)
        # TR-033
        shares, most, theirs = _greatest_share(self._taken)
        return caller if most <= shares[caller.share] else theirs[-1]


PROVEN = 2
"""The stage of a place that is proven."""


def _greatest_share(places: Iterable[CallerPlace]) -> tuple[Counter[str], int, list[CallerPlace]]:
    """Return how many places each address has, the greatest number, and its places."""
    all_of_them = list(places)
    shares = Counter(one.share for one in all_of_them)
    greatest, most = shares.most_common(1)[0]
    return shares, most, [one for one in all_of_them if one.share == greatest]
