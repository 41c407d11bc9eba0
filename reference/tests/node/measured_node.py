"""A node that measures its own event loop: run as a program by the tests of attacks.

It prints its ready line, and at the end of standard input one JSON line: the processor time of the
slowest callbacks of its thread, in seconds, its memory above that when it was idle, and the
greatest number of turns of its loop from the arrival of a frame of the good peer to its handler.
"""

import asyncio
import gc
import json
import resource
import sys
import time
from asyncio import base_events, events
from collections import deque
from typing import Any

from meshwire_reference.core.frames.dispatch import Frames
from meshwire_reference.core.peer.session import Session
from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.node.config import Config
from meshwire_reference.node.driver import Node
from meshwire_reference.transport.lab.link import LabLink
from meshwire_reference.wire.batches import StreamFrame

GOOD = bytes((2,)) * 32
"""Endpoint id of the good peer, which sends one frame at a time."""
KEY = "notes:"
"""Beginning of its keys."""


class Turns:
    """Counts turns of the loop from the arrival of a frame of the good peer to its handler."""

    def __init__(self) -> None:
        self.counts: list[int] = []
        self._turn = 0
        self._arrived: deque[int] = deque()

    def watch(self) -> None:
        """Watch the loop, the links and the frames of this process."""
        run_once, receive, take = (
            base_events.BaseEventLoop._run_once,
            LabLink.data_received,
            Frames.take,
        )

        def run_turn(loop: base_events.BaseEventLoop) -> None:
            self._turn += 1
            run_once(loop)

        def note_data(link: LabLink, data: bytes) -> None:
            # Its identity may come with the first frame.
            receive(link, data)
            if link.peer_id == GOOD and KEY.encode() in data:
                self._arrived.append(self._turn)

        def note_frame(
            frames: Frames, session: Session, stream: int, frame: StreamFrame, effects: Any
        ) -> str | None:
            if session.streams.peer == GOOD.hex() and frame.key.startswith(KEY):
                self.counts.append(self._turn - self._arrived.popleft())
            return take(frames, session, stream, frame, effects)

        base_events.BaseEventLoop._run_once = run_turn  # type: ignore[method-assign]  # as below
        LabLink.data_received = note_data  # type: ignore[method-assign]  # as below
        Frames.take = note_frame  # type: ignore[method-assign]  # as below


def measure(slices: list[float]) -> None:
    """Record the processor time of every callback of the loop."""
    run = events.Handle._run

    def measured(handle: asyncio.Handle) -> None:
        began_s = time.thread_time()  # noqa: TID251 - processor time is what it measures
        run(handle)
        slices.append(time.thread_time() - began_s)  # noqa: TID251 - the same

    events.Handle._run = measured  # type: ignore[method-assign]  # the one place that sees them all


def peak_kib() -> int:
    """Return the greatest memory of this process so far, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


async def serve(slices: list[float], turns: Turns) -> None:
    """Serve until standard input ends."""
    settings = Settings(Dialect.OPEN, heartbeat_s=0, frame_stall_s=float(sys.argv[1]))
    node = Node(Config(("tcp://127.0.0.1:0",), settings))
    await node.start()
    # As `meshwire-node run` does.
    gc.freeze()
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
        "frames": len(turns.counts),
        "turns": max(turns.counts, default=0),
        "above_idle_kib": peak_kib() - idle_kib,
    }
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()
    await node.close()


if __name__ == "__main__":
    measured: list[float] = []
    measure(measured)
    counted = Turns()
    counted.watch()
    asyncio.run(serve(measured, counted))
