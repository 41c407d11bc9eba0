"""Nodes over QUIC and iroh: connections that cross, and what the operator sets."""

import asyncio
from typing import Any

import pytest

from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.node.config import Config
from meshwire_reference.node.driver import Node
from meshwire_reference.testing.serving import serving
from meshwire_reference.transport.base import TransportOptions
from meshwire_reference.transport.registry import dial

pytestmark = [pytest.mark.process, pytest.mark.socket]


@pytest.mark.parametrize("scheme", ["iroh", "quic"])
def test_two_nodes_that_dial_each_other_keep_one_connection(scheme: str) -> None:
    """TR-040, TR-045: neither dials again while it stands, and after its end one of them does."""
    pytest.importorskip({"iroh": "iroh", "quic": "aioquic"}[scheme])

    async def whole() -> None:
        settings = Settings(Dialect.OPEN)
        one, two = nodes = [Node(Config((f"{scheme}://127.0.0.1:0",), settings)) for _ in range(2)]
        async with serving(one), serving(two):
            for node, other in ((one, two), (two, one)):
                node.network.add(other.addresses[0], lab=False)
            for node in nodes:
                await node.network.changed.until(
                    lambda node=node: [peer.stays for peer in node.peers] == [True]
                )
            kept = [[(peer.dialled, peer.stays) for peer in node.peers] for node in nodes]
            assert kept in ([[(True, True)], [(False, True)]], [[(False, True)], [(True, True)]])

    asyncio.run(whole())


def test_the_parameters_of_quic_are_those_of_the_configuration() -> None:
    """A caller sees them in the transport parameters of the node."""
    pytest.importorskip("aioquic")

    async def whole() -> None:
        config = Config(
            ("quic://127.0.0.1:0",),
            Settings(Dialect.OPEN, heartbeat_s=0),
            quic_datagram=2048,
            quic_idle_s=7.5,
            quic_keep_alive_s=2.5,
        )
        node = Node(config)
        async with serving(node):
            peer: Any = await dial(node.addresses[0], TransportOptions(bytes(32)))
            await node.network.changed.until(lambda: node.peers)
            (link,) = node._links.values()
            theirs: Any = link.connection

            assert peer._quic.idle_s == 7.5
            assert theirs._quic._max_datagram_size == 2048
            assert theirs._options.keep_alive_s == 2.5
            await peer.close(0)

    asyncio.run(whole())
