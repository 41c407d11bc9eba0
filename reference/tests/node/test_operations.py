"""Nodes of `oplog/1` over WebSockets: line and mesh, relay, reconnects, bad messages."""

import asyncio
from collections.abc import Callable

import pytest
from websockets.asyncio.client import connect

from meshwire_reference.node.operations import OplogNode
from meshwire_reference.oplog.authoring import OperationAuthor
from meshwire_reference.oplog.hub import Hub
from meshwire_reference.oplog.replica import Replica, ReplicaSettings
from meshwire_reference.oplog.schema import TYPES
from meshwire_reference.oplog.signatures import Signer

pytestmark = pytest.mark.socket
ROUNDS_MAX = 2000


class Mesh:
    """Nodes on loopback, each with an author."""

    def __init__(self, count: int) -> None:
        self.nodes = [
            OplogNode(
                Hub(Replica(ReplicaSettings(schema=TYPES))), keep, say, lambda: 0.0, lambda: 0.0
            )
            for _ in range(count)
        ]
        self.authors = [
            OperationAuthor(Signer(bytes([number + 1]) * 32), node.hub.replica)
            for number, node in enumerate(self.nodes)
        ]

    async def write(self, number: int, text: str) -> None:
        """Let an author insert a text at the end of a list."""
        node = self.nodes[number]
        await node.publish(node.hub.add_own(self.authors[number].append(("ls",), text)))

    def is_equal(self, count: int) -> bool:
        """Return True once every node has the same list of `count` texts."""
        lists = [node.hub.replica.document.fields["ls"].view() for node in self.nodes]
        return all(found == lists[0] for found in lists) and len(str(lists[0]).split()) == count

    async def close(self) -> None:
        """Close every node."""
        for node in self.nodes:
            await node.close()


async def keep(_: list[str]) -> None:
    """Store nothing."""


def say(_level: str, _text: str) -> None:
    """Log nothing."""


async def until(is_so: Callable[[], bool]) -> None:
    """Wait until `is_so`, by progress of the loop and not by time."""
    for _ in range(ROUNDS_MAX):
        if is_so():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came")


def test_a_line_of_three_converges() -> None:
    """What one end writes, before and after they met, reaches the other through the hub."""

    async def run() -> None:
        mesh = Mesh(3)
        left, hub, right = mesh.nodes
        for number in range(3):
            await mesh.write(number, f"{number}.before")
        address = await hub.listen("127.0.0.1", 0)
        left.keep_connected(address)
        right.keep_connected(address)
        await until(lambda: mesh.is_equal(3))
        for number in range(3):
            await mesh.write(number, f"{number}.after")
        await until(lambda: mesh.is_equal(6))
        await mesh.close()

    asyncio.run(run())


def test_a_full_mesh_converges() -> None:
    """Each operation comes over two links and counts once."""

    async def run() -> None:
        mesh = Mesh(3)
        addresses = [await node.listen("127.0.0.1", 0) for node in mesh.nodes]
        for number, node in enumerate(mesh.nodes):
            node.keep_connected(addresses[(number + 1) % 3])
        for turn in range(5):
            for number in range(3):
                await mesh.write(number, f"{number}.{turn}")
        await until(lambda: mesh.is_equal(15))
        assert {len(node.hub.log) for node in mesh.nodes} == {15}
        await mesh.close()

    asyncio.run(run())


def test_bad_messages_do_not_end_a_session() -> None:
    """They are counted, and what follows is applied."""

    async def run() -> None:
        mesh = Mesh(2)
        await mesh.write(0, "x")
        text = mesh.nodes[0].hub.log[0].text
        address = await mesh.nodes[1].listen("127.0.0.1", 0)
        async with connect(address, compression=None, proxy=None) as peer:
            assert await peer.recv() == '{"type":"bulk","ops":[]}'
            for message in ("nonsense", b"nonsense", '{"type":"other"}', '{"v":1}'):
                await peer.send(message)
            await peer.send(f'{{"v":1,"op":{text}}}'.encode())
            await until(lambda: mesh.is_equal(1))
        assert mesh.nodes[1].hub.counts["bad-json"] == 2
        await mesh.close()

    asyncio.run(run())


def test_another_path_is_refused() -> None:
    """The endpoint is the only one."""

    async def run() -> None:
        mesh = Mesh(1)
        address = await mesh.nodes[0].listen("127.0.0.1", 0)
        with pytest.raises(Exception, match="404"):
            await connect(address + "x", proxy=None)
        await mesh.close()

    asyncio.run(run())


def test_closing_ends_sessions_with_a_close_frame() -> None:
    """A peer sees that the node goes away, and nothing stays open (D-149)."""

    async def run() -> None:
        mesh = Mesh(1)
        address = await mesh.nodes[0].listen("127.0.0.1", 0)
        async with connect(address, proxy=None) as peer:
            await peer.recv()
            await mesh.close()
            await peer.wait_closed()
            assert peer.close_code == 1001

    asyncio.run(run())
