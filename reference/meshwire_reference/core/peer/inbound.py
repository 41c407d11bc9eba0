"""Streams that the peer opened, and the frames on the bidi ones.

Theory of operation. A bidi stream handles one frame at a time. While effects of that frame are
outstanding, later bytes are kept unread and their credit is not granted again, so a peer cannot
pile up work. The stream ends in one of three ways: everything is read, in effect and durable, and
this side's half is finished (the barrier); it is refused, and both halves end with the code of the
reason; or the peer cuts it off. `INBOUND_STREAM` is the table of these.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import ClassVar, Final, TypeAlias

from meshwire_reference.core.context import Context
from meshwire_reference.core.effects import WriteNumber
from meshwire_reference.core.reconciliation.server import ServedRuns
from meshwire_reference.core.streams import PendingEffects, StreamHandler, Streams
from meshwire_reference.wire.batches import StreamFrame
from meshwire_reference.wire.frames import KNOWN_TYPES, RUN_CAPS, FrameReader
from meshwire_spec.states import INBOUND_OVER, INBOUND_STREAM, InboundEvent, InboundState

FRAME_UNITS: Final = 4
"""Units of work of a frame, besides those of its effect."""

TakeFrame: TypeAlias = Callable[[int, StreamFrame, PendingEffects], str | None]
"""Starts the effects of a frame on a stream; returns the reason to refuse it, or None."""


class InboundStream(StreamHandler):
    """The common part of both kinds of stream: waiting for the session, and the ways to end."""

    kind: ClassVar[str]

    def __init__(self, context: Context, streams: Streams, stream: int) -> None:
        super().__init__(streams, stream)
        self.state = InboundState.OPEN
        self._context = context
        self._backlog: deque[bytes] = deque()
        self._unread_bytes = 0

    def receive(self, data: bytes, *, fin: bool) -> None:
        """Take the next bytes of the peer, and its FIN."""
        if data:
            self._backlog.append(data)
            self._unread_bytes += len(data)
        if fin:
            self._move(InboundEvent.FIN)
        self.resume()

    def take_reset(self, code: int) -> None:
        """Take a RESET of the peer: what is whole keeps its effect, what is not is dropped."""
        self.cut()

    def cut(self) -> None:
        """Take the end of the peer's half without a FIN."""
        self._move(InboundEvent.RESET)
        self.resume()

    @property
    def _may_go_on(self) -> bool:
        return self.state not in INBOUND_OVER and self._streams.may_read

    def _move(self, event: InboundEvent) -> None:
        self.state = INBOUND_STREAM[self.state, event]

    def _take_chunk(self) -> bytes:
        """Return the next bytes and grant their credit again."""
        chunk = self._backlog.popleft()
        self._unread_bytes -= len(chunk)
        self._streams.consume(self._stream, len(chunk))
        self._context.timers.cancel((self._streams.connection, self._stream))
        return chunk

    @property
    def _after(self) -> WriteNumber | None:
        """The last write of the stream, which its end must not overtake; None without one."""
        return None

    def _set_stall_timer(self, *, awaits_peer: bool, key: str = "") -> None:
        """Run the deadline for the next bytes while the node awaits them; `key` is for the log."""
        name = (self._streams.connection, self._stream)
        self._streams.note_unread(self._stream, self._unread_bytes)
        self._streams.grant_exempt()
        # TR-030
        if not awaits_peer or self._streams.withholds_credit:
            self._context.timers.cancel(name)
        elif not self._context.timers.is_set(name):
            at_s = self._context.now.monotonic_s + self._context.settings.frame_stall_s
            # TR-012, LV-009
            self._context.timers.set(name, at_s, lambda: self._refuse("frame-stall", key))

    def _refuse(self, reason: str, key: str = "") -> None:
        """End both halves with the code of a reason; earlier frames keep their effect."""
        after = self._after
        self._streams.note_refusal(reason, self.kind, key)
        # ER-010
        self._streams.stop(self._stream, reason, after)
        # ER-011
        self._streams.reset(self._stream, reason, after)
        self._end(InboundEvent.FAULT)

    def _end(self, event: InboundEvent) -> None:
        """Release the stream; its halves have ended or end with this call."""
        self._move(event)
        # The transport counts what it still holds of a released stream as consumed.
        self._backlog.clear()
        self._unread_bytes = 0
        self._context.timers.cancel((self._streams.connection, self._stream))
        self._streams.release(self._stream, self._after)


class FrameStream(InboundStream):
    """A bidi stream with frames."""

    kind = "bidi"

    def __init__(
        self,
        context: Context,
        streams: Streams,
        stream: int,
        runs: ServedRuns,
        take_frame: TakeFrame,
    ) -> None:
        super().__init__(context, streams, stream)
        self._runs = runs
        self._take_frame = take_frame
        self._reader = FrameReader(context.settings.payload_cap, KNOWN_TYPES, RUN_CAPS)
        self._head = b""
        self._taken_bytes = 0
        self._effects = PendingEffects(self._note_taken)
        self._key = ""
        self._is_pumping = False
        self._awaits_turn = False

    @property
    def _after(self) -> WriteNumber | None:
        return self._effects.after

    @property
    def head(self) -> bytes:
        """The beginning of the frame that is incomplete, also once the stream is over."""
        return self._reader.head or self._head

    def take_reset(self, code: int) -> None:
        """Take a RESET of the peer: whole frames keep their effect, none is answered here."""
        # TR-024
        self._streams.reset(self._stream, "shutdown")
        self.cut()

    def cut(self) -> None:
        """Take the end of the peer's half without a FIN: an answer on the way is given up."""
        self._move(InboundEvent.RESET)
        # Its message holds bytes of the budget for all peers until then.
        self._runs.give_up(self._stream)
        self.resume()

    def note_sent(self, *, has_failed: bool) -> None:
        """Continue after an answer of the run on this stream was sent or lost."""
        self._runs.note_sent(self._stream)

    def resume(self) -> None:
        """Read frames and apply them one after the other, a slice of them in each turn."""
        if self._is_pumping or self._awaits_turn:
            return
        self._is_pumping = True
        turns = self._context.turns
        while not self._effects.count and self._may_go_on:
            if not turns.has_units and self._has_work:
                self._awaits_turn = True
                turns.later(self._take_turn)
                break
            if not self._advance():
                break
        self._is_pumping = False
        self._watch_stall()

    @property
    def _has_work(self) -> bool:
        return bool(self._backlog) or self._reader.is_inside_frame

    def _take_turn(self) -> None:
        self._awaits_turn = False
        self.resume()

    def _advance(self) -> bool:
        """Make one step; return True if another may be possible."""
        if (frame := self._reader.next_frame()) is not None:
            self._begin(frame)
        elif self._reader.fault is not None:
            self._refuse(self._reader.fault.reason, self._reader.key)
        elif self._backlog:
            if not self._streams.quota.has_room(self._stream, len(self._backlog[0])):
                return False
            # TR-005
            self._reader.put(self._take_chunk())
            self._hold()
        elif self.state is InboundState.CUT:
            # TR-014
            self._end(InboundEvent.ALL_TAKEN)
        elif self.state is InboundState.ENDED:
            self._finish()
        else:
            return False
        return True

    def _begin(self, frame: StreamFrame) -> None:
        self._context.turns.spend(FRAME_UNITS)
        self._key = frame.key
        # Its bytes count until its effects are over.
        self._taken_bytes = len(frame.payload)
        self._hold()
        # TR-006
        self._effects.begin()
        self._effects.end(self._take_frame(self._stream, frame, self._effects))

    def _note_taken(self, reason: str | None) -> None:
        """Continue after a frame whose effects are complete."""
        self._taken_bytes = 0
        if reason is not None:
            # ER-014
            self._refuse(reason, self._key)
        self._hold()
        self.resume()

    def _finish(self) -> None:
        """Finish this side's half once everything before the peer's FIN has taken effect."""
        fault = self._reader.end()
        if fault is not None:
            self._refuse(fault.reason, self._reader.key)
            return
        # TR-020, TR-021
        self._streams.send(self._stream, b"", fin=True, after=self._after)
        self._end(InboundEvent.ALL_TAKEN)

    def _end(self, event: InboundEvent) -> None:
        super()._end(event)
        # The session may keep this object, but not the bytes.
        self._head = self._reader.head
        self._reader.clear()
        self._runs.drop(self._stream)
        self._hold()

    def _hold(self) -> None:
        unfinished = 0 if self.state in INBOUND_OVER else self._reader.held_bytes
        self._streams.quota.hold(self._stream, unfinished + self._taken_bytes)

    def _watch_stall(self) -> None:
        """Run the deadline while a frame is incomplete and the node would read its rest."""
        is_ours = (
            self._effects.count
            or self._backlog
            or self._awaits_turn
            or self.state is InboundState.ENDED
        )
        is_inside = self._reader.is_inside_frame
        # TR-013, TM-002
        awaits_peer = bool(self._may_go_on and is_inside and not is_ours)
        self._set_stall_timer(awaits_peer=awaits_peer, key=self._reader.key)
