"""Errors of the suite itself: each ends the run with one line and its exit code."""

import os
import traceback
from typing import ClassVar

from meshwire_conformance.verdicts import ExitCode


class SuiteError(Exception):
    """Root of the suite's own errors; `exit_code` is what the process ends with."""

    exit_code: ClassVar[ExitCode] = ExitCode.FAULT


class UsageError(SuiteError):
    """The caller's request is invalid: a bad option, file or target. Exit 2."""


class SuiteFault(SuiteError):
    """The suite contradicts itself: a broken vector, an id used twice. Exit 2."""


class Incomplete(SuiteError):
    """Nothing could be judged: nothing selected, no peer, a prerequisite missing. Exit 3."""

    exit_code = ExitCode.INCOMPLETE


class Interrupted(SuiteError):
    """The run was interrupted, so that it has no verdict. Exit 2."""


def fault_text(exc: Exception) -> str:
    """Return an unexpected exception as one line: type, text, and the place that raised it."""
    frames = traceback.extract_tb(exc.__traceback__)
    place = f" at {os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""  # noqa: PTH119 - a text
    said = f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__
    return f"{said[:500]}{place}"
