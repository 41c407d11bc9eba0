"""Three nodes of one formation that all dial one another: what one is given, all can read."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from meshwire_reference.core.formation import FormationKey
from meshwire_reference.core.inputs import ConnectionClosed, StreamData
from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.node.config import Config
from meshwire_reference.node.driver import Node
from meshwire_reference.testing.author import Author, author, read
from meshwire_reference.testing.bench import OWN_BIDI, STREAM_STEP
from meshwire_reference.transport.base import Connection, TransportOptions
from meshwire_reference.transport.registry import dial
from meshwire_reference.wire.batches import StreamFrame, encode_stream_frame
from meshwire_reference.wire.frames import FrameReader
from meshwire_reference.wire.handshake import FormationId, encode_formation_id
from meshwire_spec.numbers import FrameType

pytestmark = [pytest.mark.process, pytest.mark.socket]

KEY = FormationKey.derive("three-node-mesh", b"\x21" * 32)
LIMIT_S = 600
"""Seconds after which a test hangs; nothing takes as long."""
NONCE = 32
FIRST, SECOND = "mesh_test:mesh-test-doc-1", "mesh_test:mesh-test-doc-2"
CONTENT: dict[str, dict[str, str | int]] = {
    FIRST: {"source": "node1", "test_id": "3node-mesh-test", "value": 123},
    SECOND: {"source": "node2", "test_id": "3node-mesh-test", "value": 456},
}


class Reader:
    """Someone of the formation at one node, who brings documents and reads them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._content: dict[int, bytes] = {}
        self._ended: set[int] = set()
        self._authors = {key: Author(key, 99) for key in CONTENT}
        self._frames: dict[int, FrameReader] = {}
        self._changed = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def join(cls, address: str) -> Reader:
        """Dial a node and prove the formation's key."""
        reader = cls(await dial(address, TransportOptions(b"\x77" * 32)))
        stream = await reader._connection.open(bidi=True)
        hello = encode_formation_id(FormationId(KEY.formation_id))
        await reader._connection.send(stream, hello)
        challenge = await reader._receive(stream, len(hello) + NONCE)
        await reader._connection.send(stream, KEY.respond(challenge[-NONCE:]), fin=True)
        assert (await reader._receive(stream, len(challenge) + 1))[-1] == 1
        return reader

    async def bring(self, key: str) -> None:
        """Write a document at the node and wait until it has taken effect."""
        made = author(key, 7, **CONTENT[key])
        await self._send(StreamFrame(key, FrameType.SNAPSHOT, made.snapshot()))

    async def see(self, key: str) -> None:
        """Wait until the node has sent a document unasked."""
        while not self._authors[key].fields:
            await self._wait()

    async def ask(self, key: str) -> dict[str, object]:
        """Read a document, whatever has come of it before."""
        self._authors[key] = Author(key, 99)
        await self._send(read(key))
        while not self._authors[key].fields:
            await self._wait()
        return self._authors[key].fields

    async def leave(self) -> None:
        """Close the connection."""
        await self._connection.close(0)
        await self._reading

    async def _send(self, frame: StreamFrame) -> None:
        stream = await self._connection.open(bidi=True)
        await self._connection.send(stream, encode_stream_frame(frame), fin=True)
        while stream not in self._ended:
            await self._wait()

    async def _receive(self, stream: int, size: int) -> bytes:
        while len(self._content.get(stream, b"")) < size:
            await self._wait()
        return self._content[stream]

    async def _wait(self) -> None:
        assert not self._reading.done(), "the connection is gone"
        self._changed.clear()
        await self._changed.wait()

    async def _read(self) -> None:
        async for event in self._connection.events():
            match event:
                case StreamData(stream, data, fin):
                    self._content[stream] = self._content.get(stream, b"") + data
                    self._connection.consumed(stream, len(data))
                    self._take(stream, data)
                    if fin:
                        self._ended.add(stream)
                        self._connection.release(stream)
                case ConnectionClosed():
                    pass
            self._changed.set()

    def _take(self, stream: int, data: bytes) -> None:
        """Take documents from the streams that the node opens."""
        if stream % STREAM_STEP == OWN_BIDI:
            for frame in self._frames.setdefault(stream, FrameReader()).feed(data):
                found = self._authors.get(frame.key)
                if found is not None:
                    is_delta = frame.type == FrameType.DELTA
                    (found.receive if is_delta else found.merge)(frame.payload)


async def connect_all(stack: AsyncExitStack) -> list[str]:
    """Start three nodes, have each dial both others, and return their addresses."""
    nodes = [
        Node(Config(("tcp://127.0.0.1:0",), Settings(Dialect.H1, heartbeat_s=0), KEY))
        for _ in range(3)
    ]
    for node in nodes:
        await node.start()
        stack.push_async_callback(node.close)
    addresses = [node.addresses[0] for node in nodes]
    for number, node in enumerate(nodes):
        for other, address in enumerate(addresses):
            if other != number:
                node.attach(await dial(address, TransportOptions(bytes((number + 1,)) * 32)))
    return addresses


def test_what_any_of_three_nodes_is_given_all_can_read() -> None:
    """T-021 to T-028: the second document too, whose way goes against that of the dials."""

    async def whole() -> None:
        async with AsyncExitStack() as stack, asyncio.timeout(LIMIT_S):
            addresses = await connect_all(stack)
            readers = [await Reader.join(address) for address in addresses]
            assert len(set(addresses)) == 3
            for number, key in enumerate((FIRST, SECOND)):
                await readers[number].bring(key)
                others = [reader for reader in readers if reader is not readers[number]]
                await asyncio.gather(*(reader.see(key) for reader in others))
                found = await asyncio.gather(*(reader.ask(key) for reader in readers))

                assert found == [CONTENT[key]] * 3
            for reader in readers:
                await reader.leave()

    asyncio.run(whole())
