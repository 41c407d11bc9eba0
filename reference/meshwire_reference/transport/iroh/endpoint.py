"""The iroh transport: QUIC with proven identities, as the deployed nodes speak it.

Relays are off unless the operator names some, and every kind of discovery is: an address names
identity, host and port. The library
binds a socket for each address family, so both are named here; left alone it would bind the other
one to every interface.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable
from typing import Final

import iroh

from meshwire_reference.transport.base import (
    AddressRefused,
    Connection,
    Listener,
    TransportOptions,
    Unreachable,
    Windows,
)
from meshwire_reference.transport.iroh.connection import IrohConnection
from meshwire_reference.transport.iroh.library import free_waiting
from meshwire_reference.transport.lab.tcp import (
    check_host,
    is_loopback,
    parse_address,
    share_of,
    with_zone,
)
from meshwire_reference.transport.places import CallerPlace, Places
from meshwire_spec.numbers import HANDSHAKE_S, REASONS

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


class _GivesWay(Exception):
    """A caller has lost its place to another one before its connection began."""


class _Caller:
    """One that calls a listener, from its first packet to the end of its connection."""

    def __init__(
        self, incoming: iroh.Incoming, host: str, reason_of_cancelling: Callable[[], str]
    ) -> None:
        self._incoming = incoming
        self._reason_of_cancelling = reason_of_cancelling
        self.host = host
        self.place = CallerPlace(share_of((host, 0)), self._give_way)
        self._gives_way = False
        self._is_over = asyncio.Event()
        self._closing: asyncio.Task[None] | None = None

    async def connect(self) -> iroh.Connection:
        """Return the connection after QUIC's handshake. Raises _GivesWay, IrohError."""
        if self._has_given_way():
            await self._incoming.refuse()
            raise _GivesWay
        shaking = asyncio.ensure_future(self._shake())
        shaking.add_done_callback(lambda _: self._is_over.set())
        try:
            await self._is_over.wait()
        except asyncio.CancelledError:
            await self._give_up(shaking, self._reason_of_cancelling())
            raise
        if self._has_given_way():
            await self._give_up(shaking, "internal")
            raise _GivesWay
        return shaking.result()

    @staticmethod
    async def _give_up(shaking: asyncio.Future[iroh.Connection], reason: str) -> None:
        """End a handshake; a connection that it has led to meanwhile would have no server."""
        shaking.cancel()
        await asyncio.wait({shaking})
        if not shaking.cancelled() and shaking.exception() is None:
            shaking.result().close(REASONS[reason].code, reason.encode())

    def _has_given_way(self) -> bool:
        return self._gives_way

    async def _shake(self) -> iroh.Connection:
        return await (await self._incoming.accept()).connect()

    def begin(
        self,
        connection: iroh.Connection,
        windows: Windows,
        on_end: Callable[[_Caller], Awaitable[None]],
    ) -> IrohConnection:
        """Return the connection for the application."""
        begun = IrohConnection(connection, windows, dialled=False, on_end=lambda: on_end(self))
        begun.remote = self.host
        self.place.connection = begun
        return begun

    def _give_way(self) -> None:
        if self.place.connection is None:
            self._gives_way = True
            self._is_over.set()
        else:
            closing = self.place.connection.close(REASONS["internal"].code, "internal")
            self._closing = asyncio.get_running_loop().create_task(closing)


REFUSALS: Final[dict[type[Exception], str]] = {
    TimeoutError: "handshake-timeout",
    _GivesWay: "internal",
}
"""Reason of a refusal before the connection, by the exception; the other ends are the peer's."""
WRONG_ALPN: Final = "peer doesn't support any known protocol"
"""A part of the library's text for a caller without a common ALPN."""
_OWN_ERROR: Final = re.compile(
    r"TransportError\(Error \{ code: (?:Code::crypto\((?P<alert>[0-9a-f]+)\)|(?P<name>\w+)), .*",
    re.DOTALL,
)
"""The library's text for an end by this side; the alert is in hexadecimal."""
CRYPTO_ERROR: Final = 0x100
"""The error of QUIC that alerts of TLS are added to."""
ANOTHER: Final = "invalid peer certificate: UnknownIssuer"
"""A part of the library's text for a peer with another key than the one of the address."""


class IrohListener(Listener):
    """A bound endpoint that accepts connections of one protocol."""

    def __init__(self, shared: _Endpoint, address: str, options: TransportOptions) -> None:
        super().__init__()
        self.address = address
        self.endpoint_id = shared.endpoint.id().to_bytes()
        self._shared = shared
        self._options = options
        self._places = Places(options.connections_max)
        self._tasks: set[asyncio.Task[None]] = set()
        shared.join()
        self._loop = asyncio.get_running_loop()
        self._accepting = self._loop.create_task(self._accept_all())

    async def _stop(self) -> None:
        self._accepting.cancel()
        # A handshake that is not over would become a connection that nobody serves.
        for task in self._tasks:
            task.cancel()
        await asyncio.wait({self._accepting, *self._tasks})
        await self._shared.leave()

    async def _accept_all(self) -> None:
        while (incoming := await self._shared.endpoint.accept_next()) is not None:
            free_waiting()
            task = self._loop.create_task(self._accept(incoming))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _accept(self, incoming: iroh.Incoming) -> None:
        """Do the handshake of QUIC with a caller, unless it has to give way."""
        address = await incoming.remote_addr()
        # The text of an address and a port; of a relay there is none.
        socket_text: str = getattr(address, "addr", "")
        host = socket_text.rpartition(":")[0].strip("[]")
        caller = _Caller(
            incoming, host, lambda: "shutdown" if self._is_closed else "handshake-timeout"
        )
        self._shared.join()
        self._places.take(caller.place)
        try:
            async with asyncio.timeout(_connects_within_s(self._options)):
                connection = await caller.connect()
        except (iroh.IrohError, TimeoutError, _GivesWay) as error:
            self._note_refused(caller, error)
            await self._leave(caller)
        except asyncio.CancelledError:
            # The listener is closed.
            await self._leave(caller)
            raise
        else:
            self._hand_over(caller.begin(connection, self._options.windows, self._leave))

    def _note_refused(self, caller: _Caller, error: Exception) -> None:
        self.refused += 1
        reason = REFUSALS.get(type(error))
        if isinstance(error, iroh.IrohError):
            reason = _own_reason(error.message())
        if reason is not None:
            self._options.on_refusal(reason, caller.host)

    async def _leave(self, caller: _Caller) -> None:
        self._places.leave(caller.place)
        await self._shared.leave()


def _own_reason(text: str) -> str | None:
    """Return why this side has refused a handshake, None where its peer has ended it."""
    found = _OWN_ERROR.fullmatch(text)
    if found is None:
        return None
    if WRONG_ALPN in text:
        return "wrong-alpn"
    alert = found["alert"]
    code = f"{CRYPTO_ERROR + int(alert, 16):#x}" if alert else found["name"]
    return f"error {code} of QUIC"


async def _bind(addresses: tuple[str, ...], options: TransportOptions) -> _Endpoint:
    return _Endpoint(
        await iroh.Endpoint.bind(
            iroh.EndpointOptions(
                preset=_Bound(addresses),
                secret_key=options.secret_key,
                alpns=[options.alpn.encode()],
                relay_mode=relay_mode(options.relays),
            ),
        ),
    )


def relay_mode(relays: tuple[str, ...]) -> iroh.RelayMode:
    """Return the mode with exactly these relays: without any, the library contacts none."""
    return iroh.RelayMode.custom_from_urls(list(relays)) if relays else iroh.RelayMode.disabled()


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
    target, host, version = _target(address, options.relays)
    own = LOOPBACK if is_loopback(host) else {**LOOPBACK, version: ANY[version]}
    try:
        shared = await _bind(tuple(own.values()), options)
    except iroh.IrohError as error:
        raise Unreachable(f"cannot be dialled: {_cause(error)}") from error
    shared.join()
    try:
        async with asyncio.timeout(_connects_within_s(options)):
            connection = await shared.endpoint.connect(target, options.alpn.encode())
    except TimeoutError as fault:
        shared.abandon()
        raise Unreachable("does not answer") from fault
    except iroh.IrohError as error:
        shared.abandon()
        cause = _cause(error)
        said = "is another endpoint" if cause.endswith(ANOTHER) else f"cannot be reached: {cause}"
        raise Unreachable(said) from error
    except asyncio.CancelledError:
        # The endpoint would go on without a user.
        shared.abandon()
        raise
    return IrohConnection(connection, options.windows, dialled=True, on_end=shared.leave)


def _target(address: str, relays: tuple[str, ...] = ()) -> tuple[iroh.EndpointAddr, str, int]:
    """Return endpoint, host and IP version of an address. Raises AddressRefused.

    Where there are relays, the peer is taken to be reached over the first one too.
    """
    name, host, port = _parse(address)
    version = _version(host)
    try:
        identity = iroh.EndpointId.from_string(name or "")
    except iroh.IrohError as error:
        raise AddressRefused(f"{address!r} names no endpoint id") from error
    return (
        iroh.EndpointAddr(identity, next(iter(relays), None), [_socket(host, port)]),
        host,
        version,
    )


def check_dialled(address: str, *, lab: bool) -> None:
    """Raise AddressRefused unless this is iroh://ENDPOINT@HOST:PORT."""
    _, host, _ = _target(address)
    check_host(host, address)
