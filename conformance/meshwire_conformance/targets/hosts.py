"""Hosts in addresses: the forms of an IPv6 address, and which hosts are this machine.

`[::1]` stands in brackets, an IPv4-mapped address is read as the IPv4 address, and a zone is kept
where the address is unique on one link alone; `%25` for the percent sign is read too.
"""

from __future__ import annotations

import re
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address

from meshwire_conformance.errors import UsageError

PORT_MAX = 0xFFFF
HOST_MAX = 253
"""Characters of the longest host name."""
SHOWN_MAX = 80
"""Characters that are shown of a wrong address."""
_LABEL = r"(?!-)[\w-]{1,63}(?<!-)"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_NUMERIC = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9a-fA-F]*)\.?")
"""A host whose last label is a number: it is an IPv4 address, or a mistake."""


def split_location(location: str, before: str) -> tuple[str, int]:
    """Return host and port of `HOST:PORT`.

    `before` is the rest of the address, for the message. Raises UsageError, which says what is
    wrong, and the right form of an IPv6 address; whether a name exists is not looked at.
    """
    whole = f"{before}{location}"
    if location.startswith("["):
        inside, bracket, behind = location[1:].partition("]")
        if not bracket:
            raise _malformed(whole, "']' is missing behind the IPv6 address")
        host = _inside_brackets(inside, before, behind)
        if behind and not behind.startswith(":"):
            raise _malformed(whole, "':' and a port are expected behind ']'")
        return host, _port(behind[1:], whole)
    host, colon, port = location.rpartition(":")
    if isinstance(_ip(host), IPv6Address):
        raise UsageError(f"an IPv6 address has brackets: {before}[{host}]:{port}")
    if isinstance(_ip(location), IPv6Address):
        raise UsageError(f"an IPv6 address has brackets and a port: {before}[{location}]:PORT")
    if not colon:
        host, port = location, ""
    _check_host(host, whole)
    return host, _port(port, whole)


def _inside_brackets(inside: str, before: str, behind: str) -> str:
    found = _ip(inside)
    if isinstance(found, IPv4Address):
        raise UsageError(f"an IPv4 address has no brackets: {before}{inside}{behind}")
    if not isinstance(found, IPv6Address):
        raise _malformed(f"{before}[{inside}]{behind}", f"{_cut(inside)!r} is no IPv6 address")
    return _plain(found)


def _check_host(host: str, whole: str) -> None:
    """Raise UsageError if a host is neither an IPv4 address nor a name."""
    if not host:
        raise _malformed(whole, "the host is missing")
    if host.endswith("]"):
        raise _malformed(whole, "'[' is missing before the IPv6 address")
    if _ip(host) is not None:
        return
    if _NUMERIC.fullmatch(host):
        why = "is no IPv4 address, which has four numbers up to 255"
        raise _malformed(whole, f"{_cut(host)!r} {why}")
    if len(host) > HOST_MAX or not _NAME.fullmatch(host):
        raise _malformed(whole, f"{_cut(host)!r} is no host name")


def _port(text: str, whole: str) -> int:
    if not text:
        raise _malformed(whole, "the port is missing")
    if not (text.isascii() and text.isdigit()):
        raise _malformed(whole, f"{_cut(text)!r} is no port")
    digits = text.lstrip("0") or "0"
    if len(digits) > len(str(PORT_MAX)) or int(digits) > PORT_MAX:
        raise _malformed(whole, f"{_cut(digits)} is no port: the greatest is {PORT_MAX}")
    return int(digits)


def _malformed(whole: str, why: str) -> UsageError:
    return UsageError(f"{_cut(whole)!r} is no address: {why}")


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_MAX else f"{text[: SHOWN_MAX // 2]}..."


def addresses_of(name: str) -> list[str]:
    """Return the IP addresses of a host name; raises UsageError if there is no such name."""
    try:
        found = socket.getaddrinfo(name, 0, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        why = getattr(exc, "strerror", None) or exc
        raise UsageError(f"{_cut(name)!r}: no such host name ({why})") from exc
    return [str(address[0]) for *_, address in found]


def in_address(host: str) -> str:
    """Return a host as it stands in front of a port."""
    return f"[{host}]" if ":" in host else host


def is_loopback(location: str) -> bool:
    """Return True if `HOST:PORT`, perhaps behind `ENDPOINT@`, stays on this machine."""
    host = host_of(location)
    found = _ip(host)
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    found = mapped or found
    return host == "localhost" if found is None else found.is_loopback


def host_of(location: str) -> str:
    """Return the host of `HOST:PORT`, perhaps behind `ENDPOINT@`, without brackets."""
    return location.rpartition("@")[2].rpartition(":")[0].strip("[]")


def is_ip(host: str) -> bool:
    """Return True if a host is an IP address, and no name."""
    return _ip(host) is not None


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
