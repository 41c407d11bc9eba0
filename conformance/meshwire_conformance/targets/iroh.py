"""`iroh://ENDPOINT@HOST:PORT`: QUIC with proven identities, as deployed nodes use it.

Relays and discovery are off: the address says where the target is, and TLS proves that it is the
endpoint that the address names. An identity of the suite is a secret key, and the library has one
key per endpoint; so each identity has an endpoint for as long as it has a connection.
`iroh_connection` lists what this binding cannot show.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import iroh

from meshwire_conformance.errors import SuiteFault, UsageError
from meshwire_conformance.targets.hosts import in_address
from meshwire_conformance.targets.iroh_connection import IrohConnection
from meshwire_conformance.targets.iroh_library import cause, is_overdue, mend
from meshwire_conformance.targets.transport import Address, Connection, Dial, Overdue
from meshwire_spec.numbers import ALPN

mend()

LOOPBACK = ("127.0.0.1:0", "[::1]:0")
ANYWHERE = ("0.0.0.0:0", "[::]:0")
CLOSE_S = 1.0
"""Seconds to wait for endpoints to close; one whose dial had no answer takes three."""


class _Sockets(iroh.Preset):
    """Configures exactly these sockets: the library binds any for a family that is not named."""

    def __init__(self, addresses: tuple[str, ...]) -> None:
        self._addresses = addresses

    def apply(self, builder: iroh.EndpointBuilder) -> None:
        """Configure the builder; the library calls this."""
        builder.apply_minimal()
        for address in self._addresses:
            builder.bind_addr(address)


@dataclass(slots=True)
class _Endpoint:
    """The endpoint of one identity, with the number of dials and connections that use it."""

    endpoint: iroh.Endpoint | None = None
    users: int = 0
    binding: asyncio.Lock = field(default_factory=asyncio.Lock)


class IrohDialler:
    """Dials one address; `close` it when all its connections are closed."""

    shows: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, address: Address) -> None:
        """Raise UsageError if the address names no endpoint id."""
        try:
            self._target = iroh.EndpointId.from_string(address.endpoint_id)
        except iroh.IrohError as error:
            raise UsageError(f"{address.endpoint_id} is no endpoint id: {cause(error)}") from error
        self._address = address
        self._endpoints: dict[bytes, _Endpoint] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def dial(self, dial: Dial, deadline_s: float) -> Connection:
        """Return a connection with the endpoint that the address names; raises ConnectionError."""
        if dial.preamble is not None:
            raise SuiteFault("only the lab binding has a preamble")
        own = self._endpoints.setdefault(dial.identity, _Endpoint())
        own.users += 1
        try:
            async with asyncio.timeout(deadline_s):
                connection = await self._connect(own, dial.identity)
        except TimeoutError as error:
            self._leave(dial.identity)
            raise Overdue(f"{self._where()}: no answer within {deadline_s:g} s") from error
        except iroh.IrohError as error:
            self._leave(dial.identity)
            said = f"{self._where()}: {cause(error)}"
            raise (Overdue(said) if is_overdue(error) else ConnectionError(said)) from error
        except BaseException:
            self._leave(dial.identity)
            raise
        return IrohConnection(connection, dial, partial(self._leave, dial.identity))

    async def close(self) -> None:
        """Wait up to `CLOSE_S` seconds until the endpoints have closed."""
        if self._closing:
            _, late = await asyncio.wait(self._closing, timeout=CLOSE_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _connect(self, own: _Endpoint, identity: bytes) -> iroh.Connection:
        host = await self._resolve()
        async with own.binding:
            if own.endpoint is None:
                own.endpoint = await _bind(identity, host)
        where = f"{in_address(_numbered(host))}:{self._address.port}"
        target = iroh.EndpointAddr(self._target, None, [where])
        return await own.endpoint.connect(target, ALPN.encode())

    async def _resolve(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
        """Return an address of the host; raises ConnectionError if it has none."""
        loop, address = asyncio.get_running_loop(), self._address
        try:
            found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM)
        except socket.gaierror as error:
            raise ConnectionError(f"{self._where()}: {error.strerror}") from error
        except UnicodeError as error:
            raise ConnectionError(f"{self._where()}: invalid host name") from error
        return ipaddress.ip_address(found[0][4][0])

    def _leave(self, identity: bytes) -> None:
        """Count one user less; close the endpoint after the last one."""
        own = self._endpoints[identity]
        own.users -= 1
        if own.users == 0:
            del self._endpoints[identity]
            if own.endpoint is not None:
                task = asyncio.get_running_loop().create_task(own.endpoint.close())
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)

    def _where(self) -> str:
        return f"{in_address(self._address.host)}:{self._address.port}"


def _numbered(host: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """Return a host with the number of its zone in place of the name, as the library reads it."""
    plain, _, zone = str(host).partition("%")
    return f"{plain}%{socket.if_nametoindex(zone)}" if zone else plain


async def _bind(
    identity: bytes, host: ipaddress.IPv4Address | ipaddress.IPv6Address
) -> iroh.Endpoint:
    return await iroh.Endpoint.bind(
        iroh.EndpointOptions(
            preset=_Sockets(LOOPBACK if host.is_loopback else ANYWHERE),
            secret_key=identity,
            relay_mode=iroh.RelayMode.disabled(),
        )
    )
