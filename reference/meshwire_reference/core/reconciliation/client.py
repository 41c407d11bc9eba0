"""A reconciliation that this node begins with a peer: it is the client, on a stream of its own.

Theory of operation. The run finds the documents that the peer lacks; documents that this node lacks
are found by a run of the peer's. It ends complete, or for a reason: an answer that breaks a rule, a
stream that ends early, an answer that never comes. In either case `on_over` is called once. The
stream is kept until the peer has finished its half, so that its end can be checked too.

With a peer that compares by heads a run finds the documents that have changed too, so nothing else
is offered after it. What changes while it goes on is passed on as any change. The side that was
dialled begins its run by heads after that of the other, whose documents have come by then: of a
document that differs, one side alone then sends what it has.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from meshwire_reference.core.context import Context
from meshwire_reference.core.effects import RunOver
from meshwire_reference.core.inputs import ConnectionClosed
from meshwire_reference.core.reconciliation.server import ServedRuns
from meshwire_reference.core.sending.initial_exchange import Selection
from meshwire_reference.core.state.document_index import CannotList
from meshwire_reference.core.streams import NO_STREAM, StreamHandler, Streams
from meshwire_reference.negentropy import Run, RunRefused, Step
from meshwire_reference.wire.batches import StreamFrame, encode_stream_frame
from meshwire_reference.wire.frames import RUN_CAPS, FrameReader, size_of_frame
from meshwire_spec.numbers import NEGENTROPY_KEY, REASON_ROWS, REASONS, FrameType
from meshwire_spec.states import OWN_RUN, OwnRunEvent, OwnRunState

ENDED: Final = "ended by the peer"
SILENT: Final = "no answer in time"
"""Causes of an incomplete run for which the registry has no reason."""
REFUSED_BY_PEER: Final = {
    row.code: f"refused by the peer: {row.name}" for row in REASON_ROWS if row.scope != "connection"
}
"""The same for the code of a reset."""

READING: Final = frozenset((OwnRunState.AWAITING, OwnRunState.COMPLETE))
"""States in which the next message of the peer is read."""
LOOKING: Final = frozenset(
    (OwnRunState.OPENING, OwnRunState.SENDING, OwnRunState.AWAITING, OwnRunState.WORKING)
)
"""States in which the end of the run means that it is not complete."""


class OwnRun(StreamHandler):
    """One run with one peer; `on_over` is called with the keys that the peer lacks, or None."""

    def __init__(
        self,
        context: Context,
        streams: Streams,
        on_over: Callable[[list[str] | None], None],
    ) -> None:
        super().__init__(streams)
        self.state = OwnRunState.IDLE
        self._context = context
        self._on_over = on_over
        self._items = context.items_for(streams.peer)
        self._by_heads = context.compares_heads(streams.peer)
        self._run: Run | None = None
        self._reader = FrameReader(context.settings.payload_cap, caps=RUN_CAPS)
        self._ticket = 0
        self._backlog: deque[bytes] = deque()
        self._frames: deque[StreamFrame] = deque()
        # The cause of the peer's end of a half, or None; handled once all bytes are read.
        self._why_ended: str | None = None
        self._ends_s = 0.0
        # In the order in which they were found, each once.
        self._missing: dict[str, None] = {}
        # Only counted, repetitions included: a correct peer may list any number of them.
        self._needed = 0
        self._sent_bytes = self._received_bytes = 0

    @property
    def _timer(self) -> tuple[str, int]:
        return ("run", self._streams.connection)

    def _move(self, event: OwnRunEvent) -> None:
        self.state = OWN_RUN[self.state, event]

    def start(self) -> None:
        """Begin once the peer's credit allows a stream."""
        self._move(OwnRunEvent.STARTED)
        self._count("begun")
        self._ends_s = self._context.now.monotonic_s + self._context.settings.run_s
        self._ticket = self._streams.open(self, bidi=True)
        self._await()

    def close(self, closed: ConnectionClosed) -> None:
        """Discard the run: the connection is closed."""
        has_asked = self.state in (OwnRunState.SENDING, OwnRunState.AWAITING)
        if has_asked and not self._received_bytes and closed.by_peer:
            is_in_order = closed.code in (None, REASONS["shutdown"].code)
            self._context.run_refusals.note(self._streams.peer, is_in_order=is_in_order)
        if self.state in LOOKING:
            self._count("incomplete")
        self._move(OwnRunEvent.CONNECTION_ENDED)
        self._context.timers.cancel(self._timer)
        self._run = None

    # --- what happens on the stream --------------------------------------------------------------

    def take_stream(self, stream: int) -> None:
        """Send the first message on the stream that was opened."""
        super().take_stream(stream)
        self._context.when_listed(self._streams.peer, self._initiate)

    def _initiate(self) -> None:
        """Begin, now that the documents are listed, unless the run is over."""
        if self.state is not OwnRunState.OPENING:
            return
        try:
            self._run = Run(self._items.as_storage())
        except CannotList:
            # NG-024
            self._refuse("internal")
            return
        self._move(OwnRunEvent.STREAM_OPENED)
        # NG-062
        self._send(FrameType.NEGENTROPY_INIT, self._run.initiate())

    def receive(self, data: bytes, *, fin: bool) -> None:
        """Take bytes of the peer, and its FIN."""
        if data:
            self._backlog.append(data)
        if fin:
            self._note_ended(ENDED)
        self._pump()

    def take_reset(self, code: int) -> None:
        """Handle a RESET of the peer's half of the run."""
        self._why_ended = REFUSED_BY_PEER.get(code, ENDED)
        self._pump()

    def take_stop(self, code: int) -> None:
        """Handle a STOP of this side's half, which ends the run."""
        self.take_reset(code)

    def note_sent(self, *, has_failed: bool) -> None:
        """Continue after a message was sent, or end the run if it was lost."""
        if has_failed:
            self._note_ended(ENDED)
        if (self.state, OwnRunEvent.SENT) in OWN_RUN:
            self._move(OwnRunEvent.SENT)
        self._pump()

    def _note_ended(self, why: str) -> None:
        self._why_ended = self._why_ended or why

    def _pump(self) -> None:
        """Handle one answer after the other, each once the message before it was sent."""
        while self.state in READING:
            if self._frames:
                self._take_frame(self._frames.popleft())
            elif self._reader.fault is not None:
                self._refuse(self._reader.fault.reason)
            elif self._backlog:
                chunk = self._backlog.popleft()
                self._streams.consume(self._stream, len(chunk))
                self._frames.extend(self._reader.feed(chunk))
            elif self._why_ended is not None:
                # NG-027
                self._end(OwnRunEvent.PEER_ENDED, self._why_ended)
            else:
                return

    def _take_frame(self, frame: StreamFrame) -> None:
        is_answer = (frame.key, frame.type) == (NEGENTROPY_KEY, FrameType.NEGENTROPY_RESPONSE)
        if not is_answer or self.state is OwnRunState.COMPLETE:
            # NG-028
            self._refuse("unexpected-message")
            return
        self._received_bytes += len(frame.payload)
        for counts in self._context.statistics.each(self._streams.peer):
            counts.frames[frame.type] += 1
            counts.frame_bytes[frame.type] += size_of_frame(frame)
        self._context.run_refusals.note_answer(self._streams.peer)
        self._move(OwnRunEvent.ANSWERED)
        # NG-029: the wait of the answer for its turn is no silence of the peer.
        self._give_up_at(self._ends_s)
        # A short answer may mean that the peer lacks every document.
        weight = len(frame.payload) + len(self._context.documents)
        self._context.turns.take(weight, partial(self._take_answer, frame.payload))

    def _take_answer(self, payload: bytes) -> None:
        if self.state is not OwnRunState.WORKING or self._run is None:
            return
        try:
            step = self._run.receive(payload)
        except RunRefused as refused:
            self._refuse(refused.reason)
            return
        self._count("rounds")
        self._note(step)
        if step.reply is not None:
            self._move(OwnRunEvent.REPLIED)
            self._send(FrameType.NEGENTROPY_RESPONSE, step.reply)
        else:
            self._move(OwnRunEvent.SETTLED)
            self._emit_send(b"", fin=True)
            self._await()
            self._tell(None)
        self._pump()

    def _count(self, kind: str) -> None:
        for counts in self._context.statistics.each(self._streams.peer):
            counts.runs[kind] += 1

    def _note(self, step: Step) -> None:
        for identity in step.have:
            key = self._items.key_of(identity)
            if key is not None:
                self._missing[key] = None
        self._needed += len(step.need)

    # --- what this side does ---------------------------------------------------------------------

    def _send(self, frame_type: FrameType, message: bytes) -> None:
        self._sent_bytes += len(message)
        data = encode_stream_frame(StreamFrame(NEGENTROPY_KEY, frame_type, message))
        self._emit_send(data, frame=frame_type)
        self._await()

    def _emit_send(self, data: bytes, *, fin: bool = False, frame: FrameType | None = None) -> None:
        after = self._context.durability.newest
        self._streams.send(self._stream, data, fin=fin, reports=True, after=after, frame=frame)

    def _await(self) -> None:
        at_s = self._context.now.monotonic_s + self._context.settings.run_answer_s
        if self._by_heads and not self._received_bytes:
            # The peer may have to find out its heads first.
            at_s = self._ends_s
        self._give_up_at(min(at_s, self._ends_s))

    def _give_up_at(self, at_s: float) -> None:
        give_up = partial(self._end, OwnRunEvent.TIME_OUT, SILENT)
        self._context.timers.set(self._timer, at_s, give_up)

    def _refuse(self, reason: str) -> None:
        """Refuse the stream for the content of an answer."""
        self._streams.note_refusal(reason, "bidi", self._reader.key)
        self._streams.stop(self._stream, reason)
        self._streams.reset(self._stream, reason)
        self._end(OwnRunEvent.REFUSED, reason)

    def _end(self, event: OwnRunEvent, reason: str) -> None:
        """End the run, incomplete unless it was complete before, and release its stream."""
        was_looking = self.state in LOOKING
        self._move(event)
        if was_looking:
            self._tell(reason)
        self._context.timers.cancel(self._timer)
        if self._stream == NO_STREAM:
            self._streams.cancel(self._ticket)
        else:
            self._streams.release(self._stream)

    def _tell(self, reason: str | None) -> None:
        """Log the end of the run, and pass on the keys found if it is complete."""
        missing = list(self._missing)
        self._missing.clear()
        rounds = 0 if self._run is None else self._run.rounds
        self._run = None
        self._context.notify(
            RunOver(
                self._streams.peer,
                self._streams.connection,
                rounds,
                self._sent_bytes,
                self._received_bytes,
                len(missing),
                self._needed,
                reason,
            )
        )
        self._on_over(missing if reason is None else None)


class RunSelection(Selection):
    """Keys that a run finds the peer to lack, and after a run by keys those that both sides hold.

    Such a run compares no contents, so documents held by both are offered too, after a delay
    (NG-026). `resume` is called when there are more keys. The run begins after the `earlier` runs
    of the peer.
    """

    def __init__(
        self,
        context: Context,
        streams: Streams,
        resume: Callable[[], None],
        earlier: ServedRuns | None = None,
    ) -> None:
        self.keys: deque[str] = deque()
        self.announced = frozenset()
        self.is_final = False
        self._context = context
        self._resume = resume
        self._peer = streams.peer
        self._has_begun = False
        self._earlier = earlier
        self._timer = ("held by both", streams.connection)
        self._run = OwnRun(context, streams, self._take)

    def begin(self) -> None:
        """Start the run on the first call, after earlier runs."""
        if not self._has_begun:
            self._has_begun = True
            self._start()

    def _start(self) -> None:
        if self._run.state is not OwnRunState.IDLE:
            return
        if self._earlier is None:
            self._run.start()
        else:
            at_s = self._context.now.monotonic_s + self._context.settings.second_run_s
            self._context.timers.set(self._timer, at_s, self._start_after)

    def _start_after(self) -> None:
        """Start the run, or wait once more for that of the peer."""
        if self._earlier is not None and not len(self._earlier):
            self._earlier = None
        self._start()

    def close(self, closed: ConnectionClosed) -> None:
        """End the run and offer nothing later."""
        self._run.close(closed)
        self._context.timers.cancel(self._timer)

    def _take(self, missing: list[str] | None) -> None:
        if missing is None:
            # NG-027
            self._offer_rest(frozenset())
            return
        # NG-025
        self.keys.extend(self._context.offers(self._peer, missing))
        if self._context.compares_heads(self._peer):
            # NG-068
            self.is_final = True
            self._resume()
            return
        offered = frozenset(missing)
        at_s = self._context.now.monotonic_s + self._context.settings.held_by_both_s
        self._context.timers.set(self._timer, at_s, lambda: self._offer_rest(offered))
        self._resume()

    def _offer_rest(self, offered: frozenset[str]) -> None:
        # NG-026
        rest = (key for key in self._context.documents if key not in offered)
        self.keys.extend(self._context.offers(self._peer, rest))
        self.is_final = True
        self._resume()
