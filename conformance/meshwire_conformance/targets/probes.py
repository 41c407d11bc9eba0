"""Probes: questions to a target beside a repetition, which show whether the target is slow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from meshwire_conformance.targets.transport import Signal
from meshwire_conformance.verdicts import PROMPT

PATIENCE = 2
"""A probe without an answer after this multiple of the deadline will not get one."""
PAUSE = 0.01
"""Pause between two probes, as a part of the deadline."""
READ = "read of the canary"
"""What most probes are."""

Inquiry = Callable[[float], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Beside:
    """What the probes beside a repetition showed.

    `slowest_s` is the time of the slowest answer in seconds; `gone` says why the last probe got no
    answer at all, and is empty if it did. `asked` says what a probe is.
    """

    deadline_s: float
    slowest_s: float = 0.0
    gone: str = ""
    asked: str = READ

    @property
    def prompt(self) -> bool:
        """True if every probe was answered promptly."""
        return self.slowest_s <= PROMPT * self.deadline_s

    def describe(self) -> str:
        """Return the line for the report."""
        if self.gone:
            return f"beside it a {self.asked} got no answer: {self.gone}"
        return (
            f"beside it the slowest {self.asked} took {self.slowest_s:.2f} s "
            f"of a deadline of {self.deadline_s:.2f} s"
        )


class Probes:
    """Asks repeatedly for as long as the context lasts; `found` says what the answers showed.

    `ask` gets a number of seconds and returns True if an answer came within them; it may raise
    ConnectionError or TimeoutError. `asked` says what it asks for.
    """

    def __init__(
        self,
        ask: Inquiry,
        deadline_s: float,
        asked: str = READ,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._asked = asked
        self._clock = clock
        self._deadline_s = deadline_s
        self._slowest_s = 0.0
        self._is_ending = False
        self._signal = Signal()
        self._task: asyncio.Task[str] | None = None

    async def __aenter__(self) -> Self:
        """Begin to ask."""
        self._task = asyncio.create_task(self._go_on())
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Stop asking at once."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def found(self) -> Beside:
        """Wait for the answer to the last probe and return what all of them showed."""
        assert self._task is not None
        self._is_ending = True
        self._signal.notify()
        gone = await self._task
        return Beside(self._deadline_s, self._slowest_s, gone, self._asked)

    async def _go_on(self) -> str:
        """Ask until the end; return why no answer came, or an empty text."""
        patience_s = PATIENCE * self._deadline_s
        while True:
            start = self._clock()
            try:
                answered = await self._ask(patience_s)
            except (ConnectionError, TimeoutError) as exc:
                return str(exc) or "no credit for another stream"
            if not answered:
                return f"nothing within {patience_s:.2f} s"
            self._slowest_s = max(self._slowest_s, self._clock() - start)
            await self._signal.wait_for(lambda: self._is_ending, PAUSE * self._deadline_s)
            if self._is_ending:
                return ""
