"""Receives what the target sends: takes frames from its streams and gives them to subscriptions.

Content is taken from whatever carries it (page Terms, read): a 0x00 or 0x01 of its own, an entry of
a 0x07, an element of a 0x05. Frames for a key without a subscription are counted, since a target
may push its whole store. Frames that do not decode are recorded as faults of the target.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from meshwire_conformance.contracts import TraceLine, untraced
from meshwire_conformance.errors import SuiteFault
from meshwire_conformance.protocol.frame_content import (
    check_frame_key,
    content_of,
    missing_bytes,
    refuse_extra,
    take_frames,
)
from meshwire_conformance.targets.transport import Signal, Stream
from meshwire_spec.codec import Malformed, Message, decode, encode
from meshwire_spec.numbers import REASONS, FrameType

FAULTS_KEPT = 1000
_KEPT = 4096
"""Number of bytes kept for the report if they are not a frame."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One piece of content about one document: the receiving peer, the stream, and the content."""

    peer: str
    stream: int
    order: int
    type: int
    key: str
    payload: bytes
    carrier: int
    at_s: float = field(default_factory=time.monotonic, compare=False)
    """When it came, for the timeline."""
    frame: Message | None = field(default=None, compare=False, repr=False)
    """The frame that brought it."""


@dataclass(frozen=True, slots=True)
class TargetFault:
    """Bytes of the target that are not a valid frame."""

    peer: str
    stream: int
    reason: str
    detail: str
    data: bytes = b""
    """The bytes, where they are a whole message or the beginning of one."""
    kind: str = "stream_frame"
    key: str | None = None
    """Key of the frame, if it decodes."""
    at_s: float = field(default_factory=time.monotonic, compare=False)
    """When it came, for the timeline."""

    def line(self) -> str:
        """Return place and fault as one line."""
        return f"{self.peer}, stream {self.stream}: {self.detail}"


@dataclass(frozen=True, slots=True)
class BegunRun:
    """A reconciliation that the target has begun: its stream, first message, and place in order.

    The stream is left to the case that is the server; its later bytes are still on it.
    """

    stream: Stream
    message: bytes
    order: int


@dataclass(eq=False, slots=True)
class Subscription:
    """Every arrival for one key since the subscription began."""

    key: str
    arrivals: list[Arrival] = field(default_factory=list)
    signal: Signal = field(default_factory=Signal)


@dataclass(eq=False, slots=True)
class Keys:
    """Keys that a peer has received."""

    found: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Counts:
    """Counters of the whole run."""

    frames: int = 0
    foreign: int = 0
    heartbeats: int = 0
    streams: int = 0
    frames_after_the_first: int = 0
    finished: int = 0


class Inbox:
    """Takes the frames of all connections; one for the whole run."""

    def __init__(self, trace: TraceLine = untraced) -> None:
        self.counts = Counts()
        self.faults: list[TargetFault] = []
        self.planted: set[str] = set()
        """Keys outside the grammar that the suite itself has sent."""
        self.signal = Signal()
        """Wakes waiters for any arrival or fault."""
        self.trace = trace
        self._followed: dict[str, list[Keys]] = {}
        """Who collects the keys that a peer receives, by peer."""
        self._leaving: dict[str, tuple[int, Callable[[], Coroutine[Any, Any, None]]]] = {}
        """Frames still awaited from peers whose connections are then closed, and how."""
        self._unended: dict[Stream, str] = {}
        """Streams of the target with a whole frame and without an end, and the peer of each."""
        self._subscriptions: dict[str, list[Subscription]] = {}
        self._served: dict[str, list[BegunRun]] = {}
        self._refused_runs: set[str] = set()
        self._order = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._broken: BaseException | None = None

    def subscribe(self, key: str) -> Subscription:
        """Return the subscription to a key, which lasts to the end of the run."""
        subscription = Subscription(key)
        self._subscriptions.setdefault(key, []).append(subscription)
        return subscription

    @contextmanager
    def keys_to(self, peer: str) -> Iterator[Keys]:
        """Collect the keys of everything that a peer receives for as long as the context lasts."""
        keys = Keys()
        self._followed.setdefault(peer, []).append(keys)
        try:
            yield keys
        finally:
            self._followed[peer].remove(keys)

    def serve_runs(self, peer: str) -> list[BegunRun]:
        """Return a list that gets the runs which the target begins with a peer from now on.

        Runs with any other peer are refused, as by a node that offers no reconciliation.
        """
        return self._served.setdefault(peer, [])

    def has_refused_run(self, peer: str) -> bool:
        """Return True if the target has begun a run with this peer, which was refused."""
        return peer in self._refused_runs

    def begin_run(self, peer: str, stream: Stream, frame: Message) -> None:
        """Give a run of the target to the case that serves it, or refuse it (NG-012)."""
        self._order += 1
        runs = self._served.get(peer)
        if runs is not None:
            stream.on_change = None
            runs.append(BegunRun(stream, frame.fields["payload"], self._order))
        else:
            self._refused_runs.add(peer)
            code = REASONS["unsupported"].code
            self.spawn(stream.stop(code))
            self.spawn(stream.reset(code))
        self.signal.notify()

    def carried(self, stream: Stream, peer: str) -> None:
        """Remember that a stream has carried a whole frame, so that it has to end (TR-004)."""
        self._unended[stream] = peer

    def ended(self, stream: Stream) -> None:
        """Forget a stream that has ended, and wake its waiters."""
        if self._unended.pop(stream, None) is not None:
            self.signal.notify()

    def unended(self) -> Sequence[tuple[str, Stream]]:
        """Return peer and stream of each whole frame whose stream the target has not ended.

        Streams of connections that are closed are left out: nothing more can come on them.
        """
        return [(peer, stream) for stream, peer in self._unended.items() if not stream.read_over]

    def close_after(
        self, peer: str, frames: int, close: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        """Call `close` once a peer has received this number of further frames."""
        self._leaving[peer] = frames, close

    def _count_down(self, peer: str) -> None:
        """Count a frame to a peer whose connection is to be closed."""
        frames, close = self._leaving.pop(peer)
        if frames > 1:
            self._leaving[peer] = frames - 1, close
        else:
            self.spawn(close())

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a short coroutine beside the reading of streams."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        fault = None if task.cancelled() else task.exception()
        # A connection lost meanwhile is reported by the operation that needs it.
        if fault is not None and not isinstance(fault, ConnectionError):
            self._broken = self._broken or fault

    def check(self) -> None:
        """Raise SuiteFault if the suite itself failed to read the frames of the target."""
        if self._broken is not None:
            fault = self._broken
            said = f"reading the frames of the target: {type(fault).__name__}: {fault}"
            raise SuiteFault(said) from fault

    def reader_of(self, peer: str) -> Callable[[Stream], None]:
        """Return the function that reads every stream that the target opens to this peer."""
        return lambda stream: self._follow(stream, peer)

    def fault(
        self,
        peer: str,
        stream: int,
        reason: str,
        detail: str,
        data: bytes = b"",
        kind: str = "stream_frame",
        key: str | None = None,
    ) -> None:
        """Record something that the target must not send."""
        if len(self.faults) < FAULTS_KEPT:
            self.faults.append(TargetFault(peer, stream, reason, detail, data, kind, key))
        self.signal.notify()
        self.trace({"fault": reason, "peer": peer, "stream": stream, "detail": detail})

    def take(self, peer: str, stream: int, frame: Message) -> None:
        """Give one frame to every subscription whose key it concerns."""
        self.counts.frames += 1
        if peer in self._leaving:
            self._count_down(peer)
        fields = frame.fields
        self.trace(
            {
                "received": f"0x{fields['type']:02x}",
                "peer": peer,
                "stream": stream,
                "key": fields["key"],
                "payload": fields["payload"].hex(),
            }
        )
        content = content_of(fields, self.planted)
        if content is None:
            said = f"a frame of type 0x{fields['type']:02x}"
            self.fault(peer, stream, "unknown-type", said, encode(frame), key=fields["key"])
            return
        try:
            check_frame_key(fields)
            for frame_type, key, payload in content:
                for keys in self._followed.get(peer, ()):
                    keys.found.add(key)
                if key in self._subscriptions:
                    self._deliver(peer, stream, frame, (frame_type, key, payload()))
                else:
                    self.counts.foreign += 1
        except Malformed as exc:
            self.fault(peer, stream, exc.reason, str(exc), encode(frame), key=fields["key"])

    def _deliver(
        self, peer: str, stream: int, frame: Message, content: tuple[int, str, bytes]
    ) -> None:
        frame_type, key, payload = content
        self._order += 1
        carrier = frame.fields["type"]
        arrival = Arrival(
            peer, stream, self._order, int(frame_type), key, payload, carrier, frame=frame
        )
        for subscription in self._subscriptions[key]:
            subscription.arrivals.append(arrival)
            subscription.signal.notify()
        self.signal.notify()

    def _follow(self, stream: Stream, peer: str) -> None:
        self.counts.streams += 1
        changed = (_UniReader if stream.uni else _FrameReader)(self, peer).changed

        def guarded(stream: Stream) -> None:
            try:
                changed(stream)
            except Exception as exc:  # noqa: BLE001 - kept for `check`: here nobody can raise it
                self._broken = self._broken or exc

        stream.on_change = guarded


class _FrameReader:
    """Reads frames from one bidi stream of the target and then finishes the suite's half."""

    def __init__(self, inbox: Inbox, peer: str) -> None:
        self._inbox = inbox
        self._peer = peer
        self._over = False
        self._frames = 0

    def changed(self, stream: Stream) -> None:
        """Read the bytes that came, or handle the end of the stream."""
        if self._over:
            # Bytes on a stream that is over are dropped, so that a flood uses no memory.
            stream.received.clear()
            return
        try:
            for frame in take_frames(stream.received):
                self._frames += 1
                self._place(stream.number, frame)
                self._inbox.take(self._peer, stream.number, frame)
                if frame.fields["type"] == FrameType.NEGENTROPY_INIT:
                    self._over = True
                    self._inbox.begin_run(self._peer, stream, frame)
                    return
        except Malformed as exc:
            self._over = True
            data = bytes(stream.received[:_KEPT])
            self._inbox.fault(self._peer, stream.number, exc.reason, str(exc), data)
            self._inbox.ended(stream)
            self._inbox.spawn(stream.reset(0))
            return
        if stream.finished:
            self._over = True
            self._inbox.counts.finished += 1
            if stream.received:
                data = bytes(stream.received[:_KEPT])
                said = f"a stream ends inside a frame: {missing_bytes(stream.received)}"
                self._inbox.fault(self._peer, stream.number, "truncated", said, data)
            # Only now: all frames of the stream have been processed.
            self._inbox.spawn(stream.finish())
        elif stream.reset_code is not None:
            self._over = True
            self._inbox.spawn(stream.reset(0))
        if self._over:
            self._inbox.ended(stream)
        elif self._frames:
            self._inbox.carried(stream, self._peer)

    def _place(self, stream: int, frame: Message) -> None:
        """Check whether a frame is allowed at its place on a stream of the target."""
        is_later = frame.fields["type"] == FrameType.NEGENTROPY_RESPONSE
        if is_later and self._frames == 1:
            said = "a 0x09 on a stream that has no run"
            data = encode(frame)
            self._inbox.fault(self._peer, stream, "unexpected-message", said, data)
        # Later messages of a run follow the first one on its stream (TR-004).
        self._inbox.counts.frames_after_the_first += self._frames > 1 and not is_later


class _UniReader:
    """Reads one uni stream of the target, which must hold one heartbeat."""

    def __init__(self, inbox: Inbox, peer: str) -> None:
        self._inbox = inbox
        self._peer = peer

    def changed(self, stream: Stream) -> None:
        """Check the record when the stream is over."""
        if not stream.finished:
            # A heartbeat has nine bytes; of a longer record the beginning is enough.
            del stream.received[_KEPT:]
            return
        try:
            refuse_extra("heartbeat", decode("heartbeat", bytes(stream.received)))
            self._inbox.counts.heartbeats += 1
        except Malformed as exc:
            data, said = bytes(stream.received[:_KEPT]), f"heartbeat: {exc}"
            self._inbox.fault(self._peer, stream.number, exc.reason, said, data, "heartbeat")
