"""Three processes of `oplog/1`, in a line and in a full mesh, whose links are cut."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from meshwire_reference.testing.oplog_mesh import SET_EVERY, OplogMesh

pytestmark = [pytest.mark.process, pytest.mark.socket]

COUNT = 999
ROUNDS_MAX = 1000


@pytest.mark.parametrize("shape", ["line", "mesh"])
def test_three_processes_converge_though_their_links_are_cut(tmp_path: Path, shape: str) -> None:
    """A thousand operations of three authors are on every node, in one order."""

    async def run() -> None:
        async with OplogMesh(tmp_path, shape) as mesh:
            cuts = []

            def cut(turn: int) -> None:
                if turn in {100, 250}:
                    cuts.append(turn)
                    for link in mesh.links:
                        link.cut()

            await mesh.write(COUNT, cut)
            records = 3 * -(-(COUNT // 3) // SET_EVERY)
            for _ in range(ROUNDS_MAX):
                views = await mesh.views()
                if views[0] == views[1] == views[2] and len(views[0]["nodes"]) == records:
                    break
                await asyncio.sleep(0.05)
            else:
                raise AssertionError([len(view["nodes"]) for view in views])
            assert len(cuts) == 6
            # Each link was dialled again.
            assert all(link.opened > 1 for link in mesh.links)
            last = max(turn for turn in range(COUNT // 3) if turn % SET_EVERY)
            assert sum(record["last_seen"] == float(last) for record in views[0]["nodes"]) == 3

    asyncio.run(run())
