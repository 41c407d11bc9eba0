"""Peers that have ended a connection at the first message of a run, in place of an answer.

Such a peer may do so each time, and would never get a document. So the next connection with it
begins no run, and everything is offered. A close in order may have another cause, and so may a link
that breaks; only the second one in a row counts (D-101).
"""

from collections import OrderedDict
from typing import Final

PEERS_MAX: Final = 1024
"""Peers that are remembered; the one that was noted the longest time ago is forgotten."""
ENOUGH: Final = 2


class RunRefusals:
    """The peers whose next connection may have to do without a run."""

    def __init__(self) -> None:
        self._noted: OrderedDict[str, int] = OrderedDict()

    def note(self, peer: str, *, is_in_order: bool) -> None:
        """Note that a peer has ended a connection at a 0x08; `is_in_order` says how."""
        before = self._noted.pop(peer, 0)
        self._noted[peer] = before + 1 if is_in_order else ENOUGH
        if len(self._noted) > PEERS_MAX:
            self._noted.popitem(last=False)

    def note_answer(self, peer: str) -> None:
        """Forget a peer, since it has answered."""
        self._noted.pop(peer, None)

    def take(self, peer: str) -> bool:
        """Return True if the connection that begins is to have no run, and forget the peer."""
        if self._noted.get(peer, 0) < ENOUGH:
            return False
        del self._noted[peer]
        return True
