"""The effect of each frame: a table from type to handler.

Every handler keeps one order: check, apply, answer. It returns the reason to refuse the stream, or
None, and registers effects that are not complete when it returns, so that the stream waits for
them. Frames that a handler causes (answers, passing on) are queued and not waited for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from meshwire_reference.core.context import Context
from meshwire_reference.core.frames.batch_work import STEP, BatchWork
from meshwire_reference.core.frames.delivery import Delivery
from meshwire_reference.core.frames.document_frames import DeltaJob, SnapshotJob
from meshwire_reference.core.frames.tombstone_frames import TombstoneJob
from meshwire_reference.core.peer.session import Session
from meshwire_reference.core.sending.relay import Routing
from meshwire_reference.core.state.document_fates import Fate
from meshwire_reference.core.state.tombstones import document_key
from meshwire_reference.core.streams import PendingEffects
from meshwire_reference.core.sync_messages import has_changes
from meshwire_reference.wire.accept import accept
from meshwire_reference.wire.batches import StreamFrame, SyncBatchReader, SyncEntry
from meshwire_reference.wire.errors import Malformed
from meshwire_reference.wire.frames import RUN_CAPS, size_of_frame
from meshwire_reference.wire.tombstones import (
    Tombstone,
    TombstoneBatchReader,
    decode_tombstone,
)
from meshwire_spec.numbers import CREATED_AHEAD_MAX_MS, Direction, FrameType

ENTRY_UNITS: Final = 1
TOMBSTONE_UNITS: Final = 4
"""Units of work of an element of a batch, from its bytes to its handler."""


class Frames:
    """Starts the effects of the frames of all sessions."""

    def __init__(self, context: Context, routing: Routing) -> None:
        self._context = context
        self._routing = routing

    def take(
        self, session: Session, stream: int, frame: StreamFrame, effects: PendingEffects
    ) -> str | None:
        """Start the effects of one frame; return the reason to refuse it, or None."""
        for counts in self._context.statistics.each(session.streams.peer):
            counts.frames[frame.type] += 1
            # ER-026
            counts.frame_bytes[frame.type] += size_of_frame(frame)
        # ER-021
        reason = accept("stream_frame", frame)
        if reason is not None:
            return reason
        if frame.type in RUN_CAPS:
            return self._take_message(session, stream, frame, effects)
        # FR-010
        delivery = Delivery(self._context, session, effects)
        return HANDLERS[frame.type](self, delivery, frame)

    def _take_message(
        self, session: Session, stream: int, frame: StreamFrame, effects: PendingEffects
    ) -> str | None:
        """Take a 0x08 or 0x09: a message of the run of its stream."""
        if self._context.settings.serves_reconciliation:
            return session.runs.take(stream, frame, effects)
        # NG-012
        return "unsupported"

    # --- one document --------------------------------------------------------------------------

    def take_document(self, delivery: Delivery, frame: StreamFrame) -> str | None:
        """Take a 0x00 or 0x01: a step of an exchange, a read, or a whole document."""
        if not self._may_take(delivery.session.streams.peer, frame):
            return "not-authorised"
        job = DOCUMENT_JOBS[frame.type](self._context, self._routing, delivery, frame)
        delivery.queue(frame.key, job)
        return None

    def _may_take(self, peer: str, frame: StreamFrame) -> bool:
        """Return True if a peer may send a delta or snapshot of this content."""
        hierarchy = self._context.hierarchy
        if hierarchy.is_closed(peer, frame.key, frame.type):
            return False
        if not hierarchy.only_asks(peer, frame.key):
            return True
        is_delta = frame.type == FrameType.DELTA
        return not (has_changes(frame.payload) if is_delta else frame.payload)

    # --- tombstones ----------------------------------------------------------------------------

    def take_tombstone(self, delivery: Delivery, frame: StreamFrame) -> str | None:
        """Take a 0x04: one tombstone, whose fields name the document."""
        try:
            tombstone = decode_tombstone(frame.payload)
        except Malformed as malformed:
            # TS-002, TS-003, TS-005
            return malformed.reason
        # TS-006, TS-007, TS-008
        reason = accept("tombstone", tombstone)
        if reason is not None:
            return reason
        if not self._may_delete(delivery, tombstone):
            return "not-authorised"
        self._queue_tombstone(delivery, tombstone)
        return None

    def take_tombstone_batch(self, delivery: Delivery, frame: StreamFrame) -> str | None:
        """Take a 0x05: tombstones one by one, then the fault if there is one."""
        try:
            batch = TombstoneBatchReader(frame.payload)
            first = batch.take(STEP)
        except Malformed as malformed:
            # TS-021, TS-022
            return malformed.reason
        work = BatchWork(self._context, delivery, batch, self._take_element, TOMBSTONE_UNITS)
        work.begin(first)
        return None

    def _take_element(self, delivery: Delivery, tombstone: Tombstone) -> None:
        """Take a tombstone of a batch, or skip it."""
        reason = accept("tombstone", tombstone)
        if reason is None and not self._may_delete(delivery, tombstone):
            reason = "not-authorised"
        if reason is None:
            self._queue_tombstone(delivery, tombstone)
        else:
            # TS-025
            delivery.note_skipped(document_key(tombstone), reason)

    def _may_delete(self, delivery: Delivery, tombstone: Tombstone) -> bool:
        """Return True if a peer may send a tombstone."""
        peer, direction = delivery.session.streams.peer, Direction(tombstone.direction)
        key = document_key(tombstone)
        return self._context.hierarchy.takes_tombstone(peer, key, direction)

    def _queue_tombstone(self, delivery: Delivery, tombstone: Tombstone) -> None:
        job = TombstoneJob(self._context, self._routing, delivery, tombstone)
        delivery.queue(job.key, job)

    # --- batches -------------------------------------------------------------------------------

    def take_batch(self, delivery: Delivery, frame: StreamFrame) -> str | None:
        """Take a 0x07: entries one by one, then the fault if there is one."""
        try:
            batch = SyncBatchReader(frame.payload, self._context.settings.payload_cap)
            first = batch.take(STEP)
        except Malformed as malformed:
            # BT-011, BT-012, BT-014
            return malformed.reason
        # BT-018, BT-025; BT-017: an id or ttl of 0 is no reason.
        if batch.created_at > self._context.now.wall_ms + CREATED_AHEAD_MAX_MS:
            return "created-ahead"
        of_entries = delivery.for_entries()
        # BT-020
        BatchWork(self._context, of_entries, batch, self._take_entry, ENTRY_UNITS).begin(first)
        return None

    def _take_entry(self, delivery: Delivery, entry: SyncEntry) -> None:
        """Take an entry as a frame, or skip it."""
        delivery.judge(entry.key, self._apply_entry(delivery, entry))

    def _apply_entry(self, delivery: Delivery, entry: SyncEntry) -> str | None:
        """Handle an entry as a frame; return the reason to skip it, or None."""
        # BT-006, BT-007, BT-008
        reason = accept("sync_entry", entry)
        if reason is not None:
            return reason
        # BT-022
        frame = StreamFrame(entry.key, entry.type, bytes(entry.payload))
        return HANDLERS[FrameType(entry.type)](self, delivery, frame)

    # --- the rest ------------------------------------------------------------------------------

    def take_nothing(self, delivery: Delivery, frame: StreamFrame) -> None:
        """Take a 0x02 or 0x06, which has no effect."""
        # FR-012
        peer, cause = delivery.session.streams.peer, f"type 0x{frame.type:02x}"
        self._context.note_ignored(peer, frame.key, Fate.IGNORED, cause)


DOCUMENT_JOBS: Final[dict[int, type[DeltaJob | SnapshotJob]]] = {
    FrameType.DELTA: DeltaJob,
    FrameType.SNAPSHOT: SnapshotJob,
}

HANDLERS: Final[dict[int, Callable[[Frames, Delivery, StreamFrame], str | None]]] = {
    FrameType.DELTA: Frames.take_document,
    FrameType.SNAPSHOT: Frames.take_document,
    FrameType.WINDOWED_HISTORY: Frames.take_nothing,
    FrameType.TOMBSTONE: Frames.take_tombstone,
    FrameType.TOMBSTONE_BATCH: Frames.take_tombstone_batch,
    FrameType.TOMBSTONE_ACK: Frames.take_nothing,
    FrameType.BATCH: Frames.take_batch,
}
