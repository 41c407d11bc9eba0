"""The QUIC transport: from UDP sockets to connections.

A dialled connection has a socket of its own; those of a listener share one, and the connection id
in a datagram says whose it is. An endpoint id is proven by TLS, so an address may name the one
that has to answer: quic://ENDPOINT@HOST:PORT.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meshwire_reference.transport.base import (
    AddressRefused,
    Connection,
    Listener,
    TransportOptions,
    Unreachable,
    free_after,
)
from meshwire_reference.transport.lab.tcp import (
    check_host,
    host_of,
    is_loopback,
    parse_address,
    share_of,
    why,
    with_zone,
)
from meshwire_reference.transport.places import CallerPlace, Places
from meshwire_reference.transport.quic.connection import QuicLink
from meshwire_reference.transport.quic.library import Address, HeldConnection, configure
from meshwire_reference.transport.quic.packets import FirstPacket, Reception, name_of

HALF_OPEN_MAX: Final = 64
"""Callers of one address whose handshake is not over; further ones are not heard."""
RETRY_FROM: Final = 16
"""Unfinished handshakes from which on a caller has to show first that answers reach it."""
READ_AT_ONCE: Final = 64
"""Datagrams that one wake-up reads; more would hold up other connections."""
DATAGRAM_MAX: Final = 2**16
RECEIVE_BUFFER: Final = 2**22
"""Bytes that the system may keep for a socket; it gives less if it is configured so."""

_ENDPOINT: Final = re.compile(r"quic://(?:(?P<id>[^@/]*)@)?(?P<rest>[^@]*)")
_ID: Final = re.compile(r"[0-9a-fA-F]{64}")


class _Socket:
    """A UDP socket on the event loop."""

    def __init__(
        self, made: socket.socket, take: Callable[[bytes, Address], None], rest: Callable[[], None]
    ) -> None:
        made.setblocking(False)  # noqa: FBT003 - it has no name for it
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self.address: Address = made.getsockname()
        self._socket = made
        self._take = take
        self._rest = rest
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(made, self.read)
        self.on_nobody: Callable[[], None] = lambda: None
        """Called when the system says that nobody has bound the peer's address."""

    def read(self) -> None:
        """Take what has come."""
        for _ in range(READ_AT_ONCE):
            try:
                datagram, address = self._socket.recvfrom(DATAGRAM_MAX)
            except ConnectionRefusedError:
                self.on_nobody()
                break
            except OSError:
                # Nothing waits, or a fault of the network, which QUIC takes for a loss.
                break
            self._take(datagram, address)
        self._rest()

    def send(self, datagram: bytes, address: Address) -> None:
        """Send a datagram; one that the system does not take is lost, as on the way."""
        try:
            self._socket.sendto(datagram, address)
        except ConnectionRefusedError:
            self._loop.call_soon(self.on_nobody)
        except OSError:
            return

    def close(self) -> None:
        """Close the socket; does nothing the second time."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()


async def _open(
    host: str,
    port: int,
    use: Callable[[socket.socket, Address], None],
) -> socket.socket:
    """Return a socket of the host's family on which `use` has succeeded. Raises OSError."""
    plain = "127.0.0.1" if host == "localhost" else host
    found = await asyncio.get_running_loop().getaddrinfo(plain, port, type=socket.SOCK_DGRAM)
    family, kind, protocol, _, address = found[0]
    made = socket.socket(family, kind, protocol)
    try:
        use(made, address)
    except OSError:
        made.close()
        raise
    return made


def _key_of(options: TransportOptions) -> Ed25519PrivateKey:
    seed = options.secret_key
    if seed is None:
        return Ed25519PrivateKey.generate()
    return Ed25519PrivateKey.from_private_bytes(seed)


class QuicListener(Listener):
    """A bound UDP port that accepts connections of one protocol."""

    def __init__(self, made: socket.socket, host: str, options: TransportOptions) -> None:
        super().__init__()
        key = _key_of(options)
        self.endpoint_id = key.public_key().public_bytes_raw()
        self._options = options
        self._configuration = configure(options, key, dials=False)
        self._reception = Reception()
        self._places = Places(options.connections_max)
        self._half_open: Counter[str] = Counter()
        self._routes: dict[bytes, QuicLink] = {}
        self._touched: dict[QuicLink, None] = {}
        self._unfinished: dict[QuicLink, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._socket = _Socket(made, self._take, self._after_input)
        bound = with_zone(str(self._socket.address[0]), host)
        written = f"[{bound}]" if ":" in bound else bound
        self.address = f"quic://{written}:{self._socket.address[1]}"

    async def _stop(self) -> None:
        # The end of a handshake that has come is not lost: its caller takes it for connected.
        self._socket.read()
        for link in tuple(self._unfinished):
            if not link.peer_id:
                link.abandon("shutdown")
        if not self._tasks:
            self._socket.close()

    def _take(self, datagram: bytes, address: Address) -> None:
        link = self._routes.get(name_of(datagram))
        if link is None:
            link = self._receive_caller(datagram, address)
        if link is not None:
            link.take_datagram(datagram, address)
            self._touched[link] = None

    def _after_input(self) -> None:
        touched, self._touched = self._touched, {}
        for link in touched:
            link.after_input()

    def _receive_caller(self, datagram: bytes, address: Address) -> QuicLink | None:
        """Return the new connection of a caller, None for one that gets none."""
        retries = len(self._unfinished) >= RETRY_FROM
        found = self._reception.receive(datagram, address, self._loop.time(), retries=retries)
        if isinstance(found, bytes):
            self._socket.send(found, address)
        if not isinstance(found, FirstPacket):
            return None
        share = share_of(address)
        if self._is_closed or self._half_open[share] >= HALF_OPEN_MAX:
            self._turn_away(found, address)
            return None
        return self._begin(found, address, share)

    def _begin(self, first: FirstPacket, address: Address, share: str) -> QuicLink | None:
        quic = HeldConnection(
            self._options, self._configuration, named=first.named, retried=first.retried
        )
        link = QuicLink(quic, self._options, self._socket.send, dialled=False, routes=self._routes)
        link.remote = host_of(address)
        for name in (first.name, quic.host_cid):
            link.on_route(name, is_new=True)
        place = CallerPlace(share, partial(link.refuse, "internal"))
        self._half_open[share] += 1
        self._unfinished[link] = None
        task = self._loop.create_task(self._watch(link, place))
        self._tasks.add(task)
        task.add_done_callback(self._leave)
        self._places.take(place)
        return link

    def _turn_away(self, first: FirstPacket, address: Address) -> None:
        self.refused += 1
        self._options.on_refusal("shutdown" if self._is_closed else "internal", host_of(address))
        self._socket.send(first.refuse(), address)

    async def _watch(self, link: QuicLink, place: CallerPlace) -> None:
        """Hand a connection over once its handshake is over, and wait for its end."""
        try:
            await link.established()
        except Unreachable as unreachable:
            self.refused += 1
            if link.closed is not None and not link.closed.by_peer:
                self._options.on_refusal(unreachable.reason, link.remote)
        else:
            place.connection = link
            self._hand_over(link)
        finally:
            self._unfinished.pop(link, None)
            self._half_open -= Counter((place.share,))
        await link.ended()
        self._places.leave(place)

    def _leave(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._is_closed and not self._tasks:
            self._socket.close()


def _parse(address: str) -> tuple[bytes | None, str, int]:
    """Return the pinned endpoint id, host and port of an address. Raises AddressRefused."""
    found = _ENDPOINT.fullmatch(address)
    if found is None:
        raise AddressRefused(f"{address!r} is not quic://HOST:PORT or quic://ENDPOINT@HOST:PORT")
    host, port = parse_address(f"quic://{found['rest']}", "quic")
    if found["id"] is None:
        return None, host, port
    if not _ID.fullmatch(found["id"]):
        raise AddressRefused(f"{address!r} names no endpoint id, which is 64 hexadecimal digits")
    return bytes.fromhex(found["id"]), host, port


async def listen(address: str, options: TransportOptions) -> Listener:
    """Bind a UDP port at quic://HOST:PORT. Raises AddressRefused, OSError."""
    pinned, host, port = _parse(address)
    if pinned is not None:
        raise AddressRefused(f"{address!r}: an endpoint id is for dialling, not for listening")
    try:
        made = await _open(host, port, socket.socket.bind)
    except OSError as fault:
        raise OSError(f"{address} cannot be bound: {why(fault)}") from fault
    return QuicListener(made, host, options)


async def dial(address: str, options: TransportOptions) -> Connection:
    """Connect to an address of QUIC. Raises AddressRefused, Unreachable."""
    pinned, host, port = _dialled(address)
    try:
        made = await _open(host, port, socket.socket.connect)
    except OSError as fault:
        raise Unreachable(f"cannot be reached: {why(fault)}") from fault
    quic = HeldConnection(options, configure(options, _key_of(options), dials=True))
    peer: Address = made.getpeername()
    link = QuicLink(
        quic,
        options,
        # The socket is connected, so an answer that nobody is there reaches it.
        lambda datagram, _: udp.send(datagram, peer),
        dialled=True,
        pinned=pinned,
    )
    udp = _Socket(made, lambda datagram, _: link.take_datagram(datagram, peer), link.after_input)
    udp.on_nobody = partial(_nobody, link, host)
    link.on_end = udp.close
    link.freed = free_after(link.ended(), udp.close)
    quic.connect(peer, asyncio.get_running_loop().time())
    link.after_input()
    try:
        await link.established()
    except Unreachable as fault:
        # A handshake that was given up would hold its socket for a while.
        link.abandon("shutdown")
        raise _unreachable(fault, link.another_id) from fault
    except asyncio.CancelledError:
        # Even if the handshake is just over: nobody gets the connection.
        link.abandon("shutdown")
        raise
    return link


def _nobody(link: QuicLink, host: str) -> None:
    """End a connection whose peer is gone.

    Anyone can forge this answer of the system to an address that is not on this machine.
    """
    if not link.peer_id or is_loopback(host):
        link.break_off()


def _unreachable(fault: Unreachable, another_id: bytes) -> Unreachable:
    if another_id:
        return Unreachable(f"is another endpoint: {another_id.hex()}", fault.code)
    if fault.reason == "handshake-timeout":
        return Unreachable("does not answer", fault.code)
    return Unreachable(f"cannot be reached: {fault.reason}", fault.code)


def _dialled(address: str) -> tuple[bytes | None, str, int]:
    pinned, host, port = _parse(address)
    if not port:
        raise AddressRefused(f"{address!r} names no port to dial")
    check_host(host, address)
    return pinned, host, port


def check_dialled(address: str, *, lab: bool) -> None:
    """Raise AddressRefused unless this is an address of QUIC with a port."""
    _dialled(address)
