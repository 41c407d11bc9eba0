"""Measure how long a node takes to start with many documents in its store.

A node loads documents of four fields into a new folder (`run --load --data`). It is started again
on that folder after it has ended in order, and after `kill -9`, both times until its ready line;
after each start one of the documents is read from it. Wall time means something on an idle machine
only; CPU time is that of the node and its workers until then.
"""

import argparse
import asyncio
import signal
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.kills import Running, join, read_all, start
from bench.sync import cpu_s_of, make_documents

COLLECTION = "beacons"
READER = 3
ENDINGS = {"ended in order": signal.SIGTERM, "killed": signal.SIGKILL}


def family(pid: int) -> list[int]:
    """Return the ids of a process and of all below it."""
    below = [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    return [pid, *(one for child in below for one in family(child))]


def told(node: Running) -> str:
    """Return what a start has taken."""
    used_s = sum(map(cpu_s_of, family(node.process.pid)))
    return f"ready after {node.ready_s:.2f} s, {used_s:.2f} s of CPU time"


async def look(node: Running, key: str) -> None:
    """Read a document, which has to be there."""
    peer = await join(node, READER)
    answers = await read_all(peer, [key])
    assert answers[key].payload, f"the node has no {key}"
    await peer.leave()


async def measure(count: int, place: Path) -> None:
    """Print one line for the first start, and one for each that follows an ending."""
    folder, data = place / "documents", place / "data"
    folder.mkdir()
    make_documents(folder, COLLECTION, count)
    last = f"{COLLECTION}:node-{count - 1:06}"
    node = await start(data, "--load", str(folder))
    print(f"{count} documents loaded: {told(node)}", flush=True)
    for ending, number in ENDINGS.items():
        await look(node, last)
        node.process.send_signal(number)
        await node.process.wait()
        node = await start(data)
        print(f"{count} documents, {ending}: {told(node)}", flush=True)
    await look(node, last)
    node.process.terminate()
    await node.process.wait()


def main() -> int:
    """Print the lines of each number of documents."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, nargs="+", default=[10_000, 100_000])
    for count in parser.parse_args().documents:
        with tempfile.TemporaryDirectory() as place:
            asyncio.run(measure(count, Path(place)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
