"""Discovery in a node: what is found is dialled, what is lost is not, and both are reported."""

from __future__ import annotations

import asyncio
import json
import select
import socket
import sys
from collections.abc import Awaitable, Callable
from ipaddress import ip_network

import pytest

from meshwire_reference import discovery
from meshwire_reference.backend import Backend
from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.discovery.announced import (
    DIALLED_MAX,
    AnnouncementIgnored,
    DiscoveryEvent,
    ServiceAnnouncement,
    ServiceFound,
    ServiceLost,
)
from meshwire_reference.discovery.mdns import MdnsBrowser, MdnsReports
from meshwire_reference.node.config import Config
from meshwire_reference.node.discovering import Discovery, own_announcement
from run_here import run_here
from turns import all_wait

LOOPBACK = (ip_network("127.0.0.0/8"),)
LISTEN = ("tcp://127.0.0.1:0",)
HOST = "127.0.0.1"
MDNS_GROUP = "224.0.0.251"
MDNS_PORT = 5353
ID = bytes.fromhex("0f7a2b6e" * 8)

pytestmark = [pytest.mark.process, pytest.mark.socket]


class SilentBrowser:
    """Hears nothing; the test announces instead."""

    def __init__(self) -> None:
        self.own: list[ServiceAnnouncement | None] = []
        self.is_open = False

    async def open(self, own: ServiceAnnouncement | None) -> None:
        """Begin."""
        self.own.append(own)
        self.is_open = True

    async def close(self) -> None:
        """End."""
        self.is_open = False


def ignore(_heard: object) -> None:
    """Take what a browser hears."""


def announcement(address: str, name: str = "peat-one") -> ServiceAnnouncement:
    """Return the announcement of a node that listens on an address."""
    scheme, _, place = address.partition("://")
    host, _, port = place.rpartition(":")
    return ServiceAnnouncement(name, (host,), int(port), {"node_id": name, "scheme": scheme})


def with_two(
    test: Callable[[Backend, Backend, SilentBrowser], Awaitable[None]],
) -> None:
    """Run a test with a node that discovers on loopback, and with another one."""

    async def run() -> None:
        browser = SilentBrowser()
        settings = Settings(Dialect.OPEN, heartbeat_s=0)
        config = Config(LISTEN, settings)
        async with await Backend.open(config) as one, await Backend.open(config) as other:
            one.node.discover(lambda _discovery: browser, LOOPBACK)
            await one.sync_engine.start_sync()
            await other.sync_engine.start_sync()
            await test(one, other, browser)
        assert not browser.is_open

    asyncio.run(run())


def discovery_of(backend: Backend) -> Discovery:
    """Return the discovery of a node."""
    discovery = backend.node.discovery
    assert discovery is not None
    return discovery


def test_a_node_that_is_found_is_connected_until_it_is_lost() -> None:
    """TR-062: the endpoint id is the one that the connection shows, not what was announced."""
    events: list[DiscoveryEvent] = []

    async def test(one: Backend, other: Backend, _browser: SilentBrowser) -> None:
        (address,) = other.addresses
        cancel = one.peer_discovery.on_peer_event(events.append)
        discovery_of(one).announce(announcement(address))
        found = one.peer_discovery.announced_peers()
        one.node.clock.advance(3)
        peer = await one.peer_discovery.wait_for_peer()
        cancel()
        discovery_of(one).withdraw("peat-one")
        await other.close()
        await one.node.network.changed.until(lambda: not one.node.network.dials)

        assert peer.endpoint_id == other.endpoint_id
        assert found == (ServiceFound("peat-one", "peat-one", address),)
        assert events == list(found)
        assert one.peer_discovery.announced_peers() == ()

    with_two(test)


def test_names_without_a_node_give_way_to_one_that_waits() -> None:
    """TR-066: with as many of them as are dialled at once, and the node announced last."""

    async def test(one: Backend, other: Backend, _browser: SilentBrowser) -> None:
        (address,) = other.addresses
        for number in range(1, DIALLED_MAX + 1):
            silent = announcement(f"tcp://127.0.{number}.1:1", f"peat-silent-{number}")
            discovery_of(one).announce(silent)
        discovery_of(one).announce(announcement(address))
        while address not in one.node.network.dials:
            one.node.clock.advance(3)
            await all_wait()
        peer = await one.peer_discovery.wait_for_peer()

        assert peer.endpoint_id == other.endpoint_id

    with_two(test)


def has_multicast() -> bool:
    """Return True if a datagram to the group of mDNS comes back on loopback."""
    group = (MDNS_GROUP, MDNS_PORT)
    host = socket.inet_aton(HOST)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as heard:
        heard.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        heard.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            heard.bind(("", MDNS_PORT))
            membership = socket.inet_aton(MDNS_GROUP) + host
            heard.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
            heard.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, host)
            heard.sendto(b"", group)
        except OSError:
            return False
        # On loopback the datagram is there once it is sent.
        return bool(select.select([heard], [], [], 0)[0])


@pytest.mark.skipif(not has_multicast(), reason="no multicast on loopback")
def test_a_node_that_announces_itself_over_mdns_is_found_and_lost() -> None:
    """By two browsers on loopback: one announces, the other finds, and the node dials."""
    events: list[DiscoveryEvent] = []
    changed = asyncio.Event()

    def take(event: DiscoveryEvent) -> None:
        events.append(event)
        changed.set()

    def browse(discovery: Discovery) -> MdnsBrowser:
        reports = MdnsReports(discovery.announce, discovery.withdraw, discovery.leave_out)
        return MdnsBrowser(reports, [HOST])

    async def test(one: Backend, other: Backend) -> None:
        (address,) = other.addresses
        name = f"peat-{other.endpoint_id[:16]}"
        announcer = MdnsBrowser(MdnsReports(ignore, ignore, ignore), [HOST])
        await announcer.open(announcement(address, name))
        while ServiceFound(name, name, address) not in events:
            changed.clear()
            await changed.wait()
        one.node.clock.advance(3)
        peer = await one.peer_discovery.wait_for_peer()
        await announcer.close()
        while ServiceLost(name, address) not in events:
            changed.clear()
            await changed.wait()

        assert peer.endpoint_id == other.endpoint_id

    async def run() -> None:
        config = Config(LISTEN, Settings(Dialect.OPEN, heartbeat_s=0))
        async with await Backend.open(config) as one, await Backend.open(config) as other:
            one.node.discover(browse, LOOPBACK)
            one.peer_discovery.on_peer_event(take)
            await one.sync_engine.start_sync()
            await other.sync_engine.start_sync()
            await test(one, other)

    asyncio.run(run())


def test_what_does_not_fit_is_logged_and_not_dialled(capfd: pytest.CaptureFixture[str]) -> None:
    """TR-063: with its reason."""
    events: list[DiscoveryEvent] = []

    async def test(one: Backend, _other: Backend, _browser: SilentBrowser) -> None:
        one.peer_discovery.on_peer_event(events.append)
        discovery_of(one).announce(announcement("tcp://127.0.0.1:0"))
        discovery_of(one).announce(announcement("tcp://192.0.2.7:4711"))
        discovery_of(one).leave_out("peat-two")

        assert not one.node.network.dials

    with_two(test)
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    ignored = [line["why"] for line in lines if line["event"] == "announcement-ignored"]

    assert ignored == ["bad-port", "off-link-address", "too-many-names"]
    assert [event.reason for event in events if isinstance(event, AnnouncementIgnored)] == ignored


def test_a_node_that_announces_nothing_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    """Once at its start: the operator would wait for others to find it."""

    async def test(_one: Backend, _other: Backend, browser: SilentBrowser) -> None:
        assert browser.own == [None]

    with_two(test)
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    said = [line["why"] for line in lines if line["event"] == "not-announced"]

    assert said == ["no address that other machines reach"]


def test_an_address_of_the_operator_stays_when_its_name_is_lost() -> None:
    """It is dialled for another reason than discovery."""

    async def test(one: Backend, other: Backend, _browser: SilentBrowser) -> None:
        (address,) = other.addresses
        await one.peer_discovery.connect(address)
        discovery_of(one).announce(announcement(address))
        one.node.clock.advance(3)
        # Its turn among the announced ones has to come, and to change nothing.
        await all_wait()
        discovery_of(one).withdraw("peat-one")

        assert [(dial.address, dial.is_wanted) for dial in one.node.network.dials.values()] == [
            (address, True)
        ]

    with_two(test)


def test_a_node_of_two_names_stays_connected_when_one_of_them_is_lost() -> None:
    """Anyone can announce an address of another node under a name of his own, and withdraw it."""

    async def test(one: Backend, other: Backend, _browser: SilentBrowser) -> None:
        (address,) = other.addresses
        for name in ("peat-one", "peat-two"):
            discovery_of(one).announce(announcement(address, name))
        one.node.clock.advance(3)
        await one.peer_discovery.wait_for_peer()
        wanted = []
        for name in ("peat-one", "peat-two"):
            discovery_of(one).withdraw(name)
            wanted += [dial.is_wanted for dial in one.node.network.dials.values()]

        assert wanted == [True, False]

    with_two(test)


def test_names_are_lost_when_the_node_goes_offline() -> None:
    """And the browser ends."""
    events: list[DiscoveryEvent] = []

    async def test(one: Backend, other: Backend, browser: SilentBrowser) -> None:
        (address,) = other.addresses
        one.peer_discovery.on_peer_event(events.append)
        discovery_of(one).announce(announcement(address))
        await one.sync_engine.stop_sync()

        assert not browser.is_open
        assert events[-1] == ServiceLost("peat-one", address)
        assert browser.own == [None]

    with_two(test)


@pytest.mark.parametrize(
    ("addresses", "host", "port"),
    [
        (("tcp://127.0.0.1:4711", "quic://10.1.2.3:4712"), "10.1.2.3", 4712),
        (("quic://[fd12:3456::7]:4712",), "fd12:3456::7", 4712),
    ],
)
def test_a_node_announces_an_address_that_others_reach(
    addresses: tuple[str, ...], host: str, port: int
) -> None:
    """By the first digits of its endpoint id, since a label of DNS is short."""
    own = own_announcement(ID, addresses)
    digits = ID.hex()

    assert own == ServiceAnnouncement(
        f"peat-{digits[:16]}",
        (host,),
        port,
        {"node_id": digits[:16], "scheme": "quic", "endpoint_id": digits},
    )


def test_a_node_on_loopback_announces_nothing() -> None:
    """Nobody else could reach it."""
    assert own_announcement(ID, ("tcp://127.0.0.1:4711", "quic://0.0.0.0:4712")) is None


def test_a_node_without_the_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line, before anything is dialled."""
    monkeypatch.setitem(sys.modules, "zeroconf", None)
    monkeypatch.delitem(sys.modules, "meshwire_reference.discovery.mdns", raising=False)
    monkeypatch.delattr(discovery, "mdns", raising=False)
    done = run_here("run", "--open", "--listen", "tcp://127.0.0.1:0", "--discover", "mdns")

    assert done.returncode == 2
    assert "install the extra discovery" in done.stderr
    assert done.stderr.count("\n") == 1


def test_there_is_one_way_to_discover() -> None:
    """Another one is refused in one line."""
    done = run_here("run", "--open", "--listen", "tcp://127.0.0.1:0", "--discover", "dns")

    assert done.returncode == 2
    assert "--discover is mdns" in done.stderr
