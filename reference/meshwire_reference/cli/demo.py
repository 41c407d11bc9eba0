"""`meshwire-node demo`: three nodes on this machine, a document written on each, read on all three.

The nodes are processes, and everything goes through their control sockets, as an operator would do
it. On a terminal a table shows which node has which document; elsewhere each step is a line.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from meshwire_reference.cli.keys import new_secret
from meshwire_reference.cli.run import fail
from meshwire_reference.cli.run_options import SECRET_VARIABLE
from meshwire_reference.control.messages import AnyRequest, Connect, Put, Watch, encode_request
from meshwire_reference.store.private_files import write_private

NODES: Final = 3
FORMATION: Final = "three-node-mesh"
COLLECTION: Final = "mesh_test"
COMMAND: Final = (sys.executable, "-P", "-m", "meshwire_reference.cli", "run")
LISTEN: Final = ("--listen", "tcp://127.0.0.1:0", "--formation-id", FORMATION)
LINE_MAX: Final = 2**20


@dataclass(slots=True)
class DemoNode:
    """One of the three: its process, its socket, and the documents that it was seen to have."""

    name: str
    process: Process
    address: str
    control: Path
    documents: dict[str, dict[str, Any]] = field(default_factory=dict)

    async def ask(self, request: AnyRequest) -> dict[str, Any]:
        """Send a request over a connection of its own and return the reply."""
        reader, writer = await asyncio.open_unix_connection(str(self.control), limit=LINE_MAX)
        try:
            writer.write(encode_request(request))
            line = await reader.readline()
        finally:
            writer.close()
            await writer.wait_closed()
        if not line.endswith(b"\n"):
            raise DemoFailed(f"{self.name} has gone away")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise DemoFailed(f"{self.name}: {reply['error']['message']}")
        return reply

    async def watch(self, note: Callable[[], None]) -> None:
        """Keep `documents` up to date until the task is cancelled."""
        reader, writer = await asyncio.open_unix_connection(str(self.control), limit=LINE_MAX)
        try:
            writer.write(encode_request(Watch(id=1, collection=COLLECTION)))
            async for line in reader:
                event = json.loads(line)["event"]
                for document in event.get("initial", [event.get("updated")]):
                    if document is not None:
                        self.documents[document["document"]] = document["fields"]
                note()
        finally:
            writer.close()
            await writer.wait_closed()


class DemoFailed(Exception):
    """The demo cannot go on; the text is one line."""


class Screen:
    """What the user sees: a table on a terminal, lines elsewhere."""

    def __init__(self, console: Console, nodes: list[DemoNode]) -> None:
        self._nodes = nodes
        self._console = console
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._said: set[tuple[str, str]] = set()

    def say(self, line: str) -> None:
        """Print a line."""
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def show(self) -> None:
        """Show what has changed."""
        if self._live is not None:
            self._live.update(self._table(), refresh=True)
            return
        for node in self._nodes:
            for name, fields in node.documents.items():
                if (node.name, name) not in self._said:
                    self._said.add((node.name, name))
                    self.say(f"{node.name} has {name} {json.dumps(fields)}")

    def _table(self) -> Table:
        table = Table("document", *(node.name for node in self._nodes))
        names = sorted({name for node in self._nodes for name in node.documents})
        for name in names:
            held = (node.documents.get(name) for node in self._nodes)
            table.add_row(name, *("-" if one is None else json.dumps(one) for one in held))
        return table

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._live is not None:
            self._live.stop()


async def start_node(name: str, folder: Path, secret: Path) -> DemoNode:
    """Start a node with a store of its own. Raises DemoFailed if it does not get ready."""
    folder.mkdir()  # noqa: ASYNC240 - at once, before anything else runs
    control = folder / "node.sock"
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            *LISTEN,
            "--data",
            str(folder / "data"),
            "--control",
            str(control),
            stdout=PIPE,
            stderr=log,
            env=os.environ | {SECRET_VARIABLE: str(secret)},
        )
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line:
        await process.wait()
        said = (folder / "log").read_text("utf-8", "replace").strip()
        raise DemoFailed(f"{name} does not start: {said}")
    return DemoNode(name, process, json.loads(line)["addresses"][0], control)


async def stop_node(node: DemoNode) -> None:
    """End a node."""
    if node.process.returncode is None:
        node.process.send_signal(signal.SIGTERM)
    await node.process.wait()


async def run_demo(folder: Path, console: Console) -> None:
    """Start three nodes, connect each with both others, write on each, and wait for all."""
    secret = folder / "secret.txt"
    write_private(secret, new_secret().encode())
    async with AsyncExitStack() as stack:
        nodes = []
        for number in range(1, NODES + 1):
            node = await start_node(f"node {number}", folder / f"node-{number}", secret)
            stack.push_async_callback(stop_node, node)
            nodes.append(node)
        screen = Screen(console, nodes)
        for node in nodes:
            screen.say(f"{node.name} listens on {node.address}")
        for node in nodes:
            for other in nodes:
                if other is not node:
                    await node.ask(Connect(id=1, address=other.address))
        screen.say("every node has dialled both others")
        await converge(nodes, screen)


async def converge(nodes: list[DemoNode], screen: Screen) -> None:
    """Write a document on each node, and return when all three have all of them in full."""
    changed = asyncio.Event()
    watches = [asyncio.ensure_future(node.watch(changed.set)) for node in nodes]
    wanted = {
        f"document-{number}": {"source": node.name, "value": 111 * number, "tags": ["mesh", number]}
        for number, node in enumerate(nodes, 1)
    }
    try:
        with screen:
            since_s = time.monotonic()
            for node, (name, fields) in zip(nodes, wanted.items(), strict=True):
                put = Put(id=1, collection=COLLECTION, document=name, fields=fields)
                await node.ask(put)
            while any(node.documents != wanted for node in nodes):
                waiting = asyncio.ensure_future(changed.wait())
                await asyncio.wait((waiting, *watches), return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
                changed.clear()
                screen.show()
                for watch in watches:
                    if watch.done():
                        raise DemoFailed("a node has gone away")
            took_s = time.monotonic() - since_s
        screen.show()
        screen.say(f"all {len(nodes)} nodes have all {len(wanted)} documents, {took_s:.2f} s")
    finally:
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*watches, return_exceptions=True)


def demo() -> None:
    """Start three nodes, write a document on each, and show how all three get all of them.

    Example: meshwire-node demo
    """
    console = Console()
    with tempfile.TemporaryDirectory(prefix="meshwire-demo-") as folder:
        try:
            asyncio.run(run_demo(Path(folder), console))
        except (DemoFailed, OSError) as exc:
            fail(str(exc))
        except KeyboardInterrupt:
            raise typer.Exit(0) from None
