"""Cases about time: they judge a node by the order of what it sends and by its progress.

No clock decides: documents keep coming until all have come, an answer comes before the rest of an
offer, another peer is answered before the last of several costly messages is done, and of two
connections the older one meets its deadline first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial

from meshwire_conformance.cases.dialling import WAITS, spoiled_case
from meshwire_conformance.cases.planting import plant, stored
from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.protocol.automerge_bytes import change
from meshwire_conformance.socket_suite.calls import take_call, take_call_granting
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.case_streams import no_connection
from meshwire_conformance.socket_suite.connecting import (
    adopt_lab,
    connect,
    lab_connection,
    run_handshake,
)
from meshwire_conformance.socket_suite.content import BASE, Wanted
from meshwire_conformance.socket_suite.evidence import CaseFailed
from meshwire_conformance.socket_suite.inbox import Arrival
from meshwire_conformance.socket_suite.meanwhile import code_name
from meshwire_conformance.targets.handshake import first_bytes
from meshwire_conformance.targets.lab_records import Preamble, Windows
from meshwire_conformance.targets.tcp import TcpConnection
from meshwire_conformance.targets.transport import Connection, Stream
from meshwire_spec.numbers import ENDPOINT_ID, FRAMES_BEFORE_ANSWER_MAX, FrameType
from meshwire_spec.schemas.steps import ConnectSpec, FrameSpec, HandshakeSpec

OFFERED = 150
LONG_OFFER = 1400
"""Documents of an offer that takes more frames than may go before an answer, 20 in a frame."""
PER_BATCH = 30
FOREIGN_ONLY_MAX = 8
"""Deadlines in a row in which documents came, but none of those that a case waits for."""
COSTLY = (8, 16, 32)
"""Costly messages of one peer in each round; a round in which another peer is answered suffices."""
COSTLY_OPERATIONS = 10_000
"""Operations of a costly document: much work in few bytes, and legal."""
COSTLY_READS = 10
"""The costly messages show nothing if they take less than this many reads."""
TIMED_READS = 5
PIECES = 7
PIECE_SHARE = 0.4
"""Part of a deadline between two pieces: short enough to be in time on a busy machine."""
LATE_SHARE = 0.25
"""Part of a deadline by which the parts of a late handshake are apart."""
ACTOR = bytes.fromhex("6a6b6c6d")


async def plant_all(run: CaseRun, keys: Sequence[str]) -> None:
    """Send the document `base` under each of these keys, in batches, and wait for the barrier."""
    await run.documents(BASE)
    for start in range(0, len(keys), PER_BATCH):
        entries = [
            FrameSpec(type="snapshot", key=key, document="base")
            for key in keys[start : start + PER_BATCH]
        ]
        await run.send(FrameSpec(type="batch", key=keys[0], entries=entries))
        await run.barrier()


async def await_all(run: CaseRun, keys: Sequence[str], on: str) -> None:
    """Wait until something has come under each key; each new document restarts the wait.

    Fails if a whole deadline brings no document at all, or several in a row bring none of these.
    """
    counts = run.session.inbox.counts
    fruitless = 0
    for key in keys:
        signal = run.subscription(key).signal
        while not _has_come(run, key, on):
            before = counts.foreign, _came(run, keys, on)
            if await signal.wait_for(partial(_has_come, run, key, on), run.deadline_s):
                break
            after = counts.foreign, _came(run, keys, on)
            fruitless = 0 if after[1] > before[1] else fruitless + 1
            if after == before or fruitless == FOREIGN_ONLY_MAX:
                raise _cut_short(run, key, after[1], len(keys), on)


def _has_come(run: CaseRun, key: str, on: str) -> bool:
    peer = run.peer(on).name
    return any(one.peer == peer for one in run.subscription(key).arrivals)


def _came(run: CaseRun, keys: Sequence[str], on: str) -> int:
    """Return how many of these keys have had an arrival on a connection."""
    return sum(_has_come(run, key, on) for key in keys)


def _cut_short(run: CaseRun, key: str, came: int, wanted: int, on: str) -> CaseFailed:
    last = run.peer(on).last
    if last is not None:
        run.check_connection(last)
    return CaseFailed(
        "offer-incomplete",
        f"no frame arrived for {key}, and no other document any more",
        expected=(f"{wanted} documents, however long they take",),
        received=(f"{came} of them",),
        missed=True,
    )


@case(
    "MW-5921",
    "a new connection must be offered all of 150 documents",
    part="documents",
    rules=("DC-037", "DC-035", "TM-003"),
    isolation="peer",
    serial=True,
)
async def everything_is_offered(run: CaseRun) -> None:
    """A rate limit drops the documents beyond the first hundred instead of delaying them."""
    keys = [f"beacons:{run.scope.names['case']}-{number}" for number in range(OFFERED)]
    await plant_all(run, keys)
    for key in keys:
        run.subscription(key)
    await run.own_peer("late").connection()
    await await_all(run, keys, "late")
    for key in keys:
        await run.expect(Wanted(key, heads=run.contents.made["base"].heads), "late")


@case(
    "MW-5620",
    "a read must be answered before the rest of a long offer",
    part="time",
    rules=("TM-004", "TM-003", "DC-037"),
    needs=("documents", "binding:tcp"),
    isolation="process",
    serial=True,
    let={"read": "notes:$case"},
)
async def answer_before_the_offer(run: CaseRun) -> None:
    """A node answers a new peer only when it has sent it every document."""
    keys = [f"beacons:{run.scope.names['case']}-{number}" for number in range(LONG_OFFER)]
    await plant_all(run, keys)
    for key in keys:
        run.subscription(key)
    connection = await adopt_lab(run, "late", Windows(max_streams_bidi=0))
    # The barrier says that the answer is owed; without credit nothing has been offered yet.
    key = run.scope.names["read"]
    await run.send_read(key, "late")
    await run.barrier("late", f"read {key}")
    answer = await _granting_streams(run, connection, key)
    connection.lab.allow_streams(LONG_OFFER)
    connection.flush()
    check_before(run, "offer-first", (keys, "frames of the offer"), (answer, "the answer"))
    await await_all(run, keys, "late")


def check_before(
    run: CaseRun, symptom: str, others: tuple[Sequence[str], str], first: tuple[Arrival, str]
) -> None:
    """Fail if more frames than may be on their way have come before a more urgent one.

    `others` are the keys of the less urgent frames, `first` is the urgent one; each with its name
    in the text of the failure.
    """
    (keys, their_name), (arrival, name) = others, first
    before = {
        one.stream
        for key in keys
        for one in run.subscription(key).arrivals
        if one.peer == arrival.peer and one.order < arrival.order
    }
    if len(before) > FRAMES_BEFORE_ANSWER_MAX:
        raise CaseFailed(
            symptom,
            f"{len(before)} {their_name} came before {name}",
            expected=(f"at most {FRAMES_BEFORE_ANSWER_MAX} of them, then {name}",),
            received=(f"{len(before)} of them, then {name}",),
        )


def _streams_over(connection: TcpConnection) -> int:
    """Return how many streams of the target have ended on a connection."""
    return sum(stream.read_over for stream in connection.streams.values() if not stream.ours)


async def takes_a_stream(run: CaseRun, connection: TcpConnection) -> bool:
    """Grant the target one stream; return True once a further one has ended, False if none does."""
    known = _streams_over(connection)
    connection.lab.allow_streams(1)
    connection.flush()
    return await connection.signal.wait_for(
        lambda: _streams_over(connection) > known, run.deadline_s
    )


async def _granting_streams(run: CaseRun, connection: TcpConnection, key: str) -> Arrival:
    """Return the answer to a read; the target gets credit for one stream after the other."""
    arrivals = run.subscription(key).arrivals
    while not arrivals:
        if not await takes_a_stream(run, connection):
            run.check_connection(connection)
            raise CaseFailed("no-answer", f"no frame arrived for {key}", missed=True)
    return arrivals[0]


@case(
    "MW-5621",
    "another peer must be answered before the last of several costly messages is done",
    part="time",
    rules=("TM-005", "DC-040", "ER-017"),
    isolation="peer",
    serial=True,
    let={"key": "tracks:$case", "neighbour": "tracks:$case-neighbour"},
)
async def others_beside_costly_messages(run: CaseRun) -> None:
    """A node processes every message of one peer before it reads from the next."""
    neighbour = await plant(run, "$neighbour")
    slowest_s = max([await _timed_read(run, neighbour) for _ in range(TIMED_READS)])
    payload = change(ACTOR, COSTLY_OPERATIONS, 0, b"").hex()
    sent = 0
    # A busy machine may let all messages pass between two reads: twice as many then come next.
    for count in COSTLY:
        numbers = range(sent, sent + count)
        sent += count
        answered, took_s = await _reads_beside(run, neighbour, numbers, payload)
        if answered > 1 or took_s < COSTLY_READS * slowest_s:
            run.note(f"{answered} reads were answered beside {count} costly messages")
            break
    else:
        raise CaseFailed(
            "held-up",
            f"{count} messages of one peer took {took_s:.2f} s, and another peer had to wait",
            expected=("answers to other peers between the messages",),
            received=(f"{answered} answer, when all of them were done, in {len(COSTLY)} rounds",),
            missed=True,
        )
    for number in range(sent):
        await run.send(FrameSpec(type="tombstone", key=_costly_key(run, number)), "B")
        await run.barrier("B")


async def _reads_beside(
    run: CaseRun, neighbour: Wanted, numbers: range, payload: str
) -> tuple[int, float]:
    """Return how many reads were answered beside costly messages, and what they took in seconds.

    The last answer counts although it may have come after the last message was done.
    """
    loop = asyncio.get_running_loop()
    started = loop.time()
    streams = [await _send_costly(run, number, payload) for number in numbers]
    answered = 0
    while not all(stream.read_over for stream in streams):
        await _timed_read(run, neighbour)
        answered += 1
        run.check_connection(streams[0].connection)
    return answered, loop.time() - started


def _costly_key(run: CaseRun, number: int) -> str:
    return f"{run.scope.names['key']}-{number}"


async def _send_costly(run: CaseRun, number: int, payload: str) -> Stream:
    name = f"costly {number}"
    frame = FrameSpec(type=int(FrameType.SNAPSHOT), key=_costly_key(run, number), hex=payload)
    stream = await run.send(frame, "A", name)
    await stream.finish()
    return stream


async def _timed_read(run: CaseRun, neighbour: Wanted) -> float:
    """Read the neighbour's document as another peer; return the seconds that it took."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    await run.read(neighbour, "B", once=True)
    return loop.time() - started


@case(
    "MW-6226",
    "a frame and a heartbeat that come piece by piece over several deadlines must be taken",
    part="transport",
    rules=("TR-012", "LV-009", "TM-002"),
    needs=("documents", "deadline:frame_stall_s"),
    isolation="peer",
    let={"key": "tracks:$case"},
)
async def pieces_in_time(run: CaseRun) -> None:
    """The deadline runs from the first byte of a frame, and not from the last that has come."""
    await run.documents(BASE)
    frame = run.composer.frame(FrameSpec(type="snapshot", document="base"))
    heartbeat = run.composer.heartbeat(FrameSpec(type="heartbeat", extra="5a" * PIECES))
    streams = [await run.open("A", "frame"), await run.open("A", "heartbeat", uni=True)]
    pause_s = run.session.target.facts.deadlines["frame_stall_s"] * PIECE_SHARE
    for number in range(PIECES):
        for stream, data in zip(streams, (frame, heartbeat), strict=True):
            size = -(-len(data) // PIECES)
            piece = data[number * size : (number + 1) * size]
            await run.write(stream, piece, f"piece {number + 1} of {PIECES}")
        if number + 1 < PIECES and await _is_refused(streams, pause_s):
            break
    await run.barrier("A", "frame")
    await run.read(stored(run))
    if streams[1].stop_code is not None:
        raise CaseFailed(
            "refused",
            f"the heartbeat was refused: {code_name(streams[1].stop_code)}",
            expected=("nothing, since a byte came within each deadline",),
            received=(f"STOP with {code_name(streams[1].stop_code)}",),
        )


async def _is_refused(streams: Sequence[Stream], pause_s: float) -> bool:
    """Wait for a part of the deadline; return True at once if a stream is refused meanwhile."""
    return await streams[0].wait_for(lambda: any(stream.refused for stream in streams), pause_s)


# --- Deadlines that progress must not move -------------------------------------------------------


async def _ends_first(
    run: CaseRun,
    older: tuple[str, Connection],
    younger: Callable[[], Awaitable[Connection]],
    progress: Callable[[], Awaitable[None]],
) -> None:
    """Fail unless a connection that progresses late ends before a younger one without progress.

    Both have the same deadline, so their order shows whether the progress has moved it. The
    younger connection begins after a quarter of the deadline and the progress comes after another,
    so that half of it is left to a suite that is late.
    """
    name, first = older
    pause_s = run.session.target.facts.deadlines["handshake_s"] * LATE_SHARE
    await first.wait_closed(pause_s)
    second = await younger()
    if await first.wait_closed(pause_s) is not None:
        run.note("the suite was late: the deadline passed before the progress")
        await run.closed(["handshake-timeout"], name)
        return
    await progress()
    for one in (first, second):
        run.judge_deadline(one)
    waits = [
        asyncio.ensure_future(one.wait_closed(run.within("handshake_s"))) for one in (first, second)
    ]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    if first.closed is None:
        raise CaseFailed(
            "not-closed",
            "a younger connection without progress ended first, or neither ended",
            expected=("the end of the connection that was established first",),
            received=("the end of the other one" if second.closed else "open connections",),
            missed=True,
        )
    await run.closed(["handshake-timeout"], name)


@spoiled_case(
    "MW-6580",
    "a late challenge must not move the deadline of a target that dials",
    rules=("HS-056",),
    needs=WAITS,
)
async def late_challenge(run: CaseRun) -> None:
    """The deadline begins anew with the response, so that it bounds each step and not the whole."""
    call = await take_call(run)
    await call.take_first()

    async def younger() -> Connection:
        other = await take_call(run, "younger")
        await other.take_first()
        return other.connection

    async def progress() -> None:
        await call.take_response(await call.send_challenge())

    await _ends_first(run, (call.name, call.connection), younger, progress)


@case(
    "MW-6581",
    "a late formation id must not move the deadline of a target that was dialled",
    part="handshake",
    rules=("HS-035",),
    needs=("accepts", "dialect:secret", "deadline:handshake_s"),
    isolation="peer",
    negative=True,
    control="MW-5601",
)
async def late_formation_id(run: CaseRun) -> None:
    """The deadline begins anew with the challenge: it bounds each step, and not the whole."""
    await connect(run, "older", ConnectSpec(handshake=False))

    async def younger() -> Connection:
        await connect(run, "younger", ConnectSpec(handshake=False))
        return await run.connection("younger")

    async def progress() -> None:
        await run_handshake(run, "older", "hs", HandshakeSpec(answer="none", result="nothing"))

    await _ends_first(run, ("older", await run.connection("older")), younger, progress)


@case(
    "MW-6582",
    "the late bytes of a preamble must not move its deadline",
    part="lab-binding",
    rules=("LB-008",),
    level="wire",
    needs=("accepts", "binding:tcp", "deadline:handshake_s"),
    isolation="peer",
    negative=True,
    control="MW-5801",
)
async def late_preamble(run: CaseRun) -> None:
    """The deadline begins anew once a part of the preamble is there."""
    whole = Preamble(bytes(ENDPOINT_ID)).encode()
    await connect(run, "older", ConnectSpec(preamble=whole[:1].hex()))
    older = await lab_connection(run, "older")

    async def younger() -> Connection:
        await connect(run, "younger", ConnectSpec(preamble=whole[:1].hex()))
        return await lab_connection(run, "younger")

    async def progress() -> None:
        await older.raw(whole[1:-1])

    await _ends_first(run, ("older", older), younger, progress)


# --- Deadlines of a target that has no credit ----------------------------------------------------

NOTHING_GRANTED = {
    "no stream": Windows(max_streams_bidi=0),
    "no byte of the connection": Windows(max_data=0, all_held=True),
    "no byte of a stream": Windows(max_stream_data=0, held=True),
}
"""Windows with which no handshake can go on, by what they lack."""


def _ends_without_credit(case_id: str, rules: tuple[str, ...], lack: str) -> None:
    """Register a case in which a target that dials cannot begin its handshake."""

    async def ends(run: CaseRun) -> None:
        await take_call_granting(run, NOTHING_GRANTED[lack])
        await run.closed(["handshake-timeout"], within="handshake_s")

    ends.__doc__ = "The deadline begins when the formation id leaves, which it never does."
    title = f"a target that dials must give up on a side that grants it {lack}"
    spoiled_case(case_id, title, rules=rules, needs=WAITS)(ends)


_ends_without_credit("MW-6845", ("HS-056",), "no stream")
_ends_without_credit("MW-6846", ("HS-056",), "no byte of the connection")
_ends_without_credit("MW-6847", ("HS-056",), "no byte of a stream")


async def _dial_unproven(run: CaseRun, on: str, windows: Windows) -> TcpConnection:
    """Connect a peer of the case's own with these windows, and begin no handshake."""
    peer = run.own_peer(on)
    dial = peer.dial()
    dial = replace(dial, preamble=Preamble(dial.identity, windows=windows))
    try:
        connection = await run.session.target.dial(dial, run.deadline_s)
    except ConnectionError as exc:
        raise no_connection(exc) from exc
    assert isinstance(connection, TcpConnection), "the case needs the lab binding"
    peer.adopt(connection)
    return connection


def _never_challenges(case_id: str, rules: tuple[str, ...], lack: str) -> None:
    """Register a case in which a target that was dialled cannot send its challenge."""

    async def ends(run: CaseRun) -> None:
        connection = await _dial_unproven(run, "X", NOTHING_GRANTED[lack])
        assert run.session.target.formation is not None, "the case needs the handshake"
        stream = await run.stream("X", "hs")
        formation = run.session.target.formation
        first = first_bytes(formation.formation_id, formation.dialect)
        await run.write(stream, first, "the first message of a handshake", "X")
        await connection.drained(stream.number, run.deadline_s)
        await run.closed(["handshake-timeout"], "X", within="handshake_s")

    ends.__doc__ = "The deadline begins when the challenge leaves, or ends once it is made."
    case(
        case_id,
        f"a target that was dialled must give up on a side that grants it {lack}",
        part="handshake",
        rules=rules,
        needs=("accepts", "dialect:secret", "binding:tcp", "deadline:handshake_s"),
        isolation="peer",
        negative=True,
        control="MW-5601",
    )(ends)


_never_challenges("MW-6848", ("HS-035",), "no byte of the connection")
_never_challenges("MW-6849", ("HS-035",), "no byte of a stream")
