"""Three processes of `oplog/1`, in a line and in a full mesh, whose links are cut."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from meshwire_reference.oplog.frames import decode_binary, decode_text
from meshwire_reference.oplog.spelling import read_operation_json
from meshwire_reference.testing.oplog_mesh import SET_EVERY, CutLink, OplogMesh

pytestmark = [pytest.mark.process, pytest.mark.socket]

COUNT = 999
LIMIT_S = 600
"""Seconds after which a test hangs; nothing takes as long."""


async def receive(address: str, count: int) -> None:
    """Wait as a peer of a node until it has sent `count` operations, which its view has by then."""
    seen: set[bytes] = set()
    async with connect(address, max_size=None, proxy=None) as peer:
        while len(seen) < count:
            message = await peer.recv()
            if isinstance(message, bytes):
                seen.add(decode_binary(message).signed_digest)
            else:
                seen |= {read_operation_json(text).signed_digest for text in decode_text(message)}


@pytest.mark.parametrize("shape", ["line", "mesh"])
def test_three_processes_converge_though_their_links_are_cut(tmp_path: Path, shape: str) -> None:
    """A thousand operations of three authors are on every node, in one order."""

    async def run() -> None:
        async with OplogMesh(tmp_path, shape) as mesh:
            cuts = []
            opened: dict[CutLink, int] = {}

            def cut(turn: int) -> None:
                if turn in {100, 250}:
                    cuts.append(turn)
                    for link in mesh.links:
                        opened[link] = link.opened
                        link.cut()

            await mesh.write(COUNT, cut)
            records = 3 * -(-(COUNT // 3) // SET_EVERY)
            async with asyncio.timeout(LIMIT_S):
                await asyncio.gather(*(receive(address, COUNT) for address in mesh.addresses))
            views = await mesh.views()
            assert views[0] == views[1] == views[2]
            assert len(views[0]["nodes"]) == records
            assert len(cuts) == 6
            # Each link is dialled again; in a mesh the operations may have taken another way first.
            assert list(opened) == list(mesh.links)
            for link, times in opened.items():
                await link.until_opened(times + 1)
            last = max(turn for turn in range(COUNT // 3) if turn % SET_EVERY)
            assert sum(record["last_seen"] == float(last) for record in views[0]["nodes"]) == 3

    asyncio.run(run())
