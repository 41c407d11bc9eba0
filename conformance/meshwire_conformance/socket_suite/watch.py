"""Watches: what must not come for a key, armed from where a case says so to the end of the run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from meshwire_conformance.socket_suite.inbox import Arrival, Subscription


@dataclass(slots=True)
class Watch:
    """Nothing of these types (of any, where there are none) may come for a key to a peer."""

    subscription: Subscription
    peer: str | None
    types: frozenset[int]
    since: int = 0
    excepted: list[Arrival] = field(default_factory=list)

    def tripped(self) -> Iterator[Arrival]:
        """Everything that should not have come."""
        for arrival in self.subscription.arrivals[self.since :]:
            if self.peer is not None and arrival.peer != self.peer:
                continue
            if (not self.types or arrival.type in self.types) and arrival not in self.excepted:
                yield arrival


def arm(subscription: Subscription, peer: str | None, types: frozenset[int]) -> Watch:
    """A watch from now on."""
    return Watch(subscription, peer, types, since=len(subscription.arrivals))
