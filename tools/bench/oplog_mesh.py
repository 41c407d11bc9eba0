"""Converge three processes of `oplog/1` whose links are cut, and measure how fast they see a write.

Latency is from the answer to a write on node A until its view on node C has it, asked for again and
again: in a line the operation passes the node in the middle.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from meshwire_reference.testing.oplog_mesh import SET_EVERY, OplogMesh

FIRST, LAST = 0, 2


async def converge(mesh: OplogMesh, count: int) -> tuple[float, int]:
    """Write operations on three nodes; return the seconds until all are equal, and the cuts."""
    began = time.perf_counter()
    each = count // 3
    at = {each * part // 4 for part in (1, 2, 3)}
    cuts = 0

    def cut(turn: int) -> None:
        nonlocal cuts
        if turn in at:
            cuts += 1
            for link in mesh.links:
                link.cut()

    await mesh.write(count, cut)
    records = 3 * -(-each // SET_EVERY)
    while True:
        views = await mesh.views()
        if views[0] == views[1] == views[2] and len(views[0]["nodes"]) == records:
            return time.perf_counter() - began, cuts
        await asyncio.sleep(0.2)


async def latencies(mesh: OplogMesh, count: int) -> list[float]:
    """Return the seconds until the last node shows what the first one has written."""
    found = []
    writer, reader = mesh.controls[FIRST], mesh.controls[LAST]
    for number in range(count):
        await writer.ask(op="set", path="nodes/0/address", value=f"ws://h:{number}")
        began = time.perf_counter()
        while f"ws://h:{number}" not in str(await reader.ask(op="view")):
            pass
        found.append(time.perf_counter() - began)
    return found


async def run(shape: str, count: int, writes: int) -> None:
    """Print the figures of one shape."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "whole").mkdir()
        async with OplogMesh(Path(folder) / "whole", shape) as mesh:
            took_s, cuts = await converge(mesh, count)
            opened = [link.opened for link in mesh.links]
        print(f"{shape}: {count} operations equal on three after {took_s:.1f} s", end="")
        print(f", {cuts} cuts, connections {opened}")
        (Path(folder) / "small").mkdir()
        async with OplogMesh(Path(folder) / "small", shape) as mesh:
            await converge(mesh, 3)
            found = sorted(await latencies(mesh, writes))
        middle, longest = statistics.median(found), found[-1]
        print(f"{shape}: A to C {middle * 1000:.1f} ms, at most {longest * 1000:.1f} ms")


def main() -> None:
    """Print two lines for each shape."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="operations, over three nodes")
    parser.add_argument("--writes", type=int, default=50, help="writes whose latency is measured")
    options = parser.parse_args()
    for shape in ("line", "mesh"):
        asyncio.run(run(shape, options.count, options.writes))


if __name__ == "__main__":
    main()
