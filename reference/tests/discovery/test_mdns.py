"""The doorway of zeroconf: forged answers of DNS become announcements. Nothing is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest
from zeroconf import (
    DNSAddress,
    DNSCache,
    DNSIncoming,
    DNSOutgoing,
    DNSPointer,
    DNSService,
    DNSText,
    ServiceStateChange,
    const,
)
from zeroconf.asyncio import AsyncServiceInfo

from meshwire_reference.discovery import mdns
from meshwire_reference.discovery.announced import ServiceAnnouncement
from meshwire_reference.discovery.mdns import (
    ASKED_MAX,
    SERVICE,
    MdnsBrowser,
    MdnsReports,
    announcement_of,
    own_networks,
    service_of,
)
from turns import all_wait

NAME = f"peat-one.{SERVICE}"
HOST = "mast.local."
TTL_S = 120
LOOPBACK = b"\x7f\x00\x00\x01"
LINK_LOCAL = b"\xfe\x80" + bytes(13) + b"\x01"
TEXT = b"\x0bnode_id=one\x0bscheme=quic"


def answer(port: int = 4711, text: bytes = TEXT, hosts: Iterable[bytes] = ()) -> list[bytes]:
    """Return the packets that announce a service, as another machine would send them."""
    packet = DNSOutgoing(const._FLAGS_QR_RESPONSE | const._FLAGS_AA)
    records = [
        DNSPointer(SERVICE, const._TYPE_PTR, const._CLASS_IN, TTL_S, NAME),
        DNSService(NAME, const._TYPE_SRV, const._CLASS_IN, TTL_S, 0, 0, port, HOST),
        DNSText(NAME, const._TYPE_TXT, const._CLASS_IN, TTL_S, text),
    ]
    for host in hosts:
        kind = const._TYPE_A if len(host) == len(LOOPBACK) else const._TYPE_AAAA
        records.append(DNSAddress(HOST, kind, const._CLASS_IN, TTL_S, host))
    for record in records:
        packet.add_answer_at_time(record, 0)
    return packet.packets()


def load(info: AsyncServiceInfo, packets: list[bytes]) -> None:
    """Let the library read packets into what it knows of a service."""
    cache = DNSCache()
    for packet in packets:
        cache.async_add_records(DNSIncoming(packet).answers())
    info.load_from_cache(SimpleNamespace(cache=cache))  # type: ignore[arg-type]  # it reads the cache


def heard(packets: list[bytes]) -> ServiceAnnouncement:
    """Return what is announced by packets."""

    async def read() -> ServiceAnnouncement:
        info = AsyncServiceInfo(SERVICE, NAME)
        load(info, packets)
        return announcement_of(info)

    return asyncio.run(read())


@pytest.mark.parametrize(
    ("packets", "announced"),
    [
        (
            answer(hosts=(b"\x0a\x01\x02\x03",)),
            ServiceAnnouncement(
                "peat-one", ("10.1.2.3",), 4711, {"node_id": "one", "scheme": "quic"}
            ),
        ),
        (
            answer(port=0, text=b"\x00", hosts=(LOOPBACK, LINK_LOCAL)),
            ServiceAnnouncement("peat-one", ("127.0.0.1", "fe80::1"), 0, {"": ""}),
        ),
        (
            answer(text=b"\x0bnode_id=\xff\xfe\xc3\x03key"),
            ServiceAnnouncement("peat-one", (), 4711, {"node_id": "���", "key": ""}),
        ),
    ],
)
def test_answers_become_announcements(packets: list[bytes], announced: ServiceAnnouncement) -> None:
    """Unchecked: ports, addresses and texts are as they came, and what is no UTF-8 is replaced."""
    assert heard(packets) == announced


def test_a_text_of_many_strings_arrives_whole() -> None:
    """Its size is judged by the decisions."""
    text = b"".join(b"\xc8" + f"k{number}=".encode().ljust(200, b"x") for number in range(30))

    assert sum(map(len, heard(answer(text=text)).text.values())) > 5000


def test_the_own_service_is_announced_as_it_is_read() -> None:
    """What one node announces, another one hears."""
    own = ServiceAnnouncement("peat-one", ("10.1.2.3",), 4711, {"node_id": "one", "scheme": "quic"})

    async def read() -> ServiceAnnouncement:
        return announcement_of(service_of(own))

    assert asyncio.run(read()) == own


class Ear:
    """What was heard of a browser."""

    def __init__(self) -> None:
        self.announced: list[ServiceAnnouncement] = []
        self.withdrawn: list[str] = []
        self.left_out: list[str] = []
        self.browser = MdnsBrowser(
            MdnsReports(self.announced.append, self.withdrawn.append, self.left_out.append)
        )

    def change(self, name: str, change: ServiceStateChange) -> None:
        """Have the library report a change."""
        zeroconf: Any = None
        self.browser.take_change(zeroconf, SERVICE, name, change)


def test_names_are_asked_about_and_withdrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is asked about once at a time."""

    async def request(info: AsyncServiceInfo, _zeroconf: object, _timeout: float) -> bool:
        load(info, answer())
        return True

    monkeypatch.setattr(mdns, "AsyncServiceInfo", _info_with(request))

    async def run() -> Ear:
        ear = Ear()
        for change in (ServiceStateChange.Added, ServiceStateChange.Updated):
            ear.change(NAME, change)
        await all_wait()
        ear.change(NAME, ServiceStateChange.Removed)
        await ear.browser.close()
        return ear

    ear = asyncio.run(run())

    assert [one.port for one in ear.announced] == [4711]
    assert ear.withdrawn == ["peat-one"]


def test_the_records_of_a_name_that_was_withdrawn_are_not_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its end is heard while its records are on the way: it would be there for ever."""

    async def run() -> Ear:
        answered = asyncio.Event()

        async def request(info: AsyncServiceInfo, _zeroconf: object, _timeout: float) -> bool:
            await answered.wait()
            load(info, answer())
            return True

        monkeypatch.setattr(mdns, "AsyncServiceInfo", _info_with(request))
        ear = Ear()
        ear.change(NAME, ServiceStateChange.Added)
        await all_wait()
        ear.change(NAME, ServiceStateChange.Removed)
        answered.set()
        await all_wait()
        await ear.browser.close()
        return ear

    ear = asyncio.run(run())

    assert ear.announced == []
    assert ear.withdrawn == ["peat-one"]


def test_a_thousand_names_are_not_asked_about_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """TR-065: those beyond the bound are left out, and said to be."""

    async def request(_info: AsyncServiceInfo, _zeroconf: object, _timeout: float) -> bool:
        await asyncio.Event().wait()
        return False

    monkeypatch.setattr(mdns, "AsyncServiceInfo", _info_with(request))

    async def run() -> Ear:
        ear = Ear()
        for number in range(1000):
            ear.change(f"peat-{number}.{SERVICE}", ServiceStateChange.Added)
        await all_wait()
        await ear.browser.close()
        return ear

    ear = asyncio.run(run())

    assert len(ear.left_out) == 1000 - ASKED_MAX
    assert ear.announced == []


def _info_with(request: Any) -> type:
    """Return the class of the library with another way to ask."""
    return type("Info", (AsyncServiceInfo,), {"async_request": request})


def test_the_networks_of_this_machine_have_no_loopback() -> None:
    """TR-064: what announces it means another machine."""
    assert not any(network.is_loopback or network.is_link_local for network in own_networks())
