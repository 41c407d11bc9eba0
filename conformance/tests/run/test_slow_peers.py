"""Slow and honest peers: a busy machine makes a target late, and lateness alone breaks no rule.

A relay between the suite and the bundled node makes the node late, or the node is stopped for a
while. All peers are judged beside each other. Whatever a peer is late with, no case may fail; what
the suite cannot decide then could not run.

The waits are real, since a child process knows no other time. No test depends on how long they
take: a machine that makes a peer still later must not make a case fail either.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from functools import partial

import pytest

from meshwire_conformance.contracts import Settings
from meshwire_conformance.run.loading import load_catalogue
from meshwire_conformance.socket_suite.part import SocketPart
from meshwire_conformance.targets.attach import Target, start_node
from meshwire_conformance.targets.tcp import TcpDialler
from meshwire_conformance.verdicts import CaseResult, Verdict

pytestmark = [pytest.mark.process, pytest.mark.socket]

CASES = ("MW-5506", "MW-5508", "MW-5515", "MW-5971", "MW-5973")
"""Answers, refusals and barriers, which need no library of documents."""
RUN = (sys.executable, "-m", "meshwire_reference.cli", "run", "--listen", "tcp://127.0.0.1:0")
CHUNK = 2**16
FORMATION = ("--formation-id", "lab-formation")

CASES_FROM = 2
"""The connection from which on cases run; the calibration has the one before."""

Lateness = Callable[[int, int], float]
"""Seconds by which the n-th chunk of a connection is late; both count from 1."""


def in_time(_connection: int, _number: int) -> float:
    """Return no lateness."""
    return 0.0


@dataclass(frozen=True, slots=True)
class Slow:
    """How a peer is slow: with its answers, with reading, with accepting, or since it is stopped.

    `chunk` is the number of bytes that it writes at once. `stopped_s` are the seconds of one stop.
    """

    answers: Lateness = in_time
    reading: Lateness = in_time
    accepting_s: float = 0.0
    stopped_s: float = 0.0
    chunk: int = CHUNK
    dialect: str = "open"


def always(late_s: float) -> Lateness:
    """Return the lateness of a peer that is late with everything."""
    return lambda _connection, _number: late_s


def every(count: int, late_s: float) -> Lateness:
    """Return the lateness of a peer that is late with every n-th chunk."""
    return lambda _connection, number: late_s if number % count == 0 else 0.0


def in_cases(late_s: float) -> Lateness:
    """Return the lateness of a peer that is late after the calibration."""
    return lambda connection, _number: late_s if connection >= CASES_FROM else 0.0


def once(late_s: float) -> Lateness:
    """Return the lateness of a peer that is late with one chunk of a case."""
    return lambda *place: late_s if place == (CASES_FROM, 2) else 0.0


PEERS = {
    "late by 0.2 s": Slow(always(0.2)),
    "late by 1 s": Slow(always(1.0)),
    "late by 0.2 s, with a handshake": Slow(always(0.2), dialect="H1"),
    "every third answer late by 1 s": Slow(every(3, 1.0)),
    "every fifth answer late by 2 s": Slow(every(5, 2.0)),
    "late by 1 s after the calibration": Slow(in_cases(1.0)),
    "late by more than a deadline, once": Slow(once(6.0)),
    "reads late by 0.2 s": Slow(reading=always(0.2)),
    "reads every third chunk late by 1 s": Slow(reading=every(3, 1.0)),
    "accepts late by 1 s": Slow(accepting_s=1.0),
    "one byte at a time": Slow(chunk=1),
    "stopped for 3 s": Slow(stopped_s=3.0),
    "stopped for longer than a deadline": Slow(stopped_s=6.0),
}


@dataclass(slots=True)
class Relay:
    """Forwards connections to a node, as late as a slow peer is."""

    slow: Slow
    port: int
    pid: int
    connections: int = 0
    serving: set[asyncio.Task[None] | None] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one connection in both directions."""
        self.serving.add(asyncio.current_task())
        self.connections += 1
        number = self.connections
        ends = [writer]
        try:
            await asyncio.sleep(self.slow.accepting_s)  # noqa: TID251 - see above: real waits
            from_node, to_node = await asyncio.open_connection("127.0.0.1", self.port)
            ends.append(to_node)
            await asyncio.gather(
                self.forward(from_node, writer, partial(self.answer, number), self.slow.chunk),
                self.forward(reader, to_node, partial(self.slow.reading, number)),
                return_exceptions=True,
            )
            for end in ends:
                end.close()
        except asyncio.CancelledError:
            # No socket outlives the loop.
            for end in ends:
                end.transport.abort()
            raise

    async def stop(self) -> None:
        """End every connection that is still forwarded."""
        left = [task for task in self.serving if task is not None]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def answer(self, connection: int, number: int) -> float:
        """Return how late an answer is, and stop the node in the middle of the first cases."""
        if self.slow.stopped_s and (connection, number) == (CASES_FROM, 2):
            os.kill(self.pid, signal.SIGSTOP)
            loop = asyncio.get_running_loop()
            loop.call_later(self.slow.stopped_s, os.kill, self.pid, signal.SIGCONT)
        return self.slow.answers(connection, number)

    async def forward(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        lateness: Callable[[int], float],
        size: int = CHUNK,
    ) -> None:
        """Forward one direction, at most `size` bytes at once; the order of the bytes stays."""
        loop = asyncio.get_running_loop()
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def write() -> None:
            while True:
                due, data = await waiting.get()
                await asyncio.sleep(due - loop.time())  # noqa: TID251 - see above: real waits
                if not data:
                    sink.close()
                    return
                sink.write(data)
                await sink.drain()

        writing = asyncio.create_task(write())
        number = 0
        try:
            while data := await source.read(size):
                number += 1
                waiting.put_nowait((loop.time() + lateness(number), data))
            waiting.put_nowait((loop.time(), b""))
            await writing
        finally:
            writing.cancel()


async def judge(slow: Slow, target: Target) -> list[CaseResult]:
    """Return the verdicts about a node that a relay makes slow."""
    assert target.node is not None
    relay = Relay(slow, target.address.port, target.node.process.pid)
    server = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
    address = replace(target.address, port=server.sockets[0].getsockname()[1])
    late = Target(address, target.facts, TcpDialler(address), target.formation)
    catalogue = load_catalogue()
    part = SocketPart(late, catalogue, Settings(), None, slow.dialect, lambda _result: None)
    try:
        return await part.run([catalogue.by_id[name] for name in CASES])
    finally:
        server.close()
        await relay.stop()


async def judge_all() -> dict[str, list[CaseResult]]:
    """Return the verdicts about every peer; one that is stopped has a node of its own."""
    async with AsyncExitStack() as stack:

        async def start(*how: str) -> Target:
            target = await start_node(shlex.join((*RUN, *how)))
            stack.push_async_callback(target.close)
            return target

        # A node that is stopped serves one peer alone, the others share one of each dialect.
        uses = {name: name if slow.stopped_s else slow.dialect for name, slow in PEERS.items()}
        names = sorted(set(uses.values()))
        dialects = {"H1": FORMATION}
        started = await asyncio.gather(*(start(*dialects.get(name, ("--open",))) for name in names))
        node = dict(zip(names, started, strict=True))
        found = await asyncio.gather(
            *(judge(slow, node[uses[name]]) for name, slow in PEERS.items())
        )
        return dict(zip(PEERS, found, strict=True))


@pytest.fixture(scope="module")
def verdicts() -> dict[str, list[CaseResult]]:
    """The verdicts about every slow peer, all judged beside each other."""
    return asyncio.run(judge_all())


@pytest.mark.parametrize("name", PEERS)
def test_a_slow_and_honest_peer_fails_nothing(
    name: str, verdicts: dict[str, list[CaseResult]]
) -> None:
    """It passes, or could not be judged."""
    failed = [one for one in verdicts[name] if one.verdict is Verdict.FAIL]
    applicable = [one for one in verdicts[name] if one.verdict is not Verdict.NOT_APPLICABLE]

    assert failed == []
    assert applicable
