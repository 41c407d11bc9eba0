"""Which documents the initial exchange offers, and when each of them may go.

Without a run that is every document at once. With one it is what the peer lacks as the run finds
it, and after a while what both sides hold, whose contents no run compares (NG-026).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from meshwire_reference.core.context import Context
from meshwire_reference.core.reconciliation.client import OwnRun


class Selection(Protocol):
    """The keys of documents that may be offered now; the exchange takes them from the left."""

    keys: deque[str]

    @property
    def is_final(self) -> bool:
        """Say whether no more keys will come."""
        ...

    def begin(self) -> None:
        """Take note that the tombstones have left; called whenever there is room for more."""
        ...

    def close(self) -> None:
        """Look no further: the connection is gone."""
        ...


class Everything:
    """All documents there are."""

    is_final = True

    def __init__(self, context: Context) -> None:
        self.keys: deque[str] = deque(context.documents)

    def begin(self) -> None:
        """Nothing has to be found out."""

    def close(self) -> None:
        """Nothing is under way."""


class Reconciled:
    """What a run finds that the peer lacks, and later the rest; `resume` says there is more."""

    def __init__(
        self, context: Context, connection: int, peer_id: bytes, resume: Callable[[], None]
    ) -> None:
        self._context = context
        self._resume = resume
        self._timer = ("held by both", connection)
        self._has_begun = False
        self.run = OwnRun(context, connection, peer_id, self._take)
        self.keys: deque[str] = deque()
        self.is_final = False

    def begin(self) -> None:
        """Start the run."""
        if not self._has_begun:
            self._has_begun = True
            self.run.start()

    def close(self) -> None:
        """End the run and offer nothing later."""
        self.run.close()
        self._context.timers.cancel(self._timer)

    def _take(self, missing: list[str] | None) -> None:
        if missing is None:
            # NG-027
            self._offer_rest(frozenset())
            return
        # NG-025
        self.keys.extend(missing)
        offered = frozenset(missing)
        at_s = self._context.now.monotonic_s + self._context.settings.held_by_both_s
        self._context.timers.set(self._timer, at_s, lambda: self._offer_rest(offered))
        self._resume()

    def _offer_rest(self, offered: frozenset[str]) -> None:
        # NG-026
        self.keys.extend(key for key in self._context.documents if key not in offered)
        self.is_final = True
        self._resume()
