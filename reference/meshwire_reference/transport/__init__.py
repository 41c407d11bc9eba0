"""Transports by the scheme of an address; a further one is a module and a row of this table."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Final, NoReturn

from meshwire_reference.extras import install_line
from meshwire_reference.transport.base import (
    AddressRefused,
    Connection,
    Listener,
    TransportError,
    TransportOptions,
)

TRANSPORTS: Final = {
    "tcp": "meshwire_reference.transport.lab.tcp",
    "memory": "meshwire_reference.testing.memory_transport",
    "iroh": "meshwire_reference.transport.iroh.endpoint",
}
"""Scheme -> module with `listen` and `dial`, loaded only when an address asks for it."""

OFFERED: Final = ("tcp", "iroh")
"""Schemes whose addresses another process can reach."""

EXTRAS: Final = {"iroh": "iroh"}
"""Scheme -> the extra with the package that its module cannot do without."""


async def listen(address: str, options: TransportOptions) -> Listener:
    """Bind an address (port 0: any) and return once it can be dialled.

    Raises AddressRefused; OSError where the address cannot be bound.
    """
    listener: Listener = await _module(address).listen(address, options)
    return listener


async def dial(address: str, options: TransportOptions) -> Connection:
    """Connect to an address and return once the peer's identity is known.

    Raises AddressRefused, Unreachable.
    """
    connection: Connection = await _module(address).dial(address, options)
    return connection


def check_dialled(address: str, *, lab: bool = False) -> None:
    """Raise AddressRefused for what may never be dialled; nothing is sent.

    `lab` allows the lab binding off loopback.
    """
    _module(address).check_dialled(address, lab=lab)


def check_offered(address: str) -> None:
    """Raise AddressRefused for a scheme that no other process can reach."""
    if address.partition("://")[0] not in OFFERED:
        _refuse_scheme(address)


def _refuse_scheme(address: str) -> NoReturn:
    known = " or ".join(f"{name}://" for name in OFFERED)
    raise AddressRefused(f"{address!r} is no address: it begins with {known}")


def _module(address: str) -> ModuleType:
    scheme = address.partition("://")[0]
    if scheme not in TRANSPORTS:
        _refuse_scheme(address)
    try:
        return import_module(TRANSPORTS[scheme])
    except ModuleNotFoundError as missing:
        if missing.name != EXTRAS.get(scheme):
            raise
        raise TransportError(f"{scheme}:// needs a package: {install_line(scheme)}") from missing
