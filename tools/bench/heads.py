"""Measure what reconciliation by heads costs two own nodes that hold nearly the same documents.

Two nodes with durable stores hold the same documents. Each then writes `--differences` of them: new
documents (`keys`), others of the common ones (`heads`), or the same ones at both sides (`both`).
They connect over loopback through a relay that counts bytes. Bytes are all that the relay carries,
records of the lab binding included, until both hold the same and nothing has come for longer than
the time after which common documents are offered without heads. CPU time is that of both nodes with
their workers, the time in which they ask for the heads of their stored documents included.
"""

import argparse
import asyncio
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.sync import children_cpu_s
from meshwire_reference.backend import Backend, Choices, Document, Json, make_config
from meshwire_reference.core.document_calls import Write
from meshwire_reference.core.effects import WriteStore
from meshwire_reference.store.sqlite import SqliteStore
from meshwire_reference.testing.author import Author
from meshwire_spec.numbers import FrameType

KINDS: Final = ("keys", "heads", "both")
COLLECTION: Final = "notes"
BYTES_MAX: Final = 160 * 1024
ROUNDS_MAX: Final = 3
QUIET_S: Final = 12.0
CONVERGE_S: Final = 600.0
GROUP: Final = 5000
POLL_S: Final = 0.2
CHUNK: Final = 2**16


@dataclass(slots=True)
class Relay:
    """A listener that passes each connection on to a port, and counts."""

    port: int
    carried: int = 0
    last_s: float = 0.0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def open(self) -> int:
        """Listen; return the port."""
        server = await asyncio.start_server(self._join, "127.0.0.1", 0)
        return int(server.sockets[0].getsockname()[1])

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.port)
        for pair in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.ensure_future(self._carry(*pair))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK):
            self.carried += len(data)
            self.last_s = time.monotonic()
            writer.write(data)
            await writer.drain()
        writer.close()

    async def quiet(self) -> None:
        """Wait until nothing has come for a while."""
        while time.monotonic() - self.last_s < QUIET_S:  # noqa: ASYNC110 - silence has no event
            await asyncio.sleep(POLL_S)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one scenario took; `rounds` are those of the run of either side at most."""

    carried: int
    rounds: tuple[int, ...]
    cpu_s: float


def key_of(number: int) -> str:
    """Return the id of a common document."""
    return f"document-{number:06}"


async def fill(folder: Path, count: int, one: Author, *, with_heads: bool) -> str:
    """Make a store with the common documents; return the endpoint id of its node."""
    write = Write(one.snapshot(), b"", one.heads if with_heads else ())
    store = SqliteStore(folder, lambda size: folder.name.encode() * size)
    identity = (await store.open()).identity
    for at in range(0, count, GROUP):
        await store.write(
            tuple(
                WriteStore(number + 1, f"{COLLECTION}:{key_of(number)}", write)
                for number in range(at, min(count, at + GROUP))
            )
        )
    await store.close()
    return identity.endpoint_id.hex()


def written(kind: str, side: int, count: int, differences: int) -> list[str]:
    """Return the ids of the documents that a side writes."""
    if kind == "keys":
        return [f"new-{side}-{number}" for number in range(differences)]
    step = count // (2 * differences)
    offset = 0 if kind == "both" else side
    return [key_of((2 * number + offset) * step) for number in range(differences)]


async def open_nodes(folders: list[Path], endpoints: list[str], *, by_heads: bool) -> list[Backend]:
    """Open both nodes, each configured for the other."""
    return [
        await Backend.open(
            make_config(
                Choices(
                    ("tcp://127.0.0.1:0",),
                    is_open=True,
                    heartbeat_s=0,
                    dead_peer_s=0,
                    data=folder,
                    reconcile_heads_with=(other,) if by_heads else (),
                )
            )
        )
        for folder, other in zip(folders, reversed(endpoints), strict=True)
    ]


async def converge(nodes: list[Backend], names: set[str]) -> None:
    """Wait until both nodes hold the documents that either has written with the same content."""
    until_s = time.monotonic() + CONVERGE_S
    while time.monotonic() < until_s:
        here, there = [
            [await node.document_store.get(COLLECTION, name) for name in sorted(names)]
            for node in nodes
        ]
        if here == there and None not in here:
            return
        await asyncio.sleep(POLL_S)
    raise SystemExit("the nodes do not converge")


async def connect(nodes: list[Backend], kind: str, count: int, differences: int) -> Cost:
    """Have both nodes write, connect them, and wait until everything is over."""
    names: set[str] = set()
    for side, node in enumerate(nodes):
        for name in written(kind, side, count, differences):
            names.add(name)
            fields: dict[str, Json] = {f"by-{side}": f"value {name}", "at": side}
            await node.document_store.upsert(Document(COLLECTION, fields, name))
        await node.sync_engine.start_sync()
    relay = Relay(int(nodes[1].addresses[0].rpartition(":")[2]))
    begun_s = time.process_time() + children_cpu_s()
    nodes[0].peer_discovery.add_peer(f"tcp://127.0.0.1:{await relay.open()}")
    await converge(nodes, names)
    await relay.quiet()
    used_s = time.process_time() + children_cpu_s() - begun_s
    return Cost(relay.carried, tuple(map(rounds_at, reversed(nodes))), used_s)


async def measure(kind: str, chosen: argparse.Namespace) -> bool:
    """Run one scenario and print its line; return True if it keeps the bounds."""
    one = Author("x:x", 3)
    one.edit(name="a common document", count=1, active=True)
    with TemporaryDirectory() as place:
        folders = [Path(place, name) for name in "ab"]
        endpoints = [
            await fill(folder, chosen.documents, one, with_heads=not chosen.unlisted)
            for folder in folders
        ]
        nodes = await open_nodes(folders, endpoints, by_heads=not chosen.push)
        try:
            figures = await connect(nodes, kind, chosen.documents, chosen.differences)
        finally:
            for node in nodes:
                await node.close()
    print(
        f"{kind:5} {chosen.documents:7} documents, {chosen.differences} differences a side: "
        f"{figures.carried:9,} bytes, rounds {figures.rounds}, {figures.cpu_s:.1f} s of CPU time"
    )
    return figures.carried < BYTES_MAX and max(figures.rounds) <= ROUNDS_MAX


def rounds_at(node: Backend) -> int:
    """Return how many rounds the run of its peer can have had at most.

    A node receives one message for each of them, and one answer for each round of its own run,
    which has one at least.
    """
    frames = node.node.statistics.frames
    return frames[FrameType.NEGENTROPY_INIT] + frames[FrameType.NEGENTROPY_RESPONSE] - 1


def main() -> int:
    """Measure each scenario."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--differences", type=int, default=25)
    parser.add_argument("--kind", choices=KINDS, action="append")
    parser.add_argument("--push", action="store_true", help="without heads, for comparison")
    parser.add_argument(
        "--unlisted", action="store_true", help="stores without heads, as version 1 made them"
    )
    chosen = parser.parse_args()
    kept = [asyncio.run(measure(kind, chosen)) for kind in chosen.kind or KINDS]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
