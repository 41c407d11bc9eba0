"""A deployed peer that lives and a node, over every transport of streams, in both roles.

The peer is `testing/stock_peer.py`. Open nodes and H2, which stock peers speak since 0.8.1; what
is said after the handshake is the same, so most of it is shown with open ones. Its polls come when
a test says so: the clock of the node is put forward between them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import product
from typing import Final

import pytest
from _pytest.mark.structures import ParameterSet

from meshwire_reference.core.document_calls import Edit
from meshwire_reference.core.formation import FormationKey
from meshwire_reference.core.inputs import Deletion
from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.core.state.policy import ANYONE, PUBLISHED, Collections
from meshwire_reference.node import driver
from meshwire_reference.node.config import Config
from meshwire_reference.testing.memory_transport import offer_memory
from meshwire_reference.testing.peer import Peer
from meshwire_reference.testing.serving import LIMIT_S
from meshwire_reference.testing.stock_peer import NAME, SECRET, StockPeer
from meshwire_reference.testing.watched import DocumentsHere, WatchedNode
from meshwire_reference.transport.base import Connection, TransportOptions, Windows
from meshwire_reference.transport.registry import dial, listen
from meshwire_reference.wire.batches import StreamFrame
from meshwire_reference.wire.tombstones import Tombstone, encode_tombstone
from meshwire_spec.numbers import Direction, FrameType

pytestmark = pytest.mark.socket

MEMORY: Final = "memory://beside"
POLL_S: Final = 5.0
POLLS: Final = 10
CREDIT: Final = 100
"""Streams of each kind that a peer may have open."""
LIBRARIES: Final = {"tcp": None, "quic": "aioquic", "iroh": "iroh"}


@dataclass(frozen=True)
class Way:
    """A transport, the role of the node on it, and whether there is a handshake."""

    scheme: str
    dials: bool
    is_h2: bool = False

    @property
    def address(self) -> str:
        """Where one side listens."""
        return f"{self.scheme}://127.0.0.1:0"


def ways(*dialects: str) -> list[ParameterSet]:
    """Return every transport and role; those without their library are skipped."""
    found = []
    for (scheme, library), role, dialect in product(
        LIBRARIES.items(), ("accepts", "dials"), dialects
    ):
        missing = library is not None and find_spec(library) is None
        way = Way(scheme, role == "dials", dialect == "H2")
        marks = [pytest.mark.skipif(missing, reason=f"no extra {scheme}")]
        found.append(pytest.param(way, id=f"{scheme}-{role}-{dialect}", marks=marks))
    return found


OPEN_WAYS = pytest.mark.parametrize("way", ways("open"))
ALL_WAYS = pytest.mark.parametrize("way", ways("open", "H2"))


@pytest.fixture(autouse=True)
def _documents_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes of this module have their documents in this process."""
    offer_memory()
    monkeypatch.setattr(driver, "Documents", DocumentsHere)


class Meeting:
    """A node and a deployed peer, which meet as often as a test wants."""

    def __init__(self, node: WatchedNode, peer: StockPeer, way: Way, windows: Windows) -> None:
        self.node = node
        self.peer = peer
        self._way = way
        self.options = TransportOptions(b"\x77" * 32, secret_key=b"\x78" * 32, windows=windows)
        self._meetings = 0
        self.accept: Callable[[], Coroutine[None, None, Connection]] | None = None

    async def join(self) -> Connection:
        """Let one dial the other."""
        if self.accept is not None:
            return await self.accept()
        return await dial(self.node.addresses[0], self.options)

    async def connect(self) -> None:
        """Let one dial the other, and prove what is to be proven."""
        self.peer.serve(await self.join())
        if self._way.is_h2:
            await (self.peer.accept_by_h2() if self._way.dials else self.peer.connect_by_h2())
        self._meetings += 1
        sessions = self.node.statistics.sessions
        await self.node.progress.until(lambda: sessions.total() == self._meetings)

    async def part(self) -> None:
        """Let the peer close the connection, and wait until the node has noticed that."""
        (status,) = self.node.peers
        await self.peer.leave()
        await self.node.progress.until(
            lambda: all(one.connection != status.connection for one in self.node.peers)
        )

    async def rest(self, *, open_streams: int = 0) -> None:
        """Wait until both have taken all that the other has sent, and are at nothing."""
        node, peer = self.node, self.peer

        def is_at_rest() -> bool:
            at = node.outstanding
            is_busy = at.documents or at.held or at.outbound_bytes or at.streams > open_streams
            sent = node.statistics.snapshot().numbers["sent_bytes"]
            is_taken = (node.taken_bytes, peer.taken_bytes) == (peer.sent_bytes, sent)
            return peer.is_idle and is_taken and not is_busy

        await node.progress.until(is_at_rest)

    async def poll(self, times: int = 1) -> None:
        """Let the peer poll, and wait for the end of all that follows."""
        for _ in range(times):
            await self.peer.poll()
            await self.rest()
            await self.node.move_clock(POLL_S, None)

    async def write(self, key: str, value: int) -> None:
        """Write a field as the user of the node."""
        await self.node.user.operate(Edit(key, {"of node": value}))

    async def differing(self) -> list[str]:
        """Return the keys of documents that the two have differently."""
        keys = {*self.node.keys, *self.peer.documents}
        return sorted([key for key in keys if await self.node.heads(key) != self.peer.heads(key)])


@asynccontextmanager
async def meeting(
    way: Way,
    peer: StockPeer | None = None,
    *,
    heartbeat_s: float = 0.0,
    dead_peer_s: float = 0.0,
    windows: Windows | None = None,
    collections: Collections = PUBLISHED,
) -> AsyncIterator[Meeting]:
    """Run a node and a peer that are not connected yet; both end with the context."""
    dialect = Dialect.H2 if way.is_h2 else Dialect.OPEN
    settings = Settings(
        dialect, heartbeat_s=heartbeat_s, dead_peer_s=dead_peer_s, collections=collections
    )
    key = FormationKey.derive(NAME.decode(), SECRET) if way.is_h2 else None
    peer = peer or StockPeer()
    options = TransportOptions(b"\x77" * 32, secret_key=b"\x78" * 32, windows=windows or Windows())
    listener = await listen(way.address, options) if way.dials else None
    connect = (listener.address,) if listener is not None else ()
    node = WatchedNode(Config((way.address, MEMORY), settings, key, connect=connect, redial_s=0.01))
    node.progress = peer.progress
    held = Meeting(node, peer, way, windows or Windows())
    if listener is not None:
        held.accept = listener.accept
    try:
        async with asyncio.timeout(LIMIT_S):
            await node.open()
            yield held
    finally:
        if listener is not None:
            await listener.close()
        await node.close()


def run(test: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run a test on a loop of its own."""
    asyncio.run(test())


# --- polls ----------------------------------------------------------------------------------------


@ALL_WAYS
def test_a_peer_that_polls_stays_healthy_and_both_have_everything(way: Way) -> None:
    """Ten polls of converged documents leave its breaker closed, and later ones come through."""

    async def test() -> None:
        async with meeting(way) as met:
            for number in range(3):
                met.peer.write(f"notes:p{number}", number)
                await met.write(f"notes:n{number}", number)
            met.peer.write("beacons:p", 259)
            await met.write("beacons:n", 259)
            await met.node.go_online()
            await met.connect()
            await met.rest()
            await met.poll(POLLS)
            met.peer.write("notes:later", 7)
            await met.write("notes:n0", 8)
            # Of such a document changes go as deltas after some time (DC-058).
            for number in range(4):
                await met.write("beacons:n", number)
                await met.rest()
            await met.poll(2)

            assert not met.peer.is_broken
            assert len(met.peer.documents) == 9
            assert await met.differing() == []
            assert not met.node.statistics.refused

    run(test)


@ALL_WAYS
def test_a_peer_that_recycles_its_connection_is_met_again(way: Way) -> None:
    """It closes with code 0 and begins with no sync states; its breaker has never opened."""

    async def test() -> None:
        async with meeting(way) as met:
            await met.node.go_online()
            for number in range(3):
                met.peer.write(f"notes:p{number}", number)
                await met.connect()
                await met.rest()
                await met.poll(2)
                await met.part()
                await met.write("notes:p0", number)
            await met.connect()
            await met.rest()

            assert not met.peer.is_broken
            assert await met.differing() == []
            assert not met.node.statistics.refused

    run(test)


@OPEN_WAYS
def test_a_peer_that_echoes_what_it_gets_falls_silent(way: Way) -> None:
    """D-55: two such peers go on for ever; here nothing that changes nothing is sent on."""

    async def test() -> None:
        async with meeting(way, StockPeer(echoes=True)) as met:
            await met.node.go_online()
            await met.connect()
            await met.write("notes:one", 259)
            await met.write("beacons:one", 260)
            await met.rest()

            assert await met.differing() == []
            assert len(met.peer.documents) == 2
            assert len(met.peer.frames) <= 6

    run(test)


@OPEN_WAYS
def test_a_peer_that_asks_for_what_the_node_lacks_gets_one_answer(way: Way) -> None:
    """D-58: it has stored an empty document for heads that a third node announced."""
    third = StockPeer()
    third.write("notes:third", 259)
    (announced,) = third.batches(third.documents)

    async def test() -> None:
        async with meeting(way) as met:
            await met.node.go_online()
            await met.connect()
            await met.peer.hear_elsewhere(announced)
            await met.rest()
            await met.poll(2)

            assert not met.node.keys
            assert 1 <= len(met.peer.frames) <= 4
            assert not met.peer.is_broken

    run(test)


CLOSED: Final = "certificates"
ADMITTING: Final = Collections(senders={CLOSED: ANYONE})


@pytest.mark.parametrize(
    ("collections", "is_broken"),
    [(PUBLISHED, True), (ADMITTING, False)],
    ids=["closed", "admitted"],
)
def test_documents_that_are_refused_end_what_such_a_peer_sends(
    collections: Collections, *, is_broken: bool
) -> None:
    """A refusal is no answer to it (D-50): who has five must be admitted, or its breaker opens."""

    async def test() -> None:
        async with meeting(Way("tcp", dials=False), collections=collections) as met:
            for number in range(5):
                met.peer.write(f"{CLOSED}:{number}", number)
            await met.node.go_online()
            await met.connect()
            await met.poll(POLLS)

            assert met.peer.is_broken is is_broken
            assert len(met.node.keys) == (0 if is_broken else 5)

    run(test)


# --- streams --------------------------------------------------------------------------------------


@OPEN_WAYS
def test_a_peer_that_begins_to_read_late_gets_everything(way: Way) -> None:
    """D-23: until then its credit is used up, and another peer is served."""

    async def test() -> None:
        async with meeting(way, windows=Windows(max_streams_bidi=CREDIT)) as met:
            await met.node.go_online()
            connection = await met.join()
            await met.node.progress.until(lambda: met.node.peers)
            for number in range(CREDIT + 5):
                await met.write(f"notes:n{number}", number)
            sent = met.node.statistics.sent_frames
            # Over iroh the library answers the STOP by itself, and gives credit back with that.
            await met.node.progress.until(lambda: sent[FrameType.DELTA] >= CREDIT)
            other = Peer(await dial(MEMORY, TransportOptions(b"\x5a" * 32)))
            assert await other.ask("notes:n7") == {"of node": 7}
            await other.leave()
            met.peer.serve(connection)
            await met.node.progress.until(lambda: len(met.peer.documents) == CREDIT + 5)
            await met.node.progress.until(lambda: all(map(met.peer.heads, met.node.keys)))

            assert await met.differing() == []

    run(test)


@pytest.mark.parametrize("way", [one for one in ways("open", "H2") if "dials" in str(one.id)])
def test_a_peer_that_dials_the_node_that_has_dialled_it_keeps_both_connections(way: Way) -> None:
    """It unlists a peer whose older connection is closed (D-22), and sends no heartbeat."""

    async def test() -> None:
        async with meeting(way, heartbeat_s=0.01) as met:
            await met.node.go_online()
            await met.connect()
            crossing = StockPeer()
            crossing.progress = met.peer.progress
            crossing.serve(await dial(met.node.addresses[0], met.options))
            if way.is_h2:
                await crossing.connect_by_h2()
            await met.write("notes:n", 259)
            await met.node.progress.until(
                lambda: met.peer.heads("notes:n") and crossing.heads("notes:n")
            )
            met.peer.write("notes:n", 260)
            await met.peer.push("notes:n")
            await met.node.progress.until(
                lambda: crossing.heads("notes:n") == met.peer.heads("notes:n")
            )
            await met.node.progress.until(lambda: len(met.peer.uni) > 5 and len(crossing.uni) > 5)

            assert len(met.node.peers) == 2
            assert await met.differing() == []
            await crossing.leave()
            met.peer.write("notes:p", 261)
            await met.peer.push("notes:p")
            await met.node.progress.until(lambda: "notes:p" in met.node.keys)

    run(test)


@OPEN_WAYS
def test_more_documents_than_streams_travel_at_once_in_both_directions(way: Way) -> None:
    """The peer holds each stream until its answer has one (D-137); the node never does so."""
    count = CREDIT + 5

    async def test() -> None:
        async with meeting(way) as met:
            own = [f"notes:p{number}" for number in range(count)]
            for number, key in enumerate(own):
                met.peer.write(key, number)
            for number in range(5):
                await met.write(f"notes:n{number}", number)
            await met.node.go_online()
            await met.connect()
            await asyncio.gather(*map(met.peer.push, own))
            await met.rest()

            assert len(met.peer.documents) == count + 5
            assert await met.differing() == []

    run(test)


@OPEN_WAYS
def test_batches_on_a_channel_are_read_to_the_last_and_asked_for(way: Way) -> None:
    """D-15, D-143: each announces one document by its heads, and the peer ends the stream."""

    async def test() -> None:
        async with meeting(way) as met:
            keys = [f"notes:{number}" for number in range(25)]
            for number, key in enumerate(keys):
                met.peer.write(key, number)
            await met.node.go_online()
            await met.connect()
            batches = [met.peer.batches([key])[0] for key in keys]
            stream = await met.peer.send_on_channel(batches[:20])
            await met.rest(open_streams=1)
            # After 30 seconds it stops the half that it reads, and finishes its own later (D-18).
            await met.peer.send_on_channel(batches[20:], stream)
            await met.rest()

            assert set(met.node.keys) == set(keys)
            assert await met.differing() == []

    run(test)


@OPEN_WAYS
def test_a_peer_that_takes_no_heartbeat_is_synced_with(way: Way) -> None:
    """D-19: when all credit is used up the next heartbeat waits, and nothing else does."""
    # The library of iroh reads what it has accepted, and with that gives the credit back.
    windows = Windows(max_streams_uni=0 if way.scheme == "iroh" else CREDIT)

    async def test() -> None:
        async with meeting(way, heartbeat_s=0.0005, windows=windows) as met:
            await met.node.go_online()
            await met.connect()
            sent = lambda: met.node.statistics.sent_heartbeats  # noqa: E731 - asked repeatedly
            await met.node.progress.until(lambda: sent() == CREDIT)
            await met.write("notes:n", 259)
            met.peer.write("notes:p", 260)
            await met.peer.push("notes:p")
            await met.node.progress.until(
                lambda: "notes:p" in met.node.keys and "notes:n" in met.peer.documents
            )
            await met.node.progress.until(lambda: met.peer.heads("notes:n"))

            assert sent() == CREDIT
            assert len(met.node.peers) == 1

    run(test)


@pytest.mark.parametrize("way", [one for one in ways("open", "H2") if "dials" in str(one.id)])
def test_a_silent_peer_that_finishes_empty_streams_is_kept(way: Way) -> None:
    """It sends nothing by itself; its handlers end at a FIN without a frame (LV-010)."""

    async def test() -> None:
        async with meeting(way, dead_peer_s=0.3) as met:
            await met.node.go_online()
            await met.connect()
            await met.node.progress.until(lambda: met.peer.probes == 5)

            assert met.node.statistics.sessions == {"dialled": 1}

    run(test)


# --- tombstones -----------------------------------------------------------------------------------


@OPEN_WAYS
@pytest.mark.parametrize("keeps", [True, False], ids=["disk", "memory"])
def test_a_deletion_goes_both_ways_and_the_table_of_every_poll_is_silence(
    way: Way, *, keeps: bool
) -> None:
    """A peer in memory mode forgets tombstones, and takes each copy for a new one (D-80)."""

    async def test() -> None:
        async with meeting(way, StockPeer(keeps_tombstones=keeps)) as met:
            await met.node.go_online()
            await met.connect()
            for key in ("tracks:by-node", "tracks:by-peer"):
                await met.write(key, 259)
            await met.rest()
            buried = await deleted_by_peer(met, "tracks:by-peer")
            await met.node.user.operate(Deletion("tracks:by-node", "ops"))
            await met.rest()
            before = len(met.peer.frames)
            met.peer.tombstones |= buried if keeps else {}
            await met.poll(4)

            assert not met.node.keys
            assert not met.peer.documents
            assert len(met.peer.frames) == before
            assert met.node.tombstones == 2

    run(test)


async def deleted_by_peer(met: Meeting, key: str) -> dict[str, bytes]:
    """Let the peer delete a document, and return its tombstone."""
    collection, _, name = key.partition(":")
    at_ms = met.node.clock.wall_ms()
    tombstone = Tombstone(collection, name, at_ms, 9, "peer", "", Direction.BIDIRECTIONAL)
    payload = encode_tombstone(tombstone)
    met.peer.documents.pop(key, None)
    await met.peer.send(StreamFrame(f"tombstones:{key}", FrameType.TOMBSTONE, payload))
    await met.rest()
    return {key: payload}
