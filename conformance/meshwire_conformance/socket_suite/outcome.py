"""How a socket case ends without a pass: the target failed it, or nothing could be learnt."""

from __future__ import annotations

from collections.abc import Iterable


class CaseFailed(Exception):
    """The target broke the rule of a case.

    `symptom` is the short stable name that ledgers bind to; `missed` says that an answer did not
    come in time, which is tried once more alone before it counts.
    """

    def __init__(
        self,
        symptom: str,
        reason: str,
        *,
        expected: Iterable[str] = (),
        received: Iterable[str] = (),
        missed: bool = False,
    ) -> None:
        super().__init__(symptom, reason)
        self.symptom = symptom
        self.reason = reason
        self.expected = tuple(expected)
        self.received = tuple(received)
        self.missed = missed


class CouldNotRun(Exception):
    """A prerequisite of a case is missing; nothing is known of the target."""
