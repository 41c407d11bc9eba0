"""A node that measures its own event loop: run as a program by the tests of attacks.

It prints its ready line, and at the end of standard input one JSON line: the processor time of the
slowest callbacks of its thread, in seconds, and its memory above that when it was idle.
"""

import asyncio
import json
import resource
import sys
import time
from asyncio import events

from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.node.config import Config
from meshwire_reference.node.driver import Node


def measure(slices: list[float]) -> None:
    """Record the processor time of every callback of the loop."""
    run = events.Handle._run

    def measured(handle: asyncio.Handle) -> None:
        began_s = time.thread_time()
        run(handle)
        slices.append(time.thread_time() - began_s)

    events.Handle._run = measured  # type: ignore[method-assign]  # the one place that sees them all


def peak_kib() -> int:
    """Return the greatest memory of this process so far, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


async def serve(slices: list[float]) -> None:
    """Serve until standard input ends."""
    settings = Settings(Dialect.OPEN, heartbeat_s=0, frame_stall_s=float(sys.argv[1]))
    node = Node(Config(("tcp://127.0.0.1:0",), settings))
    await node.start()
    sys.stdout.write(json.dumps({"address": node.addresses[0]}) + "\n")
    sys.stdout.flush()
    slices.clear()
    idle_kib = peak_kib()
    await asyncio.to_thread(sys.stdin.read)
    slices.sort()
    found = {
        "slices": len(slices),
        "p999_s": slices[len(slices) * 999 // 1000],
        "top_s": slices[-5:],
        "above_idle_kib": peak_kib() - idle_kib,
    }
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()
    await node.close()


if __name__ == "__main__":
    measured: list[float] = []
    measure(measured)
    asyncio.run(serve(measured))
