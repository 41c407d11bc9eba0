"""Cases about answers that have to wait, for stream, interval or credit.

While the answer to a run waits for credit, later frames of its stream may be left unread.
"""

from __future__ import annotations

import asyncio
import hashlib
from functools import partial

from meshwire_conformance.cases.planting import send_snapshot
from meshwire_conformance.cases.streams import LISTED, LISTED_WINDOW, big, give_credit, is_snapshot
from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.protocol.automerge_bytes import CHECKSUM, MAGIC
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.connecting import adopt_lab, check_echo
from meshwire_conformance.socket_suite.content import Wanted
from meshwire_conformance.socket_suite.evidence import CaseFailed
from meshwire_conformance.socket_suite.reconciling import (
    Conversation,
    id_of,
    own_keys,
    question_about,
    send_documents,
)
from meshwire_conformance.socket_suite.shortfall import line_of
from meshwire_conformance.socket_suite.transcript_steps import synchronise
from meshwire_conformance.targets.lab_records import Windows
from meshwire_conformance.targets.tcp import TcpConnection
from meshwire_conformance.targets.transport import Stream
from meshwire_spec.numbers import SNAPSHOT_ANSWER_INTERVAL_S, FrameType
from meshwire_spec.schemas.steps import DocumentSpec, FrameSpec

NEEDS = ("documents", "binding:tcp")
UNREAD = ("documents", "reconciliation", "binding:tcp")
PIECE = 48 * 1024
"""Bytes of a piece of what is left unread, and of the payload of a frame that is ignored."""
UNREAD_MAX = 4 * 2**20
"""Greatest credit of a connection that these cases use up."""
MORE_THAN_ENOUGH = 2**20
"""Bytes of credit that any answer fits."""
GRANTED = 8
READS = 40
"""Answers that wait for streams before others."""
MESSAGES = 8
"""Messages in both directions that an exchange may take."""
PATIENCE = 4
"""Deadlines that an answer may take which waits for an interval."""
BLOCKS = 16_000
"""Number of 64-character blocks in a change, which are half as long when they are compressed."""
CLOCK_ANSWERS = 3
"""Answers to another peer, an interval between each two, so that more than one has passed."""


@case(
    "MW-6303",
    "an answer that waited for a stream must have the changes that came meanwhile",
    part="documents",
    rules=("DC-027", "DC-024"),
    needs=NEEDS,
    isolation="peer",
    let={"key": "notes:$case"},
)
async def answers_are_made_when_sent(run: CaseRun) -> None:
    """The answer is made when the snapshot comes, and is old when it is sent."""
    documents = {
        "stale": DocumentSpec(actor="1a1b1c1d", fields={"course": 259}),
        "whole": DocumentSpec(actor="0b0b0b0b", merge=["stale"], edits=[{"course": 386}]),
        "later": DocumentSpec(actor="0b0b0b0b", merge=["whole"], edits=[{"course": 517}]),
    }
    await run.documents(documents)
    await send_snapshot(run, document="whole")
    shut = await adopt_lab(run, "shut", Windows(max_streams_bidi=0))
    await send_snapshot(run, "shut", document="stale")
    await send_snapshot(run, document="later")
    key = run.scope.names["key"]
    arrivals = run.subscription(key).arrivals
    shut.lab.allow_streams(GRANTED)
    shut.flush()
    # A document of `notes` is pushed as a delta, so every snapshot is an answer.
    first = await run.expect(Wanted(key, FrameType.SNAPSHOT), "shut")
    await run.read(Wanted(key, heads=run.contents.made["later"].heads), "shut")
    wanted = Wanted(key, FrameType.SNAPSHOT, run.contents.made["later"].heads)
    for one in arrivals:
        if one.peer != first.peer or one.type != FrameType.SNAPSHOT:
            continue
        why_not = await run.contents.mismatch(wanted, one, strict=True)
        if why_not is not None:
            raise CaseFailed(
                "old-answer",
                "an answer lacks a change that took effect before its stream was granted",
                expected=("the document as it is when it is sent",),
                received=(line_of(one), why_not.line()),
            )


@case(
    "MW-7267",
    "an exchange must go on after two of its answers had to wait for streams",
    part="documents",
    rules=("DC-011", "DC-010", "TR-010"),
    needs=NEEDS,
    isolation="peer",
    let={"key": "notes:$case"},
)
async def two_answers_of_an_exchange_wait(run: CaseRun) -> None:
    """The second answer is dropped, or both, and what they had counts as sent."""
    documents = {
        "theirs": DocumentSpec(actor="1a1b1c1d", fields={"course": 259}),
        "first": DocumentSpec(actor="0b0b0b0b", fields={"speed": 386}),
        "both": DocumentSpec(actor="0b0b0b0b", merge=["first"], edits=[{"speed": 517}]),
    }
    await run.documents(documents)
    await run.contents.prepare_delta("first")
    await run.contents.prepare_delta("both", "first")
    shut = await adopt_lab(run, "shut", Windows(max_streams_bidi=0))
    # Other answers wait before those of the exchange.
    for number in range(READS):
        key = f"notes:{run.scope.names['case']}-{number}"
        await run.send_read(key, "shut")
        await run.barrier("shut", f"read {key}")
    await send_snapshot(run, document="theirs")
    key = run.scope.names["key"]
    run.subscription(key)
    for document, known in (("first", None), ("both", "first")):
        await run.send(FrameSpec(type="delta", document=document, known=known), "shut")
        await run.barrier("shut")
    shut.lab.allow_streams(2 * READS)
    shut.flush()
    # The suite says nothing before it hears of the other change: its message might ask for it.
    first = await run.expect(Wanted(key), "shut")
    wanted = Wanted(key, heads=await run.contents.heads(["theirs", "both"]))
    await synchronise(run, "both", wanted, "shut", MESSAGES, first=first)


@case(
    "MW-6304",
    "the interval between two answers must begin with the last byte of the first",
    part="documents",
    rules=("DC-026", "DC-027"),
    needs=NEEDS,
    isolation="process",
    serial=True,
    let={"key": "notes:$case"},
)
async def the_interval_begins_at_the_end(run: CaseRun) -> None:
    """The interval counts from the making of an answer, and is over before it has left."""
    documents = {
        "stale": DocumentSpec(actor="1a1b1c1d", fields={"course": 259}),
        "whole": DocumentSpec(actor="0b0b0b0b", merge=["stale", "big"]),
    }
    await run.documents({"big": big(), **documents})
    await send_snapshot(run, "clock", document="whole")
    slow = await adopt_lab(run, "slow", Windows(max_stream_data=LISTED_WINDOW, held=True))
    await send_snapshot(run, "slow", document="stale")
    await _begun(run, slow)
    await _let_an_interval_pass(run)
    await send_snapshot(run, "slow", document="stale")
    if _answers(slow) > 1:
        raise CaseFailed("early-answer", "an answer began before the one before it had ended")
    wanted = Wanted(run.scope.names["key"], FrameType.SNAPSHOT)
    # The last byte of the first answer leaves after this moment, as its credit comes later.
    granted_s = asyncio.get_running_loop().time()
    give_credit(slow)
    first = await run.expect(wanted, "slow")
    after = run.subscription(wanted.key).arrivals.index(first) + 1
    await run.expect(wanted, "slow", after=after, patience=PATIENCE)
    passed_s = asyncio.get_running_loop().time() - granted_s
    if passed_s < SNAPSHOT_ANSWER_INTERVAL_S:
        raise CaseFailed(
            "early-answer",
            f"an answer came {passed_s:.2f} s after the credit for the rest of the one before it",
            expected=(f"at least {SNAPSHOT_ANSWER_INTERVAL_S:g} s after its last byte",),
            received=(f"the whole next answer after {passed_s:.2f} s",),
        )


async def _let_an_interval_pass(run: CaseRun) -> None:
    """Draw answers on another connection, each of which is due an interval after the last."""
    wanted = Wanted(run.scope.names["key"], FrameType.SNAPSHOT)
    arrivals = run.subscription(wanted.key).arrivals
    after = len(arrivals)
    for _ in range(CLOCK_ANSWERS):
        await send_snapshot(run, "clock", document="stale")
        seen = await run.expect(wanted, "clock", after=after, patience=PATIENCE)
        after = arrivals.index(seen) + 1


def _answers(connection: TcpConnection) -> int:
    """Return how many answers to snapshots the target has begun on a connection."""
    return sum(is_snapshot(stream) for stream in connection.streams.values())


async def _begun(run: CaseRun, connection: TcpConnection) -> None:
    """Wait until the target has begun an answer to a snapshot."""
    await connection.signal.wait_for(lambda: _answers(connection) > 0, run.deadline_s)
    run.check_connection(connection)
    if not _answers(connection):
        raise CaseFailed("no-answer", "a stale snapshot was not answered", missed=True)


# --- Bytes that are left unread ------------------------------------------------------------------


async def _narrow(run: CaseRun) -> tuple[TcpConnection, bytes]:
    """Return a connection with small windows, and a message whose answer exceeds them."""
    keys = own_keys(run, LISTED)
    await send_documents(run, keys, "B")
    windows = Windows(max_stream_data=LISTED_WINDOW, held=True)
    return await adopt_lab(run, "A", windows), question_about(map(id_of, keys))


async def _blocked(run: CaseRun, connection: TcpConnection, question: bytes, name: str) -> Stream:
    """Return a stream of the suite on which the answer to a run waits for credit."""
    conversation = Conversation(run, name=name)
    await conversation.say(question)
    stream = await conversation.stream()
    await stream.wait_for(lambda: len(stream.received) >= LISTED_WINDOW, run.deadline_s)
    run.check_connection(connection)
    if len(stream.received) != LISTED_WINDOW:
        raise CaseFailed("no-answer", "no answer filled the window", missed=True)
    return stream


async def _leave(run: CaseRun, connection: TcpConnection, stream: Stream, size: int) -> None:
    """Send bytes that are left unread, or discarded if the target has stopped the stream."""
    # A stream takes nothing more once the target has stopped it; the connection does.
    for start in range(0, size, PIECE):
        connection.lab.write(stream.number, bytes(min(PIECE, size - start)))
        if not await connection.drained(stream.number, run.deadline_s):
            run.check_connection(connection)
            raise CaseFailed(
                "no-credit",
                "the credit of bytes that were left unread when a stream was refused is lost",
                missed=True,
            )
        await check_echo(run, connection)


unread_case = partial(
    case,
    part="lab-binding",
    level="wire",
    needs=UNREAD,
    isolation="peer",
    let={"key": "tracks:$case"},
    negative=True,
)
"""Registers a case about the credit of bytes that are unread when their stream is refused."""


@unread_case(
    "MW-6570",
    "the credit of bytes that are left unread must come back with the refusal of their stream",
    rules=("LB-045",),
    control="MW-5801",
)
async def unread_bytes_give_credit_back(run: CaseRun) -> None:
    """Only bytes that come after a STOP are discarded with their credit, until none is left."""
    await _refuse_unread_bytes(run, fin=False)


@unread_case(
    "MW-7266",
    "the credit of unread bytes must come back with the refusal of a stream that has ended",
    rules=("LB-045",),
    control="MW-5801",
)
async def unread_bytes_before_a_fin(run: CaseRun) -> None:
    """The credit comes back with the RESET that follows a STOP, and none follows after FIN."""
    await _refuse_unread_bytes(run, fin=True)


async def _refuse_unread_bytes(run: CaseRun, *, fin: bool) -> None:
    """Have streams refused, with `fin` after the end of the suite's half, until credit runs out."""
    connection, question = await _narrow(run)
    connection.lab.obeys_stop = False
    assert connection.lab.peer is not None, "the preambles were exchanged"
    granted = connection.lab.peer.windows
    if granted.max_data > UNREAD_MAX:
        run.note(f"the target takes {granted.max_data} bytes: they were not used up")
        return
    size = min(granted.max_stream_data, granted.max_data) // 2
    refused = run.composer.frame(FrameSpec(type=0x0B, hex="2a", wrong=True))
    for number in range(granted.max_data // size + 2):
        stream = await _blocked(run, connection, question, f"run {number}")
        await run.write(stream, refused, "a frame of type 0x0b", "A")
        await check_echo(run, connection)
        await _leave(run, connection, stream, size)
        if fin:
            await stream.finish()
        connection.lab.release(stream.number, MORE_THAN_ENOUGH)
        connection.flush()
        # A half that has ended need not be stopped.
        refusal = partial(_refusal, stream, fin=fin)
        await stream.wait_for(lambda: refusal() is not None, run.deadline_s)  # noqa: B023 - awaited in this turn
        run.check_connection(connection)
        if refusal() is None:
            raise CaseFailed("no-refusal", "an unknown type was not refused", missed=True)
        connection.lab.reset(stream.number, 0)
        connection.flush()


def _refusal(stream: Stream, *, fin: bool) -> int | None:
    """Return the code with which a stream was refused, None as long as it was not."""
    return stream.reset_code if fin else stream.stop_code


@case(
    "MW-6571",
    "a peer without credit must get that of processed bytes while most bytes are unread",
    part="lab-binding",
    rules=("LB-044",),
    level="wire",
    needs=UNREAD,
    isolation="peer",
    let={"key": "tracks:$case"},
)
async def processed_part_gives_credit_back(run: CaseRun) -> None:
    """Credit is raised once half a window is processed, which may never come."""
    connection, question = await _narrow(run)
    assert connection.lab.peer is not None, "the preambles were exchanged"
    granted = connection.lab.peer.windows
    if granted.max_data > UNREAD_MAX:
        run.note(f"the target takes {granted.max_data} bytes: they were not used up")
        return
    asked = run.composer.frame(FrameSpec(type="negentropy-init", hex=question.hex()))
    for number in range(granted.max_data * 3 // 4 // granted.max_stream_data):
        stream = await _blocked(run, connection, question, f"run {number}")
        unread = _ignored(run, granted.max_stream_data - len(asked))
        await run.write(stream, unread, "a frame of type 0x02", "A")
        await check_echo(run, connection)
    left = connection.lab.room + 2 * PIECE
    while left > 0:
        left -= await _use_credit(run, connection, f"ignored before {left}")


def _ignored(run: CaseRun, size: int) -> bytes:
    """Return a frame of type 0x02 that has this number of bytes, or its head if that is longer."""
    head = run.composer.frame(FrameSpec(type=int(FrameType.WINDOWED_HISTORY), hex=""))
    payload = "00" * max(0, size - len(head))
    return run.composer.frame(FrameSpec(type=int(FrameType.WINDOWED_HISTORY), hex=payload))


async def _use_credit(run: CaseRun, connection: TcpConnection, name: str) -> int:
    """Send a frame that fits the credit of the connection, and return the number of its bytes.

    Frames are whole, so that the target awaits no rest of one for which it gave no credit.
    """
    came = await connection.signal.wait_for(
        lambda: connection.closed is not None or connection.lab.room > 0, run.deadline_s
    )
    run.check_connection(connection)
    if not came:
        raise CaseFailed("no-credit", "processed bytes gave no credit back", missed=True)
    room = connection.lab.room
    data = _ignored(run, room if room < 2 * PIECE else PIECE)
    stream = await run.open("A", name)
    await run.write(stream, data, "a frame of type 0x02", "A")
    await run.barrier("A", name)
    return len(data)


async def _plant_beyond_the_cap(run: CaseRun) -> None:
    """Give the target a document of two changes, each within its payload cap, both beyond it."""
    texts = [
        "".join(hashlib.sha256(f"{part} {number}".encode()).hexdigest() for number in range(BLOCKS))
        for part in ("first", "second")
    ]
    documents = {
        "first": DocumentSpec(actor="1a1b1c1d", fields={"text": texts[0]}),
        "both": DocumentSpec(actor="0b0b0b0b", merge=["first"], edits=[{"text": texts[1]}]),
        "own": DocumentSpec(actor="2c2c2c2c", fields={"course": 259}),
    }
    await run.documents(documents)
    await run.contents.prepare_delta("both", "first")
    await run.contents.prepare_delta("own")
    cap = run.session.target.facts.payload_cap
    sizes = [len(run.contents.made[name].saved) for name in ("first", "both")]
    assert sizes[0] < cap < sizes[1], f"{sizes} do not fit a cap of {cap} bytes"
    await send_snapshot(run, document="first")
    await run.send(FrameSpec(type="delta", document="both", known="first"), "B")
    await run.barrier("B")


long_case = partial(
    case,
    part="documents",
    needs=("documents", "cap:1048576"),
    isolation="peer",
    let={"key": "notes:$case"},
)
"""Registers a case about a document that is longer than the payload cap of the target."""


@long_case(
    "MW-6954",
    "what a peer lacks must come in several deltas where one would exceed the payload cap",
    rules=("DC-055", "FR-013"),
)
async def a_long_document_comes_in_pieces(run: CaseRun) -> None:
    """What exceeds the cap is never sent, or in a frame that its receiver refuses."""
    arrivals = run.subscription(run.scope.names["key"])
    await _plant_beyond_the_cap(run)
    made, cap = run.contents.made, run.session.target.facts.payload_cap
    (first,) = made["first"].heads
    (second,) = made["both"].heads
    # The target answers with all that this peer lacks.
    await run.send(FrameSpec(type="delta", document="own"))
    await run.barrier()
    lacking = [MAGIC + bytes.fromhex(one)[:CHECKSUM] for one in (first, second)]

    def has_all() -> bool:
        came = [one.payload for one in arrivals.arrivals if one.type == FrameType.DELTA]
        return all(any(chunk in payload for payload in came) for chunk in lacking)

    came = await arrivals.signal.wait_for(has_all, run.deadline_s * PATIENCE)
    too_long = [one for one in arrivals.arrivals if len(one.payload) > cap]
    if too_long or not came:
        raise CaseFailed(
            "not-sent",
            "a document that is longer than the payload cap did not come in pieces",
            expected=(f"deltas of up to {cap} bytes with every change",),
            received=tuple(map(line_of, arrivals.arrivals)),
            missed=not too_long,
        )


@long_case(
    "MW-6955",
    "a read whose answer would exceed the payload cap must be refused",
    rules=("DC-056",),
)
async def a_long_document_is_not_read(run: CaseRun) -> None:
    """The read is not answered, or with a frame that its receiver refuses."""
    await _plant_beyond_the_cap(run)
    key = run.scope.names["key"]
    await run.send_read(key)
    await run.refused(["document-limit"], "A", f"read {key}")
