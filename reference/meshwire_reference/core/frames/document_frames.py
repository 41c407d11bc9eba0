"""Frames that carry a document: deltas, reads among them, and snapshots."""

from dataclasses import replace
from typing import Final

from meshwire_reference.core.context import Context
from meshwire_reference.core.document_calls import (
    Call,
    Merge,
    Merged,
    Receive,
    Received,
    Refused,
    Result,
    Write,
)
from meshwire_reference.core.effects import WriteNumber
from meshwire_reference.core.frames.delivery import Delivery, DocumentJob
from meshwire_reference.core.frames.tombstone_frames import TombstoneJob
from meshwire_reference.core.sending.relay import Routing
from meshwire_reference.core.sending.waiting import Purpose
from meshwire_reference.core.state.document_fates import Fate
from meshwire_reference.core.sync_messages import (
    confirms_heads,
    has_changes,
    is_read,
    needs_changes,
)
from meshwire_reference.wire.batches import StreamFrame
from meshwire_reference.wire.tombstones import Tombstone
from meshwire_spec.numbers import U64_MAX

ALLOW: Final = "allow"
RE_DELETE: Final = "re-delete"
"""What a collection says of documents that return; the third value rejects them."""


class _FrameJob(DocumentJob):
    """The common part of deltas and snapshots: guard, store, passing on, and refusals."""

    def __init__(
        self, context: Context, routing: Routing, delivery: Delivery, frame: StreamFrame
    ) -> None:
        super().__init__(context, routing, delivery, frame.key)
        self._frame = frame

    def _is_guarded(self) -> bool:
        """Return True if a tombstone of the document blocks the frame, after answering with it."""
        key = self._frame.key
        if self._context.guard(key) is None:
            return False
        self._note_ignored("tombstoned", Fate.GUARDED)
        if self._is_tombstone_due():
            self._delivery.session.outbound.add(Purpose.TOMBSTONE, key)
        return True

    def _is_resurrection(self) -> bool:
        """Return True if the document must not return, after its tombstone has expired (D-83)."""
        context, key = self._context, self._frame.key
        buried = context.tombstones.buried(key, context.now.wall_ms)
        if buried is None or key in context.documents:
            return False
        # TS-048
        policy = context.settings.collections.row(key).resurrection
        if policy == ALLOW:
            return False
        self._note_ignored("resurrected", Fate.GUARDED)
        if policy == RE_DELETE:
            self._bury_again(buried.tombstone)
        return True

    def _bury_again(self, before: Tombstone) -> None:
        """Delete the document by a tombstone greater than every one so far, at the sender too."""
        # D-87
        lamport = min(self._context.tombstones.lamport + 1, U64_MAX)
        # TM-007
        deleted_at = max(0, self._context.now.wall_ms)
        again = replace(before, lamport=lamport, deleted_at=deleted_at)
        job = TombstoneJob(self._context, self._routing, self._delivery, again)
        self._delivery.queue(job.key, job)
        self._delivery.session.outbound.add(Purpose.TOMBSTONE, job.key)

    def _undo(self, result: Result) -> bool:
        if not isinstance(result, Received | Merged) or result.write is None:
            return False
        self._context.queues.drop(self._frame.key)
        return True

    def _is_tombstone_due(self) -> bool:
        # TS-041
        # TS-045
        cooldowns = self._delivery.session.tombstone_answers
        return cooldowns.take(self._frame.key, self._context.now.monotonic_s)

    def _keep(self, write: Write | None) -> WriteNumber | None:
        """Store and pass on a change of the document; without one neither happens (D-55)."""
        # DC-014, DC-021, DC-032
        if write is None:
            return None
        key, now_s = self._frame.key, self._context.now.monotonic_s
        # DC-079
        if self._context.lifetimes.has_returned(key, write.heads, now_s):
            self._note_ignored("lifetime over", Fate.EXPIRED)
            self._context.queues.drop(key)
            return None
        self._note_applied("changes", Fate.APPLIED)
        # DC-081
        self._context.cursors.received.add(self._peer, (key,))
        after = self._context.write(key, write)
        self._routing.pass_on_document(key, self._delivery.session.connection)
        return after

    def _note_copy(self) -> None:
        """Note that the peer has sent what is held already, in a frame of its own."""
        # DC-085
        if not self._delivery.is_entry:
            self._delivery.session.outbound.copies.note_copy(self._frame.key)

    @staticmethod
    def _reason(result: Result) -> str:
        """Return why the worker did not apply the bytes."""
        # DC-013, DC-022, DC-040, DC-041
        return result.reason if isinstance(result, Refused) else "internal"


class DeltaJob(_FrameJob):
    """0x00: apply the changes, answer, pass on."""

    @property
    def reads_by(self) -> type[Call] | None:
        """The type of the call, unless the message may have changes."""
        return None if has_changes(self._frame.payload) else Receive

    def _decide(self) -> Call | None:
        # TS-044
        if self._is_guarded():
            return None
        if not is_read(self._frame.payload) and self._is_resurrection():
            return None
        # DC-010
        frame = self._frame
        return Receive(self._delivery.session.connection, frame.key, frame.payload)

    def _is_tombstone_due(self) -> bool:
        # DC-005
        return is_read(self._frame.payload) or super()._is_tombstone_due()

    def _apply(self, result: Result) -> tuple[str | None, WriteNumber | None]:
        if not isinstance(result, Received):
            return self._reason(result), None
        if not (result.read or result.awaited):
            self._delivery.session.outbound.note_delta(self._frame.key)
            self._note_said(result)
        if result.awaited:
            self._context.note_fate(self._peer, self._frame.key, Fate.AWAITING)
        # TR-026: a change that waits for others has no write, and nothing waits for it.
        after = self._keep(result.write)
        if result.write is None and has_changes(self._frame.payload):
            self._note_copy()
        if result.answer is not None:
            # DC-001, DC-002, DC-003, DC-011
            purpose = Purpose.READ_ANSWER if result.read else Purpose.ANSWER
            outbound = self._delivery.session.outbound
            if result.read and len(result.answer) > self._context.settings.payload_cap:
                # DC-056
                outbound.take_back(self._frame.key)
                return "document-limit", after
            outbound.add_answer(purpose, self._frame.key, result.answer)
        return None, after

    def _note_said(self, result: Received) -> None:
        """Let the peer be answered although nothing is left to say, if it polls."""
        # DC-085
        copies = self._delivery.session.outbound.copies
        copies.note_delta(self._frame.key, asks=needs_changes(self._frame.payload))
        is_quiet = result.answer is None and result.write is None
        confirms = is_quiet and confirms_heads(self._frame.payload)
        if confirms:
            self._context.note_fate(self._peer, self._frame.key, Fate.EQUAL)
        session = self._delivery.session
        session.take_delta(self._frame.key, result.heads, is_quiet=is_quiet, confirms=confirms)


class SnapshotJob(_FrameJob):
    """0x01: merge, answer if the sender lacks something, pass on."""

    def _decide(self) -> Call | None:
        # TS-044
        if self._is_guarded():
            return None
        if self._frame.payload and self._is_resurrection():
            return None
        # DC-020
        frame = self._frame
        return Merge(frame.key, frame.payload, self._delivery.session.connection)

    def _apply(self, result: Result) -> tuple[str | None, WriteNumber | None]:
        if not isinstance(result, Merged):
            return self._reason(result), None
        after = self._keep(result.write)
        if result.write is None and not result.ahead:
            self._note_copy()
        # DC-024
        if result.ahead:
            self._delivery.session.outbound.add_snapshot(self._frame.key)
        return None, after
