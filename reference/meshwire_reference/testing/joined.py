"""Benches joined stream by stream: what one side writes, ends or stops reaches the other.

Unlike frames that a test carries, this has handshakes, reconciliations, refusals and the FIN of
answering halves. What a side has written on a stream since the last round travels as one flight; a
flight can be lost with its FIN, as if its receiver had dropped it. Time is that of the benches.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Final

from meshwire_reference.core.inputs import (
    ConnectionClosed,
    StreamData,
    StreamReset,
    StreamStopped,
)
from meshwire_reference.testing.bench import OWN_BIDI, OWN_UNI, STREAM_STEP, Bench, Seen

ROUNDS_MAX: Final = 200
"""Rounds without a pause after which the network is taken for one that talks without end."""
STEP_S: Final = 2.5
"""Seconds by which the clocks advance between two rounds."""


class Endless(AssertionError):
    """The nodes talk without end."""


@dataclass(slots=True)
class _Half:
    """What has been carried of what one side does on one stream."""

    carried: int = 0
    is_over: bool = False
    is_stopped: bool = False

    def has_data(self, seen: Seen) -> bool:
        """Return True if bytes of it were not carried yet."""
        return not self.is_over and len(seen.data) > self.carried

    def ends(self, seen: Seen) -> bool:
        """Return True if the side has ended it, and that was not carried yet."""
        return not self.is_over and (seen.finished or seen.reset is not None or seen.released)

    def stops(self, seen: Seen) -> bool:
        """Return True if the side has stopped the other half, and that was not carried yet."""
        return not self.is_stopped and (seen.stopped is not None or seen.released)

    def is_due(self, seen: Seen) -> bool:
        """Return True if there is something to carry."""
        return self.has_data(seen) or self.ends(seen) or self.stops(seen)


@dataclass(slots=True)
class _Side:
    """One side of a link: its bench, its connection, and the number of each stream over there."""

    bench: Bench
    connection: int
    twins: dict[int, int] = field(default_factory=dict)
    halves: dict[int, _Half] = field(default_factory=dict)

    def streams(self) -> list[tuple[int, Seen]]:
        """Return the streams on which this side has done something new, in their order.

        Most of them are over: to shuffle those too would take longer than all that the nodes do.
        """
        return [
            (stream, seen)
            for (connection, stream), seen in self.bench.streams.items()
            if connection == self.connection
            and (stream in self.twins or stream % STREAM_STEP in (OWN_BIDI, OWN_UNI))
            and self.half(stream).is_due(seen)
        ]

    def half(self, stream: int) -> _Half:
        """Return what has been carried of a stream of this side."""
        found = self.halves.get(stream)
        if found is None:
            found = self.halves[stream] = _Half()
        return found

    @property
    def closed(self) -> int | None:
        """The code with which this side has closed."""
        return self.bench.closed.get(self.connection)


class JoinedBenches:
    """Links between benches. The flight with the number `lost`, counted from 1, never arrives."""

    def __init__(self, random: Random, lost: int | None = None) -> None:
        self.flights = 0
        self.lost = lost
        self.ended: list[tuple[Bench, Bench]] = []
        """Dialler and acceptor of each link that has ended and was not taken from here yet."""
        self._random = random
        self._links: list[tuple[_Side, _Side]] = []

    def link(
        self,
        dialler: Bench,
        acceptor: Bench,
        peers: tuple[int, int],
        *,
        reconciles: bool = False,
        proves_ids: bool = False,
    ) -> None:
        """Connect two benches; `peers` are the numbers of their endpoint ids."""
        ids = peers if proves_ids else (None, None)
        one = dialler.connect(dialled=True, reconciles=reconciles, peer=peers[1], own=ids[0])
        other = acceptor.connect(reconciles=reconciles, peer=peers[0], own=ids[1])
        self._links.append((_Side(dialler, one), _Side(acceptor, other)))

    def cut(self) -> None:
        """End every link without a CLOSE."""
        for link in self._links:
            for side in link:
                side.bench.disconnect(side.connection)
        self._links.clear()

    def run(self, benches: list[Bench], seconds: float) -> None:
        """Carry flights while the clocks advance by this time. Raises Endless."""
        self._settle()
        for _ in range(round(seconds / STEP_S)):
            for bench in benches:
                bench.advance(STEP_S)
            self._settle()

    def _settle(self) -> None:
        for _ in range(ROUNDS_MAX):
            if not self.carry():
                return
        raise Endless("the network never falls silent")

    def carry(self) -> bool:
        """Carry what there is, in any order of streams; return True if there was something."""
        under_way = [
            (source, target, stream, seen)
            for link in self._links
            for source, target in (link, link[::-1])
            for stream, seen in source.streams()
        ]
        self._random.shuffle(under_way)
        moved = [self._carry(*one) for one in under_way]
        for link in list(self._links):
            if link[0].closed is not None or link[1].closed is not None:
                self._end(link)
        return any(moved)

    def _end(self, link: tuple[_Side, _Side]) -> None:
        """Tell the other side of a close."""
        self._links.remove(link)
        for side, other in (link, link[::-1]):
            if side.closed is None:
                side.bench.report(side.connection, ConnectionClosed(other.closed))
        self.ended.append((link[0].bench, link[1].bench))

    def _carry(self, source: _Side, target: _Side, stream: int, seen: Seen) -> bool:
        """Carry what a side has done on a stream since the last time; return True if anything."""
        half = source.half(stream)
        if not half.is_due(seen):
            return False
        data = bytes(seen.data[half.carried :]) if half.has_data(seen) else b""
        ends, stops = half.ends(seen), half.stops(seen)
        half.carried += len(data)
        half.is_over = half.is_over or ends
        half.is_stopped = half.is_stopped or stops
        if data:
            self.flights += 1
            if self.flights == self.lost:
                return True
        twin = self._twin(source, target, stream)
        if data or (ends and seen.finished):
            fin = ends and seen.finished
            target.bench.report(target.connection, StreamData(twin, data, fin))
        if ends and not seen.finished:
            target.bench.report(target.connection, StreamReset(twin, seen.reset or 0))
        if stops:
            target.bench.report(target.connection, StreamStopped(twin, seen.stopped or 0))
        return True

    def _twin(self, source: _Side, target: _Side, stream: int) -> int:
        """Return the number of a stream at the other side, which learns of it now."""
        if stream not in source.twins:
            twin = target.bench.open(target.connection, bidi=stream % STREAM_STEP == OWN_BIDI)
            source.twins[stream] = twin
            target.twins[twin] = stream
        return source.twins[stream]
