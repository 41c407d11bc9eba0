"""Which of several connections with one endpoint id stays.

Theory of operation. Two nodes that dial each other at once, or one that is started again before its
end was noticed, have two connections. Of those that one side has dialled the newest stays; of one
from each side, the one that the lower endpoint id has dialled. The other is closed only once a
heartbeat has come on the one that stays: so a connection whose process is gone wins nothing, and
peers that send no heartbeats, which may forget both connections where one is closed (D-22), keep
both. A node with two such connections sends a heartbeat on each at once, so that the wait is short.

Only where the transport proves endpoint ids: elsewhere a peer could end connections of another one.
"""

from __future__ import annotations

from typing import Final, Protocol

from meshwire_reference.core.inputs import ConnectionOpened
from meshwire_spec.numbers import REASONS

CONFLICT: Final = frozenset(
    REASONS[name].code
    for name in (
        "conflict-lower-wins",
        "conflict-yield",
        "conflict-outgoing",
        "conflict-incoming",
    )
)
"""Codes with which one of two connections is closed in favour of the other."""


class Rival(Protocol):
    """What this module needs of a session that is ready."""

    @property
    def opened(self) -> ConnectionOpened:
        """How its connection was opened."""

    def beat(self) -> None:
        """Send a heartbeat now."""

    def watch(self) -> None:
        """Notice that the peer is gone, whichever side has dialled."""

    def give_way(self, reason: str) -> None:
        """Close the connection."""


class Rivals:
    """The sessions that are ready, by endpoint id, oldest first."""

    def __init__(self) -> None:
        self._ready: dict[bytes, list[Rival]] = {}
        self._staying: set[int] = set()

    def stays(self, connection: int) -> bool:
        """Return True if a connection was kept in favour of another one, and stands."""
        return connection in self._staying

    def add(self, rival: Rival) -> None:
        """Take a session that has become ready."""
        if not rival.opened.own_id:
            # TR-044
            return
        rivals = self._ready.setdefault(rival.opened.peer_id, [])
        rivals.append(rival)
        if len(rivals) > 1:
            # TR-042
            for one in rivals:
                one.beat()

    def remove(self, rival: Rival, code: int | None) -> None:
        """Drop a session whose connection has ended, with a code."""
        self._staying.discard(rival.opened.connection)
        rivals = self._ready.get(rival.opened.peer_id, [])
        if rival in rivals:
            rivals.remove(rival)
        if not rivals:
            self._ready.pop(rival.opened.peer_id, None)
        elif code in CONFLICT:
            self._keep(rivals[-1])

    def note_heartbeat(self, rival: Rival) -> None:
        """Close the other connections if a heartbeat has come on the one that stays."""
        rivals = self._ready.get(rival.opened.peer_id, [])
        if len(rivals) < 2 or rival not in rivals or rival is not _stays(rivals):  # noqa: PLR2004 - two are a conflict
            return
        self._keep(rival)
        for other in [one for one in rivals if one is not rival]:
            # TR-040, TR-041
            rivals.remove(other)
            other.give_way(_reason(other.opened, rival.opened))

    def _keep(self, rival: Rival) -> None:
        self._staying.add(rival.opened.connection)
        rival.watch()


def _stays(rivals: list[Rival]) -> Rival:
    """Return which of several sessions stays."""
    newest = {rival.opened.dialled: rival for rival in rivals}
    first = rivals[0].opened
    return newest.get(first.own_id < first.peer_id, rivals[-1])


def _reason(closed: ConnectionOpened, kept: ConnectionOpened) -> str:
    """Return why a connection is closed in favour of another one."""
    if closed.dialled is kept.dialled:
        return "shutdown"
    # TR-043
    is_newer = closed.connection > kept.connection
    if closed.dialled:
        return "conflict-yield" if is_newer else "conflict-outgoing"
    return "conflict-incoming" if is_newer else "conflict-lower-wins"
