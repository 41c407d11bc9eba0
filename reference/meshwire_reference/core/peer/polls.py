"""Polls of one peer: deltas that say again what an exchange has settled.

Deployed peers send each document every five seconds, and count it as a failure if their library has
nothing to say. Five failures end what they send for good (D-49, D-50). Their library has nothing to
say after it has said its heads, until another message comes that leaves it nothing to answer: then
the exchange begins anew (D-169). So both are answered: a poll, and the confirmation of what such a
peer was brought, since it could not even poll after that.

A peer that confirms what it has just received says nothing new either; a poll does so some time
after the last delta about the document, with the same heads, or after an answer, which nothing
answers. Nodes of this kind never poll, so confirmations are answered on trial for some time, and
later only if a poll has come.
"""

from collections import OrderedDict
from dataclasses import dataclass
from math import inf
from typing import Final

from meshwire_reference.core.document_calls import Heads
from meshwire_spec.numbers import POLL_ANSWER_INTERVAL_S, POLL_TRIAL_S

KEYS_MAX: Final = 16384
"""Documents of one peer that are remembered; the one polled the longest time ago is forgotten."""
PAUSE_S: Final = 2.0
"""Seconds after which a repetition counts as a poll."""


@dataclass(frozen=True, slots=True)
class Said:
    """A delta of a peer: its time, and the heads of the document after it."""

    heads: Heads
    at_s: float
    is_quiet: bool = True
    """True if it changed nothing and left nothing to say."""
    confirms: bool = False
    """True if it follows a message of this node in its exchange."""


@dataclass(frozen=True, slots=True)
class _Last:
    """The last delta about a document, and what was answered before."""

    said: Said
    is_answered: bool = False
    """True if one with the same heads was answered."""
    poll_answered_s: float = -inf


NOTHING: Final = _Last(Said((), -inf))


class Polls:
    """The last delta of one peer about each document."""

    def __init__(self) -> None:
        self._last: OrderedDict[str, _Last] = OrderedDict()
        self._has_polled = False
        self._trial_end_s: float | None = None

    def take(self, key: str, said: Said) -> bool:
        """Record a delta; return True if it is to be answered although nothing is left to say."""
        before = self._last.pop(key, NOTHING)
        is_repeated = before.said.heads == said.heads
        is_late = said.at_s - before.said.at_s >= PAUSE_S
        is_poll = said.is_quiet and is_repeated and (is_late or before.is_answered)
        self._has_polled = self._has_polled or is_poll
        # DC-057, DC-060
        if is_repeated:
            is_due = is_poll and said.at_s - before.poll_answered_s >= POLL_ANSWER_INTERVAL_S
        else:
            is_due = said.is_quiet and said.confirms and self._answers_confirmations(said.at_s)
        self._last[key] = _Last(
            said,
            is_answered=is_due or (is_repeated and before.is_answered),
            poll_answered_s=said.at_s if is_poll and is_due else before.poll_answered_s,
        )
        if len(self._last) > KEYS_MAX:
            self._last.popitem(last=False)
        return is_due

    def _answers_confirmations(self, now_s: float) -> bool:
        """Return True for a peer that polls, or may do so; the trial begins with the first."""
        if self._trial_end_s is None:
            self._trial_end_s = now_s + POLL_TRIAL_S
        return self._has_polled or now_s < self._trial_end_s
