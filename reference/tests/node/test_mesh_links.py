"""Nodes of `oplog/1` that find each other in the document, on loopback and on a test clock."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from socket import gaierror

import pytest
from websockets.asyncio.server import serve

from meshwire_reference.node.clocks import Clock
from meshwire_reference.node.mesh_links import MeshLinks, MeshPorts
from meshwire_reference.node.operations import OplogNode
from meshwire_reference.oplog.authoring import OperationAuthor
from meshwire_reference.oplog.hub import Hub
from meshwire_reference.oplog.join import JoinIdentity
from meshwire_reference.oplog.mesh_manager import DeployedMesh, MeshManager
from meshwire_reference.oplog.mesh_records import NodeRecord, OwnRecord, RecordRules
from meshwire_reference.oplog.mesh_strict import StrictMesh
from meshwire_reference.oplog.operations import SignedOperation
from meshwire_reference.oplog.outcomes import Level
from meshwire_reference.oplog.replica import Replica, ReplicaSettings
from meshwire_reference.oplog.signatures import Signer
from meshwire_reference.transport.base import TransportError
from meshwire_reference.transport.websocket import WebSocketConnection
from turns import all_wait

pytestmark = pytest.mark.socket
LIMIT_S = 600
"""Seconds after which a test hangs; nothing takes as long."""
FIRST_S, SCAN_S = 10, 60


class MeshedNode:
    """A node that listens on loopback, with a mesh whose clock is that of the test."""

    def __init__(self, seed: int, *, level: Level = Level.STRICT, token: bytes = b"") -> None:
        self.said: list[str] = []
        self.news = asyncio.Event()
        replica = Replica(ReplicaSettings(level=level))
        self.node = OplogNode(Hub(replica), self._keep, self._say, lambda: 0.0, lambda: 0.0)
        self.author = OperationAuthor(Signer(bytes([seed]) * 32), replica)
        self.node_id = self.author.signer.author.hex()
        if token:
            self.node.identity = JoinIdentity(token, self.author.signer.author)
        self.node.hub.node_id = self.node_id
        self.clock = Clock()

    async def start(self, cap: int, *rendezvous: str, allows_loopback: bool = True) -> str:
        """Listen and begin with the mesh; return the address."""
        address = await self.node.listen("127.0.0.1", 0)
        is_strict = self.node.hub.replica.is_strict
        rules = RecordRules(self.node_id, is_strict, rendezvous, allows_loopback)
        now_s = self.clock.monotonic_s()
        manager: MeshManager = DeployedMesh(rules, cap, now_s)
        if is_strict:
            manager = StrictMesh(rules, cap, now_s, lambda: 0.0)
        own = OwnRecord(self.author, address) if cap else None
        self.node.mesh = MeshLinks(manager, self.clock, self.node.mesh_ports(), own)
        self.node.mesh.start()
        for url in rendezvous:
            self.node.keep_connected(url)
        return address

    @property
    def peers(self) -> set[str]:
        """The peers that it is linked with."""
        assert self.node.mesh is not None
        return self.node.mesh.manager.peers

    def advance(self, seconds: float) -> None:
        """Let time pass, and do what is due."""
        assert self.node.mesh is not None
        self.clock.advance(seconds)
        self.node.mesh.look()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition, which is looked at whenever the node has logged or stored."""
        async with asyncio.timeout(LIMIT_S):
            while not condition():
                self.news.clear()
                await self.news.wait()

    def knows(self, *ids: str) -> bool:
        """Return True if it has the records of nodes."""
        view = self.node.hub.replica.view()
        assert isinstance(view, dict)
        nodes = view["nodes"]
        assert isinstance(nodes, list)
        return set(ids) <= {str(one["node_id"]) for one in nodes if isinstance(one, dict)}

    async def _keep(self, _: list[str]) -> None:
        self.news.set()

    def _say(self, level: str, text: str) -> None:
        self.said.append(f"{level} {text}")
        self.news.set()


def run(test: Callable[[AsyncExitStack], Awaitable[None]]) -> None:
    """Run a test, and close what it has opened."""

    async def whole() -> None:
        async with AsyncExitStack() as opened:
            await test(opened)

    asyncio.run(whole())


async def meet(
    opened: AsyncExitStack, nodes: list[MeshedNode], cap: int, hub: MeshedNode
) -> list[str]:
    """Start nodes with a rendezvous, and wait until all know each other; return their addresses."""
    rendezvous = await hub.start(0)
    opened.push_async_callback(hub.node.close)
    addresses = []
    for node in nodes:
        addresses.append(await node.start(cap, rendezvous))
        opened.push_async_callback(node.node.close)
    ids = [node.node_id for node in nodes]
    for node in nodes:
        await node.until(lambda node=node: node.knows(*ids))  # type: ignore[misc] # a test
    return addresses


async def told_of(opened: AsyncExitStack, address: str) -> MeshedNode:
    """Return a node after its look at a record with an address."""
    node, other = MeshedNode(1), MeshedNode(2)
    opened.push_async_callback(node.node.close)
    await node.start(1, allows_loopback=False)
    author = OperationAuthor(other.author.signer, node.node.hub.replica)
    for signed in OwnRecord(author, address).renew(node.clock.wall_ms()):
        node.node.hub.add_own(signed)
    await node.node.publish()
    node.advance(FIRST_S)
    return node


def test_nodes_of_one_rendezvous_link_with_each_other() -> None:
    """Each link once, though both of two may dial."""

    async def test(opened: AsyncExitStack) -> None:
        hub, nodes = MeshedNode(9), [MeshedNode(1), MeshedNode(2), MeshedNode(3)]
        await meet(opened, nodes, 2, hub)
        for node in nodes:
            node.advance(FIRST_S)
        ids = {node.node_id for node in nodes}
        for node in nodes:
            await node.until(lambda node=node: node.peers == ids - {node.node_id})  # type: ignore[misc] # a test
        linked = [node.peers for node in nodes]

        assert linked == [ids - {node.node_id} for node in nodes]
        assert hub.peers == set()

    run(test)


def test_a_link_outlives_the_rendezvous() -> None:
    """What one writes reaches the other without it."""

    async def test(opened: AsyncExitStack) -> None:
        hub, nodes = MeshedNode(9), [MeshedNode(1), MeshedNode(2)]
        await meet(opened, nodes, 1, hub)
        for node in nodes:
            node.advance(FIRST_S)
        one, other = nodes
        await one.until(lambda: one.peers == {other.node_id})
        await other.until(lambda: other.peers == {one.node_id})
        await hub.node.close()
        item = {"story_id": "s", "stage": "", "name": "after", "agent": "", "retry_count": 0.0}
        more = {"blocked": False, "depends_on": "", "claimed_by": "", "claimed_at": 0.0}
        one.node.hub.add_own(one.author.append(("items",), {**item, **more}))
        await one.node.publish()
        await other.until(lambda: "after" in str(other.node.hub.replica.view()))

        assert "after" in str(other.node.hub.replica.view())

    run(test)


def test_a_node_that_ends_leaves_no_link_and_dials_no_more() -> None:
    """Its peers see a close frame, also on links that it has dialled (D-149)."""

    async def test(opened: AsyncExitStack) -> None:
        codes: asyncio.Queue[int | None] = asyncio.Queue()

        async def keep(peer: object) -> None:
            async for _ in peer:  # type: ignore[attr-defined] # a connection
                pass
            codes.put_nowait(peer.close_code)  # type: ignore[attr-defined] # a connection

        server = await serve(keep, "127.0.0.1", 0)
        opened.callback(server.close)
        port = server.sockets[0].getsockname()[1]
        node = MeshedNode(1)
        await node.start(1)
        list(
            map(
                node.node.hub.add_own,
                OwnRecord(
                    OperationAuthor(Signer(b"\x05" * 32), node.node.hub.replica),
                    f"ws://127.0.0.1:{port}/crdt-sync",
                ).renew(node.clock.wall_ms()),
            )
        )
        await node.node.publish()
        node.advance(FIRST_S)
        await node.until(lambda: any("is connected" in text for text in node.said))
        await node.node.close()
        said = len(node.said)
        node.advance(10 * SCAN_S)
        code = await asyncio.wait_for(codes.get(), LIMIT_S)

        assert code == 1001
        assert not any("dials" in text for text in node.said[said:])

    run(test)


def test_addresses_of_the_machine_are_dialled_only_where_that_is_allowed() -> None:
    """A name is looked up before it is dialled."""

    async def test(opened: AsyncExitStack) -> None:
        node = await told_of(opened, "ws://127.0.0.1:4000/crdt-sync")

        assert any("local-address" in text for text in node.said)
        assert node.node.hub.counts["mesh-dials"] == 0
        assert node.node.hub.counts["mesh-skips-local-address"] == 1

    run(test)


@pytest.mark.parametrize(
    ("found", "dialled", "why"),
    [
        (("192.0.2.7", "192.0.2.8"), ["192.0.2.7"], ""),
        (("::", "::ffff:224.0.0.1", "2001:db8::7"), ["2001:db8::7"], ""),
        (("127.0.0.1", "::1"), [], "is not dialled: local-address"),
        (("255.255.255.255",), [], "is not dialled: bad-address"),
        (("64:ff9b::7f00:1",), [], "is not dialled: local-address"),
        (("::7f00:1",), [], "is not dialled: local-address"),
        (("fe80::1%lo",), [], "is not dialled: bad-address"),
        (("169.254.169.254", "64:ff9b::192.0.2.7"), ["64:ff9b::192.0.2.7"], ""),
        ((), [], "is not dialled: it has no address"),
        (None, [], "has no address: Name or service not known"),
    ],
)
def test_a_name_is_dialled_at_an_address_that_was_checked(
    found: tuple[str, ...] | None, dialled: list[str], why: str
) -> None:
    """OP-076: its second look-up might give another one, so there is none."""
    url, tried, said, counts = "ws://mast.example:4000/crdt-sync", [], [], Counter[str]()

    async def look_up(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        assert (host, port) == ("mast.example", 4000)
        if found is None:
            raise gaierror(-2, "Name or service not known")
        return [(0, 0, 0, "", (place, port)) for place in found]

    async def dial(address: str, host: str) -> WebSocketConnection:
        tried.append((address, host))
        raise TransportError("nobody is there")

    async def meet(_connection: WebSocketConnection, _number: int) -> int:
        raise AssertionError("nothing is connected")

    async def publish(_signed: SignedOperation) -> None:
        raise AssertionError("this node has no record of itself")

    async def whole() -> None:
        asyncio.get_running_loop().getaddrinfo = look_up  # type: ignore[method-assign,assignment]
        clock = Clock()
        record = NodeRecord("60" * 32, url, clock.wall_ms() / 1000)
        manager = StrictMesh(RecordRules("50" * 32), 1, clock.monotonic_s(), lambda: 0.0)
        links = MeshLinks(
            manager,
            clock,
            MeshPorts(
                lambda: [record], dial, meet, publish, lambda _, text: said.append(text), counts
            ),
        )
        links.start()
        clock.advance(FIRST_S)
        links.look()
        await all_wait()
        await links.close()

    asyncio.run(whole())

    assert tried == [(url, host) for host in dialled]
    assert counts["mesh-failed"] == 1
    assert any(why in text for text in said if "failed" in text)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("ws://127.0.0.1:4000/crdt-sync", "ws://127.0.0.1:4000/crdt-sync: local-address"),
        ("ws://h/\x1b[31m\nERROR \u202e", "ws://h/\\x1b[31m\\nERROR \\u202e: bad-address"),
        ("x" * 81, "x" * 80 + "..: bad-address"),
    ],
)
def test_the_log_shows_the_address_that_is_not_dialled(address: str, shown: str) -> None:
    """Escaped and cut: anyone may have written it."""

    async def test(opened: AsyncExitStack) -> None:
        node = await told_of(opened, address)
        who = MeshedNode(2).node_id[:12]

        assert [text for text in node.said if "does not dial" in text] == [
            f"INFO mesh: does not dial {who} at {shown}"
        ]

    run(test)


def test_a_join_token_says_who_a_peer_is() -> None:
    """Links come about, and each knows the id that the other has proven."""

    async def test(opened: AsyncExitStack) -> None:
        token = b"one token of the mesh"
        hub = MeshedNode(9, token=token)
        nodes = [MeshedNode(1, token=token), MeshedNode(2, token=token)]
        await meet(opened, nodes, 1, hub)
        for node in nodes:
            node.advance(FIRST_S)
        one, other = nodes
        await one.until(lambda: one.peers == {other.node_id})

        assert one.peers == {other.node_id}

    run(test)


def test_a_node_at_level_wire_dials_and_is_dialled() -> None:
    """By a strict one too, which it does not tell who it is."""

    async def test(opened: AsyncExitStack) -> None:
        hub = MeshedNode(9, level=Level.WIRE)
        nodes = [MeshedNode(1, level=Level.WIRE), MeshedNode(2)]
        await meet(opened, nodes, 2, hub)
        wire, strict = nodes
        strict.advance(FIRST_S)
        await strict.until(lambda: wire.node_id in strict.peers)
        wire.advance(FIRST_S)

        assert wire.peers == {strict.node_id}
        assert strict.peers == {wire.node_id}

    run(test)
