"""Three nodes of `oplog/1` as processes, with links that a test can cut."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from meshwire_reference.testing.commands import NodeProcess

SHAPES = {"line": ((0, 1), (2, 1)), "mesh": ((0, 1), (1, 2), (2, 0))}
"""Which node dials which other one."""
LISTEN = "ws://127.0.0.1:0"
ENDPOINT = "/crdt-sync"
LINE_MAX = 2**28
LIMIT_S = 600
"""Seconds after which a test hangs; nothing takes as long."""
# Of this number of operations the first inserts a record, and the others set a field of it.
SET_EVERY = 4


class CutLink:
    """A way from one node to another, which `cut` ends; what is dialled afterwards passes again."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.opened = 0
        self._has_opened = asyncio.Event()

    async def open(self) -> str:
        """Return the address that leads to the node."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        return f"ws://127.0.0.1:{port}{ENDPOINT}"

    def cut(self) -> None:
        """End every connection, without a close frame."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def until_opened(self, times: int) -> None:
        """Wait until this link has been dialled so often."""
        async with asyncio.timeout(LIMIT_S):
            while self.opened < times:
                self._has_opened.clear()
                await self._has_opened.wait()

    async def gone(self) -> None:
        """Wait until every connection has ended, after `close`."""
        async with asyncio.timeout(LIMIT_S):
            while self._tasks:
                await asyncio.wait(self._tasks)

    def close(self) -> None:
        """End everything."""
        if self._server is not None:
            self._server.close()
        self.cut()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            # The node is not there yet: who dials comes again.
            writer.close()
            return
        both = {writer, onward_writer}
        self._writers |= both
        if self._server is not None and not self._server.is_serving():
            # It was closed while the node was dialled.
            self.cut()
        self.opened += 1
        self._has_opened.set()
        ways = (_pump(reader, onward_writer), _pump(onward_reader, writer))
        await asyncio.gather(*ways, return_exceptions=True)
        self._writers -= both


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(2**16):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


class OpsControl:
    """The control socket of one node, over one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def to(cls, path: Path) -> Self:
        """Connect to a node."""
        return cls(*await asyncio.open_unix_connection(path, limit=LINE_MAX))

    async def ask(self, **request: Any) -> Any:
        """Return the result of a request; raise AssertionError for an error."""
        self._writer.write(json.dumps(request).encode() + b"\n")
        reply = json.loads(await self._reader.readline())
        assert "result" in reply, reply
        return reply["result"]

    def close(self) -> None:
        """End the connection."""
        self._writer.close()


class OplogMesh:
    """Three nodes with stores of their own, linked in a shape; to be used with `async with`."""

    def __init__(self, folder: Path, shape: str) -> None:
        self._folder = folder
        self._shape = SHAPES[shape]
        self._stack = ExitStack()
        self.links: list[CutLink] = []
        self.controls: list[OpsControl] = []
        self.addresses: list[str] = []

    async def __aenter__(self) -> Self:
        """Start the nodes: one that is dialled before those that dial it."""
        addresses: dict[int, str] = {}
        ports: dict[int, int] = {}
        waiting: dict[int, CutLink] = {}
        found: dict[int, OpsControl] = {}
        for number in (1, 2, 0):
            options = ["--listen", LISTEN, "--data", str(self._folder / f"data-{number}")]
            for dialler, other in self._shape:
                if dialler == number:
                    link = CutLink(ports.get(other, 0))
                    self.links.append(link)
                    waiting[other] = link
                    options += ["--rendezvous", await link.open()]
            node = NodeProcess(self._folder / f"node-{number}", *options)
            self._stack.enter_context(node)
            addresses[number] = node.address
            ports[number] = int(node.address.rpartition(":")[2].partition("/")[0])
            for link in self.links:
                if waiting.get(number) is link:
                    link._port = ports[number]  # noqa: SLF001 - its target has just started
            found[number] = await OpsControl.to(node.control)
        self.controls = [found[number] for number in range(3)]
        self.addresses = [addresses[number] for number in range(3)]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop the nodes."""
        for control in self.controls:
            control.close()
        for link in self.links:
            link.close()
        for link in self.links:
            await link.gone()
        self._stack.close()

    async def write(self, count: int, each: Callable[[int], None]) -> None:
        """Let the three write `count` operations between them; `each` is called after every one.

        Of four one inserts a node record, and three set a field of the last own one.
        """
        await asyncio.gather(*(self._author(n, count // 3, each) for n in range(3)))

    async def _author(self, number: int, count: int, each: Callable[[int], None]) -> None:
        control = self.controls[number]
        own = ""
        for turn in range(count):
            if turn % SET_EVERY == 0:
                record = {
                    "node_id": f"{number}.{turn}", "address": "ws://h:1", "last_seen": 0.0,
                    "last_seen_ms": None, "alive": True,
                }  # fmt: skip
                own = await control.ask(op="insert", path="nodes", value=record)
            else:
                await control.ask(op="set", path=f"nodes/{own}/last_seen", value=float(turn))
            each(turn)

    async def views(self) -> list[Any]:
        """Return the document of each node."""
        return await asyncio.gather(*(control.ask(op="view") for control in self.controls))
