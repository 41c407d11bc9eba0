"""Wait for content that a target has to send, and tell which frames came instead."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial

from meshwire_conformance.socket_suite.content import Contents, Mismatch, Wanted
from meshwire_conformance.socket_suite.evidence import CaseFailed, Evidence
from meshwire_conformance.socket_suite.inbox import Arrival, Inbox, Subscription
from meshwire_conformance.socket_suite.peers import Peer
from meshwire_conformance.socket_suite.shortfall import headline, received_lines, wanted_lines

OFFER_PATIENCE = 12
"""Deadlines that an expectation waits at most while the target offers other documents."""
PART_MIN = 1024
"""Bytes of an unfinished frame that have to come within a deadline to count as progress."""

Mismatches = list[tuple[Arrival, Mismatch]]
"""Arrivals that do not match, each with its first mismatch."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """Content that has to come to a peer, after as many arrivals for its key as `after` says."""

    wanted: Wanted
    peer: Peer
    subscription: Subscription
    contents: Contents
    after: int

    async def match(self, deadline_s: float, *, whole: bool = False) -> Arrival | Mismatches:
        """Return the first arrival that matches, else all arrivals with their mismatches.

        With `whole` the changes must match too: the answer to a read contains them, while a delta
        that is pushed may begin an exchange with its heads alone.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + deadline_s
        peer, place = self.peer, self.after
        seen: Mismatches = []
        arrivals = self.subscription.arrivals
        while True:
            while place < len(arrivals):
                arrival = arrivals[place]
                place += 1
                if arrival.peer != peer.name:
                    continue
                why_not = await self.contents.mismatch(self.wanted, arrival, strict=whole)
                if why_not is None:
                    return arrival
                seen.append((arrival, why_not))
            lost = peer.last is not None and peer.last.closed is not None
            if lost or not await self.subscription.signal.wait_for(
                partial(_longer, arrivals, place), end - loop.time()
            ):
                return seen

    async def match_among_offers(
        self, inbox: Inbox, evidence: Evidence, deadline_s: float
    ) -> Arrival | Mismatches:
        """Return what `match` does; the deadline begins anew while further documents come.

        Only documents that have not come since this wait began count: they are as many as the
        target holds, however often it pushes them. A large one counts while its bytes come, which
        takes long through narrow windows.
        """
        with inbox.keys_to(self.peer.name) as keys:
            for _ in range(OFFER_PATIENCE):
                known, part = len(keys.found), self._unfinished()
                found = await self.match(deadline_s)
                grown = self._unfinished() - part
                if isinstance(found, Arrival) or (len(keys.found) == known and grown < PART_MIN):
                    break
                evidence.was_slow = True
        return found

    def _unfinished(self) -> int:
        """Return how many bytes of unfinished frames the peer has received and not read yet."""
        last = self.peer.last
        streams = () if last is None else tuple(last.streams.values())
        return sum(len(one.received) for one in streams if not (one.ours or one.uni))


def nothing_fits(wanted: Wanted, seen: Mismatches) -> CaseFailed:
    """Return the failure of a case in which no arrival matched until the deadline."""
    expected = wanted_lines(wanted)
    if not seen:
        return CaseFailed(
            "no-answer",
            f"nothing came for {wanted.key}",
            expected=expected,
            received=("nothing within the deadline",),
            missed=True,
        )
    why = seen[-1][1]
    # Whole-store pushes are legal, so matching content might have followed.
    return CaseFailed(
        f"wrong-content {why.field}",
        headline(wanted, why),
        expected=expected,
        received=received_lines(seen, wanted),
        missed=True,
    )


def _longer(arrivals: list[Arrival], known: int) -> bool:
    return len(arrivals) > known
