"""A node of a run: a core, the documents of its worker, and a disk that outlives both.

Theory of operation. The core is the one of the real node. A call of documents takes its turn in one
queue, as in the worker; a worker that dies loses the documents and exchanges in its memory, and the
calls that have no answer go to the next one. The call that it was at begins anew there, from what
the disk has once every write of its document has reached it. Writes that have gathered while the
disk was at work are the next group, which is durable as a whole when its time is over. A crash ends
everything but the disk; the group that the disk is at may have reached it or not.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Final

from meshwire_reference.core import inputs
from meshwire_reference.core.document_calls import (
    Call,
    Each,
    Fields,
    Forget,
    Listed,
    Refused,
    Result,
    Save,
    Saved,
    Together,
)
from meshwire_reference.core.effects import (
    CallDocuments,
    ConnectionEffect,
    DropTombstones,
    Effect,
    LocalDone,
    LocalRefusal,
    Notify,
    NotSent,
    OtherDialect,
    WriteStore,
)
from meshwire_reference.core.formation import FormationKey
from meshwire_reference.core.inputs import ConnectionEvent, ConnectionInput, Input
from meshwire_reference.core.node import NodeCore
from meshwire_reference.core.settings import Moment, Settings
from meshwire_reference.core.state.tombstones import document_key
from meshwire_reference.documents.table import Table
from meshwire_reference.simulation.links import Side
from meshwire_reference.simulation.record import RunRecord
from meshwire_reference.simulation.schedule import START_MS, START_S, Schedule
from meshwire_reference.simulation.visitor import ACKNOWLEDGED, REFUSED
from meshwire_reference.store.base import Contents, Identity, new_identity
from meshwire_reference.store.memory import Kept
from meshwire_reference.wire.tombstones import decode_tombstone

CALL_S: Final = (0.0001, 0.002)
"""Least and greatest time of a document call."""
HALF: Final = 0.5
COMMIT_S: Final = (0.001, 0.03)
"""The same of a commit."""
BEGUN_ANEW: Final = "begun anew after a death"
"""What is counted of a call that a worker has died at."""


class SimulatedNode:
    """One node: `start`, then `crash` and `start` again as often as wanted."""

    def __init__(
        self,
        number: int,
        chance: Random,
        schedule: Schedule,
        record: RunRecord,
        settings: Settings,
        key: FormationKey | None,
    ) -> None:
        self.number = number
        self.name = f"n{number}"
        self.skew_ms = 0
        self.is_up = False
        self.sides: dict[int, Side] = {}
        self.on_closed: Callable[[int], None] = _ignore
        self.on_other_dialect: Callable[[int], None] = _ignore
        self.on_operation: Callable[[int, str], None] = _ignore_operation
        self.disk = Kept()
        self.identity: Identity = new_identity(chance.randbytes)
        self._chance = chance
        self._schedule = schedule
        self._record = record
        self._settings = settings
        self.key = key
        self._begin()

    def _begin(self) -> None:
        """Begin with nothing in memory."""
        self.core = NodeCore(self._settings, self._chance.randbytes, self.key)
        self._table = Table(self.identity.actor)
        self._inputs: deque[Input] = deque()
        self._is_feeding = False
        self._timer_s: float | None = None
        self._calls: deque[CallDocuments] = deque()
        self._is_calling = False
        self._writes: deque[WriteStore] = deque()
        self._committing: list[WriteStore] = []
        self._expired: list[str] = []
        self._unwritten: Counter[str] = Counter()
        self._deaths_due = 0
        self._crash: Callable[[], None] | None = None
        self._is_store_broken = False
        self._has_lost_writes = False

    # --- life --------------------------------------------------------------------------------

    def start(self) -> None:
        """Start on what the disk has."""
        self._begin()
        self.is_up = True
        contents = self.disk.contents(self.identity)
        self.feed(
            inputs.StoreOpened(
                contents.sizes, contents.tombstones, contents.lamport, lives=contents.lives
            )
        )

    def crash(self) -> None:
        """End at once; the group that is being written is on the disk or not."""
        self.is_up = False
        if self._committing and self._chance.random() < HALF:
            self.disk.apply(self._committing)
            self._record.count("crash", "group on the disk")
        elif self._committing:
            self._record.count("crash", "group lost")
        self._record.count_statistics(self.core.statistics)
        for side in self.sides.values():
            side.link.drop(self)
        self.sides.clear()
        # Its memory is gone.
        self._begin()

    def crash_at_commit(self, crash: Callable[[], None]) -> None:
        """Call `crash` at the end of a commit, before the core learns of it."""
        self._crash = crash

    def kill_worker(self) -> None:
        """Let the worker die: what it held in memory is lost, and its calls go to the next one."""
        self._table = Table(self.identity.actor)
        if self._is_calling:
            self._record.count("call", BEGUN_ANEW)
            self._is_calling = False
            self._work()

    def kill_workers_at_call(self) -> None:
        """Let the worker die at its next call, and the next one at the same."""
        self._deaths_due = 1

    def break_store(self) -> None:
        """Let every write fail from the next one on."""
        self._is_store_broken = True

    def mend_store(self) -> None:
        """Let writes succeed again."""
        if self._is_store_broken:
            self._is_store_broken = False
            if self.is_up and self._has_lost_writes:
                self.feed(inputs.StoreRecovered())

    @property
    def now(self) -> Moment:
        """The time on both clocks of the node."""
        now_s = self._schedule.now_s
        return Moment(now_s, START_MS + round((now_s - START_S) * 1000) + self.skew_ms)

    def heads(self, key: str) -> tuple[bytes, ...]:
        """Return the heads of a document as the worker holds it, or would load it."""
        saved = self._look(Save(key))
        assert isinstance(saved, Saved), saved
        return saved.heads

    def fields(self, key: str) -> Mapping[str, object]:
        """Return the root fields of a document as the worker holds it, or would load it."""
        listed = self._look(Fields(key))
        assert isinstance(listed, Listed), listed
        return listed.fields or {}

    def _look(self, call: Save | Fields) -> Result:
        """Return what a call about a document shows, and leave the memory of the worker alone."""
        if self._table.holds(call):
            return self._table.answer(call, None)
        return Table(self.identity.actor).answer(call, self.disk.read(call.key))

    def stored_tombstones(self) -> dict[str, bytes]:
        """Return the tombstones on the disk by the key of their document."""
        return {
            document_key(decode_tombstone(kept.content)): kept.content
            for kept in self.disk.contents(self.identity).tombstones
        }

    def heal(self) -> None:
        """End every fault that the node would still meet."""
        self._crash = None
        self._deaths_due = 0
        self.mend_store()

    # --- inputs ------------------------------------------------------------------------------

    def report(self, connection: int, event: ConnectionEvent) -> None:
        """Pass an event of a connection to the core."""
        self.feed(ConnectionInput(connection, event))
        if isinstance(event, inputs.ConnectionClosed):
            self.sides.pop(connection, None)
            self.on_closed(connection)

    def feed(self, happened: Input) -> None:
        """Pass an input to the core and carry out its effects."""
        self._inputs.append(happened)
        if self._is_feeding:
            return
        self._is_feeding = True
        while self._inputs:
            happened = self._inputs.popleft()
            what = happened.event if isinstance(happened, ConnectionInput) else happened
            data = getattr(what, "data", b"")
            self._record.note(self._schedule.now_s, self.name, type(what).__name__, data)
            for effect in self.core.handle(happened, self.now):
                self._perform(effect)
        self._is_feeding = False
        self._arm_timer()

    def _perform(self, effect: Effect) -> None:
        if isinstance(effect, ConnectionEffect):
            side = self.sides.get(effect.connection)
            if side is not None:
                side.perform(effect)
        else:
            PERFORM[type(effect)](self, effect)

    def _arm_timer(self) -> None:
        at_s = self.core.deadline()
        if at_s is None or (self._timer_s is not None and self._timer_s <= at_s):
            return
        self._timer_s = at_s
        core = self.core

        def fire() -> None:
            if core is not self.core or not self.is_up or self._timer_s != at_s:
                return
            self._timer_s = None
            due_s = core.deadline()
            if due_s is not None and due_s <= self._schedule.now_s:
                self.feed(inputs.TimerFired())
            else:
                self._arm_timer()

        self._schedule.at(at_s, fire)

    # --- documents ---------------------------------------------------------------------------

    def call_documents(self, effect: CallDocuments) -> None:
        """Queue a call for the worker."""
        self._calls.append(effect)
        self._work()

    def _work(self) -> None:
        """Let the worker begin with the next call, once the store has what that needs."""
        if self._is_calling or not self._calls:
            return
        call = self._calls[0].call
        calls = call.calls if isinstance(call, Together) else (call,)
        if any(self._awaits_store(one) for one in calls):
            return
        self._is_calling = True
        table = self._table

        def finish() -> None:
            # A worker that has died meanwhile answers nothing, nor does a node that has ended.
            if table is self._table:
                self._finish_call()

        self._schedule.after(self._chance.uniform(*CALL_S), finish)

    def _awaits_store(self, call: Call) -> bool:
        if isinstance(call, Forget) or self._table.holds(call):
            return False
        return call.key in self._unwritten

    def _finish_call(self) -> None:
        effect = self._calls.popleft()
        call = effect.call
        self._is_calling = False
        if self._deaths_due and not isinstance(call, Together | Forget):
            self._deaths_due = 0
            self._table = Table(self.identity.actor)
            self._record.count("call", "refused after two deaths")
            result: Result | Each = Refused("document-limit", "the worker has died twice")
        elif isinstance(call, Together):
            result = Each(tuple(map(self._answer, call.calls)))
        else:
            result = self._answer(call)
        self.feed(inputs.DocumentDone(effect.number, result))
        self._work()

    def _answer(self, call: Call) -> Result:
        stored = None
        if not isinstance(call, Forget) and not self._table.holds(call):
            assert not self._awaits_store(call), "a document is loaded with every write of it"
            stored = self.disk.read(call.key)
        return self._table.answer(call, stored)

    # --- the store ---------------------------------------------------------------------------

    def write_store(self, effect: WriteStore) -> None:
        """Queue a write for the disk."""
        self._writes.append(effect)
        self._unwritten[effect.key] += 1
        self._commit()

    def drop_tombstones(self, effect: DropTombstones) -> None:
        """Remove expired tombstones with the next group."""
        self._expired += effect.keys
        self._commit()

    def _commit(self) -> None:
        """Begin with the next group of writes, if the disk is not at one."""
        if self._committing or not (self._writes or self._expired):
            return
        self._committing = list(self._writes)
        self._writes.clear()
        expired, self._expired = self._expired, []
        core = self.core

        def finish() -> None:
            if core is self.core and self.is_up:
                self._finish_commit(expired)

        self._schedule.after(self._chance.uniform(*COMMIT_S), finish)

    def _finish_commit(self, expired: list[str]) -> None:
        if self._crash is not None and self._committing:
            crash, self._crash = self._crash, None
            crash()
            return
        group, self._committing = self._committing, []
        if self._is_store_broken and group:
            self._lose(group)
            return
        self.disk.apply(group, expired)
        self._settle(group)
        if group:
            self.feed(inputs.Durable(group[-1].number))
        self._work()
        self._commit()

    def _settle(self, group: list[WriteStore]) -> None:
        self._unwritten.subtract(effect.key for effect in group)
        self._unwritten = +self._unwritten

    def _lose(self, group: list[WriteStore]) -> None:
        """Lose every write that is not durable, since the disk takes none."""
        lost = [*group, *self._writes]
        self._writes.clear()
        self._settle(lost)
        keys = frozenset(effect.key for effect in lost)
        found: Contents = self.disk.contents(self.identity, keys)
        self._record.count("store", "group lost")
        self._has_lost_writes = True
        self.feed(inputs.StoreFailed(keys, found.sizes, found.tombstones))
        self._work()

    def end_operation(self, effect: LocalDone) -> None:
        """Report how an operation of the node's own user has ended."""
        result = effect.result
        is_refused = isinstance(result, LocalRefusal | Refused)
        if is_refused:
            self._record.count("local refusal", getattr(result, "reason", result))
        self.on_operation(effect.number, REFUSED if is_refused else ACKNOWLEDGED)

    def notify(self, effect: Notify) -> None:
        """Count an event that a node logs."""
        event = effect.event
        reason = getattr(event, "reason", None)
        self._record.count(type(event).__name__, reason)
        if isinstance(event, NotSent):
            self._record.note(self._schedule.now_s, self.name, f"not sent {event.reason}")
        elif isinstance(event, OtherDialect):
            self.on_other_dialect(event.connection)


def _ignore(_connection: int) -> None:
    """Take no note of the end of a connection."""


def _ignore_operation(_number: int, _how: str) -> None:
    """Take no note of the end of an operation."""


PERFORM: Final[dict[type, Callable[[SimulatedNode, Any], None]]] = {
    CallDocuments: SimulatedNode.call_documents,
    WriteStore: SimulatedNode.write_store,
    DropTombstones: SimulatedNode.drop_tombstones,
    Notify: SimulatedNode.notify,
    LocalDone: SimulatedNode.end_operation,
}
