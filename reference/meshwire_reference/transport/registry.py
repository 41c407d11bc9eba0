"""The registry of transports: from the scheme of an address to the functions that serve it.

A further transport is a function that imports its module, and a row of TRANSPORTS. Tests add a
row for the memory transport.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, NoReturn

from meshwire_reference.extras import install_line
from meshwire_reference.transport.base import (
    AddressRefused,
    Connection,
    Listener,
    TransportError,
    TransportOptions,
)


@dataclass(frozen=True, slots=True)
class Transport:
    """The functions of one transport; see `listen`, `dial` and `check_dialled` below."""

    listen: Callable[[str, TransportOptions], Awaitable[Listener]]
    dial: Callable[[str, TransportOptions], Awaitable[Connection]]
    check_dialled: Callable[..., None]


def _load_tcp() -> Transport:
    from meshwire_reference.transport.lab import tcp  # noqa: PLC0415 - loaded when it is asked for

    return Transport(tcp.listen, tcp.dial, tcp.check_dialled)


def _load_iroh() -> Transport:
    try:
        from meshwire_reference.transport.iroh import endpoint  # noqa: PLC0415 - the package may be missing
    except ModuleNotFoundError as missing:
        if missing.name != "iroh":
            raise
        raise TransportError(f"iroh:// needs a package: {install_line('iroh')}") from missing
    return Transport(endpoint.listen, endpoint.dial, endpoint.check_dialled)


def _load_quic() -> Transport:
    try:
        from meshwire_reference.transport.quic import endpoint  # noqa: PLC0415 - the package may be missing
    except ModuleNotFoundError as missing:
        if missing.name != "aioquic":
            raise
        raise TransportError(f"quic:// needs a package: {install_line('quic')}") from missing
    return Transport(endpoint.listen, endpoint.dial, endpoint.check_dialled)


TRANSPORTS: Final[dict[str, Callable[[], Transport]]] = {
    "tcp": _load_tcp,
    "quic": _load_quic,
    "iroh": _load_iroh,
}
"""Scheme -> function that imports the transport, called when an address asks for it."""

OFFERED: Final = ("tcp", "quic", "iroh")
"""Schemes whose addresses another process can reach."""


async def listen(address: str, options: TransportOptions) -> Listener:
    """Bind an address (port 0: any) and return once it can be dialled.

    Raises AddressRefused; OSError where the address cannot be bound.
    """
    return await _transport_of(address).listen(address, options)


async def dial(address: str, options: TransportOptions) -> Connection:
    """Connect to an address and return once the peer's identity is known.

    Raises AddressRefused, Unreachable.
    """
    return await _transport_of(address).dial(address, options)


def check_dialled(address: str, *, lab: bool = False) -> None:
    """Raise AddressRefused for an address that may never be dialled; nothing is sent.

    `lab` allows the lab binding off loopback.
    """
    _transport_of(address).check_dialled(address, lab=lab)


def check_characters(address: str) -> None:
    """Raise AddressRefused for an address with characters that none has."""
    # What reads a URL drops line ends and tabs: "1\n2" would be port 12.
    if not address.isprintable() or " " in address:
        raise AddressRefused(f"{address!r} has spaces or control characters: no address has any")


def check_offered(address: str) -> None:
    """Raise AddressRefused for a scheme that no other process can reach."""
    if address.partition("://")[0] not in OFFERED:
        _refuse_scheme(address)


def _refuse_scheme(address: str) -> NoReturn:
    if address.startswith(("ws://", "wss://")):
        raise AddressRefused(
            f"{address!r} is that of a node of signed operations: `meshwire-node run --rendezvous` "
            "dials it"
        )
    known = " or ".join(f"{name}://" for name in OFFERED)
    raise AddressRefused(f"{address!r} is no address: an address begins with {known}")


def _transport_of(address: str) -> Transport:
    check_characters(address)
    load = TRANSPORTS.get(address.partition("://")[0])
    if load is None:
        _refuse_scheme(address)
    return load()
