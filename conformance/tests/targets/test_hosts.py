"""Addresses with a mistake: what is wrong with them, in the scheme that was typed."""

import asyncio
import socket

import pytest

from meshwire_conformance.contracts import Settings
from meshwire_conformance.errors import UsageError
from meshwire_conformance.targets.attach import attach, parse_address
from meshwire_conformance.targets.base import demand_permission, parse_target

ENDPOINT = "0a" * 32


def said_of(text: str) -> str:
    """The line with which a target is refused."""
    with pytest.raises(UsageError) as caught:
        asyncio.run(attach(parse_target(text), Settings()))
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tcp://[::1", "']' is missing"),
        ("tcp://[::1:4711", "']' is missing"),
        ("tcp://::1]:4711", "'[' is missing"),
        ("tcp://127.1:1", "'127.1' is no IPv4 address"),
        ("tcp://127.0.0.256:1", "'127.0.0.256' is no IPv4 address"),
        ("tcp://0x7f000001:1", "'0x7f000001' is no IPv4 address"),
        ("tcp://a..b:1", "'a..b' is no host name"),
        ("tcp://-a:1", "'-a' is no host name"),
        (f"tcp://{'a' * 300}:1", "is no host name"),
        (f"tcp://{'a.' * 150}b:1", "is no host name"),
        ("tcp://:4711", "the host is missing"),
        ("tcp://127.0.0.1", "the port is missing"),
        ("tcp://[::1]", "the port is missing"),
        ("tcp://127.0.0.1:", "the port is missing"),
        ("tcp://127.0.0.1:65536", "65536 is no port: the greatest is 65535"),
        ("tcp://127.0.0.1:abc", "'abc' is no port"),
        ("tcp://127.0.0.1:0", "port 0 cannot be dialled"),
        (f"iroh://{ENDPOINT}@127.0.0.1:0", "port 0 cannot be dialled"),
        (f"iroh://{ENDPOINT}@127.0.0.1", "the port is missing"),
        ("tcp-listen://::1:0", "tcp-listen://[::1]:0"),
        ("tcp-listen://[::1]:99999", "'tcp-listen://[::1]:99999'"),
        ("tcp-listen://127.0.0.1:0,99999", "'tcp-listen://127.0.0.1:99999'"),
        ("tcp-listen://[127.0.0.1]:0", "tcp-listen://127.0.0.1:0"),
    ],
)
def test_what_is_wrong_with_an_address_is_named(text: str, says: str) -> None:
    """In one line, with the scheme that was typed, and without advice on permissions."""
    said = said_of(text)

    assert says in said
    assert "--writes-are-ok" not in said
    assert len(said) < 200


@pytest.mark.parametrize(
    "host", ["my_host", "a-b.example.", "xn--bcher-kva.example", "b\u00fccher.example"]
)
def test_a_host_name_is_taken(host: str) -> None:
    """Also with what is no name of the DNS but works on a local network."""
    assert parse_address(f"tcp://{host}:4711").host == host


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Make each host name one of these addresses; without any, there is no such name."""

    def found(_host: str, port: int, **_more: object) -> list[object]:
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(None, None, 0, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", found)


@pytest.mark.parametrize(
    ("addresses", "says"),
    [
        ((), "no such host name"),
        (("192.0.2.1",), "add --writes-are-ok"),
        (("127.0.1.1", "192.0.2.1"), "add --writes-are-ok"),
        (("127.0.1.1", "::1"), "write 127.0.1.1 instead"),
    ],
)
def test_the_advice_is_for_a_name_that_is_off_loopback(
    addresses: tuple[str, ...], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that nobody has, or of this machine, needs another one."""
    resolving(monkeypatch, *addresses)
    with pytest.raises(UsageError) as caught:
        demand_permission("tcp://mesh.example:4711", Settings())

    assert says in str(caught.value)
    assert ("--writes-are-ok" in str(caught.value)) is ("--writes" in says)
    demand_permission("tcp://mesh.example:4711", Settings(writes_are_ok=True))


def test_port_0_is_one_to_listen_on() -> None:
    """The system then chooses the port."""
    assert parse_address("tcp-listen://[::1]:0", listens=True).port == 0
    with pytest.raises(UsageError, match="is no address"):
        parse_address("tcp-listen://[::1]:0")
