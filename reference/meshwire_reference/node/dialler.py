"""Keeping a connection to each address that the node is configured to dial.

A dial that fails and a connection that ends are followed by another dial: at first after a second,
each time after twice as long up to the longest wait, which the operator sets and which is a minute
otherwise, with jitter. Only a connection that was open for a minute resets the wait (D-103, D-132).
A peer that may speak the other dialect of the handshake is dialled once more without a wait (D-26).
"""

import asyncio
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Final, Protocol

from meshwire_reference.node.log import log
from meshwire_reference.transport.base import Connection, TransportOptions, Unreachable
from meshwire_reference.transport.registry import dial

FIRST_S: Final = 1.0
"""Seconds before the second attempt; each further wait is twice as long."""
LONGEST_S: Final = 60.0
"""Longest wait in seconds, before jitter, unless the operator sets another."""
SPREAD: Final = 0.2
"""Fraction of a wait by which it is randomly shortened or lengthened."""
STANDING_S: Final = 60.0
"""A connection that lasted this long resets the wait."""


class Backoff:
    """Waits between dials, of at most `longest_s` seconds before jitter.

    `random` returns numbers from 0 to below 1.
    """

    def __init__(self, random: Callable[[], float], longest_s: float = LONGEST_S) -> None:
        self._random = random
        self._longest_s = longest_s
        self._first_s = min(FIRST_S, longest_s)
        self._next_s = self._first_s

    def after(self, stood_s: float) -> float:
        """Return the wait in s after a connection that lasted `stood_s`, 0 if none was made."""
        if stood_s >= STANDING_S:
            self._next_s = self._first_s
        wait_s = self._next_s
        self._next_s = min(2 * wait_s, self._longest_s)
        return wait_s * (1 + SPREAD * (2 * self._random() - 1))


class DialState(StrEnum):
    """What has become of an address that is dialled."""

    DIALLING = "dialling"
    CONNECTED = "connected"
    LOST = "lost"


class DialWatch:
    """Watches an address that is dialled, and may hold up the dials; this one does neither."""

    async def wait_for_turn(self) -> None:
        """Return when the address may be dialled."""

    def note(self, state: DialState, why: str = "", peer_id: bytes | None = None) -> None:
        """Take note of a new state, the reason of one that is LOST, and who has answered."""


class Serve(Protocol):
    """Serves a connection to its end; returns True if the other dialect should be tried."""

    def __call__(self, connection: Connection, *, in_other_dialect: bool) -> Awaitable[bool]:
        """Serve `connection`, in the dialect that is not the configured one if so asked."""
        ...


async def keep_connected(
    address: str,
    options: TransportOptions,
    serve: Serve,
    backoff: Backoff,
    watch: DialWatch | None = None,
) -> None:
    """Dial an address repeatedly without limit, and `serve` each connection to its end.

    `watch` hears what becomes of each dial, and may hold up the next one.

    Raises AddressRefused if the address cannot be dialled.
    """
    loop = asyncio.get_running_loop()
    watch = watch or DialWatch()
    in_other_dialect = False
    while True:
        stood_s = 0.0
        is_misunderstood = False
        await watch.wait_for_turn()
        watch.note(DialState.DIALLING)
        try:
            connection = await dial(address, options)
        except Unreachable as unreachable:
            event, why = "unreachable", unreachable.reason
        else:
            since_s = loop.time()
            log("connected", address=address, peer=connection.peer_id.hex())
            watch.note(DialState.CONNECTED, peer_id=connection.peer_id)
            is_misunderstood = await serve(connection, in_other_dialect=in_other_dialect)
            stood_s = loop.time() - since_s
            # HS-051: a peer that has rejected this node, in whatever way, is dialled again.
            closed = connection.closed
            event, why = "disconnected", (closed and closed.reason) or "the connection ended"
        # HS-065: once, before the next attempt in the configured one.
        in_other_dialect = is_misunderstood and not in_other_dialect
        wait_s = 0.0 if in_other_dialect else backoff.after(stood_s)
        log(event, address=address, why=why, retry_s=round(wait_s, 2))
        if not in_other_dialect:
            watch.note(DialState.LOST, why)
        await asyncio.sleep(wait_s)
