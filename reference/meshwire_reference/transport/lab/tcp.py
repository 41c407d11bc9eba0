"""The lab binding over TCP: from sockets to connections.

Endpoint ids are unproven on this binding, so listening off loopback must be requested
(`TransportOptions.lab`).
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from errno import EADDRINUSE, EADDRNOTAVAIL
from ipaddress import ip_address
from socket import gaierror
from typing import Final
from urllib.parse import urlsplit

from meshwire_reference.transport.base import (
    AddressRefused,
    Connection,
    Listener,
    TransportOptions,
    Unreachable,
)
from meshwire_reference.transport.lab.link import LabLink

BACKLOG: Final = 128
"""Number of connections that may wait until the listener accepts them."""


class _SocketCarrier:
    """The writing side of a socket."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def write(self, data: bytes) -> None:
        """Take bytes; asyncio pauses the protocol when the socket is full."""
        self._transport.write(data)

    def finish(self) -> None:
        """Shut down this side's direction after the bytes already written."""
        if not self._transport.is_closing():
            # A peer that is gone has ended both directions, which reading reports.
            with suppress(OSError):
                self._transport.write_eof()

    def drop(self) -> None:
        """Close the socket at once; queued bytes are lost."""
        self._transport.abort()

    def hold_reading(self, *, hold: bool) -> None:
        """Stop or resume reading the socket."""
        if not self._transport.is_closing():
            (self._transport.pause_reading if hold else self._transport.resume_reading)()


class _SocketProtocol(asyncio.Protocol):
    """Passes asyncio's events of one socket to its link."""

    def __init__(self, link: LabLink, listener: TcpListener | None = None) -> None:
        self.link = link
        self._listener = listener

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport), "TCP gives a socket that reads and writes"
        self.link.start(_SocketCarrier(transport))
        if self._listener is not None:
            self._listener.on_caller(self.link)

    def data_received(self, data: bytes) -> None:
        self.link.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.link.link_ended()

    def pause_writing(self) -> None:
        self.link.pause_writing()

    def resume_writing(self) -> None:
        self.link.resume_writing()


class TcpListener(Listener):
    """A bound TCP port."""

    def __init__(self, options: TransportOptions) -> None:
        super().__init__()
        self.address = ""
        self.endpoint_id = options.endpoint_id
        self._options = options
        self._live = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def bind(self, host: str, port: int) -> None:
        """Start listening. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _SocketProtocol(LabLink(self._options, dialled=False), self),
            host,
            port,
            backlog=BACKLOG,
        )
        bound = self._server.sockets[0].getsockname()
        self.address = f"tcp://{_in_address(bound[0])}:{bound[1]}"

    def on_caller(self, link: LabLink) -> None:
        """Watch a caller: accept it once its preamble has arrived, count it while connected."""
        task = asyncio.get_running_loop().create_task(self._watch(link))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Accept no further connection."""
        if self._server is not None:
            self._server.close()
        self._accepted.put_nowait(None)

    async def _watch(self, link: LabLink) -> None:
        self._live += 1
        try:
            if self._live > self._options.connections_max:
                link.refuse("internal")
            await link.established()
        except Unreachable:
            self.refused += 1
        else:
            self._accepted.put_nowait(link)
        await link.ended()
        self._live -= 1


def _in_address(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def parse_address(address: str, scheme: str = "tcp") -> tuple[str, int]:
    """Return host and port of an address. Raises AddressRefused."""
    try:
        parts = urlsplit(address)
    except ValueError as fault:
        raise AddressRefused(f"{address!r} is not {scheme}://HOST:PORT") from fault
    try:
        port = parts.port
    except ValueError as fault:
        said = parts.netloc.rpartition(":")[2]
        problem = "is above 65535" if said.isdigit() else "is no number"
        raise AddressRefused(f"{address!r}: port {said} {problem}") from fault
    if parts.scheme != scheme or not parts.hostname or port is None:
        raise AddressRefused(f"{address!r} is not {scheme}://HOST:PORT")
    if parts.path or parts.query or parts.fragment:
        raise AddressRefused(f"{address!r} has more than {scheme}://HOST:PORT")
    try:
        parts.hostname.encode("idna")
    except UnicodeError as fault:
        raise AddressRefused(f"{address!r} has an invalid host name") from fault
    return parts.hostname, port


def is_loopback(host: str) -> bool:
    """Return True if a host is this machine for certain; of names only `localhost` is."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def why(fault: OSError) -> str:
    """Return the system's text about a failed address, without numbers."""
    if isinstance(fault, gaierror):
        return "no host of this name"
    known = {EADDRINUSE: "the port is in use", EADDRNOTAVAIL: "the address is not this machine's"}
    number = fault.errno or 0
    return known.get(number) or os.strerror(number).lower()


async def listen(address: str, options: TransportOptions) -> Listener:
    """Bind a TCP address; off loopback only with `lab`. Raises AddressRefused, OSError."""
    host, port = parse_address(address)
    if not is_loopback(host) and not options.lab:
        raise AddressRefused(
            f"{host} is not loopback, and tcp:// does not prove endpoint ids: add --lab to allow it"
        )
    listener = TcpListener(options)
    try:
        await listener.bind(host, port)
    except OSError as fault:
        raise OSError(f"{address} cannot be bound: {why(fault)}") from fault
    return listener


async def dial(address: str, options: TransportOptions) -> Connection:
    """Connect to a TCP address. Raises AddressRefused, Unreachable."""
    host, port = parse_address(address)
    loop = asyncio.get_running_loop()
    link = LabLink(options, dialled=True)
    try:
        async with asyncio.timeout(options.handshake_s):
            await loop.create_connection(lambda: _SocketProtocol(link), host, port)
    except TimeoutError as fault:
        raise Unreachable(f"{address} does not answer") from fault
    except OSError as fault:
        raise Unreachable(f"{address} cannot be reached: {fault}") from fault
    await link.established()
    return link


def check_dialled(address: str, *, lab: bool) -> None:
    """Raise AddressRefused unless this is tcp://HOST:PORT, on loopback or with `lab`."""
    host, port = parse_address(address)
    if not is_loopback(host) and not lab:
        raise AddressRefused(
            f"{host} is not loopback, and tcp:// does not prove endpoint ids: add --lab to allow it"
        )
    if not port:
        raise AddressRefused(f"{address!r} names no port to dial")
