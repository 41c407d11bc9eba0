"""A node that serves while a test runs, and peers that join it within the process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.node.config import Config
from meshwire_reference.node.driver import Node
from meshwire_reference.testing.memory_transport import offer_memory
from meshwire_reference.testing.peer import Peer
from meshwire_reference.transport.base import TransportOptions, Windows
from meshwire_reference.transport.registry import dial

ADDRESS = "memory://node"
LIMIT_S = 600
"""Seconds after which a test hangs; nothing takes as long."""


@asynccontextmanager
async def serving(node: Node) -> AsyncIterator[None]:
    """Start a node for a test, and end it whatever happens."""
    try:
        async with asyncio.timeout(LIMIT_S):
            await node.start()
            yield
    finally:
        await node.close()


def run(test: Callable[[Node], Awaitable[None]], node: Node | None = None) -> None:
    """Run a test against a node; without one, against an open one of this process."""
    served = node or memory_node()

    async def whole() -> None:
        async with serving(served):
            await test(served)

    asyncio.run(whole())


def memory_node(settings: Settings | None = None, data: Path | None = None) -> Node:
    """Return a node that peers of this process can join; without settings, with no proof."""
    offer_memory()
    return Node(Config((ADDRESS,), settings or Settings(Dialect.OPEN, heartbeat_s=0), data=data))


async def join(number: int = 2, windows: Windows | None = None) -> Peer:
    """Dial the node of this process, as the endpoint of this number."""
    options = TransportOptions(bytes((number,)) * 32, windows=windows or Windows())
    return Peer(await dial(ADDRESS, options))
