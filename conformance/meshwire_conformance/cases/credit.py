"""Cases about the credit of the lab binding to its last byte, in both directions.

They cover the credit of a stream, of the connection and for streams, and records that come
together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from meshwire_conformance.cases.binding import NEEDS, fault_case, lab_case
from meshwire_conformance.cases.planting import NOTHING, send_snapshot
from meshwire_conformance.cases.streams import big, give_credit
from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.connecting import (
    adopt_lab,
    connect,
    lab_connection,
    run_handshake,
)
from meshwire_conformance.socket_suite.content import BASE, Wanted
from meshwire_conformance.socket_suite.evidence import CaseFailed, Sending
from meshwire_conformance.targets.lab_records import Windows, record
from meshwire_conformance.targets.tcp import TcpConnection
from meshwire_conformance.targets.transport import Stream
from meshwire_spec.numbers import (
    BATCH_KEY,
    HMAC,
    LAB_MAX_DATA,
    NEGENTROPY_KEY,
    FrameType,
    LabRecordType,
)
from meshwire_spec.schemas.steps import ConnectSpec, FrameSpec, HandshakeSpec

UNREAD = ("accepts", "documents", "binding:tcp", "dialect:H1")
"""Before the result of the handshake no byte of another stream is processed."""
PIECE = 48 * 1024
"""Bytes of one record of DATA."""
CONNECTION_WINDOW = 2051
STREAM_WINDOW = 1029
FURTHER = 258
"""Bytes of credit granted later: a number that is another one in the wrong byte order."""
PINGS = 5
WINDOW_PIECES = 8
STOPPED = LAB_MAX_DATA // PIECE + 4
"""Streams whose discarded bytes exceed the credit of a connection."""
NARROW = 96
"""Bytes of a window that a handshake fits, and a batch of tombstones does not."""
TOMBSTONES = 4
READ_MEANWHILE = 3
"""Documents that are read while tombstones wait for credit."""
READS = 12
FIRST_STREAMS = 2
FURTHER_STREAMS = 3
PING = b"\x08\x07\x06\x05\x04\x03\x02\x01"
UNREAD_MAX = 4 * 2**20
"""Greatest number of bytes that these cases send to a target that reads none of them."""


def _filled(connection: TcpConnection, size: int) -> bool:
    """Return True if the target has sent that number of bytes on a stream that it opened."""
    return any(len(one.received) >= size for one in connection.streams.values() if not one.ours)


def _begun(connection: TcpConnection, key: str) -> bool:
    """Return True if a stream that the target opened begins with a frame of this key."""
    data = key.encode()
    head = len(data).to_bytes(2, "big") + data
    theirs = (one for one in connection.streams.values() if not one.ours)
    return any(bytes(one.received).startswith(head) for one in theirs)


async def _unproven(run: CaseRun) -> tuple[TcpConnection, Windows]:
    """Return a connection whose handshake awaits the response, and the windows of the target.

    The target reads nothing else on it.
    """
    await connect(run, "X", ConnectSpec(handshake=False))
    await run_handshake(run, "X", "hs", HandshakeSpec(answer="none", result="nothing"))
    connection = await lab_connection(run, "X")
    assert connection.lab.peer is not None, "a challenge has come"
    return connection, connection.lab.peer.windows


@fault_case(
    "MW-5833",
    "DATA beyond the credit of its stream",
    rules=("LB-041",),
    needs=UNREAD,
)
async def beyond_stream(run: CaseRun) -> None:
    """The bytes of all streams together are counted, and never those of each."""
    connection, windows = await _unproven(run)
    size = windows.max_stream_data + 1
    if size > UNREAD_MAX:
        run.note(f"the target takes {size - 1} bytes unread: none were sent beyond them")
        return
    await _raw_data(run, connection, size)
    await run.closed(["flow-control"], "X")


@fault_case(
    "MW-6220",
    "DATA beyond the credit of the connection, but within that of each stream",
    rules=("LB-041",),
    needs=UNREAD,
)
async def beyond_connection(run: CaseRun) -> None:
    """The bytes of each stream are counted, and never those of all streams together."""
    connection, windows = await _unproven(run)
    left = windows.max_data + 1
    if left > UNREAD_MAX:
        run.note(f"the target takes {windows.max_data} bytes unread: none were sent beyond them")
        return
    while left > 0:
        if not connection.lab.can_open(uni=False):
            run.note("the streams are used up before the credit of the connection")
            return
        size = min(left, windows.max_stream_data // 2)
        left -= size
        await _raw_data(run, connection, size)
    await run.closed(["flow-control"], "X")


async def _raw_data(run: CaseRun, connection: TcpConnection, size: int) -> None:
    """Write DATA on a new stream, without regard to the credit."""
    stream = await run.open("X", f"stream {len(run.streams)}")
    run.evidence.sent.append(Sending("X", stream.number, f"{size} bytes of DATA"))
    head = stream.number.to_bytes(8, "big") + b"\x00"
    while size > 0 and connection.closed is None:
        await connection.raw(record(LabRecordType.DATA, head + bytes(min(size, PIECE))))
        size -= PIECE


@lab_case(
    "MW-6429",
    "DATA up to the last byte of the credit of each of two streams must be accepted",
    rules=("LB-041", "LB-042"),
    needs=UNREAD,
    let={"key": "tracks:$case"},
)
async def last_byte_of_streams(run: CaseRun) -> None:
    """The last byte of a stream counts as beyond its credit, or two streams have one credit."""
    await run.documents(BASE)
    connection, windows = await _unproven(run)
    size = windows.max_stream_data
    if FIRST_STREAMS * size + HMAC > min(windows.max_data, UNREAD_MAX):
        run.note(f"two streams of {size} bytes exceed the credit of the connection")
        return
    for _ in range(FIRST_STREAMS):
        await _raw_data(run, connection, size)
        last = max(connection.streams).to_bytes(8, "big")
        await connection.raw(record(LabRecordType.DATA, last + b"\x01"))
        await _pass(run, connection)
    await run_handshake(run, "X", "hs", HandshakeSpec(resume=True))
    await run.read(await send_snapshot(run, "X"), "X")


@lab_case(
    "MW-6221",
    "DATA up to the last byte of the credit of the connection must be accepted",
    rules=("LB-041", "LB-044"),
    needs=UNREAD,
    let={"key": "tracks:$case"},
)
async def last_byte_of_connection(run: CaseRun) -> None:
    """The last byte of a window counts as beyond it."""
    await run.documents(BASE)
    connection, windows = await _unproven(run)
    payload = min(windows.max_stream_data, connection.lab.room, UNREAD_MAX) // 2
    frame = run.composer.frame(FrameSpec(type=int(FrameType.WINDOWED_HISTORY), hex="00" * payload))
    rests: dict[str, bytes] = {}
    # The response takes exactly the last bytes.
    while (room := await _settled_room(run, connection) - HMAC) > 0:
        if len(rests) * len(frame) > UNREAD_MAX:
            run.note(f"the target takes {room} bytes more unread, which were not sent")
            break
        if not connection.lab.can_open(uni=False):
            run.note("the streams are used up before the credit of the connection")
            break
        name = f"filler {len(rests)}"
        stream = await run.open("X", name)
        await run.write(stream, frame[:room], "a frame of type 0x02", "X")
        rests[name] = frame[room:]
        if not await connection.drained(stream.number, run.deadline_s):
            raise CaseFailed("no-credit", "credit was taken back", missed=True)
    await run_handshake(run, "X", "hs", HandshakeSpec(answer="right", resume=True))
    for name, rest in rests.items():
        if rest:
            await run.write(await run.stream("X", name), rest, "the rest of that frame", "X")
        await run.barrier("X", name)
    await run.read(await send_snapshot(run, "X"), "X")


@lab_case(
    "MW-6507",
    "a stream whose credit is used up before a byte of it is read must be read to its end",
    rules=("LB-044", "LB-041"),
    needs=UNREAD,
    let={"key": "tracks:$case"},
)
async def whole_window_of_a_stream(run: CaseRun) -> None:
    """What is granted is computed from the credit that is left, which is none."""
    connection, windows = await _unproven(run)
    size = windows.max_stream_data
    if size + HMAC > min(connection.lab.room, UNREAD_MAX):
        run.note(f"the target takes {size} bytes of a stream unread, which were not sent")
        return
    head = run.composer.frame(
        FrameSpec(type=int(FrameType.WINDOWED_HISTORY), hex="", payload_length=0)
    )
    frame = run.composer.frame(
        FrameSpec(type=int(FrameType.WINDOWED_HISTORY), hex="00" * (size - len(head)))
    )
    stream = await run.open("X", "window")
    for start in range(0, size, size // WINDOW_PIECES):
        piece = frame[start : start + size // WINDOW_PIECES]
        await run.write(stream, piece, f"byte {start} and later ones of a frame of type 0x02", "X")
        await _pass(run, connection)
    await run_handshake(run, "X", "hs", HandshakeSpec(answer="right", resume=True))
    await run.barrier("X", "window")


async def _settled_room(run: CaseRun, connection: TcpConnection) -> int:
    """Return the credit of the connection that is left, once the target has read all that came."""
    await _pass(run, connection)
    return connection.lab.room


async def _pass(run: CaseRun, connection: TcpConnection) -> None:
    """Wait for a PONG: the effects of everything that was sent before its PING come first."""
    connection.pongs.clear()
    if not await connection.ping(PING, run.deadline_s):
        run.check_connection(connection)
        raise CaseFailed("no-pong", "a PING was not answered", missed=True)


async def _await_exactly(
    run: CaseRun, connection: TcpConnection, came: Callable[[], int], wanted: int, what: str
) -> None:
    """Wait until `came` is what the credit allows; fail if it is more by the next PONG."""
    await connection.signal.wait_for(lambda: came() >= wanted, run.deadline_s)
    run.check_connection(connection)
    if came() < wanted:
        raise CaseFailed(
            "credit-unused",
            f"the target waits although it has credit for {what}",
            expected=(f"{wanted} {what}",),
            received=(f"{came()} {what}",),
            missed=True,
        )
    await _pass(run, connection)
    if came() > wanted:
        raise CaseFailed("beyond-credit", f"{came()} {what} with credit for {wanted}")


@lab_case(
    "MW-6222",
    "a sender must use the credit of the connection to its last byte, and not one byte more",
    rules=("LB-040", "LB-047"),
    let={"key": "notes:$case", "other": "notes:$case-other"},
)
async def all_of_connection(run: CaseRun) -> None:
    """The credit of streams alone is kept, or a maximum is read in the wrong byte order."""
    await run.documents({"big": big(), "more": big("0c0c0c0c")})
    # A stream for each: a deployed peer reads one frame of a stream.
    documents = [
        await send_snapshot(run, document="big"),
        await send_snapshot(run, document="more", key="$other"),
    ]
    connection = await adopt_lab(run, "A", Windows(max_data=CONNECTION_WINDOW, all_held=True))
    for one in documents:
        await run.send_read(one.key)
    lab = connection.lab
    await _await_exactly(run, connection, lambda: lab.received, CONNECTION_WINDOW, "bytes")
    lab.allow_data(FURTHER)
    connection.flush()
    wanted = CONNECTION_WINDOW + FURTHER
    await _await_exactly(run, connection, lambda: lab.received, wanted, "bytes")
    give_credit(connection)
    for one in documents:
        await run.expect(one, "A")


@lab_case(
    "MW-6223",
    "a sender must use the credit of a stream to its last byte, and not one byte more",
    rules=("LB-040", "LB-047"),
    let={"key": "notes:$case"},
)
async def all_of_stream(run: CaseRun) -> None:
    """The last byte of a window is never sent, or a maximum is read in the wrong byte order."""
    await run.documents({"big": big()})
    planted = await send_snapshot(run, document="big")
    connection = await adopt_lab(run, "A", Windows(max_stream_data=STREAM_WINDOW, held=True))
    await run.send_read(planted.key)

    def longest() -> int:
        theirs = (one for one in connection.streams.values() if not one.ours)
        return max((len(one.received) for one in theirs), default=0)

    await _await_exactly(run, connection, longest, STREAM_WINDOW, "bytes")
    waiting = [
        one
        for one in connection.streams.values()
        if not one.ours and len(one.received) == STREAM_WINDOW and not one.read_over
    ]
    assert waiting, "the document is longer than the window"
    connection.lab.release(waiting[0].number, FURTHER)
    connection.flush()
    came = waiting[0].received
    await _await_exactly(run, connection, lambda: len(came), STREAM_WINDOW + FURTHER, "bytes")
    give_credit(connection)
    await run.expect(planted, "A")


@lab_case(
    "MW-6224",
    "a sender must open as many streams as it is granted, and not one more",
    rules=("LB-048",),
)
async def all_streams(run: CaseRun) -> None:
    """A stream beyond the credit is opened, or a maximum is read in the wrong byte order."""
    windows = Windows(max_streams_bidi=FIRST_STREAMS, all_held=True)
    connection = await adopt_lab(run, "A", windows)
    keys = [f"notes:{run.scope.names['case']}-{number}" for number in range(READS)]
    for key in keys:
        run.subscription(key)
        await run.send_read(key)

    def opened() -> int:
        return sum(not one.ours and not one.uni for one in connection.streams.values())

    await _await_exactly(run, connection, opened, FIRST_STREAMS, "streams")
    connection.lab.allow_streams(FURTHER_STREAMS)
    connection.flush()
    await _await_exactly(run, connection, opened, FIRST_STREAMS + FURTHER_STREAMS, "streams")
    connection.lab.allow_streams(READS)
    give_credit(connection)
    for key in keys:
        await run.expect(Wanted(key, heads=NOTHING), "A")


@lab_case(
    "MW-6225",
    "five PINGs in one write must get five PONGs, in their order",
    rules=("LB-050", "LB-055"),
    needs=("binding:tcp",),
)
async def pings_together(run: CaseRun) -> None:
    """Only the first or the last record of one read is answered, or the order changes."""
    connection = await adopt_lab(run, "A", Windows())
    payloads = [bytes((16 * number + 1, *range(number, number + 7))) for number in range(PINGS)]
    await connection.raw(b"".join(record(LabRecordType.PING, payload) for payload in payloads))
    run.evidence.sent.append(Sending("A", None, f"{PINGS} PINGs in one write"))
    came = connection.pongs
    await connection.signal.wait_for(lambda: len(came) >= PINGS, run.deadline_s)
    run.check_connection(connection)
    if list(came) != payloads:
        raise CaseFailed(
            "wrong-pongs",
            f"{PINGS} PINGs in one write were not answered one by one",
            expected=tuple(f"PONG {payload.hex()}" for payload in payloads),
            received=tuple(f"PONG {payload.hex()}" for payload in came) or ("nothing",),
            missed=len(came) < PINGS,
        )


@fault_case(
    "MW-6106",
    "bytes that come after the target's STOP must count against the credit and be returned",
    rules=("LB-037", "LB-045"),
    let={"key": "tracks:$case"},
)
async def stopped_bytes_give_credit_back(run: CaseRun) -> None:
    """Bytes of a stopped stream are dropped uncounted, until the connection stalls."""
    await run.documents(BASE)
    connection = await lab_connection(run, "A")
    connection.lab.obeys_stop = False
    refused = run.composer.frame(FrameSpec(type=0x0B, hex="2a", wrong=True))
    for number in range(STOPPED):
        stream = await run.open("A", f"stopped {number}")
        await stream.write(refused)
        if not await stream.wait_for(lambda: stream.stop_code is not None, run.deadline_s):  # noqa: B023 - awaited in this turn
            run.check_connection(connection)
            raise CaseFailed("no-refusal", "an unknown type was not refused", missed=True)
        # A stream takes nothing more once the target has stopped it; the connection does.
        connection.lab.write(stream.number, bytes(PIECE))
        if not await connection.drained(stream.number, run.deadline_s):
            raise CaseFailed(
                "no-credit",
                f"the credit of {number} stopped streams was not returned",
                missed=True,
            )
        connection.lab.reset(stream.number, 0)
        connection.flush()
    await run.read(await send_snapshot(run, "A"))


@case(
    "MW-6108",
    "no document may be offered while tombstones wait for credit",
    part="tombstones",
    rules=("TS-042",),
    needs=NEEDS,
    isolation="peer",
)
async def tombstones_before_documents(run: CaseRun) -> None:
    """Documents are offered as soon as the tombstones were made, not when they were sent."""
    await run.documents(BASE)
    keys = [f"notes:{run.scope.names['case']}-{number}" for number in range(1 + READ_MEANWHILE)]
    planted = [await send_snapshot(run, key=key) for key in keys]
    for number in range(TOMBSTONES):
        gone = f"tracks:{run.scope.names['case']}-{number}"
        await run.send(FrameSpec(type="tombstone", key=gone, reason="x" * NARROW), "B")
    await run.barrier("B")
    connection = await adopt_lab(run, "A", Windows(max_stream_data=NARROW, held=True))
    await connection.signal.wait_for(
        lambda: connection.closed is not None or _filled(connection, NARROW), run.deadline_s
    )
    run.check_connection(connection)
    if not _filled(connection, NARROW):
        raise CaseFailed("no-answer", "no tombstones were offered", missed=True)
    # What is offered too early may still be in the making: the answers are made after it.
    offered, *read = planted
    for one in read:
        run.subscription(one.key)
        await run.send_read(one.key)
    await connection.signal.wait_for(
        lambda: connection.closed is not None or all(_begun(connection, one.key) for one in read),
        run.deadline_s,
    )
    await _pass(run, connection)
    for key in (BATCH_KEY, NEGENTROPY_KEY, offered.key):
        if _begun(connection, key):
            raise CaseFailed("documents-too-early", f"a frame of {key} came beside the tombstones")
    give_credit(connection)
    for one in planted:
        await run.expect(one, "A")


@case(
    "MW-6107",
    "a heartbeat that comes in pieces must be judged as a whole",
    part="liveness",
    rules=("LB-055", "LV-002", "LV-003", "LV-006"),
    level="wire",
    needs=("binding:tcp", "shows:stop-after-fin"),
    isolation="peer",
    let={"key": "notes:$case"},
)
async def heartbeat_in_pieces(run: CaseRun) -> None:
    """Only one piece of a heartbeat is kept, or its time is one piece, or pieces are not judged."""
    data = run.composer.heartbeat(FrameSpec(type="heartbeat"))
    good = await _heartbeat_in_pieces(run, "good", (data[:1], data[1:4], data[4:8], data[8:]))
    short = await _heartbeat_in_pieces(run, "short", (data[:1], data[1:8]))
    await _heartbeat_in_pieces(run, "other", (b"\x02", data[1:]), ends=False)
    connection = await lab_connection(run, "A")
    await short.wait_for(lambda: short.stop_code is not None, run.deadline_s)
    await connection.ping(bytes(range(8)), run.deadline_s)
    run.check_connection(connection)
    if good.stop_code is not None:
        raise CaseFailed("refused", f"a whole heartbeat was refused with {good.stop_code:#x}")
    if short.stop_code is None and run.strict:
        raise CaseFailed("no-refusal", "a heartbeat of 8 bytes was not refused", missed=True)
    run.evidence.unbound |= short.stop_code is None
    await run.refused(["bad-marker"], "A", "other")


async def _heartbeat_in_pieces(
    run: CaseRun, name: str, pieces: Sequence[bytes], *, ends: bool = True
) -> Stream:
    """Write a uni stream piece by piece, each once the target has the one before."""
    connection = await lab_connection(run, "A")
    stream = await run.open("A", name, uni=True)
    for number, piece in enumerate(pieces, 1):
        await run.write(stream, piece, f"piece {number} of {name}", "A")
        # The answer shows that the target has this piece before the next is written.
        await connection.ping(f"{name[0]}{number:07}".encode(), run.deadline_s)
    if ends:
        await stream.finish()
    return stream
