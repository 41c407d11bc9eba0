"""The asyncio driver: passes inputs to the core and carries out its effects.

Every input goes through `_feed`, on one event loop, so the core is never entered twice at once.
Document calls go to the supervisor of the worker, writes to the store in their order, effects of a
connection to its link. One timer runs for the next deadline of the core.
"""

import asyncio
import itertools
import secrets
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from meshwire_reference.core import inputs
from meshwire_reference.core.counts import Statistics
from meshwire_reference.core.document_calls import Each, Result, Together
from meshwire_reference.core.effects import (
    Accepted,
    CallDocuments,
    ClockOff,
    ConnectionEffect,
    CredentialIgnored,
    DropTombstones,
    Effect,
    LocalDone,
    Mismatch,
    NotAllowed,
    NotCertified,
    Notify,
    NotSent,
    OtherDialect,
    Proven,
    Refusal,
    RunOver,
    Silent,
    Skipped,
    TombstonesFull,
    Unproven,
    WriteNumber,
    WriteStore,
)
from meshwire_reference.core.inputs import Input, PeerRole, StoreFailed
from meshwire_reference.core.node import NodeCore, Outstanding
from meshwire_reference.core.peer.session import PeerStatus
from meshwire_reference.core.state.document_fates import Fates
from meshwire_reference.core.state.waits import Wait
from meshwire_reference.discovery.announced import HostNetwork
from meshwire_reference.documents.limits import WorkerDied, WorkerEvent
from meshwire_reference.documents.process import DocumentSettings, WorkerSettings
from meshwire_reference.documents.supervisor import Documents
from meshwire_reference.node.clocks import Clock, CoreTimer
from meshwire_reference.node.config import Config, endpoint_id_of
from meshwire_reference.node.connection import Link
from meshwire_reference.node.discovering import Browser, Discovery, browse_mdns
from meshwire_reference.node.enrolling import Enrollment
from meshwire_reference.node.loading import Loading
from meshwire_reference.node.local import LocalUser
from meshwire_reference.node.log import NodeLog
from meshwire_reference.node.membership import (
    CredentialDocuments,
    check_own,
    ignored_certificates,
)
from meshwire_reference.node.online import Network
from meshwire_reference.node.storing import Storing, store_of
from meshwire_reference.node.troubles import Troubles
from meshwire_reference.store.base import Identity, StoreError
from meshwire_reference.store.mesh_folder import MeshFolder
from meshwire_reference.transport.base import Connection, TransportOptions
from meshwire_reference.wire.certificates import MeshCertificate
from meshwire_spec.numbers import FRAME_KEY_MAX, REASONS

CLOSE_S: Final = 2.0
"""Seconds that the end of the node waits for its connections to close."""


class Node:
    """A running node: `start`, then `serve` connections as they come, then `close`."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._log = NodeLog()
        self._troubles = Troubles(self._log)
        self.clock = Clock()
        """Its time; `advance` puts it forward."""
        self._core = NodeCore(config.settings, secrets.token_bytes, config.key)
        self._storing = Storing(store_of(config), self)
        self.user = LocalUser(self._feed)
        """Operations of this node's own user."""
        self._membership = CredentialDocuments(self.user, self._feed, lambda: self._core.trust)
        self._documents: Documents | None = None
        self._links: dict[int, Link] = {}
        self._unready: set[int] = set()
        self._numbers = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._calls: deque[CallDocuments] = deque()
        self.store_failure: StoreError | None = None
        self.has_failed = asyncio.Event()
        """Set when the node has to end, for the reason in `store_failure`."""
        self._timer = CoreTimer(self.clock, self._feed)
        self._identity: Identity | None = None
        self.network = Network(
            self.attach,
            self._serve_in,
            self._is_kept,
            secrets.SystemRandom().random,
            redial_s=config.redial_s,
            log=self._log,
            clock=self.clock,
        )
        """The addresses of the node, and those that it dials."""
        self.discovery: Discovery | None = None
        """The discovery of peers, if the operator wants it."""
        if config.discovers:
            self.discover(browse_mdns, None)
        self.enrollment: Enrollment | None = None
        """The enrollment that it serves, if it is an authority and open."""

    def discover(
        self, browse: Callable[[Discovery], Browser], networks: Iterable[HostNetwork] | None
    ) -> None:
        """Discover peers in these networks whenever the node is online; None for its own ones."""
        self.discovery = Discovery(
            self.network,
            browse,
            secrets.SystemRandom().random,
            networks=networks,
            lab=self._config.lab,
            log=self._log,
            clock=self.clock,
        )

    @property
    def addresses(self) -> tuple[str, ...]:
        """Addresses at which the node can be dialled."""
        return self.network.addresses

    @property
    def endpoint_id(self) -> bytes:
        """The identity that peers see; empty before the store is open."""
        own = b"" if self._identity is None else self._identity.endpoint_id
        return self.network.proven_id or own

    @property
    def statistics(self) -> Statistics:
        """Counts of the core."""
        return self._core.statistics

    @property
    def outstanding(self) -> Outstanding:
        """What the core is at."""
        return self._core.outstanding

    @property
    def tombstones(self) -> int:
        """How many tombstones the node holds."""
        return self._core.tombstones

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of all documents."""
        return self._core.keys

    @property
    def fates(self) -> Fates:
        """What became of documents between the node and its peers."""
        return self._core.fates

    def size_of(self, key: str) -> int | None:
        """Return the size of a document as it is stored, None without one."""
        return self._core.size_of(key)

    def tombstone_expires_ms(self, key: str) -> int | None:
        """Return when the tombstone expires that guards a document, None without one."""
        return self._core.tombstone_expires_ms(key)

    def waits(self, connection: int, key: str) -> tuple[Wait, ...]:
        """Return what a document waits for on its way over a connection."""
        return self._core.waits(connection, key)

    @property
    def peers(self) -> tuple[PeerStatus, ...]:
        """The connections that are open."""
        return self._core.peers

    async def start(self) -> None:
        """Open the node and go online. Raises what `open` and `go_online` raise."""
        await self.open()
        await self.go_online()

    async def open(self) -> None:
        """Open the store, start the worker, load the folder.

        Raises AddressRefused for an address that may not be dialled, StoreError for a store that
        cannot be used, Unavailable without a worker, BadFolder for a folder that cannot be loaded,
        UnfitCertificate for a certificate that is not of this node.
        """
        asyncio.get_running_loop().set_exception_handler(self._troubles.note_of_loop)
        if self._config.is_tested:
            self._log.write("for-tests", control=str(self._config.control))
        for address in self._config.connect:
            self.network.add(address, lab=self._config.lab)
        if self._config.authority is not None and self.enrollment is None:
            folder = MeshFolder(self._config.authority)
            self.enrollment = Enrollment(
                folder, self.clock, self._log, self._publish, self._revoked
            )
        contents = await self._storing.open()
        identity = self._identity = self._identify(contents.identity)
        worker = WorkerSettings(identity.actor, budget=self._config.budget)
        self._documents = Documents(
            self._storing.load, DocumentSettings(worker), self._note_worker_event
        )
        await self._documents.start()
        self._feed(
            inputs.StoreOpened(
                contents.sizes,
                contents.tombstones,
                contents.lamport,
                contents.heads,
                contents.lives,
            )
        )
        self._spawn(self._storing.run())
        if self._config.folder is not None:
            await self._load_folder(self._config.folder)
        await self._open_membership()

    async def _open_membership(self) -> None:
        """Read certificates and revocations, and publish what the configuration has of them."""
        await self._membership.begin(self.keys)
        self._spawn(self._membership.run())
        own, trust, now_ms = self._config.certificate, self._core.trust, self.clock.wall_ms()
        if own is not None and trust is not None:
            check_own(own, trust.trust, self.endpoint_id, now_ms)
            await self._membership.publish(own, now_ms)
        await self._membership.publish_revocations()
        for key, reason in () if trust is None else ignored_certificates(trust, now_ms):
            self._log.write("credential-ignored", key=key, reason=reason)

    async def _publish(self, certificate: MeshCertificate) -> None:
        """Publish a certificate that this node has issued, where it demands certificates."""
        if self._core.trust is not None:
            await self._membership.publish(certificate, self.clock.wall_ms())

    def _revoked(self) -> AbstractSet[bytes]:
        """Return the endpoint ids whose revocation the node knows."""
        trust = self._core.trust
        return frozenset() if trust is None else trust.trust.revoked

    @property
    def _proven_id(self) -> bytes:
        """The endpoint id on transports that prove it."""
        assert self._identity is not None, "the node is open"
        return endpoint_id_of(self._identity.endpoint_secret)

    def _is_kept(self, peer_id: bytes) -> bool:
        """Return True if a connection with a peer was kept in favour of another one."""
        return any(one.stays and one.peer_id == peer_id for one in self._core.peers)

    def _identify(self, stored: Identity) -> Identity:
        """Return the identity of the node: with the endpoint key of the configuration, if any."""
        key = self._config.endpoint_key
        if key is None:
            return stored
        return replace(stored, endpoint_id=endpoint_id_of(key), endpoint_secret=key)

    async def go_online(self) -> None:
        """Bind every address and begin to dial. Raises TransportError or OSError for an address."""
        await self._go_online(self._config.listen)

    async def _go_online(self, addresses: tuple[str, ...]) -> None:
        """Bind these addresses and begin to dial."""
        assert self._identity is not None, "the node is open"
        # TR-028
        options = TransportOptions(
            self._identity.endpoint_id,
            secret_key=self._identity.endpoint_secret,
            handshake_s=self._config.settings.handshake_s,
            lab=self._config.lab,
            relays=self._config.relays,
            datagram_size=self._config.quic_datagram,
            idle_s=self._config.quic_idle_s,
            keep_alive_s=self._config.quic_keep_alive_s,
            on_refusal=self._note_refused_caller,
        )
        await self.network.open(addresses, options)
        if self.discovery is not None:
            await self.discovery.open(self.endpoint_id, self.addresses)
        if self.enrollment is not None:
            await self.enrollment.open(self._config.enroll_listen, options)

    async def go_offline(self) -> None:
        """Close every connection, and listen and dial no longer; the documents stay."""
        if self.discovery is not None:
            await self.discovery.close()
        if self.enrollment is not None:
            await self.enrollment.close()
        await self.network.stop_listening()
        await self._say_goodbye()
        await self.network.close()

    async def _say_goodbye(self) -> None:
        """Close every connection with the reason `shutdown`."""
        self._feed(inputs.ShutDown())
        code = REASONS["shutdown"].code
        farewells = [link.connection.close(code, "shutdown") for link in self._links.values()]
        if farewells:
            await asyncio.wait(
                [asyncio.ensure_future(farewell) for farewell in farewells], timeout=CLOSE_S
            )

    async def _load_folder(self, folder: Path) -> None:
        """Load every document of a folder, or raise BadFolder."""
        assert self._documents is not None, "the worker is started before a folder is loaded"
        size_max = self._config.settings.payload_cap
        loading = Loading(self._documents.submit_together, self._feed, size_max)
        number = await loading.load(folder)
        await self._storing.drain()
        if self.store_failure is not None:
            raise self.store_failure
        self._log.write("loaded", folder=str(folder), documents=number)

    def offer_again(self) -> None:
        """Offer every document again to every peer."""
        self._feed(inputs.OfferAgain())

    def assign_role(self, peer_id: bytes, role: PeerRole | None) -> None:
        """Give a peer a role, or take it away."""
        self._feed(inputs.RoleAssigned(peer_id, role))

    @property
    def mesh_id(self) -> str | None:
        """The mesh whose certificates the node verifies, None if it verifies none."""
        trust = self._core.trust
        return None if trust is None else trust.settings.mesh_id

    async def replace_trust(self, mesh_id: str, roots: frozenset[bytes]) -> None:
        """Demand certificates of these roots from now on, or none; only for a node for tests."""
        self._feed(inputs.TrustReplaced(mesh_id, roots))
        await self._membership.begin(self.keys)

    async def settle(self) -> None:
        """Wait until everything that has been changed so far is durable."""
        await self._storing.drain()

    def attach(self, connection: Connection) -> None:
        """Serve a connection that was opened elsewhere, dialled or accepted."""
        self._spawn(self._serve(connection))

    async def close(self) -> None:
        """Close every connection and end all tasks and processes of the node."""
        await self.go_offline()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # Nothing arms it again: the tasks that pass inputs to the core are over.
        self._timer.cancel()
        self.user.give_up()
        if self._documents is not None:
            await self._documents.close()
        await self._storing.close()

    # --- nodes that were started for tests -------------------------------------------------------

    async def move_clock(self, advance_s: float, wall_ms: int | None) -> None:
        """Put the clocks forward, set that of the calendar, and do what is due then.

        What has become due several times is done once, as after a pause of the whole machine.
        """
        self._log.write("clock-moved", advance_s=advance_s, wall_ms=wall_ms)
        self.clock.advance(advance_s)
        if wall_ms is not None:
            self.clock.set_wall(wall_ms)
        # It was armed for a time of the event loop that is no longer right.
        self._timer.cancel()
        self._feed(inputs.TimerFired())
        await self.settle()

    async def reset(self) -> None:
        """Begin anew as after the start, without documents, tombstones, peers and counts.

        The endpoint id and the addresses stay, and the clocks show real time. Only for a node that
        keeps everything in memory. Raises what `start` raises.
        """
        assert self._config.data is None, "a durable store is not erased"
        self._log.write("reset")
        addresses, before = self.addresses, self._identity
        assert before is not None, "the node is open"
        await self.close()
        self.clock.put_right()
        self._core = NodeCore(self._config.settings, secrets.token_bytes, self._config.key)
        self._storing = Storing(store_of(self._config), self)
        self._calls.clear()
        await self.open()
        # A new actor: the old one has written changes that this node no longer knows.
        assert self._identity is not None, "the node is open again"
        self._identity = replace(
            self._identity,
            endpoint_id=before.endpoint_id,
            endpoint_secret=before.endpoint_secret,
        )
        await self._go_online(addresses)

    # --- inputs ------------------------------------------------------------------------------

    def _feed(self, happened: Input) -> None:
        """Pass an input to the core and carry out its effects.

        An exception is a mistake of this node: it is logged, the connection that it concerns is
        closed, and everything else goes on.
        """
        effects: list[Effect] = []
        try:
            effects = self._core.handle(happened, self.clock.moment())
        except Exception as exc:  # noqa: BLE001 - a mistake must not end what serves other peers
            self._note_mistake(happened, exc)
        for effect in effects:
            try:
                self._perform(effect)
            except Exception as exc:  # noqa: BLE001 - as above
                self._note_mistake(effect, exc)
        self._timer.arm(self._core.deadline(), only_work=self._core.works_next)
        if self._unready and isinstance(happened, inputs.ConnectionOpened | inputs.ConnectionInput):
            self._note_ready(happened.connection)

    def _note_ready(self, connection: int) -> None:
        """Wake those who wait for a peer once its connection is ready."""
        if connection in self._unready and self._core.is_ready(connection):
            self._unready.discard(connection)
            self.network.changed.give()

    def _perform(self, effect: Effect) -> None:
        if isinstance(effect, ConnectionEffect):
            link = self._links.get(effect.connection)
            if link is not None:
                link.perform(effect)
        else:
            PERFORM[type(effect)](self, effect)

    def _note_mistake(self, at: Input | Effect, exc: Exception) -> None:
        """Log an exception of this node, and close the connection whose input or effect it was."""
        connection = self._troubles.note_mistake(at, exc)
        link = self._links.get(connection) if connection is not None else None
        if link is not None:
            self._spawn(link.connection.close(REASONS["internal"].code, "internal"))

    def _note_refused_caller(self, reason: str, address: str) -> None:
        """Count and log the refusal of a caller that did not become a connection."""
        # ER-018
        self._core.statistics.refused[reason] += 1
        self._log.write("refused", reason=reason, address=address)

    async def _serve(self, connection: Connection) -> None:
        await self._serve_in(connection, in_other_dialect=False)

    async def _serve_in(self, connection: Connection, *, in_other_dialect: bool) -> bool:
        """Serve a connection to its end; return True if the other dialect should be tried."""
        link = Link(
            next(self._numbers),
            connection,
            self._feed,
            reconciles=self._config.reconciles_with(connection.peer_id),
            in_other_dialect=in_other_dialect,
            own_id=self._proven_id if connection.proves_ids else b"",
        )
        self._links[link.number] = link
        self._unready.add(link.number)
        try:
            await link.run()
        finally:
            del self._links[link.number]
            self._unready.discard(link.number)
            self.network.changed.give()
        return link.wants_other_dialect

    # --- effects -----------------------------------------------------------------------------

    def call_documents(self, effect: CallDocuments) -> None:
        """Pass a call to the supervisor of the worker, once the store has caught up."""
        if self._storing.is_behind or self._calls:
            self._calls.append(effect)
            return
        self._submit(effect)

    def _submit(self, effect: CallDocuments) -> None:
        assert self._documents is not None, "the core asks for nothing before its store is open"
        call = effect.call
        future: asyncio.Future[Result | Each] | asyncio.Future[Result] = (
            self._documents.submit_together(call)
            if isinstance(call, Together)
            else self._documents.submit(call)
        )
        future.add_done_callback(
            lambda done: (
                self._feed(inputs.DocumentDone(effect.number, done.result()))
                if not done.cancelled()
                else None
            )
        )

    def write_store(self, effect: WriteStore) -> None:
        """Queue a write to the store."""
        self.user.note_write(effect)
        self._storing.add(effect)

    def drop_tombstones(self, effect: DropTombstones) -> None:
        """Queue the removal of tombstones from the store."""
        self._storing.drop_tombstones(effect.keys)

    def note_durable(self, number: WriteNumber) -> None:
        """Tell the core that writes are durable, and make the calls that waited for that."""
        self._feed(inputs.Durable(number))
        self.user.note_durable(number)
        self._submit_waiting()

    def _submit_waiting(self) -> None:
        """Make the calls that waited for the store."""
        while self._calls and not self._storing.is_behind:
            self._submit(self._calls.popleft())

    def note_failure(self, exc: StoreError, lost: StoreFailed) -> None:
        """Log that nothing can be stored, and go back to what is."""
        self._log.write("store-failed", why=str(exc), lost=len(lost.keys))
        self.store_failure = exc
        self.user.lose_writes()
        self._feed(lost)
        self._submit_waiting()

    def note_recovery(self) -> None:
        """Log that changes are stored again."""
        self._log.write("store-recovered")
        self.store_failure = None
        self._feed(inputs.StoreRecovered())

    def note_end(self, exc: StoreError) -> None:
        """Report that what is stored cannot be read either."""
        self._log.write("store-failed", why=str(exc))
        self.store_failure = exc
        self.has_failed.set()

    def finish_operation(self, effect: LocalDone) -> None:
        """End an operation of the user."""
        self.user.finish(effect)

    def notify(self, effect: Notify) -> None:
        """Log an event of the core."""
        match effect.event:
            case Refusal() as refusal:
                self._note_refusal(refusal)
            case RunOver() as over:
                # NG-027: where it has failed everything is offered.
                self._log.write(
                    "reconciled" if over.reason is None else "not-reconciled", **asdict(over)
                )
            case OtherDialect() as other:
                self._log.write("other-dialect", **asdict(other))
                link = self._links.get(other.connection)
                if link is not None:
                    link.wants_other_dialect = True
            case Accepted() as accepted:
                self._note_accepted(accepted)
            case event:
                self._log.write(EVENTS[type(event)], **asdict(event))

    def _note_accepted(self, accepted: Accepted) -> None:
        """Log the begin of a session; its connection is kept before others from now on."""
        link = self._links.get(accepted.connection)
        address = {}
        if link is not None:
            link.connection.is_proven = True
            if link.connection.remote:
                address["address"] = link.connection.remote
        self._log.write("accepted", **asdict(accepted), **address)

    def _note_refusal(self, refusal: Refusal) -> None:
        """Log a refusal, and remember that of a whole connection."""
        self._log.write(
            "refused",
            reason=refusal.reason,
            peer=refusal.peer,
            connection=refusal.connection,
            stream=refusal.scope,
            key=refusal.key[:FRAME_KEY_MAX],
            times=self.statistics.of(refusal.peer).refused[refusal.reason],
        )
        if refusal.scope == "connection":
            self.network.note_refusal(self.clock.wall_ms(), refusal)

    def _note_worker_event(self, event: WorkerEvent) -> None:
        """Log an event of the worker."""
        if isinstance(event, WorkerDied) and not event.alone:
            # Its exchanges start afresh with their next message.
            self._core.statistics.ignored["sync states lost"] += 1
        self._troubles.note_worker_event(event)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


EVENTS: Final[dict[type, str]] = {
    NotSent: "not-sent",
    Skipped: "skipped",
    Mismatch: "mismatch",
    Proven: "proven",
    Unproven: "unproven",
    NotAllowed: "not-allowed",
    NotCertified: "not-certified",
    CredentialIgnored: "credential-ignored",
    Silent: "silent",
    TombstonesFull: "tombstones-full",
    ClockOff: "clock-off",
}
"""The name in the log of an event of the core that leads to nothing else."""

PERFORM: Final[dict[type, Callable[[Node, Any], None]]] = {
    CallDocuments: Node.call_documents,
    WriteStore: Node.write_store,
    DropTombstones: Node.drop_tombstones,
    Notify: Node.notify,
    LocalDone: Node.finish_operation,
}
