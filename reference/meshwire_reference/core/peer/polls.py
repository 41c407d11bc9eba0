"""Polls of one peer: deltas that say again what an exchange has settled.

Deployed peers send each document every five seconds, and count it as a failure if their library has
nothing to say, which is so after the second time. Five failures end what they send for good
(D-49, D-50). The first message of a fresh exchange makes theirs begin anew (D-169).

A peer that confirms what it has just received says nothing new either; a poll does so some time
after the last delta about the document, with the same heads. Nodes of this kind never do so, hence
they never answer each other.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from meshwire_reference.core.document_calls import Heads
from meshwire_spec.numbers import POLL_ANSWER_INTERVAL_S

KEYS_MAX: Final = 16384
"""Documents of one peer that are remembered; the one polled the longest time ago is forgotten."""
PAUSE_S: Final = 2.0
"""Seconds after which a repetition counts as a poll."""


@dataclass(frozen=True, slots=True)
class Said:
    """The heads after the last delta about a document, its time, and that of the last answer."""

    heads: Heads
    at_s: float
    answered_s: float


class Polls:
    """The last delta of one peer about each document."""

    def __init__(self) -> None:
        self._said: OrderedDict[str, Said] = OrderedDict()

    def take(self, key: str, heads: Heads, now_s: float, *, is_quiet: bool = True) -> bool:
        """Record a delta; return True if it is a poll that is to be answered now.

        `is_quiet`: it changed nothing and left nothing to say.
        """
        before = self._said.pop(key, None)
        is_late = before is not None and now_s - before.at_s >= PAUSE_S
        is_poll = is_quiet and is_late and before is not None and before.heads == heads
        answered_s = now_s - POLL_ANSWER_INTERVAL_S if before is None else before.answered_s
        is_due = is_poll and now_s - answered_s >= POLL_ANSWER_INTERVAL_S
        self._said[key] = Said(heads, now_s, now_s if is_due else answered_s)
        if len(self._said) > KEYS_MAX:
            self._said.popitem(last=False)
        return is_due
