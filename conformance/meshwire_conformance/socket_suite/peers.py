"""Peers: identities of the suite toward the target, each with at most one live connection."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace

from meshwire_conformance.contracts import Settings
from meshwire_conformance.socket_suite.inbox import Inbox, Subscription
from meshwire_conformance.socket_suite.punctuality import has_timed_out, was_late_in_handshake
from meshwire_conformance.targets.attach import DIAL_S, Target
from meshwire_conformance.targets.handshake import (
    Formation,
    Gate,
    HandshakeFailed,
    NoAnswer,
    admit,
    give_proof,
    prove,
    take_proof,
)
from meshwire_conformance.targets.lab import Grants
from meshwire_conformance.targets.lab_records import Preamble, Windows
from meshwire_conformance.targets.listening import Listener
from meshwire_conformance.targets.tcp import TcpConnection
from meshwire_conformance.targets.transport import (
    Connection,
    Dial,
    Overdue,
    TooFewDials,
    closed_on_failure,
)

SHARED = ("A", "B", "C")
"""Names of the peers that cases share; any other name belongs to one case."""

Probe = Callable[[float], Awaitable[str | None]]
"""Returns why the target does not answer within a deadline in seconds, or None."""


Settle = Callable[["Peer", float], Awaitable[None]]
"""Waits within a deadline in seconds."""


class Peer:
    """One identity; `connection` returns its live connection, dialled again if it was lost."""

    def __init__(self, name: str, session: Session, windows: Windows | None = None) -> None:
        self.name = name
        self.windows = windows
        """Credit that it grants, over the lab binding; None is the ordinary one."""
        self._session = session
        self._connection: Connection | None = None
        self.is_called = False
        """True if the target has to dial its connections."""
        self.in_use = False
        """True while a case uses it; any other connection may make room for further ones."""
        self.offers = 0
        """Number of its connections, on each of which the target offers its store once."""
        self.beside: list[Connection] = []
        """Its connections before the latest one, which may be open still."""
        self._lock = asyncio.Lock()

    @property
    def identity(self) -> bytes:
        """32 bytes that are unique to this peer and run."""
        text = f"{self._session.nonce}:{self.name}"
        return hashlib.sha256(text.encode()).digest()

    @property
    def live(self) -> Connection | None:
        """The connection if it is open, without dialling."""
        if self._connection is None or self._connection.closed is not None:
            return None
        return self._connection

    @property
    def last(self) -> Connection | None:
        """The latest connection, open or closed."""
        return self._connection

    async def connection(self, *, again: bool = True) -> Connection:
        """Return the live connection, after the handshake; raises ConnectionError.

        Without `again` a connection that was lost is returned as it is, and not dialled anew.
        """
        async with self._lock:
            if self.live is None and (again or self._connection is None):
                self.adopt(await self._session.connect(self.dial(), called=self.is_called))
            assert self._connection is not None
            return self._connection

    def dial(self) -> Dial:
        """Return the parameters with which this peer dials."""
        session = self._session
        windows = self.windows
        return Dial(
            self.identity,
            session.inbox.reader_of(self.name),
            session.settings.generator(f"order:{self.name}"),
            None if windows is None else Preamble(self.identity, windows=windows),
        )

    def adopt(self, connection: Connection) -> None:
        """Use a connection that was opened in another way."""
        if self._connection is not None:
            self.beside.append(self._connection)
        self._connection = connection
        self.offers += 1

    async def close(self) -> None:
        """Close the connection, if any."""
        if self._connection is not None:
            await self._connection.close()


class Session:
    """One attached target and everything that cases share on it."""

    def __init__(self, target: Target, settings: Settings, nonce: str, inbox: Inbox) -> None:
        self.target = target
        self.settings = settings
        self.nonce = nonce
        self.inbox = inbox
        self.probe: Probe | None = None
        """Checks that the target still answers; set once there is a document to read."""
        self.deadline_s = DIAL_S * max(1.0, settings.timeout_scale)
        """Seconds that a connection may take to open, and each message of its handshake."""
        self.witness: Subscription | None = None
        """Subscription to a document that no case touches, once the target holds it."""
        self.witness_sender: Peer | None = None
        """The peer that gave it to the target, over its first connection."""
        self.echoes = 0
        """How often the target sent it back at once."""
        self.settle: Settle | None = None
        """Waits until a peer has received what the target has queued for it."""
        self.grants: list[Grants] = []
        """What the target has granted on each connection of the lab binding."""
        self._peers: dict[str, Peer] = {}

    def peer(self, name: str, windows: Windows | None = None) -> Peer:
        """Return the peer of this name, created on first use, when it may get other windows."""
        peer = self._peers.get(name)
        if peer is None:
            peer = self._peers[name] = Peer(name, self, windows)
        return peer

    def new_peer(self) -> Peer:
        """Return a new peer, whose identity no other peer has had."""
        return self.peer(f"further {len(self._peers)}")

    def pushes_to(self, peer: Peer) -> Callable[[], int]:
        """Return a function that counts from now on how often a peer gets the whole store.

        A target may send it at any time. The witness shows it: besides the offer on a new
        connection, only such a push sends this document. A push that may be in progress counts too,
        if the target has pushed before, or later sends the document to the peer that gave it.
        """
        witness = self.witness
        if witness is None:
            return lambda: 0

        def is_pushed() -> bool:
            sender = self.witness_sender
            if sender is None:
                return False
            # The offer on its first connection was over before it had the document.
            return self.witness_arrivals(sender) >= self.echoes + max(1, sender.offers)

        before = self.witness_arrivals(peer)
        return lambda: self.witness_arrivals(peer) - before + (before > peer.offers or is_pushed())

    def witness_arrivals(self, peer: Peer) -> int:
        """Return how often the target has sent the witness to a peer."""
        arrivals = [] if self.witness is None else self.witness.arrivals
        return sum(arrival.peer == peer.name for arrival in arrivals)

    def live_peers(self) -> list[Peer]:
        """Return the peers whose connection is open."""
        return [peer for peer in self._peers.values() if peer.live is not None]

    def wait_at_least(self, deadline_s: float) -> None:
        """Give connections no less time than answers, in seconds."""
        self.deadline_s = max(self.deadline_s, deadline_s)

    async def connect(
        self, dial: Dial, *, called: bool = False, at: Listener | None = None
    ) -> Connection:
        """Return a connection after its handshake; with `called` one that the target has dialled.

        That is one at the listener `at`, if given. Raises Overdue if the target did not answer in
        time or gave up waiting for the suite, NotDialled if it did not dial, else ConnectionError.
        """
        target, gate = self.target, Gate(dial)
        is_called = called or target.is_called
        await self.make_room()
        if target.formation is not None and (is_called or target.formation.proves):
            dial = replace(dial, on_stream=gate)
        reach = target.accept if is_called else target.dial
        connection = await (reach if at is None else at.dial)(dial, self.deadline_s)
        if isinstance(connection, TcpConnection):
            self.grants.append(connection.lab.grants)
        if target.formation is None:
            return connection
        async with closed_on_failure(connection):
            try:
                await self._shake_hands(connection, gate, target.formation, is_called=is_called)
            except HandshakeFailed as exc:
                gave_up = has_timed_out(connection)
                is_late = gave_up and was_late_in_handshake(connection, target.facts)
                if gave_up or isinstance(exc, NoAnswer):
                    raise Overdue(f"handshake: {exc}", suite_late=is_late) from exc
                raise ConnectionError(f"handshake: {exc}") from exc
        return connection

    async def _shake_hands(
        self, connection: Connection, gate: Gate, formation: Formation, *, is_called: bool
    ) -> None:
        """Run the handshake in the role of the suite, and in reverse if the target wants that."""
        if is_called:
            await admit(connection, gate, formation, self.deadline_s)
            if formation.proves:
                await give_proof(connection, formation, self.deadline_s)
            return
        await prove(connection, formation, self.deadline_s)
        if formation.proves:
            await take_proof(connection, gate, formation, self.deadline_s)

    async def make_room(self) -> None:
        """Close a connection that no case uses if the target dials no further one beside it.

        Does nothing for a target that the suite dials. Raises TooFewDials if cases use all of them.
        """
        listener = self.target.listener
        if listener is None or not self.target.is_called:
            return
        dials = len(listener.addresses)
        live = self.live_peers()
        if len(live) < dials:
            return
        idle = next((peer for peer in live if not peer.in_use), None)
        if idle is None:
            raise TooFewDials(f"needs more connections than the {dials} that the target dials")
        await idle.close()
        listener.silent = False

    async def close(self) -> None:
        """Close every connection."""
        for peer in list(self._peers.values()):
            await peer.close()
