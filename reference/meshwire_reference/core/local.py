"""Operations of this node's own user: reads, edits and deletions of documents.

An operation takes its turn in the queue of its document, as a frame of a peer does. Its end is an
effect, which the core holds until everything that it shows is durable: what was acknowledged or
read is not lost afterwards. A change that cannot be kept is taken back as a whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from meshwire_reference.core.context import Context
from meshwire_reference.core.document_calls import (
    Call,
    Done,
    Drop,
    Edit,
    Edited,
    Fields,
    Result,
    SoftDelete,
    Write,
)
from meshwire_reference.core.effects import LocalDone, LocalRefusal, WriteNumber
from meshwire_reference.core.inputs import Deletion, LocalOperation
from meshwire_reference.core.sending.copies import OPERATOR
from meshwire_reference.core.sending.relay import Routing
from meshwire_reference.core.state.document_queues import Job
from meshwire_reference.core.state.tombstones import KEPT, OfferOutcome
from meshwire_reference.wire.tombstones import Tombstone
from meshwire_spec.numbers import TOMBSTONE_RESERVE_PERCENT, U64_MAX, DeletionPolicy

AUTHOR: Final = 8
"""Bytes of the time that tells the lives of a document apart."""


class LocalOperations:
    """The operations that are not over, and the ends that wait for a write."""

    def __init__(self, context: Context, routing: Routing) -> None:
        self.context = context
        self.routing = routing
        self._held: list[tuple[WriteNumber, LocalDone]] = []

    def begin(self, happened: LocalOperation) -> None:
        """Queue an operation for its document."""
        operation = happened.operation
        self.context.queues.add(operation.key, JOBS[type(operation)](self, happened))

    def end(
        self, number: int, result: Result | LocalRefusal, after: WriteNumber | None = None
    ) -> None:
        """Report the end of an operation once the write `after` is durable."""
        done = LocalDone(number, result)
        if after is None:
            self.context.report(done)
        else:
            self._held.append((after, done))

    def note_durable(self, number: WriteNumber) -> None:
        """Report the ends that waited for writes up to this one."""
        held, self._held = self._held, []
        for after, done in held:
            if after <= number:
                self.context.report(done)
            else:
                self._held.append((after, done))

    def lose(self) -> None:
        """Report that the writes that ends waited for are lost."""
        held, self._held = self._held, []
        for _, done in held:
            self.context.report(LocalDone(done.number, LocalRefusal.NOT_STORED))


class _LocalJob(Job):
    """The common part of all operations."""

    def __init__(self, operations: LocalOperations, happened: LocalOperation) -> None:
        self._operations = operations
        self._context = operations.context
        self._number = happened.number
        self._key = happened.operation.key

    def _end(self, result: Result | LocalRefusal, after: WriteNumber | None = None) -> None:
        self._operations.end(self._number, result, after)

    def _end_as_held(self, result: Result) -> None:
        """End an operation that shows the document as the worker holds it."""
        self._end(result, self._context.durability.pending(self._key))

    def _keep(self, edited: Edited, write: Write) -> None:
        """Store a change and pass it on, or take it back."""
        context, key = self._context, self._key
        size = context.documents.get(key, 0) if write.snapshot is None else len(write.snapshot)
        if context.is_read_only or size + len(write.changes) > context.settings.payload_cap:
            context.queues.drop(key)
            read_only = context.is_read_only
            self._end(LocalRefusal.NOT_STORED if read_only else LocalRefusal.TOO_LARGE)
            return
        context.statistics.applied["local change"] += 1
        after = context.write(key, write)
        # DC-059
        self._operations.routing.pass_on_document(key, OPERATOR)
        self._end(edited, after)


class _Reading(_LocalJob):
    """Reads the root fields."""

    def begin(self) -> Call:
        return Fields(self._key)

    def finish(self, result: Result) -> None:
        self._end_as_held(result)


class _Editing(_LocalJob):
    """Writes root fields, unless a tombstone guards the document."""

    def __init__(self, operations: LocalOperations, happened: LocalOperation) -> None:
        super().__init__(operations, happened)
        assert isinstance(happened.operation, Edit)
        self._edit = happened.operation

    def begin(self) -> Call | None:
        if self._context.is_read_only:
            self._end(LocalRefusal.NOT_STORED)
            return None
        # TS-053
        if self._context.guard(self._key) is not None:
            self._end(LocalRefusal.DELETED)
            return None
        return replace(self._edit, author=self._author())

    def _author(self) -> bytes:
        """Return what tells this life of a document from another one; nothing without lifetime."""
        lifetimes = self._context.lifetimes
        if lifetimes.lifetime_s(self._key) is None:
            return b""
        began_ms = lifetimes.begin(self._key, self._context.now.wall_ms)
        return began_ms.to_bytes(AUTHOR, "big") if began_ms > 0 else b""

    def finish(self, result: Result) -> None:
        if isinstance(result, Edited) and result.write is not None:
            self._keep(result, result.write)
        else:
            self._end_as_held(result)


class _Deleting(_LocalJob):
    """Deletes a document as the policy of its collection says."""

    def __init__(self, operations: LocalOperations, happened: LocalOperation) -> None:
        super().__init__(operations, happened)
        assert isinstance(happened.operation, Deletion)
        self._by = happened.operation.by
        self._row = self._context.settings.collections.row(self._key)

    def begin(self) -> Call | None:
        policy = self._row.deletion
        refusal = None
        if policy is DeletionPolicy.IMPLICIT_TTL:
            refusal = LocalRefusal.EXPIRES
        elif self._context.is_read_only:
            refusal = LocalRefusal.NOT_STORED
        elif self._key not in self._context.documents:
            refusal = LocalRefusal.ABSENT
        if refusal is not None:
            self._end(refusal)
            return None
        if policy is DeletionPolicy.TOMBSTONE:
            if not self._offer():
                self._end(LocalRefusal.FULL)
                return None
            return Drop(self._key)
        return SoftDelete(self._key, self._by, self._context.now.wall_ms)

    def _offer(self) -> bool:
        """Hold a tombstone that is greater than every one so far; return False without room."""
        collection, _, document_id = self._key.partition(":")
        tombstones, now_ms = self._context.tombstones, self._context.now.wall_ms
        # TS-050
        lamport = min(tombstones.lamport + 1, U64_MAX)
        direction = self._row.tombstone_direction
        # TM-007
        deleted_at = max(0, now_ms)
        one = Tombstone(collection, document_id, deleted_at, lamport, self._by, "", direction)
        # TS-054
        offered = tombstones.offer(one, now_ms, reserve_percent=TOMBSTONE_RESERVE_PERCENT)
        assert offered in (*KEPT, OfferOutcome.FULL), "a document that is held has no tombstone"
        return offered in KEPT

    def finish(self, result: Result) -> None:
        if self._row.deletion is DeletionPolicy.TOMBSTONE:
            self._bury()
        elif isinstance(result, Edited) and result.write is not None:
            self._keep(result, result.write)
        else:
            self._end_as_held(result)

    def _bury(self) -> None:
        """Store the tombstone and pass it on, also if the worker has died instead of answering."""
        context, key = self._context, self._key
        if context.is_read_only:
            context.tombstones.put_back(key, None)
            self._end(LocalRefusal.NOT_STORED)
            return
        context.statistics.applied["local tombstone"] += 1
        after = context.write_tombstone(key)
        # TS-049
        self._operations.routing.pass_on_tombstone(key, OPERATOR)
        self._end(Done(), after)


JOBS: Final[dict[type[Any], Callable[[LocalOperations, LocalOperation], Job]]] = {
    Fields: _Reading,
    Edit: _Editing,
    Deletion: _Deleting,
}
"""The job of each operation."""
