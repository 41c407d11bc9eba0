"""Hosts in addresses: the forms of an IPv6 address, and which hosts are this machine.

`[::1]` stands in brackets, an IPv4-mapped address is read as the IPv4 address, and a zone is kept
where the address is unique on one link alone; `%25` for the percent sign is read too.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

from meshwire_conformance.errors import UsageError


def split_location(location: str, before: str) -> tuple[str, str]:
    """Return host and port of `HOST:PORT`, both as text; the port is not looked at.

    `before` is the rest of the address, for the message. Raises UsageError, which says the right
    form of an IPv6 address; a host that is a name is returned as it is.
    """
    host, _, port = location.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        inside = host[1:-1]
        if isinstance(_ip(inside), IPv4Address):
            raise UsageError(f"an IPv4 address has no brackets: {before}{inside}:{port}")
        found = _ip(inside)
        if not isinstance(found, IPv6Address):
            raise UsageError(f"{before}{location}: {inside!r} is no IPv6 address")
        return _plain(found), port
    if isinstance(_ip(host), IPv6Address):
        raise UsageError(f"an IPv6 address has brackets: {before}[{host}]:{port}")
    if isinstance(_ip(location), IPv6Address):
        raise UsageError(f"an IPv6 address has brackets and a port: {before}[{location}]:PORT")
    return host, port


def in_address(host: str) -> str:
    """Return a host as it stands in front of a port."""
    return f"[{host}]" if ":" in host else host


def is_loopback(location: str) -> bool:
    """Return True if `HOST:PORT`, perhaps behind `ENDPOINT@`, stays on this machine."""
    host = location.rpartition("@")[2].rpartition(":")[0].strip("[]")
    found = _ip(host)
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    found = mapped or found
    return host == "localhost" if found is None else found.is_loopback


def _ip(text: str) -> IPv4Address | IPv6Address | None:
    """Return the IP address that a text is, perhaps with a zone, else None."""
    try:
        return ip_address(text.replace("%25", "%", 1))
    except ValueError:
        return None


def _plain(found: IPv6Address) -> str:
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(found) if found.is_link_local else str(found).partition("%")[0]
