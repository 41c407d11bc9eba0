"""Discovery as a node runs it: what is announced becomes addresses that are dialled.

The decisions are those of `discovery`. This part gives them time, randomness and announcements,
and tells the log and those who listen what was found and lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from ipaddress import ip_address
from types import ModuleType
from typing import Final, Protocol
from urllib.parse import urlsplit

from meshwire_reference.discovery.announced import (
    AnnouncementIgnored,
    DiscoveredPeers,
    DiscoveryEvent,
    HostNetwork,
    ServiceAnnouncement,
    ServiceFound,
    ServiceLost,
)
from meshwire_reference.extras import install_line
from meshwire_reference.node.clocks import Clock
from meshwire_reference.node.log import NodeLog
from meshwire_reference.node.online import Network
from meshwire_reference.transport.base import TransportError

PACKAGES: Final = ("zeroconf", "ifaddr")
NODE_ID_DIGITS: Final = 16
"""Digits of the endpoint id that are the node id: a label of DNS has 63 bytes at most."""


class Browser(Protocol):
    """Hears announcements and makes that of this node."""

    async def open(self, own: ServiceAnnouncement | None) -> None:
        """Begin."""

    async def close(self) -> None:
        """End."""


EventListener = Callable[[DiscoveryEvent], None]


class Discovery:
    """The discovery of one node; `browse` makes what hears announcements.

    `networks` are those that this machine is in, None to look for them.
    """

    def __init__(
        self,
        network: Network,
        browse: Callable[[Discovery], Browser],
        random: Callable[[], float],
        *,
        networks: Iterable[HostNetwork] | None,
        lab: bool,
        log: NodeLog,
        clock: Clock,
    ) -> None:
        self._network = network
        self._browse = browse
        self._random = random
        self._networks = networks
        self._lab = lab
        self._log = log
        self._clock = clock
        self._peers = DiscoveredPeers("", (), random)
        self._browser: Browser | None = None
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._added: set[str] = set()
        self.listeners: list[EventListener] = []
        """Called with each event."""

    @property
    def found(self) -> tuple[ServiceFound, ...]:
        """What is there."""
        return self._peers.found

    async def open(self, endpoint_id: bytes, addresses: Iterable[str]) -> None:
        """Begin to browse, and announce this node. Raises OSError where there is no network."""
        networks = networks_of_machine() if self._networks is None else self._networks
        own = own_announcement(endpoint_id, addresses)
        if own is None:
            self._log.write("not-announced", why="no address that other machines reach")
        node_id = endpoint_id.hex()[:NODE_ID_DIGITS]
        self._peers = DiscoveredPeers(node_id, networks, self._random)
        self._task = asyncio.get_running_loop().create_task(self._dial())
        self._browser = self._browse(self)
        await self._browser.open(own)

    async def close(self) -> None:
        """Browse no longer; what was found is forgotten, and its connections stay."""
        browser, self._browser = self._browser, None
        if browser is not None:
            await browser.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        for found in self._peers.found:
            self.withdraw(found.name)

    def forget(self, listener: EventListener) -> None:
        """Tell a listener of nothing more."""
        if listener in self.listeners:
            self.listeners.remove(listener)

    def announce(self, announced: ServiceAnnouncement) -> None:
        """Take an announcement."""
        self._tell(self._peers.announce(announced, self._clock.monotonic_s()))

    def withdraw(self, name: str) -> None:
        """Take the end of a service."""
        self._tell(self._peers.withdraw(name))
        self._peers.resume(self._clock.monotonic_s())

    def leave_out(self, name: str) -> None:
        """Note a name that was not asked about."""
        self._tell([AnnouncementIgnored(name, "too-many-names")])

    def _tell(self, events: list[DiscoveryEvent]) -> None:
        for event in events:
            match event:
                case ServiceFound(name, node_id, address):
                    self._log.write("found", name=name, node_id=node_id, address=address)
                case ServiceLost(name, address):
                    self._log.write("lost", name=name, address=address)
                    if address in self._added and not self._peers.is_dialled(address):
                        self._added.discard(address)
                        self._network.drop(address)
                case AnnouncementIgnored(name, reason):
                    self._log.write("announcement-ignored", peer="mdns", name=name, why=reason)
            for listener in tuple(self.listeners):
                listener(event)
        self._news.set()

    async def _dial(self) -> None:
        """Dial what is due, for as long as the node is online."""
        while True:
            self._news.clear()
            now_s = self._clock.monotonic_s()
            address = self._peers.take_due(now_s)
            if address is not None:
                self._add(address)
            next_s = self._peers.next_s
            if next_s is None:
                await self._news.wait()
            else:
                await self._clock.sleep(max(0.0, next_s - now_s))

    def _add(self, address: str) -> None:
        dial = self._network.dials.get(address)
        if dial is not None and dial.is_wanted:
            # The operator has named it.
            return
        try:
            self._network.add(address, lab=self._lab, failed=self._fail)
        except TransportError as exc:
            self._log.write("announcement-ignored", peer="mdns", address=address, why=str(exc))
        else:
            self._added.add(address)

    def _fail(self, address: str) -> None:
        """Dial another name in place of one that has failed, if one waits."""
        if address in self._added and self._peers.fail(address, self._clock.monotonic_s()):
            self._added.discard(address)
            self._network.drop(address)
            self._news.set()


def browse_mdns(discovery: Discovery) -> Browser:
    """Return a browser of mDNS. Raises TransportError without the package."""
    mdns = load_mdns()
    heard = mdns.MdnsReports(discovery.announce, discovery.withdraw, discovery.leave_out)
    browser: Browser = mdns.MdnsBrowser(heard)
    return browser


def networks_of_machine() -> list[HostNetwork]:
    """Return the networks that this machine is in. Raises TransportError without the package."""
    networks: list[HostNetwork] = load_mdns().own_networks()
    return networks


def load_mdns() -> ModuleType:
    """Return the doorway of mDNS. Raises TransportError without the package."""
    try:
        from meshwire_reference.discovery import mdns  # noqa: PLC0415 - the package may be missing
    except ModuleNotFoundError as missing:
        if missing.name not in PACKAGES:
            raise
        line = install_line("discovery")
        raise TransportError(f"--discover mdns needs a package: {line}") from missing
    return mdns


def own_announcement(endpoint_id: bytes, addresses: Iterable[str]) -> ServiceAnnouncement | None:
    """Return the announcement of a node that listens on these; None if all are loopback."""
    for address in addresses:
        parts = urlsplit(address)
        with suppress(ValueError):
            host = ip_address(parts.hostname or "")
            if not (host.is_loopback or host.is_unspecified) and parts.port:
                digits = endpoint_id.hex()
                node_id = digits[:NODE_ID_DIGITS]
                text = {"node_id": node_id, "scheme": parts.scheme, "endpoint_id": digits}
                return ServiceAnnouncement(f"peat-{node_id}", (str(host),), parts.port, text)
    return None
