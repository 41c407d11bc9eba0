"""Connections between the hosts of a run: streams as on QUIC, with delays and faults.

Theory of operation. A connection has two sides. Each carries out the effects of its host on the
connection and reports its events as inputs, as the driver of a node does over a transport. Bytes of
one half of a stream arrive in their order; streams overtake each other. A host may have `streams`
streams open toward its peer; one counts until the peer has released it.

A stream that a fault has met is as the peer's doing: it took the bytes and dropped them, took them
twice, or stopped the stream. A lost connection is reported to both sides, to each at its own time,
and nothing that is under way arrives any more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, Final, Protocol

from meshwire_reference.core.effects import (
    CloseConnection,
    ConnectionEffect,
    Consumed,
    Deferred,
    OpenStream,
    Release,
    Reset,
    Send,
    Stop,
)
from meshwire_reference.core.inputs import (
    ConnectionClosed,
    ConnectionEvent,
    SendFailed,
    StreamData,
    StreamGranted,
    StreamOpened,
    StreamReset,
    StreamSent,
    StreamStopped,
)
from meshwire_reference.simulation.plan import StepKind
from meshwire_reference.simulation.schedule import Schedule
from meshwire_spec.numbers import LAB_MAX_STREAMS

STREAM_STEP: Final = 4
UNI: Final = 2
"""The number of the first unidirectional stream: those of the dialler are even, bidi from 0."""
LATENCY_S: Final = (0.001, 0.02)
"""Least and greatest time that bytes are under way."""
NOTICE_S: Final = 3.0
"""Greatest time in which a side notices that its connection is lost."""


class Host(Protocol):
    """What has connections: a node, or an application or peer of one."""

    def report(self, connection: int, event: ConnectionEvent) -> None:
        """Take an event of a connection."""


@dataclass(slots=True, eq=False)
class Half:
    """One direction of a stream."""

    arrives_s: float = 0.0
    """When the last bytes sent so far arrive."""
    has_ended: bool = False
    """True once its sender has finished or reset it, or the peer has stopped it."""
    is_over: bool = False
    """True once nothing of it is reported any more."""


@dataclass(slots=True, eq=False)
class SimulatedStream:
    """One stream, with a half from each side."""

    bidi: bool
    is_ghost: bool = False
    """True for the second copy of a stream, which the host that opened the first does not know."""
    has_data: bool = False
    halves: tuple[Half, Half] = field(default_factory=lambda: (Half(), Half()))
    released: list[bool] = field(default_factory=lambda: [False, False])


class Side:
    """One side of a connection."""

    def __init__(
        self, link: SimulatedLink, index: int, host: Host, number: int, streams: int
    ) -> None:
        self.link = link
        self.host = host
        self.number = number
        self.is_closed = False
        self.faults: deque[StepKind] = deque()
        """What is to happen to the next streams that this side opens with data."""
        self.delay_s = 0.0
        """Time that is added to what this side sends, at most."""
        self._index = index
        self._opened = {True: 0, False: 0}
        self._credit = {True: streams, False: streams}
        self._waiting: dict[bool, deque[OpenStream]] = {True: deque(), False: deque()}
        self._shown = {True: 0, False: 0}

    @property
    def other(self) -> Side:
        """The other side."""
        return self.link.sides[1 - self._index]

    def perform(self, effect: ConnectionEffect) -> None:
        """Carry out an effect of the host, unless the connection is closed."""
        if not self.is_closed:
            PERFORM[type(effect)](self, effect)

    def report(self, event: ConnectionEvent) -> None:
        """Report an event to the host, unless the connection is closed."""
        if not self.is_closed:
            self.host.report(self.number, event)

    # --- streams of this side ----------------------------------------------------------------

    def open(self, effect: OpenStream) -> None:
        """Grant a stream once the peer's credit allows."""
        self._waiting[effect.bidi].append(effect)
        self._grant(bidi=effect.bidi)

    def _grant(self, *, bidi: bool) -> None:
        waiting = self._waiting[bidi]
        while waiting and self._credit[bidi]:
            self._credit[bidi] -= 1
            stream = self.new_stream(bidi=bidi)
            self.report(StreamGranted(waiting.popleft().ticket, stream))

    def new_stream(self, *, bidi: bool, is_ghost: bool = False) -> int:
        """Return the number of a new stream of this side."""
        kind = self._index + (0 if bidi else UNI)
        number = self._opened[bidi] * STREAM_STEP + kind
        self._opened[bidi] += 1
        self.link.streams[number] = SimulatedStream(bidi, is_ghost)
        return number

    def give_back(self, *, bidi: bool) -> None:
        """Take the credit of a stream that the peer has released."""
        self._credit[bidi] += 1
        self._grant(bidi=bidi)

    # --- what the host does ------------------------------------------------------------------

    def send(self, effect: Send) -> None:
        """Send bytes, and FIN."""
        stream = self._stream(effect.stream)
        assert not stream.released[self._index], "the stream was released before"
        half = stream.halves[self._index]
        if half.has_ended:
            if effect.fin or effect.reports:
                self.report(SendFailed(effect.stream, 0))
            return
        fault = None
        if self._is_own(effect.stream) and stream.bidi and not stream.has_data:
            fault = self.faults.popleft() if self.faults else None
        stream.has_data = True
        half.has_ended = effect.fin
        if fault is None:
            self._transmit(effect.stream, effect.data, fin=effect.fin)
        else:
            self.link.note_fault(fault)
            FAULTY[fault](self, effect)
        if (effect.fin or effect.reports) and fault is not StepKind.CUT:
            self.report(StreamSent(effect.stream))

    def reset(self, effect: Reset) -> None:
        """Reset this side's half; what is under way is lost."""
        assert not self._stream(effect.stream).released[self._index], "released before"
        self._end_half(effect.stream, effect.code)

    def stop(self, effect: Stop) -> None:
        """Stop the peer's half."""
        stream = self._stream(effect.stream)
        assert not stream.released[self._index], "the stream was released before"
        self._stop(effect.stream, stream, effect.code)

    def release(self, effect: Release) -> None:
        """End the use of a stream, and what has not ended of it."""
        stream = self._stream(effect.stream)
        assert not stream.released[self._index], "the stream was released before"
        is_own = self._is_own(effect.stream)
        if is_own or stream.bidi:
            self._end_half(effect.stream, 0)
        if not is_own or stream.bidi:
            self._stop(effect.stream, stream, 0)
        stream.released[self._index] = True
        if not is_own:
            self.link.carry(self._index, partial(self.other.take_release, effect.stream))
        self.link.forget(effect.stream)

    def take_release(self, number: int) -> None:
        """Take the credit of a stream back that the peer has released."""
        stream = self.link.streams.get(number)
        if stream is not None and not stream.is_ghost:
            self.give_back(bidi=stream.bidi)
            stream.is_ghost = True
            self.link.forget(number)

    def consume(self, effect: Consumed | Deferred) -> None:
        """Do nothing: bytes need no credit here."""

    def close(self, effect: CloseConnection) -> None:
        """Close the connection; what was sent before arrives."""
        self.link.close(self._index, effect.code, effect.reason)

    def _stream(self, number: int) -> SimulatedStream:
        return self.link.streams[number]

    def _is_own(self, number: int) -> bool:
        return number % 2 == self._index

    def _end_half(self, number: int, code: int) -> None:
        half = self._stream(number).halves[self._index]
        if not half.has_ended:
            half.has_ended = True
            self.link.carry(self._index, partial(self.other.take_reset, number, code))

    def _stop(self, number: int, stream: SimulatedStream, code: int) -> None:
        half = stream.halves[1 - self._index]
        if not half.is_over:
            half.is_over = True
            self.link.carry(self._index, partial(self.other.take_stop, number, code))

    # --- what happens to bytes ---------------------------------------------------------------

    def _transmit(self, number: int, data: bytes, *, fin: bool) -> None:
        half = self._stream(number).halves[self._index]
        at_s = max(half.arrives_s, self.link.arrival_s(self._index, len(data)))
        half.arrives_s = at_s
        self.link.note_sent(self, number, data)
        self.link.carry_at(self._index, at_s, partial(self.other.take_data, number, data, fin=fin))

    def lose(self, effect: Send) -> None:
        """Take bytes that never arrive; the peer's half is as one that was finished."""
        stream = self._stream(effect.stream)
        stream.halves[1 - self._index].has_ended = stream.halves[1 - self._index].is_over = True
        self.link.note_sent(self, effect.stream, effect.data)
        stream.released[1 - self._index] = True
        self.take_release(effect.stream)

    def duplicate(self, effect: Send) -> None:
        """Send the bytes on a second stream too; nothing follows on that one."""
        self._transmit(effect.stream, effect.data, fin=effect.fin)
        second = self.new_stream(bidi=True, is_ghost=True)
        self._stream(second).released[self._index] = True
        self._transmit(second, effect.data, fin=effect.fin)
        if not effect.fin:
            # The host does not know the second stream, and so would never end it.
            self._reset_after_data(second)

    def cut(self, effect: Send) -> None:
        """Send a part of the bytes; the peer has stopped the stream before it had all."""
        self.cut_late(effect)
        self.report(SendFailed(effect.stream, 0))

    def cut_late(self, effect: Send) -> None:
        """Send a part of the bytes, and a reset."""
        part = self.link.chance.randrange(len(effect.data) or 1)
        if part:
            self._transmit(effect.stream, effect.data[:part], fin=False)
        self._reset_after_data(effect.stream)

    def _reset_after_data(self, number: int) -> None:
        """Send a reset that arrives after the bytes sent before it."""
        half = self._stream(number).halves[self._index]
        half.has_ended = True
        at_s = max(half.arrives_s, self.link.arrival_s(self._index))
        self.link.carry_at(self._index, at_s, partial(self.other.take_reset, number, 0))

    def take_data(self, number: int, data: bytes, *, fin: bool) -> None:
        """Report bytes that arrive here."""
        stream = self._arriving(number)
        if stream is None:
            return
        stream.halves[1 - self._index].is_over = fin
        self.link.note_arrival(self, number, data)
        self.report(StreamData(number, data, fin))

    def take_reset(self, number: int, code: int) -> None:
        """Report a reset that arrives here."""
        stream = self._arriving(number)
        if stream is not None:
            stream.halves[1 - self._index].is_over = True
            self.report(StreamReset(number, code))

    def take_stop(self, number: int, code: int) -> None:
        """Report a stop that arrives here; this side's half is reset by it."""
        stream = self.link.streams.get(number)
        if stream is None or stream.released[self._index]:
            return
        self._show(number, stream)
        half = stream.halves[self._index]
        was_open = not half.has_ended
        self.report(StreamStopped(number, code))
        if was_open and number in self.link.streams:
            self._end_half(number, 0)

    def _arriving(self, number: int) -> SimulatedStream | None:
        """Return the stream whose bytes arrive here, unless they interest nobody."""
        stream = self.link.streams.get(number)
        if stream is None or stream.released[self._index]:
            return None
        if stream.halves[1 - self._index].is_over:
            return None
        self._show(number, stream)
        return stream

    def _show(self, number: int, stream: SimulatedStream) -> None:
        """Report the streams up to this one as opened, in the order of their numbers."""
        if self._is_own(number):
            return
        while self._shown[stream.bidi] <= number // STREAM_STEP:
            shown = self._shown[stream.bidi] * STREAM_STEP + number % STREAM_STEP
            self._shown[stream.bidi] += 1
            earlier = self.link.streams.get(shown)
            if earlier is not None and not earlier.released[self._index]:
                self.report(StreamOpened(shown, stream.bidi))


class Watcher(Protocol):
    """Takes note of what passes over the connections of a run."""

    def note_fault(self, kind: StepKind) -> None:
        """Take note of a fault that has met a stream."""

    def note_loss(self, link: SimulatedLink) -> None:
        """Take note that something was lost on a connection without a word."""

    def note_sent(self, side: Side, stream: int, data: bytes) -> None:
        """Take note of bytes that are sent."""

    def note_arrival(self, side: Side, stream: int, data: bytes) -> None:
        """Take note of bytes that arrive."""


class SimulatedLink:
    """One connection between two hosts; the first has dialled.

    `chance` is its own source of numbers; `streams` bounds the open streams of each side.
    """

    def __init__(
        self,
        schedule: Schedule,
        watcher: Watcher,
        chance: Random,
        ends: tuple[tuple[Host, int], tuple[Host, int]],
        streams: tuple[int, int] = (LAB_MAX_STREAMS, LAB_MAX_STREAMS),
    ) -> None:
        self.chance = chance
        self.streams: dict[int, SimulatedStream] = {}
        self.is_cut = False
        self._schedule = schedule
        self._watcher = watcher
        one, other = (
            Side(self, index, host, number, streams[index])
            for index, (host, number) in enumerate(ends)
        )
        self.sides = (one, other)

    @property
    def is_over(self) -> bool:
        """True once both sides are closed."""
        return all(side.is_closed for side in self.sides)

    def arrival_s(self, index: int, size: int = 0) -> float:
        """Return when something of a size arrives that a side sends now; here all take as long."""
        late_s = self.chance.random() * self.sides[index].delay_s
        return self._schedule.now_s + self.chance.uniform(*LATENCY_S) + late_s

    def carry(self, index: int, arrive: Callable[[], None]) -> None:
        """Bring something to the side that is not `index`."""
        self.carry_at(index, self.arrival_s(index), arrive)

    def carry_at(self, index: int, at_s: float, arrive: Callable[[], None]) -> None:
        """Bring something to the side that is not `index` at a time."""

        def take() -> None:
            if not self.is_cut and not self.sides[1 - index].is_closed:
                arrive()

        self._schedule.at(at_s, take)

    def forget(self, number: int) -> None:
        """Forget a stream that both sides have released, and whose halves have arrived."""
        stream = self.streams.get(number)
        if stream is not None and all(stream.released) and stream.is_ghost:
            del self.streams[number]

    def close(self, index: int, code: int, reason: str) -> None:
        """Close the connection as a side; the other one learns of it after what was sent before."""
        side = self.sides[index]
        self._report_end(side, ConnectionClosed(code, reason, by_peer=False))
        halves = [stream.halves[index].arrives_s for stream in self.streams.values()]
        at_s = max([self.arrival_s(index), *halves])
        end = partial(self._report_end, self.sides[1 - index], ConnectionClosed(code, reason))
        self.carry_at(index, at_s, end)

    def cut(self, *, at_once: bool = False) -> None:
        """Lose the connection: nothing arrives any more, and both sides notice in their time."""
        self.is_cut = True
        for side in self.sides:
            wait_s = 0.0 if at_once else self.chance.random() * NOTICE_S
            end = partial(self._report_end, side, ConnectionClosed())
            self._schedule.after(wait_s, end)

    def drop(self, host: Host) -> None:
        """End a side whose host has ended; what it has sent before still arrives."""
        for side in self.sides:
            if side.host is host:
                side.is_closed = True
            else:
                wait_s = LATENCY_S[1] + self.chance.random() * NOTICE_S
                self._schedule.after(wait_s, partial(self._report_end, side, ConnectionClosed()))

    def _report_end(self, side: Side, event: ConnectionClosed) -> None:
        if not side.is_closed:
            side.report(event)
            side.is_closed = True

    # --- what the run takes note of ----------------------------------------------------------

    def note_fault(self, kind: StepKind) -> None:
        """Take note of a fault that has met a stream."""
        self._watcher.note_fault(kind)
        if kind is not StepKind.DUPLICATE:
            self._watcher.note_loss(self)

    def note_sent(self, side: Side, stream: int, data: bytes) -> None:
        """Take note of bytes that are sent."""
        self._watcher.note_sent(side, stream, data)

    def note_arrival(self, side: Side, stream: int, data: bytes) -> None:
        """Take note of bytes that arrive."""
        self._watcher.note_arrival(side, stream, data)


PERFORM: Final[dict[type, Callable[[Side, Any], None]]] = {
    OpenStream: Side.open,
    Send: Side.send,
    Reset: Side.reset,
    Stop: Side.stop,
    Release: Side.release,
    Consumed: Side.consume,
    Deferred: Side.consume,
    CloseConnection: Side.close,
}

FAULTY: Final[dict[StepKind, Callable[[Side, Send], None]]] = {
    StepKind.LOSE: Side.lose,
    StepKind.DUPLICATE: Side.duplicate,
    StepKind.CUT: Side.cut,
    StepKind.CUT_LATE: Side.cut_late,
}
"""What becomes of the bytes of a stream that a fault meets."""
