"""The part of the core that all others share: settings, time, counters, queues and effects."""

from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import Final

from meshwire_reference.core.counts import Statistics
from meshwire_reference.core.document_calls import KeptTombstone, Write
from meshwire_reference.core.effects import (
    Accepted,
    CallDocuments,
    ConnectionEffect,
    DropTombstones,
    Effect,
    Event,
    LocalDone,
    Notify,
    NotSent,
    Refusal,
    RunOver,
    Send,
    Silent,
    Skipped,
    TombstonesFull,
    WriteNumber,
    WriteStore,
)
from meshwire_reference.core.formation import FormationKey
from meshwire_reference.core.inputs import StoreFailed
from meshwire_reference.core.limits.fair_turns import Turns
from meshwire_reference.core.limits.quotas import ReceivedQuota, SharedQuota
from meshwire_reference.core.limits.rate_limit import Cooldowns
from meshwire_reference.core.limits.refusals import RunRefusals
from meshwire_reference.core.settings import Moment, Settings
from meshwire_reference.core.state.cursors import Cursors
from meshwire_reference.core.state.document_fates import Fate, Fates
from meshwire_reference.core.state.document_index import DocumentIndex, RunItems
from meshwire_reference.core.state.document_queues import KeyQueues
from meshwire_reference.core.state.durability import Durability
from meshwire_reference.core.state.head_items import HeadsSurvey
from meshwire_reference.core.state.hierarchy import Hierarchy
from meshwire_reference.core.state.lifetimes import Lifetimes
from meshwire_reference.core.state.tombstones import HeldTombstone, Tombstones
from meshwire_reference.core.state.waits import Cause, Wait
from meshwire_reference.core.timers import Timers
from meshwire_reference.core.trust.store import TrustStore

SKIP_EVENTS_MAX: Final = 1024
"""Keys whose skipped entries are remembered; of further ones there is no event meanwhile."""


class Context:
    """The shared part of one node core; `now` is the time of the input being handled."""

    def __init__(
        self, settings: Settings, entropy: Callable[[int], bytes], key: FormationKey | None
    ) -> None:
        self.settings = settings
        self.entropy = entropy
        self.key = key
        self.now = Moment(0.0, 0)
        self.statistics = Statistics()
        self.fates = Fates()
        self.connected: dict[int, str] = {}
        """The peer of each connection that is open."""
        self.hierarchy = Hierarchy(settings.roles, settings.collections, settings.admits)
        self.trust = None if settings.trust is None else TrustStore(settings.trust)
        self.timers = Timers()
        self.turns = Turns(self.timers, lambda: self.now.monotonic_s)
        self.tombstones = Tombstones()
        self.tombstones.follow(settings.collections)
        self.tombstones.maximum = settings.tombstones_max
        self.tombstones.bytes_max = settings.tombstone_bytes_max
        self.tombstones.graveyard_ms = round(settings.graveyard_s * 1000)
        self.cursors = Cursors()
        self.lifetimes = Lifetimes(settings.collections)
        self.durability = Durability()
        self.queues = KeyQueues(self._emit_call)
        self.documents = DocumentIndex(settings.identify, keeps_heads=bool(settings.heads_peers))
        self._heads_survey = HeadsSurvey(self.queues, self.documents.by_heads)
        self.outbound_quota = SharedQuota(settings.all_answer_bytes_max)
        self.inbound_quota = ReceivedQuota(settings.inbound_bytes_max)
        self.tickets = count(1)
        self.nonces: set[bytes] = set()
        """Nonces of challenges of this node whose response has not come yet."""
        self.run_refusals = RunRefusals()
        self.is_read_only = False
        self._unheard: set[int] = set()
        self._await_listing: list[Callable[[], None]] = []
        self._skip_events = Cooldowns(settings.skip_event_s, SKIP_EVENTS_MAX)
        self._full_events = Cooldowns(settings.full_event_s)
        self._room_sweeps = Cooldowns(settings.room_sweep_s)
        self._effects: list[Effect] = []

    def emit(self, effect: ConnectionEffect) -> None:
        """Add an effect that a peer can see; it is held until the write it names is durable."""
        if self.durability.admit(effect):
            self._count_sent(effect)
            self._effects.append(effect)

    def compares_heads(self, peer: str) -> bool:
        """Return True if the operator has configured runs by heads with a peer."""
        # NG-067
        return peer in self.settings.heads_peers

    def items_for(self, peer: str) -> RunItems:
        """Return the items of the runs with a peer."""
        return self.documents.by_heads if self.compares_heads(peer) else self.documents

    def offers(self, peer: str, keys: Iterable[str]) -> list[str]:
        """Return the keys of the documents that are offered to a peer, the most urgent first."""
        # A collection decides for its documents, of which there may be very many.
        places: dict[tuple[int, bool], list[str]] = {}
        of_collection: dict[str, list[str]] = {}
        for key in keys:
            name = key.partition(":")[0]
            if name not in of_collection:
                place = self.settings.collections.place(name)
                goes = self.hierarchy.sends_document(peer, name)
                of_collection[name] = places.setdefault(place, []) if goes else []
            of_collection[name].append(key)
        # DC-075
        return [key for place in sorted(places) for key in places[place]]

    def write(self, key: str, write: Write) -> WriteNumber:
        """Add a write to the store and return its number, for effects that depend on it."""
        number = self.durability.begin_write(key)
        # DC-077, DC-078
        now = self.now
        life = self.lifetimes.note_written(key, write.heads, now.monotonic_s, now.wall_ms)
        self._effects.append(WriteStore(number, key, write, life=life))
        before = self.documents.get(key, 0) if write.snapshot is None else len(write.snapshot)
        self.documents[key] = before + len(write.changes)
        self.documents.by_heads.note(key, write.heads)
        return number

    def write_tombstone(self, key: str) -> WriteNumber:
        """Replace a document by the tombstone that is held for it, in the store too."""
        number = self.durability.begin_write(key)
        held = self.tombstones.active(key, self.now.wall_ms)
        kept = None if held is None else KeptTombstone(held.content, held.received_ms)
        self._effects.append(WriteStore(number, key, None, kept, self.tombstones.lamport))
        self.documents.pop(key, None)
        return number

    def end_document(self, key: str) -> None:
        """Remove a document whose lifetime has passed, in the store too."""
        number = self.durability.begin_write(key)
        self._effects.append(WriteStore(number, key, None))
        self.documents.pop(key, None)
        self.lifetimes.end(key, self.now.monotonic_s)
        self.statistics.applied["lifetime over"] += 1

    def sweep_tombstones(self, steps: Iterator[tuple[str, ...]] | None = None) -> None:
        """Remove the tombstones that have expired, also from the store, a few in each turn."""
        left = self.tombstones.sweep(self.now.wall_ms) if steps is None else steps
        over = next(left, None)
        if over is None:
            return
        if over:
            self._effects.append(DropTombstones(over))
        self.turns.later(lambda: self.sweep_tombstones(left))

    def note_tombstones_full(self, peer: str, connection: int) -> None:
        """Log that a tombstone exceeds a bound, and remove those that are no longer offered."""
        held, now_s = len(self.tombstones), self.now.monotonic_s
        if self._full_events.take("tombstones", now_s):
            self.notify(TombstonesFull(held, peer, connection))
        if self._room_sweeps.take("tombstones", now_s):
            steps = self.tombstones.sweep(self.now.wall_ms, in_grace=True)
            self.turns.later(lambda: self.sweep_tombstones(steps))

    def when_listed(self, peer: str, then: Callable[[], None]) -> None:
        """Call `then` once the items of the runs with a peer are listed: now, or later."""
        if self.compares_heads(peer):
            self._heads_survey.when_known(then)
            return
        self._await_listing.append(then)
        if len(self._await_listing) == 1:
            self._list(self.documents.list_in_slices())

    def _list(self, slices: Iterator[None]) -> None:
        for _ in slices:
            self.turns.later(lambda: self._list(slices))
            return
        waiting, self._await_listing = self._await_listing, []
        for then in waiting:
            then()

    def lose_writes(self, lost: StoreFailed) -> None:
        """Go back to what the store has; no write follows until `end_read_only`."""
        self.is_read_only = True
        self.durability.lose()
        # In the same order in every process: a set of texts has none.
        for key in sorted(lost.keys):
            self.documents.pop(key, None)
            if key in lost.sizes:
                self.documents[key] = lost.sizes[key]
            else:
                self.lifetimes.forget(key)
            self.tombstones.put_back(key, None)
            self.queues.drop(key)
        self.tombstones.restore(lost.tombstones, self.tombstones.lamport)

    def note_unheard(self, connection: int) -> None:
        """Note that a peer was refused a change, since none can be stored."""
        self._unheard.add(connection)

    def end_read_only(self) -> set[int]:
        """Write again; return the connections that were refused something meanwhile."""
        self.is_read_only = False
        unheard, self._unheard = self._unheard, set()
        return unheard

    def guard(self, key: str) -> HeldTombstone | None:
        """Return the tombstone that blocks changes of a key, or None."""
        # TS-040
        return self.tombstones.active(key, self.now.wall_ms)

    def waits(self, peer: str, key: str) -> Iterator[Wait]:
        """Yield what a document waits for beside the queues toward a peer."""
        if self._is_routed_away(peer, key):
            yield Wait(Cause.ROLE)
        if key in self.queues:
            yield Wait(Cause.WORK)
        if self.durability.pending(key) is not None:
            yield Wait(Cause.WRITE)

    def _is_routed_away(self, peer: str, key: str) -> bool:
        """Return True if what is held for a key does not go to a peer that has not asked for it."""
        held = self.guard(key)
        if held is not None:
            return not self.hierarchy.sends_tombstone(peer, held.direction)
        return key in self.documents and not self.hierarchy.sends_document(peer, key)

    def note_durable(self, number: WriteNumber) -> None:
        """Release the effects that waited for writes up to this one."""
        for effect in self.durability.note_durable(number):
            self._count_sent(effect)
            self._effects.append(effect)

    # --- what is counted and noted ---------------------------------------------------------------

    def _count_sent(self, effect: ConnectionEffect) -> None:
        """Count the bytes that the transport gets, and the frame that they are."""
        if not isinstance(effect, Send) or effect.connection not in self.connected:
            return
        # ER-026
        size, frame = len(effect.data), effect.frame
        for counts in self.statistics.each(self.connected[effect.connection]):
            counts.sent_bytes += size
            if frame is not None:
                counts.sent_frames[frame] += 1
                counts.sent_frame_bytes[frame] += size

    def note_fate(self, peer: str, key: str, fate: Fate, why: str = "") -> None:
        """Note what became of a document between this node and a peer."""
        self.fates.note(peer, key, fate, self.now.wall_ms, why)

    def note_ignored(self, peer: str, key: str, fate: Fate, cause: str) -> None:
        """Count a frame or an entry without an effect, and note that of its document."""
        for counts in self.statistics.each(peer):
            counts.ignored[cause] += 1
        self.note_fate(peer, key, fate, cause)

    def note_applied(self, peer: str, key: str, fate: Fate, kind: str) -> None:
        """Count a change of a peer that took effect, and note that of its document."""
        for counts in self.statistics.each(peer):
            counts.applied[kind] += 1
            counts.last_ms = self.now.wall_ms
        self.note_fate(peer, key, fate)

    def note_sent(self, peer: str, keys: Iterable[str], how: str) -> None:
        """Count documents or tombstones that are sent in one frame, and note it of each."""
        for key in keys:
            mode = str(self.settings.collections.row(key).mode)
            for counts in self.statistics.each(peer):
                counts.sent_documents[mode] += 1
                counts.last_ms = self.now.wall_ms
            self.note_fate(peer, key, Fate.SENT, how)

    def note_lost(self, peer: str, keys: Iterable[str]) -> None:
        """Count a frame whose stream has ended too early, and note it of its documents."""
        for counts in self.statistics.each(peer):
            counts.lost += 1
        for key in keys:
            self.note_fate(peer, key, Fate.LOST)

    def note_refusal(self, refusal: Refusal) -> None:
        """Count a refusal and log it."""
        # ER-018
        for counts in self.statistics.each(refusal.peer):
            counts.refused[refusal.reason] += 1
        if refusal.key:
            self.note_fate(refusal.peer, refusal.key, Fate.REFUSED, refusal.reason)
        self.notify(refusal)

    def note_skipped(self, skipped: Skipped) -> None:
        """Count an entry or tombstone that was skipped, and log it unless one was just now."""
        for counts in self.statistics.each(skipped.peer):
            counts.ignored[f"entry skipped: {skipped.reason}"] += 1
        self.note_fate(skipped.peer, skipped.key, Fate.REFUSED, skipped.reason)
        if self._skip_events.take(skipped.key, self.now.monotonic_s):
            self.notify(skipped)

    def note_not_sent(self, not_sent: NotSent) -> None:
        """Count and log a document that could not be sent."""
        for counts in self.statistics.each(not_sent.peer):
            counts.not_sent[not_sent.reason] += 1
        self.note_fate(not_sent.peer, not_sent.key, Fate.NOT_SENT, not_sent.reason)
        self.notify(not_sent)

    def notify(self, event: Event) -> None:
        """Add the effect that logs an event, and count it."""
        count_event(self.statistics, event)
        self._effects.append(Notify(event))

    def report(self, done: LocalDone) -> None:
        """Add the effect that ends an operation of the user."""
        self._effects.append(done)

    def take_effects(self) -> list[Effect]:
        """Return the effects added since the last call."""
        self.queues.flush()
        effects, self._effects = self._effects, []
        return effects

    def _emit_call(self, call: CallDocuments) -> None:
        self._effects.append(call)


def count_event(statistics: Statistics, event: Event) -> None:
    """Count a session or a reconciliation by its event; other events are counted elsewhere."""
    match event:
        case Accepted(dialled=dialled):
            for counts in statistics.each(event.peer):
                counts.sessions["dialled" if dialled else "accepted"] += 1
        case Silent():
            for counts in statistics.each(event.peer):
                counts.sessions["silent"] += 1
        case RunOver():
            for counts in statistics.each(event.peer):
                counts.runs["completed" if event.reason is None else "incomplete"] += 1
                counts.runs["have"] += event.have
                counts.runs["need"] += event.need
        case _:
            pass
