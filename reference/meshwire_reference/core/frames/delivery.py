"""The delivery of a frame, or of an entry of a batch, to the queue of its document."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

from meshwire_reference.core.context import Context
from meshwire_reference.core.document_calls import Call, Result
from meshwire_reference.core.effects import Skipped, WriteNumber
from meshwire_reference.core.peer.session import Session
from meshwire_reference.core.sending.relay import Routing
from meshwire_reference.core.state.document_fates import Fate
from meshwire_reference.core.state.document_queues import Job
from meshwire_reference.core.streams import PendingEffects
from meshwire_spec.numbers import FRAME_KEY_MAX


class Delivery:
    """Where a frame came from, and the effects that its stream waits for.

    A refused entry is skipped and counted, and its stream continues; an error of this node refuses
    the stream. `outstanding` is the number of its jobs that are not over.
    """

    __slots__ = ("_context", "_effects", "_is_entry", "_on_job_over", "outstanding", "session")

    def __init__(
        self,
        context: Context,
        session: Session,
        effects: PendingEffects,
        *,
        is_entry: bool = False,
    ) -> None:
        self.session = session
        self.outstanding = 0
        self._context = context
        self._effects = effects
        self._is_entry = is_entry
        self._on_job_over: Callable[[], None] | None = None

    @property
    def is_entry(self) -> bool:
        """True for the entries of a frame."""
        return self._is_entry

    def for_entries(self) -> Delivery:
        """Return the delivery for the entries of a frame."""
        return Delivery(self._context, self.session, self._effects, is_entry=True)

    def begin(self, on_job_over: Callable[[], None]) -> None:
        """Begin an effect of the frame as a whole, which `finish` ends; report the end of jobs."""
        self._on_job_over = on_job_over
        self._effects.begin()
        self.session.begin_job()

    def finish(self, reason: str | None) -> None:
        """End the effect of the frame as a whole, with the reason to refuse it, or None."""
        self._on_job_over = None
        self._effects.end(reason)
        self.session.end_job()

    def queue(self, key: str, job: DocumentJob) -> None:
        """Queue a job of the frame for a document; its effect is outstanding from now on."""
        self._effects.begin()
        self.session.begin_job()
        self.outstanding += 1
        self._context.note_fate(self.session.streams.peer, key, Fate.RECEIVED)
        self._context.queues.add(key, job)

    def end(
        self, key: str = "", reason: str | None = None, after: WriteNumber | None = None
    ) -> None:
        """End the effect of a job: refused for a reason, or with the write that it depends on."""
        self.outstanding -= 1
        self._effects.end(self.judge(key, reason), after)
        self.session.end_job()
        if self._on_job_over is not None:
            self._on_job_over()

    def judge(self, key: str, reason: str | None) -> str | None:
        """Return the reason to refuse the stream; an entry at fault is skipped and returns None."""
        # BT-026
        if reason in (None, "internal") or not self._is_entry:
            return reason
        # BT-021
        self.note_skipped(key, reason)
        return None

    def note_skipped(self, key: str, reason: str) -> None:
        """Count and log a skipped entry or tombstone."""
        session = self.session
        key = key[:FRAME_KEY_MAX]
        self._context.note_skipped(Skipped(key, reason, session.streams.peer, session.connection))


class DocumentJob(Job):
    """The effect of a frame or an entry on the document `key`: check, apply, answer."""

    def __init__(self, context: Context, routing: Routing, delivery: Delivery, key: str) -> None:
        self.key = key
        self._context = context
        self._routing = routing
        self._delivery = delivery
        self._refused: str | None = None
        """Why the frame is refused if `_decide` has returned no call."""

    def begin(self) -> Call | None:
        """Return the call that applies the frame, or None if there is no effect."""
        call = self._decide()
        if call is None:
            self._delivery.end(self.key, self._refused)
        return call

    def finish(self, result: Result) -> None:
        """Handle the result and end the effect."""
        if self._context.is_read_only and self._undo(result):
            self._refuse()
        else:
            self._delivery.end(self.key, *self._apply(result))

    def _refuse(self) -> None:
        """Refuse the frame, since its change cannot be stored."""
        self._context.note_unheard(self._delivery.session.connection)
        self._delivery.end(self.key, "internal")

    @property
    def _peer(self) -> str:
        """The peer that has sent the frame."""
        return self._delivery.session.streams.peer

    def _note_ignored(self, cause: str, fate: Fate) -> None:
        """Count that the frame has no effect."""
        self._context.note_ignored(self._peer, self.key, fate, cause)

    def _note_applied(self, kind: str, fate: Fate) -> None:
        """Count that a change of the frame took effect."""
        self._context.note_applied(self._peer, self.key, fate, kind)

    @abstractmethod
    def _undo(self, result: Result) -> bool:
        """Undo what the frame has changed; return False if it has changed nothing."""

    @abstractmethod
    def _decide(self) -> Call | None:
        """Return the call to make, or None if the frame is ignored."""

    @abstractmethod
    def _apply(self, result: Result) -> tuple[str | None, WriteNumber | None]:
        """Store, answer and pass on; return the reason to refuse the frame, and its write."""
