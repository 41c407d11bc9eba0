"""Meshes of `bench mesh` as processes: nodes, and between them relays with latency and loss.

A relay passes on the bytes of a connection in their order. Of each packet of what it reads it draws
how often it has to be sent, as the simulator does, and the bytes after them wait, as on TCP.
Bytes are what the nodes count as sent; what a relay sends again is not in them.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from base64 import b64decode
from contextlib import AsyncExitStack, suppress
from itertools import chain
from pathlib import Path
from random import Random
from typing import Any, Final
from urllib.parse import quote, urlsplit

from meshwire_reference.cli.demo import DemoFailed, DemoNode, stop_node
from meshwire_reference.cli.keys import new_secret
from meshwire_reference.control.messages import Connect, Put, Stats, Watch, encode_request
from meshwire_reference.node.config import endpoint_id_of
from meshwire_reference.simulation.mesh_convergence import (
    COLLECTION,
    PACKET,
    RESENT_AFTER,
    Circumstances,
    Measured,
    NotConverged,
    Reconciling,
)
from meshwire_reference.store.private_files import write_private

COMMAND: Final = (sys.executable, "-P", "-m", "meshwire_reference.cli", "run")
OPTIONS: Final = ("--listen", "tcp://127.0.0.1:0", "--open", "--heartbeat-s", "0")
LINE_MAX: Final = 2**24
CHUNK: Final = 2**16
WAITING_MAX: Final = 64
"""Chunks that a relay holds; it reads no more meanwhile."""
LIMIT_S: Final = 600.0
"""Seconds after which a mesh is given up."""


class Relay:
    """Stands between the two nodes of a link."""

    def __init__(self, target: str, circumstances: Circumstances, chance: Random) -> None:
        place = urlsplit(target)
        assert place.hostname is not None
        assert place.port is not None
        self._target = place.hostname, place.port
        self._latency_s = circumstances.latency_ms / 1000
        self._loss = circumstances.loss
        self._chance = chance
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> str:
        """Begin to serve, and return the address."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return f"tcp://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """End every connection."""
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        writers = [writer]
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
            writers.append(far_writer)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, far_writer))
                group.create_task(self._pump(far_reader, writer))
        except (OSError, ExceptionGroup, asyncio.CancelledError):
            # A node is gone, and so is the connection to the other one; or the run is over.
            pass
        finally:
            self._tasks.discard(task)
            for one in writers:
                one.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        chunks: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(WAITING_MAX)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._write(chunks, writer))
            loop = asyncio.get_running_loop()
            while data := await reader.read(CHUNK):
                await chunks.put((loop.time() + self._delay_s(len(data)), data))
            await chunks.put((loop.time() + self._latency_s, b""))

    async def _write(
        self, chunks: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter
    ) -> None:
        loop = asyncio.get_running_loop()
        while True:
            at_s, data = await chunks.get()
            await asyncio.sleep(max(0.0, at_s - loop.time()))
            if not data:
                break
            writer.write(data)
            await writer.drain()
        with suppress(OSError):
            writer.write_eof()

    def _delay_s(self, size: int) -> float:
        most = 0
        for _ in range(0, size, PACKET):
            again = 0
            while self._chance.random() < self._loss:
                again += 1
            most = max(most, again)
        return self._latency_s * (1 + most * RESENT_AFTER)


def _options(circumstances: Circumstances, number: int, keys: list[Path]) -> list[str]:
    """Return the options of a node for what it finds out of its peers."""
    match circumstances.reconciles:
        case Reconciling.KEYS:
            return ["--reconcile"]
        case Reconciling.HEADS:
            secrets = [b64decode(path.read_bytes()) for path in keys]
            others = [one for at, one in enumerate(secrets) if at != number]
            named = [["--reconcile-heads-with", endpoint_id_of(one).hex()] for one in others]
            return ["--endpoint-key-file", str(keys[number]), *chain.from_iterable(named)]
        case _:
            return []


def _save_keys(circumstances: Circumstances, folder: Path) -> list[Path]:
    """Make the key of the endpoint of each node."""
    keys = [folder / f"n{number}.key" for number in range(circumstances.peers)]
    for path in keys:
        write_private(path, new_secret().encode())
    return keys


async def start_node(name: str, folder: Path, documents: Path, *options: str) -> DemoNode:
    """Start a node on the documents. Raises NotConverged if it does not get ready."""
    control = folder / f"{name}.sock"
    process: Process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *OPTIONS,
        *options,
        "--load",
        str(documents),
        "--control",
        str(control),
        stdout=PIPE,
        stderr=DEVNULL,
        env=dict(os.environ),
    )
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line:
        await process.wait()
        raise NotConverged(f"{name} does not start")
    return DemoNode(name, process, json.loads(line)["addresses"][0], control)


async def _await_changes(node: DemoNode, wanted: dict[str, int]) -> None:
    """Return once a node has every change."""
    reader, writer = await asyncio.open_unix_connection(str(node.control), limit=LINE_MAX)
    left = dict(wanted)
    try:
        writer.write(encode_request(Watch(id=1, collection=COLLECTION)))
        while left:
            line = await reader.readline()
            if not line.endswith(b"\n"):
                raise NotConverged(f"{node.name} has gone away")
            event = json.loads(line)["event"]
            for document in event.get("initial", [event.get("updated")]):
                name = document and document["document"]
                if name in left and document["fields"].get("changed") == left[name]:
                    del left[name]
    finally:
        writer.close()


async def _sent_bytes(nodes: list[DemoNode]) -> int:
    return sum([(await node.ask(Stats(id=1)))["stats"]["sent_bytes"] for node in nodes])


def _save_documents(circumstances: Circumstances, folder: Path) -> None:
    folder.mkdir(parents=True)
    for key, write in circumstances.beginning():
        (folder / f"{quote(key, safe='')}.automerge").write_bytes(write.snapshot or b"")


async def _run(circumstances: Circumstances, seed: int, folder: Path) -> Measured:
    _save_documents(circumstances, folder / "documents")
    keys = _save_keys(circumstances, folder)
    async with AsyncExitStack() as stack:
        nodes = []
        for number in range(circumstances.peers):
            options = _options(circumstances, number, keys)
            node = await start_node(f"n{number}", folder, folder / "documents", *options)
            stack.push_async_callback(stop_node, node)
            nodes.append(node)
        wanted = {}
        for document, at in circumstances.changed_at(seed).items():
            fields: dict[str, Any] = {"changed": at}
            name = f"d{document}"
            await nodes[at].ask(Put(id=1, collection=COLLECTION, document=name, fields=fields))
            wanted[name] = at
        relays = []
        for one, other in circumstances.links:
            chance = Random(f"link {seed} {one} {other}")  # noqa: S311 - a seed, no secret
            relay = Relay(nodes[other].address, circumstances, chance)
            relays.append((nodes[one], await relay.open()))
            stack.push_async_callback(relay.close)
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        dials = [node.ask(Connect(id=1, address=address)) for node, address in relays]
        async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as group:
            for dial in dials:
                group.create_task(dial)
            for node in nodes:
                group.create_task(_await_changes(node, wanted))
        return Measured(loop.time() - began_s, await _sent_bytes(nodes), None, None)


def measure_processes(circumstances: Circumstances, seed: int, folder: Path) -> Measured:
    """Return what one run of nodes as processes measures. Raises NotConverged."""
    try:
        return asyncio.run(_run(circumstances, seed, folder))
    except* (DemoFailed, NotConverged) as failed:
        raise NotConverged(str(failed.exceptions[0])) from failed
    except* TimeoutError as failed:
        raise NotConverged(f"no convergence in {LIMIT_S:g} s") from failed
