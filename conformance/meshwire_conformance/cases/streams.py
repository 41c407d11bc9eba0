"""Cases about many concurrent streams: stream credit, delayed answers, unidirectional streams."""

from __future__ import annotations

import asyncio
import hashlib

from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.connecting import adopt_lab
from meshwire_conformance.socket_suite.content import Wanted
from meshwire_conformance.socket_suite.evidence import CaseFailed
from meshwire_conformance.targets.lab import Windows
from meshwire_conformance.targets.tcp import TcpConnection
from meshwire_conformance.targets.transport import Stream
from meshwire_spec.numbers import STREAMS_ACCEPTED_MAX
from meshwire_spec.schemas.steps import DocumentSpec, FrameSpec

HEARTBEATS = 200
STREAMS = STREAMS_ACCEPTED_MAX + 16
ANSWERS = 30
BURST = 120
BASE = {"base": DocumentSpec(actor="0a0b0c0d", fields={"name": "alpha"})}


@case(
    "MW-5901",
    "two hundred heartbeats on one connection must all be read",
    part="liveness",
    rules=("TR-003", "LV-001"),
    isolation="peer",
    let={"key": "notes:$case"},
)
async def two_hundred_heartbeats(run: CaseRun) -> None:
    """Unidirectional streams are never read, so that their credit is used up and heartbeats stop.

    The read at the end shows that the target still answers.
    """
    for number in range(HEARTBEATS):
        name = f"heartbeat {number}"
        await run.open("A", name, uni=True)
        stream = await run.send(FrameSpec(type="heartbeat"), "A", name)
        await stream.finish()
    await run.read(Wanted(run.scope.names["key"], heads=frozenset()), "A")


@case(
    "MW-5902",
    "64 concurrent streams must be accepted, further ones wait for credit, and all take effect",
    part="transport",
    rules=("TR-011", "LB-046"),
    isolation="peer",
    serial=True,
)
async def many_streams(run: CaseRun) -> None:
    """The 65th stream is refused, or fewer than 64 are accepted at once."""
    await run.documents(BASE)
    keys = [f"tracks:{run.scope.names['case']}-{number}" for number in range(STREAMS)]
    half_sent = 0
    enough = asyncio.Event()

    async def one(key: str) -> None:
        nonlocal half_sent
        stream: Stream = await run.open("A", key)
        data = run.composer.frame(FrameSpec(type="snapshot", key=key, document="base"))
        await run.write(stream, data[:9], "half a snapshot")
        half_sent += 1
        if half_sent == STREAMS_ACCEPTED_MAX:
            enough.set()
        await enough.wait()
        await run.write(stream, data[9:], "the other half")
        await run.barrier("A", key)

    await asyncio.gather(*(one(key) for key in keys))
    heads = run.contents.made["base"].heads
    for key in (keys[0], keys[-1]):
        await run.read(Wanted(key, heads=heads))


@case(
    "MW-5903",
    "120 reads in one burst must all be answered",
    part="documents",
    rules=("DC-007", "DC-003", "LB-046"),
    isolation="peer",
)
async def burst_of_reads(run: CaseRun) -> None:
    """A rate limit drops answers instead of delaying them."""
    keys = [f"notes:{run.scope.names['case']}-{number}" for number in range(BURST)]
    for key in keys:
        run.subscription(key)
    await asyncio.gather(*(run.send_read(key) for key in keys))
    for key in keys:
        await run.expect(Wanted(key, heads=frozenset()), "A")


@case(
    "MW-5904",
    "a node without credit for answers must keep reading, and answer once credit arrives",
    part="transport",
    rules=("TR-010", "TR-022", "DC-007", "LB-048"),
    needs=("documents", "binding:tcp"),
    isolation="peer",
    let={"key": "tracks:$case"},
)
async def answers_wait_for_credit(run: CaseRun) -> None:
    """The node keeps streams open while it waits for credit, so that two nodes deadlock."""
    await run.documents(BASE)
    connection = await adopt_lab(run, "A", Windows(max_streams_bidi=0))
    keys = [f"notes:{run.scope.names['case']}-{number}" for number in range(ANSWERS)]
    for key in keys:
        run.subscription(key)
        await run.send_read(key)
        await run.barrier("A", f"read {key}")
    await run.send(FrameSpec(type="snapshot", document="base"))
    await run.barrier()
    await run.read(Wanted(run.scope.names["key"], heads=run.contents.made["base"].heads), "B")
    connection.lab.allow_streams(2 * ANSWERS)
    connection.flush()
    for key in keys:
        await run.expect(Wanted(key, heads=frozenset()), "A")


def _stalled(connection: TcpConnection, window: int) -> Stream | None:
    """Return a stream of the target that has filled its window and waits for credit, or None."""
    filled = (
        stream
        for stream in connection.streams.values()
        if not stream.ours and len(stream.received) >= window and not stream.finished
    )
    return next(filled, None)


@case(
    "MW-5905",
    "a reader that stops reading must stop its writer, and no other stream",
    part="lab-binding",
    rules=("LB-040", "LB-044", "LB-047"),
    needs=("documents", "binding:tcp"),
    isolation="peer",
    let={"key": "notes:$case", "small": "notes:$case-small"},
)
async def reader_stops_writer(run: CaseRun) -> None:
    """The writer exceeds its credit, or one stream blocks all others."""
    window = 2048
    # Text that exceeds many windows even when compressed.
    big = "".join(hashlib.sha256(bytes((number,))).hexdigest() for number in range(200))
    await run.documents({**BASE, "big": DocumentSpec(actor="0b0b0b0b", fields={"text": big})})
    await run.send(FrameSpec(type="snapshot", document="big"), "B")
    await run.barrier("B")
    await run.send(FrameSpec(type="snapshot", key="$small", document="base"), "B")
    await run.barrier("B")
    connection = await adopt_lab(run, "A", Windows(max_stream_data=window, held=True))
    key = run.scope.names["key"]
    await run.send_read(key)
    await connection.signal.wait_for(lambda: bool(_stalled(connection, window)), run.deadline_s)
    stream = _stalled(connection, window)
    if stream is None:
        run.check_connection(connection)
        raise CaseFailed("no-answer", "no answer filled the window", missed=True)
    # It delays neither control records nor other streams.
    if not await connection.ping(b"\x01\x02\x03\x04\x05\x06\x07\x08", run.deadline_s):
        raise CaseFailed(
            "no-pong", "a PING was not answered while a stream waits for credit", missed=True
        )
    await run.read(Wanted(run.scope.names["small"], heads=run.contents.made["base"].heads), "A")
    if len(stream.received) > window:
        raise CaseFailed("beyond-credit", f"{len(stream.received)} bytes with credit for {window}")
    connection.lab.holding = False
    for waiting in list(connection.streams.values()):
        if not waiting.ours and not waiting.read_over:
            connection.lab.release(waiting.number, 2**20)
    connection.flush()
    await run.expect(Wanted(key, heads=run.contents.made["big"].heads), "A")
