"""A node of `oplog/1` on asyncio: its sessions, whom it dials, and what it stores."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from itertools import islice

from meshwire_reference.node.mesh_links import MeshLinks, MeshPorts, Say
from meshwire_reference.oplog.frames import SILENT
from meshwire_reference.oplog.hub import EVICTED, Hub, OplogSession
from meshwire_reference.oplog.join import (
    NONCE_SIZE,
    Join,
    JoinIdentity,
    JoinRefused,
    Role,
    certificate_hash,
)
from meshwire_reference.oplog.mesh_records import read_records
from meshwire_reference.oplog.operations import SignedOperation
from meshwire_reference.oplog.pace import Pace
from meshwire_reference.oplog.rendezvous import RendezvousBackoff
from meshwire_reference.store.base import StoreError
from meshwire_reference.transport.base import TransportError
from meshwire_reference.transport.websocket import (
    Crowd,
    Lost,
    Security,
    WebSocketConnection,
    WebSocketListener,
    dial_websocket,
    listen_websocket,
)
from meshwire_spec.numbers import CONNECTIONS_MAX, OPLOG_RATE_MAX

CLOSE_GOING_AWAY = 1001
# Private codes of close frames.
CLOSE_BEHIND = 4000
CLOSE_EVICTED = 4001
CLOSE_NOT_JOINED = 4002
# The count of connections that were refused because there were too many.
CROWDED = "connection-limit"

# Seconds that a peer has to prove that it has the join token.
JOIN_S = 10.0
# Operations of a bulk between two turns of other sessions.
TURN = 64


def new_nonce() -> bytes:
    """Return a nonce that no other connection has."""
    return secrets.token_bytes(NONCE_SIZE)


@dataclass(slots=True)
class Greeter:
    """Tells the mesh who the peer of a session is, once its first message has said so."""

    mesh: MeshLinks | None
    number: int | None
    # What the peer has proven to be.
    proven: str | None
    has_greeted: bool = False

    def greet(self, session: OplogSession) -> None:
        """Tell it, unless that is done."""
        if self.mesh is None or self.number is None or self.has_greeted:
            return
        self.has_greeted = True
        said = session.greeting or SILENT
        self.mesh.greet(self.number, replace(said, node=self.proven or said.node))


@dataclass(slots=True)
class OplogNode:
    """The hub of one node with its connections.

    `store` is given what is to be kept, one part after another, and raises StoreError.
    """

    hub: Hub
    store: Callable[[list[str]], Awaitable[None]]
    say: Say
    spread: Callable[[], float]
    now: Callable[[], float]
    security: Security = field(default_factory=Security)
    # The token that both sides of a session must have, and the id of this node.
    identity: JoinIdentity | None = None
    nonce: Callable[[], bytes] = new_nonce
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the node has to end: by its user, or because of `store_failure`."""
    store_failure: StoreError | None = None
    _storing: asyncio.Task[None] | None = None
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    operations_per_s: int = OPLOG_RATE_MAX
    connections_max: int = CONNECTIONS_MAX
    # The manager of its links with nodes that the document names, at level strict also with 0.
    mesh: MeshLinks | None = None
    _wakes: dict[int, asyncio.Event] = field(default_factory=dict)
    _connections: dict[int, WebSocketConnection] = field(default_factory=dict)
    _listeners: list[WebSocketListener] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def listen(self, host: str, port: int, scheme: str = "ws") -> str:
        """Bind an address and return it; raise TransportError."""
        crowd = Crowd(self.connections_max, self._count_refusal)
        listener = await listen_websocket((scheme, host, port), self._serve, self.security, crowd)
        self._listeners.append(listener)
        return listener.address

    @property
    def addresses(self) -> list[str]:
        """The addresses that it listens on."""
        return [listener.address for listener in self._listeners]

    def _count_refusal(self, share: str) -> None:
        self.hub.counts[CROWDED] += 1
        self.say("WARN", f"{share}: a connection gives way: there are {self.connections_max}")

    def keep_connected(self, url: str) -> None:
        """Dial `url` now and again whenever the session has ended, until the node closes."""
        task = asyncio.get_running_loop().create_task(self._keep(url))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End every task and session, with close frames (D-149)."""
        if self.mesh is not None:
            await self.mesh.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in list(self._connections.values()):
            await connection.close(CLOSE_GOING_AWAY, "shutdown")
        for listener in self._listeners:
            await listener.close()
        if self._storing is not None:
            await self._storing

    async def _keep(self, url: str) -> None:
        backoff = RendezvousBackoff(self.spread)
        while True:
            began = self.now()
            try:
                connection = await dial_websocket(url, self.security)
            except TransportError as exc:
                level, pause_s = backoff.failed()
                self.say(level, f"{url}: {exc}")
            else:
                await self._meet(connection, Role.DIALLER)
                level, pause_s = backoff.ended(self.now() - began)
                self.say(level, f"{url}: the session has ended")
            await asyncio.sleep(pause_s)

    async def _serve(self, connection: WebSocketConnection) -> None:
        await self._meet(connection, Role.LISTENER)

    def mesh_ports(self) -> MeshPorts:
        """Return what a mesh of this node needs of it."""

        async def dial(address: str, host: str) -> WebSocketConnection:
            return await dial_websocket(address, self.security, host=host)

        async def meet(connection: WebSocketConnection, number: int) -> int:
            return await self._meet(connection, Role.DIALLER, number)

        async def publish(signed: SignedOperation) -> None:
            self.hub.add_own(signed)
            await self.publish()

        return MeshPorts(
            lambda: read_records(self.hub.replica.document),
            dial,
            meet,
            publish,
            self.say,
            self.hub.counts,
        )

    async def _meet(
        self, connection: WebSocketConnection, role: Role, link: int | None = None
    ) -> int:
        """Run a session once both sides have proven themselves, where they must.

        `link` is its number where the mesh has dialled it. Return the code of its end.
        """
        peer_id = None
        if self.identity is not None:
            # OP-053
            try:
                async with asyncio.timeout(JOIN_S):
                    peer_id = await self._join(connection, self.identity, role)
            except (JoinRefused, TimeoutError) as exc:
                self.hub.counts["join-refused"] += 1
                why = "no proof in time" if isinstance(exc, TimeoutError) else str(exc)
                self.say("WARN", f"a peer was refused: {why}")
                # OP-057
                await connection.close(CLOSE_NOT_JOINED, "join-refused")
                return CLOSE_NOT_JOINED
        return await self._run_session(connection, link, peer_id)

    async def _join(
        self, connection: WebSocketConnection, identity: JoinIdentity, role: Role
    ) -> str:
        """Return the id that the peer has proven, in hexadecimal; raise JoinRefused."""
        join = Join(identity, role, self.nonce(), certificate_hash(connection.certificate))
        await connection.send(join.hello())
        while not join.is_over:
            message = await connection.receive()
            if isinstance(message, Lost):
                raise JoinRefused(f"the connection is over ({message.code})")
            answers = join.take(message)
            if join.is_proven:
                # Before the answer, after which long messages come.
                connection.read_long()
            for answer in answers:
                await connection.send(answer)
        return join.peer_id.hex()

    async def _run_session(
        self, connection: WebSocketConnection, link: int | None, peer_id: str | None
    ) -> int:
        """Read and write at once until either ends (D-148); return the code of the end."""
        session = self.hub.open_session(for_mesh=link is not None)
        number = None if self.mesh is None else self.mesh.begin(connection, link)
        reading = self._read(connection, session, Greeter(self.mesh, number, peer_id))
        wake = self._wakes[session.number] = asyncio.Event()
        self._connections[session.number] = connection
        wake.set()
        tasks = [
            asyncio.ensure_future(reading),
            asyncio.ensure_future(self._write(connection, session, wake)),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            for outcome in outcomes:
                if isinstance(outcome, Exception):
                    self.say("ERROR", f"a session failed: {type(outcome).__name__}: {outcome}")
            code = next((one for one in outcomes if isinstance(one, int)), CLOSE_GOING_AWAY)
            self.hub.close_session(session)
            del self._wakes[session.number], self._connections[session.number]
            if self.mesh is not None and number is not None and link is None:
                self.mesh.end(number, code)
            await connection.close(CLOSE_GOING_AWAY, "")
        return code

    async def _read(
        self, connection: WebSocketConnection, session: OplogSession, greeter: "Greeter"
    ) -> int:
        """Take every message; return the code of the end."""
        evicted = self.hub.counts[EVICTED]
        pace = Pace(self.now(), self.operations_per_s)
        while not isinstance(message := await connection.receive(), Lost):
            if isinstance(message, bytes):
                self.hub.take_binary(message, session)
                await self.publish()
                await self._keep_pace(pace, 1)
            else:
                await self._take_text(message, session, pace)
            greeter.greet(session)
            if self.hub.counts[EVICTED] > evicted:
                # D-134: what was evicted comes again with the next bulk.
                await connection.close(CLOSE_EVICTED, "queue-evicted")
                return CLOSE_EVICTED
        return message.code

    async def _take_text(self, message: str, session: OplogSession, pace: Pace) -> None:
        """Apply a bulk in turns, so that other sessions go on meanwhile."""
        parts = self.hub.take_text(message, session)
        while turn := list(islice(parts, TURN)):
            await self.publish()
            await self._keep_pace(pace, len(turn))
            await asyncio.sleep(0)

    async def _keep_pace(self, pace: Pace, count: int) -> None:
        """Read on only once the rate of the session allows it."""
        # OP-050
        if wait_s := pace.take(count, self.now()):
            await self.pause(wait_s)

    async def publish(self) -> None:
        """Store what was newly applied, and let every session send it; raise StoreError."""
        end = len(self.hub.log)
        while self.hub.durable < end:
            if self.store_failure is not None:
                raise StoreError(str(self.store_failure)) from self.store_failure
            if self._storing is None:
                self._storing = asyncio.ensure_future(self._store_all())
            # A session that ends meanwhile does not take back what has been applied.
            await asyncio.shield(self._storing)

    async def _store_all(self) -> None:
        """Store the log in order, so that what is durable is always its beginning."""
        log = self.hub.log
        try:
            while (begin := self.hub.durable) < (end := len(log)):
                await self.store([log[at].text for at in range(begin, end)])
                self.hub.durable = end
                for wake in self._wakes.values():
                    wake.set()
        except StoreError as exc:
            # What cannot be stored may not be sent either, and nothing later.
            self.store_failure = exc
            self.ended.set()
        finally:
            self._storing = None

    async def _write(
        self, connection: WebSocketConnection, session: OplogSession, wake: asyncio.Event
    ) -> None:
        while True:
            await wake.wait()
            wake.clear()
            while (message := self.hub.next_message(session)) is not None:
                if not await connection.send(message):
                    return
                if self.hub.is_behind(session):
                    await connection.close(CLOSE_BEHIND, "too-far-behind")
                    return
