"""Measure the QUIC transport against bare aioquic, in one process and one run, by turns.

`document` is one stream of many bytes, `frames` one small frame on a bidi stream each, which the
receiver finishes too; of either at most a window is on the way. Bare aioquic is its asyncio
protocol with the library's own windows, which it raises as bytes come, whether or not they are
read. Both sides are in this process, so CPU time is that of both. Best of the rounds; the ratio is
of CPU time. With --node the frames go to a node, as snapshots
of a document each, over QUIC and over TCP. With --stalled the
reader never reads, and what the sender keeps is printed while it is given more and more.
"""

import argparse
import asyncio
import gc
import tracemalloc
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from functools import partial
from itertools import repeat
from ssl import CERT_NONE
from time import perf_counter, process_time
from typing import Any, Final

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import serve
from aioquic.quic.events import QuicEvent, StreamDataReceived
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meshwire_reference.core.inputs import StreamData
from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.node.config import Config
from meshwire_reference.node.driver import Node
from meshwire_reference.testing.author import author
from meshwire_reference.transport.base import Connection, TransportOptions
from meshwire_reference.transport.quic.library import configure
from meshwire_reference.transport.registry import dial, listen
from meshwire_reference.wire.batches import StreamFrame, encode_stream_frame
from meshwire_spec.numbers import FrameType

IN_FLIGHT: Final = 64
"""Streams that are open at a time, as a node grants them."""
FRAME: Final = bytes(range(100))
MIB: Final = 2**20
GIVEN: Final = (4, 16, 64)
"""MiB given to a sender whose reader is stalled."""

Spent = tuple[float, float]
"""Seconds of CPU time, and of wall time."""


async def timed(work: Awaitable[None]) -> Spent:
    """Return what a piece of work takes."""
    gc.collect()
    began, began_cpu = perf_counter(), process_time()
    await work
    return process_time() - began_cpu, perf_counter() - began


# --- Bare aioquic ---------------------------------------------------------------------------


class Sink(QuicConnectionProtocol):
    """A server that finishes each stream that its peer has finished."""

    def quic_event_received(self, event: QuicEvent) -> None:
        """Count bytes, answer FIN with FIN."""
        if isinstance(event, StreamDataReceived) and event.end_stream:
            self._quic.send_stream_data(event.stream_id, b"", end_stream=True)
            self._transmit_soon()


class Source(QuicConnectionProtocol):
    """A client that waits for the end of its streams."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.waiting: dict[int, asyncio.Future[None]] = {}

    def quic_event_received(self, event: QuicEvent) -> None:
        """Report the end of a stream to the call that awaits it."""
        if isinstance(event, StreamDataReceived) and event.end_stream:
            self.waiting.pop(event.stream_id).set_result(None)

    async def push(self, data: bytes) -> None:
        """Send bytes on a stream and wait for its end."""
        stream = self._quic.get_next_available_stream_id()
        ended = asyncio.get_running_loop().create_future()
        self.waiting[stream] = ended
        self._quic.send_stream_data(stream, data, end_stream=True)
        self._transmit_soon()
        await ended


async def bare(options: TransportOptions, talk: Callable[[Any], Awaitable[None]]) -> Spent:
    """Time a conversation over bare aioquic."""
    key = Ed25519PrivateKey.generate()
    sides = [
        replace(
            configure(options, key, dials=dials), max_data=MIB, max_stream_data=MIB,
            verify_mode=CERT_NONE,
        )
        for dials in (False, True)
    ]  # fmt: skip
    server = await serve("127.0.0.1", 0, configuration=sides[0], create_protocol=Sink)
    port = server._transport.get_extra_info("sockname")[1]  # type: ignore[union-attr]  # noqa: SLF001 - it has no other name
    async with connect("127.0.0.1", port, configuration=sides[1], create_protocol=Source) as client:
        taken = await timed(talk(client))
    server.close()
    return taken


# --- The transport ----------------------------------------------------------------------------


class Pusher:
    """A connection on which bytes are pushed, and whose events are taken."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self.reading = asyncio.ensure_future(self._read())

    async def push(self, data: bytes) -> None:
        """Send bytes on a stream and wait for its end."""
        stream = await self._connection.open(bidi=True)
        ended = asyncio.get_running_loop().create_future()
        self._waiting[stream] = ended
        await self._connection.send(stream, data, fin=True)
        await ended

    async def _read(self) -> None:
        async for event in self._connection.events():
            if isinstance(event, StreamData):
                if event.data:
                    self._connection.consumed(event.stream, len(event.data))
                if event.fin:
                    self._connection.release(event.stream)
                    waiting = self._waiting.pop(event.stream, None)
                    if waiting is not None:
                        waiting.set_result(None)


async def sink(connection: Connection) -> None:
    """Take all bytes, and finish each stream that the peer has finished."""
    async for event in connection.events():
        if isinstance(event, StreamData):
            connection.consumed(event.stream, len(event.data))
            if event.fin:
                await connection.send(event.stream, b"", fin=True)
                connection.release(event.stream)


async def ours(options: TransportOptions, talk: Callable[[Any], Awaitable[None]]) -> Spent:
    """Time a conversation over the transport."""
    listener = await listen("quic://127.0.0.1:0", options)
    dialled = await dial(listener.address, options)
    accepted = await listener.accept()
    taking = asyncio.ensure_future(sink(accepted))
    pusher = Pusher(dialled)
    taken = await timed(talk(pusher))
    await asyncio.gather(dialled.close(0), accepted.close(0))
    await asyncio.gather(taking, pusher.reading)
    await listener.close()
    return taken


async def to_a_node(
    scheme: str, options: TransportOptions, talk: Callable[[Any], Awaitable[None]]
) -> Spent:
    """Time a conversation with a node over a transport."""
    node = Node(Config((f"{scheme}://127.0.0.1:0",), Settings(Dialect.OPEN, heartbeat_s=0)))
    await node.start()
    await node.go_online()
    pusher = Pusher(await dial(node.addresses[0], options))
    taken = await timed(talk(pusher))
    await node.close()
    await pusher.reading
    return taken


# --- Measurements -----------------------------------------------------------------------------


async def push_many(side: Any, frames: Iterable[bytes]) -> None:
    """Push frames, each on its stream, a window of them at a time."""
    left = iter(frames)

    async def worker() -> None:
        for frame in left:
            await side.push(frame)

    await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))


def compare(name: str, rounds: int, units: float, unit: str, *runs: Callable[[], Spent]) -> None:
    """Print the best of each run, by turns, and the ratio of the second to the first."""
    best = [(float("inf"), float("inf"))] * len(runs)
    for _ in range(rounds):
        for index, run in enumerate(runs):
            best[index] = min(best[index], run())
    rates = ", ".join(f"{units / cpu_s:.1f} {unit} of CPU time" for cpu_s, _ in best)
    walls = ", ".join(f"{units / wall_s:.1f} {unit}" for _, wall_s in best)
    print(f"{name}: {rates}; wall {walls}; ratio {best[0][0] / best[-1][0]:.2f}", flush=True)


async def stall(options: TransportOptions) -> None:
    """Print what is kept while a reader does not read, however much its peer is given."""
    listener = await listen("quic://127.0.0.1:0", options)
    dialled = await dial(listener.address, options)
    accepted = await listener.accept()
    for mebibytes in GIVEN:
        tracemalloc.start()
        data = bytes(mebibytes * MIB)
        stream = await dialled.open(bidi=False)
        sending = asyncio.ensure_future(dialled.send(stream, data))
        await accepted.next_events()
        await asyncio.wait({sending}, timeout=1.0)
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        print(f"{mebibytes} MiB given: {(size - len(data)) / MIB:.2f} MiB kept beside them")
        dialled.reset(stream, 0)
        await asyncio.gather(sending, return_exceptions=True)
    await asyncio.gather(dialled.close(0), accepted.close(0))
    await listener.close()


Talk = Callable[[Any], Awaitable[None]]


def run(over: Any, talk: Talk, options: TransportOptions) -> Callable[[], Spent]:
    """Return a call that times a conversation over a transport."""
    return lambda: asyncio.run(over(options, talk))


def compare_nodes(given: argparse.Namespace, options: TransportOptions) -> None:
    """Print how fast a node takes frames over TCP and over QUIC."""
    keys = [f"beacons:{number}" for number in range(given.frames)]
    snapshots = [
        encode_stream_frame(StreamFrame(key, FrameType.SNAPSHOT, author(key, 7, n=1).snapshot()))
        for key in keys
    ]
    name = f"{options.datagram_size}: frames to a node, tcp and quic"
    runs = (
        run(partial(to_a_node, scheme), lambda side: push_many(side, snapshots), options)
        for scheme in ("tcp", "quic")
    )
    compare(name, given.rounds, given.frames, "frames/s", *runs)


def compare_transports(given: argparse.Namespace, options: TransportOptions) -> None:
    """Print how fast a document and many frames go over bare aioquic and over the transport."""
    data = bytes(given.mebibytes * MIB)

    async def document(side: Any) -> None:
        await side.push(data)

    async def frames(side: Any) -> None:
        await push_many(side, repeat(FRAME, given.frames))

    talks: tuple[tuple[str, float, str, Talk], ...] = (
        ("document", given.mebibytes, "MiB/s", document),
        ("frames", given.frames, "frames/s", frames),
    )
    for name, units, unit, talk in talks:
        runs = (run(over, talk, options) for over in (bare, ours))
        compare(f"{options.datagram_size}: {name}", given.rounds, units, unit, *runs)


def main() -> None:
    """Run the measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datagram", type=int, action="append")
    parser.add_argument("--mebibytes", type=int, default=8)
    parser.add_argument("--frames", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--node", action="store_true")
    parser.add_argument("--stalled", action="store_true")
    given = parser.parse_args()
    for size in given.datagram or (1200, 8900):
        options = TransportOptions(bytes(32), datagram_size=size)
        if given.stalled:
            asyncio.run(stall(options))
        elif given.node:
            compare_nodes(given, options)
        else:
            compare_transports(given, options)


if __name__ == "__main__":
    main()
