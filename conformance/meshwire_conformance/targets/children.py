"""Processes that the suite starts: each leads a process group, and the whole group is ended.

A command is often a shell around the program, so ending only the started process would leave the
others running, and the pipes open.
"""

import asyncio
import contextlib
import logging
import os
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence

END_S = 5.0
"""Seconds to wait for the end of a killed process."""
_OUTPUTS = (0, 1, 2)
_groups: set[int] = set()
"""Process groups that were started and have not ended yet."""

# A child that an interrupt ends may be reaped before asyncio's watcher, which then logs a warning
# about its status; an interrupt must print only one line.
logging.getLogger("asyncio").setLevel(logging.ERROR)


async def start(
    words: Sequence[str],
    *,
    line_max: int,
    stdin: int = PIPE,
    environment: Mapping[str, str] | None = None,
) -> Process:
    """Start a command in a process group of its own; call `end` after it.

    Raises OSError or ValueError if it cannot be started.
    """
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *words,
            stdin=stdin,
            stdout=PIPE,
            stderr=PIPE,
            env=environment,
            limit=line_max,
            start_new_session=True,
        )
    )
    try:
        process = await asyncio.shield(starting)
    except asyncio.CancelledError:
        # No other code has a reference to this process. Ending it takes a moment only.
        await end(await starting, 0.0)
        raise
    remember(process.pid)
    return process


async def end(process: Process, grace_s: float, *, first: signal.Signals | None = None) -> None:
    """End a process and its group; waits at most `grace_s` and END_S seconds.

    `first` is sent to the group before the grace; without it the process is expected to end because
    its input is closed.
    """
    try:
        if process.returncode is None:
            if first is not None:
                _signal(process.pid, first)
            await _gone(process, grace_s)
    finally:
        # Also if the process has ended already: processes that it started may still run.
        _signal(process.pid, signal.SIGKILL)
        forget(process.pid)
        _close_pipes(process)
        await _gone(process, END_S)
        process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001 - as below


def remember(group: int) -> None:
    """Make `kill_all` end this group too; call `forget` when it has ended."""
    _groups.add(group)


def forget(group: int) -> None:
    """Remove a group that has ended: its number may be reused by another process."""
    _groups.discard(group)


def kill_all() -> None:
    """End every remembered group at once."""
    for group in tuple(_groups):
        _signal(group, signal.SIGKILL)


def _signal(group: int, number: signal.Signals) -> None:
    """Send a signal to a group, without the methods of `Process`, which may reap the process."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


async def _gone(process: Process, deadline_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(deadline_s):
            await process.wait()


def _close_pipes(process: Process) -> None:
    """Close all pipes: asyncio waits for the end of a process until its pipes are read."""
    for number in _OUTPUTS:
        pipe = process._transport.get_pipe_transport(number)  # type: ignore[attr-defined]  # noqa: SLF001 - it has no public name
        if pipe is not None:
            pipe.close()
