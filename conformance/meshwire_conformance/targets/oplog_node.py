"""`oplog-node:COMMAND`: starts a node of `oplog/1`, reads its ready line, and ends it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import deque
from dataclasses import dataclass, field

from meshwire_conformance.errors import Incomplete
from meshwire_conformance.targets import children
from meshwire_conformance.targets.stdio import command_of, start_program, strict_json

READY_S = 15.0
STOP_S = 5.0
LINE_MAX = 2**20
LINES_KEPT = 50
SAID_MAX = 120


@dataclass(eq=False, slots=True)
class OplogProcess:
    """A running node; call `stop` in the end, whatever happened."""

    process: asyncio.subprocess.Process
    address: str = ""
    log: deque[str] = field(default_factory=lambda: deque(maxlen=LINES_KEPT))
    _drains: list[asyncio.Task[None]] = field(default_factory=list)

    def drain(self, output: asyncio.StreamReader | None) -> None:
        """Read an output from now on, so that the node never blocks on a full pipe."""
        assert output is not None
        self._drains.append(asyncio.create_task(children.drain(output, self.log)))

    @property
    def has_ended(self) -> bool:
        """True if the process is over, which it should not be."""
        return self.process.returncode is not None

    async def stop(self) -> None:
        """Ask the process to end, then end its group."""
        await children.end(self.process, STOP_S, first=signal.SIGTERM)
        for task in self._drains:
            task.cancel()
        await asyncio.gather(*self._drains, return_exceptions=True)


async def start_oplog(command: str, scale: float) -> OplogProcess:
    """Start a node and wait for its ready line; raise UsageError or Incomplete."""
    words = command_of(command)
    process = await start_program(
        words, line_max=LINE_MAX, stdin=asyncio.subprocess.DEVNULL, environment={**os.environ}
    )
    node = OplogProcess(process)
    node.drain(process.stderr)
    try:
        node.address = await _ready(process, READY_S * max(1.0, scale))
    except BaseException as exc:
        await node.stop()
        if isinstance(exc, Incomplete) and node.log:
            raise Incomplete(f"{exc}: {node.log[-1][:SAID_MAX]}") from exc
        raise
    node.drain(process.stdout)
    return node


async def _ready(process: asyncio.subprocess.Process, ready_s: float) -> str:
    assert process.stdout is not None
    try:
        async with asyncio.timeout(ready_s):
            line = await process.stdout.readline()
    except (TimeoutError, ValueError) as exc:
        raise Incomplete(f"the node printed no ready line within {ready_s:g} s") from exc
    try:
        address = strict_json(line)["addresses"][0]
    except (ValueError, RecursionError, TypeError, KeyError, IndexError) as exc:
        printed = line.decode("utf-8", "replace").strip()[:SAID_MAX]
        raise Incomplete(
            f"the node printed {printed!r} in place of its ready line: "
            'its first line must be one JSON object, as {"addresses": ["ws://HOST:PORT/crdt-sync"]}'
        ) from exc
    return str(address)
