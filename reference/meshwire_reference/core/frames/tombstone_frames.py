"""The effect of a tombstone: its document is removed, and the tombstone is kept and passed on."""

from typing import Final

from meshwire_reference.core.context import Context
from meshwire_reference.core.document_calls import Call, Drop, Result
from meshwire_reference.core.effects import WriteNumber
from meshwire_reference.core.frames.delivery import Delivery, DocumentJob
from meshwire_reference.core.sending.relay import Routing
from meshwire_reference.core.state.document_fates import Fate
from meshwire_reference.core.state.tombstones import (
    KEPT,
    HeldTombstone,
    OfferOutcome,
    document_key,
)
from meshwire_reference.wire.tombstones import Tombstone

FATES: Final = {OfferOutcome.EXPIRED: Fate.EXPIRED}
"""What becomes of a document whose tombstone has no effect, where that is more than ignored."""


class TombstoneJob(DocumentJob):
    """Keep a tombstone if it wins, remove its document, and pass it on."""

    def __init__(
        self, context: Context, routing: Routing, delivery: Delivery, tombstone: Tombstone
    ) -> None:
        # TS-012
        super().__init__(context, routing, delivery, document_key(tombstone))
        self._tombstone = tombstone
        self._before: HeldTombstone | None = None

    def begin(self) -> Call | None:
        """Return the call that removes the document, or refuse the frame if that is not stored."""
        if self._context.is_read_only:
            self._refuse()
            return None
        return super().begin()

    def _undo(self, _result: Result) -> bool:
        self._context.tombstones.put_back(self.key, self._before)
        return True

    def _decide(self) -> Call | None:
        self._before = self._context.tombstones.active(self.key, self._context.now.wall_ms)
        offer = self._context.tombstones.offer(self._tombstone, self._context.now.wall_ms)
        if offer is OfferOutcome.FULL:
            # TS-047
            session = self._delivery.session
            self._context.note_tombstones_full(session.streams.peer, session.connection)
            self._refused = "internal"
            return None
        if offer not in KEPT:
            # TS-031, TS-032, TS-039
            self._note_ignored(f"tombstone: {offer}", FATES.get(offer, Fate.IGNORED))
            return None
        return Drop(self.key)

    def _apply(self, _result: Result) -> tuple[str | None, WriteNumber | None]:
        # TS-030
        self._note_applied("tombstone", Fate.DELETED)
        after = self._context.write_tombstone(self.key)
        # TS-037
        self._routing.pass_on_tombstone(self.key, self._delivery.session.connection)
        return None, after
