"""The initial exchange: tombstones, then documents, offered to a new connection in batches.

Batches are made only while the peer takes them and nothing else is queued: the initial exchange
follows the peer's credit (D-53, D-82). Where a connection ends before it is over, the next one with
the peer resumes at its cursor.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Final

from meshwire_reference.core.context import Context
from meshwire_reference.core.document_calls import (
    Call,
    Generate,
    Generated,
    Refused,
    Result,
    Save,
    Saved,
)
from meshwire_reference.core.inputs import ConnectionClosed
from meshwire_reference.core.sending.outbound import Outbound
from meshwire_reference.core.sending.waiting import Purpose
from meshwire_reference.core.state.document_fates import Fate
from meshwire_reference.core.state.document_queues import Job
from meshwire_reference.core.state.tombstones import HeldTombstone, document_key
from meshwire_reference.core.state.waits import Cause, Wait
from meshwire_reference.wire.batches import (
    StreamFrame,
    SyncBatch,
    SyncEntry,
    encode_sync_batch,
)
from meshwire_reference.wire.tombstones import TombstoneBatch, encode_tombstone_batch
from meshwire_spec.numbers import (
    BATCH_KEY,
    BATCH_TTL,
    ENTRY_MIN,
    TOMBSTONE_BATCH_KEY,
    FrameType,
)
from meshwire_spec.states import INITIAL_EXCHANGE, ExchangeEvent, ExchangeState

BATCH_HEADER: Final = 21
"""Bytes of a sync batch before its first entry: marker, id, time, lifetime and count."""
BATCH_ID: Final = 8
"""Bytes of the random id of a batch."""
TOMBSTONES_AT_ONCE: Final = 256
"""Tombstones of one batch that is sent: making it is a small part of a turn."""
LENGTH: Final = 4
"""Bytes of a count, and of the length before an element."""


class Selection:
    """The keys of documents that may be offered now: without a run every document at once.

    The exchange takes them from the left of `keys`, until there are none and `is_final` is True.
    """

    is_final = True

    def __init__(self, context: Context, peer: str) -> None:
        keys = context.offers(peer, context.documents)
        self.announced: AbstractSet[str] = context.cursors.had(peer)
        """Documents that the peer had before: their heads alone are offered."""
        if self.announced:
            # DC-081
            keys.sort(key=self.announced.__contains__)
        self.keys: deque[str] = deque(keys)

    def begin(self) -> None:
        """Find keys after the tombstones were sent. Called whenever there is room for more."""

    def close(self, closed: ConnectionClosed) -> None:
        """Stop finding keys: the connection is closed."""


class InitialExchange:
    """The initial exchange with one peer, from its start to its end."""

    def __init__(self, context: Context, outbound: Outbound, selection: Selection) -> None:
        self.state = ExchangeState.TOMBSTONES
        self._context = context
        self._outbound = outbound
        peer, offerable = outbound.streams.peer, context.tombstones.offerable(context.now.wall_ms)
        self._tombstones: Iterator[HeldTombstone] = (
            held for held in offerable if context.hierarchy.sends_tombstone(peer, held.direction)
        )
        self._next: HeldTombstone | None = None
        self._tombstones_under_way = 0
        self._selection = selection
        # Of the batch that is made, in the order of its keys; None until an entry is made.
        self._entries: list[SyncEntry | None] = []
        self._entries_missing = self._batches_under_way = 0
        self._is_advancing = False
        self._is_asked_again = False

    def _move(self, event: ExchangeEvent) -> None:
        self.state = INITIAL_EXCHANGE[self.state, event]

    def advance(self) -> None:
        """Make the batches that may be sent now."""
        # A batch may be sent at once and request more: hence a loop, not a recursion.
        self._is_asked_again = True
        if self._is_advancing:
            return
        self._is_advancing = True
        while self._is_asked_again:
            self._is_asked_again = False
            self._advance()
        self._is_advancing = False

    def _advance(self) -> None:
        # TS-042
        while self._outbound.has_credit and self.state is ExchangeState.TOMBSTONES:
            self._send_tombstones()
        if self._outbound.has_credit and self.state is ExchangeState.DOCUMENTS:
            self._selection.begin()
            self._choose_documents()

    def waits(self, key: str) -> Iterator[Wait]:
        """Yield what a document that is to be offered waits for."""
        if self.state in (ExchangeState.TOMBSTONES, ExchangeState.TOMBSTONES_LEAVING):
            yield Wait(Cause.TOMBSTONES)
        if key in self._selection.keys:
            yield Wait(Cause.TURN, self._selection.keys.index(key))
            if not self._outbound.has_credit:
                yield Wait(Cause.CREDIT)
        elif not self._selection.is_final:
            yield Wait(Cause.RECONCILIATION)

    # --- tombstones ----------------------------------------------------------------------------

    def _send_tombstones(self) -> None:
        chosen = self._choose_tombstones()
        if chosen:
            batch = TombstoneBatch(len(chosen), tuple(held.tombstone for held in chosen))
            frame = StreamFrame(
                TOMBSTONE_BATCH_KEY, FrameType.TOMBSTONE_BATCH, encode_tombstone_batch(batch)
            )
            self._tombstones_under_way += 1
            keys = map(document_key, batch.tombstones)
            self._outbound.send(frame, on_over=self._note_tombstones_over, keys=keys)
        self._note_tombstones_left()

    def _choose_tombstones(self) -> list[HeldTombstone]:
        """Take as many tombstones as a batch may have; note when they were the last."""
        chosen: list[HeldTombstone] = []
        size = LENGTH
        while len(chosen) < TOMBSTONES_AT_ONCE:  # TS-026
            held = self._next or next(self._tombstones, None)
            self._next = None
            if held is None:
                self._move(ExchangeEvent.TOMBSTONES_MADE)
                break
            size += LENGTH + len(held.content)
            if chosen and size > self._context.settings.payload_cap:
                self._next = held
                break
            chosen.append(held)
        return chosen

    def _note_tombstones_over(self) -> None:
        self._tombstones_under_way -= 1
        self._note_tombstones_left()

    def _note_tombstones_left(self) -> None:
        if self.state is ExchangeState.TOMBSTONES_LEAVING and not self._tombstones_under_way:
            self._move(ExchangeEvent.TOMBSTONES_LEFT)

    # --- documents -----------------------------------------------------------------------------

    def _choose_documents(self) -> None:
        """Choose the documents of the next batch and make their entries."""
        if not self._selection.keys:
            if self._selection.is_final:
                self._move(ExchangeEvent.EXHAUSTED)
                self._forget_cursor_if_over()
            return
        keys, size = self._take_keys()
        if not keys:
            return
        self._move(ExchangeEvent.CHOSEN)
        self._entries_missing = len(keys)
        self._entries = [None] * len(keys)
        for at, key in enumerate(keys):
            self._context.note_fate(self._outbound.streams.peer, key, Fate.OFFERED, "initial")
            arrive = partial(self._take_entry, size, at)
            is_announced = key in self._selection.announced
            job = _EntryJob(self._context, self._outbound, key, arrive, is_announced=is_announced)
            self._context.queues.add(key, job)

    def _forget_cursor_if_over(self) -> None:
        if self.state is ExchangeState.OVER and not self._batches_under_way:
            self._context.cursors.sent.forget(self._outbound.streams.peer)

    def _take_keys(self) -> tuple[list[str], int]:
        """Take the keys of the documents of a batch, and reserve room for them."""
        keys: list[str] = []
        waiting, size = self._selection.keys, 0
        while waiting and len(keys) < self._context.settings.batch_entries:
            more = self._context.documents.get(waiting[0], 0)
            if not self._outbound.has_room(more):
                break
            self._outbound.reserve(more)
            keys.append(waiting.popleft())
            size += more
        return keys, size

    def _take_entry(self, reserved: int, at: int, entry: SyncEntry | None) -> None:
        """Add an entry, or None if its document was removed; send after the last one."""
        self._entries_missing -= 1
        self._entries[at] = entry
        if not self._entries_missing:
            entries = [one for one in self._entries if one is not None]
            self._entries = []
            self._move(ExchangeEvent.MADE)
            self._send_batches(entries)
            self._outbound.reserve(-reserved)
            self._outbound.pump()

    def _send_batches(self, entries: list[SyncEntry]) -> None:
        """Send entries in as few batches as the payload cap allows."""
        if not self._outbound.is_open:
            return
        cap = self._context.settings.payload_cap
        part: list[SyncEntry] = []
        size = BATCH_HEADER
        for entry in entries:
            entry_size = ENTRY_MIN + len(entry.key.encode()) + len(entry.payload)
            if BATCH_HEADER + entry_size > cap:
                self._send(StreamFrame(entry.key, entry.type, entry.payload), [entry])
                continue
            if size + entry_size > cap:
                self._send_batch(part)
                part, size = [], BATCH_HEADER
            part.append(entry)
            size += entry_size
        if part:
            self._send_batch(part)

    def _send_batch(self, entries: list[SyncEntry]) -> None:
        # BT-027
        batch_id = int.from_bytes(self._context.entropy(BATCH_ID), "big") or 1
        # TM-007
        created_at = max(0, self._context.now.wall_ms)
        batch = SyncBatch(batch_id, created_at, BATCH_TTL, len(entries), tuple(entries))
        self._send(
            StreamFrame(
                BATCH_KEY,
                FrameType.BATCH,
                encode_sync_batch(batch, self._context.settings.payload_cap),
            ),
            entries,
        )

    def _send(self, frame: StreamFrame, entries: list[SyncEntry]) -> None:
        deltas = [entry.key for entry in entries if entry.type == FrameType.DELTA]
        keys = [entry.key for entry in entries]
        sent = set(keys)

        def take_back() -> None:
            sent.clear()
            for key in deltas:
                self._outbound.take_back(key)

        def note_over() -> None:
            self._context.cursors.sent.add(self._outbound.streams.peer, sent)
            self._batches_under_way -= 1
            self._forget_cursor_if_over()

        if len(frame.payload) > self._context.settings.payload_cap:
            for entry in entries:
                self._outbound.add(Purpose.PIECE, entry.key)
            return
        self._batches_under_way += 1
        self._outbound.send(frame, on_over=note_over, on_failed=take_back, keys=keys)


class _EntryJob(Job):
    """Makes one entry, in the queue of its document."""

    def __init__(
        self,
        context: Context,
        outbound: Outbound,
        key: str,
        arrive: Callable[[SyncEntry | None], None],
        *,
        is_announced: bool = False,
    ) -> None:
        self._context = context
        self._outbound = outbound
        self._key = key
        self._arrive = arrive
        self._is_announced = is_announced

    def begin(self) -> Call | None:
        """Check that the document exists and return the call that makes its entry."""
        if self._context.guard(self._key) or self._key not in self._context.documents:
            self._arrive(None)
            return None
        push_type = self._context.settings.collections.push_type
        if push_type(self._key) is FrameType.SNAPSHOT and not self._is_announced:
            return Save(self._key)
        # DC-038, DC-081
        connection = self._outbound.streams.connection
        return Generate(connection, self._key, opens=self._is_announced)

    def finish(self, result: Result) -> None:
        """Add the entry to the batch."""
        match result:
            case Generated(message=bytes(message)):
                self._arrive(SyncEntry(self._key, FrameType.DELTA, message))
            case Saved(snapshot=bytes(message)):
                self._arrive(SyncEntry(self._key, FrameType.SNAPSHOT, message))
            case Refused(reason=reason):
                self._outbound.note_not_sent(self._key, reason)
                self._arrive(None)
            case _:
                self._arrive(None)
