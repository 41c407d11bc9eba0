"""What a new connection is offered unasked: tombstones first, then documents, in batches.

Batches are put together only while the peer takes them, and nothing else waits to be sent: the
initial exchange paces itself by the peer's credit and resumes at its cursor (D-53, D-82).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from meshwire_reference.core.context import Context
from meshwire_reference.core.document_calls import Call, Generate, Generated, Result, Save, Saved
from meshwire_reference.core.sending.outbound import Outbound
from meshwire_reference.core.sending.selection import Selection
from meshwire_reference.core.state.document_queues import Job
from meshwire_reference.core.state.policy import push_type
from meshwire_reference.core.state.tombstones import Held
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
    SEND_TOMBSTONES_MAX,
    TOMBSTONE_BATCH_KEY,
    FrameType,
)

_Arrive: TypeAlias = Callable[[SyncEntry | None], None]

BATCH_HEADER = 21
BATCH_ID = 8
LENGTH = 4


class Exchange:
    """The initial exchange with one peer, from its start to its end."""

    def __init__(
        self, context: Context, connection: int, outbound: Outbound, selection: Selection
    ) -> None:
        self._context = context
        self._connection = connection
        self._outbound = outbound
        self._tombstones: Iterator[tuple[str, Held]] = iter(
            list(context.tombstones.offerable(context.now.wall_ms))
        )
        self._selection = selection
        self._keys = selection.keys
        self._tombstones_under_way = 0
        self._are_tombstones_over = False
        self._waits_for_batch = False
        self._next: Held | None = None
        self._is_advancing = False
        self._is_asked_again = False
        self.is_over = False

    def advance(self) -> None:
        """Put together what may be sent now."""
        # What is put together may be over at once and ask again: that is a loop, not a recursion.
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
        while self._outbound.has_room and not self._are_tombstones_over:
            self._send_tombstones()
        if self._outbound.has_room and not self._tombstones_under_way and not self.is_over:
            self._selection.begin()
            self._collect_documents()

    # --- tombstones ----------------------------------------------------------------------------

    def _send_tombstones(self) -> None:
        chosen: list[Held] = []
        size = LENGTH
        while len(chosen) < SEND_TOMBSTONES_MAX:  # TS-026
            held = self._next or next((held for _, held in self._tombstones), None)
            self._next = None
            if held is None:
                self._are_tombstones_over = True
                break
            size += LENGTH + len(held.content)
            if chosen and size > self._context.settings.payload_cap:
                self._next = held
                break
            chosen.append(held)
        if not chosen:
            return
        batch = TombstoneBatch(len(chosen), tuple(held.tombstone for held in chosen))
        frame = StreamFrame(
            TOMBSTONE_BATCH_KEY, FrameType.TOMBSTONE_BATCH, encode_tombstone_batch(batch)
        )
        self._tombstones_under_way += 1
        self._outbound.send(frame, on_over=self._note_tombstones_over)

    def _note_tombstones_over(self) -> None:
        self._tombstones_under_way -= 1

    # --- documents -----------------------------------------------------------------------------

    def _collect_documents(self) -> None:
        """Gather the entries of the next batch, then send it."""
        if self._waits_for_batch:
            return
        if not self._keys:
            self.is_over = self._selection.is_final
            return
        keys, size = self._take_keys()
        if not keys:
            return
        self._waits_for_batch = True
        entries: list[SyncEntry] = []
        missing = len(keys)

        def arrive(entry: SyncEntry | None) -> None:
            nonlocal missing
            missing -= 1
            if entry is not None:
                entries.append(entry)
            if not missing:
                self._send_batches(entries)
                self._outbound.reserve(-size)
                self._outbound.pump()

        for key in keys:
            _EntryJob(self._context, self._connection, key, arrive).queue()

    def _take_keys(self) -> tuple[list[str], int]:
        """Take the keys of as many documents as a batch has, and reserve their room."""
        keys: list[str] = []
        size = 0
        while self._keys and len(keys) < self._context.settings.batch_entries:
            more = self._context.documents.get(self._keys[0], 0)
            if not self._outbound.fits(more):
                break
            self._outbound.reserve(more)
            keys.append(self._keys.popleft())
            size += more
        return keys, size

    def _send_batches(self, entries: list[SyncEntry]) -> None:
        """Send entries in as few batches as the payload cap allows."""
        self._waits_for_batch = False
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
        # D-65: random and never 0.
        batch_id = int.from_bytes(self._context.entropy(BATCH_ID), "big") or 1
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

        def take_back() -> None:
            for key in deltas:
                self._outbound.take_back(key)

        if len(frame.payload) > self._context.settings.payload_cap:
            self._context.statistics.ignored["too large to send"] += 1
            take_back()
            return
        self._outbound.send(frame, on_failed=take_back)


class _EntryJob:
    """The making of one entry, in the queue of its document."""

    def __init__(self, context: Context, connection: int, key: str, arrive: _Arrive) -> None:
        self._context = context
        self._connection = connection
        self._key = key
        self._arrive = arrive

    def queue(self) -> None:
        """Queue the making of the entry."""
        self._context.queues.add(self._key, Job(self._begin, self._finish))

    def _begin(self) -> Call | None:
        if self._context.guard(self._key) or self._key not in self._context.documents:
            self._arrive(None)
            return None
        if push_type(self._key) is FrameType.SNAPSHOT:
            return Save(self._key)
        # D-143
        return Generate(self._connection, self._key)

    def _finish(self, result: Result) -> None:
        match result:
            case Generated(message=bytes(message)):
                self._arrive(SyncEntry(self._key, FrameType.DELTA, message))
            case Saved(snapshot=bytes(message)):
                self._arrive(SyncEntry(self._key, FrameType.SNAPSHOT, message))
            case _:
                self._arrive(None)
