"""The command's own standard streams: closed or full ones, and odd text.

Nothing of this may end in a traceback, for its exit code is that of a target which breaks rules.
"""

import io
import os
import sys
from errno import EBADF, EDQUOT, EFBIG, EIO, ENOSPC

from meshwire_conformance.errors import UsageError

_UNWRITABLE = frozenset({ENOSPC, EDQUOT, EFBIG, EIO, EBADF})
_LAST = 2
"""Number of the last standard stream."""


def prepare() -> None:
    """Make the streams take any text; raises UsageError where standard output is closed."""
    if sys.stdout is None or sys.stderr is None:
        _fill()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Half a surrogate, from a file name say, can be written in no encoding.
            stream.reconfigure(errors="backslashreplace")


def _fill() -> None:
    """Put nothing in the places of closed streams, or the next file opened would take them."""
    is_mute = sys.stdout is None
    while (number := os.open(os.devnull, os.O_RDWR)) <= _LAST:
        pass
    os.close(number)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
    if is_mute:
        raise UsageError("standard output is closed: there is nowhere to report to")


def give_up_output() -> None:
    """Drop what standard output does not take: the exit must not try it again."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def is_full(fault: OSError) -> bool:
    """Whether it is that something cannot be written."""
    return fault.errno in _UNWRITABLE
