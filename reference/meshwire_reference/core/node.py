"""The node over all its peers: `handle` takes one input at a time and returns effects.

Theory of operation. Every event arrives as an input with the time at which it is handled; every
action leaves as an effect. Nothing in between waits, reads a clock or touches a socket. Events of a
stream go to the handler of the stream (`streams`). A frame that needs a document is put into the
queue of that document (`document_queues`), becomes a `CallDocuments`, and takes effect when its
`DocumentDone` arrives. Effects that show a change to a peer wait for the `Durable` of its write
(`durability`). Frames to a peer are queued per peer (`outbound`) and sent as its transport takes
them. A peer's bytes never raise: they are ignored, or a stream is refused, or in the handshake the
connection. An input that names a closed connection or a finished call is late and does nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from meshwire_reference.core import inputs
from meshwire_reference.core.context import Context
from meshwire_reference.core.counts import Statistics
from meshwire_reference.core.effects import CredentialIgnored, Effect
from meshwire_reference.core.expiry import end_documents
from meshwire_reference.core.formation import FormationKey
from meshwire_reference.core.frames.dispatch import Frames
from meshwire_reference.core.inputs import Input
from meshwire_reference.core.limits.fair_turns import NAME as TURN
from meshwire_reference.core.local import LocalOperations
from meshwire_reference.core.peer.rivals import Rivals
from meshwire_reference.core.peer.session import PeerStatus, Session
from meshwire_reference.core.sending.copies import OPERATOR
from meshwire_reference.core.sending.relay import Routing
from meshwire_reference.core.settings import Moment, Settings
from meshwire_reference.core.state.document_fates import Fates
from meshwire_reference.core.state.tombstones import expires_ms
from meshwire_reference.core.state.waits import Wait
from meshwire_reference.core.trust.store import TrustSettings, TrustStore
from meshwire_spec.states import SessionState


@dataclass(frozen=True, slots=True)
class Outstanding:
    """What a node is at: where nothing happens all of it is zero but its sessions."""

    sessions: int
    streams: int
    """Streams in use, and those that are requested."""
    documents: int
    """Documents with jobs that are not over."""
    held: int
    """Connections with effects that wait for a write."""
    outbound_bytes: int
    inbound_bytes: int

    @property
    def is_any(self) -> bool:
        """True if anything is not zero."""
        return any(
            (self.streams, self.documents, self.held, self.outbound_bytes, self.inbound_bytes)
        )


class NodeCore:
    """The protocol logic of one node."""

    def __init__(
        self,
        settings: Settings,
        entropy: Callable[[int], bytes],
        key: FormationKey | None = None,
    ) -> None:
        self._context = Context(settings, entropy, key)
        self._routing = Routing(self._context)
        self._frames = Frames(self._context, self._routing)
        self._local = LocalOperations(self._context, self._routing)
        self._sessions: dict[int, Session] = {}
        self._rivals = Rivals()

    @property
    def statistics(self) -> Statistics:
        """The counters of the node."""
        return self._context.statistics

    @property
    def fates(self) -> Fates:
        """What became of documents between the node and its peers."""
        return self._context.fates

    @property
    def outstanding(self) -> Outstanding:
        """What the node is at."""
        context = self._context
        return Outstanding(
            len(self._sessions),
            sum(len(session.streams) for session in self._sessions.values()),
            len(context.queues),
            len(context.durability),
            context.outbound_quota.used,
            context.inbound_quota.used,
        )

    @property
    def run_answers(self) -> int:
        """Number of answers of runs that are being made, each with room for a whole frame."""
        return sum(session.runs.answers for session in self._sessions.values())

    @property
    def trust(self) -> TrustStore | None:
        """What the node trusts; None asks for no certificate."""
        return self._context.trust

    @property
    def tombstones(self) -> int:
        """How many tombstones the node holds."""
        return len(self._context.tombstones)

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of all documents, those included whose first write is not durable yet."""
        return tuple(self._context.documents)

    @property
    def peers(self) -> tuple[PeerStatus, ...]:
        """The connections that are open, in the order in which they were opened."""
        return tuple(session.status for session in self._sessions.values())

    def size_of(self, key: str) -> int | None:
        """Return the size of a document as it is stored, None without one."""
        return self._context.documents.get(key)

    def tombstone_expires_ms(self, key: str) -> int | None:
        """Return when the tombstone expires that guards a document, None without one."""
        held = self._context.guard(key)
        return None if held is None else expires_ms(held)

    def waits(self, connection: int, key: str) -> tuple[Wait, ...]:
        """Return what a document waits for on its way over a connection."""
        session = self._sessions.get(connection)
        return () if session is None else session.waits(key)

    def is_ready(self, connection: int) -> bool:
        """Return True if documents are exchanged on a connection."""
        session = self._sessions.get(connection)
        return session is not None and session.state is SessionState.READY

    def handle(self, happened: Input, now: Moment) -> list[Effect]:
        """Handle one input and return the effects.

        Deadlines that have passed are handled by `TimerFired` alone. So a driver that is late can
        first give the inputs that came in time.
        """
        self._context.now = now
        self._context.turns.begin_input()
        HANDLERS[type(happened)](self, happened)
        self._plan_sweep()
        return self._context.take_effects()

    def deadline(self) -> float | None:
        """Return when `TimerFired` is due on the monotonic clock, or None without a timer."""
        return self._context.timers.next_s()

    @property
    def works_next(self) -> bool:
        """True if what is due next is heavy work of this node, and no deadline of a peer."""
        return self._context.timers.next_name() == TURN

    def _plan_sweep(self) -> None:
        """Schedule the removal of what has expired, as long as something can."""
        context = self._context
        mortal = len(context.tombstones) or len(context.lifetimes)
        if mortal and not context.timers.is_set("sweep"):
            at_s = context.now.monotonic_s + context.settings.sweep_s
            context.timers.set("sweep", at_s, self._sweep)

    def _sweep(self) -> None:
        self._context.sweep_tombstones()
        end_documents(self._context)

    # --- handlers of inputs ----------------------------------------------------------------------

    def open_session(self, happened: inputs.ConnectionOpened) -> None:
        """Begin the session of a new connection."""
        session = Session(self._context, happened, self._frames.take, self._rivals)
        self._sessions[happened.connection] = session
        self._context.connected[happened.connection] = happened.peer_id.hex()
        self._routing.outbounds[happened.connection] = session.outbound
        session.open()

    def take_event(self, happened: inputs.ConnectionInput) -> None:
        """Pass an event to the session of its connection; ignore it if that is closed."""
        session = self._sessions.get(happened.connection)
        if session is None:
            return
        if isinstance(happened.event, inputs.ConnectionClosed):
            del self._sessions[happened.connection]
            del self._routing.outbounds[happened.connection]
            del self._context.connected[happened.connection]
        elif isinstance(happened.event, OF_PEER):
            session.hear()
        EVENTS[type(happened.event)](session, happened.event)

    def take_result(self, happened: inputs.DocumentDone) -> None:
        """Pass the result of a document call to its job."""
        self._context.queues.take_result(happened.number, happened.result)

    def take_document(self, happened: inputs.DocumentLoaded) -> None:
        """Store and pass on a document of the operator, unless nothing can be stored."""
        if self._context.is_read_only:
            self._context.queues.drop(happened.key)
            return
        self._context.write(happened.key, happened.write)
        self._routing.pass_on_document(happened.key, OPERATOR)

    def begin_operation(self, happened: inputs.LocalOperation) -> None:
        """Begin an operation of this node's own user."""
        self._local.begin(happened)

    def restore(self, happened: inputs.StoreOpened) -> None:
        """Take what the store holds for what the node holds."""
        context = self._context
        for key, size in happened.sizes.items():
            context.documents[key] = size
            heads = happened.heads.get(key, ())
            context.documents.by_heads.note(key, heads)
            life, now = happened.lives.get(key), context.now
            context.lifetimes.restore(key, life, heads, now.monotonic_s, now.wall_ms)
        context.tombstones.restore(happened.tombstones, happened.lamport)
        context.sweep_tombstones()
        end_documents(context)

    def note_store_failure(self, happened: inputs.StoreFailed) -> None:
        """Go back to what is stored, and change nothing from now on."""
        # First, since a close would wait with what is held for the lost writes.
        self._context.lose_writes(happened)
        self._local.lose()
        for session in self._sessions.values():
            session.give_up()

    def note_store_recovery(self, _happened: inputs.StoreRecovered) -> None:
        """Change documents again, and let peers repeat what was refused."""
        for connection in self._context.end_read_only():
            if connection in self._sessions:
                self._sessions[connection].give_up()

    def note_durable(self, happened: inputs.Durable) -> None:
        """Release the effects that waited for these writes."""
        self._context.note_durable(happened.number)
        self._local.note_durable(happened.number)

    def offer_again(self, _happened: inputs.OfferAgain) -> None:
        """Offer everything to every peer."""
        for session in self._sessions.values():
            session.offer_again()

    def assign_role(self, happened: inputs.RoleAssigned) -> None:
        """Give a peer a role, and offer everything again where more goes to a peer from now on."""
        hierarchy, sessions = self._context.hierarchy, self._sessions.values()
        before = {one.connection: hierarchy.role_of(one.streams.peer) for one in sessions}
        hierarchy.assign(happened.peer_id.hex(), happened.role)
        # DC-074
        for session in sessions:
            role = hierarchy.role_of(session.streams.peer)
            if role is not before[session.connection] and before[session.connection] is not None:
                session.offer_again()

    def take_credential(self, happened: inputs.CredentialRead) -> None:
        """Take a certificate or a revocation, and close what it no longer certifies."""
        trust = self._context.trust
        if trust is None:
            return
        reason = trust.take(happened.key, happened.content)
        if reason is not None:
            self._context.notify(CredentialIgnored(happened.key, reason))
        self._verify_all()

    def replace_trust(self, happened: inputs.TrustReplaced) -> None:
        """Trust other roots, and demand certificates from now on; without roots demand none.

        Peers are verified when the documents of their certificates are read, or connect. With the
        roots that are trusted already everything stays.
        """
        settings = TrustSettings(happened.mesh_id, happened.roots)
        trust = self._context.trust
        if not happened.roots:
            self._context.trust = None
        elif trust is None or trust.settings != settings:
            self._context.trust = TrustStore(settings)

    def _verify_all(self) -> None:
        # CT-033
        for session in self._sessions.values():
            session.verify()

    def fire(self, happened: inputs.TimerFired) -> None:
        """Do what is due."""
        only = TURN if happened.only_work else None
        self._context.timers.run(self._context.now.monotonic_s, only=only)

    def shut_down(self, happened: inputs.ShutDown) -> None:
        """Close every connection."""
        for session in self._sessions.values():
            session.shut_down()


HANDLERS: Final[dict[type[Input], Callable[[NodeCore, Any], None]]] = {
    inputs.ConnectionOpened: NodeCore.open_session,
    inputs.ConnectionInput: NodeCore.take_event,
    inputs.DocumentDone: NodeCore.take_result,
    inputs.DocumentLoaded: NodeCore.take_document,
    inputs.LocalOperation: NodeCore.begin_operation,
    inputs.StoreOpened: NodeCore.restore,
    inputs.StoreFailed: NodeCore.note_store_failure,
    inputs.StoreRecovered: NodeCore.note_store_recovery,
    inputs.Durable: NodeCore.note_durable,
    inputs.OfferAgain: NodeCore.offer_again,
    inputs.RoleAssigned: NodeCore.assign_role,
    inputs.CredentialRead: NodeCore.take_credential,
    inputs.TrustReplaced: NodeCore.replace_trust,
    inputs.TimerFired: NodeCore.fire,
    inputs.ShutDown: NodeCore.shut_down,
}

OF_PEER: Final = (
    inputs.StreamOpened,
    inputs.StreamData,
    inputs.StreamReset,
    inputs.StreamStopped,
)
"""Events that show that the peer is there."""

EVENTS: Final[dict[type[inputs.ConnectionEvent], Callable[[Session, Any], None]]] = {
    inputs.StreamOpened: lambda session, event: session.take_stream(event.stream, bidi=event.bidi),
    inputs.StreamData: lambda session, event: session.streams.take_data(
        event.stream, event.data, fin=event.fin
    ),
    # ER-019
    inputs.StreamReset: lambda session, event: session.streams.take_reset(event.stream, event.code),
    # TR-023: the transport has reset our half already.
    inputs.StreamStopped: lambda session, event: session.streams.take_stop(
        event.stream, event.code
    ),
    inputs.StreamGranted: lambda session, event: session.streams.grant(event.ticket, event.stream),
    inputs.StreamSent: lambda session, event: session.streams.note_sent(
        event.stream, has_failed=False
    ),
    inputs.SendFailed: lambda session, event: session.streams.note_sent(
        event.stream, has_failed=True
    ),
    inputs.ConnectionClosed: lambda session, event: session.end(event),
}
"""The method of a session for each event of its connection."""
