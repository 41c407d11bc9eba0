"""The statistics of a node: one counter for each reason, in all and for each peer.

What is counted is an outcome, where it is decided: a frame that was taken, something refused,
ignored, applied or not sent, with its reason or its kind (D-154). Peers come and go, so the counts
of the last ones alone are kept (D-155).
"""

from collections import Counter, OrderedDict
from typing import Final

PEERS_MAX: Final = 1024
"""Peers whose counts are kept; those of the one counted the longest time ago are dropped."""


class Counts:
    """Counters by name, each of which has an entry from its first count on."""

    def __init__(self) -> None:
        self.frames: Counter[int] = Counter()
        """Frames that were taken, by type."""
        self.refused: Counter[str] = Counter()
        """Streams and connections that were refused, by reason."""
        self.ignored: Counter[str] = Counter()
        """Frames and entries without an effect, by cause."""
        self.applied: Counter[str] = Counter()
        """Changes that took effect, by kind."""
        self.not_sent: Counter[str] = Counter()
        """Documents that could not be sent, by reason."""
        self.heartbeats = 0


class Statistics(Counts):
    """The counts of a node in all, and those of its peers."""

    def __init__(self) -> None:
        super().__init__()
        self._peers: OrderedDict[str, Counts] = OrderedDict()

    def of(self, peer: str) -> Counts:
        """Return the counts of a peer, by its endpoint id in hex."""
        # ER-023
        counts = self._peers.pop(peer, None) or Counts()
        self._peers[peer] = counts
        if len(self._peers) > PEERS_MAX:
            self._peers.popitem(last=False)
        return counts

    def each(self, peer: str) -> tuple[Counts, Counts]:
        """Return both counts in which something of a peer is counted."""
        # ER-022
        return self, self.of(peer)
