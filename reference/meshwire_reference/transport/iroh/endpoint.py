"""The iroh transport: QUIC with proven identities, as the deployed nodes speak it.

Relays and every kind of discovery are off: an address names identity, host and port. The library
binds a socket for each address family, so both are named here; left alone it would bind the other
one to every interface.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from typing import Final

import iroh

from meshwire_reference.transport.base import (
    AddressRefused,
    Connection,
    Listener,
    TransportOptions,
    Unreachable,
)
from meshwire_reference.transport.iroh.connection import IrohConnection
from meshwire_reference.transport.lab.tcp import is_loopback, parse_address, with_zone
from meshwire_spec.numbers import HANDSHAKE_S

LOOPBACK: Final = {4: "127.0.0.1:0", 6: "[::1]:0"}
ANY: Final = {4: "0.0.0.0:0", 6: "[::]:0"}

_ENDPOINT: Final = re.compile(r"iroh://(?:(?P<id>[^@/]+)@)?(?P<rest>[^@]*)")


_CLOSING: Final[set[asyncio.Task[None]]] = set()
"""Endpoints that are closing; a task without a reference could be collected."""


class _Bound(iroh.Preset):
    """Configures cryptography and exactly these sockets."""

    def __init__(self, addresses: tuple[str, ...]) -> None:
        self._addresses = addresses

    def apply(self, builder: iroh.EndpointBuilder) -> None:
        """Configure the builder; the library calls this."""
        builder.apply_minimal()
        for address in self._addresses:
            builder.bind_addr(address)


class _Endpoint:
    """A library endpoint, closed after its last user."""

    def __init__(self, endpoint: iroh.Endpoint) -> None:
        self.endpoint = endpoint
        self._users = 0

    def join(self) -> None:
        """Count one more user."""
        self._users += 1

    async def leave(self) -> None:
        """Count one user less; close the endpoint after the last one, which flushes its bytes."""
        self._users -= 1
        if not self._users:
            await self.endpoint.close()

    def abandon(self) -> None:
        """Leave without waiting: after a dial without answer, closing takes three seconds."""
        task = asyncio.get_running_loop().create_task(self.leave())
        _CLOSING.add(task)
        task.add_done_callback(_CLOSING.discard)


class IrohListener(Listener):
    """A bound endpoint that accepts connections of one protocol."""

    def __init__(self, shared: _Endpoint, address: str, options: TransportOptions) -> None:
        super().__init__()
        self.address = address
        self.endpoint_id = shared.endpoint.id().to_bytes()
        self._shared = shared
        self._options = options
        self._live = 0
        self._tasks: set[asyncio.Task[None]] = set()
        shared.join()
        self._loop = asyncio.get_running_loop()
        self._accepting = self._loop.create_task(self._accept_all())

    async def close(self) -> None:
        """Accept no further connection."""
        if not self._accepting.done():
            self._accepting.cancel()
            await asyncio.wait({self._accepting})
            self._accepted.put_nowait(None)
            await self._shared.leave()

    async def _accept_all(self) -> None:
        while (incoming := await self._shared.endpoint.accept_next()) is not None:
            if self._live >= self._options.connections_max:
                self.refused += 1
                await incoming.refuse()
                continue
            self._live += 1
            task = self._loop.create_task(self._accept(incoming))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _accept(self, incoming: iroh.Incoming) -> None:
        self._shared.join()
        try:
            async with asyncio.timeout(_connects_within_s(self._options)):
                connection = await (await incoming.accept()).connect()
        except (iroh.IrohError, TimeoutError):
            self.refused += 1
            await self._leave()
            return
        self._accepted.put_nowait(
            IrohConnection(connection, self._options.windows, dialled=False, on_end=self._leave),
        )

    async def _leave(self) -> None:
        self._live -= 1
        await self._shared.leave()


async def _bind(addresses: tuple[str, ...], options: TransportOptions) -> _Endpoint:
    return _Endpoint(
        await iroh.Endpoint.bind(
            iroh.EndpointOptions(
                preset=_Bound(addresses),
                secret_key=options.secret_key,
                alpns=[options.alpn.encode()],
                relay_mode=iroh.RelayMode.disabled(),
            ),
        ),
    )


def _connects_within_s(options: TransportOptions) -> float:
    """Return the deadline of QUIC's own handshake in seconds.

    QUIC waits about a second before it sends a lost packet again. So a short deadline, meant for
    the handshake of the formation, would lose honest peers on a busy machine.
    """
    return max(options.handshake_s, HANDSHAKE_S)


def _parse(address: str) -> tuple[str | None, str, int]:
    found = _ENDPOINT.fullmatch(address)
    if found is None:
        raise AddressRefused(f"{address!r} is not iroh://ENDPOINT@HOST:PORT")
    host, port = parse_address(f"iroh://{found['rest']}", "iroh")
    return found["id"], "127.0.0.1" if host == "localhost" else host, port


def _version(host: str) -> int:
    try:
        return ipaddress.ip_address(host).version
    except ValueError as fault:
        raise AddressRefused(f"{host!r} is no IP address") from fault


def _socket(host: str, port: int) -> str:
    # The library reads the number of a zone, not its name.
    plain, _, zone = host.partition("%")
    literal = f"{plain}%{socket.if_nametoindex(zone)}" if zone else plain
    return f"[{literal}]:{port}" if ":" in host else f"{host}:{port}"


def _cause(error: iroh.IrohError) -> str:
    # The library puts its own source lines between the causes; the last line is the root.
    message: str = error.message()
    return message.strip().splitlines()[-1].strip()


async def listen(address: str, options: TransportOptions) -> Listener:
    """Bind an endpoint at iroh://HOST:PORT. Raises AddressRefused, OSError."""
    _, host, port = _parse(address)
    version = _version(host)
    addresses = (_socket(host, port), LOOPBACK[10 - version])
    try:
        shared = await _bind(addresses, options)
    except iroh.IrohError as error:
        raise OSError(f"{address} cannot be bound: {_cause(error)}") from error
    # The other socket is of the other family.
    bound = next(
        text
        for text in shared.endpoint.bound_sockets()
        if text.startswith("[") is addresses[0].startswith("[")
    )
    if "%" in host:
        bound_host, _, bound_port = bound.rpartition(":")
        bound = f"[{with_zone(bound_host.strip('[]'), host)}]:{bound_port}"
    return IrohListener(shared, f"iroh://{shared.endpoint.id()}@{bound}", options)


async def dial(address: str, options: TransportOptions) -> Connection:
    """Connect to iroh://ENDPOINT@HOST:PORT. Raises AddressRefused, Unreachable."""
    target, host, version = _target(address)
    own = LOOPBACK if is_loopback(host) else {**LOOPBACK, version: ANY[version]}
    try:
        shared = await _bind(tuple(own.values()), options)
    except iroh.IrohError as error:
        raise Unreachable(f"{address} cannot be dialled: {_cause(error)}") from error
    shared.join()
    try:
        async with asyncio.timeout(_connects_within_s(options)):
            connection = await shared.endpoint.connect(target, options.alpn.encode())
    except TimeoutError as fault:
        shared.abandon()
        raise Unreachable(f"{address} does not answer") from fault
    except iroh.IrohError as error:
        shared.abandon()
        raise Unreachable(f"{address} cannot be reached: {_cause(error)}") from error
    return IrohConnection(connection, options.windows, dialled=True, on_end=shared.leave)


def _target(address: str) -> tuple[iroh.EndpointAddr, str, int]:
    """Return endpoint, host and IP version of an address. Raises AddressRefused."""
    name, host, port = _parse(address)
    version = _version(host)
    try:
        identity = iroh.EndpointId.from_string(name or "")
    except iroh.IrohError as error:
        raise AddressRefused(f"{address!r} names no endpoint id") from error
    return iroh.EndpointAddr(identity, None, [_socket(host, port)]), host, version


def check_dialled(address: str, *, lab: bool) -> None:
    """Raise AddressRefused unless this is iroh://ENDPOINT@HOST:PORT."""
    _target(address)
