"""Which announced services are found, ignored and dialled, and when: by a clock of the test."""

from collections.abc import Iterable
from ipaddress import ip_network

import pytest

from meshwire_reference.discovery.announced import (
    DIALLED_MAX,
    NAMES_MAX,
    NAMES_OF_HOST,
    PACE_S,
    TEXT_MAX,
    AnnouncementIgnored,
    DiscoveredPeers,
    ServiceAnnouncement,
    ServiceFound,
    ServiceLost,
)

NETWORKS = (ip_network("10.1.0.0/16"), ip_network("fd12:3456::/32"))
OWN = "own node"
ID = "0f7a2b6e" * 8
NOW_S = 1000.0


def make_peers(random: float = 0.5) -> DiscoveredPeers:
    """Return a node in two networks, which has found nothing yet."""
    return DiscoveredPeers(OWN, NETWORKS, lambda: random)


def announcement(
    name: str = "peat-one",
    hosts: Iterable[str] = ("10.1.2.3",),
    port: int = 4711,
    **text: str,
) -> ServiceAnnouncement:
    """Return an announcement of a node over QUIC, with another text if that is given."""
    return ServiceAnnouncement(
        name, tuple(hosts), port, {"node_id": "one", "scheme": "quic"} | text
    )


def dials(peers: DiscoveredPeers, seconds: float) -> list[tuple[float, str]]:
    """Return what is dialled within some seconds, and when."""
    end_s, dialled = NOW_S + seconds, []
    while peers.next_s is not None and peers.next_s <= end_s:
        now_s = peers.next_s
        if (address := peers.take_due(now_s)) is not None:
            dialled.append((now_s, address))
    return dialled


def test_a_service_is_found_dialled_and_lost() -> None:
    """Each once; what is announced again changes nothing."""
    peers = make_peers()
    found = peers.announce(announcement(), NOW_S)
    again = peers.announce(announcement(), NOW_S + 5)

    assert found == [ServiceFound("peat-one", "one", "quic://10.1.2.3:4711")]
    assert again == []
    assert peers.take_due(NOW_S) is None
    assert dials(peers, 60) == [(NOW_S + PACE_S, "quic://10.1.2.3:4711")]
    assert peers.withdraw("peat-one") == [ServiceLost("peat-one", "quic://10.1.2.3:4711")]
    assert peers.found == ()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ({"scheme": "quic", "endpoint_id": ID}, f"quic://{ID}@10.1.2.3:4711"),
        ({"scheme": "iroh", "endpoint_id": ID}, f"iroh://{ID}@10.1.2.3:4711"),
        ({"scheme": "tcp", "endpoint_id": ID}, "tcp://10.1.2.3:4711"),
        ({"scheme": "ftp"}, None),
        ({"scheme": ""}, None),
    ],
)
def test_the_text_names_the_transport(text: dict[str, str], address: str | None) -> None:
    """TR-062: an endpoint id that is named has to be proven; deployed nodes name no transport."""
    assert make_peers().announce(announcement(**text), NOW_S) == [
        ServiceFound("peat-one", "one", address)
    ]


UNFIT = {
    "no node id": (announcement(node_id=""), "bad-node-id"),
    "a node id with a control character": (announcement(node_id="a\x1b[31m"), "bad-node-id"),
    "a long node id": (announcement(node_id="x" * 256), "bad-node-id"),
    "port 0": (announcement(port=0), "bad-port"),
    "a port that is none": (announcement(port=65536), "bad-port"),
    "a huge text": (announcement(note="x" * TEXT_MAX), "text-too-long"),
    "a long name": (announcement(name="é" * 128), "name-too-long"),
    "no address": (announcement(hosts=()), "no-address"),
    "no address of IP": (announcement(hosts=("router.local",)), "bad-address"),
    "loopback": (announcement(hosts=("127.0.0.1",)), "loopback-address"),
    "loopback of IPv6": (announcement(hosts=("::1",)), "loopback-address"),
    "loopback in IPv6": (announcement(hosts=("::ffff:127.0.0.1",)), "loopback-address"),
    "unspecified": (announcement(hosts=("0.0.0.0",)), "unspecified-address"),  # noqa: S104 - refused
    "multicast": (announcement(hosts=("224.0.0.251",)), "multicast-address"),
    "link-local": (announcement(hosts=("fe80::1",)), "link-local-address"),
    "loopback through NAT64": (announcement(hosts=("64:ff9b::7f00:1",)), "loopback-address"),
    "broadcast": (announcement(hosts=("255.255.255.255",)), "broadcast-address"),
    "another network": (announcement(hosts=("192.0.2.7",)), "off-link-address"),
    "no endpoint id for iroh": (announcement(scheme="iroh"), "bad-endpoint-id"),
    "a bad endpoint id": (announcement(endpoint_id="abc"), "bad-endpoint-id"),
}


@pytest.mark.parametrize(("unfit", "reason"), UNFIT.values(), ids=list(UNFIT))
def test_an_unfit_announcement_has_a_reason(unfit: ServiceAnnouncement, reason: str) -> None:
    """TR-063, TR-064: nothing is dialled or held."""
    peers = make_peers()
    events = peers.announce(unfit, NOW_S)

    assert [event.reason for event in events if isinstance(event, AnnouncementIgnored)] == [reason]
    assert len(events) == 1
    assert peers.found == ()
    assert peers.next_s is None


def test_the_first_address_that_fits_is_taken() -> None:
    """A machine announces all that it has."""
    hosts = ("127.0.0.1", "fe80::1", "fd12:3456::7", "10.1.2.3")

    assert make_peers().announce(announcement(hosts=hosts), NOW_S) == [
        ServiceFound("peat-one", "one", "quic://[fd12:3456::7]:4711")
    ]


def test_a_name_that_moves_to_a_forbidden_address_is_lost() -> None:
    """TR-064: rebinding ends what the name meant."""
    peers = make_peers()
    peers.announce(announcement(), NOW_S)
    events = peers.announce(announcement(hosts=("127.0.0.1",)), NOW_S)

    assert events == [
        ServiceLost("peat-one", "quic://10.1.2.3:4711"),
        AnnouncementIgnored("peat-one", "loopback-address"),
    ]
    assert dials(peers, 60) == []


def test_a_name_that_moves_is_dialled_anew() -> None:
    """The old address is lost first."""
    peers = make_peers()
    peers.announce(announcement(), NOW_S)
    dials(peers, 5)
    events = peers.announce(announcement(hosts=("10.1.2.4",)), NOW_S + 5)

    assert [type(event) for event in events] == [ServiceLost, ServiceFound]
    assert [address for _, address in dials(peers, 60)] == ["quic://10.1.2.4:4711"]


def test_the_own_announcement_is_no_peer() -> None:
    """It comes back to its node."""
    peers = make_peers()

    assert peers.announce(announcement(node_id=OWN), NOW_S) == []
    assert peers.found == ()


def test_a_thousand_names_of_one_host_are_bounded() -> None:
    """TR-065: no more are held or dialled than of an honest host."""
    peers = make_peers()
    events = [
        event
        for number in range(1000)
        for event in peers.announce(announcement(f"peat-{number}", port=1 + number), NOW_S)
    ]

    assert sum(isinstance(event, ServiceFound) for event in events) == NAMES_OF_HOST
    assert {event.reason for event in events if isinstance(event, AnnouncementIgnored)} == {
        "too-many-of-one-host"
    }
    assert len(dials(peers, 3600)) == NAMES_OF_HOST


def test_a_thousand_hosts_cause_no_storm() -> None:
    """TR-065: one after the other, and no more at the same time than the bound."""
    peers = make_peers()
    for number in range(1000):
        hosts = (f"10.1.{number // 250}.{number % 250}",)
        peers.announce(announcement(f"peat-{number}", hosts), NOW_S)
    dialled = dials(peers, 3600)

    assert len(peers.found) == NAMES_MAX
    assert len(dialled) == DIALLED_MAX
    assert [at_s for at_s, _ in dialled] == [NOW_S + PACE_S * (1 + at) for at in range(16)]


def test_a_lost_name_makes_room_for_one_that_waits() -> None:
    """TR-065: the bound is of those that are there."""
    peers = make_peers()
    for number in range(DIALLED_MAX + 1):
        peers.announce(announcement(f"peat-{number}", (f"10.1.3.{number}",)), NOW_S)
    before = dials(peers, 3600)
    peers.withdraw("peat-0")
    peers.resume(NOW_S + 4000)

    assert len(before) == DIALLED_MAX
    assert dials(peers, 4010) == [(NOW_S + 4000 + PACE_S, "quic://10.1.3.16:4711")]


def test_a_name_that_becomes_unfit_makes_room_for_one_that_waits() -> None:
    """TR-065: an announcement that is ignored ends what its name meant before."""
    peers = make_peers()
    for number in range(DIALLED_MAX + 1):
        peers.announce(announcement(f"peat-{number}", (f"10.1.3.{number}",)), NOW_S)
    before = dials(peers, 3600)
    peers.announce(announcement("peat-0", ("127.0.0.1",)), NOW_S + 4000)

    assert len(before) == DIALLED_MAX
    assert dials(peers, 4010) == [(NOW_S + 4000 + PACE_S, "quic://10.1.3.16:4711")]


@pytest.mark.parametrize("moves", [False, True])
def test_a_host_has_room_again_for_names_that_it_has_lost(*, moves: bool) -> None:
    """TR-065: the bound of a host is of the names that are there, not of those that were."""
    peers = make_peers()
    events = []
    for number in range(3 * NAMES_OF_HOST):
        name = "peat-one" if moves else f"peat-{number}"
        events += peers.announce(announcement(name, port=1 + number), NOW_S)
        if not moves:
            peers.withdraw(name)

    assert [type(event) for event in events].count(ServiceFound) == 3 * NAMES_OF_HOST


def test_silent_names_hold_up_no_other() -> None:
    """TR-066: one that fails goes behind those that wait, and is dialled again after them."""
    peers = make_peers()
    for number in range(DIALLED_MAX + 2):
        peers.announce(announcement(f"peat-{number}", (f"10.1.3.{number}",)), NOW_S)
    first, second = (address for _, address in dials(peers, 3600)[:2])
    yielded = peers.fail(first, NOW_S + 4000)
    next_ones = [address for _, address in dials(peers, 4010)]
    peers.fail(second, NOW_S + 5000)
    peers.fail(next_ones[0], NOW_S + 5001)

    assert yielded
    assert next_ones == ["quic://10.1.3.16:4711"]
    assert [address for _, address in dials(peers, 5010)] == ["quic://10.1.3.17:4711", first]


def test_a_name_that_fails_keeps_its_place_if_none_waits() -> None:
    """It is dialled again by the waits of its dials; an address that is not dialled is ignored."""
    peers = make_peers()
    peers.announce(announcement(), NOW_S)
    ((_, address),) = dials(peers, 60)

    assert not peers.fail(address, NOW_S + 60)
    assert not peers.fail("quic://10.1.9.9:4711", NOW_S + 60)
    assert peers.next_s is None


def test_two_names_of_one_address_are_dialled_once() -> None:
    """A host may have several names for one node."""
    peers = make_peers()
    peers.announce(announcement("peat-one"), NOW_S)
    peers.announce(announcement("peat-two"), NOW_S)

    assert len(dials(peers, 60)) == 1


@pytest.mark.parametrize("lost", ["peat-one", "peat-two"])
def test_an_address_is_dialled_for_as_long_as_one_of_its_names_is_there(lost: str) -> None:
    """Whichever of the two names has caused the dial: anyone can announce an address, and go."""
    peers = make_peers()
    for name in ("peat-one", "peat-two"):
        peers.announce(announcement(name), NOW_S)
    ((_, address),) = dials(peers, 60)
    peers.withdraw(lost)
    peers.resume(NOW_S + 60)

    assert peers.is_dialled(address)
    assert dials(peers, 120) == []

    (other,) = peers.found
    peers.withdraw(other.name)

    assert not peers.is_dialled(address)


def test_an_address_that_waits_is_dialled_for_the_name_that_is_left() -> None:
    """TR-066: the name that has failed and waits again may be lost before its turn."""
    peers = make_peers()
    for name in ("peat-one", "peat-two"):
        peers.announce(announcement(name), NOW_S)
    ((_, address),) = dials(peers, 60)
    for number in range(DIALLED_MAX):
        peers.announce(announcement(f"peat-{number}", (f"10.1.3.{number}",)), NOW_S + 60)
    dials(peers, 3600)
    peers.fail(address, NOW_S + 3600)
    peers.withdraw("peat-one")
    dials(peers, 3700)
    peers.withdraw("peat-0")
    peers.resume(NOW_S + 4000)

    assert dials(peers, 4010) == [(NOW_S + 4000 + PACE_S, address)]
