"""Cases about what must leave nothing behind: what is abandoned, and what is ignored.

What is abandoned is repeated until its sum exceeds every limit that a node may have; what is
ignored is longer than the windows. Then something small must be taken as ever.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from meshwire_conformance.cases.planting import in_groups, plant, send_snapshot, stored
from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.socket_suite.calls import take_call
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.connecting import (
    check_echo,
    connect,
    lab_connection,
    run_handshake,
)
from meshwire_conformance.socket_suite.content import BASE, Wanted
from meshwire_conformance.socket_suite.evidence import CaseFailed
from meshwire_conformance.socket_suite.meanwhile import code_name
from meshwire_conformance.socket_suite.reconciling import EMPTY_RANGE, Conversation
from meshwire_conformance.targets.tcp import TcpConnection
from meshwire_conformance.targets.transport import Stream
from meshwire_spec.numbers import RESULT_ACCEPTED, FrameType
from meshwire_spec.schemas.steps import ConnectSpec, FrameSpec, HandshakeSpec

LET = {"key": "tracks:$case"}
PIECE = 2**18
"""Bytes for which the credit is awaited at a time, so that a slow target shows its progress."""
TIMES = 3
"""Long frames that are abandoned one after the other: together more than two whole payloads."""
RUNS = 150
HANDSHAKES = 130
CUT = 20
RESET_CODE = 258
WINDOW_MAX = 2**20
"""Greatest window that these cases exceed, in bytes."""
PATIENCE = 4
"""Deadlines that a frame may take which needs credit several times."""
IN_TURNS = 7
"""Streams whose frames together exceed two payloads, and whose windows that of the connection."""
PAUSES_A_DEADLINE = 5
DEADLINES = 2
"""Frame deadlines of the target in which a long frame gets no more than a byte now and then."""

abandoned_case = partial(
    case, part="transport", needs=("documents", "binding:tcp"), isolation="peer", let=LET
)
"""Registers a case that abandons something again and again."""


async def _write_along(run: CaseRun, stream: Stream, size: int) -> None:
    """Write zeros on a stream as the target gives credit; raises CaseFailed if it gives none."""
    connection = stream.connection
    assert isinstance(connection, TcpConnection), "the case needs the lab binding"
    run.ended(stream, f"{size} bytes more")
    for start in range(0, size, PIECE):
        await stream.write(bytes(min(PIECE, size - start)))
        if not await connection.drained(stream.number, run.deadline_s):
            raise CaseFailed(
                "no-credit",
                f"no credit came for stream {stream.number} after {start} bytes more",
                expected=("credit for bytes that the target has processed or dropped",),
                received=("nothing within the deadline",),
                missed=True,
            )
        run.check_connection(connection)


async def _begin_frame(run: CaseRun, on: str, name: str) -> Stream:
    """Send three quarters of the longest frame that the target takes; return its stream."""
    cap = run.session.target.facts.payload_cap
    stream = await run.open(on, name)
    header = run.composer.frame(FrameSpec(type="snapshot", hex="", payload_length=cap))
    await run.write_alone(stream, header, f"the header of a snapshot of {cap} bytes", on)
    await _write_along(run, stream, cap * 3 // 4)
    return stream


@abandoned_case(
    "MW-6820",
    "a frame must be taken after RESET inside long ones, whose sum exceeds two payloads",
    rules=("TR-014", "TR-005", "TR-029", "LB-045"),
    serial=True,
)
async def long_frames_reset(run: CaseRun) -> None:
    """The bytes of a frame that RESET cut off count for ever as held, until nothing is read."""
    await run.documents(BASE)
    for number in range(TIMES):
        stream = await _begin_frame(run, "A", f"cut {number}")
        await stream.reset(RESET_CODE)
        run.ended(stream, f"RESET with {RESET_CODE}")
    for on in ("A", "B"):
        await run.read(await send_snapshot(run, on), on)


@abandoned_case(
    "MW-6821",
    "a frame must be taken after FIN inside long ones, whose sum exceeds two payloads",
    rules=("FR-003", "TR-005", "TR-029", "LB-045"),
    serial=True,
)
async def long_frames_truncated(run: CaseRun) -> None:
    """The bytes of a frame that was refused as truncated count for ever as held."""
    await run.documents(BASE)
    for number in range(TIMES):
        stream = await _begin_frame(run, "A", f"cut {number}")
        await stream.finish()
        await run.refused(["truncated"], "A", f"cut {number}")
    for on in ("A", "B"):
        await run.read(await send_snapshot(run, on), on)


@abandoned_case(
    "MW-6822",
    "a frame must be taken after connections of its peer that ended inside long ones",
    rules=("TR-025", "TR-005", "TR-029"),
    needs=("accepts", "documents", "binding:tcp"),
    serial=True,
)
async def long_frames_lost(run: CaseRun) -> None:
    """What an endpoint id left unfinished counts against its next connection."""
    await run.documents(BASE)
    await run.connection("A")
    for number in range(TIMES):
        on = f"lost {number}"
        await connect(run, on, ConnectSpec(same_as="A"))
        stream = await _begin_frame(run, on, "cut")
        await stream.connection.close()
    await connect(run, "last", ConnectSpec(same_as="A"))
    await run.read(await send_snapshot(run, "last"), "last")


@abandoned_case(
    "MW-6823",
    "a run must be answered after 150 runs that were abandoned in different ways",
    part="reconciliation",
    rules=("NG-014", "NG-016", "TR-014", "LB-046"),
    needs=("documents", "reconciliation"),
)
async def abandoned_runs(run: CaseRun) -> None:
    """A run that its client gave up counts as open for ever, up to the greatest number of runs."""
    message = bytes.fromhex(EMPTY_RANGE)
    later = run.composer.frame(FrameSpec(type="negentropy-response", hex=EMPTY_RANGE))
    await run.connection("A")

    async def once(number: int) -> None:
        conversation = Conversation(run, "A", f"run {number}")
        await conversation.ask(message)
        stream = await conversation.stream()
        if number % TIMES:
            await run.write_alone(stream, later[:CUT], "the beginning of a message")
        if number % TIMES == 1:
            await stream.finish()
            await run.refused(["truncated"], "A", f"run {number}")
        else:
            await stream.reset(RESET_CODE)
            run.ended(stream, f"RESET with {RESET_CODE}")

    await in_groups(once, RUNS)
    for on in ("A", "B"):
        last = Conversation(run, on, "last")
        await last.ask(message)
        await last.end()


@case(
    "MW-6824",
    "130 connections that end inside the handshake must not keep another one out",
    part="handshake",
    rules=("HS-030", "ER-017"),
    needs=("accepts", "documents", "dialect:secret", "binding:tcp"),
    isolation="peer",
    let=LET,
)
async def abandoned_handshakes(run: CaseRun) -> None:
    """They are counted as open for ever, up to the greatest number of peers without proof."""
    await run.documents(BASE)

    async def once(number: int) -> None:
        on = f"unproven {number}"
        await connect(run, on, ConnectSpec(handshake=False))
        await run_handshake(run, on, "hs", HandshakeSpec(answer="none", result="nothing"))
        connection = await lab_connection(run, on)
        if number % 2:
            await connection.close()
        else:
            connection.end_link()

    await in_groups(once, HANDSHAKES)
    await run.read(await send_snapshot(run, "A"), "A")


# --- What follows a long frame -----------------------------------------------------------------

LONG = (2**16 - 259, 2**18 - 3, 2**18 + 771, 2**20 + 258)
"""Sizes of payloads, around sizes from which a node may keep bytes in another way."""


def _long_frame(run: CaseRun, size: int) -> bytes:
    """Return a frame whose type is ignored, with a payload of this size or what the cap allows."""
    size = min(size, run.session.target.facts.payload_cap)
    return run.composer.frame(FrameSpec(type=int(FrameType.WINDOWED_HISTORY), hex="5a" * size))


@case(
    "MW-6937",
    "frames that come with the last bytes of a long one of their stream must take effect",
    part="transport",
    rules=("TR-005", "TR-006", "TR-020"),
    isolation="peer",
    let=LET,
)
async def frames_behind_long_ones(run: CaseRun) -> None:
    """What was read with the end of a long payload is dropped with it, or read as a part of it."""
    await run.documents(BASE)
    for number, size in enumerate(LONG):
        keys = [f"notes:{run.scope.names['case']}-{number}-{place}" for place in range(2)]
        specs = [FrameSpec(type="snapshot", key=key, document="base") for key in keys]
        behind = b"".join(map(run.composer.frame, specs))
        stream = await run.open("A", f"long {number}")
        what = f"a frame of type 0x02 with {size} bytes, and two snapshots after it"
        await run.write_alone(stream, _long_frame(run, size) + behind, what, kind="stream_frame")
        await run.barrier("A", f"long {number}", patience=PATIENCE)
        for key in keys:
            await run.read(stored(run, key=key), "B")


FAULTS_BEHIND = {
    "a byte of a frame": (b"\x00", "truncated"),
    "a frame without its last byte": (bytes.fromhex("0003 613a62 01 00000002 aa"), "truncated"),
    "a frame of type 0x0b": (bytes.fromhex("0003 613a62 0b 00000001 aa"), "unknown-type"),
}
"""What follows a long frame, with the reason for which its stream is refused."""


@case(
    "MW-6938",
    "what is no frame after a long one of its stream must be refused",
    part="frames",
    rules=("FR-003", "FR-011", "ER-011"),
    isolation="peer",
    let=LET,
    negative=True,
    control="MW-6937",
)
async def faults_behind_long_ones(run: CaseRun) -> None:
    """What was read with the end of a long payload is dropped, so that its fault is not seen."""
    for size in LONG[1:3]:
        for what, (behind, reason) in FAULTS_BEHIND.items():
            name = f"{what} behind {size} bytes"
            stream = await run.open("A", name)
            await run.write_alone(stream, _long_frame(run, size) + behind, name)
            if reason == "truncated":
                await stream.finish()
            await run.refused([reason], "A", name)


# --- What is ignored ---------------------------------------------------------------------------

ignored_case = partial(
    case, level="wire", needs=("documents", "binding:tcp"), isolation="peer", let=LET
)
"""Registers a case with more bytes to ignore than the target's windows hold."""


async def _more_than_windows(run: CaseRun, on: str = "A") -> tuple[int, int]:
    """Return a number of bytes above the window of a stream, and how many such exceed all."""
    connection = await lab_connection(run, on)
    assert connection.lab.peer is not None, "the preambles were exchanged"
    windows = connection.lab.peer.windows
    size = 2 * min(windows.max_stream_data, WINDOW_MAX) + 1
    return size, min(windows.max_data, WINDOW_MAX) // size + 1


@ignored_case(
    "MW-6830",
    "heartbeats with more bytes after the ninth than the windows hold must be read to their ends",
    part="liveness",
    rules=("LV-004", "TR-003", "LB-044"),
)
async def long_heartbeats(run: CaseRun) -> None:
    """What is ignored gives no credit back, or is kept, or is not read at all."""
    size, times = await _more_than_windows(run)
    streams = []
    for number in range(times):
        stream = await run.open("A", f"heartbeat {number}", uni=True)
        await run.send(FrameSpec(type="heartbeat"), "A", f"heartbeat {number}")
        await _write_along(run, stream, size)
        await stream.finish()
        streams.append(stream)
    await run.read(await plant(run), "A")
    await check_echo(run, await lab_connection(run, "A"))
    for stream in streams:
        if stream.stop_code is not None:
            raise CaseFailed(
                "refused",
                "a heartbeat was refused for the bytes after its ninth",
                expected=("nothing",),
                received=(f"STOP with {code_name(stream.stop_code)}",),
            )


async def _send_long(run: CaseRun, make: Callable[[str], FrameSpec]) -> None:
    """Send a frame, made from more bytes in hex than the windows hold, and await its barrier."""
    size, _ = await _more_than_windows(run)
    await run.send(make("5a" * size), "A", "long")
    await run.barrier("A", "long", patience=PATIENCE)


@ignored_case(
    "MW-6831",
    "a batch with more bytes after its last entry than the window holds must take effect",
    part="batches",
    rules=("BT-015", "LB-044"),
)
async def long_batch(run: CaseRun) -> None:
    """The bytes after the last entry are read as entries, refused, or never read."""
    await run.documents(BASE)
    entry = FrameSpec(type="snapshot", document="base", key="$key")
    await _send_long(
        run, lambda extra: FrameSpec(type="batch", key="$key", entries=[entry], extra=extra)
    )
    await run.read(stored(run), "A")


@ignored_case(
    "MW-6832",
    "tombstones with more bytes after the direction than the window holds must take effect",
    part="tombstones",
    rules=("TS-009", "LB-044"),
    let={"one": "nodes:$case-1", "two": "nodes:$case-2"},
)
async def long_tombstones(run: CaseRun) -> None:
    """A tombstone is refused for its length, alone or in a batch."""
    await _send_long(run, lambda extra: FrameSpec(type="tombstone", key="$one", extra=extra))
    await _send_long(
        run,
        lambda extra: FrameSpec(
            type="tombstone-batch",
            key="$two",
            tombstones=[FrameSpec(type="tombstone", key="$two", extra=extra)],
        ),
    )
    # A read of a deleted document is answered at level strict.
    for name in ("one", "two") if run.strict else ():
        await run.read(Wanted(run.scope.names[name], FrameType.TOMBSTONE), "A")


@ignored_case(
    "MW-6833",
    "a delta with more bytes after its sync message than the window holds must take effect",
    part="documents",
    rules=("DC-015", "LB-044"),
)
async def long_delta(run: CaseRun) -> None:
    """The bytes after the sync message are read as a part of it."""
    await run.documents(BASE)
    await run.contents.prepare_delta("base")
    await _send_long(
        run, lambda extra: FrameSpec(type="delta", key="$key", document="base", extra=extra)
    )
    await run.read(stored(run), "A")


@ignored_case(
    "MW-6834",
    "frames of type 0x02 and 0x06 with longer payloads than the window holds must be read",
    part="frames",
    level="strict",
    rules=("FR-012", "ER-015", "LB-044"),
)
async def long_ignored_frames(run: CaseRun) -> None:
    """A frame of an ignored type is dropped by its header, and its payload read as frames."""
    await run.documents(BASE)
    await _send_long(run, lambda extra: FrameSpec(type="windowed-history", hex=extra))
    await _send_long(run, lambda extra: FrameSpec(type="tombstone-ack", hex=extra))
    await run.read(await send_snapshot(run, "A"), "A")


async def _check_served(run: CaseRun, on: str, write: Callable[[int], Awaitable[None]]) -> None:
    """Write more bytes than the windows hold, then fail unless a document is taken."""
    size, times = await _more_than_windows(run, on)
    await write(size * times)
    await run.read(await send_snapshot(run, on), on)


@ignored_case(
    "MW-6835",
    "more bytes after the response of the handshake than the windows hold must give credit back",
    part="handshake",
    level="strict",
    rules=("HS-047", "LB-045"),
    needs=("accepts", "documents", "dialect:secret", "binding:tcp"),
)
async def long_response(run: CaseRun) -> None:
    """What follows the response is dropped, and its credit with it, or it is kept."""
    await run.documents(BASE)
    await connect(run, "X", ConnectSpec(handshake=False))
    await run_handshake(run, "X", "hs", HandshakeSpec())
    stream = await run.stream("X", "hs")
    await _check_served(run, "X", partial(_write_along, run, stream))


@ignored_case(
    "MW-6836",
    "more bytes after the result of the handshake than the windows hold must give credit back",
    part="handshake",
    level="strict",
    rules=("HS-055", "LB-045"),
    needs=("dials", "documents", "dialect:secret"),
)
async def long_result(run: CaseRun) -> None:
    """What follows the result is dropped, and its credit with it, or it is kept."""
    await run.documents(BASE)
    call = await take_call(run)
    await call.take_proof()
    await call.send_result(RESULT_ACCEPTED)
    stream = await call.stream()
    await _check_served(run, call.name, partial(_write_along, run, stream))


@case(
    "MW-6953",
    "long frames that come in turns on several streams must be read, although one of them pauses",
    part="transport",
    rules=("TR-031", "TR-029"),
    needs=("binding:tcp", "deadline:frame_stall_s"),
    isolation="peer",
    serial=True,
    let=LET,
)
async def long_frames_in_turns(run: CaseRun) -> None:
    """Bytes that wait take the credit of all streams, or a stream without credit is refused."""
    cap = run.session.target.facts.payload_cap
    header, shorter = (
        run.composer.frame(
            FrameSpec(type=int(FrameType.WINDOWED_HISTORY), hex="", payload_length=length)
        )
        for length in (cap, cap // 3)
    )
    connection = await lab_connection(run, "A")
    names = [f"long {number}" for number in range(IN_TURNS)]
    first, *others = [await run.open("A", name) for name in names]
    await run.write_alone(first, header, f"the header of a frame of {cap} bytes", "A")
    await _write_along(run, first, cap - PIECE)
    for stream in others:
        await run.write_alone(stream, shorter, "the header of a shorter frame", "A")
        # As the target gives credit, a part of each in turn.
        await stream.write(bytes(cap // 3))
    pause_s = run.session.target.facts.deadlines["frame_stall_s"] / PAUSES_A_DEADLINE
    for _ in range(DEADLINES * PAUSES_A_DEADLINE):
        await _write_along(run, first, 1)
        await first.wait_for(lambda: first.refused, pause_s)
    for stream in others:
        if stream.refused:
            raise CaseFailed(
                "refused",
                "a stream was refused whose bytes had no credit",
                received=(code_name(stream.reset_code or 0),),
            )
    await _write_along(run, first, PIECE - DEADLINES * PAUSES_A_DEADLINE)
    for name in names:
        await run.barrier("A", name, patience=PATIENCE)
    await check_echo(run, connection)
