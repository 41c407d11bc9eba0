"""Nodes of `oplog/1` over WebSockets: line and mesh, relay, reconnects, bad messages."""

import asyncio

import pytest
from websockets.asyncio.client import connect

from meshwire_reference.node.operations import OplogNode
from meshwire_reference.oplog.authoring import OperationAuthor
from meshwire_reference.oplog.frames import announcement
from meshwire_reference.oplog.hub import Hub
from meshwire_reference.oplog.replica import Replica, ReplicaSettings
from meshwire_reference.oplog.schema import TYPES
from meshwire_reference.oplog.signatures import Signer
from meshwire_reference.store.base import StoreError

pytestmark = pytest.mark.socket
LIMIT_S = 600
"""Seconds after which a test hangs; nothing takes as long."""


class Mesh:
    """Nodes on loopback, each with an author."""

    def __init__(self, count: int) -> None:
        self._stored = asyncio.Event()
        self.nodes = [
            OplogNode(
                Hub(Replica(ReplicaSettings(schema=TYPES))),
                self._keep,
                say,
                lambda: 0.0,
                lambda: 0.0,
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
        node.hub.add_own(self.authors[number].append(("ls",), text))
        await node.publish()

    async def converged(self, count: int) -> list[list[str]]:
        """Return the lists of all nodes once each has `count` texts."""
        async with asyncio.timeout(LIMIT_S):
            while any(len(texts) != count for texts in self._texts()):
                self._stored.clear()
                await self._stored.wait()
        return self._texts()

    def _texts(self) -> list[list[str]]:
        lists = (node.hub.replica.document.fields["ls"] for node in self.nodes)
        return [[str(text.view()) for text in one.shown()] for one in lists]

    async def _keep(self, _: list[str]) -> None:
        """Store nothing, but note that an operation was applied."""
        self._stored.set()

    async def close(self) -> None:
        """Close every node."""
        for node in self.nodes:
            await node.close()


def say(_level: str, _text: str) -> None:
    """Log nothing."""


def test_a_line_of_three_converges() -> None:
    """What one end writes, before and after they met, reaches the other through the hub."""

    async def run() -> None:
        mesh = Mesh(3)
        left, hub, right = mesh.nodes
        before = [f"{number}.before" for number in range(3)]
        after = [f"{number}.after" for number in range(3)]
        for number, text in enumerate(before):
            await mesh.write(number, text)
        address = await hub.listen("127.0.0.1", 0)
        left.keep_connected(address)
        right.keep_connected(address)
        first = await mesh.converged(3)
        for number, text in enumerate(after):
            await mesh.write(number, text)
        second = await mesh.converged(6)
        await mesh.close()

        assert first == [first[0]] * 3
        assert sorted(first[0]) == before
        assert second == [second[0]] * 3
        assert sorted(second[0]) == sorted(before + after)

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
        lists = await mesh.converged(15)
        assert lists == [lists[0]] * 3
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
            assert await peer.recv() == announcement()
            for message in ("nonsense", b"nonsense", '{"type":"other"}', '{"v":1}'):
                await peer.send(message)
            await peer.send(f'{{"v":1,"op":{text}}}'.encode())
            assert await mesh.converged(1) == [["x"]] * 2
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


class HeldStore:
    """Stores one part when it is let, and fails from then on if it is to."""

    def __init__(self) -> None:
        self.stored: list[str] = []
        self.begun = asyncio.Event()
        self.goes_on = asyncio.Event()
        self.failure: StoreError | None = None

    async def append(self, texts: list[str]) -> None:
        """Store texts once that is let, as a thread does: also if nobody waits for it any more."""
        await asyncio.shield(asyncio.ensure_future(self._append(texts)))

    async def _append(self, texts: list[str]) -> None:
        self.begun.set()
        await self.goes_on.wait()
        if self.failure is not None:
            raise self.failure
        self.stored += texts


def test_a_session_that_ends_while_its_operation_is_stored_loses_nothing() -> None:
    """Later operations would otherwise be sent and stored without it."""

    async def run() -> None:
        mesh, store = Mesh(2), HeldStore()
        node = mesh.nodes[1]
        node.store = store.append
        await mesh.write(0, "x")
        address = await node.listen("127.0.0.1", 0)
        async with connect(address, proxy=None) as peer:
            await peer.send(f'{{"v":1,"op":{mesh.nodes[0].hub.log[0].text}}}'.encode())
            await store.begun.wait()
            (task,) = (one for one in asyncio.all_tasks() if "_read" in repr(one.get_coro()))
            task.cancel()
            await asyncio.wait({task})
        store.goes_on.set()
        await mesh.write(1, "y")
        await mesh.close()

        assert store.stored == [entry.text for entry in node.hub.log]
        assert len(store.stored) == 2

    asyncio.run(run())


def test_a_store_that_fails_ends_the_node() -> None:
    """What is not stored is not sent, the user gets an error, and the log has the session."""

    async def run() -> None:
        mesh, store = Mesh(2), HeldStore()
        node = mesh.nodes[1]
        said: list[str] = []
        node.store, node.say = store.append, lambda level, text: said.append(f"{level} {text}")
        store.failure = StoreError("the disk is full")
        store.goes_on.set()
        await mesh.write(0, "x")
        address = await node.listen("127.0.0.1", 0)
        async with asyncio.timeout(LIMIT_S), connect(address, proxy=None) as peer:
            await peer.send(f'{{"v":1,"op":{mesh.nodes[0].hub.log[0].text}}}'.encode())
            await node.ended.wait()
            with pytest.raises(StoreError, match="full"):
                await mesh.write(1, "y")
            await peer.wait_closed()
        await mesh.close()

        assert node.store_failure is store.failure
        assert (node.hub.durable, store.stored) == (0, [])
        assert said == ["ERROR a session failed: StoreError: the disk is full"]

    asyncio.run(run())
