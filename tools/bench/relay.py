"""Measure what it costs to pass the edits of one document on to many peers.

A writer edits one document again and again, each time once every listener has the edit before. The
CPU time of the node with its worker for each edit is compared with that of one write of as many
bytes on each of as many open connections, in this process and the same run. Bytes are those of the
frames that a listener was sent for one edit. Listeners answer deltas as a node does.
"""

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from meshwire_reference.testing.author import Author
from meshwire_reference.testing.peer import Peer
from meshwire_reference.transport.base import TransportOptions
from meshwire_reference.transport.registry import dial
from meshwire_reference.wire.batches import StreamFrame, encode_stream_frame
from meshwire_spec.numbers import FrameType

COMMAND: Final = (sys.executable, "-P", "-m", "meshwire_reference.cli", "run", "--open")
LISTEN: Final = ("--listen", "tcp://127.0.0.1:0", "--heartbeat-s", "0")
KEYS: Final = {"snapshots": "beacons:one", "deltas": "notes:one"}
TICKS: Final = os.sysconf("SC_CLK_TCK")
WRITES: Final = 200
"""Rounds of bare writes, of which the median counts."""


class Listener:
    """A peer that holds the document and keeps up with it."""

    def __init__(self, peer: Peer, key: str, actor: int) -> None:
        self.peer = peer
        self.frames_bytes = 0
        self._copy = Author(key, actor)
        self._taken = 0

    async def follow(self, count: int) -> None:
        """Take frames until the document has this count."""
        while self._copy.fields.get("count") != count:
            await self.peer.until(lambda: len(self.peer.frames) > self._taken)
            for frame in self.peer.frames[self._taken :]:
                self._taken += 1
                await self._take(frame)

    async def _take(self, frame: StreamFrame) -> None:
        self.frames_bytes += len(encode_stream_frame(frame))
        if frame.type == FrameType.SNAPSHOT:
            self._copy.merge(frame.payload)
        elif frame.type == FrameType.DELTA:
            answer = self._copy.receive(frame.payload)
            if answer is not None:
                await self.peer.push(StreamFrame(frame.key, FrameType.DELTA, answer))


def cpu_s_of(node: subprocess.Popen[bytes]) -> float:
    """Return the CPU time of a node with its workers, in seconds."""
    pids = [str(node.pid)]
    for task in Path(f"/proc/{node.pid}/task").iterdir():
        pids += (task / "children").read_text().split()
    rows = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(row[11]) + int(row[12]) for row in rows) / TICKS


def bare_s(peers: int, size: int) -> float:
    """Return the CPU time of one write on each of as many open connections, in seconds."""
    data = bytes(size)
    taken = []
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        ends = []
        for _ in range(peers):
            ends.append(stack.enter_context(socket.create_connection(server.getsockname())))
            other = stack.enter_context(server.accept()[0])
            ends.append(other)
        for _ in range(WRITES):
            begun = time.thread_time()
            for end in ends[::2]:
                end.sendall(data)
            taken.append(time.thread_time() - begun)
            for other in ends[1::2]:
                other.recv(size, socket.MSG_WAITALL)
    return statistics.median(taken)


async def edit(
    address: str, key: str, peers: int, edits: int, node: subprocess.Popen[bytes]
) -> None:
    """Edit the document and print a line."""
    writer = Peer(await dial(address, TransportOptions(bytes(32))))
    listeners = []
    for number in range(peers):
        options = TransportOptions(bytes((1 + number,)) * 32)
        listeners.append(Listener(Peer(await dial(address, options)), key, 100 + number))
    document = Author(key, 1)
    document.edit(name="one", lat=51.5, active=True, count=0)
    begun_s, before = 0.0, 0
    for count in range(edits + 1):
        document.edit(count=count)
        await writer.push(StreamFrame(key, FrameType.SNAPSHOT, document.snapshot()))
        await asyncio.gather(*(one.follow(count) for one in listeners))
        if not count:
            # The first one brings the whole document.
            begun_s, before = cpu_s_of(node), sum(one.frames_bytes for one in listeners)
    used_s = (cpu_s_of(node) - begun_s) / edits
    size = (sum(one.frames_bytes for one in listeners) - before) // (edits * peers)
    plain_s = bare_s(peers, size)
    print(
        f"{key}: {peers} peers, {edits} edits: {used_s * 1000:.2f} ms of CPU time an edit, "
        f"{used_s / plain_s:.1f} times {peers} bare writes ({plain_s * 1000:.2f} ms); "
        f"{size} bytes an edit and peer, document {len(document.snapshot())} bytes"
    )
    for peer in (writer, *(one.peer for one in listeners)):
        await peer.leave()


def main() -> None:
    """Print one line per way of sending."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=int, default=32)
    parser.add_argument("--edits", type=int, default=1000)
    options = parser.parse_args()
    for key in KEYS.values():
        with subprocess.Popen(
            (*COMMAND, *LISTEN), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as node:
            assert node.stdout is not None
            address = json.loads(node.stdout.readline())["addresses"][0]
            asyncio.run(edit(address, key, options.peers, options.edits, node))
            node.terminate()


if __name__ == "__main__":
    main()
