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

        def begin() -> Call | None:
            # DC-010
            call = Receive(session.connection, frame.key, frame.payload)
            return self._guarded(session, call, done, reads=reads)

        def finish(result: Result) -> None:
            done(self._finish_delta(session, frame.key, result))

        session.queue(frame.key, Job(begin, finish))

    def take_snapshot(self, session: Session, frame: StreamFrame, done: Done) -> None:
        """0x01: merge, answer if the sender lacks something, pass on."""

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
            return True
        # TS-041
        return session.tombstone_answers.take(key, self._context.now.monotonic_s)

    def _finish_delta(self, session: Session, key: str, result: Result) -> Outcome:
        if not isinstance(result, Received):
            return self._refused(result)
        after = self._keep(session, key, result.write)
        if result.answer is not None:
            # DC-001, DC-002, DC-003, DC-011
            kind = Kind.READ_ANSWER if result.read else Kind.ANSWER
            session.outbound.add_answer(kind, key, result.answer)
        return Outcome(after=after)

    def _finish_snapshot(self, session: Session, key: str, result: Result) -> Outcome:
        if not isinstance(result, Merged):
            return self._refused(result)
        after = self._keep(session, key, result.write)
        # DC-024
        if result.ahead:
            session.snapshot_answers.answer(key)
        return Outcome(after=after)

    def _keep(self, session: Session, key: str, write: Write | None) -> WriteNumber | None:
        """Store and pass on what has changed the document; nothing else does either (D-55)."""
        # DC-014, DC-021, DC-032
        if write is None:
            return None
        self._context.statistics.applied["changes"] += 1
        after = self._context.write(key, write)
        self._routing.pass_on_document(key, session.connection)
        return after

    @staticmethod
    def _refused(result: Result) -> Outcome:
        """Refuse the stream whose bytes the document call was refused for."""
        # DC-013, DC-022, DC-040, DC-041
        return Outcome(result.reason if isinstance(result, Refused) else "internal")
