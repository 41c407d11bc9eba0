"""How a run of the command line ends: with an exit code, and where it fails with one clear line."""

import os
import sys
import traceback

from meshwire_conformance.commands import streams
from meshwire_conformance.commands.app import run_arguments
from meshwire_conformance.errors import SuiteError
from meshwire_conformance.verdicts import ExitCode

SHOW_TRACEBACK = "MESHWIRE_TRACEBACK"
"""Set to anything, this variable shows the whole traceback of a fault of the suite."""


def run() -> int:
    """Run the command line; returns the exit code, after one clear line instead of a traceback.

    Raises KeyboardInterrupt where a command was interrupted and has nothing to tell of it.
    """
    try:
        streams.prepare()
        return run_arguments()
    except SuiteError as exc:
        return _say(str(exc), exc.exit_code)
    except BrokenPipeError:
        # The reader has gone: nothing is left to be said.
        streams.give_up_output()
        return int(ExitCode.INCOMPLETE)
    except Exception as exc:  # noqa: BLE001 - nothing is swallowed: the run ends here, with exit 2
        if isinstance(exc, OSError) and streams.is_full(exc):
            streams.give_up_output()
            return _say(f"the output cannot be written: {exc}", ExitCode.FAULT)
        return _say(_fault_text(exc), ExitCode.FAULT)


def _fault_text(exc: Exception) -> str:
    """A mistake of the suite itself in one line; the traceback where it was asked for."""
    if SHOW_TRACEBACK in os.environ:
        traceback.print_exception(exc)
    frames = traceback.extract_tb(exc.__traceback__)
    place = f" at {os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""  # noqa: PTH119 - a text
    said = f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__
    return f"suite fault: {said[:500]}{place}; {SHOW_TRACEBACK}=1 shows where in full"


def _say(message: str, code: ExitCode) -> int:
    print(f"meshwire: {' '.join(message.split())}", file=sys.stderr)  # noqa: T201 - the command line
    return int(code)
