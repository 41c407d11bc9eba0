"""Why a peer has no document: the answers of nodes, as values and in words."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from meshwire_reference.backend import (
    Backend,
    BadKey,
    Cause,
    Choices,
    Document,
    Fate,
    Noted,
    PeerDocument,
    Wait,
    make_config,
)
from meshwire_reference.backend.document_status import CAUSES, FATES, DocumentStatus

pytestmark = [pytest.mark.process, pytest.mark.socket]

LIMIT_S = 600
"""Seconds after which a test hangs; nothing takes as long."""


def run(test: Callable[[Backend, Backend], Awaitable[None]]) -> None:
    """Run a test against two nodes that are online and not connected."""

    async def whole() -> None:
        config = make_config(Choices(("tcp://127.0.0.1:0",), is_open=True, heartbeat_s=0))
        async with (
            asyncio.timeout(LIMIT_S),
            await Backend.open(config) as one,
            await Backend.open(config) as other,
        ):
            for backend in (one, other):
                await backend.sync_engine.start_sync()
            await test(one, other)

    asyncio.run(whole())


async def arrives(backend: Backend, document: str) -> None:
    """Wait until a node has a document."""
    async with backend.document_store.observe("tracks") as changes:
        async for _ in changes:
            if await backend.document_store.get("tracks", document) is not None:
                return


def test_both_sides_say_what_became_of_a_document() -> None:
    """Not connected, connected, sent and applied, deleted; and what no document can be."""

    async def test(one: Backend, other: Backend) -> None:
        await one.document_store.upsert(Document("tracks", {"a": 1}, "t1"))
        alone = await one.document_status("tracks", "t1")
        assert alone.peers == ()
        assert alone.size is not None
        assert list(alone.lines())[-1] == "there are no peers"

        peer = await one.peer_discovery.connect(other.addresses[0])
        await arrives(other, "t1")
        (there,) = (await one.document_status("tracks", "t1")).peers
        (here,) = (await other.document_status("tracks", "t1")).peers
        assert (there.endpoint_id, there.is_connected) == (peer.endpoint_id, True)
        assert there.noted[Fate.SENT].why == "batch"
        assert here.noted.keys() >= {Fate.RECEIVED, Fate.APPLIED}

        assert await one.document_store.remove("tracks", "t1")
        deleted = await one.document_status("tracks", "t1")
        assert (deleted.size, deleted.is_deleted) == (None, True)
        assert deleted.tombstone_expires_ms is not None
        assert "deleted by a tombstone that expires 2" in next(deleted.lines())

        await one.sync_engine.stop_sync()
        (gone,) = (await one.document_status("tracks", "t1")).peers
        assert gone.waits == (Wait(Cause.CONNECTION),)
        assert gone.noted.keys() >= there.noted.keys()
        with pytest.raises(BadKey):
            await one.document_status("no/tracks", "t1")

    run(test)


def test_the_answer_in_words() -> None:
    """What became of it in the order of time, then what it waits for."""
    noted = {
        Fate.SENT: Noted(2, 1_800_000_000_000, "delta"),
        Fate.OFFERED: Noted(1, 1_700_000_000_000, "push"),
    }
    peer = PeerDocument("ab", (), noted, (Wait(Cause.TURN, 7),), is_connected=True)
    dialled = PeerDocument("", ("tcp://[::1]:1",), {}, (Wait(Cause.CONNECTION),))
    status = DocumentStatus("notes", "n1", 12, None, (peer, dialled))

    assert list(status.lines()) == [
        "notes:n1 is on this node, 12 bytes",
        "peer ab is connected",
        "  queued for it: once, last 2023-11-14T22:13:20Z (push)",
        "  sent to it: 2 times, last 2027-01-15T08:00:00Z (delta)",
        "  waits for its turn, behind 7 others",
        "peer tcp://[::1]:1 is not connected",
        "  nothing is noted about it",
        "  waits for a connection",
    ]
    assert (set(FATES), set(CAUSES)) == (set(Fate), set(Cause))
