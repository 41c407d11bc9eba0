"""Conversations that were recorded with a deployed peer, and a peer that plays one side of them.

Each file names the project and version that was recorded, as its `library`. A recording lists its
streams, each with what either side did on it: bytes, FIN, and STOP; `rx` is the deployed side. The
played side does the same on streams of its own, in the order of the recording. Where the other side
did something, the player waits until the node has done as much, never for a time.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from meshwire_reference.core.inputs import (
    ConnectionClosed,
    StreamData,
    StreamId,
    StreamOpened,
    StreamReset,
    StreamStopped,
)
from meshwire_reference.testing.progress import Progress
from meshwire_reference.transport.base import Connection, ConnectionGone, StreamGone
from meshwire_reference.wire.batches import StreamFrame
from meshwire_reference.wire.frames import FrameReader
from meshwire_spec.numbers import FrameType

FOLDER: Final = Path(__file__).parents[3] / "conformance" / "tests" / "captured" / "transcripts"
DEPLOYED: Final = "rx"
"""What the deployed peer wrote; the other direction is what it was sent."""
RUN_TYPES: Final = frozenset((FrameType.NEGENTROPY_INIT, FrameType.NEGENTROPY_RESPONSE))


@dataclass(frozen=True, slots=True)
class RecordedStep:
    """What one side did at one moment on one stream: bytes, FIN, or a STOP of the other half."""

    stream: int
    is_played: bool
    data: bytes = b""
    fin: bool = False
    stop: int | None = None


@dataclass(frozen=True, slots=True)
class Recording:
    """A recorded conversation."""

    name: str
    content: Mapping[str, Any]

    def streams(self, side: str = DEPLOYED) -> dict[int, tuple[bool, bool]]:
        """Return for each stream whether a side opened it, and whether it is unidirectional."""
        opener = {DEPLOYED: "peer"}.get(side, "python")
        return {
            stream["stream"]: (stream["opened_by"] == opener, stream["kind"] == "uni")
            for stream in self.content["streams"]
        }

    def steps(self, side: str = DEPLOYED) -> list[RecordedStep]:
        """Return what both sides did, in its order."""
        timed = [
            (line["t"], _step(stream["stream"], line, side))
            for stream in self.content["streams"]
            for line in stream["log"]
            if {"hex", "fin", "stop_sending"} & line.keys()
        ]
        return [step for _, step in sorted(timed, key=lambda one: one[0])]

    def written(self, stream: int, side: str = DEPLOYED) -> bytes:
        """Return everything that a side wrote on a stream."""
        return b"".join(
            step.data for step in self.steps(side) if step.is_played and step.stream == stream
        )

    def events(self, name: str) -> list[Any]:
        """Return what the recording notes under a name, in its order."""
        return [event[name] for event in self.content["events"] if name in event]


def _step(stream: int, line: Mapping[str, Any], side: str) -> RecordedStep:
    text = line.get("hex", "")
    # A long text is cut, and its size is noted after it.
    data = b"" if "..." in text else bytes.fromhex(text)
    return RecordedStep(
        stream, line["dir"] == side, data, line.get("fin", False), line.get("stop_sending")
    )


def load(name: str) -> Recording:
    """Return the recording whose file begins with a name."""
    (path,) = FOLDER.glob(f"{name}*.json")
    return Recording(path.stem, json.loads(path.read_text(encoding="utf-8")))


@dataclass(slots=True)
class Heard:
    """What the node has done on one stream."""

    is_own: bool
    is_uni: bool = False
    data: bytes = b""
    reader: FrameReader = field(default_factory=lambda: FrameReader(known_types=None))
    frames: list[StreamFrame] = field(default_factory=list)
    is_over: bool = False
    code: int | None = None
    """The code of its RESET, None after FIN."""
    stopped: int | None = None
    """The code of its STOP."""


class RecordedPeer:
    """A peer on one connection that does with the node's streams what recorded ones did.

    It reads one frame of each bidi stream, then stops that half and finishes its own, and the
    same at FIN without a frame; it never accepts uni streams.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.progress = Progress()
        self.heard: dict[StreamId, Heard] = {}
        self.frames: list[StreamFrame] = []
        self.closed: ConnectionClosed | None = None
        self.keeps_runs = False
        """True leaves streams of a reconciliation to the player."""
        self.kept: set[StreamId] = set()
        """Streams of the node that are left to the test."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._reading = asyncio.create_task(self._read())

    def sent(self) -> Counter[tuple[int, str]]:
        """Return how often the node has sent each type and key."""
        return Counter((int(frame.type), frame.key) for frame in self.frames)

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait until the node has done something; fails at the end of the connection."""

        def is_over() -> object:
            assert self.closed is None or holds(), self.closed
            return holds()

        await self.progress.until(is_over)

    async def end(self) -> ConnectionClosed:
        """Wait for the end of the connection and return how it ended."""
        await self._reading
        assert self.closed is not None
        return self.closed

    async def leave(self) -> None:
        """Close the connection as deployed peers do."""
        await self.connection.close(0)
        await self._reading

    async def _read(self) -> None:
        async for event in self.connection.events():
            match event:
                case StreamOpened(stream, bidi):
                    self.heard[stream] = Heard(is_own=False, is_uni=not bidi)
                case StreamData(stream, data, fin):
                    self._take(stream, data, fin=fin)
                case StreamReset(stream, code):
                    self._of(stream).is_over, self._of(stream).code = True, code
                case StreamStopped(stream, code):
                    self._of(stream).stopped = code
                case ConnectionClosed():
                    self.closed = event
            self.progress.note()

    def _of(self, stream: StreamId) -> Heard:
        return self.heard.setdefault(stream, Heard(is_own=True))

    def _take(self, stream: StreamId, data: bytes, *, fin: bool) -> None:
        heard = self._of(stream)
        heard.is_over = heard.is_over or fin
        heard.data += data
        if heard.is_uni:
            # Neither its bytes nor its place are given back.
            return
        self.connection.consumed(stream, len(data))
        if heard.is_own or heard.frames or stream in self.kept:
            return
        heard.frames += heard.reader.feed(data)
        self.frames += heard.frames
        is_run = any(frame.type in RUN_TYPES for frame in heard.frames)
        if (heard.frames or fin) and not (is_run and self.keeps_runs):
            self._spawn(self._let_go(stream))

    async def _let_go(self, stream: StreamId) -> None:
        """Drop both halves after one frame, as the deployed reader does."""
        self.connection.stop(stream, 0)
        # The node may have stopped this half already.
        with suppress(StreamGone, ConnectionGone):
            await self.connection.send(stream, b"", fin=True)
        self.connection.release(stream)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


Act = Callable[[], Awaitable[None]]
"""Something that a test does in the place of a step of the other side."""


@dataclass(frozen=True, slots=True)
class Staging:
    """How a recording is played.

    `acts` are done in the place of what the other side did on streams of these numbers, at its
    first step there. `awaits` waits, where the other side wrote frames, until the node has sent as
    many of their types and keys. `answers` says how many bytes of the node are waited for on a
    stream before its half is stopped; with `reads` no half is stopped, and the next stream begins
    once the node has ended its half. `only` are the streams that are played, all if it is empty.
    """

    acts: Mapping[int, Act] = field(default_factory=dict)
    awaits: bool = True
    answers: Mapping[int, int] = field(default_factory=dict)
    reads: bool = False
    only: Collection[int] = ()


class Player:
    """Plays one side of a recording to a node, step by step."""

    def __init__(
        self,
        peer: RecordedPeer,
        recording: Recording,
        side: str = DEPLOYED,
        staging: Staging | None = None,
    ) -> None:
        self.peer = peer
        self._recording = recording
        self._side = side
        self._staging = staging or Staging()
        self._acts = dict(self._staging.acts)
        self._streams = recording.streams(side)
        self._expected: Counter[tuple[int, str]] = Counter()
        self._readers: dict[int, FrameReader] = {}
        self.live: dict[int, StreamId] = {}
        """The streams of this connection, by their numbers in the recording."""
        self.ends: dict[int, int | None] = {}
        """How the node ended its half of each stream that was read: None for FIN, or a code."""
        self.played_bytes = 0

    async def play(self) -> None:
        """Do every step."""
        steps = self._recording.steps(self._side)
        is_opener = {number: is_own for number, (is_own, _) in self._streams.items()}
        self.peer.keeps_runs = any(
            step.is_played and step.data and not is_opener[step.stream] for step in steps
        )
        for step in steps:
            if self._staging.only and step.stream not in self._staging.only:
                continue
            if not step.is_played:
                await self._await_node(step)
            elif is_opener[step.stream]:
                await self._do(step)
            elif step.data:
                await self._answer(step)

    def heard_on(self, stream: int) -> Heard:
        """Return what the node did on a stream, by its number in the recording."""
        return self.peer.heard.get(self.live[stream], Heard(is_own=True))

    async def _do(self, step: RecordedStep) -> None:
        """Do a step on a stream that the played side opened."""
        connection, number = self.peer.connection, step.stream
        if number not in self.live:
            _, is_uni = self._streams[number]
            self.live[number] = await connection.open(bidi=not is_uni)
        stream = self.live[number]
        if step.data or step.fin:
            self.played_bytes += len(step.data)
            # What the node has refused takes no more.
            with suppress(StreamGone):
                await connection.send(stream, step.data, fin=step.fin)
        if step.stop is not None and not self._staging.reads:
            size = self._staging.answers.get(number, 0)
            await self.peer.until(lambda: len(self.heard_on(number).data) >= size)
            connection.stop(stream, step.stop)
        if step.fin and self._staging.reads:
            await self.peer.until(lambda: self.heard_on(number).is_over)
            self.ends[number] = self.heard_on(number).code

    async def _answer(self, step: RecordedStep) -> None:
        """Write recorded bytes on the stream that the node opened for a reconciliation."""
        stream = self.live[step.stream] = next(
            stream
            for stream, heard in self.peer.heard.items()
            if any(frame.type in RUN_TYPES for frame in heard.frames)
        )
        connection = self.peer.connection
        connection.stop(stream, 0)
        self.played_bytes += len(step.data)
        await connection.send(stream, step.data, fin=True)
        connection.release(stream)

    async def _await_node(self, step: RecordedStep) -> None:
        act = self._acts.pop(step.stream, None)
        if act is not None:
            await act()
        if self._staging.awaits and step.data:
            reader = self._readers.setdefault(step.stream, FrameReader(known_types=None))
            frames = reader.feed(step.data)
            self._expected.update((int(frame.type), frame.key) for frame in frames)
            await self.peer.until(lambda: self._expected <= self.peer.sent())
