"""What an interrupt does, by Ctrl-C or SIGTERM: one line, exit 2, nothing left running.

Theory: outside a run there is nothing to clean up, so the process ends where it stands, which no
half-loaded module can turn into a traceback. What it does in a run is in `interruptible`. This
module is loaded before everything else, so it imports almost nothing.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from types import FrameType

EXIT = 2
"""Exit code of a process that was interrupted; that of `errors.Interrupted`."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)
_LINE = b"meshwire: interrupted\n"
_UNTOUCHED = (signal.SIG_DFL, signal.default_int_handler)


def prepare() -> None:
    """Let an interrupt end this process; for a command line alone, since it is then ours.

    A shell lets commands behind `&` ignore Ctrl-C, and that is left as it is.
    """
    for number in SIGNALS:
        if signal.getsignal(number) in _UNTOUCHED:
            signal.signal(number, end)


def ignore() -> None:
    """Let nothing interrupt the end of the process any more."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def end(_number: int = 0, _frame: FrameType | None = None) -> NoReturn:
    """End the process where it stands."""
    os.write(2, _LINE)
    os._exit(EXIT)
