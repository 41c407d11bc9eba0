"""The mesh of a node of `oplog/1` on asyncio: carries out what its manager decides.

Sessions belong to the node, which reports each of them here. The manager is called when it wants to
be, on a clock that a node for tests can put forward.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from meshwire_reference.node.clocks import Clock
from meshwire_reference.oplog.authoring import Unauthored
from meshwire_reference.oplog.frames import Announcement
from meshwire_reference.oplog.mesh_manager import (
    GOING_AWAY,
    EndLink,
    LinkEnd,
    MeshAction,
    MeshManager,
    OpenLink,
    RecordSkipped,
)
from meshwire_reference.oplog.mesh_records import NodeRecord, OwnRecord, host_fault, split_address
from meshwire_reference.oplog.operations import SignedOperation
from meshwire_reference.transport.base import TransportError
from meshwire_reference.transport.websocket import WebSocketConnection

# The code of a connection that has ended without a close frame.
LOST = 1006
ID_SHOWN = 12
ADDRESS_SHOWN = 80

Say = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class MeshPorts:
    """What a mesh needs of its node.

    `dial` opens a connection to an address, at the host that is given unless that is empty, and
    `meet` runs a session on it until it ends, with its number, and returns the code of its end.
    """

    records: Callable[[], Iterable[NodeRecord]]
    dial: Callable[[str, str], Awaitable[WebSocketConnection]]
    meet: Callable[[WebSocketConnection, int], Awaitable[int]]
    publish: Callable[[SignedOperation], Awaitable[None]]
    say: Say
    counts: Counter[str]


@dataclass(slots=True)
class HeldSession:
    """A session of the node, and when it has begun."""

    connection: WebSocketConnection
    since_s: float


class MeshLinks:
    """The links of one node; `start`, then `close`."""

    def __init__(
        self, manager: MeshManager, clock: Clock, ports: MeshPorts, own: OwnRecord | None = None
    ) -> None:
        self.manager = manager
        self.clock = clock
        self._ports = ports
        self._own = own
        self._held: dict[int, HeldSession] = {}
        self._dials: dict[int, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.Task[None] | None = None
        self._armed_s: float | None = None

    def start(self) -> None:
        """Keep the record of the node, and scan from now on."""
        if self._own is not None:
            self._spawn(self._keep_record(self._own))
        self._arm()

    async def close(self) -> None:
        """Scan no more, and end every link with a close frame (D-149)."""
        # OP-084
        self.manager.stop()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- sessions of the node ----------------------------------------------------------------

    def begin(self, connection: WebSocketConnection, number: int | None) -> int:
        """Take a session of the node; return its number, a new one unless this mesh dialled it."""
        if number is None:
            number = self.manager.take_session()
        self._held[number] = HeldSession(connection, self.clock.monotonic_s())
        return number

    def greet(self, number: int, said: Announcement) -> None:
        """Take what the first message of a session says of the peer."""
        before = self.manager.peers
        self._perform(self.manager.greeted(number, said.node, for_mesh=said.for_mesh))
        for peer in sorted(self.manager.peers - before):
            self._say(f"is linked with {_short(peer)}")
        self._arm()

    def end(self, number: int, code: int) -> None:
        """Take the end of a session."""
        held = self._held.pop(number, None)
        now_s = self.clock.monotonic_s()
        lasted_s = None if held is None else now_s - held.since_s
        self.manager.ended(number, LinkEnd(code, lasted_s), now_s)
        self._arm()

    # --- the manager -------------------------------------------------------------------------

    def look(self) -> None:
        """Let the manager look at the records, if it is time."""
        now_s, wall_ms = self.clock.monotonic_s(), self.clock.wall_ms()
        scans = self.manager.scans
        actions = self.manager.look(self._ports.records(), now_s, wall_ms)
        self._perform(actions)
        if self.manager.scans > scans and self.manager.peers:
            self._ports.say("INFO", f"mesh: {len(self.manager.peers)} links")
        self._arm()

    def _arm(self) -> None:
        deadline_s, timer = self.manager.deadline, self._timer
        is_waiting = timer is not None and timer is not asyncio.current_task() and not timer.done()
        if is_waiting and deadline_s == self._armed_s:
            return
        if timer is not None and is_waiting:
            timer.cancel()
        self._armed_s = deadline_s
        self._timer = None if deadline_s is None else self._spawn(self._wait(deadline_s))

    async def _wait(self, deadline_s: float) -> None:
        await self.clock.sleep(deadline_s - self.clock.monotonic_s())
        self.look()

    def _perform(self, actions: list[MeshAction]) -> None:
        for action in actions:
            match action:
                case OpenLink():
                    self._ports.counts["mesh-dials"] += 1
                    self._say(f"dials {_short(action.peer)} at {_shown(action.address)}")
                    self._dials[action.number] = self._spawn(self._hold(action))
                case EndLink():
                    self._ports.counts[f"mesh-ends-{action.reason}"] += 1
                    self._say(f"ends the link with {_short(action.peer)}: {action.reason}")
                    self._end(action)
                case RecordSkipped():
                    self._ports.counts[f"mesh-skips-{action.reason}"] += 1
                    where = f" at {_shown(action.address)}" if action.address else ""
                    self._say(f"does not dial {_short(action.peer)}{where}: {action.reason}")

    def _end(self, action: EndLink) -> None:
        held = self._held.get(action.number)
        if held is not None:
            self._spawn(held.connection.close(action.code, action.reason))
        elif (dial := self._dials.get(action.number)) is not None:
            dial.cancel()

    async def _hold(self, action: OpenLink) -> None:
        """Dial a peer and run its session."""
        who, code = _short(action.peer), LOST
        connection: WebSocketConnection | None = None
        try:
            connection = await self._dial(action.address)
            self._say(f"is connected with {who}")
            code = await self._ports.meet(connection, action.number)
            self._say(f"the connection with {who} has closed with code {code}")
        except TransportError as exc:
            self._ports.counts["mesh-failed"] += 1
            self._say(f"the dial of {who} failed: {exc}")
        finally:
            del self._dials[action.number]
            self.end(action.number, code)
            if connection is not None:
                # It may have been given up before its session began.
                await connection.close(GOING_AWAY, "")

    async def _dial(self, address: str) -> WebSocketConnection:
        """Return a connection to an address, at level strict to a host that may be dialled."""
        rules = self.manager.rules
        if not rules.is_strict:
            return await self._ports.dial(address, "")
        # OP-076
        parts = split_address(address)
        assert parts is not None, "the record was judged"
        host = parts.hostname or ""
        with suppress(ValueError):
            # Judged with its record.
            return await self._ports.dial(address, str(ip_address(host)))
        try:
            found = await asyncio.get_running_loop().getaddrinfo(
                host, parts.port, type=socket.SOCK_STREAM
            )
        except OSError as exc:
            raise TransportError(f"{host} has no address: {exc.strerror or exc}") from exc
        why = "it has no address"
        for *_, place in found:
            why = host_fault(ip_address(place[0]), allows_loopback=rules.allows_loopback) or ""
            if not why:
                return await self._ports.dial(address, str(place[0]))
        raise TransportError(f"{host} is not dialled: {why}")

    # --- the record of the node --------------------------------------------------------------

    async def _keep_record(self, own: OwnRecord) -> None:
        """Write the record of this node, and renew it for as long as it runs."""
        while True:
            try:
                for signed in own.renew(self.clock.wall_ms()):
                    await self._ports.publish(signed)
            except Unauthored as exc:
                self._ports.counts["mesh-record-failed"] += 1
                self._ports.say("WARN", f"mesh: the record of this node is not written: {exc}")
            await self.clock.sleep(own.interval_s)

    def _spawn(self, work: Awaitable[Any]) -> asyncio.Task[Any]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        with suppress(asyncio.CancelledError):
            if (failure := task.exception()) is not None:
                self._ports.say("ERROR", f"mesh: {type(failure).__name__}: {failure}")

    def _say(self, text: str) -> None:
        self._ports.say("INFO", f"mesh: {text}")


def _short(peer: str) -> str:
    return _escaped(peer[:ID_SHOWN]) or "a peer"


def _shown(address: str) -> str:
    """Return the beginning of an address that anyone may have written, for one line of the log."""
    cut = ".." if len(address) > ADDRESS_SHOWN else ""
    return f"{_escaped(address[:ADDRESS_SHOWN])}{cut}"


def _escaped(text: str) -> str:
    return ascii(text)[1:-1]
