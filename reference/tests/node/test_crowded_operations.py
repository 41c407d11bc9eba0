"""A node of `oplog/1` with more callers than it takes: who gives way, and how it learns of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from meshwire_reference.node.operations import CROWDED, OplogNode
from meshwire_reference.oplog.hub import Hub
from meshwire_reference.oplog.join import JoinIdentity
from meshwire_reference.oplog.replica import Replica, ReplicaSettings
from meshwire_reference.testing.progress import NotedCounts, Progress
from meshwire_reference.transport.websocket import CLOSE_CROWDED, Security
from meshwire_spec.numbers import OPLOG_JOIN_BYTES_MAX

pytestmark = pytest.mark.socket
HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
BULK = '{"type":"bulk","ops":[]}'


class Crowded:
    """A node that takes three connections, and its log."""

    def __init__(self, *, wants_token: bool = False) -> None:
        self.progress = Progress()
        self.lines: list[str] = []
        hub = Hub(Replica(ReplicaSettings()))
        hub.counts = NotedCounts(self.progress)
        self.node = OplogNode(
            hub, keep, lambda _, text: self.lines.append(text), lambda: 0.0, lambda: 0.0
        )
        self.node.connections_max = 3
        if wants_token:
            self.node.identity = JoinIdentity(b"one token of the mesh", bytes(32))
            self.node.security = Security(first_bytes_max=OPLOG_JOIN_BYTES_MAX)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Yield the address of the node."""
        try:
            yield await self.node.listen("127.0.0.1", 0)
        finally:
            await self.node.close()

    async def has_refused(self, count: int) -> None:
        """Wait until as many connections had to give way."""
        await self.progress.until(lambda: self.node.hub.counts[CROWDED] == count)


async def keep(_: list[str]) -> None:
    """Store nothing."""


async def call(address: str, host: str = HOSTS[0]) -> ClientConnection:
    """Return a session from an address of this machine, whose bulk or hello has come."""
    peer = await connect(address, compression=None, proxy=None, local_addr=(host, 0))
    await peer.recv()
    return peer


async def code_of(peer: ClientConnection) -> int:
    """Return the code with which a session ends."""
    with pytest.raises(ConnectionClosed) as closed:
        await peer.recv()
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code


def test_one_too_many_is_refused_before_its_session() -> None:
    """The others go on, the refusal is counted and logged, and a place that is left is free."""

    async def run() -> None:
        crowded = Crowded()
        async with crowded.listening() as address:
            peers = [await call(address) for _ in range(3)]
            with pytest.raises(InvalidStatus, match="503"):
                await call(address)
            assert crowded.node.hub.counts[CROWDED] == 1
            assert any(HOSTS[0] in line for line in crowded.lines)
            for peer in peers:
                await peer.send(BULK)
                await (await peer.ping())
            await peers[0].close()
            await call(address)
            assert crowded.node.hub.counts[CROWDED] == 1

    asyncio.run(run())


def test_the_address_with_most_gives_way_to_another() -> None:
    """Its newest session ends with a code of its own, and no address shuts out another."""

    async def run() -> None:
        crowded = Crowded()
        async with crowded.listening() as address:
            first, second, third = [await call(address) for _ in range(3)]
            other = await call(address, HOSTS[1])
            assert await code_of(third) == CLOSE_CROWDED
            await call(address, HOSTS[2])
            assert await code_of(second) == CLOSE_CROWDED
            for peer in (first, other):
                await (await peer.ping())
            with pytest.raises(InvalidStatus, match="503"):
                await call(address, HOSTS[2])
            await crowded.has_refused(3)

    asyncio.run(run())


def test_what_has_proven_nothing_gives_way_first() -> None:
    """The oldest caller without the token makes room, though the newest one has not either."""

    async def run() -> None:
        crowded = Crowded(wants_token=True)
        async with crowded.listening() as address:
            first, second, third = [await call(address) for _ in range(3)]
            await call(address)
            assert await code_of(first) == CLOSE_CROWDED
            for peer in (second, third):
                await (await peer.ping())

    asyncio.run(run())


def test_callers_that_send_nothing_hold_no_place() -> None:
    """A TCP connection without a request gives way, and is dropped where too many of them wait."""

    async def run() -> None:
        crowded = Crowded()
        async with crowded.listening() as address:
            host, _, port = address.removeprefix("ws://").partition("/")[0].partition(":")
            silent = []
            for number in range(7):
                silent.append(await asyncio.open_connection(host, int(port)))
                await crowded.has_refused(max(0, number - 2))
            # Three places, three that wait for their answer, one that was dropped.
            assert await silent[3][0].read() == b""
            peer = await call(address)
            await (await peer.ping())
            for _, writer in silent:
                writer.close()

    asyncio.run(run())
