"""The line on a terminal that counts the cases that are over while others still run."""

import time
from collections.abc import Callable, Mapping
from typing import TextIO

from meshwire_conformance.verdicts import CaseResult

EVERY_S = 0.05
"""The line is written no more often than this, in seconds."""


class ProgressLine:
    """One line, written over itself; plain text without colour, so that NO_COLOR holds as it is."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._width = 0
        self._next = clock()

    def __call__(self, result: CaseResult, done: int, total: int) -> None:
        """A case is over."""
        now = self._clock()
        if now < self._next and done < total:
            return
        self._next = now + EVERY_S
        self._write(f"{done}/{total} cases, {result.case}")

    def clear(self) -> None:
        """Leave an empty line to whatever is written next."""
        if self._width:
            self._write("")
            self._stream.write("\r")
            self._stream.flush()

    def _write(self, text: str) -> None:
        self._stream.write(f"\r{text:<{self._width}}")
        self._stream.flush()
        self._width = len(text)


def progress_on(stream: TextIO, environment: Mapping[str, str]) -> ProgressLine | None:
    """A line on this stream where it is a terminal that can go back in a line, else None."""
    if not stream.isatty() or environment.get("TERM") == "dumb":
        return None
    return ProgressLine(stream)
