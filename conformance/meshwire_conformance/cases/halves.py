"""Cases about halves and connections that have ended, and about records that come for them then."""

from __future__ import annotations

from meshwire_conformance.cases.binding import (
    draw_stop,
    fault_case,
    lab_case,
    raw_connection,
)
from meshwire_conformance.cases.planting import NOTHING, send_snapshot, stored
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.connecting import adopt_lab, connect, lab_connection
from meshwire_conformance.socket_suite.content import BASE, Wanted
from meshwire_conformance.socket_suite.evidence import CaseFailed, NotApplicable
from meshwire_conformance.socket_suite.meanwhile import code_name, ends_of
from meshwire_conformance.targets.lab_records import Preamble, Windows, record
from meshwire_conformance.targets.tcp import TcpConnection
from meshwire_conformance.targets.transport import Stream
from meshwire_spec.numbers import LAB_MAX_STREAM_DATA, LabRecordType
from meshwire_spec.schemas.steps import ConnectSpec, DocumentSpec, FrameSpec

MAXIMA = (LAB_MAX_STREAM_DATA * 9, 1, LAB_MAX_STREAM_DATA * 17)
"""Maxima for a half that has ended, in the order in which they are sent."""
WINDOW = 1029
"""Credit of a stream that a read fits, and a document of `TEXT` characters does not."""
TEXT = 4096
DISCARDED = 514
CUT_PREAMBLE = 9
CUT_RECORD = 7


def _u64(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(8, "big") for number in numbers)


async def _await_reset(run: CaseRun, stream: Stream) -> None:
    """Fail unless the target resets its half, which the suite has stopped, with code 0."""
    await stream.wait_for(lambda: stream.reset_code is not None, run.deadline_s)
    run.check_connection(stream.connection)
    if stream.reset_code != 0:
        raise CaseFailed(
            "not-reset",
            "a half that was stopped before its end was not reset with code 0",
            expected=(f"RESET with {code_name(0)}",),
            received=ends_of(stream) or ("nothing within the deadline",),
            missed=stream.reset_code is None,
        )


async def _grant(connection: TcpConnection, stream: Stream) -> None:
    for maximum in MAXIMA:
        await connection.raw(record(LabRecordType.MAX_STREAM_DATA, _u64(stream.number, maximum)))


@lab_case(
    "MW-6424",
    "credit for a half that was reset or finished, and a second STOP, must be ignored",
    rules=("LB-060", "LB-036"),
    level="strict",
    let={"key": "tracks:$case", "one": "tracks:$case-one", "two": "tracks:$case-two"},
)
async def credit_after_the_end(run: CaseRun) -> None:
    """Credit that crosses the end of a half counts as a fault, and the connection is closed."""
    await run.documents(BASE)
    connection = await lab_connection(run, "A")
    stream = await run.send(FrameSpec(type="snapshot", key="$one", document="base"))
    await stream.stop(0)
    run.ended(stream, "STOP with 0")
    await _await_reset(run, stream)
    await connection.raw(record(LabRecordType.STOP, _u64(stream.number, 258)))
    await _grant(connection, stream)
    # The suite's half goes on: its frames still take effect.
    await run.send(FrameSpec(type="snapshot", key="$two", document="base"))
    await stream.finish()
    run.forget("A")
    finished = await run.send(FrameSpec(type="snapshot", document="base"))
    await run.barrier()
    await _grant(connection, finished)
    for key in ("$key", "$one", "$two"):
        await run.read(stored(run, key=key))


@fault_case(
    "MW-6425",
    "FIN that crosses the target's STOP must be accepted, and a RESET after it ignored",
    rules=("LB-037", "LB-034", "ER-016"),
    let={"key": "tracks:$case"},
)
async def end_crosses_stop(run: CaseRun) -> None:
    """A half that was stopped may only be reset, or its end is counted twice."""
    await run.documents(BASE)
    connection = await lab_connection(run, "A")
    stream = await draw_stop(run, connection)
    head = _u64(stream.number)
    await connection.raw(record(LabRecordType.DATA, head + b"\x00" + bytes(DISCARDED)))
    await connection.raw(record(LabRecordType.DATA, head + b"\x01"))
    await connection.raw(record(LabRecordType.RESET, head + _u64(7)))
    await run.read(await send_snapshot(run, "A"))


@fault_case(
    "MW-6426",
    "DATA on a stream of the target, after FIN of the suite's half",
    rules=("LB-033",),
    needs=("binding:tcp",),
    let={"key": "notes:$case"},
)
async def data_on_their_ended_stream(run: CaseRun) -> None:
    """Streams that the target has opened itself are forgotten with their end, and not checked."""
    connection = await lab_connection(run, "A")
    arrival = await run.read(Wanted(run.scope.names["key"], heads=NOTHING))
    stream = connection.streams[arrival.stream]
    await stream.wait_for(lambda: stream.write_over, run.deadline_s)
    await connection.raw(record(LabRecordType.DATA, _u64(stream.number) + b"\x00"))
    await run.closed(["bad-stream"])


@lab_case(
    "MW-6427",
    "a half whose last bytes wait for credit must be reset when it is stopped, and once alone",
    rules=("LB-035", "LB-036", "TR-023"),
    let={"key": "notes:$case", "none": "notes:$case-none"},
)
async def stop_before_the_last_byte(run: CaseRun) -> None:
    """A half counts as ended once its end was handed over, so that a STOP does not end it."""
    text = "".join(chr(0x100 + number * 7919 % 0x5000) for number in range(TEXT))
    await run.documents({"base": DocumentSpec(actor="0a0b0c0d", fields={"text": text})})
    await send_snapshot(run)
    narrow = await adopt_lab(run, "narrow", Windows(max_stream_data=WINDOW, held=True))

    def filled() -> Stream | None:
        theirs = (one for one in narrow.streams.values() if not one.ours)
        return next((one for one in theirs if len(one.received) >= WINDOW), None)

    await narrow.signal.wait_for(lambda: filled() is not None, run.deadline_s)
    run.check_connection(narrow)
    stream = filled()
    if stream is None:
        # Level wire lets a target offer its store later, so that nothing can be shown then.
        if not run.strict:
            raise NotApplicable("no document that exceeds its credit came in time")
        raise CaseFailed("no-offer", "no document came that exceeds its credit", missed=True)
    await stream.stop(258)
    run.ended(stream, "STOP with 258", "narrow")
    await _await_reset(run, stream)
    for code in (0, 258):
        await narrow.raw(record(LabRecordType.STOP, _u64(stream.number, code)))
    await run.read(Wanted(run.scope.names["none"], heads=NOTHING), "narrow")


@lab_case(
    "MW-6428",
    "the end of the TCP connection without CLOSE must end it at the target too, wherever it comes",
    rules=("LB-054", "ER-017"),
    let={"key": "tracks:$case"},
)
async def lost_links(run: CaseRun) -> None:
    """A link that ends without CLOSE is kept half open, or takes other connections with it."""
    await run.documents(BASE)
    identity = run.own_peer("cut").dial().identity
    whole = Preamble(identity).encode()
    links = [await raw_connection(run, Preamble(identity, whole=whole[:CUT_PREAMBLE]))]
    for name, rest in (("idle", b""), ("inside", record(LabRecordType.PING, bytes(8)))):
        await connect(run, name, ConnectSpec())
        link = await lab_connection(run, name)
        await link.raw(rest[:CUT_RECORD])
        links.append(link)
    await run.send(FrameSpec(type="snapshot", document="base", cut=1), "frame")
    links.append(await lab_connection(run, "frame"))
    for link in links:
        link.end_link()
    for link in links:
        await _await_end(run, link)
    await run.read(await send_snapshot(run, "A"))


async def _await_end(run: CaseRun, link: TcpConnection) -> None:
    """Fail unless the target ends the TCP connection."""
    await link.signal.wait_for(lambda: link.ended, run.deadline_s)
    if not link.ended:
        raise CaseFailed(
            "still-open",
            "the target keeps a TCP connection that its peer has ended",
            expected=("the end of the TCP connection",),
            received=("an open connection",),
            missed=True,
        )
