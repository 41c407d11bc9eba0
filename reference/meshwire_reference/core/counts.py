"""The statistics of a node: one counter for each reason, in all and for each peer.

What is counted is an outcome, where it is decided: a frame that was taken, something refused,
ignored, applied or not sent, with its reason or its kind (D-154). Bytes are counted where they are
read, and where the transport gets them. Peers come and go, so the counts of the last ones alone are
kept (D-155).
"""

from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

PEERS_MAX: Final = 1024
"""Peers whose counts are kept; those of the one counted the longest time ago are dropped."""


@dataclass(frozen=True, slots=True)
class CounterRow:
    """One counter: the name of its attribute, what it counts, and what tells its numbers apart.

    `label` is empty for a counter that is one number.
    """

    name: str
    means: str
    label: str = ""


COUNTERS: Final = (
    CounterRow("frames", "Frames received.", "type"),
    CounterRow("frame_bytes", "Bytes of the frames received, headers included.", "type"),
    CounterRow("sent_frames", "Frames sent.", "type"),
    CounterRow("sent_frame_bytes", "Bytes of the frames sent, headers included.", "type"),
    CounterRow("sent_documents", "Documents sent, by the mode of their collection.", "mode"),
    CounterRow("applied", "Changes that took effect.", "kind"),
    CounterRow("ignored", "Frames and entries without effect.", "cause"),
    CounterRow("refused", "Streams and connections refused.", "reason"),
    CounterRow("not_sent", "Documents that could not be sent.", "reason"),
    CounterRow("runs", "Reconciliations, and what they found.", "kind"),
    CounterRow("sessions", "Sessions with peers.", "kind"),
    CounterRow("received_bytes", "Bytes received on streams, of whatever kind."),
    CounterRow("sent_bytes", "Bytes sent on streams, of whatever kind."),
    CounterRow("lost", "Frames whose stream ended before the transport had them."),
    CounterRow("heartbeats", "Heartbeats received."),
    CounterRow("sent_heartbeats", "Heartbeats sent."),
)
"""Every counter of a node and of a peer."""


class Counts:
    """Counters by name, each of which has an entry from its first count on."""

    def __init__(self) -> None:
        self.frames: Counter[int] = Counter()
        """Frames that were taken, by type."""
        self.frame_bytes: Counter[int] = Counter()
        self.sent_frames: Counter[int] = Counter()
        self.sent_frame_bytes: Counter[int] = Counter()
        self.sent_documents: Counter[str] = Counter()
        """Documents that were sent, by the mode of their collection."""
        self.refused: Counter[str] = Counter()
        """Streams and connections that were refused, by reason."""
        self.ignored: Counter[str] = Counter()
        """Frames and entries without an effect, by cause."""
        self.applied: Counter[str] = Counter()
        """Changes that took effect, by kind."""
        self.not_sent: Counter[str] = Counter()
        """Documents that could not be sent, by reason."""
        self.runs: Counter[str] = Counter()
        """Reconciliations of either side, their rounds, and the keys that they found."""
        self.sessions: Counter[str] = Counter()
        """Sessions that began, by who dialled, and those that ended in silence."""
        self.received_bytes = self.sent_bytes = 0
        self.lost = 0
        self.heartbeats = self.sent_heartbeats = 0
        self.last_ms: int | None = None
        """When the last document or tombstone was taken or sent, in ms since 1970."""

    def snapshot(self) -> "CountsSnapshot":
        """Return the counts as they are now."""
        by_label: dict[str, Mapping[str, int]] = {}
        numbers: dict[str, int] = {}
        for row in COUNTERS:
            value = getattr(self, row.name)
            if row.label:
                by_label[row.name] = {
                    f"0x{name:02x}" if row.label == "type" else name: number
                    for name, number in sorted(value.items())
                }
            else:
                numbers[row.name] = value
        return CountsSnapshot(by_label, numbers, self.last_ms)


@dataclass(frozen=True, slots=True)
class CountsSnapshot:
    """Counts of one moment: those told apart by a label, and those that are one number."""

    by_label: Mapping[str, Mapping[str, int]]
    numbers: Mapping[str, int]
    last_ms: int | None


class Statistics(Counts):
    """The counts of a node in all, and those of its peers."""

    def __init__(self) -> None:
        super().__init__()
        self._peers: OrderedDict[str, Counts] = OrderedDict()

    def of(self, peer: str) -> Counts:
        """Return the counts of a peer, by its endpoint id in hex."""
        # ER-023
        counts = self._peers.get(peer)
        if counts is not None:
            self._peers.move_to_end(peer)
            return counts
        counts = self._peers[peer] = Counts()
        if len(self._peers) > PEERS_MAX:
            self._peers.popitem(last=False)
        return counts

    def each(self, peer: str) -> tuple[Counts, Counts]:
        """Return both counts in which something of a peer is counted."""
        # ER-022
        return self, self.of(peer)

    def by_peer(self) -> dict[str, CountsSnapshot]:
        """Return the counts of every peer that are kept, by its endpoint id in hex."""
        return {peer: counts.snapshot() for peer, counts in self._peers.items()}
