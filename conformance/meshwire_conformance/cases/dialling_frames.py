"""Cases about a target that dials, after the handshake: first frames, streams, credit, redial."""

from __future__ import annotations

import asyncio
import hashlib

from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.connecting import accept_call
from meshwire_conformance.socket_suite.content import Wanted
from meshwire_conformance.socket_suite.evidence import CaseFailed
from meshwire_conformance.socket_suite.meanwhile import ends_of
from meshwire_conformance.targets.lab import Windows, record
from meshwire_conformance.targets.tcp import TcpConnection
from meshwire_conformance.targets.transport import Stream
from meshwire_spec.numbers import (
    LAB_MAX_DATA,
    REASONS,
    STREAMS_ACCEPTED_MIN,
    FrameType,
    LabRecordType,
)
from meshwire_spec.schemas.steps import DocumentSpec, FrameSpec

NEEDS = ("documents", "dials")
NOTHING = frozenset[str]()
BASE = {"base": DocumentSpec(actor="0a0b0c0d", fields={"name": "alpha"})}
LET = {"key": "tracks:$case"}
BLOCKS = 64
"""Number of 64-character blocks in a document that is larger than `NARROW`."""
NARROW = 320
"""Bytes of a window that a handshake fits into and a document does not."""
READS = 5
FEW = 2
"""Streams that are granted at a time: that of the handshake, and one."""
STREAMS = STREAMS_ACCEPTED_MIN + 16
PING = bytes.fromhex("6563686f6563686f")


async def _plant(run: CaseRun, name: str = "base") -> Wanted:
    """Give the target a document over a connection that the suite has dialled."""
    await run.send(FrameSpec(type="snapshot", document=name), "B")
    await run.barrier("B")
    return Wanted(run.scope.names["key"], heads=run.contents.made[name].heads)


def _large() -> dict[str, DocumentSpec]:
    blocks = (hashlib.sha256(bytes((number,))).hexdigest() for number in range(BLOCKS))
    return {"large": DocumentSpec(actor="0c0c0c0c", fields={"text": "".join(blocks)})}


@case(
    "MW-6061",
    "a target that has dialled must offer its tombstones before its documents",
    part="tombstones",
    rules=("TS-042", "DC-035"),
    needs=NEEDS,
    isolation="peer",
    let={**LET, "deleted": "nodes:$case"},
)
async def tombstones_first(run: CaseRun) -> None:
    """The side that dials begins with documents, which a peer then stores for a while."""
    await run.documents(BASE)
    await run.send(FrameSpec(type="tombstone", key="$deleted"), "B")
    await run.barrier("B")
    planted = await _plant(run)
    await run.connection("A")
    document = await run.expect(planted, "A")
    deleted = run.subscription(run.scope.names["deleted"]).arrivals
    peer = run.peer("A").name
    before = [one for one in deleted if one.peer == peer and one.order < document.order]
    if not before:
        raise CaseFailed(
            "out-of-order",
            "a document was offered, and a tombstone that the target holds was not",
            expected=("the tombstone, then the document",),
            received=("the document",),
        )


@case(
    "MW-6062",
    "a target that dials again must offer its documents and tombstones again",
    part="documents",
    rules=("DC-035", "TS-042", "DC-017"),
    needs=NEEDS,
    isolation="peer",
    let={**LET, "deleted": "nodes:$case", "delta": "notes:$case"},
)
async def offers_again(run: CaseRun) -> None:
    """What was offered over one connection counts as known to the peer for ever."""
    await run.documents(BASE)
    await run.send(FrameSpec(type="tombstone", key="$deleted"), "B")
    await run.barrier("B")
    await run.send(FrameSpec(type="snapshot", key="$delta", document="base"), "B")
    await run.barrier("B")
    planted = await _plant(run)
    wanted = (
        planted,
        Wanted(run.scope.names["delta"], heads=planted.heads),
        Wanted(run.scope.names["deleted"], type=FrameType.TOMBSTONE),
    )
    for _ in range(2):
        before = [len(run.subscription(one.key).arrivals) for one in wanted]
        connection = await accept_call(run, "A")
        for one, after in zip(wanted, before, strict=True):
            await run.expect(one, "A", after=after)
        await connection.close()


@case(
    "MW-6063",
    "a target must show one endpoint id on every connection, whichever side dialled",
    part="transport",
    rules=("TR-028",),
    level="wire",
    needs=("dials",),
    isolation="peer",
)
async def one_endpoint_id(run: CaseRun) -> None:
    """Each dial has an endpoint id of its own, so that no peer can be recognised."""
    shown = []
    for _ in range(2):
        connection = await accept_call(run, "A")
        shown.append(connection.endpoint_id.hex())
        await connection.close()
    shown.append((await run.connection("B")).endpoint_id.hex())
    if len({*shown}) > 1:
        raise CaseFailed(
            "other-id",
            "the target showed several endpoint ids",
            expected=(f"{shown[0]} on each connection",),
            received=shown,
        )


@case(
    "MW-6064",
    "the streams of a target that has dialled must be numbered from 0, bit 0 clear",
    part="lab-binding",
    rules=("LB-030", "LB-032"),
    level="wire",
    needs=("dials",),
    isolation="peer",
)
async def numbers_of_streams(run: CaseRun) -> None:
    """The side that dials numbers its streams as the side that listens, or leaves numbers out."""
    connection = await accept_call(run, "A")
    for number in range(READS):
        await run.read(Wanted(f"notes:{run.scope.names['case']}-{number}", heads=NOTHING))
    opened = sorted(
        one.number for one in connection.streams.values() if not one.ours and not one.uni
    )
    wanted = [4 * number for number in range(len(opened))]
    if opened != wanted or len(opened) < READS:
        raise CaseFailed(
            "wrong-number",
            "the bidi streams of the target have other numbers",
            expected=(", ".join(map(str, wanted)),),
            received=(", ".join(map(str, opened)),),
        )


# --- Credit ------------------------------------------------------------------------------------


def _full(connection: TcpConnection) -> list[Stream]:
    """Return the streams of the target that have filled a narrow window."""
    return [
        stream
        for stream in connection.streams.values()
        if not stream.ours and len(stream.received) >= NARROW and not stream.read_over
    ]


async def _check_echo(run: CaseRun, connection: TcpConnection) -> None:
    """Fail unless a PING comes back: what the target had sent by then has arrived."""
    if not await connection.ping(PING, run.deadline_s):
        run.check_connection(connection)
        raise CaseFailed("no-pong", "the PING was not echoed", missed=True)
    run.check_connection(connection)


@case(
    "MW-6065",
    "a target that has dialled must send no more than the credit of a stream",
    part="lab-binding",
    rules=("LB-040",),
    level="wire",
    needs=NEEDS,
    isolation="peer",
    let=LET,
)
async def credit_of_a_stream(run: CaseRun) -> None:
    """The side that dials takes its own windows for those of its peer."""
    await run.documents(_large())
    planted = await _plant(run, "large")
    connection = await accept_call(run, "A", windows=Windows(max_stream_data=NARROW, held=True))
    await connection.signal.wait_for(lambda: bool(_full(connection)), run.deadline_s)
    await _check_echo(run, connection)
    if not _full(connection):
        raise CaseFailed("no-answer", "no offer filled the window of a stream", missed=True)
    connection.lab.holding = False
    for stream in connection.streams.values():
        if not stream.ours and not stream.read_over:
            connection.lab.release(stream.number, LAB_MAX_DATA)
    connection.flush()
    await run.expect(planted, "A")


@case(
    "MW-6066",
    "a target that has dialled must send no more than the credit of the connection",
    part="lab-binding",
    rules=("LB-040",),
    level="wire",
    needs=NEEDS,
    isolation="peer",
    let=LET,
)
async def credit_of_the_connection(run: CaseRun) -> None:
    """The side that dials heeds the windows of streams alone."""
    await run.documents(_large())
    planted = await _plant(run, "large")
    await accept_call(run, "A", windows=Windows(max_data=NARROW))
    await run.expect(planted, "A")


@case(
    "MW-6067",
    "a target that has dialled must open no more streams than it was granted",
    part="lab-binding",
    rules=("LB-048",),
    level="wire",
    needs=("dials",),
    isolation="peer",
)
async def credit_of_streams(run: CaseRun) -> None:
    """The side that dials takes its own number of streams for that of its peer."""
    connection = await accept_call(run, "A", windows=Windows(max_streams_bidi=FEW))
    keys = [f"notes:{run.scope.names['case']}-{number}" for number in range(READS)]
    for key in keys:
        run.subscription(key)
        await run.send_read(key)
    for key in keys:
        await run.expect(Wanted(key, heads=NOTHING), "A")
    run.check_connection(connection)


@case(
    "MW-6068",
    "a target that has dialled must give back the credit of streams that have ended",
    part="lab-binding",
    rules=("LB-046", "TR-011"),
    needs=("dials",),
    isolation="peer",
    let=LET,
)
async def streams_come_back(run: CaseRun) -> None:
    """Only the streams of the side that dials are counted."""
    for number in range(STREAMS):
        name = f"ignored {number}"
        await run.send(FrameSpec(type=6, hex="2a", wrong=True), "A", name)
        await (await run.stream("A", name)).finish()
    await run.read(Wanted(f"notes:{run.scope.names['case']}", heads=NOTHING))


@case(
    "MW-6069",
    "a target that has dialled must give back the credit of bytes that it has read",
    part="lab-binding",
    rules=("LB-044", "FR-012"),
    needs=("dials",),
    isolation="peer",
)
async def bytes_come_back(run: CaseRun) -> None:
    """The maxima of a connection that was dialled are never raised."""
    size = LAB_MAX_DATA + LAB_MAX_DATA // 2
    # Of a type that is read and ignored.
    head = b"\x00\x01x" + bytes((FrameType.TOMBSTONE_ACK,)) + size.to_bytes(4, "big")
    stream = await run.open("A", "long")
    await stream.write(head + bytes(size))
    run.ended(stream, f"a frame of {size} bytes")
    await run.barrier("A", "long")


@case(
    "MW-6052",
    "a half that the side which was dialled has stopped must be reset with code 0 at once",
    part="transport",
    rules=("TR-023", "LB-035"),
    level="wire",
    needs=("dials",),
    isolation="peer",
)
async def stopped_half(run: CaseRun) -> None:
    """A STOP is noticed on streams of the own side alone."""
    stream = await run.open("A", "stopped")
    await stream.stop(REASONS["internal"].code)
    run.ended(stream, "STOP with internal")
    await stream.wait_for(lambda: stream.read_over, run.deadline_s)
    run.check_connection(stream.connection)
    if stream.reset_code != 0:
        raise CaseFailed(
            "not-released",
            "a half that was stopped was not reset with code 0",
            expected=("RESET with code 0",),
            received=ends_of(stream) or ("nothing within the deadline",),
            missed=stream.reset_code is None,
        )


# --- Ends and pieces -----------------------------------------------------------------------------


@case(
    "MW-6070",
    "a target that has dialled must end the TCP connection after CLOSE, and answer nothing",
    part="lab-binding",
    rules=("LB-053",),
    level="wire",
    needs=("dials",),
    isolation="peer",
)
async def close_ends_tcp(run: CaseRun) -> None:
    """The side that dials keeps a connection that its peer has closed."""
    connection = await accept_call(run, "A")
    await _check_echo(run, connection)
    connection.lab.close(0, "done")
    connection.flush()
    await connection.raw(record(LabRecordType.PING, bytes(8)))
    await connection.signal.wait_for(lambda: connection.ended, run.deadline_s)
    if not connection.ended:
        raise CaseFailed("still-open", "the TCP connection is still open", missed=True)
    if connection.closed is not None and connection.closed.code is not None:
        raise CaseFailed("answered", "the target answered a CLOSE")


@case(
    "MW-6071",
    "records that reach a target that has dialled in single bytes must be reassembled",
    part="lab-binding",
    rules=("LB-055",),
    level="wire",
    needs=NEEDS,
    isolation="peer",
    let=LET,
)
async def single_bytes(run: CaseRun) -> None:
    """The bytes of one read are taken for complete records where the node has dialled."""
    await run.documents(BASE)
    connection = await accept_call(run, "A")
    stream = await run.send(FrameSpec(type="snapshot", document="base"))
    await stream.finish()
    connection.trickles = True
    connection.flush()
    for _ in range(connection.trickle_left()):
        connection.trickle()
        await asyncio.sleep(0)
    connection.end_trickle()
    await run.wait_finished(stream)
    await run.read(Wanted(run.scope.names["key"], heads=run.contents.made["base"].heads), "B")


# --- Two connections that the target has dialled -------------------------------------------------


@case(
    "MW-6072",
    "a change must be relayed from one peer that was dialled to another",
    part="documents",
    rules=("DC-030",),
    needs=(*NEEDS, "dials:2"),
    isolation="peer",
    let=LET,
)
async def relay_between_dialled(run: CaseRun) -> None:
    """Changes go from the peers that were accepted to those that were dialled, or back."""
    await _relays(run, run.own_peer("A").identity, run.own_peer("D").identity)


@case(
    "MW-6073",
    "two peers that were dialled must be served apart although they show one endpoint id",
    part="transport",
    rules=("TR-025", "DC-030"),
    needs=(*NEEDS, "dials:2"),
    isolation="peer",
    let=LET,
)
async def one_id_behind_two_addresses(run: CaseRun) -> None:
    """A second connection to an endpoint id takes the place of the first, or hears nothing."""
    identity = run.own_peer("A").identity
    await _relays(run, identity, identity)


async def _relays(run: CaseRun, first: bytes, second: bytes) -> None:
    """Fail unless a change goes from one connection of the target's dialling to another."""
    await run.documents(BASE)
    await accept_call(run, "A", identity=first)
    await accept_call(run, "D", identity=second)
    for name in ("A", "D"):
        await run.read(Wanted(f"notes:{run.scope.names['case']}-{name}", heads=NOTHING), name)
    await run.send(FrameSpec(type="snapshot", document="base"), "A")
    await run.barrier("A")
    heads = run.contents.made["base"].heads
    await run.expect(Wanted(run.scope.names["key"], heads=heads), "D")
