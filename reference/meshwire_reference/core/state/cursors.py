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


class KeysOfPeers:
    """The keys of some documents of each peer, by endpoint id in hex."""

    def __init__(self) -> None:
        self._keys: OrderedDict[str, set[str]] = OrderedDict()

    def of(self, peer: str) -> AbstractSet[str]:
        """Return the documents of a peer that are remembered."""
        return self._keys.get(peer, frozenset())

    def add(self, peer: str, keys: Iterable[str]) -> None:
        """Remember documents of a peer."""
        found = self._keys.setdefault(peer, set())
        self._keys.move_to_end(peer)
        if len(self._keys) > PEERS_MAX:
            self._keys.popitem(last=False)
        if len(found) < KEYS_MAX:
            found.update(keys)

    def forget(self, peer: str) -> None:
        """Forget every document of a peer."""
        self._keys.pop(peer, None)


class Cursors:
    """What peers were sent in offers that are not over, and what has come from them."""

    def __init__(self) -> None:
        self.sent = KeysOfPeers()
        """Forgotten once the offer is over, since the next one is made anew."""
        self.received = KeysOfPeers()

    def had(self, peer: str) -> AbstractSet[str]:
        """Return the documents that a peer had of this node's when its last connection ended."""
        return self.sent.of(peer) | self.received.of(peer)
