"""Kill a node with `kill -9` under sync load, again and again, and look for what it has lost.

Each round starts `meshwire-node run --data DIR` on the folder of the round before. Writers send
snapshots, deltas and tombstones, each on a stream of its own, and a stream that the node finishes
is an acknowledgement. A listener keeps what the node passes on. After a random number of
acknowledgements the node is killed. The next one must hold every field that was acknowledged or
passed on, and no document that an acknowledged tombstone removed. Its endpoint id must be that of
the one before.
"""

import argparse
import asyncio
import itertools
import json
import random
import signal
import statistics
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from meshwire_reference.testing.author import Author, read
from meshwire_reference.testing.peer import Peer
from meshwire_reference.transport.base import TransportError, TransportOptions
from meshwire_reference.transport.registry import dial
from meshwire_reference.wire.batches import StreamFrame, decode_sync_batch
from meshwire_reference.wire.tombstones import Tombstone, encode_tombstone
from meshwire_spec.numbers import Direction, FrameType

COMMAND: Final = (sys.executable, "-P", "-m", "meshwire_reference.cli", "run", "--open")
LISTEN: Final = ("--listen", "tcp://127.0.0.1:0", "--heartbeat-s", "0")
WRITERS: Final = 3
WRITER, LISTENER, READER = 10, 2, 3
EDITS_OF_DOCUMENT: Final = 5
"""Number of edits after which a writer begins the next document."""
FRAMES: Final = (1, 100)
"""Least and greatest number of acknowledged frames before the kill."""
DELAY_S: Final = 0.02
"""Longest time from the last of them to the kill."""
STEP_S: Final = 0.005
DELTAS, DELETED = "notes", "tracks"
COLLECTIONS: Final = (DELTAS, "beacons", DELETED)
LAMPORT: Final = 0x0102

Kept = TypeVar("Kept")
"""What a node has promised, and kept."""


class Lost(Exception):
    """The node has lost something; the text says what."""


@dataclass(slots=True)
class Promises:
    """What the node has acknowledged or passed on, by key."""

    fields: dict[str, set[str]] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    unsure: set[str] = field(default_factory=set)
    """Keys whose tombstone was sent and may or may not have taken effect."""
    acknowledged: int = 0
    passed_on: int = 0

    def note(self, key: str, names: Iterable[str]) -> None:
        """Note fields of a document."""
        self.fields.setdefault(key, set()).update(names)

    def take(self) -> "Promises":
        """Return everything noted so far, and begin anew."""
        taken = replace(self)
        self.fields, self.removed, self.unsure = {}, set(), set()
        return taken


@dataclass(slots=True)
class Running:
    """A node as a process."""

    process: Process
    address: str
    endpoint_id: str
    ready_s: float


async def start(data: Path, *options: str) -> Running:
    """Start a node on a folder and wait until it is ready. Raises Lost if it does not start."""
    begun = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *LISTEN, "--data", str(data), *options, stdout=PIPE, stderr=DEVNULL
    )
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line:
        raise Lost(f"the node does not start: exit code {await process.wait()}")
    facts = json.loads(line)
    return Running(process, facts["addresses"][0], facts["endpoint_id"], time.monotonic() - begun)


async def join(node: Running, number: int) -> Peer:
    """Dial a node."""
    return Peer(await dial(node.address, TransportOptions(bytes((number,)) * 32)))


async def write(node: Running, number: int, at_round: int, promises: Promises) -> None:
    """Edit documents of one's own until the node is gone."""
    peer = await join(node, WRITER + number)
    for document in itertools.count():
        collection = COLLECTIONS[document % len(COLLECTIONS)]
        one = Author(f"{collection}:w{number}-{at_round}-{document}", WRITER + number)
        for edit in range(EDITS_OF_DOCUMENT):
            one.edit(**{f"f{edit}": edit})
            frame = StreamFrame(one.key, FrameType.SNAPSHOT, one.snapshot())
            if edit == 0 and collection == DELTAS:
                frame = StreamFrame(one.key, FrameType.DELTA, one.delta() or b"")
            await peer.send(frame)
            promises.acknowledged += 1
            promises.note(one.key, one.fields)
        if collection == DELETED:
            promises.unsure.add(one.key)
            await peer.send(tombstone_of(one.key))
            promises.acknowledged += 1
            promises.removed.add(one.key)


def tombstone_of(key: str) -> StreamFrame:
    """Return the frame with a tombstone for a document, of this moment."""
    collection, _, document_id = key.partition(":")
    now_ms = time.time_ns() // 1_000_000
    tombstone = Tombstone(
        collection, document_id, now_ms, LAMPORT, "writer", "", Direction.BIDIRECTIONAL
    )
    return StreamFrame(f"tombstones:{key}", FrameType.TOMBSTONE, encode_tombstone(tombstone))


def note_passed_on(peer: Peer, promises: Promises) -> None:
    """Note what a listener was sent, also as the documents of the first offer."""
    readers: dict[str, Author] = {}
    for frame in peer.frames:
        entries = [frame]
        if frame.type == FrameType.BATCH:
            batch = decode_sync_batch(frame.payload)
            entries = [StreamFrame(one.key, one.type, one.payload) for one in batch.entries]
        for entry in entries:
            if entry.type not in (FrameType.SNAPSHOT, FrameType.DELTA):
                continue
            reader = readers.setdefault(entry.key, Author(entry.key, 99))
            if entry.type == FrameType.SNAPSHOT:
                reader.merge(entry.payload)
            else:
                reader.receive(entry.payload)
    promises.passed_on += len(readers)
    for key, reader in readers.items():
        promises.note(key, set(reader.fields))


async def verify(node: Running, promises: Promises) -> None:
    """Read every document. Raises Lost for the first that lacks something."""
    peer = await join(node, READER)
    answers = await read_all(peer, promises.fields)
    for key, names in promises.fields.items():
        frame = answers[key]
        if key in promises.removed:
            if frame.type != FrameType.TOMBSTONE:
                raise Lost(f"{key} was removed and is back")
        elif key not in promises.unsure:
            reader = Author(key, 99)
            reader.receive(frame.payload)
            if not names <= set(reader.fields):
                raise Lost(f"{key} lacks {', '.join(sorted(names - set(reader.fields)))}")
    await peer.leave()


async def read_all(peer: Peer, keys: Iterable[str]) -> dict[str, StreamFrame]:
    """Return the answer to a read of each key: its document, or the tombstone in its place."""
    wanted = set(keys)
    begun = len(peer.frames)
    for key in wanted:
        await peer.push(read(key))

    def answers() -> dict[str, StreamFrame]:
        found = {}
        for frame in peer.frames[begun:]:
            if frame.type in (FrameType.DELTA, FrameType.TOMBSTONE):
                found[frame.key.removeprefix("tombstones:")] = frame
        return found

    await peer.until(lambda: wanted <= answers().keys())
    return answers()


async def load_and_kill(
    node: Running, at_round: int, promises: Promises, frames: int, delay_s: float
) -> None:
    """Put a node under load until it has acknowledged some frames, and kill it a little later."""
    listener = await join(node, LISTENER)
    writers = [
        asyncio.create_task(write(node, number, at_round, promises)) for number in range(WRITERS)
    ]
    enough = promises.acknowledged + frames
    while promises.acknowledged < enough and not any(writer.done() for writer in writers):
        await asyncio.wait(writers, timeout=STEP_S)
    await asyncio.wait(writers, timeout=delay_s)
    node.process.send_signal(signal.SIGKILL)
    await node.process.wait()
    for writer in writers:
        writer.cancel()
    for ended in await asyncio.gather(*writers, return_exceptions=True):
        if not isinstance(ended, AssertionError | TransportError | asyncio.CancelledError):
            raise Lost(f"a writer ended by itself: {ended!r}")
    with suppress(TransportError):
        await listener.leave()
    note_passed_on(listener, promises)


async def kill_often(data: Path, kills: int, seed: int) -> tuple[Promises, list[float]]:
    """Kill a node again and again; return the promises it kept, and how long each start took.

    Raises Lost.
    """
    random_of = random.Random(seed)  # noqa: S311 - moments to kill at, not secrets
    now, ever = Promises(), Promises()
    node = await start(data)
    endpoint_id, starts_s = node.endpoint_id, []
    for at_round in range(kills):
        frames, delay_s = random_of.randint(*FRAMES), random_of.uniform(0, DELAY_S)
        await load_and_kill(node, at_round, now, frames, delay_s)
        node = await start(data)
        starts_s.append(node.ready_s)
        if node.endpoint_id != endpoint_id:
            raise Lost("the node has another endpoint id")
        taken = now.take()
        await verify(node, taken)
        for key, names in taken.fields.items():
            ever.note(key, names)
        ever.removed |= taken.removed
        ever.unsure |= taken.unsure
    await verify(node, ever)
    ever.acknowledged, ever.passed_on = now.acknowledged, now.passed_on
    node.process.terminate()
    await node.process.wait()
    return ever, starts_s


def print_kills(
    kill: Callable[[Path, int, int], Coroutine[Any, Any, tuple[Kept, list[float]]]],
    describe: Callable[[Kept], str],
    purpose: str | None,
) -> int:
    """Run `kill` as the command line says, and print one line; return 1 if something was lost."""
    parser = argparse.ArgumentParser(description=purpose)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            kept, starts_s = asyncio.run(kill(Path(folder), options.kills, options.seed))
        except Lost as lost:
            print(f"lost: {lost}")
            return 1
    print(
        f"{options.kills} kills: {describe(kept)}; "
        f"start {statistics.median(starts_s):.2f} s, at most {max(starts_s):.2f} s"
    )
    return 0


def describe_kept(kept: Promises) -> str:
    """Return what a node has kept."""
    return (
        f"{kept.acknowledged} frames acknowledged and "
        f"{kept.passed_on} documents passed on, none lost of {len(kept.fields)}"
    )


if __name__ == "__main__":
    sys.exit(print_kills(kill_often, describe_kept, __doc__))
