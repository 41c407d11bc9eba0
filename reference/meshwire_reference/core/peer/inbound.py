"""Streams that the peer opened, and the frames that come out of a bidi one.

Theory of operation. A bidi stream works on one frame at a time. While a frame has not taken effect,
what arrives is kept unread and its credit is not given back, so a peer cannot pile up work. The
stream ends in one of three ways: everything read, in effect and durable, and its half is finished
(the barrier); refused, and both halves end with the code of the reason; or cut off by the peer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from meshwire_reference.core.context import Context
from meshwire_reference.core.effects import (
    Consumed,
    Refusal,
    Release,
    Reset,
    Send,
    Stop,
    WriteNumber,
)
from meshwire_reference.core.limits.budget import Budget
from meshwire_reference.wire.batches import StreamFrame
from meshwire_reference.wire.frames import KNOWN_TYPES, RUN_CAPS, FrameReader
from meshwire_spec.numbers import REASONS


@dataclass(frozen=True, slots=True)
class Outcome:
    """A frame is dealt with: why the stream is to be refused, and the last write of the frame."""

    reason: str | None = None
    after: WriteNumber | None = None


TAKEN = Outcome()
"""The frame had its effect, or was ignored, and nothing waits for a write."""

Done: TypeAlias = Callable[[Outcome], None]


class Owner(Protocol):
    """The session that a stream belongs to."""

    connection: int
    peer_id: bytes
    budget: Budget

    def resume(self) -> None:
        """Let streams go on that waited for room."""
        ...

    @property
    def may_read(self) -> bool:
        """Say whether frames may take effect."""
        ...

    def take_frame(self, stream: int, frame: StreamFrame, done: Done) -> None:
        """Let a frame take effect and call `done` when it has."""
        ...

    def note_alive(self) -> None:
        """Take note that the peer was heard."""
        ...

    def let_go(self, stream: int) -> None:
        """Forget a stream that is over."""
        ...


class InboundStream(ABC):
    """What both kinds of stream share: waiting for the session, and the ways to end."""

    kind: str

    def __init__(self, context: Context, owner: Owner, stream: int) -> None:
        self._context = context
        self._owner = owner
        self._connection = owner.connection
        self._stream = stream
        self._backlog: deque[bytes] = deque()
        self._fin = False
        self._is_cut = False
        self._after: WriteNumber | None = None
        self.is_over = False

    def receive(self, data: bytes, *, fin: bool) -> None:
        """Take the next bytes of the peer, and its FIN."""
        if data:
            self._backlog.append(data)
        self._fin = self._fin or fin
        self.pump()

    def cut(self) -> None:
        """Take a RESET of the peer: whole frames stand, the one it cut off is dropped."""
        self._is_cut = True
        self.pump()

    @abstractmethod
    def pump(self) -> None:
        """Go on as far as possible; called again whenever something has changed."""

    def take_chunk(self) -> bytes:
        """Take what came next and give back its credit."""
        chunk = self._backlog.popleft()
        self._consume(len(chunk))
        return chunk

    def _consume(self, count: int) -> None:
        self._context.emit(
            Consumed(connection=self._connection, stream=self._stream, count=count),
        )

    def refuse(self, reason: str, key: str = "") -> None:
        """End both halves with the code of a reason; what stood before keeps its effect."""
        self._context.note_refusal(
            Refusal(reason, self._owner.peer_id.hex(), self._connection, self.kind, key),
        )
        emit = self._context.emit
        connection, stream, after = self._connection, self._stream, self._after
        code = REASONS[reason].code
        # ER-010
        emit(Stop(connection=connection, stream=stream, code=code, after=after))
        # ER-011
        emit(Reset(connection=connection, stream=stream, code=code, after=after))
        self.end()

    def end(self) -> None:
        """Let the stream go, whose halves have ended or end with this."""
        self.is_over = True
        # The transport counts what it still holds of a released stream as consumed.
        self._backlog.clear()
        self._context.timers.cancel((self._connection, self._stream))
        self._context.emit(
            Release(connection=self._connection, stream=self._stream, after=self._after),
        )
        self._owner.let_go(self._stream)


class FrameStream(InboundStream):
    """A bidi stream with frames."""

    kind = "bidi"

    def __init__(self, context: Context, owner: Owner, stream: int) -> None:
        super().__init__(context, owner, stream)
        self._reader = FrameReader(context.settings.payload_cap, KNOWN_TYPES, RUN_CAPS)
        self._frames: deque[StreamFrame] = deque()
        self._key = ""
        self._is_busy = False
        self._is_pumping = False
        self._waits_for_room = False

    def end(self) -> None:
        """Let the stream go and what it held."""
        super().end()
        self._hold(0)

    def _hold(self, size: int) -> None:
        if self._owner.budget.hold(self._stream, size):
            self._owner.resume()

    def pump(self) -> None:
        """Read frames and let them take effect, one after the other."""
        if self._is_pumping:
            return
        self._is_pumping = True
        while not self._is_busy and not self.is_over and self._owner.may_read and self._advance():
            pass
        self._is_pumping = False
        self._watch_stall()

    def _advance(self) -> bool:
        """Make one step; say whether there may be another."""
        if self._frames:
            self._begin(self._frames.popleft())
        elif self._reader.fault is not None:
            self.refuse(self._reader.fault.reason, self._reader.key)
        elif self._backlog:
            self._waits_for_room = not self._owner.budget.has_room(
                self._stream, len(self._backlog[0])
            )
            if self._waits_for_room:
                return False
            # TR-005
            self._frames.extend(self._reader.feed(self.take_chunk()))
            self._hold(self._reader.held_bytes)
            self._context.timers.cancel((self._connection, self._stream))
        elif self._is_cut:
            # TR-014
            self.end()
        elif self._fin:
            self._close()
        else:
            return False
        return True

    def _begin(self, frame: StreamFrame) -> None:
        self._key = frame.key
        # TR-006
        self._is_busy = True
        self._owner.take_frame(self._stream, frame, self._on_done)

    def _on_done(self, outcome: Outcome) -> None:
        self._is_busy = False
        if outcome.after is not None:
            self._after = outcome.after
        if outcome.reason is not None and not self.is_over:
            # ER-014
            self._frames.clear()
            self.refuse(outcome.reason, self._key)
        self.pump()

    def _close(self) -> None:
        """Take the peer's FIN once everything before it has taken effect."""
        fault = self._reader.end()
        if fault is not None:
            self.refuse(fault.reason, self._reader.key)
            return
        # TR-020, TR-021
        self._context.emit(
            Send(
                connection=self._connection,
                stream=self._stream,
                data=b"",
                fin=True,
                after=self._after,
            ),
        )
        self.end()

    def _watch_stall(self) -> None:
        """Run the deadline while a frame has begun, its rest is missing, and we would take it."""
        name = (self._connection, self._stream)
        is_ours = self.is_over or self._is_busy or self._fin or self._waits_for_room
        waits = not is_ours and self._owner.may_read
        # TR-013
        if not (waits and self._reader.is_inside_frame):
            self._context.timers.cancel(name)
        elif not self._context.timers.is_set(name):
            at_s = self._context.now.monotonic_s + self._context.settings.frame_stall_s
            # TR-012
            self._context.timers.set(
                name, at_s, lambda: self.refuse("frame-stall", self._reader.key)
            )
