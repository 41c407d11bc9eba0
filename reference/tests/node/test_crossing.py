"""Two nodes that dial each other have one connection in the end, where their ids are proven."""

import asyncio

import pytest

from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.node.config import Config
from meshwire_reference.node.driver import Node
from meshwire_reference.testing.serving import serving

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
