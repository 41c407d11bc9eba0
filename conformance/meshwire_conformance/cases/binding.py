"""Cases about the lab binding and the handshake that need more than a straight line of steps."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial

from meshwire_conformance.cases.planting import NOTHING, send_snapshot, stored
from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.errors import SuiteFault
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.connecting import (
    check_echo,
    connect,
    dial_raw,
    lab_connection,
    run_handshake,
)
from meshwire_conformance.socket_suite.content import BASE, Wanted
from meshwire_conformance.socket_suite.evidence import CaseFailed, NotApplicable
from meshwire_conformance.socket_suite.punctuality import has_timed_out
from meshwire_conformance.targets.handshake import (
    RESPONSES,
    HandshakeFailed,
    read_result,
    response_bytes,
)
from meshwire_conformance.targets.lab import Grants
from meshwire_conformance.targets.lab_records import Preamble, Windows, record
from meshwire_conformance.targets.tcp import TcpConnection
from meshwire_conformance.targets.transport import Dial, Stream
from meshwire_spec.numbers import (
    ENDPOINT_ID,
    FORMATION_ID_MAX,
    HANDSHAKE_S,
    LAB_MAX_DATA,
    RESULT_REJECTED,
    VERDICT_LINGER_S,
    LabRecordType,
)
from meshwire_spec.schemas.steps import ConnectSpec, DocumentSpec, FrameSpec, HandshakeSpec

CUT_STREAMS = 60
CUT_BYTES = 48 * 1024
BLOCKS = 36_000
"""Number of 64-character blocks in the document: more bytes than the largest window."""
WRONG_AT = (0, 15, 16, 20, 31)
"""Places of the wrong byte of a response: around the lengths of shorter codes, and the last."""
GRANTS_SHOWN = 5
CUT = 7
"""Bytes of a record that come with the preamble: its head and a part of its body."""
NEEDS = ("documents", "binding:tcp")

lab_case = partial(case, part="lab-binding", level="wire", needs=NEEDS, isolation="peer")
"""Registers a case about the lab binding."""
fault_case = partial(lab_case, negative=True, control="MW-5801")
"""Registers a case in which the suite breaks a rule of the lab binding, or crosses a refusal."""


async def _good_frame(run: CaseRun) -> None:
    await run.read(await send_snapshot(run, "A"))


async def raw_connection(run: CaseRun, preamble: Preamble) -> TcpConnection:
    """Return a connection with this preamble, without waiting for that of the target."""
    return await dial_raw(run, Dial(preamble.endpoint_id, preamble=preamble))


@case(
    "MW-5911",
    "the target must write its preamble without waiting for the peer's",
    part="lab-binding",
    rules=("LB-001",),
    level="wire",
    needs=("binding:tcp",),
)
async def early_preamble(run: CaseRun) -> None:
    """Both sides wait for the other's preamble."""
    identity = run.own_peer("late").dial().identity
    connection = await raw_connection(run, Preamble(identity, whole=b""))
    handshake_s = run.session.target.facts.deadlines.get("handshake_s", HANDSHAKE_S)
    came = await connection.ready(run.terms.deadline.beyond(handshake_s))
    # A target that waits for the suite's preamble may write its own only at the end of its
    # deadline.
    if came:
        await connection.raw(Preamble(identity).encode())
        came = await connection.ping(b"\x08\x07\x06\x05\x04\x03\x02\x01", run.deadline_s)
    await connection.close()
    if not came:
        raise CaseFailed(
            "no-preamble", "no preamble came before ours while the connection stood", missed=True
        )


@case(
    "MW-6104",
    "records in one write with the preamble must be processed",
    part="lab-binding",
    rules=("LB-055", "LB-050", "LB-001"),
    level="wire",
    needs=("binding:tcp",),
)
async def record_with_the_preamble(run: CaseRun) -> None:
    """Bytes after the preamble wait for further ones, are lost, or are read twice."""
    identity = run.own_peer("early").dial().identity
    connection = await raw_connection(run, Preamble(identity, whole=b""))
    payloads = [bytes(range(first, first + 8)) for first in (3, 19, 35)]
    whole, second, last = (record(LabRecordType.PING, payload) for payload in payloads)
    await connection.ready(run.deadline_s)
    try:
        _check_open(run, connection)
        # The second PING follows from the first read alone, and the last one from two reads.
        # Without streams of the target nothing of the suite's comes between the parts of the last.
        preamble = Preamble(identity, windows=Windows(max_streams_bidi=0, max_streams_uni=0))
        await connection.raw(preamble.encode() + whole + second + last[:CUT])
        await _check_pongs(run, connection, payloads[:2])
        await connection.raw(last[CUT:])
        await _check_pongs(run, connection, payloads)
    finally:
        await connection.close()


def _check_open(run: CaseRun, connection: TcpConnection) -> None:
    """Fail if the target has closed a connection on which the case makes no handshake.

    A target that is slow itself may give up the handshake first, which is a deadline like any.
    """
    if has_timed_out(connection):
        raise CaseFailed(
            "no-pong", "the target gave up the handshake before its PONGs came", missed=True
        )
    run.check_connection(connection)


async def _check_pongs(run: CaseRun, connection: TcpConnection, wanted: Sequence[bytes]) -> None:
    """Wait for as many PONGs as there are payloads; raises CaseFailed unless they are these."""
    await connection.signal.wait_for(
        lambda: len(connection.pongs) >= len(wanted) or connection.closed is not None,
        run.deadline_s,
    )
    _check_open(run, connection)
    came = list(connection.pongs)
    if came != list(wanted):
        raise CaseFailed(
            "no-pong",
            "the PINGs in one write with the preamble were not answered once each, in their order",
            expected=tuple(f"PONG {payload.hex()}" for payload in wanted),
            received=tuple(f"PONG {payload.hex()}" for payload in came),
            missed=len(came) < len(wanted),
        )


@case(
    "MW-5977",
    "each preamble must have the endpoint id that the target states",
    part="lab-binding",
    rules=("LB-058",),
    needs=("binding:tcp",),
    isolation="peer",
)
async def one_endpoint_id(run: CaseRun) -> None:
    """The endpoint id is made anew for each connection, or is not that of the ready line."""
    connections = [await run.connection(name) for name in ("A", "B")]
    shown = [connection.endpoint_id.hex() for connection in connections]
    wanted = run.session.target.facts.endpoint_id or shown[0]
    if any(one != wanted for one in shown):
        raise CaseFailed(
            "wrong-endpoint-id",
            "a preamble has another endpoint id",
            expected=(wanted,),
            received=tuple(shown),
        )


@lab_case(
    "MW-5912",
    "records that TCP splits into single bytes must be reassembled",
    rules=("LB-055",),
    let={"key": "tracks:$case"},
)
async def single_bytes(run: CaseRun) -> None:
    """The bytes of one read are treated as complete records."""
    await run.documents(BASE)
    await send_in_single_bytes(run, await lab_connection(run, "A"))
    await run.read(stored(run))


async def send_in_single_bytes(run: CaseRun, connection: TcpConnection) -> None:
    """Send the document on the connection of peer A, one byte a write, and wait for its barrier."""
    stream = await run.send(FrameSpec(type="snapshot", document="base"))
    await stream.finish()
    connection.trickles = True
    connection.flush()
    for _ in range(connection.trickle_left()):
        connection.trickle()
        await asyncio.sleep(0)
    connection.end_trickle()
    await run.wait_finished(stream)


@fault_case(
    "MW-5913",
    "bytes before a RESET or after a refused frame must return their credit",
    rules=("LB-045", "TR-014"),
    let={"key": "tracks:$case"},
)
async def discarded_bytes_give_credit_back(run: CaseRun) -> None:
    """Each truncated frame reduces the credit of the connection until it stalls."""
    await run.documents(BASE)
    assert CUT_STREAMS * CUT_BYTES > LAB_MAX_DATA
    cut = run.composer.frame(FrameSpec(type="snapshot", hex="", payload_length=LAB_MAX_DATA))
    refused = run.composer.frame(FrameSpec(type=0x0B, hex="2a", wrong=True))
    connection = await lab_connection(run, "A")
    for number in range(CUT_STREAMS):
        stream = await run.open("A", f"cut {number}")
        header = refused if number % 2 else cut
        # The RESET comes with the bytes before it, so that the target has not read them all.
        connection.trickles = header is cut
        await stream.write(header + bytes(CUT_BYTES - len(header)))
        if not await connection.drained(stream.number, run.deadline_s):
            raise CaseFailed(
                "no-credit", f"the credit of stream {number} was not returned", missed=True
            )
        if header is refused and run.strict:
            await _await_refusal(run, stream)
        await stream.reset(number)
        connection.flush()
        connection.end_trickle()
    await _good_frame(run)


async def _await_refusal(run: CaseRun, stream: Stream) -> None:
    """Fail unless the target refuses the stream; its code is the subject of other cases."""
    if not await stream.wait_for(lambda: stream.refused, run.deadline_s):
        run.check_connection(stream.connection)
        raise CaseFailed("no-refusal", "an unknown type was not refused", missed=True)


@case(
    "MW-6305",
    "credit must be granted once for each byte, however its stream ends",
    part="lab-binding",
    rules=("LB-059", "LB-046", "LB-045"),
    needs=NEEDS,
    isolation="peer",
    let={"key": "tracks:$case"},
)
async def no_credit_twice(run: CaseRun) -> None:
    """Bytes that were read give their credit back once more at the RESET of their stream."""
    await run.documents(BASE)
    connection = await lab_connection(run, "A")
    cut = run.composer.frame(FrameSpec(type="snapshot", hex="", payload_length=LAB_MAX_DATA))
    for number in range(CUT_STREAMS):
        stream = await run.open("A", f"cut {number}")
        # In one write the target has read the bytes of the stream, but its node has not.
        connection.trickles = bool(number % 2)
        await stream.write(cut + bytes(CUT_BYTES - len(cut)))
        if not number % 2:
            await connection.drained(stream.number, run.deadline_s)
            await run.read(Wanted(run.scope.names["key"], heads=NOTHING), "A", once=True)
        await stream.reset(number)
        connection.flush()
        connection.end_trickle()
    await _good_frame(run)
    await check_echo(run, connection)
    check_grants([connection.lab.grants])


def check_grants(grants: Iterable[Grants]) -> None:
    """Fail if the target has granted more on a connection than came back to it."""
    lines = [line for one in grants for line in one.excess]
    if lines:
        raise CaseFailed(
            "too-much-credit",
            f"{len(lines)} grants exceed the first one and what the suite has sent or ended",
            expected=("the first maximum plus the bytes received, or the streams ended",),
            received=tuple(lines[:GRANTS_SHOWN]),
        )


@case(
    "MW-6306",
    "no connection of the whole run may get more credit than came back to the target",
    part="lab-binding",
    rules=("LB-059", "LB-046"),
    needs=("binding:tcp",),
    final=True,
)
async def every_grant_was_due(run: CaseRun) -> None:
    """Credit is granted for bytes that never came, so that the limits hold nothing back."""
    if not any(one.count for one in run.session.grants):
        raise NotApplicable("the target has granted nothing in the whole run")
    check_grants(run.session.grants)


@lab_case(
    "MW-5914",
    "a document larger than every window must be stored and readable",
    rules=("LB-044", "LB-041"),
    serial=True,
    let={"key": "notes:$case"},
)
async def larger_than_the_window(run: CaseRun) -> None:
    """The receiver never raises its maxima."""
    blocks = (hashlib.sha256(number.to_bytes(4, "big")).hexdigest() for number in range(BLOCKS))
    await run.documents({"base": DocumentSpec(actor="0c0c0c0c", fields={"text": "".join(blocks)})})
    # A document is compressed when it is saved.
    assert len(run.contents.made["base"].saved) > LAB_MAX_DATA
    await _good_frame(run)


@fault_case(
    "MW-5915",
    "DATA that crosses the target's STOP must be discarded without an error",
    rules=("LB-037", "ER-016"),
    let={"key": "tracks:$case"},
)
async def data_crosses_stop(run: CaseRun) -> None:
    """The connection is closed although the peer has not received the STOP yet."""
    await run.documents(BASE)
    connection = await lab_connection(run, "A")
    stream = await draw_stop(run, connection)
    data = stream.number.to_bytes(8, "big") + b"\x00" + bytes(512)
    for _ in range(4):
        await connection.raw(record(0, data))
    connection.lab.reset(stream.number, 0)
    connection.flush()
    await _good_frame(run)


async def draw_stop(run: CaseRun, connection: TcpConnection) -> Stream:
    """Send a frame of an unknown type; return its stream, which stays open after the STOP."""
    connection.lab.obeys_stop = False
    stream = await run.send(FrameSpec(type=0x0B, hex="2a", wrong=True))
    run.forget("A")
    await stream.wait_for(lambda: stream.stop_code is not None, run.deadline_s)
    run.check_connection(connection)
    if stream.stop_code is None:
        raise CaseFailed("no-refusal", "an unknown type was not refused", missed=True)
    return stream


@lab_case(
    "MW-5792",
    "a RESET that follows FIN at once must not discard the frame before the FIN",
    rules=("LB-034", "TR-020"),
    let={"key": "tracks:$case"},
)
async def reset_behind_fin(run: CaseRun) -> None:
    """A RESET drops what was received on a finished half and not read yet."""
    await run.documents(BASE)
    connection = await lab_connection(run, "A")
    stream = await run.open("A", "ended")
    number = stream.number.to_bytes(8, "big")
    frame = run.composer.frame(FrameSpec(type="snapshot", document="base"))
    # One write, so that the target holds both records before it reads the frame.
    data = record(0, number + b"\x01" + frame) + record(1, number + (7).to_bytes(8, "big"))
    await connection.raw(data)
    run.ended(stream, "a frame with FIN, and RESET with 7")
    await run.wait_finished(stream)
    await run.read(stored(run), "B")


@lab_case(
    "MW-5916",
    "the target must send nothing after the peer's CLOSE and end the TCP connection",
    rules=("LB-053",),
)
async def close_ends_tcp(run: CaseRun) -> None:
    """The TCP connection stays open after CLOSE."""
    connection = await lab_connection(run, "A")
    before = connection.bytes_received
    await close_before_ping(run, connection)
    if connection.closed is not None and connection.closed.code is not None:
        raise CaseFailed(
            "answered", f"{connection.bytes_received - before} bytes arrived after CLOSE"
        )


async def close_before_ping(run: CaseRun, connection: TcpConnection) -> None:
    """Send CLOSE and a PING after it; raises CaseFailed unless the target ends the connection."""
    connection.lab.close(0, "done")
    connection.flush()
    await connection.raw(record(LabRecordType.PING, bytes(8)))
    await check_ended(connection, run.deadline_s)


async def check_ended(connection: TcpConnection, deadline_s: float) -> None:
    """Raise CaseFailed unless the target ends the TCP connection within the deadline."""
    await connection.signal.wait_for(lambda: connection.ended, deadline_s)
    if not connection.ended:
        raise CaseFailed("still-open", "the TCP connection is still open", missed=True)


@fault_case(
    "MW-5917",
    "the target must send nothing after its own CLOSE and end the TCP connection",
    rules=("LB-052", "LB-028"),
)
async def own_close_ends_tcp(run: CaseRun) -> None:
    """CLOSE is lost as the socket is closed with unread bytes, or the socket stays open."""
    connection = await lab_connection(run, "A")
    connection.keeps_open = True
    await connection.raw(record(10, b""))
    closed = await connection.wait_closed(run.deadline_s)
    if closed is None or closed.code is None:
        raise CaseFailed("no-code", "a malformed record was not answered by CLOSE", missed=True)
    after = connection.bytes_received
    await check_ended(connection, run.terms.deadline.beyond(VERDICT_LINGER_S))
    if connection.bytes_received != after:
        size = connection.bytes_received - after
        raise CaseFailed("sent-after-close", f"{size} bytes arrived after CLOSE")


async def trickle(
    run: CaseRun, on: str, data: Iterable[int], write: Callable[[bytes], Awaitable[None]]
) -> None:
    """Write single bytes, two for each handshake deadline, until the target ends the connection.

    The whole must stay incomplete. Raises CaseFailed if the connection is open long after the
    deadline, or ended otherwise than with `handshake-timeout`.
    """
    connection = run.peer(on).last
    assert connection is not None, "the case has connected this peer"
    pause_s = run.session.target.facts.deadlines["handshake_s"] / 2
    left_s = run.within("handshake_s")
    for byte in data:
        if left_s <= 0 or await connection.wait_closed(min(pause_s, left_s)) is not None:
            break
        left_s -= pause_s
        await write(bytes((byte,)))
    if connection.closed is None:
        raise CaseFailed(
            "not-closed",
            "the target did not end the connection while bytes came",
            expected=("CLOSE with handshake-timeout",),
            received=("an open connection",),
            missed=True,
        )
    await run.closed(["handshake-timeout"], on)


@case(
    "MW-5158",
    "a handshake that continues byte by byte must end at the target's deadline",
    part="handshake",
    rules=("HS-035",),
    needs=("accepts", "dialect:H1", "deadline:handshake_s"),
    isolation="peer",
    control="MW-5601",
    negative=True,
)
async def trickled_handshake(run: CaseRun) -> None:
    """Each byte starts the deadline again, so that a connection without proof never ends."""
    await connect(run, "X", ConnectSpec(handshake=False))
    stream = await run.stream("X", "hs")
    await run.write(stream, FORMATION_ID_MAX.to_bytes(2, "little"), "length of the id", "X")
    await trickle(run, "X", b"f" * (FORMATION_ID_MAX - 1), stream.write)


@fault_case(
    "MW-5159",
    "a preamble that continues byte by byte must end at the target's deadline",
    rules=("LB-008",),
    needs=("binding:tcp", "deadline:handshake_s"),
)
async def trickled_preamble(run: CaseRun) -> None:
    """Each byte starts the deadline again, so that a connection without preamble never ends."""
    whole = Preamble(bytes(ENDPOINT_ID)).encode()
    await connect(run, "X", ConnectSpec(preamble=whole[:1].hex()))
    connection = await lab_connection(run, "X")
    await trickle(run, "X", whole[1:-1], connection.raw)


@case(
    "MW-6115",
    "a response that is wrong in any one byte must be rejected, and then the right one accepted",
    part="handshake",
    rules=("HS-033", "HS-044"),
    needs=("accepts", "dialect:secret"),
    isolation="peer",
    control="MW-5601",
    negative=True,
)
async def wrong_in_one_byte(run: CaseRun) -> None:
    """A response is compared up to a length that the code of another hash has."""
    first = f"wrong at {WRONG_AT[0]}"
    formation = run.session.target.formation
    if formation is None:
        raise SuiteFault(f"{run.case_id} needs a formation, which its `needs` does not list")
    for place in WRONG_AT:
        on = f"wrong at {place}"
        same_as = None if on == first else first
        await connect(run, on, ConnectSpec(handshake=False, same_as=same_as))
        await run_handshake(run, on, "hs", HandshakeSpec(answer="none", result="nothing"))
        code = bytearray(formation.answer(run.nonces[-1]))
        code[place] ^= 0x80
        answer = response_bytes(bytes(code), formation.dialect)
        stream = await run.stream(on, "hs")
        what = f"an answer that is wrong in byte {place}"
        await run.write(stream, answer, what, on, kind=RESPONSES[formation.dialect])
        try:
            result = await read_result(stream, run.deadline_s)
        except HandshakeFailed as exc:
            raise CaseFailed("no-result", f"{what}: {exc}", missed=True) from exc
        if result != RESULT_REJECTED:
            raise CaseFailed(
                "accepted",
                f"{what} was accepted",
                expected=(f"result {RESULT_REJECTED}",),
                received=(f"result {result}",),
            )
    await connect(run, "right", ConnectSpec(handshake=False, same_as=first))
    await run_handshake(run, "right", "hs", HandshakeSpec())
