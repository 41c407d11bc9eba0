"""A node and a scripted peer of dialect H2, over TCP and iroh, in both roles.

The peer does what stock nodes do since 0.8.1, and its bytes are made with `struct` and `hmac` here,
with no codec of this project: version byte 01, lengths of four bytes in little endian, a rejection
by a close with code 1 in place of the result.
"""

from __future__ import annotations

import asyncio
import hmac
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec

import pytest

from meshwire_reference.core.formation import FormationKey
from meshwire_reference.core.inputs import ConnectionClosed, StreamData
from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.node.config import Config
from meshwire_reference.node.driver import Node
from meshwire_reference.testing import serving
from meshwire_reference.transport.base import Connection, Listener, TransportOptions
from meshwire_reference.transport.registry import dial, listen
from meshwire_spec.numbers import REASONS

pytestmark = [pytest.mark.process, pytest.mark.socket]

NAME, SECRET = b"stock-mesh", b"\x21" * 32
OPTIONS = TransportOptions(b"\x77" * 32)
ADDRESSES = pytest.mark.parametrize(
    "address",
    [
        pytest.param("tcp://127.0.0.1:0", id="tcp"),
        pytest.param(
            "iroh://127.0.0.1:0",
            id="iroh",
            marks=pytest.mark.skipif(find_spec("iroh") is None, reason="no extra iroh"),
        ),
    ],
)
NONCE = bytes(range(101, 133))
HEARTBEAT_S = 0.05
LIMIT_S = 600.0
SHORT_S = 0.5
"""A deadline that passes in the test."""


def proof(nonce: bytes, secret: bytes = SECRET) -> bytes:
    """HMAC-SHA256 over nonce and formation id, under the key that HKDF derives from the secret."""
    extracted = hmac.digest(NAME, secret, sha256)
    key = hmac.digest(extracted, b"peat-protocol-v1-formation\x01", sha256)
    return hmac.digest(key, nonce + NAME, sha256)


class Peer:
    """One side of the scripted peer: what has come on each stream, and how the connection ended."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.came: dict[int, bytes] = {}
        self.finished: set[int] = set()
        self.closed: ConnectionClosed | None = None
        self._changed = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for event in self.connection.events():
            match event:
                case StreamData(stream, data, fin):
                    self.came[stream] = self.came.get(stream, b"") + data
                    self.connection.consumed(stream, len(data))
                    if fin:
                        self.finished.add(stream)
                case ConnectionClosed():
                    self.closed = event
            self._changed.set()

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait until something has come."""
        while not holds():
            assert self.closed is None, self.closed
            self._changed.clear()
            await self._changed.wait()

    async def take(self, stream: int, size: int) -> bytes:
        """Take the next bytes of a stream."""
        await self.until(lambda: len(self.came.get(stream, b"")) >= size)
        taken, self.came[stream] = self.came[stream][:size], self.came[stream][size:]
        return taken

    async def end(self) -> int | None:
        """Wait for the end of the connection and return its code."""
        await self._reading
        assert self.closed is not None
        return self.closed.code

    async def hears_a_heartbeat(self) -> None:
        """Wait for what a node sends to proven peers alone."""
        await self.until(lambda: any(len(data) == 9 for data in self.came.values()))


async def connector(node: Node) -> tuple[Peer, int]:
    """Dial a node and open the stream of the handshake."""
    peer = Peer(await dial(node.addresses[0], OPTIONS))
    return peer, await peer.connection.open(bidi=True)


async def challenged(node: Node, first: bytes = b"\x01") -> tuple[Peer, int, bytes]:
    """Dial a node as a connector does; return peer, stream and the nonce of the challenge."""
    peer, stream = await connector(node)
    await peer.connection.send(stream, first)
    challenge = await peer.take(stream, 4 + 2 + len(NAME) + 32)
    assert challenge[: 6 + len(NAME)] == struct.pack("<IH", 34 + len(NAME), len(NAME)) + NAME
    return peer, stream, challenge[6 + len(NAME) :]


def run(
    address: str,
    test: Callable[[Node], Awaitable[None]],
    *,
    detects: bool = False,
    connect: tuple[str, ...] = (),
    dialect: Dialect = Dialect.H2,
    handshake_s: float = LIMIT_S,
) -> None:
    """Run a test against a node of the formation, and end the node whatever happens."""
    settings = Settings(dialect, detects=detects, handshake_s=handshake_s, heartbeat_s=HEARTBEAT_S)
    key = FormationKey.derive(NAME.decode(), SECRET)
    serving.run(test, Node(Config((address,), settings, key, connect=connect, redial_s=0.05)))


@ADDRESSES
@pytest.mark.parametrize("first", [b"\x01", b"\x20\x00\x00\x00"])
def test_a_connector_is_served(address: str, first: bytes) -> None:
    """With the version byte, and as an early writer of 0.6 by a node that serves both dialects."""

    async def test(node: Node) -> None:
        peer, stream, nonce = await challenged(node, first)
        length = b"" if len(first) > 1 else struct.pack("<I", 32)
        await peer.connection.send(stream, length + proof(nonce), fin=True)
        assert await peer.take(stream, 1) == b"\x01"
        await peer.until(lambda: stream in peer.finished)
        await peer.hears_a_heartbeat()
        await peer.connection.close(0)

    run(address, test, detects=len(first) > 1)


@ADDRESSES
def test_a_wrong_key_gets_the_result_before_the_close(address: str) -> None:
    """Other than with a stock acceptor, whose close overtakes it (D-33)."""

    async def test(node: Node) -> None:
        peer, stream, nonce = await challenged(node)
        await peer.connection.send(stream, struct.pack("<I", 32) + proof(nonce, b"\x22" * 32))
        assert await peer.take(stream, 1) == b"\x00"
        assert await peer.end() == 1

    run(address, test)


@ADDRESSES
@pytest.mark.parametrize(
    "first",
    [
        pytest.param(b"\x02", id="another version"),
        pytest.param(b"\x20\x00\x00\x00", id="an early writer"),
        pytest.param(struct.pack("<H", len(NAME)) + NAME, id="an H1 initiator"),
        pytest.param(b"\x00\x0atracks:one\x01\x00\x00\x00\x00", id="an open frame"),
    ],
)
def test_a_node_of_h2_alone_closes_with_code_1(address: str, first: bytes) -> None:
    """HS-061: at once, and without a byte of its own."""

    async def test(node: Node) -> None:
        peer, stream = await connector(node)
        await peer.connection.send(stream, first)
        assert await peer.end() == 1, peer.closed
        assert not peer.came.get(stream)

    run(address, test)


@ADDRESSES
@pytest.mark.parametrize(
    ("first", "reason", "handshake_s"),
    [
        pytest.param(b"\x02", "handshake-timeout", SHORT_S, id="another version"),
        pytest.param(b"", "handshake-timeout", SHORT_S, id="silence"),
        pytest.param(
            b"\x00\x0atracks:one\x01\x00\x00\x00\x00", "length-limit", LIMIT_S, id="an open frame"
        ),
    ],
)
def test_a_node_of_both_dialects_ends_what_is_of_neither(
    address: str, first: bytes, reason: str, handshake_s: float
) -> None:
    """As the table on the page says."""

    async def test(node: Node) -> None:
        peer, stream = await connector(node)
        if first:
            await peer.connection.send(stream, first)
        assert await peer.end() == REASONS[reason].code

    run(address, test, detects=True, handshake_s=handshake_s)


@ADDRESSES
def test_a_node_of_both_dialects_serves_an_h1_initiator(address: str) -> None:
    """HS-062."""

    async def test(node: Node) -> None:
        peer, stream = await connector(node)
        await peer.connection.send(stream, struct.pack("<H", len(NAME)) + NAME)
        challenge = await peer.take(stream, 2 + len(NAME) + 32)
        await peer.connection.send(stream, proof(challenge[-32:]), fin=True)
        assert await peer.take(stream, 1) == b"\x01"
        await peer.hears_a_heartbeat()
        await peer.connection.close(0)

    run(address, test, detects=True)


@dataclass
class Dialled:
    """A peer that listens: a call returns it on the next connection of the node."""

    listener: Listener
    node: Node

    async def __call__(self) -> Peer:
        """Wait for the next connection."""
        return Peer(await self.listener.accept())


def accept_with(
    address: str,
    script: Callable[[Dialled], Awaitable[None]],
    dialect: Dialect,
) -> None:
    """Run a node that dials a listening peer, which follows the script on its connections."""

    async def whole() -> None:
        listener = await listen(address, OPTIONS)

        settings = Settings(dialect, detects=True, handshake_s=LIMIT_S, heartbeat_s=HEARTBEAT_S)
        key = FormationKey.derive(NAME.decode(), SECRET)
        own = f"{address.partition(':')[0]}://127.0.0.1:0"
        config = Config((own,), settings, key, connect=(listener.address,), redial_s=0.05)
        node = Node(config)
        try:
            async with serving.serving(node):
                await script(Dialled(listener, node))
        finally:
            await listener.close()

    asyncio.run(whole())


async def accept_h2(peer: Peer, result: bytes = b"\x01") -> None:
    """Take the version and the response of a node, as a stock acceptor does."""
    stream = 0 if 0 in peer.came else await first_stream(peer)
    assert await peer.take(stream, 1) == b"\x01"
    challenge = struct.pack("<IH", 34 + len(NAME), len(NAME)) + NAME + NONCE
    await peer.connection.send(stream, challenge)
    assert await peer.take(stream, 36) == struct.pack("<I", 32) + proof(NONCE)
    await peer.connection.send(stream, result, fin=True)


async def first_stream(peer: Peer) -> int:
    """Wait for the first bytes of the node and return their stream."""
    await peer.until(lambda: any(peer.came.values()))
    return next(stream for stream, data in peer.came.items() if data)


@ADDRESSES
def test_a_node_of_h2_is_accepted_and_begins_to_sync(address: str) -> None:
    """As connector toward a stock acceptor."""

    async def script(next_peer: Callable[[], Awaitable[Peer]]) -> None:
        peer = await next_peer()
        await accept_h2(peer)
        await peer.hears_a_heartbeat()
        assert peer.closed is None
        await peer.connection.close(0)

    accept_with(address, script, Dialect.H2)


@ADDRESSES
def test_a_node_that_is_closed_with_code_1_dials_again_in_h2(address: str) -> None:
    """HS-065: what a stock acceptor does with an H1 preamble, before any byte of its own."""

    async def script(next_peer: Callable[[], Awaitable[Peer]]) -> None:
        peer = await next_peer()
        stream = await first_stream(peer)
        assert await peer.take(stream, 2 + len(NAME)) == struct.pack("<H", len(NAME)) + NAME
        await peer.connection.close(1, "unsupported version")
        peer = await next_peer()
        await accept_h2(peer)
        await peer.hears_a_heartbeat()
        await peer.connection.close(0)

    accept_with(address, script, Dialect.H1)


@ADDRESSES
def test_a_node_that_meets_silence_dials_again_in_h1(address: str) -> None:
    """HS-065: what an H1 acceptor does with a version byte, which it takes for half a length."""

    async def script(next_peer: Dialled) -> None:
        peer = await next_peer()
        stream = await first_stream(peer)
        assert await peer.take(stream, 1) == b"\x01"
        await next_peer.node.move_clock(LIMIT_S, None)
        assert await peer.end() == REASONS["handshake-timeout"].code
        peer = await next_peer()
        stream = await first_stream(peer)
        hello = await peer.take(stream, 2 + len(NAME))
        await peer.connection.send(stream, hello + NONCE)
        assert await peer.take(stream, 32) == proof(NONCE)
        await peer.connection.send(stream, b"\x01", fin=True)
        await peer.hears_a_heartbeat()
        await peer.connection.close(0)

    accept_with(address, script, Dialect.H2)


@ADDRESSES
def test_a_node_that_is_rejected_sends_nothing_and_dials_again(address: str) -> None:
    """HS-051: in the same dialect, since a challenge has come."""

    async def script(next_peer: Callable[[], Awaitable[Peer]]) -> None:
        for _ in range(2):
            peer = await next_peer()
            stream = await first_stream(peer)
            assert await peer.take(stream, 1) == b"\x01"
            challenge = struct.pack("<IH", 34 + len(NAME), len(NAME)) + NAME + NONCE
            await peer.connection.send(stream, challenge)
            await peer.take(stream, 36)
            await peer.connection.close(1, "formation auth failed")
            assert list(peer.came) == [stream]

    accept_with(address, script, Dialect.H2)
