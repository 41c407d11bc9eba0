"""Reconciliations that the peer has begun: this node is the server of each, on its stream.

Theory of operation. A run lasts as long as its stream. Its messages are handled one after the
other, as frames are; each is answered on the same stream, and the effect of the frame is
outstanding until the transport has the answer, so a peer that does not read delays only itself.
Answers count toward the bytes made for the peer and not sent (`quotas`); a message waits until its
answer has room. The first message of a run by heads also waits until the heads are known.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import Final

from meshwire_reference.core.context import Context
from meshwire_reference.core.sending.outbound import Outbound
from meshwire_reference.core.state.document_index import CannotList
from meshwire_reference.core.streams import PendingEffects
from meshwire_reference.negentropy import Run, RunRefused
from meshwire_reference.wire.batches import StreamFrame, encode_stream_frame
from meshwire_spec.numbers import NEGENTROPY_FRAME_LIMIT, NEGENTROPY_KEY, FrameType

ALWAYS: Final = 2
"""Number of answers that may always be in flight to a peer, whatever else is queued for it."""


@dataclass(frozen=True, slots=True)
class _Message:
    """A message that waits until its answer has room."""

    stream: int
    content: bytes
    effects: PendingEffects


class ServedRuns:
    """The runs that one peer began, by stream."""

    def __init__(self, context: Context, outbound: Outbound) -> None:
        self._context = context
        self._outbound = outbound
        self._items = context.items_for(outbound.streams.peer)
        # None until the documents are listed.
        self._runs: dict[int, Run | None] = {}
        self._waiting: deque[_Message] = deque()
        self._under_way: dict[int, _Message] = {}
        self._given_up: set[int] = set()

    def __len__(self) -> int:
        """Return how many runs of the peer are not over."""
        return len(self._runs)

    def take(self, stream: int, frame: StreamFrame, effects: PendingEffects) -> str | None:
        """Answer a message on its stream; return the reason to refuse it, or None.

        The effect of the message is outstanding until its answer was sent.
        """
        begins = frame.type == FrameType.NEGENTROPY_INIT
        if begins == (stream in self._runs):
            # NG-017
            return "unexpected-message"
        if begins:
            self._runs[stream] = None
            self._count("served")
        if stream not in self._given_up:
            effects.begin()
            self._waiting.append(_Message(stream, frame.payload, effects))
            self.advance()
        return None

    @property
    def answers(self) -> int:
        """Number of answers that are being made."""
        return len(self._under_way)

    def advance(self) -> None:
        """Answer every message whose answer has room, heavy ones in their turn."""
        while self._waiting and (len(self._under_way) < ALWAYS or self._has_room()):
            message = self._waiting.popleft()
            self._under_way[message.stream] = message
            self._outbound.reserve(NEGENTROPY_FRAME_LIMIT)
            self._context.turns.take(len(message.content), partial(self._answer, message))

    def _has_room(self) -> bool:
        return self._outbound.has_room(NEGENTROPY_FRAME_LIMIT)

    def _answer(self, message: _Message) -> None:
        if self._under_way.get(message.stream) is not message:
            # The message was dropped before its turn.
            return
        if message.stream not in self._runs or not self._outbound.is_open:
            # The peer is gone.
            self._end(message.stream)
            return
        run = self._runs[message.stream]
        if run is None:
            self._context.when_listed(self._outbound.streams.peer, partial(self._begin, message))
        else:
            self._reply(run, message)

    def _begin(self, message: _Message) -> None:
        """Begin the run of a message, now that the documents are listed."""
        stream = message.stream
        if stream in self._runs and self._under_way.get(stream) is message:
            try:
                # NG-014, NG-016, NG-019
                self._runs[stream] = Run(self._items.as_storage())
            except CannotList:
                # NG-024
                self._end(stream, "internal")
                return
        self._answer(message)

    def _reply(self, run: Run, message: _Message) -> None:
        try:
            reply = run.receive(message.content).reply
        except RunRefused as refused:
            # NG-020, NG-021, NG-022
            self._end(message.stream, refused.reason)
            return
        assert reply is not None, "a server always has an answer"
        frame = StreamFrame(NEGENTROPY_KEY, FrameType.NEGENTROPY_RESPONSE, reply)
        self._outbound.streams.send(
            message.stream,
            encode_stream_frame(frame),
            reports=True,
            # An answer about the documents must be true after a crash too.
            after=self._context.durability.newest,
            frame=FrameType.NEGENTROPY_RESPONSE,
        )
        self._count("rounds")

    def _count(self, kind: str) -> None:
        for counts in self._context.statistics.each(self._outbound.streams.peer):
            counts.runs[kind] += 1

    def _end(self, stream: int, reason: str | None = None) -> None:
        """End the effect of a message; its stream continues or is refused."""
        message = self._under_way.pop(stream)
        self._outbound.reserve(-NEGENTROPY_FRAME_LIMIT)
        message.effects.end(reason)

    def note_sent(self, stream: int) -> None:
        """Continue after an answer was sent, or stopped by the peer."""
        if stream in self._under_way:
            self._end(stream)
            self._outbound.pump()
            self.advance()

    def give_up(self, stream: int) -> None:
        """Answer nothing more on a stream whose two halves were reset; `drop` must follow."""
        self._given_up.add(stream)
        for message in [one for one in self._waiting if one.stream == stream]:
            self._waiting.remove(message)
            message.effects.end()
        self.note_sent(stream)

    def drop(self, stream: int) -> None:
        """Discard the run of a closed stream, if it had one."""
        self._runs.pop(stream, None)
        self._given_up.discard(stream)
