"""What became of each document between this node and a peer, for the operator's question why.

Theory of operation. For a pair of peer and document there is a note for each thing that happened:
how often, when last, and why. The pairs of which something was noted last are kept, `PAIRS_MAX` of
them, so the memory has a bound whatever peers send: a key is shared with the index of documents or
is 1024 bytes at most, and of each fate there is one note. What goes on now is not noted here: it is
read off the queues when the operator asks.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from meshwire_spec.numbers import FrameType

PAIRS_MAX: Final = 8192
"""Pairs of peer and document of which is noted what happened; 16 MiB with the longest keys."""

SENT_AS: Final[Mapping[int, str]] = {
    FrameType.DELTA: "delta",
    FrameType.SNAPSHOT: "snapshot",
    FrameType.TOMBSTONE: "tombstone",
    FrameType.TOMBSTONE_BATCH: "tombstone",
    FrameType.BATCH: "batch",
}
"""The words for the frame with which a document is sent."""


class Fate(StrEnum):
    """What can become of a document, seen from this node."""

    # That of enumerations is made anew for each look-up.
    __hash__ = str.__hash__

    OFFERED = "offered"
    """It was queued for the peer."""
    SENT = "sent"
    LOST = "lost"
    """The stream with it ended before the transport had it."""
    NOT_SENT = "not sent"
    RECEIVED = "received"
    APPLIED = "applied"
    """A change of the peer took effect here."""
    EQUAL = "equal"
    """The peer has said that it holds the same."""
    DELETED = "deleted"
    """A tombstone of the peer took effect here."""
    GUARDED = "guarded"
    """A tombstone of this node kept it from being sent or applied."""
    REFUSED = "refused"
    IGNORED = "ignored"
    EXPIRED = "expired"
    AWAITING = "awaits changes"
    """What the peer sent depends on changes that have not come."""


@dataclass(frozen=True, slots=True)
class Noted:
    """How often something happened, when last in ms since 1970, and why then."""

    times: int
    at_ms: int
    why: str = ""


class Fates:
    """The latest fates by peer and document."""

    def __init__(self) -> None:
        # Plain values, since this is on the way of every frame.
        self._pairs: OrderedDict[tuple[str, str], dict[Fate, tuple[int, int, str]]] = OrderedDict()

    def __len__(self) -> int:
        """Return of how many pairs something is noted."""
        return len(self._pairs)

    def note(self, peer: str, key: str, fate: Fate, at_ms: int, why: str = "") -> None:
        """Note what became of a document between this node and a peer."""
        pair = peer, key
        noted = self._pairs.get(pair)
        if noted is None:
            noted = self._pairs[pair] = {}
            # ER-025
            if len(self._pairs) > PAIRS_MAX:
                self._pairs.popitem(last=False)
        else:
            self._pairs.move_to_end(pair)
        before = noted.get(fate)
        noted[fate] = (1 if before is None else before[0] + 1), at_ms, why

    def of(self, peer: str, key: str) -> Mapping[Fate, Noted]:
        """Return what became of a document between this node and a peer."""
        noted = self._pairs.get((peer, key), {})
        return {fate: Noted(*one) for fate, one in noted.items()}

    def peers_of(self, key: str) -> Iterator[str]:
        """Yield the peers with which something became of a document, the latest last."""
        for peer, noted_key in self._pairs:
            if noted_key == key:
                yield peer
