"""Transports by the scheme of an address; a further one is a module and a row of this table."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Final

from meshwire_reference.transport.base import (
    AddressRefused,
    Connection,
    Listener,
    TransportError,
    TransportOptions,
)

TRANSPORTS: Final = {
    "tcp": "meshwire_reference.transport.tcp",
    "memory": "meshwire_reference.transport.memory",
    "iroh": "meshwire_reference.transport.iroh",
}
"""Scheme -> module with `listen` and `dial`, loaded only when an address asks for it."""

MISSING: Final = {"iroh": "pip install 'meshwire[iroh]'"}
"""Scheme -> what installs the package its module cannot do without."""


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


def _module(address: str) -> ModuleType:
    scheme = address.partition("://")[0]
    if scheme not in TRANSPORTS:
        known = ", ".join(f"{name}://" for name in TRANSPORTS)
        raise AddressRefused(f"{address!r} has none of the schemes {known}")
    try:
        return import_module(TRANSPORTS[scheme])
    except ModuleNotFoundError as missing:
        if scheme not in MISSING:
            raise
        raise TransportError(f"{scheme}:// needs a package: {MISSING[scheme]}") from missing
