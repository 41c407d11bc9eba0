"""Which documents go to one peer as snapshots, though deltas of their changes would be shorter.

A snapshot has the whole history, so that each edit of a document costs more than the one before. A
delta has what the peer lacks, as far as its own deltas have shown that; deployed peers take either
for any document (D-62).
"""

from collections import OrderedDict
from typing import Final

KEYS_MAX: Final = 16384
"""Documents of one peer that are remembered; the one used the longest time ago is forgotten."""
PUSHES: Final = 2
"""Snapshots of a document after which it is announced to the peer."""
HAS_DELTA: Final = -1


class PushedSnapshots:
    """How many snapshots of each document were pushed to one peer, until it sends a delta."""

    def __init__(self) -> None:
        self._pushed: OrderedDict[str, int] = OrderedDict()

    def note_pushed(self, key: str) -> bool:
        """Count a snapshot; return True if the document is to be announced now."""
        pushed = self._pushed.get(key, 0)
        if pushed == HAS_DELTA:
            return False
        self._keep(key, pushed + 1)
        return pushed + 1 == PUSHES

    def note_delta(self, key: str) -> None:
        """Note that the peer has sent a delta of a document."""
        self._keep(key, HAS_DELTA)

    def has_delta(self, key: str) -> bool:
        """Return True if the peer has sent a delta of a document."""
        return self._pushed.get(key) == HAS_DELTA

    def forget(self, key: str) -> None:
        """Push snapshots of a document again, until the peer sends another delta."""
        self._pushed.pop(key, None)

    def _keep(self, key: str, pushed: int) -> None:
        self._pushed.pop(key, None)
        self._pushed[key] = pushed
        if len(self._pushed) > KEYS_MAX:
            self._pushed.popitem(last=False)
