"""Addresses on which the suite listens for a target that dials (`tcp-listen`, `quic-listen`).

A target keeps a connection to each address that it was given. A listener therefore has the
interface of a dialler: its caller takes the next connection that the target has dialled. A
connection that was not taken for long is dropped, since the target may rightly end it at any
moment.
"""

from __future__ import annotations

import asyncio
import secrets
import select
import socket
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from meshwire_conformance.catalogue.case import EVERYTHING
from meshwire_conformance.errors import Incomplete
from meshwire_conformance.targets.base import needed_for
from meshwire_conformance.targets.facts import Facts
from meshwire_conformance.targets.hosts import in_address
from meshwire_conformance.targets.tcp import BEGINNING, TcpConnection
from meshwire_conformance.targets.transport import (
    Dial,
    NotDialled,
    Overdue,
    ProbedConnection,
    Signal,
    closed_on_failure,
)
from meshwire_spec.numbers import ENDPOINT_ID, HANDSHAKE_S, LAB_RECORD_MAX

BACKLOG = 128
"""Number of connections that may wait until they are taken."""
OPENING = {"tcp": "no preamble", "quic": "no TLS handshake"}
"""What does not come of a connection that does not open."""
SHARE = 0.25
"""The part of the target's handshake deadline after which a connection is too old to be taken."""


REDIAL_S = 60.0
"""Seconds that a target may wait before it dials again, if it declares nothing."""
ENDED = getattr(select, "POLLRDHUP", select.POLLHUP)
"""Event of a connection whose other side has ended it, before what it sent is read."""


class Untaken(Protocol):
    """A connection of the target that no case has taken yet; it came at `at_s`, on a port."""

    at_s: float
    port: int

    @property
    def has_ended(self) -> bool:
        """True if the target has ended the connection, whether or not that was read yet."""

    def become(self, dial: Dial) -> ProbedConnection:
        """Give the connection, with the bytes received on it, to the caller that takes it."""

    def drop(self) -> None:
        """End the connection, since nobody takes it."""


class _TcpArrival(asyncio.Protocol):
    """A TCP connection of the target that no case has taken yet; its bytes are kept."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self.received = bytearray()
        self.at_s = 0.0
        self.port = 0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Offer the connection to a waiting caller."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.at_s = time.monotonic()
        self.port = int(transport.get_extra_info("sockname")[1])
        self._listener.arrived(self)

    def data_received(self, data: bytes) -> None:
        """Keep the bytes for their reader; before a preamble of the suite they are few."""
        self.received += data
        if len(self.received) > LAB_RECORD_MAX and self.transport is not None:
            self.transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._listener.forget(self)

    @property
    def has_ended(self) -> bool:
        """True if the target has ended the connection, whether or not that was read yet."""
        assert self.transport is not None
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket").fileno(), ENDED)
        return bool(poll.poll(0))

    def become(self, dial: Dial) -> TcpConnection:
        """Give the connection, and the bytes received on it, to the caller that takes it."""
        assert self.transport is not None
        connection = TcpConnection(dial, dialled=False)
        self.transport.set_protocol(connection)
        connection.connection_made(self.transport)
        if self.received:
            connection.data_received(bytes(self.received))
        self.transport.resume_reading()
        return connection

    def drop(self) -> None:
        """End the connection, since nobody takes it."""
        assert self.transport is not None, "it has arrived"
        self.transport.abort()


class Listener:
    """Takes connections that the target dials over one transport; a `Dial` says how to answer."""

    def __init__(self, binding: str = "tcp") -> None:
        self.binding = binding
        self.shows = EVERYTHING if binding == "tcp" else frozenset[str]()
        self.addresses: list[str] = []
        self.handshake_s = HANDSHAKE_S
        """The target's deadline for a handshake."""
        self.redial_s = REDIAL_S
        """Seconds that the target may wait before it dials again."""
        self.silent = False
        """True if a wait for a dial was in vain and none has come since."""
        self.dials: Counter[int] = Counter()
        """How often the target has dialled each port."""
        self._arrivals: deque[Untaken] = deque()
        self._signal = Signal()
        self._servers: list[asyncio.Server | asyncio.DatagramTransport] = []

    async def bind(self, host: str, port: int) -> str:
        """Listen on one more address and return it; raises Incomplete if that is not possible."""
        try:
            bound = await _BINDERS[self.binding](self, host, port)
        except OSError as exc:
            why = exc.strerror or exc
            raise Incomplete(f"cannot listen on {in_address(host)}:{port}: {why}") from exc
        address = f"{self.binding}://{in_address(host)}:{bound}"
        self.addresses.append(address)
        return address

    async def bind_tcp(self, host: str, port: int) -> int:
        """Listen for TCP connections; return the port."""
        server = await asyncio.get_running_loop().create_server(
            lambda: _TcpArrival(self), host, port, family=_family(host), backlog=BACKLOG
        )
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def bind_quic(self, host: str, port: int) -> int:
        """Listen for QUIC connections; return the port."""
        with needed_for("quic-listen", "quic", "aioquic"):
            from meshwire_conformance.targets.quic import listen  # noqa: PLC0415 - an extra
        transport = await listen(host, port, self.arrived)
        self._servers.append(transport)
        return int(transport.get_extra_info("sockname")[1])

    @property
    def waiting(self) -> int:
        """Number of connections that came and were not taken."""
        return len(self._arrivals)

    def arrived(self, arrival: Untaken) -> None:
        """Take note of a connection that the target has dialled."""
        self.silent = False
        self.dials[arrival.port] += 1
        if self.waiting == BACKLOG:
            self._arrivals.popleft().drop()
        self._arrivals.append(arrival)
        self._signal.notify()

    def forget(self, arrival: Untaken) -> None:
        """Drop a connection that the target has ended before it was taken."""
        if arrival in self._arrivals:
            self._arrivals.remove(arrival)

    def hold_to(self, facts: Facts) -> None:
        """Wait for the time that the target states for its next dial, else for a minute."""
        self.handshake_s = facts.deadlines.get("handshake_s", HANDSHAKE_S)
        self.redial_s = facts.redial_s or REDIAL_S

    async def wait_for_dial(self, deadline_s: float) -> None:
        """Wait until the target has dialled; raises NotDialled if it does not."""
        if not await self._signal.wait_for(lambda: bool(self._arrivals), deadline_s):
            raise self._missing(deadline_s)

    def _missing(self, deadline_s: float) -> NotDialled:
        where = ", ".join(self.addresses)
        return NotDialled(f"the target did not dial {where} within {deadline_s:.0f} s")

    async def dial(self, dial: Dial, deadline_s: float) -> ProbedConnection:
        """Return the next connection of the target, open in both directions.

        Raises NotDialled if none comes, Overdue if it does not open within the deadline or the
        target may have given it up for a late suite, and ConnectionError if the target ends it
        before that.
        """
        # Whether a connection has ended shows over TCP before it is taken, over QUIC only then.
        tries = 1 if self.binding == "tcp" else 1 + len(self.addresses)
        for _ in range(tries):
            connection = await self.dial_raw(dial, deadline_s)
            async with closed_on_failure(connection):
                if await connection.ready(deadline_s):
                    return connection
            closed = connection.closed
            await connection.close()
            if closed is None:
                raise Overdue(
                    f"a connection of the target: {OPENING[self.binding]} within {deadline_s:g} s"
                )
            begins = closed.fault.data[:BEGINNING].hex(" ") if closed.fault else ""
            said = f"; its bytes begin {begins}" if begins else ""
            text = f"a connection of the target: {closed.text}{said}"
            age_s = time.monotonic() - connection.began_at
            if begins or (tries == 1 and age_s <= self.handshake_s * SHARE):
                raise ConnectionError(text)
        # Its handshake deadline is that of the target, which need not wait for a late suite.
        raise Overdue(text)

    async def dial_raw(self, dial: Dial, deadline_s: float) -> ProbedConnection:
        """Return the next connection without waiting until it is open.

        Raises NotDialled if none comes.
        """
        while True:
            arrival = await self._next(deadline_s + self.redial_s)
            connection = arrival.become(dial)
            # The target may have closed it while it waited here.
            if connection.closed is None:
                connection.began_at = arrival.at_s
                connection.port = arrival.port
                return connection

    async def _next(self, deadline_s: float) -> Untaken:
        """Return the next connection that was not ended while a late suite did not take it.

        Of a target that ends more than one for each address the next one is returned.
        """
        loop = asyncio.get_running_loop()
        ended = 0
        end_s = loop.time() + (0.0 if self.silent else deadline_s)
        while True:
            if not await self._signal.wait_for(
                lambda: bool(self._arrivals), max(0.0, end_s - loop.time())
            ):
                if ended:
                    raise Overdue("the target ends each connection that it has dialled")
                self.silent = True
                raise self._missing(deadline_s)
            arrival = self._arrivals.popleft()
            if time.monotonic() - arrival.at_s <= self.handshake_s * SHARE:
                if not arrival.has_ended or ended > len(self.addresses):
                    return arrival
                ended += 1
            arrival.drop()

    async def close(self) -> None:
        """Stop listening, and drop the connections that were not taken."""
        for server in self._servers:
            server.close()
        while self._arrivals:
            self._arrivals.popleft().drop()


def _family(host: str) -> socket.AddressFamily:
    """Return the family of a host, one only, so that one address has one port."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


_BINDERS: Mapping[str, Callable[[Listener, str, int], Awaitable[int]]] = {
    "tcp": Listener.bind_tcp,
    "quic": Listener.bind_quic,
}
"""How a listener binds, by the transport."""


# --- Addresses that name an endpoint -----------------------------------------------------------


NAMED_HERE = {"{dial-named}": "tcp", "{dial-quic-named}": "quic"}
"""What the suite replaces by an address that names the endpoint which has to answer there."""


@dataclass(frozen=True, slots=True)
class NamedDoor:
    """Where the suite listens under an address that names an endpoint, whose identity it has."""

    listener: Listener
    identity: bytes


async def with_names(command: str) -> tuple[NamedDoor | None, str]:
    """Return a command with an address that names an endpoint of the suite, and who has its key."""
    for place, binding in NAMED_HERE.items():
        before, found, after = command.partition(place)
        if found:
            named = NamedDoor(Listener(binding), secrets.token_bytes(ENDPOINT_ID))
            address = await named.listener.bind("127.0.0.1", 0)
            endpoint_id = ENDPOINT_OF[binding](named.identity).hex()
            return named, before + address.replace("://", f"://{endpoint_id}@") + after
    return None, command


def _endpoint_over_quic(identity: bytes) -> bytes:
    # The listener needs the extra too.
    from meshwire_conformance.targets.quic_library import identity_of  # noqa: PLC0415 - an extra

    return identity_of(identity).endpoint_id


ENDPOINT_OF: Mapping[str, Callable[[bytes], bytes]] = {
    # Over the lab binding an identity is the endpoint id, which nothing proves.
    "tcp": bytes,
    "quic": _endpoint_over_quic,
}
"""The endpoint id of an identity, by the transport."""
