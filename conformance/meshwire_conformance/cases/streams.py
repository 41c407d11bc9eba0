"""Cases about many concurrent streams: stream credit, delayed answers, unidirectional streams."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable

from meshwire_conformance.cases.planting import NOTHING, in_groups, send_snapshot
from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.connecting import adopt_lab
from meshwire_conformance.socket_suite.content import BASE, Wanted
from meshwire_conformance.socket_suite.evidence import CaseFailed
from meshwire_conformance.socket_suite.meanwhile import code_name
from meshwire_conformance.socket_suite.reconciling import (
    Conversation,
    id_of,
    own_keys,
    question_about,
    send_documents,
)
from meshwire_conformance.targets.lab_records import Windows
from meshwire_conformance.targets.tcp import TcpConnection
from meshwire_conformance.targets.transport import Stream
from meshwire_spec.numbers import FRAME_KEY_MAX, REASONS, STREAMS_ACCEPTED_MIN, FrameType
from meshwire_spec.schemas.steps import DocumentSpec, FrameSpec

HEARTBEATS = 200
STREAMS = STREAMS_ACCEPTED_MIN + 16
ANSWERS = 30
BURST = 120
RESETS = 2 * STREAMS_ACCEPTED_MIN + 2
"""Streams that a case resets: more than a target accepts at once."""
CODES = (0, REASONS["internal"].code)
"""Codes of RESET and STOP in turn: the answer has code 0 to any of them."""
CUT_PAYLOAD = 64
LISTED = 16
PATIENCE = 4
LISTED_WINDOW = 320
"""Bytes of a window that an answer with `LISTED` ids exceeds, and a handshake does not."""


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
    await run.read(Wanted(run.scope.names["key"], heads=NOTHING), "A")


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

    async def one(key: str) -> Stream:
        nonlocal half_sent
        stream: Stream = await run.open("A", key)
        data = run.composer.frame(FrameSpec(type="snapshot", key=key, document="base"))
        await run.write(stream, data[:9], "half a snapshot")
        half_sent += 1
        if half_sent == STREAMS_ACCEPTED_MIN:
            enough.set()
        await enough.wait()
        await run.write(stream, data[9:], "the other half")
        await run.finish("A", key)
        return stream

    # A target takes the frames one after the other, so each has a deadline of its own, and the
    # credit for further streams is due once these are over.
    for some in (keys[:STREAMS_ACCEPTED_MIN], keys[STREAMS_ACCEPTED_MIN:]):
        for stream in await asyncio.gather(*(one(key) for key in some)):
            await run.wait_finished(stream)
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
        await run.expect(Wanted(key, heads=NOTHING), "A")


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
    await run.read(await send_snapshot(run, "A"), "B")
    connection.lab.allow_streams(2 * ANSWERS)
    connection.flush()
    for key in keys:
        await run.expect(Wanted(key, heads=NOTHING), "A")


def big(actor: str = "0b0b0b0b") -> DocumentSpec:
    """Return a document that exceeds many windows even when compressed."""
    text = "".join(hashlib.sha256(bytes((number,))).hexdigest() for number in range(200))
    return DocumentSpec(actor=actor, fields={"text": text})


def _stalled(connection: TcpConnection, window: int) -> Stream | None:
    """Return a stream of the target that has filled its window and waits for credit, or None."""
    filled = (
        stream
        for stream in connection.streams.values()
        if not stream.ours and len(stream.received) >= window and not stream.read_over
    )
    return next(filled, None)


def give_credit(connection: TcpConnection) -> None:
    """Give credit to each stream of the target that waits for it, and from now on as usual."""
    connection.lab.holding = connection.lab.holding_all = False
    for waiting in list(connection.streams.values()):
        if not waiting.ours and not waiting.read_over:
            connection.lab.release(waiting.number, 2**20)
    connection.flush()


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
    await run.documents({**BASE, "big": big()})
    await send_snapshot(run, document="big")
    small = await send_snapshot(run, key="$small")
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
    await run.read(small)
    if len(stream.received) > window:
        raise CaseFailed("beyond-credit", f"{len(stream.received)} bytes with credit for {window}")
    give_credit(connection)
    await run.expect(Wanted(key, heads=run.contents.made["big"].heads), "A")


async def _reset(run: CaseRun, stream: Stream, code: int) -> None:
    """Reset the suite's half and wait until the target has reset its own with code 0 (TR-024)."""
    await stream.reset(code)
    run.ended(stream, f"RESET with {code_name(code)}")
    await stream.wait_for(lambda: stream.read_over, run.deadline_s)
    run.check_connection(stream.connection)
    if stream.reset_code == 0:
        return
    came = "FIN" if stream.finished else "nothing within the deadline"
    if stream.reset_code is not None:
        came = f"RESET with {code_name(stream.reset_code)}"
    raise CaseFailed(
        "half-open" if not stream.read_over else "wrong-end",
        "the target did not reset its half of a stream that was reset",
        expected=(f"RESET with {code_name(0)}",),
        received=(came,),
        missed=not stream.read_over,
    )


@case(
    "MW-5150",
    "a stream that is reset before any answer must give its credit back",
    part="transport",
    rules=("TR-024", "TR-014", "LB-046"),
    isolation="peer",
    let={"key": "tracks:$case"},
)
async def reset_before_an_answer(run: CaseRun) -> None:
    """The answering half stays open, so that each such stream uses up one credit permanently."""
    await run.documents(BASE)
    cut = run.composer.frame(FrameSpec(type="snapshot", hex="", payload_length=CUT_PAYLOAD))

    async def once(number: int) -> None:
        stream = await run.open("A", f"cut {number}")
        await run.write(stream, cut, "the beginning of a frame")
        await _reset(run, stream, CODES[number % len(CODES)])

    await in_groups(once, RESETS)
    await run.read(await send_snapshot(run, "A"))


@case(
    "MW-5151",
    "a stream that is reset after an answer must give its credit back",
    part="transport",
    rules=("TR-024", "NG-016"),
    needs=("reconciliation",),
    isolation="peer",
)
async def reset_after_an_answer(run: CaseRun) -> None:
    """The answering half stays open because something was sent on it."""
    message = question_about([bytes(32)])

    async def once(number: int) -> None:
        conversation = Conversation(run, name=f"run {number}")
        await conversation.ask(message)
        await _reset(run, await conversation.stream(), CODES[number % len(CODES)])

    await in_groups(once, RESETS)
    last = Conversation(run, name="last")
    await last.ask(message)
    await last.end()


@case(
    "MW-5152",
    "a stream that is reset while its answer waits for credit must give its own credit back",
    part="transport",
    rules=("TR-024", "LB-046"),
    needs=("documents", "reconciliation", "binding:tcp"),
    isolation="peer",
)
async def reset_inside_an_answer(run: CaseRun) -> None:
    """The answering half stays open until its answer has left, which may be never."""
    keys = own_keys(run, LISTED)
    await send_documents(run, keys, "B")
    message = question_about(map(id_of, keys))
    windows = Windows(max_stream_data=LISTED_WINDOW, held=True)
    connection = await adopt_lab(run, "A", windows)

    async def once(number: int) -> None:
        conversation = Conversation(run, name=f"run {number}")
        await conversation.say(message)
        stream = await conversation.stream()
        await stream.wait_for(_has_filled(stream, LISTED_WINDOW), run.deadline_s)
        run.check_connection(connection)
        if len(stream.received) != LISTED_WINDOW:
            raise CaseFailed("no-answer", "no answer filled the window", missed=True)
        await _reset(run, stream, CODES[number % len(CODES)])

    await in_groups(once, RESETS)


def _has_filled(stream: Stream, window: int) -> Callable[[], bool]:
    """Return a condition: the target has sent as much on the stream as its window allows."""
    return lambda: len(stream.received) >= window


@case(
    "MW-5793",
    "answers that the suite stops must make room for further answers",
    part="transport",
    rules=("TM-003", "DC-007", "LB-035"),
    needs=("documents", "binding:tcp"),
    isolation="peer",
    let={"key": "notes:$case", "small": "notes:$case-small"},
)
async def stopped_answers(run: CaseRun) -> None:
    """A frame that was stopped counts as under way, so that the target sends no more after some."""
    await run.documents({**BASE, "big": big()})
    await run.send(FrameSpec(type="snapshot", document="big"), "B")
    await run.barrier("B")
    await run.send(FrameSpec(type="snapshot", key="$small", document="base"), "B")
    await run.barrier("B")
    connection = await adopt_lab(run, "A", Windows(max_stream_data=LISTED_WINDOW, held=True))
    for number in range(RESETS):
        await run.send_read(run.scope.names["key"])
        await _stop_frame(run, connection, CODES[number % len(CODES)])
    # What the target offers besides waits on streams of its own.
    give_credit(connection)
    await run.read(Wanted(run.scope.names["small"], heads=run.contents.made["base"].heads), "A")


@case(
    "MW-5796",
    "documents must be offered also to a peer that stops the tombstones",
    part="transport",
    rules=("TM-003", "TS-042", "LB-035"),
    needs=("documents", "binding:tcp"),
    isolation="peer",
    let={"key": "notes:$case", "deleted": "alerts:$case"},
)
async def stopped_tombstones(run: CaseRun) -> None:
    """The offer of documents waits for tombstones that were stopped."""
    await run.documents({"big": big()})
    await run.send(FrameSpec(type="snapshot", document="big"), "B")
    await run.barrier("B")
    reason = LISTED_WINDOW * "r"
    await run.send(FrameSpec(type="tombstone", key="$deleted", reason=reason), "B")
    await run.barrier("B")
    connection = await adopt_lab(run, "A", Windows(max_stream_data=LISTED_WINDOW, held=True))
    for number in range(RESETS):
        code = CODES[number % len(CODES)]
        if await _stop_frame(run, connection, code) != FrameType.TOMBSTONE_BATCH:
            return
    raise CaseFailed("no-answer", f"{RESETS} batches of tombstones, and no document", missed=True)


async def _stop_frame(run: CaseRun, connection: TcpConnection, code: int) -> int | None:
    """Stop a frame that waits for credit; return its type once it was reset with code 0.

    Return None if its key, such as one of another case, fills the window.
    """
    await connection.signal.wait_for(
        lambda: bool(_stalled(connection, LISTED_WINDOW)), run.deadline_s
    )
    run.check_connection(connection)
    stream = _stalled(connection, LISTED_WINDOW)
    if stream is None:
        raise CaseFailed("no-answer", "no frame filled the window", missed=True)
    size = int.from_bytes(stream.received[:2], "big")
    if size > FRAME_KEY_MAX:
        raise CaseFailed("bad-frame", f"a frame with a key of {size} bytes")
    frame_type = stream.received[2 + size] if 2 + size < len(stream.received) else None
    await stream.stop(code)
    run.ended(stream, f"STOP with {code_name(code)}")
    await stream.wait_for(lambda: stream.read_over, run.deadline_s)
    run.check_connection(connection)
    if stream.reset_code != 0:
        raise CaseFailed(
            "wrong-end",
            "a half that was stopped was not reset with code 0",
            missed=stream.reset_code is None,
        )
    return frame_type


@case(
    "MW-6207",
    "a stale snapshot that comes while an answer is on its way must be answered too",
    part="documents",
    rules=("DC-024", "DC-027"),
    needs=("documents", "binding:tcp"),
    isolation="peer",
    let={"key": "notes:$case"},
)
async def stale_while_answered(run: CaseRun) -> None:
    """The answer that is on its way counts for it, although the document has changed since."""
    more = {
        "stale": DocumentSpec(actor="1a1b1c1d", fields={"course": 259}),
        "whole": DocumentSpec(actor="0b0b0b0b", merge=["stale", "big"]),
        "later": DocumentSpec(actor="0b0b0b0b", merge=["whole"], edits=[{"course": 517}]),
    }
    await run.documents({"big": big(), **more})
    await run.send(FrameSpec(type="snapshot", document="whole"), "B")
    await run.barrier("B")
    windows = Windows(max_stream_data=LISTED_WINDOW, held=True)
    connection = await adopt_lab(run, "A", windows)
    await run.send(FrameSpec(type="snapshot", document="stale"))
    await run.barrier()

    def begun() -> bool:
        return any(is_snapshot(one) for one in connection.streams.values())

    await connection.signal.wait_for(begun, run.deadline_s)
    run.check_connection(connection)
    if not begun():
        raise CaseFailed("no-answer", "a stale snapshot was not answered", missed=True)
    await run.send(FrameSpec(type="snapshot", document="later"), "B")
    await run.barrier("B")
    await run.send(FrameSpec(type="snapshot", document="stale"))
    await run.barrier()
    give_credit(connection)
    heads = run.contents.made["later"].heads
    # The interval between two answers comes before it.
    wanted = Wanted(run.scope.names["key"], FrameType.SNAPSHOT, heads)
    await run.expect(wanted, "A", patience=PATIENCE)


def is_snapshot(stream: Stream) -> bool:
    """Return True if the target has begun a frame of type 0x01 for `notes`, sent as an answer."""
    data = bytes(stream.received)
    type_at = 2 + int.from_bytes(data[:2], "big")
    return not stream.ours and data[2:8] == b"notes:" and data[type_at : type_at + 1] == b"\x01"


@case(
    "MW-5157",
    "two hundred incomplete heartbeats on one connection must all give their credit back",
    part="liveness",
    rules=("LV-003", "TR-003", "LB-046"),
    isolation="peer",
    let={"key": "notes:$case"},
)
async def incomplete_heartbeats(run: CaseRun) -> None:
    """A stream whose FIN has come is refused and never released."""
    for number in range(HEARTBEATS):
        stream = await run.open("A", f"heartbeat {number}", uni=True)
        if number % 2:
            await run.send(FrameSpec(type="heartbeat", cut=1), "A", f"heartbeat {number}")
        await stream.finish()
    await run.read(Wanted(run.scope.names["key"], heads=NOTHING), "A")


@case(
    "MW-5629",
    "a fault on a stream whose answering half the suite has stopped must be refused by STOP alone",
    part="errors",
    rules=("ER-010", "ER-011", "TR-023", "LB-035"),
    needs=("documents", "binding:tcp"),
    isolation="peer",
    negative=True,
    control="MW-5113",
    let={"key": "tracks:$case"},
)
async def refusal_of_a_stopped_half(run: CaseRun) -> None:
    """A half that has ended is reset once more, or its end takes the place of the refusal."""
    stream = await run.open("A", "stopped")
    await stream.stop(CODES[1])
    run.ended(stream, f"STOP with {code_name(CODES[1])}", "A")
    await stream.wait_for(lambda: stream.reset_code is not None, run.deadline_s)
    await run.send(FrameSpec(type=0x0B, hex="2a", wrong=True), "A", "stopped")
    await stream.wait_for(lambda: stream.stop_code is not None, run.deadline_s)
    run.check_connection(stream.connection)
    wanted = (REASONS["unknown-type"].code, 0)
    came = (stream.stop_code, stream.reset_code)
    if came != wanted:
        raise CaseFailed(
            "half-refused",
            "a fault behind a STOP of the answering half was not refused",
            expected=("RESET with code 0, and STOP with unknown-type",),
            received=(f"STOP with {came[0]}, RESET with {came[1]}",),
            missed=None in came,
        )
