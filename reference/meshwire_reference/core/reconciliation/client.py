"""A reconciliation that this node begins with a peer: it is the client, on a stream of its own.

Theory of operation. The run tells which of our documents the peer lacks; what we lack, the peer
finds by a run of its own. It ends complete, or for a reason: an answer that no honest peer sends,
a stream that ends early, an answer that never comes. In either case `on_over` is called once. The
stream is kept until the peer has finished its half, so that its ending too can be seen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from meshwire_reference.core.context import Context
from meshwire_reference.core.effects import (
    Consumed,
    OpenStream,
    Refusal,
    Release,
    Reset,
    RunOver,
    Send,
    Stop,
)
from meshwire_reference.core.state.document_index import CannotList
from meshwire_reference.negentropy import Run, RunRefused, Step
from meshwire_reference.wire.batches import StreamFrame, encode_stream_frame
from meshwire_reference.wire.frames import RUN_CAPS, FrameReader
from meshwire_spec.numbers import NEGENTROPY_KEY, REASON_ROWS, REASONS, FrameType

ENDED = "ended by the peer"
SILENT = "no answer in time"
"""Why a run was not complete, where the reason is none of the registry's."""
REFUSED_BY_PEER: Final = {
    row.code: f"refused by the peer: {row.name}" for row in REASON_ROWS if row.scope != "connection"
}
"""The same for what the code of a reset says."""


class OwnRun:
    """One run with one peer; `on_over` gets the keys that the peer lacks, or None."""

    def __init__(
        self,
        context: Context,
        connection: int,
        peer_id: bytes,
        on_over: Callable[[list[str] | None], None],
    ) -> None:
        self._context = context
        self._connection = connection
        self._peer_id = peer_id
        self._on_over = on_over
        self._run: Run | None = None
        self._reader = FrameReader(context.settings.payload_cap, caps=RUN_CAPS)
        self._ticket: int | None = None
        self._stream: int | None = None
        self._backlog: deque[bytes] = deque()
        self._frames: deque[StreamFrame] = deque()
        self._is_sending = False
        # While an answer waits for its turn.
        self._is_busy = False
        self._has_ended = False
        self._why_ended = ENDED
        self._ends_s = 0.0
        # In the order of their finding, each once.
        self._missing: dict[str, None] = {}
        # Only counted, one that comes again twice: an honest peer may name any number of them.
        self._needed = 0
        self._sent_bytes = self._received_bytes = 0

    @property
    def _timer(self) -> tuple[str, int]:
        return ("run", self._connection)

    def start(self) -> None:
        """Begin, once the peer's credit gives a stream."""
        self._ends_s = self._context.now.monotonic_s + self._context.settings.run_s
        self._ticket = next(self._context.tickets)
        self._context.emit(OpenStream(connection=self._connection, ticket=self._ticket, bidi=True))
        self._await()

    def close(self) -> None:
        """Forget the run: the connection is gone."""
        self._context.timers.cancel(self._timer)
        self._run = self._ticket = self._stream = None

    # --- what happens on the stream --------------------------------------------------------------

    def take_stream(self, ticket: int, stream: int) -> bool:
        """Use the stream that was asked for; False where the ticket is another's."""
        if ticket != self._ticket:
            return False
        self._ticket, self._stream = None, stream
        try:
            self._run = Run(self._context.documents.as_storage())
        except CannotList:
            # NG-024
            self._refuse("internal")
            return True
        self._send(FrameType.NEGENTROPY_INIT, self._run.initiate())
        return True

    def take_data(self, stream: int, data: bytes, *, fin: bool) -> bool:
        """Take bytes of the peer, and its FIN; False where the stream is another's."""
        if stream != self._stream:
            return False
        if data:
            self._backlog.append(data)
        self._has_ended = self._has_ended or fin
        self._pump()
        return True

    def take_reset(self, stream: int, code: int) -> bool:
        """Take the peer's giving up a half of the run; False where the stream is another's."""
        if stream != self._stream:
            return False
        self._why_ended = REFUSED_BY_PEER.get(code, ENDED)
        return self.take_data(stream, b"", fin=True)

    def note_over(self, stream: int, *, has_failed: bool) -> bool:
        """Take note that a message has left, or never will; False for another's stream."""
        if stream != self._stream:
            return False
        self._is_sending = False
        self._has_ended = self._has_ended or has_failed
        self._pump()
        return True

    def _pump(self) -> None:
        """Take one answer after the other, each once the message before it has left."""
        while self._stream is not None and not (self._is_sending or self._is_busy):
            if self._frames:
                self._take_frame(self._frames.popleft())
            elif self._reader.fault is not None:
                self._refuse(self._reader.fault.reason)
            elif self._backlog:
                self._take_chunk(self._stream, self._backlog.popleft())
            elif self._has_ended:
                # NG-027
                self._end(self._why_ended)
                self._let_go()
            else:
                return

    def _take_chunk(self, stream: int, chunk: bytes) -> None:
        self._context.emit(Consumed(connection=self._connection, stream=stream, count=len(chunk)))
        self._frames.extend(self._reader.feed(chunk))

    def _take_frame(self, frame: StreamFrame) -> None:
        is_answer = (frame.key, frame.type) == (NEGENTROPY_KEY, FrameType.NEGENTROPY_RESPONSE)
        if not is_answer or self._run is None:
            # NG-028
            self._refuse("unexpected-message")
            return
        self._received_bytes += len(frame.payload)
        self._is_busy = True
        # Of a few bytes it may follow that the peer lacks all that there is.
        weight = len(frame.payload) + len(self._context.documents)
        self._context.turns.take(weight, partial(self._take_answer, frame.payload))

    def _take_answer(self, payload: bytes) -> None:
        self._is_busy = False
        if self._stream is None or self._run is None:
            return
        try:
            step = self._run.receive(payload)
        except RunRefused as refused:
            self._refuse(refused.reason)
            return
        self._note(step)
        if step.reply is not None:
            self._send(FrameType.NEGENTROPY_RESPONSE, step.reply)
        else:
            self._emit_send(b"", fin=True)
            self._end(None)
        self._pump()

    def _note(self, step: Step) -> None:
        for identity in step.have:
            key = self._context.documents.key_of(identity)
            if key is not None:
                self._missing[key] = None
        self._needed += len(step.need)

    # --- what this side does ---------------------------------------------------------------------

    def _send(self, frame_type: FrameType, message: bytes) -> None:
        self._sent_bytes += len(message)
        self._emit_send(encode_stream_frame(StreamFrame(NEGENTROPY_KEY, frame_type, message)))
        self._await()

    def _emit_send(self, data: bytes, *, fin: bool = False) -> None:
        assert self._stream is not None, "nothing is sent before there is a stream"
        self._is_sending = True
        self._context.emit(
            Send(
                connection=self._connection,
                stream=self._stream,
                data=data,
                fin=fin,
                reports=True,
                after=self._context.durability.newest,
            )
        )

    def _await(self) -> None:
        at_s = self._context.now.monotonic_s + self._context.settings.run_answer_s
        self._context.timers.set(self._timer, min(at_s, self._ends_s), self._give_up)

    def _give_up(self) -> None:
        self._end(SILENT)
        self._ticket = None
        self._let_go()

    def _refuse(self, reason: str) -> None:
        """Refuse the stream for what came on it."""
        self._context.note_refusal(
            Refusal(reason, self._peer_id.hex(), self._connection, "bidi", self._reader.key)
        )
        code = REASONS[reason].code
        if self._stream is not None:
            where = (self._connection, self._stream)
            self._context.emit(Stop(connection=where[0], stream=where[1], code=code))
            self._context.emit(Reset(connection=where[0], stream=where[1], code=code))
        self._end(reason)
        self._let_go()

    def _let_go(self) -> None:
        self._context.timers.cancel(self._timer)
        if self._stream is not None:
            self._context.emit(Release(connection=self._connection, stream=self._stream))
        self._stream = None

    def _end(self, reason: str | None) -> None:
        """Say once how the run went, and to whoever waits for it what it found."""
        if self._on_over is _nobody:
            return
        on_over, self._on_over = self._on_over, _nobody
        missing = list(self._missing)
        self._missing.clear()
        rounds = 0 if self._run is None else self._run.rounds
        self._run = None
        self._context.notify(
            RunOver(
                self._peer_id.hex(),
                self._connection,
                rounds,
                self._sent_bytes,
                self._received_bytes,
                len(missing),
                self._needed,
                reason,
            )
        )
        on_over(missing if reason is None else None)


def _nobody(_keys: list[str] | None) -> None:
    """Stand for whoever has been told already."""
