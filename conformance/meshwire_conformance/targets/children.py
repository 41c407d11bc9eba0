"""Processes that the suite starts: each leads a process group, and the whole group is ended.

A command is often a shell around the program, so ending only the started process would leave the
others running, and the pipes open.

A guard, a shell in a session of its own, has the number of each group. Its standard input ends with
this process, whatever has ended it, SIGKILL included; then it removes the secrets that were written
for the groups, and kills those that are left. A started process gives its number to the guard
before it becomes the command, so that none is missed: it is a shell until then, which has the pipe
to the guard open.
"""

import asyncio
import atexit
import contextlib
import errno
import fcntl
import logging
import os
import shutil
import signal
import subprocess
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

END_S = 5.0
"""Seconds to wait for the end of a killed process."""
_OUTPUTS = (0, 1, 2)
_groups: set[int] = set()
"""Process groups that were started and have not ended yet."""
_GUARD = """
trap '' HUP INT QUIT TERM
groups=
files=
while read -r sign it; do
    if [ "$sign" = / ]; then
        files="$files$it
"
        continue
    fi
    left=
    for each in $groups; do
        [ "$each" = "$it" ] || left="$left $each"
    done
    groups=$left
    [ "$sign" = - ] || groups="$groups $it"
done
printf %s "$files" | while read -r file; do
    rm -f -- "$file" && rmdir -- "${file%/*}"
done
for group in $groups; do
    kill -s KILL -- "-$group"
done
"""
"""The guard: reads `+ GROUP`, `- GROUP` and `/ FILE` a line.

At the end of its input it removes the files and their folders, and kills the groups.
"""
_LAUNCH = 'echo "+ $$" >&{pipe}; exec {pipe}>&- "$@"'
"""What a started process does before it becomes the command."""
_PIPES = range(3, 10)
"""File descriptors that every shell can name."""

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
    _find(words[0], environment)
    watching = guard()
    pipe = -1 if watching is None or watching.stdin is None else watching.stdin.fileno()
    launch: tuple[str, ...] = ()
    if pipe in _PIPES:
        launch = ("/bin/sh", "-c", _LAUNCH.format(pipe=pipe), "sh")
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *launch,
            *words,
            pass_fds=(pipe,) if launch else (),
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


def _find(command: str, environment: Mapping[str, str] | None) -> None:
    """Raise OSError if the command cannot be run; a shell would print that, and start."""
    if shutil.which(command, path=(environment or os.environ).get("PATH")) is None:
        is_there = "/" in command and os.path.exists(command)  # noqa: PTH110 - any text
        number = errno.EACCES if is_there else errno.ENOENT
        raise OSError(number, os.strerror(number), command)


async def end(process: Process, grace_s: float, *, first: signal.Signals | None = None) -> None:
    """End a process and its group; waits at most `grace_s` and END_S seconds.

    `first` is sent to the group before the grace; without it the process is expected to end because
    its input is closed.
    """
    try:
        if process.returncode is None:
            if first is not None:
                _signal(process.pid, first)
            await gone(process, grace_s)
    finally:
        # Also if the process has ended already: processes that it started may still run.
        _signal(process.pid, signal.SIGKILL)
        forget(process.pid)
        _close_pipes(process)
        await gone(process, END_S)
        process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001 - as below


def remember(group: int) -> None:
    """Make `kill_all` and the guard end this group too; call `forget` when it has ended."""
    _groups.add(group)
    _tell_guard(f"+ {group}")


def forget(group: int) -> None:
    """Remove a group that has ended: its number may be reused by another process."""
    _groups.discard(group)
    _tell_guard(f"- {group}")


def remove_in_the_end(file: Path) -> None:
    """Make the guard remove a file, and its folder, if this process ends without doing so."""
    _tell_guard(f"/ {file}")


@cache
def guard() -> subprocess.Popen[bytes] | None:
    """Return the guard of this process, which is started at the first call; None without a shell.

    Call it before the first start, so that no time passes between a start and `remember`.
    """
    reader, writer = os.pipe()
    # As low as possible, see `_PIPES`.
    pipe = fcntl.fcntl(writer, fcntl.F_DUPFD_CLOEXEC, _PIPES.start)
    os.close(writer)
    try:
        process = subprocess.Popen(
            ("/bin/sh", "-c", _GUARD),
            stdin=reader,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
    except OSError:
        os.close(pipe)
        return None
    finally:
        os.close(reader)
    process.stdin = os.fdopen(pipe, "wb")
    atexit.register(_dismiss, process)
    return process


def _tell_guard(line: str) -> None:
    process = guard()
    if process is None:
        return
    assert process.stdin is not None
    # A guard that was killed guards nothing; the run goes on.
    with contextlib.suppress(OSError):
        process.stdin.write(f"{line}\n".encode())
        process.stdin.flush()


def _dismiss(process: subprocess.Popen[bytes]) -> None:
    """End the guard, and with it whatever it has still to kill."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        process.communicate(timeout=END_S)


def kill_all() -> None:
    """End every remembered group at once."""
    for group in tuple(_groups):
        _signal(group, signal.SIGKILL)


def _signal(group: int, number: signal.Signals) -> None:
    """Send a signal to a group, without the methods of `Process`, which may reap the process."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


async def gone(process: Process, deadline_s: float) -> None:
    """Wait for the end of a process, at most for `deadline_s` seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(deadline_s):
            await process.wait()


async def drain(output: asyncio.StreamReader, lines: deque[str]) -> None:
    """Keep the last lines of an output, so that its process never blocks on a full pipe."""
    while True:
        try:
            line = await output.readline()
        except ValueError:  # A line without an end: its beginning was dropped, go on.
            continue
        if not line:
            return
        lines.append(line.decode("utf-8", "replace").rstrip())


def _close_pipes(process: Process) -> None:
    """Close all pipes: asyncio waits for the end of a process until its pipes are read."""
    for number in _OUTPUTS:
        pipe = process._transport.get_pipe_transport(number)  # type: ignore[attr-defined]  # noqa: SLF001 - it has no public name
        if pipe is not None:
            pipe.close()
