"""Kills of a node under load: nothing that it has acknowledged or passed on is lost."""

import asyncio
from pathlib import Path

import pytest

from bench import kills
from meshwire_reference.testing.author import author
from meshwire_reference.wire.batches import StreamFrame
from meshwire_spec.numbers import FrameType

KILLS = 3

pytestmark = [pytest.mark.process, pytest.mark.socket]


def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    """And the node starts again each time, with the same endpoint id."""
    kept, starts_s = asyncio.run(kills.kill_often(tmp_path / "data", KILLS, 1))

    assert len(starts_s) == KILLS
    assert kept.acknowledged > KILLS
    assert kept.passed_on > 0
    assert kept.removed


@pytest.mark.parametrize("loses", ["document", "tombstone"])
def test_a_loss_is_seen(loses: str, tmp_path: Path) -> None:
    """Of a document whose write was acknowledged, and of a tombstone."""

    async def run() -> None:
        node = await kills.start(tmp_path / "data")
        try:
            promises = kills.Promises()
            promises.note("notes:lost" if loses == "document" else "tracks:back", {"by"})
            peer = await kills.join(node, kills.WRITER)
            if loses == "tombstone":
                promises.removed.add("tracks:back")
                content = author("tracks:back").snapshot()
                await peer.send(StreamFrame("tracks:back", FrameType.SNAPSHOT, content))
            await peer.leave()
            with pytest.raises(kills.Lost):
                await kills.verify(node, promises)
        finally:
            node.process.terminate()
            await node.process.wait()

    asyncio.run(run())
