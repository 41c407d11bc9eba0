"""The enrollment of other nodes: listeners of its own, and one request of each connection.

What a request leads to is decided in `core.enrollment.authority`; the use of a token is durable
before the response that shows it leaves.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any, Final, TypeVar

from meshwire_reference.core.enrollment.authority import Authority, Caller, Decision
from meshwire_reference.core.enrollment.framing import FramedMessage, framed
from meshwire_reference.core.inputs import (
    ConnectionClosed,
    StreamData,
    StreamId,
    StreamOpened,
    StreamReset,
    TransportEvent,
)
from meshwire_reference.node.clocks import Clock
from meshwire_reference.node.log import NodeLog
from meshwire_reference.store.base import StoreError
from meshwire_reference.store.invitations import Use
from meshwire_reference.store.mesh_folder import MeshFolder
from meshwire_reference.transport.base import (
    SHUTDOWN,
    Connection,
    ConnectionGone,
    Deadline,
    Listener,
    StreamGone,
    TransportOptions,
)
from meshwire_reference.transport.lab.tcp import share_of
from meshwire_reference.transport.registry import listen
from meshwire_reference.wire.certificates import MeshCertificate
from meshwire_reference.wire.enrollment import encode_enrollment_response
from meshwire_reference.wire.errors import Unencodable
from meshwire_spec.numbers import (
    ENROLLMENT_ALPN,
    ENROLLMENT_CLOSE_S,
    ENROLLMENT_REQUEST_S,
    REASONS,
    EnrollmentDenial,
)

CALLERS_MAX: Final = 64
"""Connections for enrollment that a listener has at a time."""

Made = TypeVar("Made")
Decide = Callable[[FramedMessage, Caller], Awaitable[Decision]]


class Enrollment:
    """The enrollment that a node serves: `open` its listeners, then `close` them."""

    def __init__(
        self,
        folder: MeshFolder,
        clock: Clock,
        log: NodeLog,
        publish: Callable[[MeshCertificate], Awaitable[None]] | None = None,
        revoked: Callable[[], AbstractSet[bytes]] = frozenset,
    ) -> None:
        """Read the keys of the authority; `revoked` are those that the node knows of.

        Raises StoreError.
        """
        self.folder = folder
        self.keys = folder.keys()
        self._authority = Authority(self.keys)
        self._clock = clock
        self._log = log
        self._publish = publish
        self._revoked = revoked
        self._deciding = asyncio.Lock()
        self._ignored: set[str] = set()
        self._listeners: list[Listener] = []
        self._bound: tuple[str, ...] = ()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._connections: set[Connection] = set()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Addresses at which nodes can enroll."""
        return tuple(listener.address for listener in self._listeners)

    async def open(self, addresses: tuple[str, ...], options: TransportOptions) -> None:
        """Bind every address. Raises TransportError or OSError; `close` in any case."""
        # EN-060
        own = replace(options, alpn=ENROLLMENT_ALPN, connections_max=CALLERS_MAX)
        for address in self._bound or addresses:
            listener = await listen(address, own)
            self._listeners.append(listener)
            self._spawn(self._accept(listener))
        # A client that knows an address finds the node there again.
        self._bound = self.addresses

    async def close(self) -> None:
        """Accept nobody any more, and close every connection."""
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            await listener.close()
        farewells = [one.close(SHUTDOWN, "shutdown") for one in self._connections]
        await asyncio.gather(*farewells, return_exceptions=True)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, listener: Listener) -> None:
        while True:
            try:
                connection = await listener.accept()
            except ConnectionGone:
                return
            self._spawn(self._serve(connection))

    async def _serve(self, connection: Connection) -> None:
        self._connections.add(connection)
        try:
            await _Attempt(connection, self._clock, self._answer).run()
        finally:
            self._connections.discard(connection)

    async def _answer(self, framed_message: FramedMessage, caller: Caller) -> Decision:
        """Decide, and go on with that also if the connection ends meanwhile."""
        return await asyncio.shield(self._spawn(self._decide(framed_message, caller)))

    async def _decide(self, framed_message: FramedMessage, caller: Caller) -> Decision:
        """Return the decision about a request, once what it uses is durable."""
        # One after another: the folder is read and changed by threads.
        async with self._deciding:
            try:
                decision = await self._judge(framed_message, caller)
            except (StoreError, Unencodable) as exc:
                self._log.write("enrollment-failed", why=str(exc))
                decision = self._authority.fail(framed_message, caller, self._clock.moment())
        request = decision.request
        self._log.write(
            "enrolled" if decision.denial is None else "not-enrolled",
            peer=caller.endpoint_id.hex(),
            address=caller.share,
            node_id="" if request is None else request.node_id,
            reason=decision.denial,
        )
        return decision

    async def _judge(self, framed_message: FramedMessage, caller: Caller) -> Decision:
        now, folder = self._clock.moment(), self.folder.invitations
        invitations = await asyncio.to_thread(folder.read)
        for why in set(folder.faults) - self._ignored:
            self._ignored.add(why)
            self._log.write("invitation-ignored", why=why)
        is_revoked = await asyncio.to_thread(self._is_revoked, caller.endpoint_id)
        caller = replace(caller, is_revoked=is_revoked)
        decision = self._authority.judge(framed_message, caller, invitations, now)
        request = decision.request
        if decision.invitation is None or request is None:
            return decision
        certificate = decision.response.certificate
        use = Use(request.public_key, request.node_id, now.wall_ms, certificate)
        # EN-076
        if await asyncio.to_thread(folder.claim, decision.invitation.digest, use):
            if self._publish is not None and certificate is not None:
                await self._publish(certificate)
            return decision
        return self._authority.deny(EnrollmentDenial.USED_TOKEN, caller, now, request)

    def _is_revoked(self, endpoint_id: bytes) -> bool:
        """Return True if the folder or the node has a revocation of an endpoint.

        Raises StoreError.
        """
        if endpoint_id in self._revoked():
            return True
        # `mesh revoke` may have written it a moment ago.
        return any(one.subject == endpoint_id for one in self.folder.revocations())

    def _spawn(self, work: Coroutine[Any, Any, Made]) -> asyncio.Task[Made]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class _Attempt:
    """One connection of a client: its request, the response, and the wait for its close."""

    def __init__(self, connection: Connection, clock: Clock, decide: Decide) -> None:
        self._connection = connection
        self._clock = clock
        self._decide = decide
        self._stream: StreamId | None = None
        self._request = FramedMessage()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer = self._start(
            # EN-073
            self._close_after(ENROLLMENT_REQUEST_S, "handshake-timeout")
        )

    async def run(self) -> None:
        """Serve the connection to its end."""
        try:
            async for event in self._connection.events():
                self._take(event)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _take(self, event: TransportEvent) -> None:
        was_over = self._request.is_over
        match event:
            case StreamOpened(stream, bidi):
                if bidi and self._stream is None:
                    self._stream = stream
                else:
                    self._refuse(stream, bidi=bidi)
            case StreamData(stream, data, fin):
                self._connection.consumed(stream, len(data))
                if stream == self._stream:
                    self._request.receive(data, fin=fin)
            case StreamReset(stream) if stream == self._stream:
                self._request.end()
            case ConnectionClosed():
                return
        if self._request.is_over and not was_over and self._stream is not None:
            self._timer.cancel()
            self._start(self._respond(self._stream))

    def _refuse(self, stream: StreamId, *, bidi: bool) -> None:
        # EN-079
        code = REASONS["unsupported"].code
        self._connection.stop(stream, code)
        if bidi:
            self._connection.reset(stream, code)
        self._connection.release(stream)

    async def _respond(self, stream: StreamId) -> None:
        """Send the response, and leave the close to the client for a while."""
        caller = Caller(self._connection.peer_id, share_of((self._connection.remote, 0)))
        decision = await self._decide(self._request, caller)
        # EN-074
        self._start(self._close_after(ENROLLMENT_CLOSE_S, "shutdown"))
        if self._request.fault is not None:
            self._connection.stop(stream, REASONS[self._request.fault].code)
        content = encode_enrollment_response(decision.response)
        try:
            await self._connection.send(stream, framed(content), fin=True)
            self._connection.release(stream)
        except (StreamGone, ConnectionGone):
            # The client does not want it; what it has used stays used.
            return

    async def _close_after(self, seconds: float, reason: str) -> None:
        """Close the connection after a time, once everything that has come is read."""
        await self._clock.sleep(seconds)
        passed = asyncio.Event()
        Deadline(asyncio.get_running_loop().time(), passed.set)
        await passed.wait()
        await self._connection.close(REASONS[reason].code, reason)

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
