"""Tombstones taking effect: the document goes, the tombstone stays and travels on."""

from meshwire_reference.core.context import Context
from meshwire_reference.core.document_calls import Call, Drop, Result
from meshwire_reference.core.peer.inbound import TAKEN, Done, Outcome
from meshwire_reference.core.peer.session import Session
from meshwire_reference.core.sending.relay import Routing
from meshwire_reference.core.state.document_queues import Job
from meshwire_reference.core.state.tombstones import TAKEN as HELD
from meshwire_reference.core.state.tombstones import document_key
from meshwire_reference.wire.tombstones import Tombstone


class Removals:
    """Lets tombstones take effect, each in the queue of its document."""

    def __init__(self, context: Context, routing: Routing) -> None:
        self._context = context
        self._routing = routing

    def take(self, session: Session, tombstone: Tombstone, done: Done) -> None:
        """Keep a tombstone if it is to be kept, remove its document, and pass it on."""
        # TS-012
        key = document_key(tombstone)

        def begin() -> Call | None:
            offer = self._context.tombstones.offer(tombstone, self._context.now.wall_ms)
            if offer not in HELD:
                # TS-031, TS-032, TS-039
                self._context.statistics.ignored[f"tombstone: {offer}"] += 1
                done(TAKEN)
                return None
            return Drop(key)

        def finish(_result: Result) -> None:
            # TS-030
            self._context.statistics.applied["tombstone"] += 1
            held = self._context.tombstones.active(key, self._context.now.wall_ms)
            content = None if held is None else held.content
            after = self._context.write(key, None, content)
            # TS-037
            self._routing.pass_on_tombstone(key, session.connection)
            done(Outcome(after=after))

        session.queue(key, Job(begin, finish))
