"""How a socket case fails, and the lines that show what was sent and what came instead."""

from __future__ import annotations

from collections.abc import Iterable

from meshwire_conformance.hexdump import Mark, dump, first_difference
from meshwire_spec.codec import annotate


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


def difference(kind: str, wanted: bytes, came: bytes) -> tuple[str, tuple[str, ...]]:
    """Field of the first differing byte, and the dump of what came with that byte marked."""
    at = first_difference(wanted, came)
    if at is None:
        return "", dump(came)
    spans, _ = annotate(kind, wanted)
    inside = [span for span in spans if span.offset <= at < span.offset + max(span.size, 1)]
    field = inside[-1].path if inside else ""
    return field, dump(came, Mark(at, 1, f"{field or 'byte'} differs"))
