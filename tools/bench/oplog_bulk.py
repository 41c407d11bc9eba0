"""Measure a node of `oplog/1` that receives one long bulk: CPU time and memory of its process.

Half of the operations are insertions of texts, each after the one before, and half are writes of a
register. The node is a process of its own without a store; its figures are its own, from the first
message to the last operation.
"""

import argparse
import asyncio
import json
import resource
import sys
from time import process_time

from websockets.asyncio.client import connect

from meshwire_reference.node.operations import OplogNode
from meshwire_reference.oplog.authoring import OperationAuthor
from meshwire_reference.oplog.frames import bulk_chunks
from meshwire_reference.oplog.hub import Hub
from meshwire_reference.oplog.operations import ROOT, SignedOperation
from meshwire_reference.oplog.replica import Replica, ReplicaSettings
from meshwire_reference.oplog.schema import TYPES
from meshwire_reference.oplog.signatures import Signer
from meshwire_reference.oplog.spelling import operation_json


def made(count: int) -> list[SignedOperation]:
    """Return `count` operations of one author."""
    author = OperationAuthor(Signer(b"\x33" * 32), Replica(ReplicaSettings(schema=TYPES)))
    found: list[SignedOperation] = []
    last = ROOT
    for number in range(count):
        if number % 2:
            found.append(author.set(("rs",), f"value {number}"))
        else:
            found.append(author.insert(("ls",), last, f"text {number}"))
            last = found[-1].inner.id
    return found


async def receive(count: int) -> None:
    """Run a node until it has `count` operations; print its address, then what they took."""
    arrived = asyncio.Event()
    hub = Hub(Replica(ReplicaSettings(schema=TYPES)))

    async def keep(_: list[str]) -> None:
        if len(hub.log) >= count:
            arrived.set()

    loop = asyncio.get_running_loop()
    node = OplogNode(hub, keep, lambda *_: None, lambda: 0.0, loop.time)
    print(await node.listen("127.0.0.1", 0), flush=True)
    began = process_time()
    await arrived.wait()
    spent_s = process_time() - began
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps([spent_s, memory / 1024]), flush=True)
    await node.close()


async def measure(count: int) -> None:
    """Start the node, send it the operations, and print one line."""
    texts = [operation_json(signed) for signed in made(count)]
    size = sum(len(text) for text in texts)
    node = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--receive", "--count", str(count), stdout=asyncio.subprocess.PIPE
    )
    assert node.stdout is not None
    address = (await node.stdout.readline()).decode().strip()
    async with connect(address, compression=None, proxy=None, ping_interval=None) as peer:
        await peer.recv()
        for message, _ in bulk_chunks(texts):
            await peer.send(message)
        spent_s, memory = json.loads(await node.stdout.readline())
    await node.wait()
    print(f"bulk of {count} operations, {size / 2**20:.0f} MiB: {spent_s:.1f} s, {memory:.0f} MiB")


def main() -> None:
    """Print the figures of one bulk."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="operations")
    parser.add_argument("--receive", action="store_true", help="be the node")
    options = parser.parse_args()
    asyncio.run(receive(options.count) if options.receive else measure(options.count))


if __name__ == "__main__":
    main()
