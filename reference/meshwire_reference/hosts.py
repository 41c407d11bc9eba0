"""What an address of IP leads to, in whatever form it is written: for all that dial addresses.

An address of IPv6 may contain one of IPv4, to which its packets go in the end, so it is judged by
that one. Private networks are allowed.
"""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import Final, TypeAlias

HostAddress: TypeAlias = IPv4Address | IPv6Address

COMPATIBLE: Final = IPv6Network("::/96")
"""Of RFC 4291, deprecated: an address of IPv4 in the last 32 bits."""
TRANSLATED: Final = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
"""Of NAT64 (RFC 6052, RFC 8215): the same."""
BROADCAST: Final = IPv4Address("255.255.255.255")


class HostClass(StrEnum):
    """A kind of address that is not that of one host of a network."""

    UNSPECIFIED = "unspecified"
    LOOPBACK = "loopback"
    MULTICAST = "multicast"
    BROADCAST = "broadcast"
    LINK_LOCAL = "link-local"
    RESERVED = "reserved"


PROPERTIES: Final = (
    ("is_unspecified", HostClass.UNSPECIFIED),
    ("is_loopback", HostClass.LOOPBACK),
    ("is_multicast", HostClass.MULTICAST),
    ("is_link_local", HostClass.LINK_LOCAL),
    ("is_reserved", HostClass.RESERVED),
)
"""Property of an address, and the class that it gives."""


def class_of(host: HostAddress) -> HostClass | None:
    """Return the class of a host, or of the one within it; None for any other host."""
    inner = within(host)
    if inner is not None:
        # RFC 4291: nothing is sent to compatible ones.
        rest = HostClass.RESERVED if host in COMPATIBLE else None
        return class_of(inner) or rest
    if host == BROADCAST:
        return HostClass.BROADCAST
    # Of IPv4 a whole network means this machine.
    if isinstance(host, IPv4Address) and host.packed[0] == 0:
        return HostClass.UNSPECIFIED
    return next((kind for name, kind in PROPERTIES if getattr(host, name)), None)


def within(host: HostAddress) -> IPv4Address | None:
    """Return the address of IPv4 within one of IPv6, None without."""
    if isinstance(host, IPv4Address):
        return None
    if host.ipv4_mapped or host.sixtofour:
        return host.ipv4_mapped or host.sixtofour
    if host.teredo is not None:
        # The address of the client, to which a relay sends.
        return host.teredo[1]
    is_compatible = host in COMPATIBLE and not (host.is_unspecified or host.is_loopback)
    if is_compatible or any(host in network for network in TRANSLATED):
        return IPv4Address(host.packed[-4:])
    return None


def is_number(name: str) -> bool:
    """Return True for a name that a resolver reads as an address, such as `127.1` or `0x7f000001`.

    Source: inet_aton of POSIX.
    """
    last = name.rstrip(".").rpartition(".")[2]
    return last.isdecimal() or last.lower().startswith("0x")
