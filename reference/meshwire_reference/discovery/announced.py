"""What becomes of the services that other machines announce: which are dialled, and when.

Without input or output: announcements, time and randomness are arguments. What is announced is a
hint where a node may be, and says nothing about who is there: only the endpoint id that a
connection proves counts (TR-062). So an announcement is held if it fits, and dialled in its turn.

Bounds. A machine may announce what it likes, so at most `NAMES_MAX` names are held, of one host at
most `NAMES_OF_HOST`, and at most `DIALLED_MAX` are dialled. New ones are dialled one after the
other, `PACE_S` apart at random, so that a thousand names cause no storm of dials (TR-065). One
that fails is dialled again after those that wait, so that silent names hold nobody up (TR-066).
"""

from __future__ import annotations

import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address
from typing import Final, TypeAlias

from meshwire_reference.hosts import HostAddress, class_of

NAMES_MAX: Final = 256
"""Greatest number of names that are held."""
NAMES_OF_HOST: Final = 4
"""Greatest number of names of one address of IP."""
DIALLED_MAX: Final = 16
"""Greatest number of them that are dialled at the same time."""
PACE_S: Final = 1.0
"""Mean seconds between the first dials of two names."""
NAME_MAX: Final = 255
"""Greatest number of bytes in a name: that of DNS."""
TEXT_MAX: Final = 1300
"""Greatest number of bytes in keys and values of a TXT record: what fits a datagram."""
HOSTS_MAX: Final = 16
"""Greatest number of addresses of one name that are looked at."""
NODE_ID_MAX: Final = 255
"""Greatest number of bytes in a node id."""
SCHEMES: Final = ("quic", "iroh", "tcp")
"""Transports that an announcement may name."""
ENDPOINT: Final = re.compile("[0-9a-f]{64}")

HostNetwork: TypeAlias = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class ServiceAnnouncement:
    """A service as it was announced; nothing of it was checked. `hosts` are addresses as text."""

    name: str
    hosts: tuple[str, ...]
    port: int
    text: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ServiceFound:
    """A service is there; `address` is None where the announcement names no known transport."""

    name: str
    node_id: str
    address: str | None


@dataclass(frozen=True, slots=True)
class ServiceLost:
    """A service was withdrawn, has expired, or is elsewhere now."""

    name: str
    address: str | None


@dataclass(frozen=True, slots=True)
class AnnouncementIgnored:
    """An announcement that is neither held nor dialled, and why."""

    name: str
    reason: str


DiscoveryEvent: TypeAlias = ServiceFound | ServiceLost | AnnouncementIgnored


@dataclass(frozen=True, slots=True)
class _Held:
    found: ServiceFound
    host: HostAddress


class _Unfit(Exception):
    """An announcement that is ignored; the text is the reason."""


class DiscoveredPeers:
    """The services that are there, and the addresses of those to dial."""

    def __init__(
        self, own_node_id: str, networks: Iterable[HostNetwork], random: Callable[[], float]
    ) -> None:
        """Begin with nothing.

        `networks` are those that this machine is in, without loopback, which is fit only where it
        is one of them; `random` returns numbers from 0 to below 1.
        """
        self._own_node_id = own_node_id
        self._networks = tuple(networks)
        self._random = random
        self._held: dict[str, _Held] = {}
        self._of_host: Counter[HostAddress] = Counter()
        self._waiting: OrderedDict[str, None] = OrderedDict()
        self._dialled: dict[str, str] = {}
        self._next_s: float | None = None

    @property
    def found(self) -> tuple[ServiceFound, ...]:
        """What is there, in the order in which it was found."""
        return tuple(held.found for held in self._held.values())

    @property
    def next_s(self) -> float | None:
        """The monotonic time at which the next address is due, None if none is."""
        return self._next_s

    def announce(self, announced: ServiceAnnouncement, now_s: float) -> list[DiscoveryEvent]:
        """Take an announcement; return what it changes. `now_s` is the monotonic time."""
        events = self._take(announced)
        # Also where it is ignored: it may have ended what its name meant, and made room.
        self._arm(now_s)
        return events

    def _take(self, announced: ServiceAnnouncement) -> list[DiscoveryEvent]:
        name = announced.name[:NAME_MAX]
        try:
            host, found = self._read(announced)
        except _Unfit as unfit:
            # What the name meant before is not there any more.
            return [*self.withdraw(name), AnnouncementIgnored(name, str(unfit))]
        if found is None:
            return []
        before = self._held.get(name)
        if before is not None and before.found == found:
            return []
        events = self.withdraw(name)
        # TR-065
        if len(self._held) >= NAMES_MAX:
            return [*events, AnnouncementIgnored(name, "too-many-names")]
        if self._of_host[host] >= NAMES_OF_HOST:
            return [*events, AnnouncementIgnored(name, "too-many-of-one-host")]
        self._held[name] = _Held(found, host)
        self._of_host[host] += 1
        if found.address is not None:
            self._waiting[name] = None
        return [*events, found]

    def withdraw(self, name: str) -> list[DiscoveryEvent]:
        """Take the end of a service; return what it changes."""
        held = self._held.pop(name, None)
        if held is None:
            return []
        self._of_host[held.host] -= 1
        if not self._of_host[held.host]:
            del self._of_host[held.host]
        self._pass_on(name, held.found.address)
        return [ServiceLost(name, held.found.address)]

    def _pass_on(self, name: str, address: str | None) -> None:
        """Give what a lost name has to another name of its address: the dial, or the wait for it.

        Otherwise a name that comes and goes would end the dials of an address that has two.
        """
        was_dialled, was_waiting = name in self._dialled, name in self._waiting
        self._dialled.pop(name, None)
        self._waiting.pop(name, None)
        if address is None:
            return
        others = (other for other, held in self._held.items() if held.found.address == address)
        heir = next(others, None)
        if heir is not None and was_dialled:
            self._waiting.pop(heir, None)
            self._dialled[heir] = address
        elif heir is not None and was_waiting and not self.is_dialled(address):
            self._waiting.setdefault(heir)

    def is_dialled(self, address: str) -> bool:
        """Return True if a name that is there has this address, and a place among the dialled."""
        return address in self._dialled.values()

    def take_due(self, now_s: float) -> str | None:
        """Return the address that is to be dialled from now on, None if none is due yet."""
        if self._next_s is None or now_s < self._next_s:
            return None
        self._next_s = None
        address = None
        # TR-065
        while self._waiting and len(self._dialled) < DIALLED_MAX and address is None:
            name, _ = self._waiting.popitem(last=False)
            wanted = self._held[name].found.address
            assert wanted is not None, "only names with an address wait"
            if not self.is_dialled(wanted):
                address = self._dialled[name] = wanted
        self._arm(now_s)
        return address

    def _arm(self, now_s: float) -> None:
        """Choose the time of the next dial, unless it is chosen or none is to be made."""
        if self._waiting and self._next_s is None and len(self._dialled) < DIALLED_MAX:
            self._next_s = now_s + 2 * PACE_S * self._random()

    def fail(self, address: str, now_s: float) -> bool:
        """Take a dial that failed or a connection that ended; return True if it yields its place.

        It does to a name that waits, and then waits for its own turn.
        """
        name = next((name for name, dialled in self._dialled.items() if dialled == address), None)
        # TR-066
        if name is None or not self._waiting:
            return False
        del self._dialled[name]
        self._waiting[name] = None
        self._arm(now_s)
        return True

    def resume(self, now_s: float) -> None:
        """Dial what waits, since an address was lost."""
        self._arm(now_s)

    # --- what an announcement says ---------------------------------------------------------------

    def _read(self, announced: ServiceAnnouncement) -> tuple[HostAddress, ServiceFound | None]:
        """Return host and service of an announcement; None for that of this node. Raises _Unfit."""
        # TR-063
        if len(announced.name.encode()) > NAME_MAX:
            raise _Unfit("name-too-long")
        size = sum(len(key.encode()) + len(value.encode()) for key, value in announced.text.items())
        if size > TEXT_MAX:
            raise _Unfit("text-too-long")
        node_id = announced.text.get("node_id", "")
        if not node_id or not node_id.isprintable() or len(node_id.encode()) > NODE_ID_MAX:
            raise _Unfit("bad-node-id")
        if not 0 < announced.port < 2**16:
            raise _Unfit("bad-port")
        if node_id == self._own_node_id:
            return IPv4Address(0), None
        host = self._choose(announced.hosts)
        return host, ServiceFound(announced.name, node_id, _address_of(announced, host))

    def _choose(self, texts: tuple[str, ...]) -> HostAddress:
        """Return the first address that fits; raise _Unfit with the fault of the first one."""
        reasons = []
        for text in texts[:HOSTS_MAX]:
            try:
                host = ip_address(text)
            except ValueError:
                reasons.append("bad-address")
                continue
            reason = self._fault_of(host)
            if reason is None:
                return host
            reasons.append(reason)
        raise _Unfit(reasons[0] if reasons else "no-address")

    def _fault_of(self, host: HostAddress) -> str | None:
        """Return why an address is not dialled, None if it may be."""
        # TR-064
        if any(host in network for network in self._networks):
            return None
        return f"{class_of(host) or 'off-link'}-address"


def _address_of(announced: ServiceAnnouncement, host: HostAddress) -> str | None:
    """Return the address to dial, None where the announcement names no transport of ours."""
    scheme, endpoint_id = (announced.text.get(key, "") for key in ("scheme", "endpoint_id"))
    if scheme not in SCHEMES:
        return None
    if endpoint_id and not ENDPOINT.fullmatch(endpoint_id):
        raise _Unfit("bad-endpoint-id")
    if scheme == "iroh" and not endpoint_id:
        raise _Unfit("bad-endpoint-id")
    # TR-062: where one is named it has to be proven, and nothing else follows from it.
    named = f"{endpoint_id}@" if endpoint_id and scheme != "tcp" else ""
    shown = f"[{host}]" if host.version == 6 else str(host)  # noqa: PLR2004 - of IP
    return f"{scheme}://{named}{shown}:{announced.port}"
