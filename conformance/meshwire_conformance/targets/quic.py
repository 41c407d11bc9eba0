"""`quic://HOST:PORT` and `quic-listen://HOST:PORT`: QUIC, whose certificates hold endpoint ids.

An identity of the suite is a secret Ed25519 key, whose certificate it shows. The address may name
the endpoint that answers there, as ENDPOINT@HOST:PORT; else any is taken, and reports show which.

A connection that the target dials waits, with the datagrams that came for it, until a caller takes
it: only then is it known which identity the suite shows. The target sends its first datagram again
meanwhile.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, cast

from meshwire_conformance.errors import SuiteFault
from meshwire_conformance.targets.hosts import in_address
from meshwire_conformance.targets.quic_connection import QuicConnection
from meshwire_conformance.targets.quic_library import (
    IDLE_S,
    Identity,
    QuicLink,
    accepting,
    begins,
    connection_id_of,
    dialling,
    identity_of,
    identity_of_another_sort,
)
from meshwire_conformance.targets.transport import (
    Address,
    Connection,
    Dial,
    Overdue,
    closed_on_failure,
)
from meshwire_spec.numbers import ALPN

HELD_MAX = 64
"""Datagrams kept of a connection that nobody has taken; a target sends few before an answer."""
LEFT_MAX = 1024
"""Number of connections remembered that nobody took, the last ones."""
OWN, ANOTHER_SORT, NONE = "own", "another sort", "none"
CERTIFICATES: Mapping[str, Callable[[bytes], Identity | None]] = {
    OWN: identity_of,
    ANOTHER_SORT: lambda _seed: identity_of_another_sort(),
    NONE: lambda _seed: None,
}
"""What the suite shows where it dials, by the secret key of its identity."""


class _Socket(asyncio.DatagramProtocol):
    """The socket of one connection."""

    def __init__(self, link: QuicLink, dial: Dial) -> None:
        self._link = link
        self._dial = dial
        self.connection: QuicConnection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake."""
        socket_transport = cast("asyncio.DatagramTransport", transport)
        self.connection = QuicConnection(
            self._link, self._dial, socket_transport.sendto, socket_transport.close
        )
        self.connection.begin()

    def datagram_received(self, data: bytes, addr: object) -> None:
        """Pass a datagram on."""
        self.connection.take(data)

    def error_received(self, exc: Exception) -> None:
        """End the connection where the port is closed."""
        if isinstance(exc, ConnectionRefusedError):
            self.connection.unreachable(exc.strerror or "connection refused")


@dataclass(slots=True)
class QuicDialler:
    """Dials one address, from a socket of its own for each connection."""

    address: Address
    shows: ClassVar[frozenset[str]] = frozenset()

    async def dial(self, dial: Dial, deadline_s: float) -> Connection:
        """Return a connection with the endpoint that the address names; raises ConnectionError."""
        if dial.preamble is not None:
            raise SuiteFault("only the lab binding has a preamble")
        connection = await self.dial_with(
            dialling(identity_of(dial.identity), dial.alpn), dial, deadline_s
        )
        async with closed_on_failure(connection):
            wrong = self._wrong_endpoint(connection)
            if wrong:
                raise ConnectionError(f"{self._where()}: {wrong}")
        return connection

    async def dial_with(self, link: QuicLink, dial: Dial, deadline_s: float) -> QuicConnection:
        """Return a connection over a link, once TLS is complete; raises ConnectionError."""
        connection = await self._begin(link, dial, deadline_s)
        async with closed_on_failure(connection):
            if not await connection.ready(deadline_s):
                closed = connection.closed
                if closed is None:
                    raise Overdue(f"{self._where()}: no answer within {deadline_s:g} s")
                raise ConnectionError(f"{self._where()}: {closed.text or f'code {closed.code}'}")
        return connection

    async def begin(
        self,
        dial: Dial,
        deadline_s: float,
        *,
        shows: str = OWN,
        alpn: str = ALPN,
        idle_s: float = IDLE_S,
    ) -> QuicConnection:
        """Return a connection whose handshake has begun, as the suite would not begin one.

        It shows its own certificate, one of another sort of key, or none (`CERTIFICATES`), and
        declares an idle time. Raises ConnectionError.
        """
        identity = CERTIFICATES[shows](dial.identity)
        return await self._begin(dialling(identity, alpn, idle_s=idle_s), dial, deadline_s)

    def endpoint_id(self, identity: bytes) -> bytes:
        """Return the endpoint id that an identity of the suite proves."""
        return identity_of(identity).endpoint_id

    async def close(self) -> None:
        """Do nothing: nothing is kept between connections."""

    async def _begin(self, link: QuicLink, dial: Dial, deadline_s: float) -> QuicConnection:
        began_at = time.monotonic()
        loop, place = asyncio.get_running_loop(), (self.address.host, self.address.port)
        try:
            async with asyncio.timeout(deadline_s):
                _, protocol = await loop.create_datagram_endpoint(
                    lambda: _Socket(link, dial), remote_addr=place
                )
        except TimeoutError as exc:
            raise Overdue(f"{self._where()}: no address within {deadline_s:g} s") from exc
        except socket.gaierror as exc:
            raise ConnectionError(f"{self._where()}: {exc.strerror}") from exc
        except OSError as exc:
            raise ConnectionError(f"{self._where()}: {exc.strerror or exc}") from exc
        except UnicodeError as exc:
            raise ConnectionError(f"{self._where()}: invalid host name") from exc
        protocol.connection.began_at = began_at
        return protocol.connection

    def _wrong_endpoint(self, connection: Connection) -> str:
        """Return why the answering endpoint is not the right one, or an empty text."""
        shown, named = connection.endpoint_id.hex(), self.address.endpoint_id
        if not shown:
            return "its certificate has no Ed25519 key, so that it names no endpoint"
        return f"the endpoint there is {shown}" if named and named != shown else ""

    def _where(self) -> str:
        return f"{in_address(self.address.host)}:{self.address.port}"


class QuicArrival:
    """A connection that the target has begun and that nobody has taken yet."""

    def __init__(self, door: QuicDoor, first_id: bytes, place: tuple[Any, ...]) -> None:
        self._door = door
        self._place = place
        self._first_id = first_id
        self.port = door.port
        self.at_s = time.monotonic()
        self.held: list[bytes] = []

    @property
    def has_ended(self) -> bool:
        """False: what a target that gave up has sent is read by who takes the connection."""
        return False

    def drop(self) -> None:
        """Answer nothing to a connection that nobody takes."""
        self._door.leave(self._first_id)

    def become(self, dial: Dial) -> QuicConnection:
        """Return the connection, accepted with an identity; its handshake goes on from here."""
        link = accepting(identity_of(dial.identity), self._first_id)
        connection = QuicConnection(
            link,
            dial,
            partial(self._door.send, self._place),
            partial(self._door.forget, self._first_id),
        )
        self._door.give(self._first_id, connection)
        for datagram in self.held:
            connection.take(datagram)
        return connection


class QuicDoor(asyncio.DatagramProtocol):
    """Sorts the datagrams of one socket by their connections; `arrived` receives each new one."""

    def __init__(self, arrived: Callable[[QuicArrival], None]) -> None:
        self._arrived = arrived
        self._waiting: dict[bytes, QuicArrival] = {}
        self._taken: dict[bytes, QuicConnection] = {}
        self._left: deque[bytes] = deque(maxlen=LEFT_MAX)
        self._transport: asyncio.DatagramTransport

    @property
    def port(self) -> int:
        """The port of the socket."""
        return int(self._transport.get_extra_info("sockname")[1])

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        """Pass a datagram to its connection."""
        named = connection_id_of(data)
        if named is None:
            return
        connection = self._taken.get(named) or self._by_later_id(named)
        if connection is not None:
            connection.take(data)
            return
        arrival = self._waiting.get(named)
        if arrival is None:
            if not begins(data) or named in self._left:
                # Of a connection that is over: the target has not heard so yet.
                return
            arrival = self._waiting[named] = QuicArrival(self, named, addr)
            self._arrived(arrival)
        if len(arrival.held) < HELD_MAX:
            arrival.held.append(data)

    def send(self, place: tuple[Any, ...], datagram: bytes) -> None:
        """Send a datagram to a place, unless the socket was closed."""
        if not self._transport.is_closing():
            self._transport.sendto(datagram, place)

    def give(self, first_id: bytes, connection: QuicConnection) -> None:
        """Pass the datagrams of a connection to its caller from now on."""
        del self._waiting[first_id]
        self._taken[first_id] = connection

    def forget(self, first_id: bytes) -> None:
        """Drop a connection that is over."""
        self._taken.pop(first_id, None)

    def leave(self, first_id: bytes) -> None:
        """Drop a connection that nobody takes.

        The target begins it again and again, until it gives it up: none of that is a new one.
        """
        del self._waiting[first_id]
        self._left.append(first_id)

    def _by_later_id(self, named: bytes) -> QuicConnection | None:
        """Return the connection of an id that the suite has issued."""
        return next((one for one in self._taken.values() if named in one.ids), None)


async def listen(
    host: str, port: int, arrived: Callable[[QuicArrival], None]
) -> asyncio.DatagramTransport:
    """Return a socket on which connections arrive; raises OSError."""
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: QuicDoor(arrived), local_addr=(host, port)
    )
    return transport
