"""`node:COMMAND`: starts the process, reads its ready line, and ends it by its process id.

The process receives the path of a new secret file (mode 0600) in `MESHWIRE_FORMATION_FILE`. The
command decides whether it uses the secret; the dialect of the ready line says so.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import secrets
import shlex
import signal
import tempfile
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from weakref import WeakKeyDictionary

from meshwire_conformance.errors import Incomplete
from meshwire_conformance.targets import children
from meshwire_conformance.targets.base import CONTROL_HERE, MESH_HERE
from meshwire_conformance.targets.stdio import command_of, start_program, strict_json
from meshwire_spec.codec import Message, encode
from meshwire_spec.numbers import SECRET, MeshPolicy
from meshwire_spec.schemas.targets import ReadyLine
from meshwire_spec.schemas.validation import checked

READY_S = 15.0
"""Seconds until the ready line, before scaling."""
STARTS_AT_ONCE = 4
"""Nodes that start at a time: a start is work for the processor, and has a deadline."""
_starting: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()
STOP_S = 5.0
"""Seconds from SIGTERM to the end of the process."""
SECRET_VARIABLE = "MESHWIRE_FORMATION_FILE"  # noqa: S105 - the name of a variable, not a secret
SOCKET_NAME = "control.sock"
FAREWELL_S = 1.0
"""Seconds to wait for the end of the log of a node without a ready line."""
SAID_MAX = 120
"""Characters shown of a faulty ready line, and of the last line of a log."""
_EXPECTED = (
    "its first line must be one JSON object with addresses and endpoint_id, and anything else goes "
    "to stderr"
)
_LINES_KEPT = 200
"""Last lines of the log that are kept."""
LINE_MAX = 2**20
"""Bytes of the longest line that is read."""

FromLine = TypeVar("FromLine")
"""What a ready line says, as the reader of one kind of node returns it."""


@dataclass(eq=False)
class ServedProcess:
    """A running program that is to be a node; call `stop` in the end, whatever happened."""

    process: asyncio.subprocess.Process
    last_lines: deque[str] = field(default_factory=lambda: deque(maxlen=_LINES_KEPT))
    _drains: list[asyncio.Task[None]] = field(default_factory=list)

    async def become_ready(
        self, read: Callable[[bytes], FromLine], expected: str, ready_s: float
    ) -> FromLine:
        """Return what `read` finds in the ready line, which has to be as `expected`.

        Raises Incomplete if no such line comes, with the last line of the log; the program is
        stopped then.
        """
        self._drain(self.process.stderr)
        try:
            said = await _read_ready(self.process, read, expected, ready_s)
        except Incomplete as exc:
            last = await self.farewell()
            await self.stop()
            raise Incomplete(f"{exc}{': ' + last[:SAID_MAX] if last else ''}") from exc
        except BaseException:
            await self.stop()
            raise
        self._drain(self.process.stdout)
        return said

    def _drain(self, output: asyncio.StreamReader | None) -> None:
        """Read an output from now on, so that the program never blocks on a full pipe."""
        assert output is not None
        self._drains.append(asyncio.create_task(children.drain(output, self.last_lines)))

    async def farewell(self) -> str:
        """Return the last line of the log of a program that is about to be stopped, or nothing."""
        # The log of one that has ended is read to its end.
        await asyncio.wait(self._drains, timeout=FAREWELL_S)
        return next((line for line in reversed(self.last_lines) if line), "")

    async def how_ended(self, deadline_s: float) -> str:
        """Return the signal or status with which the process ended; empty if it runs on."""
        await children.gone(self.process, deadline_s)
        status = self.process.returncode
        if status is None:
            return ""
        how = f"exit status {status}"
        if status < 0:
            with contextlib.suppress(ValueError):
                how = signal.Signals(-status).name
        return how

    async def stop(self) -> None:
        """Ask the process to end, then end its process group."""
        await children.end(self.process, STOP_S, first=signal.SIGTERM)
        for drain in self._drains:
            drain.cancel()
        await asyncio.gather(*self._drains, return_exceptions=True)


@dataclass(eq=False, kw_only=True)
class NodeProcess(ServedProcess):
    """A running node with a secret of its own."""

    secret_file: Path
    folder: tempfile.TemporaryDirectory[str]
    ready: ReadyLine = field(init=False, repr=False)

    async def stop(self) -> None:
        """Ask the process to end, then end its process group and remove its secret."""
        try:
            await super().stop()
        finally:
            self.folder.cleanup()


async def start(
    command: str, environment: Mapping[str, str] | None = None, *, ready_s: float = READY_S
) -> NodeProcess:
    """Start a node and wait for its ready line.

    Raises UsageError for a command that cannot be parsed, Incomplete if no ready line comes.
    """
    async with _turn_to_start():
        return await _start(command, environment, ready_s)


def _turn_to_start() -> asyncio.Semaphore:
    """Return what lets some nodes start at a time; the others have their whole time afterwards."""
    return _starting.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(STARTS_AT_ONCE))


async def _start(
    command: str, environment: Mapping[str, str] | None, ready_s: float
) -> NodeProcess:
    folder = tempfile.TemporaryDirectory(prefix="meshwire-")
    try:
        arguments = command_of(with_folders(command, Path(folder.name)))
        secret_file = write_secret(Path(folder.name))
        children.remove_in_the_end(secret_file)
        process = await start_program(
            arguments,
            line_max=LINE_MAX,
            stdin=asyncio.subprocess.DEVNULL,
            environment={**os.environ, **(environment or {}), SECRET_VARIABLE: str(secret_file)},
        )
    except BaseException:
        folder.cleanup()
        raise
    node = NodeProcess(process, secret_file=secret_file, folder=folder)
    node.ready = await node.become_ready(_ready_line, _EXPECTED, ready_s)
    return node


def with_folders(command: str, folder: Path) -> str:
    """Return a command with paths in a folder: where it says `{control}`, and where `{mesh}`.

    The first is that of a control socket, the second a folder with the genesis of a new mesh.
    """
    if MESH_HERE in command:
        mesh = folder / "mesh"
        mesh.mkdir(0o700)
        _write_private(mesh / "genesis", encode(Message("mesh_genesis", new_genesis())))
        command = command.replace(MESH_HERE, shlex.quote(str(mesh)))
    return command.replace(CONTROL_HERE, shlex.quote(str(folder / SOCKET_NAME)))


def new_genesis() -> dict[str, object]:
    """Return the members of the genesis of a mesh that nobody else has."""
    return {
        "name": "suite",
        "root_secret": secrets.token_bytes(SECRET),
        "authority_secret": secrets.token_bytes(SECRET),
        "created_at": 1,
        "policy": int(MeshPolicy.CONTROLLED),
    }


def write_secret(folder: Path) -> Path:
    """Return the path of a file with a new random formation secret, readable by its owner only."""
    path = folder / "formation.secret"
    _write_private(path, base64.b64encode(secrets.token_bytes(SECRET)) + b"\n")
    return path


def _write_private(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


async def _read_ready(
    process: asyncio.subprocess.Process,
    read: Callable[[bytes], FromLine],
    expected: str,
    ready_s: float,
) -> FromLine:
    assert process.stdout is not None
    try:
        async with asyncio.timeout(ready_s):
            line = await process.stdout.readline()
    except TimeoutError as exc:
        raise Incomplete(
            f"the node printed no ready line within {ready_s:g} s; --timeout-scale gives it more"
        ) from exc
    except ValueError as exc:
        raise Incomplete("the ready line of the node has no end") from exc
    if not line:
        raise Incomplete("the node ended before its ready line")
    try:
        return read(line)
    except (ValueError, RecursionError) as exc:
        printed = line.decode("utf-8", "replace").strip()[:SAID_MAX]
        why = str(exc)[:SAID_MAX].removeprefix("it: ")
        raise Incomplete(
            f"the node printed {printed!r} in place of its ready line ({why}): {expected}"
        ) from exc


def _ready_line(line: bytes) -> ReadyLine:
    """Return what a ready line says; raises ValueError."""
    return checked("ready", strict_json(line), ReadyLine)
