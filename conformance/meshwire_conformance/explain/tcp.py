"""TCP connections out of the segments of a capture: order, repetitions, overlaps and gaps."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

WRAP = 2**32
"""Sequence numbers begin again at this one."""
REORDERED_MAX = 2**16
"""Bytes by which a first packet may come after others of its connection."""


@dataclass(frozen=True, slots=True)
class Segment:
    """The part of a TCP connection that one packet carries; addresses are `host:port`."""

    source: str
    target: str
    sequence: int
    is_first: bool
    data: bytes


@dataclass(slots=True)
class SentHalf:
    """The bytes that one side of a connection sent, as far as the capture has them.

    `gap` is the number of bytes that are missing after `data`, and `lost` that of the bytes after
    the gap, which nothing can be said about.
    """

    source: str
    target: str
    data: bytes = b""
    gap: int = 0
    lost: int = 0
    has_start: bool = False


@dataclass(slots=True)
class CapturedConnection:
    """One TCP connection: the half of its dialler and that of its listener, if both are known."""

    halves: Sequence[SentHalf]


@dataclass(slots=True)
class _Sent:
    """Segments of one direction by their sequence number, counted from the first."""

    source: str
    target: str
    base: int
    has_start: bool
    last: int = 0
    segments: dict[int, bytes] = field(default_factory=dict)

    def take(self, segment: Segment) -> None:
        """Add one segment; its place is the one nearest to the last."""
        number = segment.sequence + (1 if segment.is_first else 0)
        at = (number - self.base) % WRAP
        at += round((self.last - at) / WRAP) * WRAP
        self.last = at
        if segment.data and len(segment.data) > len(self.segments.get(at, b"")):
            self.segments[at] = segment.data

    def begin(self, segment: Segment, base: int) -> None:
        """Let a first packet that came after others of its connection begin it."""
        if not segment.is_first or self.has_start:
            return
        ahead = (self.base - base) % WRAP
        self.segments = {at + ahead: data for at, data in self.segments.items()}
        self.last += ahead
        self.base, self.has_start = base, True

    def half(self) -> SentHalf:
        """Return the bytes in their order, up to the first gap."""
        half = SentHalf(self.source, self.target, has_start=self.has_start)
        parts: list[bytes] = []
        ordered = sorted(self.segments.items())
        # Without its first packet a direction begins where the capture does.
        end = 0 if self.has_start or not ordered else ordered[0][0]
        for at, data in ordered:
            if half.gap or at > end:
                half.gap = half.gap or at - end
                half.lost += len(data)
                continue
            new = data[end - at :]
            parts.append(new)
            end += len(new)
        half.data = b"".join(parts)
        return half


def connections_of(segments: Iterable[Segment]) -> list[CapturedConnection]:
    """Return the connections of a capture, in the order of their first packets."""
    sent: dict[tuple[str, str], list[_Sent]] = {}
    order: list[_Sent] = []
    for segment in segments:
        way = segment.source, segment.target
        runs = sent.setdefault(way, [])
        base = (segment.sequence + (1 if segment.is_first else 0)) % WRAP
        if not runs or _begins_anew(runs[-1], segment, base):
            runs.append(_Sent(*way, base, segment.is_first))
            order.append(runs[-1])
        runs[-1].begin(segment, base)
        runs[-1].take(segment)
    return _paired(order)


def _begins_anew(run: _Sent, segment: Segment, base: int) -> bool:
    """Return True if a first packet is that of another connection of the same addresses.

    One that is a little before everything seen is that of this connection, out of order.
    """
    if not segment.is_first or base == run.base:
        return False
    return run.has_start or (run.base - base) % WRAP > REORDERED_MAX


def _paired(order: Sequence[_Sent]) -> list[CapturedConnection]:
    waiting: dict[tuple[str, str], list[CapturedConnection]] = {}
    found: list[CapturedConnection] = []
    for run in order:
        partners = waiting.get((run.target, run.source), [])
        if partners:
            partner = partners.pop(0)
            partner.halves = [*partner.halves, run.half()]
            continue
        connection = CapturedConnection([run.half()])
        found.append(connection)
        waiting.setdefault((run.source, run.target), []).append(connection)
    return found
