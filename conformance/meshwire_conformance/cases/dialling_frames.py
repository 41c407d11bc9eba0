"""Cases about a target that dials, after the handshake: first frames, streams, credit, redial."""

from __future__ import annotations

import hashlib
from functools import partial

from meshwire_conformance.cases.binding import close_before_ping, send_in_single_bytes
from meshwire_conformance.cases.pace import await_all
from meshwire_conformance.cases.planting import (
    EACH_MODE,
    NOTHING,
    plant,
    plant_each_mode,
    send_snapshot,
    stored,
)
from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.socket_suite.calls import accept_call
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.connecting import check_echo
from meshwire_conformance.socket_suite.content import BASE, Wanted
from meshwire_conformance.socket_suite.evidence import CaseFailed
from meshwire_conformance.socket_suite.meanwhile import ends_of
from meshwire_conformance.targets.lab_records import Windows
from meshwire_conformance.targets.tcp import TcpConnection
from meshwire_conformance.targets.transport import Stream
from meshwire_spec.numbers import (
    LAB_MAX_DATA,
    REASONS,
    STREAMS_ACCEPTED_MIN,
    FrameType,
)
from meshwire_spec.schemas.steps import DocumentSpec, FrameSpec

NEEDS = ("documents", "dials")
LET = {"key": "tracks:$case"}
BLOCKS = 64
"""Number of 64-character blocks in a document that is larger than `NARROW`."""
NARROW = 320
"""Bytes of a window that a handshake fits into and a document does not."""
READS = 5
FEW = 2
"""Streams that are granted at a time: that of the handshake, and one."""
STREAMS = STREAMS_ACCEPTED_MIN + 16

dialled_case = partial(case, needs=("dials",), isolation="peer")
"""Registers a case about a connection that the target has dialled."""
planted_case = partial(dialled_case, needs=NEEDS, let=LET)
"""Registers such a case with a document of its own."""


def _large() -> dict[str, DocumentSpec]:
    blocks = (hashlib.sha256(bytes((number,))).hexdigest() for number in range(BLOCKS))
    return {"large": DocumentSpec(actor="0c0c0c0c", fields={"text": "".join(blocks)})}


@dialled_case(
    "MW-6061",
    "a target that has dialled must offer its tombstones before its documents",
    part="tombstones",
    rules=("TS-042", "DC-035"),
    needs=NEEDS,
    let={**LET, "deleted": "nodes:$case"},
)
async def tombstones_first(run: CaseRun) -> None:
    """The side that dials begins with documents, which a peer then stores for a while."""
    await run.send(FrameSpec(type="tombstone", key="$deleted"), "B")
    await run.barrier("B")
    planted = await plant(run)
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


@dialled_case(
    "MW-6883",
    "a target that has dialled must offer a document of each sync mode in the type of its mode",
    part="documents",
    rules=("DC-033", "DC-034", "DC-035"),
    needs=NEEDS,
    let=EACH_MODE,
)
async def offers_in_their_types(run: CaseRun) -> None:
    """The side that dials offers everything as deltas, or as snapshots."""
    keys = await plant_each_mode(run)
    await run.connection("A")
    for key in keys:
        await run.expect(stored(run, key=key), "A")


@dialled_case(
    "MW-6062",
    "a target that dials again must offer its documents and tombstones again",
    part="documents",
    rules=("DC-035", "TS-042", "DC-017"),
    needs=NEEDS,
    let={**LET, "deleted": "nodes:$case", "delta": "notes:$case"},
)
async def offers_again(run: CaseRun) -> None:
    """What was offered over one connection counts as known to the peer for ever."""
    await run.send(FrameSpec(type="tombstone", key="$deleted"), "B")
    await run.barrier("B")
    wanted = (
        await plant(run, "$delta"),
        await plant(run),
        Wanted(run.scope.names["deleted"], type=FrameType.TOMBSTONE),
    )
    for _ in range(2):
        before = [len(run.subscription(one.key).arrivals) for one in wanted]
        connection = await accept_call(run, "A")
        for one, after in zip(wanted, before, strict=True):
            await run.expect(one, "A", after=after)
        await connection.close()


@dialled_case(
    "MW-6063",
    "a target must show one endpoint id on every connection, whichever side dialled",
    part="transport",
    rules=("TR-028",),
    level="wire",
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


@dialled_case(
    "MW-6064",
    "the streams of a target that has dialled must be numbered from 0, bit 0 clear",
    part="lab-binding",
    rules=("LB-030", "LB-032"),
    level="wire",
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


@planted_case(
    "MW-6065",
    "a target that has dialled must send no more than the credit of a stream",
    part="lab-binding",
    rules=("LB-040",),
    level="wire",
)
async def credit_of_a_stream(run: CaseRun) -> None:
    """The side that dials takes its own windows for those of its peer."""
    await run.documents(_large())
    planted = await send_snapshot(run, document="large")
    connection = await accept_call(run, "A", windows=Windows(max_stream_data=NARROW, held=True))
    await connection.signal.wait_for(lambda: bool(_full(connection)), run.deadline_s)
    await check_echo(run, connection)
    run.check_connection(connection)
    if not _full(connection):
        raise CaseFailed("no-answer", "no offer filled the window of a stream", missed=True)
    connection.lab.holding = False
    for stream in connection.streams.values():
        if not stream.ours and not stream.read_over:
            connection.lab.release(stream.number, LAB_MAX_DATA)
    connection.flush()
    await await_all(run, [planted.key], "A")
    await run.expect(planted, "A")


@planted_case(
    "MW-6066",
    "a target that has dialled must send no more than the credit of the connection",
    part="lab-binding",
    rules=("LB-040",),
    level="wire",
)
async def credit_of_the_connection(run: CaseRun) -> None:
    """The side that dials heeds the windows of streams alone."""
    await run.documents(_large())
    planted = await send_snapshot(run, document="large")
    await accept_call(run, "A", windows=Windows(max_data=NARROW))
    # The whole store may be offered before it, in very small pieces.
    await await_all(run, [planted.key], "A")
    await run.expect(planted, "A")


@dialled_case(
    "MW-6067",
    "a target that has dialled must open no more streams than it was granted",
    part="lab-binding",
    rules=("LB-048",),
    level="wire",
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


@dialled_case(
    "MW-6068",
    "a target that has dialled must give back the credit of streams that have ended",
    part="lab-binding",
    rules=("LB-046", "TR-011"),
    let=LET,
)
async def streams_come_back(run: CaseRun) -> None:
    """Only the streams of the side that dials are counted."""
    for number in range(STREAMS):
        name = f"ignored {number}"
        await run.send(FrameSpec(type=6, hex="2a", wrong=True), "A", name)
        await (await run.stream("A", name)).finish()
    await run.read(Wanted(f"notes:{run.scope.names['case']}", heads=NOTHING))


@dialled_case(
    "MW-6069",
    "a target that has dialled must give back the credit of bytes that it has read",
    part="lab-binding",
    rules=("LB-044", "FR-012"),
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


@dialled_case(
    "MW-6052",
    "a half that the side which was dialled has stopped must be reset with code 0 at once",
    part="transport",
    rules=("TR-023", "LB-035"),
    level="wire",
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


@dialled_case(
    "MW-6070",
    "a target that has dialled must end the TCP connection after CLOSE, and answer nothing",
    part="lab-binding",
    rules=("LB-053",),
    level="wire",
)
async def close_ends_tcp(run: CaseRun) -> None:
    """The side that dials keeps a connection that its peer has closed."""
    connection = await accept_call(run, "A")
    await check_echo(run, connection)
    run.check_connection(connection)
    await close_before_ping(run, connection)
    if connection.closed is not None and connection.closed.code is not None:
        raise CaseFailed("answered", "the target answered a CLOSE")


@planted_case(
    "MW-6071",
    "records that reach a target that has dialled in single bytes must be reassembled",
    part="lab-binding",
    rules=("LB-055",),
    level="wire",
)
async def single_bytes(run: CaseRun) -> None:
    """The bytes of one read are taken for complete records where the node has dialled."""
    await run.documents(BASE)
    await send_in_single_bytes(run, await accept_call(run, "A"))
    await run.read(stored(run), "B")


# --- Two connections that the target has dialled -------------------------------------------------


@dialled_case(
    "MW-6072",
    "a change must be relayed from one peer that was dialled to another",
    part="documents",
    rules=("DC-030",),
    needs=(*NEEDS, "dials:2"),
    let=LET,
)
async def relay_between_dialled(run: CaseRun) -> None:
    """Changes go from the peers that were accepted to those that were dialled, or back."""
    await _relays(run, run.own_peer("A").identity, run.own_peer("D").identity)


@dialled_case(
    "MW-6073",
    "two peers that were dialled must be served apart although they show one endpoint id",
    part="transport",
    rules=("TR-025", "DC-030"),
    needs=(*NEEDS, "dials:2"),
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
    await run.expect(await send_snapshot(run, "A"), "D")
