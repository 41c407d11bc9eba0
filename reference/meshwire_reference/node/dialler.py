"""Keeping a connection to each address that the node is configured to dial.

A dial that fails and a connection that ends are followed by another dial: at first after a second,
each time after twice as long up to the longest wait, which the operator sets and which is a minute
otherwise, with jitter. Only a connection that was open for a minute resets the wait (D-103, D-132).
A peer that may speak the other dialect of the handshake is dialled once more without a wait (D-26).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from meshwire_reference.node.clocks import Clock
from meshwire_reference.node.log import NodeLog
from meshwire_reference.transport.base import (
    SHUTDOWN,
    Connection,
    TransportOptions,
    Unreachable,
)
from meshwire_reference.transport.registry import dial

FIRST_S: Final = 1.0
"""Seconds before the second attempt; each further wait is twice as long."""
LONGEST_S: Final = 60.0
"""Longest wait in seconds, before jitter, unless the operator sets another."""
SPREAD: Final = 0.2
"""Fraction of a wait by which it is randomly shortened or lengthened."""
STANDING_S: Final = 60.0
"""A connection that lasted this long resets the wait."""
RECYCLED_S: Final = 30.0
"""The same for one that the peer has closed in order: deployed peers do so after a minute."""


class Backoff:
    """Waits between dials, of at most `longest_s` seconds before jitter.

    `random` returns numbers from 0 to below 1.
    """

    def __init__(self, random: Callable[[], float], longest_s: float = LONGEST_S) -> None:
        self._random = random
        self._longest_s = longest_s
        self._first_s = min(FIRST_S, longest_s)
        self._next_s = self._first_s

    def after(self, stood_s: float, *, was_orderly: bool = False) -> float:
        """Return the wait in s after a connection that lasted `stood_s`, 0 if none was made.

        `was_orderly` says that the peer has closed it without a fault.
        """
        # TR-046
        if stood_s >= (RECYCLED_S if was_orderly else STANDING_S):
            self._next_s = self._first_s
        wait_s = self._next_s
        self._next_s = min(2 * wait_s, self._longest_s)
        # TR-048
        return wait_s * (1 + SPREAD * (2 * self._random() - 1))


class DialState(StrEnum):
    """What has become of an address that is dialled."""

    DIALLING = "dialling"
    CONNECTED = "connected"
    LOST = "lost"


class DialWatch:
    """Watches an address that is dialled, and may hold up the dials; this one does neither."""

    is_wanted = True
    """False once the address is to be dialled no more."""

    async def wait_for_turn(self) -> None:
        """Return when the address may be dialled."""

    def note(self, state: DialState, why: str = "", peer_id: bytes | None = None) -> None:
        """Take note of a new state, the reason of one that is LOST, and who has answered."""


class Serve(Protocol):
    """Serves a connection to its end; returns True if the other dialect should be tried."""

    def __call__(self, connection: Connection, *, in_other_dialect: bool) -> Awaitable[bool]:
        """Serve `connection`, in the dialect that is not the configured one if so asked."""
        ...


@dataclass(frozen=True, slots=True)
class DialEnd:
    """How one attempt ended, as the log names it, and how long its connection lasted."""

    event: str
    why: str
    stood_s: float = 0.0
    is_misunderstood: bool = False
    """True if the other dialect should be tried."""
    was_orderly: bool = False
    """True if it was closed without a fault."""


class Dialler:
    """Dials addresses with the same options; `serve` is given each connection.

    The waits between dials are those of `clock`.
    """

    def __init__(self, options: TransportOptions, serve: Serve, log: NodeLog, clock: Clock) -> None:
        self._options = options
        self._serve = serve
        self._log = log
        self._clock = clock

    async def keep_connected(
        self, address: str, backoff: Backoff, watch: DialWatch | None = None
    ) -> None:
        """Dial an address for as long as it is wanted, and serve each connection to its end.

        `watch` hears what becomes of each dial, and may hold up the next one.

        Raises AddressRefused if the address cannot be dialled.
        """
        watch = watch or DialWatch()
        in_other_dialect = False
        while True:
            await watch.wait_for_turn()
            watch.note(DialState.DIALLING)
            end = await self._attempt(address, watch, in_other_dialect=in_other_dialect)
            # HS-065: once, before the next attempt in the configured one.
            in_other_dialect = end.is_misunderstood and not in_other_dialect
            wait_s = (
                0.0 if in_other_dialect else backoff.after(end.stood_s, was_orderly=end.was_orderly)
            )
            self._log.write(end.event, address=address, why=end.why, retry_s=round(wait_s, 2))
            if not in_other_dialect:
                watch.note(DialState.LOST, end.why)
            if not watch.is_wanted:
                return
            await self._clock.sleep(wait_s)

    async def _attempt(self, address: str, watch: DialWatch, *, in_other_dialect: bool) -> DialEnd:
        """Dial once, and serve the connection to its end."""
        try:
            connection = await dial(address, self._options)
        except Unreachable as unreachable:
            return DialEnd("unreachable", unreachable.reason)
        since_s = self._clock.monotonic_s()
        self._log.write("connected", address=address, peer=connection.peer_id.hex())
        watch.note(DialState.CONNECTED, peer_id=connection.peer_id)
        is_misunderstood = await self._serve(connection, in_other_dialect=in_other_dialect)
        # HS-051: a peer that has rejected this node, in whatever way, is dialled again.
        closed = connection.closed
        why = (closed and closed.reason) or "the connection ended"
        stood_s = self._clock.monotonic_s() - since_s
        was_orderly = closed is not None and closed.code == SHUTDOWN
        return DialEnd("disconnected", why, stood_s, is_misunderstood, was_orderly)
