"""Addresses: which forms are read, bound and refused."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec

import pytest

from meshwire_reference.testing.memory_transport import offer_memory
from meshwire_reference.transport.base import AddressRefused, TransportOptions
from meshwire_reference.transport.lab.tcp import parse_address, with_zone
from meshwire_reference.transport.registry import dial, listen

offer_memory()

OWN_ID = bytes(range(32))

needs_iroh = pytest.mark.skipif(find_spec("iroh") is None, reason="the extra iroh is not installed")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1:4711",
        "udp://127.0.0.1:4711",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:99999",
        "tcp://127.0.0.1:4711/path",
        "tcp://127.0.0.1:47\n11",
        "tcp://127.0.0.1:\t4711",
        "tcp://127.0.0.1\0:4711",
        "tcp:// 127.0.0.1:4711",
        pytest.param("iroh://127.0.0.1:4711", marks=needs_iroh),
        pytest.param("iroh://nobody@127.0.0.1:4711", marks=needs_iroh),
        pytest.param("iroh://nobody@example:4711", marks=needs_iroh),
    ],
)
def test_a_malformed_address_is_refused(address: str) -> None:
    """An address that says nothing dialable is the caller's fault."""
    with pytest.raises(AddressRefused):
        asyncio.run(dial(address, TransportOptions(OWN_ID)))


@pytest.mark.parametrize(
    ("written", "host"),
    [
        ("[::1]", "::1"),
        ("[::FFFF:127.0.0.1]", "127.0.0.1"),
        ("[::ffff:7f00:1]", "127.0.0.1"),
        ("[fe80::1%lo]", "fe80::1%lo"),
        ("[fe80::1%25lo]", "fe80::1%lo"),
        ("[::1%lo]", "::1"),
    ],
)
def test_the_forms_of_an_ipv6_address_are_read(written: str, host: str) -> None:
    """A mapped address is the IPv4 one; a zone matters where addresses are not unique alone."""
    assert parse_address(f"tcp://{written}:4711") == (host, 4711)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("tcp://::1:4711", "tcp://[::1]:4711"),
        ("tcp://fe80::1%lo:4711", "tcp://[fe80::1%lo]:4711"),
        ("tcp://::ffff:127.0.0.1:4711", "tcp://[::ffff:127.0.0.1]:4711"),
        ("tcp://fd00:1:2:3:4:5:6:7", "tcp://[fd00:1:2:3:4:5:6:7]:PORT"),
        ("tcp://[127.0.0.1]:4711", "tcp://127.0.0.1:4711"),
        ("tcp://[::g]:4711", "'::g' is no IPv6 address"),
        ("tcp://[fe80::1%no such]:4711", "no network interface"),
    ],
)
def test_a_wrong_form_of_an_ipv6_address_is_named(address: str, says: str) -> None:
    """With the right form, if there is one."""
    with pytest.raises(AddressRefused) as caught:
        parse_address(address)

    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("bound", "asked", "address"),
    [
        ("fe80::1", "fe80::1%eth0", "fe80::1%eth0"),
        ("fe80::1%2", "fe80::1%eth0", "fe80::1%eth0"),
        ("::1", "::1", "::1"),
    ],
)
def test_a_bound_address_keeps_its_zone(bound: str, asked: str, address: str) -> None:
    """Without it nobody could dial the address."""
    assert with_zone(bound, asked) == address


@pytest.mark.socket
@pytest.mark.parametrize("host", ["[::ffff:127.0.0.1]", "[::1%lo]"])
@pytest.mark.parametrize("scheme", ["tcp", pytest.param("iroh", marks=needs_iroh)])
def test_other_forms_of_loopback_are_bound(scheme: str, host: str) -> None:
    """They are on this machine, so nothing has to be allowed, and the ready address is plain."""

    async def run() -> str:
        listener = await listen(f"{scheme}://{host}:0", TransportOptions(OWN_ID))
        await listener.close()
        return listener.address

    plain = "127.0.0.1" if "127" in host else "[::1]"
    assert asyncio.run(run()).rpartition(":")[0].endswith(plain)


@pytest.mark.parametrize("host", ["[::]", "192.0.2.7", "example.org", "[fe80::1%lo]"])
def test_tcp_off_loopback_has_to_be_asked_for(host: str) -> None:
    """Identities are unproven on the lab binding, so it stays on this machine by default."""
    with pytest.raises(AddressRefused):
        asyncio.run(listen(f"tcp://{host}:0", TransportOptions(OWN_ID)))
