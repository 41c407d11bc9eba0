"""Start and end of the process: interrupts, streams, old reports, orderly ends of interrupted runs.

Theory: outside a run there is nothing to clean up, so an interrupt ends the process at once, and no
half-loaded module can print a traceback. Within a run the first interrupt cancels it, the second
kills the processes it has started, the third ends this process. This module is loaded before all
others, so it imports almost nothing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import stat
import sys
from itertools import pairwise
from typing import TYPE_CHECKING, NoReturn, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence
    from types import FrameType
    from typing import Any

Result = TypeVar("Result")

EXIT = 2
"""Exit code of an interrupted process; equals that of `errors.Interrupted`."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PATIENCE = 2
"""Number of interrupts that are handled; one more ends the process at once."""
REPORT_BEGINS: Mapping[str, bytes] = {
    "junit": b"<?xml",
    "json": b"{",
    "html": b"<!doctype html>",
    "markdown": b"## meshwire: ",
    "github": b"::",
    "sarif": b"{",
    "badge": b"<svg ",
}
"""The first bytes of a report, by format."""
_LINE = b"meshwire: interrupted\n"
_UNTOUCHED = (signal.SIG_DFL, signal.default_int_handler)
_UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF})
_UNUSABLE = frozenset({errno.ENAMETOOLONG, errno.EACCES, errno.EPERM, errno.ELOOP})
_LAST = 2
"""File descriptor of the last standard stream."""


def take_interrupts() -> None:
    """Make Ctrl-C, SIGTERM and SIGHUP end this process with one line; for command lines only.

    A shell makes commands started with `&` ignore Ctrl-C, and `nohup` makes one ignore SIGHUP;
    both settings are kept.
    """
    for number in SIGNALS:
        if signal.getsignal(number) in _UNTOUCHED:
            signal.signal(number, end)


def ignore_interrupts() -> None:
    """Ignore interrupts from now on: the process is about to end."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def end(_number: int = 0, _frame: FrameType | None = None) -> NoReturn:
    """End the process at once."""
    os.write(2, _LINE)
    os._exit(EXIT)


def run_interruptibly(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine to its end, as `asyncio.run` does; an interrupt cancels it.

    Raises KeyboardInterrupt if it was interrupted, after everything that it had started is ended,
    whatever the coroutine returned or raised.
    """
    import asyncio  # noqa: PLC0415 - heavy, and this module is loaded first

    from meshwire_conformance.targets import children  # noqa: PLC0415 - as above

    came: list[int] = []
    try:
        result = asyncio.run(_watched(work, came))
    except BaseException:
        if not came:
            raise
    if not came:
        return result
    # Normally nothing is left; an interrupt between two statements above can leave processes.
    children.kill_all()
    raise KeyboardInterrupt


async def _watched(work: Coroutine[Any, Any, Result], came: list[int]) -> Result:
    """Await the work; interrupts are appended to `came`, unless another handler takes them."""
    import asyncio  # noqa: PLC0415 - as above

    from meshwire_conformance.targets import children  # noqa: PLC0415 - as above

    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def interrupted(number: int) -> None:
        came.append(number)
        if len(came) > PATIENCE:
            end()
        if len(came) == 1:
            task.cancel()
            return
        # The work ends once these processes end, so they are killed at once.
        children.kill_all()

    ours = [number for number in SIGNALS if signal.getsignal(number) is end]
    for number in ours:
        loop.add_signal_handler(number, interrupted, number)
    try:
        return await work
    finally:
        for number in ours:
            loop.remove_signal_handler(number)
            signal.signal(number, end)


def withdraw_reports(arguments: Sequence[str]) -> None:
    """Remove the reports of an earlier run that this command line is to write anew.

    A run that ends without a report, however it ends, then leaves none that looks like its own.
    Files that do not begin like a report are left alone, and so is everything but regular files.
    """
    if arguments[1:2] != ["check"] or "--list" in arguments or "--help" in arguments:
        return
    option = "--report"
    given = [word.removeprefix(f"{option}=") for word in arguments if word.startswith(f"{option}=")]
    given += [word for before, word in pairwise(arguments) if before == option]
    for text in given:
        form, _, path = text.partition("=")
        if form in REPORT_BEGINS:
            _remove_beginning(path, REPORT_BEGINS[form])


def _remove_beginning(path: str, begins: bytes) -> None:
    """Remove a regular file that begins so; if that fails, writing the new report says why."""
    with contextlib.suppress(OSError, ValueError):
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return
        with open(path, "rb") as file:  # noqa: PTH123 - this module is loaded first
            is_report = file.read(len(begins)) == begins
        if is_report:
            os.unlink(path)  # noqa: PTH108 - as above


def prepare_streams() -> None:
    """Make standard output and error accept any text; raises UsageError for a closed output."""
    from io import RawIOBase, TextIOWrapper  # noqa: PLC0415 - this module is loaded first

    if sys.stdout is None or sys.stderr is None:
        _fill_streams()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, TextIOWrapper):
            continue
        if isinstance(stream.buffer, RawIOBase):
            # PYTHONUNBUFFERED: such a stream drops what one write to the system leaves over, and
            # a reader that has gone goes unnoticed.
            stream = open(  # noqa: SIM115 - this module is loaded first; open to the end
                stream.fileno(), "w", buffering=-1, encoding=stream.encoding, closefd=False
            )
            vars(sys).update({name: stream, f"__{name}__": stream})
            stream.reconfigure(line_buffering=True)
        # A lone surrogate, from a file name for example, has no encoding.
        stream.reconfigure(errors="backslashreplace")


def _fill_streams() -> None:
    """Open the null device for closed streams, so that later files do not take their numbers."""
    from meshwire_conformance.errors import UsageError  # noqa: PLC0415 - this module is loaded first

    is_mute = sys.stdout is None
    while (number := os.open(os.devnull, os.O_RDWR)) <= _LAST:
        pass
    os.close(number)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
    if is_mute:
        raise UsageError("standard output is closed: the report cannot be written")


def give_up_output() -> None:
    """Discard buffered output that cannot be written, so that the exit does not retry it."""
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is None:
            continue
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def is_full(fault: OSError) -> bool:
    """Return True if the error says that a stream or file cannot be written."""
    return fault.errno in _UNWRITABLE


def is_path_fault(fault: OSError) -> bool:
    """Return True if the error says that the name of a file that was given is of no use."""
    return fault.filename is not None and fault.errno in _UNUSABLE
