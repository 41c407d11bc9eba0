"""What a peer had of this node's documents when its last connection ended (D-53).

The next connection with that peer begins with the other documents. Those that it had may be lost
there by now, and are announced by their heads at the end: the peer asks for what it lacks. So what
is remembered here only saves bytes, and may be forgotten.
"""

from collections import OrderedDict
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import Final

PEERS_MAX: Final = 64
"""Peers of which is remembered what they had; of more the oldest are forgotten."""
KEYS_MAX: Final = 262_144
"""Documents that are remembered for one peer; further ones are offered in full."""
KEYS_IN_ALL_MAX: Final = 1_048_576
"""Documents that are remembered for all peers together; of more the oldest peers are forgotten."""


class KeysOfPeers:
    """The keys of some documents of each peer, by endpoint id in hex."""

    def __init__(self) -> None:
        self._keys: OrderedDict[str, set[str]] = OrderedDict()
        self._in_all = 0

    def of(self, peer: str) -> AbstractSet[str]:
        """Return the documents of a peer that are remembered."""
        return self._keys.get(peer, frozenset())

    def add(self, peer: str, keys: Iterable[str]) -> None:
        """Remember documents of a peer."""
        found = self._keys.setdefault(peer, set())
        self._keys.move_to_end(peer)
        if len(found) < KEYS_MAX:
            before = len(found)
            found.update(keys)
            self._in_all += len(found) - before
        while len(self._keys) > PEERS_MAX or (
            self._in_all > KEYS_IN_ALL_MAX and len(self._keys) > 1
        ):
            self.forget(next(iter(self._keys)))

    def forget(self, peer: str) -> None:
        """Forget every document of a peer."""
        self._in_all -= len(self._keys.pop(peer, ()))


class Cursors:
    """What peers were sent in offers that are not over, and what has come from them."""

    def __init__(self) -> None:
        self.sent = KeysOfPeers()
        """Forgotten once the offer is over, since the next one is made anew."""
        self.received = KeysOfPeers()

    def had(self, peer: str) -> AbstractSet[str]:
        """Return the documents that a peer had of this node's when its last connection ended."""
        return self.sent.of(peer) | self.received.of(peer)
