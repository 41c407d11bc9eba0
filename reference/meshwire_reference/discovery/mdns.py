"""The doorway of `zeroconf`: services of `_peat._udp.local.` on the networks of this machine.

What is heard is passed on unchecked, as a `ServiceAnnouncement`. The library itself asks, keeps
records for as long as they say, and reports their end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface
from typing import Any, Final

import ifaddr
from zeroconf import InterfaceChoice, ServiceInfo, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from meshwire_reference.discovery.announced import HostNetwork, ServiceAnnouncement

SERVICE: Final = "_peat._udp.local."
ASKED_MS: Final = 3000
"""Milliseconds in which the records of a name have to arrive."""
ASKED_MAX: Final = 64
"""Names whose records are asked for at the same time."""


@dataclass(frozen=True, slots=True)
class MdnsReports:
    """Who takes what is heard of the services."""

    announce: Callable[[ServiceAnnouncement], None]
    withdraw: Callable[[str], None]
    leave_out: Callable[[str], None]
    """Takes a name that was not asked about, since too many others are."""


class MdnsBrowser:
    """Browses services; `open` begins, `close` ends it.

    `hosts` are the own addresses whose networks are browsed, None for all of them.
    """

    def __init__(self, heard: MdnsReports, hosts: Sequence[str] | None = None) -> None:
        self._heard = heard
        self._hosts = hosts
        self._zeroconf: AsyncZeroconf | None = None
        self._browser: AsyncServiceBrowser | None = None
        self._asking: dict[str, asyncio.Task[None]] = {}

    async def open(self, own: ServiceAnnouncement | None) -> None:
        """Browse, and announce the service of this node if it has one. Raises OSError."""
        interfaces = InterfaceChoice.All if self._hosts is None else self._hosts
        self._zeroconf = AsyncZeroconf(interfaces=interfaces)
        if own is not None:
            await self._zeroconf.async_register_service(service_of(own), allow_name_change=True)
        self._browser = AsyncServiceBrowser(
            self._zeroconf.zeroconf, SERVICE, handlers=[self.take_change]
        )

    async def close(self) -> None:
        """Browse no longer, and withdraw the own service."""
        for task in self._asking.values():
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)
        if self._browser is not None:
            await self._browser.async_cancel()
        if self._zeroconf is not None:
            await self._zeroconf.async_unregister_all_services()
            await self._zeroconf.async_close()
        self._zeroconf = self._browser = None

    def take_change(
        self,
        zeroconf: Zeroconf,
        service_type: str,
        name: str,
        state_change: ServiceStateChange,
    ) -> None:
        """Take a change that the library reports."""
        instance = instance_of(name)
        if state_change is ServiceStateChange.Removed:
            asking = self._asking.pop(name, None)
            if asking is not None:
                asking.cancel()
            self._heard.withdraw(instance)
        elif name in self._asking:
            return
        elif len(self._asking) >= ASKED_MAX:
            self._heard.leave_out(instance)
        else:
            self._asking[name] = asyncio.ensure_future(self._ask(zeroconf, name))

    async def _ask(self, zeroconf: Zeroconf, name: str) -> None:
        """Ask for the records of a name, and pass on what has arrived of them."""
        info = AsyncServiceInfo(SERVICE, name)
        try:
            await info.async_request(zeroconf, ASKED_MS)
            self._heard.announce(announcement_of(info))
        finally:
            if self._asking.get(name) is asyncio.current_task():
                del self._asking[name]


def instance_of(name: str) -> str:
    """Return the name of a service without its type."""
    return name.removesuffix(f".{SERVICE}")


def announcement_of(info: ServiceInfo) -> ServiceAnnouncement:
    """Return what the records of a service say; what is no UTF-8 in them is replaced."""
    text = {
        key.decode("utf-8", "replace"): (value or b"").decode("utf-8", "replace")
        for key, value in info.properties.items()
    }
    hosts = tuple(info.parsed_addresses())
    return ServiceAnnouncement(instance_of(info.name), hosts, info.port or 0, text)


def service_of(own: ServiceAnnouncement) -> AsyncServiceInfo:
    """Return the service of this node as the library announces it."""
    properties: dict[str, Any] = dict(own.text)
    return AsyncServiceInfo(
        SERVICE,
        f"{own.name}.{SERVICE}",
        port=own.port,
        properties=properties,
        parsed_addresses=list(own.hosts),
    )


def own_networks() -> list[HostNetwork]:
    """Return the networks that this machine is in, without loopback and link-local ones."""
    networks: list[HostNetwork] = []
    for adapter in ifaddr.get_adapters():
        for one in adapter.ips:
            text = one.ip if isinstance(one.ip, str) else one.ip[0]
            host = ip_address(text)
            if not (host.is_loopback or host.is_link_local):
                networks.append(ip_interface(f"{text}/{one.network_prefix}").network)
    return networks
