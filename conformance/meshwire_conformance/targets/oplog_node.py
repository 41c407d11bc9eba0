"""`oplog-node:COMMAND`: starts a node of `oplog/1`, and reads the address of its ready line."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from meshwire_conformance.targets.node import LINE_MAX, READY_S, ServedProcess, with_folders
from meshwire_conformance.targets.stdio import command_of, start_program, strict_json

_EXPECTED = 'its first line must be one JSON object, as {"addresses": ["ws://HOST:PORT/crdt-sync"]}'
TEXT_MAX = 200
"""Characters of an answer that are shown."""
TEST_CONTROL = "test-control"
"""Capability of a node whose control socket moves the clock of its mesh."""


class NotCarriedOut(Exception):
    """The node refuses what its user asks for; the text is what it says."""


class BadAnswer(Exception):
    """The control socket does not do what it was asked for; the text says why."""


@dataclass(eq=False)
class OplogControl:
    """The control socket of a node that was started for tests."""

    path: Path
    ahead_s: float = 0.0
    """How far the clock of its mesh was put forward."""

    @property
    def now_ms(self) -> float:
        """The time of its mesh, in ms since 1970."""
        return (time.time() + self.ahead_s) * 1000

    async def advance(self, seconds: float, deadline_s: float) -> None:
        """Put the clock of its mesh forward; raise BadAnswer, NotCarriedOut or TimeoutError."""
        await self._ask("clock", seconds, deadline_s)
        self.ahead_s += seconds

    async def begin(self, cap: int, deadline_s: float) -> None:
        """Let it begin with its mesh anew; raise BadAnswer, NotCarriedOut or TimeoutError."""
        await self._ask("mesh", cap, deadline_s)

    async def _ask(self, do: str, amount: float, deadline_s: float) -> None:
        try:
            async with asyncio.timeout(deadline_s):
                reader, writer = await asyncio.open_unix_connection(str(self.path), limit=LINE_MAX)
                try:
                    writer.write(json.dumps({"op": do, "amount": amount}).encode() + b"\n")
                    await writer.drain()
                    answer = strict_json(await reader.readuntil(b"\n"))
                finally:
                    writer.close()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as exc:
            raise BadAnswer(f"no answer of the control socket to `{do}`: {exc}") from exc
        except ValueError as exc:
            raise BadAnswer(f"the answer to `{do}` is no JSON: {exc}") from exc
        if isinstance(answer, dict) and isinstance(answer.get("error"), str):
            raise NotCarriedOut(f"the target refuses `{do}`: {answer['error'][:TEXT_MAX]}")
        if not isinstance(answer, dict) or "result" not in answer:
            raise BadAnswer(f"`{do}` is not carried out: {str(answer)[:TEXT_MAX]}")


@dataclass(eq=False)
class OplogProcess(ServedProcess):
    """A running node of `oplog/1`; `control` is None unless it was started for tests."""

    address: str = ""
    control: OplogControl | None = None
    folder: tempfile.TemporaryDirectory[str] | None = field(default=None, repr=False)

    async def stop(self) -> None:
        """Ask the process to end, then end its process group."""
        try:
            await super().stop()
        finally:
            if self.folder is not None:
                self.folder.cleanup()


async def start_oplog(command: str, scale: float) -> OplogProcess:
    """Start a node and wait for its ready line; raise UsageError or Incomplete."""
    folder = tempfile.TemporaryDirectory(prefix="meshwire-")
    try:
        process = await start_program(
            command_of(with_folders(command, Path(folder.name))),
            line_max=LINE_MAX,
            stdin=asyncio.subprocess.DEVNULL,
            environment={**os.environ},
        )
    except BaseException:
        folder.cleanup()
        raise
    node = OplogProcess(process, folder=folder)
    node.address, node.control = await node.become_ready(
        _facts_of, _EXPECTED, READY_S * max(1.0, scale)
    )
    return node


def _facts_of(line: bytes) -> tuple[str, OplogControl | None]:
    """Return the first address of a ready line, and its control socket; raises ValueError."""
    said = strict_json(line)
    try:
        address = str(said["addresses"][0])
    except (TypeError, KeyError, IndexError) as exc:
        raise ValueError("it has no addresses") from exc
    path, capabilities = said.get("control"), said.get("capabilities")
    if not isinstance(path, str) or not isinstance(capabilities, list):
        return address, None
    return address, OplogControl(Path(path)) if TEST_CONTROL in capabilities else None
