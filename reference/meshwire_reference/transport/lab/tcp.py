"""The lab binding over TCP: from sockets to connections.

Endpoint ids are unproven on this binding, so listening off loopback must be requested
(`TransportOptions.lab`).
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from errno import EADDRINUSE, EADDRNOTAVAIL
from functools import partial
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from socket import gaierror, if_nametoindex
from typing import Final
from urllib.parse import urlsplit

from meshwire_reference.hosts import HostClass, class_of, is_number
from meshwire_reference.transport.base import (
    AddressRefused,
    Connection,
    Listener,
    TransportOptions,
    Unreachable,
    free_after,
)
from meshwire_reference.transport.lab.link import LabLink
from meshwire_reference.transport.places import CallerPlace, Places
from meshwire_spec.numbers import ENDPOINT_ID, REASONS

NO_MACHINE: Final = frozenset((HostClass.UNSPECIFIED, HostClass.MULTICAST, HostClass.BROADCAST))
"""Classes of hosts that are never dialled."""
ALLOWED: Final = "`meshwire-node run --lab` allows it"
SHARED_BITS: Final = 64
"""Bits of an IPv6 address that its owner does not choose."""
REST_MAX: Final = 2**23
"""Greatest number of bytes that are read of a socket after it has failed."""
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
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport), "TCP gives a socket that reads and writes"
        self._transport = transport
        self.link.start(_SocketCarrier(transport))
        if self._listener is not None:
            address = transport.get_extra_info("peername")
            self.link.remote = host_of(address)
            self._listener.on_caller(self.link, share_of(address))

    def data_received(self, data: bytes) -> None:
        self.link.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self._read_rest()
        self.link.link_ended()

    def _read_rest(self) -> None:
        """Take what waits in a socket that has failed.

        A node that is late writes to a peer which has closed; that write fails before the records
        that came with the CLOSE are read, and asyncio reads no more.
        """
        assert self._transport is not None, "a connection is made before it is lost"
        number = self._transport.get_extra_info("socket").fileno()
        left = REST_MAX
        # The socket does not block: an error says that it holds nothing more.
        with suppress(OSError):
            while left > 0 and (data := os.read(number, left)):
                left -= len(data)
                self.link.data_received(data)

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
        self._places = Places(options.connections_max)
        self._leaving: set[LabLink] = set()
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
        self.address = f"tcp://{_in_address(with_zone(bound[0], host))}:{bound[1]}"

    def on_caller(self, link: LabLink, share: str) -> None:
        """Watch a caller: accept it once its preamble has arrived, count it while connected."""
        task = free_after(self._watch(link, share), link.drop)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _watch(self, link: LabLink, share: str) -> None:
        place = CallerPlace(share, partial(self._turn_away, link))
        self._places.take(place)
        try:
            await link.established()
        except Unreachable as unreachable:
            self.refused += 1
            if link.closed is None or not link.closed.by_peer:
                self._options.on_refusal(unreachable.reason, link.remote)
        else:
            place.connection = link
            self._hand_over(link)
        await link.ended()
        self._places.leave(place)
        self._leaving.discard(link)

    def _turn_away(self, link: LabLink) -> None:
        """Close the connection of a caller that has lost its place."""
        link.refuse("internal")
        # Its end takes a while, in which many others may have come to theirs.
        if len(self._leaving) < self._options.connections_max:
            self._leaving.add(link)
        else:
            link.drop()


def host_of(address: object) -> str:
    """Return the host of a socket's address."""
    return str(address[0]) if isinstance(address, tuple) else ""


def share_of(address: object) -> str:
    """Return what shares a part of the connections: an IPv4 address, or the half of an IPv6 one."""
    host = host_of(address)
    found = _ip(host)
    if isinstance(found, IPv6Address) and found.ipv4_mapped is None:
        return str(IPv6Network((found.packed, SHARED_BITS), strict=False))
    return host


def _in_address(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def parse_address(address: str, scheme: str = "tcp") -> tuple[str, int]:
    """Return host and port of an address. Raises AddressRefused.

    An IPv4-mapped address is returned as the IPv4 address; a zone is kept for link-local ones only.
    """
    _check_brackets(address, scheme)
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
    found = _ip(parts.hostname)
    if isinstance(found, IPv6Address):
        return _plain(found, address), port
    try:
        parts.hostname.encode("idna")
    except UnicodeError as fault:
        raise AddressRefused(f"{address!r} has an invalid host name") from fault
    return parts.hostname, port


def check_host(host: str, address: str) -> None:
    """Raise AddressRefused for a host that no single machine has, or a number in its place."""
    found = _ip(host)
    # TR-060
    if found is None and is_number(host):
        raise AddressRefused(f"{address!r}: write {host} in full, as in 127.0.0.1")
    kind = None if found is None else class_of(found)
    if kind in NO_MACHINE:
        raise AddressRefused(f"{address!r}: {host} is {kind}, which no single machine has")


def _check_brackets(address: str, scheme: str) -> None:
    """Raise AddressRefused, with the right form, where brackets are missing or too many."""
    location = address.removeprefix(f"{scheme}://")
    host, _, port = location.rpartition(":")
    inside = host[1:-1] if host.startswith("[") and host.endswith("]") else None
    if inside is not None:
        if isinstance(_ip(inside), IPv4Address):
            right = f"{scheme}://{inside}:{port}"
            raise AddressRefused(f"an IPv4 address has no brackets: {right}")
        if _ip(inside) is None:
            raise AddressRefused(f"{address!r}: {inside!r} is no IPv6 address")
    elif isinstance(_ip(host), IPv6Address):
        raise AddressRefused(f"an IPv6 address has brackets: {scheme}://[{host}]:{port}")
    elif isinstance(_ip(location), IPv6Address):
        right = f"{scheme}://[{location}]:PORT"
        raise AddressRefused(f"an IPv6 address has brackets and a port: {right}")


def _ip(text: str) -> IPv4Address | IPv6Address | None:
    """Return the IP address that a text is, perhaps with a zone behind % or %25, else None."""
    try:
        return ip_address(text.replace("%25", "%", 1))
    except ValueError:
        return None


def _plain(found: IPv6Address, address: str) -> str:
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    host, _, zone = str(found).partition("%")
    if not zone or not found.is_link_local:
        return host
    try:
        if_nametoindex(zone)
    except OSError as fault:
        raise AddressRefused(f"{address!r}: there is no network interface {zone!r}") from fault
    return f"{host}%{zone}"


def with_zone(bound: str, asked: str) -> str:
    """Return the bound address with the zone that was asked for, without which no peer dials it."""
    zone = asked.partition("%")[2]
    return f"{bound.partition('%')[0]}%{zone}" if zone else bound


def is_loopback(host: str) -> bool:
    """Return True if a host is this machine for certain; of names only `localhost` is."""
    found = _ip(host)
    return host == "localhost" if found is None else found.is_loopback


def why(fault: OSError) -> str:
    """Return the system's text about a failed address, without numbers."""
    if isinstance(fault, gaierror):
        return "no host of this name"
    known = {EADDRINUSE: "the port is in use", EADDRNOTAVAIL: "the address is not this machine's"}
    number = fault.errno or 0
    # Of several addresses of one name, asyncio gives one error without a number.
    return known.get(number) or (os.strerror(number).lower() if number else str(fault))


async def listen(address: str, options: TransportOptions) -> Listener:
    """Bind a TCP address; off loopback only with `lab`. Raises AddressRefused, OSError."""
    if "@" in address:
        raise AddressRefused(f"{address!r}: an endpoint id is for dialling, not for listening")
    host, port = parse_address(address)
    if not is_loopback(host) and not options.lab:
        raise AddressRefused(
            f"{host} is not loopback, and tcp:// does not prove endpoint ids: {ALLOWED}"
        )
    listener = TcpListener(options)
    try:
        await listener.bind(host, port)
    except OSError as fault:
        raise OSError(f"{address} cannot be bound: {why(fault)}") from fault
    return listener


async def dial(address: str, options: TransportOptions) -> Connection:
    """Connect to a TCP address that may name an endpoint. Raises AddressRefused, Unreachable."""
    pinned, location = split_pin(address)
    host, port = parse_address(location)
    loop = asyncio.get_running_loop()
    link = LabLink(options, dialled=True)
    try:
        async with asyncio.timeout(options.handshake_s):
            await loop.create_connection(lambda: _SocketProtocol(link), host, port)
    except TimeoutError as fault:
        raise Unreachable("does not answer") from fault
    except OSError as fault:
        raise Unreachable(f"cannot be reached: {why(fault)}") from fault
    link.freed = free_after(link.ended(), link.drop)
    try:
        await link.established()
    except asyncio.CancelledError:
        # Nobody else would close it before its deadline.
        link.drop()
        raise
    # TR-036
    if pinned is not None and link.peer_id != pinned:
        code = REASONS["authentication-failed"].code
        await link.close(code, "authentication-failed")
        raise Unreachable(f"is another endpoint: {link.peer_id.hex()}", code)
    return link


def split_pin(address: str) -> tuple[bytes | None, str]:
    """Return the endpoint id that an address of TCP names, and the address without it.

    The id is one that the peer claims: nothing proves it on this binding. Raises AddressRefused.
    """
    named, at, location = address.removeprefix("tcp://").rpartition("@")
    if not at:
        return None, address
    try:
        pinned = bytes.fromhex(named)
    except ValueError:
        pinned = b""
    if len(pinned) != ENDPOINT_ID:
        raise AddressRefused(f"{address!r}: an endpoint id has 64 hex digits")
    return pinned, f"tcp://{location}"


def check_dialled(address: str, *, lab: bool) -> None:
    """Raise AddressRefused unless this is tcp://HOST:PORT, on loopback or with `lab`.

    The endpoint id that has to answer may precede it: tcp://ENDPOINT@HOST:PORT.
    """
    host, port = parse_address(split_pin(address)[1])
    check_host(host, address)
    if not is_loopback(host) and not lab:
        raise AddressRefused(
            f"{host} is not loopback, and tcp:// does not prove endpoint ids: {ALLOWED}"
        )
    if not port:
        raise AddressRefused(f"{address!r} names no port to dial")
