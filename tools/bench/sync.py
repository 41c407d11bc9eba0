"""Measure an initial sync between two nodes on loopback, against the bare work of its documents.

A sender loads documents; a receiver dials it and gets them, as snapshots or as deltas, into a
durable store or into memory. The clock runs from the dial until the receiver has the last document,
durably if it has a store. CPU time is that of the receiver and its worker. The bare work is
the load of each document by Automerge and a SQLite commit for every 20, in this process and the
same run. Documents a second are of wall time, which means something on an idle machine only; beside
them are those of the deployed node, with another document and in memory. Each node is configured to
know the other as its own. With --unknown the sender answers every confirmation of the receiver in
the first seconds, since a deployed peer may poll (DC-060).
"""

import argparse
import asyncio
import base64
import cProfile
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from automerge.core import Document

from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.node.config import Config, endpoint_id_of
from meshwire_reference.node.driver import Node
from meshwire_reference.testing.author import Author, file_name
from meshwire_reference.transport.base import TransportOptions
from meshwire_reference.transport.registry import dial

PER_COMMIT: Final = 20
DEPLOYED: Final = {
    "snapshots": "21,500/s",
    "deltas": "6,600 to 6,900/s in bursts of 100, each awaited; 10,000 at once never complete",
}
"""What was measured of peat-mesh 0.8.2: text documents of 100 bytes, in memory."""
COLLECTIONS: Final = {"snapshots": "beacons", "deltas": "notes"}
TICKS: Final = os.sysconf("SC_CLK_TCK")
SENDER_KEY: Final = bytes((1,)) * 32
RECEIVER_KEY: Final = bytes((2,)) * 32
"""Seeds of the endpoint keys: each node receives the id of the other in its configuration."""
POLL_S: Final = 0.02
IDLE_S: Final = 0.5
"""Seconds in which a process that does nothing uses no CPU time."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What one sync took."""

    node_s: float
    worker_s: float
    wall_s: float

    @property
    def cpu_s(self) -> float:
        """CPU time of the receiver with its worker."""
        return self.node_s + self.worker_s


def make_documents(folder: Path, collection: str, count: int) -> list[bytes]:
    """Write documents of four fields into a folder as files, and return them."""
    documents = []
    for number in range(count):
        key = f"{collection}:node-{number:06}"
        one = Author(key, 1 + number % 250)
        one.edit(name=f"node-{number}", lat=51.5 + number, count=number, active=True)
        documents.append(one.snapshot())
        (folder / file_name(key)).write_bytes(documents[-1])
    return documents


def bare_cpu_s(documents: Sequence[bytes], folder: Path) -> float:
    """Return the CPU time of loading documents and committing them to SQLite."""
    folder.mkdir()
    file = sqlite3.connect(folder / "bare.sqlite", isolation_level=None)
    file.execute("PRAGMA journal_mode = WAL")
    file.execute("PRAGMA synchronous = FULL")
    file.execute("CREATE TABLE documents (key TEXT PRIMARY KEY, snapshot BLOB NOT NULL)")
    begun = time.process_time()
    for at in range(0, len(documents), PER_COMMIT):
        part = documents[at : at + PER_COMMIT]
        for content in part:
            Document.load(content)
        file.execute("BEGIN")
        rows = ((f"beacons:node-{at + place:06}", one) for place, one in enumerate(part))
        file.executemany("INSERT INTO documents VALUES (?, ?)", rows)
        file.execute("COMMIT")
    used_s = time.process_time() - begun
    file.close()
    return used_s


def children_cpu_s() -> float:
    """Return the CPU time of the child processes that run, in seconds."""
    return sum(cpu_s_of(int(pid)) for pid in children())


def children() -> Iterator[str]:
    """Yield the ids of the child processes of this one."""
    for task in Path("/proc/self/task").iterdir():
        yield from (task / "children").read_text().split()


def cpu_s_of(pid: int) -> float:
    """Return the CPU time of a process, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def until_idle() -> None:
    """Wait until the processes that the node has started do nothing any more."""
    before_s = -1.0
    while children_cpu_s() != before_s:
        before_s = children_cpu_s()
        await asyncio.sleep(IDLE_S)


async def receive(address: str, count: int, data: Path | None) -> Taken:
    """Run a receiver until it has every document."""
    own_peers = frozenset({endpoint_id_of(SENDER_KEY).hex()})
    settings = Settings(Dialect.OPEN, heartbeat_s=0, own_peers=own_peers)
    listen = ("tcp://127.0.0.1:0",)
    node = Node(Config(listen, settings, data=data, endpoint_key=RECEIVER_KEY))
    await node.start()
    await until_idle()
    own_s, worker_s, begun = time.process_time(), children_cpu_s(), time.monotonic()
    node.attach(await dial(address, TransportOptions(node.endpoint_id)))
    # No event says that the last document has come.
    while node.statistics.applied["changes"] < count:  # noqa: ASYNC110 - polled, see above
        await asyncio.sleep(POLL_S)
    await node.settle()
    wall_s = time.monotonic() - begun
    used_s = time.process_time() - own_s
    worker_s = children_cpu_s() - worker_s
    await node.close()
    return Taken(used_s, worker_s, wall_s)


def measure(sender: str, count: int, data: Path | None) -> Taken:
    """Run a receiver as a process of its own and return what it took."""
    words = [sys.executable, "-P", __file__, "--receive", sender, "--documents", str(count)]
    if data is not None:
        words += ["--data", str(data)]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return Taken(**json.loads(done.stdout))


@contextmanager
def sender_of(folder: Path, data: Path, *, is_own: bool) -> Iterator[str]:
    """Run a node with the documents of a folder in a durable store, and yield its address."""
    key = data.with_suffix(".key")
    key.write_bytes(base64.b64encode(SENDER_KEY))
    key.chmod(0o600)
    command = [sys.executable, "-P", "-m", "meshwire_reference.cli", "run", "--open"]
    command += ["--listen", "tcp://127.0.0.1:0", "--heartbeat-s", "0"]
    command += ["--load", str(folder), "--data", str(data), "--endpoint-key-file", str(key)]
    command += ["--own-peer", endpoint_id_of(RECEIVER_KEY).hex()] if is_own else []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["addresses"][0]
        process.terminate()


def compare(name: str, count: int, rounds: int, place: Path, *, is_own: bool) -> None:
    """Print the lines of one way of sending."""
    folder = place / name
    folder.mkdir()
    documents = make_documents(folder, COLLECTIONS[name], count)
    print(f"{name}: peat-mesh 0.8.2 {DEPLOYED[name]}")
    with sender_of(folder, place / f"{name}-sender", is_own=is_own) as sender:
        for number in range(rounds):
            bare_s = bare_cpu_s(documents, place / f"{name}-bare-{number}")
            durable = measure(sender, count, place / f"{name}-data-{number}")
            memory = measure(sender, count, None)
            print(
                f"{name}: bare {bare_s:.2f} s; durable {durable.cpu_s:.2f} s "
                f"(node {durable.node_s:.2f}, worker {durable.worker_s:.2f}), "
                f"{durable.cpu_s / bare_s:.2f} of bare, {count / durable.wall_s:,.0f}/s; "
                f"memory {memory.cpu_s:.2f} s, {count / memory.wall_s:,.0f}/s, "
                f"durable {memory.wall_s / durable.wall_s:.2f} of memory",
                flush=True,
            )


def main() -> None:
    """Print one line per way of sending and round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=COLLECTIONS)
    parser.add_argument(
        "--unknown", action="store_true", help="the sender takes the receiver for a deployed peer"
    )
    parser.add_argument("--receive", metavar="ADDRESS", help="be the receiver of one sync")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--profile", type=Path, help="file for the profile of a receiver")
    options = parser.parse_args()
    if options.receive is not None:
        with cProfile.Profile() if options.profile else nullcontext() as profile:
            taken = asyncio.run(receive(options.receive, options.documents, options.data))
        if profile is not None:
            profile.dump_stats(options.profile)
        print(json.dumps(asdict(taken)))
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in [options.only] if options.only else COLLECTIONS:
            compare(
                name, options.documents, options.rounds, Path(folder), is_own=not options.unknown
            )


if __name__ == "__main__":
    main()
