"""A node core on a bench: a test plays its peers, its clock, its store and its worker.

Every effect of the core is carried out at once and in order, unless the bench holds it:
`hold_streams` gives no stream credit, `hold_documents` no results, `hold_writes` no durability.
What peers see is recorded by stream.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from meshwire_reference.core import inputs
from meshwire_reference.core.document_calls import Call, Each, Result, Together
from meshwire_reference.core.effects import (
    Accepted,
    CallDocuments,
    ClockOff,
    CloseConnection,
    Consumed,
    CredentialIgnored,
    Deferred,
    DropTombstones,
    Effect,
    Event,
    LocalDone,
    LocalRefusal,
    Mismatch,
    NotAllowed,
    NotCertified,
    Notify,
    NotSent,
    OpenStream,
    OtherDialect,
    Proven,
    Refusal,
    Release,
    Reset,
    RunOver,
    Send,
    Silent,
    Skipped,
    Stop,
    TombstonesFull,
    Unproven,
    WriteStore,
)
from meshwire_reference.core.formation import FormationKey
from meshwire_reference.core.node import NodeCore
from meshwire_reference.core.settings import Dialect, Moment, Settings
from meshwire_reference.wire.batches import StreamFrame, encode_stream_frame
from meshwire_reference.wire.frames import FrameReader
from meshwire_spec.numbers import ENDPOINT_ID

START_S: Final = 1000.0
START_MS: Final = 1_800_000_000_000
STREAM_STEP: Final = 4
PEER_BIDI, PEER_UNI, OWN_BIDI, OWN_UNI = 0, 2, 1, 3


@dataclass(slots=True)
class Seen:
    """What a peer has seen of one stream, and how many bytes it has written on it."""

    data: bytearray = field(default_factory=bytearray)
    finished: bool = False
    reset: int | None = None
    stopped: int | None = None
    released: bool = False
    written: int = 0
    consumed: int = 0
    deferred: int = 0


def entropy(count: int) -> bytes:
    """Return fixed, lopsided bytes in place of random ones."""
    return bytes((7 * index + 3) % 256 for index in range(count))


class Bench:
    """One node core; `answer` acts as the document worker."""

    def __init__(
        self,
        answer: Callable[[Call], Result],
        settings: Settings | None = None,
        key: FormationKey | None = None,
        random: Callable[[int], bytes] = entropy,
    ) -> None:
        self.core = NodeCore(settings or Settings(Dialect.OPEN, heartbeat_s=0), random, key)
        self.now_s = START_S
        self.now_ms = START_MS
        self.refusals: list[Refusal] = []
        self.not_sent: list[NotSent] = []
        self.skipped: list[Skipped] = []
        self.runs: list[RunOver] = []
        self.other_dialects: list[OtherDialect] = []
        self.accepted: list[Accepted] = []
        self.mismatches: list[Mismatch] = []
        self.clocks_off: list[ClockOff] = []
        self.proven: list[Proven] = []
        self.unproven: list[Unproven] = []
        self.not_allowed: list[NotAllowed] = []
        self.not_certified: list[NotCertified] = []
        self.ignored_credentials: list[CredentialIgnored] = []
        self.silent: list[Silent] = []
        self.full: list[TombstonesFull] = []
        self.writes: list[WriteStore] = []
        self.done: dict[int, Result | LocalRefusal] = {}
        self.dropped: list[str] = []
        self.closed: dict[int, int] = {}
        self.streams: dict[tuple[int, int], Seen] = {}
        self.order: list[tuple[int, int]] = []
        self.hold_streams = self.hold_documents = self.hold_writes = self.hold_sends = False
        self.held: deque[Effect] = deque()
        self._answer = answer
        self._inputs: deque[inputs.Input] = deque()
        self._connections = 0
        self._next_stream: dict[tuple[int, int], int] = {}
        self._is_running = False

    # --- what a test does ------------------------------------------------------------------------

    def connect(
        self,
        *,
        dialled: bool = False,
        reconciles: bool = False,
        in_other_dialect: bool = False,
        peer: int | None = None,
        own: int | None = None,
    ) -> int:
        """Open a connection with a new peer, or that of a number; return its own number.

        With `own`, a number too, the transport proves the ids of both sides.
        """
        self._connections += 1
        number = self._connections
        peer_id = bytes((number if peer is None else peer,)) * ENDPOINT_ID
        own_id = b"" if own is None else bytes((own,)) * ENDPOINT_ID
        opened = inputs.ConnectionOpened(
            number, peer_id, dialled, reconciles, in_other_dialect, own_id
        )
        self.feed(opened)
        return number

    def disconnect(self, connection: int) -> None:
        """End a connection without a CLOSE."""
        self.report(connection, inputs.ConnectionClosed())

    def open(self, connection: int, *, bidi: bool = True) -> int:
        """Open a stream as the peer."""
        stream = self._number(connection, PEER_BIDI if bidi else PEER_UNI)
        self.streams[connection, stream] = Seen()
        self.report(connection, inputs.StreamOpened(stream, bidi))
        return stream

    def write(self, connection: int, stream: int, data: bytes, *, fin: bool = False) -> None:
        """Write bytes on a stream as the peer."""
        self.report(connection, inputs.StreamData(stream, data, fin))

    def send(self, connection: int, *frames: StreamFrame, fin: bool = True) -> Seen:
        """Send frames on a new stream and return what the peer sees of it."""
        stream = self.open(connection)
        self.write(connection, stream, b"".join(map(encode_stream_frame, frames)), fin=fin)
        return self.streams[connection, stream]

    def report(self, connection: int, event: inputs.ConnectionEvent) -> None:
        """Report an event of a connection to the core."""
        if isinstance(event, inputs.StreamData):
            self.streams[connection, event.stream].written += len(event.data)
        self.feed(inputs.ConnectionInput(connection, event))

    def advance(self, seconds: float) -> None:
        """Advance the clock, stopping at each deadline of the core."""
        until_s = self.now_s + seconds
        while (at_s := self.core.deadline()) is not None and at_s <= until_s:
            self._set_time(at_s)
            self.feed(inputs.TimerFired())
        self._set_time(until_s)

    def feed(self, happened: inputs.Input) -> None:
        """Pass an input to the core and carry out all effects that follow."""
        self._inputs.append(happened)
        if self._is_running:
            return
        self._is_running = True
        while self._inputs:
            now = Moment(self.now_s, self.now_ms)
            for effect in self.core.handle(self._inputs.popleft(), now):
                if isinstance(effect, Send | Reset | Stop | Release):
                    seen = self.streams[effect.connection, effect.stream]
                    assert not seen.released, "the stream was released before"
                PERFORM[type(effect)](self, effect)
        self._is_running = False

    def let_go(self) -> None:
        """Carry out all effects held, and hold none from now on."""
        self.hold_streams = self.hold_documents = self.hold_writes = self.hold_sends = False
        held, self.held = self.held, deque()
        for effect in held:
            PERFORM[type(effect)](self, effect)
        self.feed(inputs.TimerFired())

    def let_one_go(self) -> None:
        """Carry out the first effect held and continue to hold."""
        flags = (self.hold_streams, self.hold_documents, self.hold_writes, self.hold_sends)
        self.hold_streams = self.hold_documents = self.hold_writes = self.hold_sends = False
        effect = self.held.popleft()
        PERFORM[type(effect)](self, effect)
        self.hold_streams, self.hold_documents, self.hold_writes, self.hold_sends = flags
        self.feed(inputs.TimerFired())

    def frames(self, connection: int) -> list[StreamFrame]:
        """Return what the node has sent to a peer on streams of its own, in order."""
        sent: list[StreamFrame] = []
        for where in self.order:
            if where[0] == connection and where[1] % STREAM_STEP == OWN_BIDI:
                sent += FrameReader().feed(bytes(self.streams[where].data))
        return sent

    def take_frames(self, connection: int) -> list[StreamFrame]:
        """Return what the node has sent to a peer since the last call."""
        frames = self.frames(connection)
        self.order = [where for where in self.order if where[0] != connection]
        return frames

    # --- what the core asks for ------------------------------------------------------------------

    def open_stream(self, effect: OpenStream) -> None:
        """Grant a stream, or hold it."""
        if self.hold_streams:
            self.held.append(effect)
            return
        stream = self._number(effect.connection, OWN_BIDI if effect.bidi else OWN_UNI)
        self.streams[effect.connection, stream] = Seen()
        self.order.append((effect.connection, stream))
        self._report(effect.connection, inputs.StreamGranted(effect.ticket, stream))

    def take_send(self, effect: Send) -> None:
        """Record bytes and report them as sent, or hold them."""
        if self.hold_sends:
            self.held.append(effect)
            return
        seen = self.streams[effect.connection, effect.stream]
        assert not seen.finished, "the stream was finished before"
        seen.data += effect.data
        seen.finished = effect.fin
        if effect.fin or effect.reports:
            self._report(effect.connection, inputs.StreamSent(effect.stream))

    def take_reset(self, effect: Reset) -> None:
        """Record a reset."""
        self.streams[effect.connection, effect.stream].reset = effect.code

    def take_stop(self, effect: Stop) -> None:
        """Record a stop."""
        self.streams[effect.connection, effect.stream].stopped = effect.code

    def take_release(self, effect: Release) -> None:
        """Record that a stream was released."""
        self.streams[effect.connection, effect.stream].released = True

    def take_credit(self, effect: Consumed) -> None:
        """Record credit."""
        seen = self.streams[effect.connection, effect.stream]
        seen.consumed += effect.count
        seen.deferred = max(0, seen.deferred - effect.count)
        assert seen.consumed <= seen.written, "more credit than the peer has used"

    def take_deferred(self, effect: Deferred) -> None:
        """Record credit of the connection alone."""
        seen = self.streams[effect.connection, effect.stream]
        seen.deferred += effect.count
        assert seen.consumed + seen.deferred <= seen.written, "more credit than the peer has used"

    def take_close(self, effect: CloseConnection) -> None:
        """Record a close and report the end of the connection."""
        self.closed[effect.connection] = effect.code
        self._report(effect.connection, inputs.ConnectionClosed(effect.code))

    def call_documents(self, effect: CallDocuments) -> None:
        """Answer a call as the worker does, or hold it."""
        if self.hold_documents:
            self.held.append(effect)
            return
        call = effect.call
        result = (
            Each(tuple(map(self._answer, call.calls)))
            if isinstance(call, Together)
            else self._answer(call)
        )
        self._inputs.append(inputs.DocumentDone(effect.number, result))

    def write_store(self, effect: WriteStore) -> None:
        """Record a write and report it as durable, or hold it."""
        if self.hold_writes:
            self.held.append(effect)
            return
        self.writes.append(effect)
        self._inputs.append(inputs.Durable(effect.number))

    def drop_tombstones(self, effect: DropTombstones) -> None:
        """Record which tombstones the store drops."""
        self.dropped += effect.keys

    def notify(self, effect: Notify) -> None:
        """Record an event by its kind."""
        EVENTS[type(effect.event)](self).append(effect.event)

    def take_done(self, effect: LocalDone) -> None:
        """Record the end of an operation of the user."""
        assert effect.number not in self.done, "the operation is over already"
        self.done[effect.number] = effect.result

    def _report(self, connection: int, event: inputs.ConnectionEvent) -> None:
        self._inputs.append(inputs.ConnectionInput(connection, event))

    def _number(self, connection: int, kind: int) -> int:
        count = self._next_stream.get((connection, kind), 0)
        self._next_stream[connection, kind] = count + 1
        return count * STREAM_STEP + kind

    def _set_time(self, at_s: float) -> None:
        self.now_ms += round((at_s - self.now_s) * 1000)
        self.now_s = at_s


PERFORM: Final[dict[type, Callable[[Bench, Any], None]]] = {
    OpenStream: Bench.open_stream,
    Send: Bench.take_send,
    Reset: Bench.take_reset,
    Stop: Bench.take_stop,
    Release: Bench.take_release,
    Consumed: Bench.take_credit,
    Deferred: Bench.take_deferred,
    CloseConnection: Bench.take_close,
    CallDocuments: Bench.call_documents,
    WriteStore: Bench.write_store,
    DropTombstones: Bench.drop_tombstones,
    Notify: Bench.notify,
    LocalDone: Bench.take_done,
}


EVENTS: Final[dict[type[Event], Callable[[Bench], list[Any]]]] = {
    Refusal: lambda bench: bench.refusals,
    NotSent: lambda bench: bench.not_sent,
    Skipped: lambda bench: bench.skipped,
    RunOver: lambda bench: bench.runs,
    OtherDialect: lambda bench: bench.other_dialects,
    Accepted: lambda bench: bench.accepted,
    Mismatch: lambda bench: bench.mismatches,
    ClockOff: lambda bench: bench.clocks_off,
    Proven: lambda bench: bench.proven,
    Unproven: lambda bench: bench.unproven,
    NotAllowed: lambda bench: bench.not_allowed,
    NotCertified: lambda bench: bench.not_certified,
    CredentialIgnored: lambda bench: bench.ignored_credentials,
    Silent: lambda bench: bench.silent,
    TombstonesFull: lambda bench: bench.full,
}
"""Where a bench records each event of the core."""
