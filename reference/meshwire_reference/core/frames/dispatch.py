"""What each frame does: a table from type to handler.

Every handler keeps one order: check, apply, answer. It ends by calling `done` with the reason for
which the stream is to be refused, if any, and with the write that the barrier has to wait for.
What a handler sets off (answers, passing on) is queued and not waited for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from meshwire_reference.core.context import Context
from meshwire_reference.core.effects import WriteNumber
from meshwire_reference.core.frames.document_frames import DocumentFrames
from meshwire_reference.core.frames.tombstone_frames import Removals
from meshwire_reference.core.peer.inbound import TAKEN, Done, Outcome
from meshwire_reference.core.peer.session import Session
from meshwire_reference.core.sending.relay import Routing
from meshwire_reference.wire.accept import accept
from meshwire_reference.wire.batches import (
    Fault,
    StreamFrame,
    SyncBatch,
    SyncEntry,
    decode_sync_batch,
)
from meshwire_reference.wire.errors import Malformed
from meshwire_reference.wire.frames import RUN_CAPS
from meshwire_reference.wire.tombstones import decode_tombstone, decode_tombstone_batch
from meshwire_spec.numbers import CREATED_AHEAD_MAX_MS, FrameType

Handler = Callable[["Frames", Session, StreamFrame, Done], None]


class Frames:
    """Lets the frames of all sessions take effect."""

    def __init__(self, context: Context, routing: Routing) -> None:
        self._context = context
        self._documents = DocumentFrames(context, routing)
        self._removals = Removals(context, routing)

    def take(self, session: Session, stream: int, frame: StreamFrame, done: Done) -> None:
        """Let one frame take effect; `done` is called once, perhaps before this returns."""
        self._context.statistics.frames[frame.type] += 1
        reason = accept("stream_frame", frame)
        if reason is not None:
            done(Outcome(reason))
            return
        if frame.type in RUN_CAPS:
            self._take_message(session, stream, frame, done)
            return
        # FR-010
        HANDLERS[frame.type](self, session, frame, done)

    def _take_message(self, session: Session, stream: int, frame: StreamFrame, done: Done) -> None:
        """0x08 and 0x09: a message of the run of its stream."""
        if self._context.settings.serves_reconciliation:
            session.runs.take(stream, frame, done)
        else:
            # NG-012
            done(Outcome("unsupported"))

    # --- one document --------------------------------------------------------------------------

    def take_delta(self, session: Session, frame: StreamFrame, done: Done) -> None:
        """0x00: one step of an exchange about a document, or a read."""
        self._documents.take_delta(session, frame, done)

    def take_snapshot(self, session: Session, frame: StreamFrame, done: Done) -> None:
        """0x01: a whole document to merge."""
        self._documents.take_snapshot(session, frame, done)

    # --- tombstones ----------------------------------------------------------------------------

    def take_tombstone(self, session: Session, frame: StreamFrame, done: Done) -> None:
        """0x04: one tombstone, whose fields name the document."""
        try:
            tombstone = decode_tombstone(frame.payload)
        except Malformed as malformed:
            # TS-002, TS-003, TS-005
            done(Outcome(malformed.reason))
            return
        # TS-006, TS-007, TS-008
        reason = accept("tombstone", tombstone)
        if reason is not None:
            done(Outcome(reason))
            return
        self._removals.take(session, tombstone, done)

    def take_tombstone_batch(self, session: Session, frame: StreamFrame, done: Done) -> None:
        """0x05: tombstones one by one, then the fault if there is one."""
        try:
            batch = decode_tombstone_batch(frame.payload)
        except Malformed as malformed:
            # TS-021, TS-022
            done(Outcome(malformed.reason))
            return
        tally = Tally(done, batch.fault, len(batch.tombstones))
        for tombstone in batch.tombstones:
            if accept("tombstone", tombstone) is None:
                self._removals.take(session, tombstone, tally.take)
            else:
                # TS-025
                self._context.statistics.ignored["tombstone skipped"] += 1
                tally.take(TAKEN)
        # TS-023
        tally.close()

    # --- batches -------------------------------------------------------------------------------

    def take_batch(self, session: Session, frame: StreamFrame, done: Done) -> None:
        """0x07: entries one by one, then the fault if there is one."""
        try:
            batch = decode_sync_batch(frame.payload, self._context.settings.payload_cap)
        except Malformed as malformed:
            # BT-011, BT-012, BT-014
            done(Outcome(malformed.reason))
            return
        reason = self._refuse_batch(batch)
        if reason is not None:
            done(Outcome(reason))
            return
        tally = Tally(done, batch.fault, len(batch.entries))
        # BT-020
        for entry in batch.entries:
            self._take_entry(session, entry, tally.take)
        # BT-013
        tally.close()

    def _refuse_batch(self, batch: SyncBatch) -> str | None:
        # BT-018; BT-017: an id or ttl of 0 is no reason.
        is_ahead = batch.created_at > self._context.now.wall_ms + CREATED_AHEAD_MAX_MS
        return "created-ahead" if is_ahead else None

    def _take_entry(self, session: Session, entry: SyncEntry, done: Done) -> None:
        """Treat an entry as a frame, but for skipping where a frame is refused."""

        def skip(outcome: Outcome) -> None:
            if outcome.reason is None:
                done(outcome)
                return
            # BT-021
            self._context.statistics.ignored[f"entry skipped: {outcome.reason}"] += 1
            done(Outcome(after=outcome.after))

        # BT-006, BT-007, BT-008
        reason = accept("sync_entry", entry)
        if reason is not None:
            skip(Outcome(reason))
            return
        # BT-022
        frame = StreamFrame(entry.key, entry.type, entry.payload)
        HANDLERS[FrameType(entry.type)](self, session, frame, skip)

    # --- the rest ------------------------------------------------------------------------------

    def take_nothing(self, session: Session, frame: StreamFrame, done: Done) -> None:
        """0x02 and 0x06: read and without effect."""
        # FR-012
        self._context.statistics.ignored[f"type 0x{frame.type:02x}"] += 1
        done(TAKEN)


HANDLERS: Final[dict[int, Handler]] = {
    FrameType.DELTA: Frames.take_delta,
    FrameType.SNAPSHOT: Frames.take_snapshot,
    FrameType.WINDOWED_HISTORY: Frames.take_nothing,
    FrameType.TOMBSTONE: Frames.take_tombstone,
    FrameType.TOMBSTONE_BATCH: Frames.take_tombstone_batch,
    FrameType.TOMBSTONE_ACK: Frames.take_nothing,
    FrameType.BATCH: Frames.take_batch,
}


class Tally:
    """Waits until every element of a batch is dealt with, then reports the batch."""

    def __init__(self, done: Done, fault: Fault | None, count: int) -> None:
        self._done = done
        self._reason = None if fault is None else fault.reason
        self._missing = count + 1
        self._after: WriteNumber | None = None

    def take(self, outcome: Outcome) -> None:
        """Note that one element is dealt with."""
        if outcome.after is not None:
            self._after = max(outcome.after, self._after or 0)
        self._reason = self._reason or outcome.reason
        self._count_down()

    def close(self) -> None:
        """Note that every element has been begun."""
        self._count_down()

    def _count_down(self) -> None:
        self._missing -= 1
        if not self._missing:
            self._done(Outcome(self._reason, self._after))
