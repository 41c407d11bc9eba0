"""Frames that carry a document: deltas, reads among them, and snapshots."""

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
from meshwire_reference.core.peer.inbound import TAKEN, Done, Outcome
from meshwire_reference.core.peer.session import Session
from meshwire_reference.core.sending.parcels import Kind
from meshwire_reference.core.sending.relay import Routing
from meshwire_reference.core.state.document_queues import Job
from meshwire_reference.core.switches import Switch
from meshwire_reference.core.sync_messages import is_read
from meshwire_reference.wire.batches import StreamFrame


class DocumentFrames:
    """Lets deltas and snapshots take effect, each in the queue of its document."""

    def __init__(self, context: Context, routing: Routing) -> None:
        self._context = context
        self._routing = routing

    def take_delta(self, session: Session, frame: StreamFrame, done: Done) -> None:
        """0x00: apply the changes, answer, pass on."""
        reads = is_read(frame.payload)
        if self._context.has(Switch.IGNORE_DELTA) and not reads:
            done(TAKEN)
            return

        def begin() -> Call | None:
            # DC-010
            call = Receive(session.connection, frame.key, frame.payload)
            return self._guarded(session, call, done, reads=reads)

        def finish(result: Result) -> None:
            done(self._finish_delta(session, frame.key, result))

        session.queue(frame.key, Job(begin, finish))

    def take_snapshot(self, session: Session, frame: StreamFrame, done: Done) -> None:
        """0x01: merge, answer if the sender lacks something, pass on."""
        if self._context.has(Switch.IGNORE_SNAPSHOT):
            done(TAKEN)
            return

        def begin() -> Call | None:
            # DC-020
            call = Merge(frame.key, frame.payload, session.connection)
            return self._guarded(session, call, done, reads=False)

        def finish(result: Result) -> None:
            done(self._finish_snapshot(session, frame.key, result))

        session.queue(frame.key, Job(begin, finish))

    def _guarded(
        self, session: Session, call: Receive | Merge, done: Done, *, reads: bool
    ) -> Call | None:
        """Return the call, or None where the tombstone of its document stops it."""
        if self._context.guard(call.key) is None:
            return call
        self._context.statistics.ignored["tombstoned"] += 1
        if self._is_guard_answered(session, call.key, reads=reads):
            session.outbound.add(Kind.TOMBSTONE, call.key)
        done(TAKEN)
        return None

    def _is_guard_answered(self, session: Session, key: str, *, reads: bool) -> bool:
        if reads:
            # DC-005
            return not self._context.has(Switch.SILENT_TOMBSTONED_READ)
        # TS-041
        if self._context.has(Switch.NO_GUARD_ANSWER):
            return False
        return session.tombstone_answers.take(key, self._context.now.monotonic_s)

    def _finish_delta(self, session: Session, key: str, result: Result) -> Outcome:
        if not isinstance(result, Received):
            return self._refused(result)
        after = self._keep(session, key, result.write)
        if result.answer is not None and self._is_answered(session, key, result):
            # DC-001, DC-002, DC-011
            kind = Kind.READ_ANSWER if result.read else Kind.ANSWER
            session.outbound.add_answer(kind, key, result.answer)
        if result.read and self._context.has(Switch.CREATE_ON_READ):
            self._context.documents[key] = 0
            self._routing.pass_on_document(key, session.connection)
        return Outcome(after=after)

    def _is_answered(self, session: Session, key: str, result: Received) -> bool:
        """Say whether an answer goes out; it always does unless a switch forbids it."""
        has = self._context.has
        if result.read and has(Switch.ANSWER_FIRST_READ_ONLY):
            return session.note_first_read(key)
        # DC-003
        return not (result.read and not result.heads and has(Switch.SILENT_UNKNOWN_READ))

    def _finish_snapshot(self, session: Session, key: str, result: Result) -> Outcome:
        if not isinstance(result, Merged):
            return self._refused(result)
        after = self._keep(session, key, result.write)
        # DC-024
        if result.ahead and not self._context.has(Switch.NO_SNAPSHOT_ANSWER):
            session.snapshot_answers.answer(key)
        return Outcome(after=after)

    def _keep(self, session: Session, key: str, write: Write | None) -> WriteNumber | None:
        """Store and pass on what has changed the document; nothing else does either (D-55)."""
        # DC-014, DC-021, DC-032
        if write is None:
            if self._context.has(Switch.RELAY_UNCHANGED):
                self._routing.pass_on_document(key, session.connection)
            return None
        self._context.statistics.applied["changes"] += 1
        after = self._context.write(key, write)
        self._routing.pass_on_document(key, session.connection)
        return after

    def _refused(self, result: Result) -> Outcome:
        """Refuse the stream whose bytes the document call was refused for."""
        # DC-013, DC-022, DC-040, DC-041
        reason = result.reason if isinstance(result, Refused) else "internal"
        return TAKEN if self._context.has(Switch.IGNORE_BAD_DOCUMENT) else Outcome(reason)
