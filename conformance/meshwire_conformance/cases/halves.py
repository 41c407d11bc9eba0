"""Cases about halves and connections that have ended, and frames that are incomplete or cut."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise

from meshwire_conformance.cases.binding import (
    draw_stop,
    fault_case,
    lab_case,
    raw_connection,
)
from meshwire_conformance.cases.planting import NOTHING, in_groups, send_snapshot, stored
from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.case_streams import no_connection
from meshwire_conformance.socket_suite.connecting import (
    adopt_lab,
    check_echo,
    connect,
    lab_connection,
)
from meshwire_conformance.socket_suite.content import BASE, Wanted
from meshwire_conformance.socket_suite.evidence import CaseFailed, NotApplicable
from meshwire_conformance.socket_suite.meanwhile import code_name, ends_of
from meshwire_conformance.targets.lab_records import Preamble, Windows, record
from meshwire_conformance.targets.tcp import TcpConnection
from meshwire_conformance.targets.transport import Stream
from meshwire_spec.numbers import FRAME_STALL_S, LAB_MAX_STREAM_DATA, PAYLOAD_MAX, LabRecordType
from meshwire_spec.schemas.steps import ConnectSpec, DocumentSpec, FrameSpec

UNOFFERED = Windows(max_streams_bidi=0, max_streams_uni=0)
"""Credit with which a target opens no stream."""
MAXIMA = (LAB_MAX_STREAM_DATA * 9, 1, LAB_MAX_STREAM_DATA * 17)
"""Maxima for a half that has ended, in the order in which they are sent."""
WINDOW = 1029
"""Credit of a stream that a read fits, and a document of `TEXT` characters does not."""
TEXT = 4096
DISCARDED = 514
CUT_PREAMBLE = 9
CUT_RECORD = 7
STOP_CODE = 9
ENDED = ("key", "one", "two")
"""Names of the documents whose streams end in different ways, and of their keys."""
KEY_LENGTH = 2
"""Size in bytes of the length of a key."""
SHORT = 3 * 2**19
HELD = 15 * 2**20
"""Bytes of a frame, and those that are sent of one whose payload is the longest."""
TRICKLED = 50
"""Least number of further bytes of the long frame that come while the other one should be read."""
TRICKLE_SHARE = 0.25
"""Share of the frame deadline of the target between two of them at most."""
DEAD = 300
"""Connections that end early: more than a node may accept at once."""


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
    # One document for all keys would leave open which of them has taken effect.
    await run.documents(
        {name: DocumentSpec(actor="0a0b0c0d", fields={"name": name}) for name in ENDED}
    )
    connection = await lab_connection(run, "A")
    stream = await run.send(FrameSpec(type="snapshot", key="$one", document="one"))
    await stream.stop(0)
    run.ended(stream, "STOP with 0")
    await _await_reset(run, stream)
    await connection.raw(record(LabRecordType.STOP, _u64(stream.number, 258)))
    await _grant(connection, stream)
    # The suite's half goes on: its frames still take effect.
    await run.send(FrameSpec(type="snapshot", key="$two", document="two"))
    await stream.finish()
    run.forget("A")
    finished = await run.send(FrameSpec(type="snapshot", document="key"))
    await run.barrier()
    await _grant(connection, finished)
    for name in ENDED:
        await run.read(stored(run, name, f"${name}"))


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


@lab_case(
    "MW-6502",
    "a second STOP must draw no second RESET",
    rules=("LB-036",),
    needs=("binding:tcp",),
)
async def second_stop(run: CaseRun) -> None:
    """Every STOP of a half that was not finished is answered by RESET."""
    connection = await lab_connection(run, "A")
    stream = await run.open("A", "stopped")
    for code in (0, STOP_CODE):
        body = stream.number.to_bytes(8, "big") + code.to_bytes(8, "big")
        connection.lab.write_record(LabRecordType.STOP, body)
        connection.flush()
        await check_echo(run, connection)
        resets = connection.lab.resets[stream.number]
        if resets != 1:
            raise CaseFailed(
                "wrong-end",
                f"after STOP with the code {code} {resets} RESETs have come",
                expected=("one RESET, for the first STOP",),
                received=(f"{resets} RESETs",),
            )


def _is_over(stream: Stream) -> bool:
    return stream.refused or stream.read_over


@case(
    "MW-6505",
    "frames must be read while a long one on another stream is incomplete",
    part="transport",
    rules=("TR-029",),
    needs=("binding:tcp",),
    isolation="peer",
    let={"key": "tracks:$case"},
)
async def beside_an_incomplete_frame(run: CaseRun) -> None:
    """Unfinished frames are bounded by less than one payload, or read one after the other."""
    long, short = (
        run.composer.frame(FrameSpec(type="snapshot", hex="", payload_length=length))
        for length in (PAYLOAD_MAX, SHORT)
    )
    connection = await lab_connection(run, "A")
    unfinished = await run.open("A", "long")
    await run.write(unfinished, long + bytes(HELD), "most of a snapshot")
    await connection.drained(unfinished.number, run.deadline_s)
    stall_s = run.session.target.facts.deadlines.get("frame_stall_s", FRAME_STALL_S)
    pause_s = min(run.deadline_s / TRICKLED, stall_s * TRICKLE_SHARE)
    for on in ("A", "B"):
        stream = await run.open(on, "short")
        await run.write(stream, short + bytes(SHORT), "a snapshot that is no document", on)
        for _ in range(math.ceil(run.deadline_s / pause_s)):
            # Without further bytes the long frame ends at its deadline, and disturbs no more.
            await unfinished.write(b"\0")
            if await stream.wait_for(partial(_is_over, stream), pause_s):
                break
        else:
            raise CaseFailed(
                "not-read",
                "a frame is not read while one of another stream is incomplete",
                missed=True,
            )
        await run.refused(["bad-document"], on, "short")
    await unfinished.reset(0)


@lab_case(
    "MW-6506",
    "a frame must be read although it is cut inside a character of its key, and in each field",
    rules=("LB-055", "FR-028"),
    let={"key": "tracks:$case-\u00e9"},
)
async def cut_in_each_field(run: CaseRun) -> None:
    """A key is decoded before it is whole, or a field is read from too few bytes."""
    await run.documents(BASE)
    data = run.composer.frame(FrameSpec(type="snapshot", document="base"))
    connection = await lab_connection(run, "A")
    stream = await run.stream("A", "pieces")
    key_end = KEY_LENGTH + len(run.scope.names["key"].encode())
    cuts = (0, 1, key_end - 1, key_end, key_end + 2, key_end + 7, len(data))
    for number, (start, end) in enumerate(pairwise(cuts)):
        await run.write(stream, data[start:end], f"bytes {start} to {end} of a snapshot", "A")
        await connection.ping(number.to_bytes(8, "big"), run.deadline_s)
    await run.barrier("A", "pieces")
    await run.read(stored(run), "A")


@lab_case(
    "MW-6504",
    "300 connections that end before their preamble must not keep another one out",
    rules=("ER-017", "LB-054"),
    needs=("binding:tcp", "accepts"),
)
async def many_dead_connections(run: CaseRun) -> None:
    """They are counted as open for ever, up to the greatest number that a node accepts."""
    unsaid = Preamble(run.own_peer("dead").dial().identity, whole=b"")

    async def once(_: int) -> None:
        try:
            link = await raw_connection(run, unsaid)
        except ConnectionError as exc:
            raise no_connection(exc) from exc
        link.end_link()
        await _await_end(run, link)

    await in_groups(once, DEAD)
    connection = await lab_connection(run, "A")
    await check_echo(run, connection)


@lab_case(
    "MW-6952",
    "300 connections that were accepted and have ended must not keep another one out",
    rules=("ER-017", "LB-054"),
    needs=("binding:tcp", "accepts"),
)
async def many_peers_that_left(run: CaseRun) -> None:
    """They are counted as open for ever, up to the greatest number that a node accepts."""

    async def once(number: int) -> None:
        # Without a stream the target offers none of them its store, which would take it minutes.
        connection = await adopt_lab(run, f"left {number}", UNOFFERED)
        await check_echo(run, connection)
        await connection.close()

    await in_groups(once, DEAD)
    connection = await lab_connection(run, "A")
    await check_echo(run, connection)


crowd_case = partial(
    case,
    part="transport",
    isolation="process",
    negative=True,
)
"""Registers a case about more connections than a node may accept."""


async def _crowd(run: CaseRun, preamble: Preamble) -> None:
    """Keep more connections than a node accepts, and then be served over one more."""
    links: list[TcpConnection] = []

    async def once(_: int) -> None:
        links.append(await raw_connection(run, preamble))

    try:
        await in_groups(once, DEAD)
        connection = await lab_connection(run, "A")
        await check_echo(run, connection)
        await run.documents(BASE)
        await run.read(await send_snapshot(run, "A"))
    except ConnectionError as exc:
        raise no_connection(exc) from exc
    finally:
        for link in links:
            await link.close()


@crowd_case(
    "MW-6950",
    "300 connections without a preamble must not keep another one out",
    rules=("TR-032", "ER-017"),
    needs=("documents", "binding:tcp", "accepts"),
    control="MW-5801",
    let={"key": "notes:$case"},
)
async def many_silent_connections(run: CaseRun) -> None:
    """A node that has as many connections as it accepts turns every caller away."""
    await _crowd(run, Preamble(run.own_peer("silent").dial().identity, whole=b""))


@crowd_case(
    "MW-6951",
    "300 connections without a handshake must not keep another one out",
    rules=("TR-032", "ER-017"),
    needs=("documents", "binding:tcp", "accepts", "dialect:secret"),
    control="MW-5601",
    let={"key": "notes:$case"},
)
async def many_unproven_connections(run: CaseRun) -> None:
    """A connection counts as one of a peer from its preamble on."""
    await _crowd(run, Preamble(run.own_peer("unproven").dial().identity))
