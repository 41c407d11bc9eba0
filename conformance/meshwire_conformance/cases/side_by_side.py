"""Cases with the same state on several connections at once, on streams of equal numbers.

A node that names such a state by the number of its stream alone mixes the connections up, and so
does one that names it by endpoint id and stream, where one id has several connections.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from meshwire_conformance.cases.planting import send_snapshot, stored
from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.connecting import (
    check_echo,
    connect,
    lab_connection,
    run_handshake,
)
from meshwire_conformance.socket_suite.content import BASE
from meshwire_conformance.socket_suite.evidence import CaseFailed, CouldNotRun
from meshwire_conformance.socket_suite.reconciling import EMPTY_RANGE, Conversation
from meshwire_conformance.targets.transport import Stream
from meshwire_spec.schemas.steps import ConnectSpec, FrameSpec, HandshakeSpec

PEERS = ("A", "B", "C")
OF_ONE_ID = ("first", "second", "third")
"""Connections of one endpoint id."""
KEYS = ("$key", "$second", "$third")
BEGINNING = 9
"""Bytes of a frame that is left incomplete."""
PIECES = 5
MARKED = 3
"""Bytes of a heartbeat that is left incomplete."""
RESET_CODE = 258
UNPROVEN = ("X", "Y")

beside_case = partial(
    case,
    part="transport",
    needs=("documents", "binding:tcp"),
    isolation="peer",
    let={"key": "tracks:$case", "second": "tracks:$case-2", "third": "tracks:$case-3"},
)
"""Registers a case that does the same on several connections."""


async def _connect_of_one_id(run: CaseRun) -> Sequence[str]:
    """Open the connections of one endpoint id, and return their names."""
    first, *others = OF_ONE_ID
    await connect(run, first, ConnectSpec())
    for name in others:
        await connect(run, name, ConnectSpec(same_as=first))
    return OF_ONE_ID


async def _open_equal(
    run: CaseRun, peers: Sequence[str] = PEERS, *, uni: bool = False
) -> list[Stream]:
    """Return one new stream on each connection; all have the same number."""
    name = "uni" if uni else "equal"
    streams = [await run.open(on, name, uni=uni) for on in peers]
    if len({stream.number for stream in streams}) > 1:
        raise CouldNotRun("the streams of the connections have different numbers")
    return streams


async def _put(run: CaseRun, stream: Stream, data: bytes, what: str, on: str) -> None:
    """Write bytes on a stream, and wait until the target has read them."""
    await run.write_alone(stream, data, what, on)
    await check_echo(run, await lab_connection(run, on))


def _frames(run: CaseRun) -> list[bytes]:
    """Return a snapshot for each connection, with a key of its own."""
    specs = [FrameSpec(type="snapshot", document="base", key=key) for key in KEYS]
    return [run.composer.frame(spec) for spec in specs]


@beside_case(
    "MW-6840",
    "streams of two connections must both end at the deadline, while a third goes on",
    rules=("TR-025", "TR-012", "LV-009", "ER-017"),
    needs=("documents", "binding:tcp", "deadline:frame_stall_s"),
)
async def equal_streams_stall(run: CaseRun) -> None:
    """Streams of equal numbers have one deadline, which ends one of them or none."""
    await run.documents(BASE)
    bidi, uni = await _open_equal(run), await _open_equal(run, uni=True)
    frames = _frames(run)
    heartbeat = run.composer.heartbeat(FrameSpec(type="heartbeat"))
    for number, on in enumerate(PEERS):
        goes_on = on == "C"
        data = frames[number] if goes_on else frames[number][:BEGINNING]
        await _put(run, bidi[number], data, "bytes of a snapshot", on)
        data = heartbeat if goes_on else heartbeat[:MARKED]
        await _put(run, uni[number], data, "bytes of a heartbeat", on)
    await uni[-1].finish()
    await run.read(stored(run, key="$third"), "C")
    for on in PEERS[:-1]:
        for name in ("equal", "uni"):
            await run.refused(["frame-stall"], on, name, within="frame_stall_s")
    await run.barrier("C", "equal")


@beside_case(
    "MW-6841",
    "frames of three connections, cut into pieces that alternate, must be put together apart",
    rules=("TR-025", "ER-017"),
    level="wire",
)
async def equal_streams_in_turns(run: CaseRun) -> None:
    """Bytes of streams of equal numbers are put together across connections."""
    await _send_in_turns(run, PEERS)


@beside_case(
    "MW-6944",
    "frames of three connections of one endpoint id, cut into pieces, must be put together apart",
    rules=("TR-025", "ER-017"),
)
async def equal_streams_of_one_id_in_turns(run: CaseRun) -> None:
    """Bytes are put together by endpoint id and stream number."""
    await _send_in_turns(run, await _connect_of_one_id(run))


async def _send_in_turns(run: CaseRun, peers: Sequence[str]) -> None:
    """Send a snapshot over each connection, a piece of each in turn; all must take effect."""
    await run.documents(BASE)
    streams, frames = await _open_equal(run, peers), _frames(run)
    size = -(-max(map(len, frames)) // PIECES)
    for number in range(PIECES):
        for on, stream, frame in zip(peers, streams, frames, strict=True):
            piece = frame[number * size : (number + 1) * size]
            await _put(run, stream, piece, f"piece {number + 1} of {PIECES}", on)
    for on in peers:
        await run.barrier(on, "equal")
    for key in KEYS:
        await run.read(stored(run, key=key), peers[0])


@beside_case(
    "MW-6842",
    "a refused stream and a reset one must not end the stream of their number elsewhere",
    rules=("TR-025", "ER-016", "ER-017", "TR-014"),
)
async def equal_streams_end(run: CaseRun) -> None:
    """A stream is forgotten by its number when that of another connection is refused."""
    await _end_two(run, PEERS)


@beside_case(
    "MW-6945",
    "a refused stream and a reset one must not end the stream of their number and endpoint id",
    rules=("TR-025", "ER-016", "ER-017", "TR-014"),
)
async def equal_streams_of_one_id_end(run: CaseRun) -> None:
    """A stream is forgotten by endpoint id and number when that of another connection ends."""
    await _end_two(run, await _connect_of_one_id(run))


async def _end_two(run: CaseRun, peers: Sequence[str]) -> None:
    """Let the target refuse one stream, and reset another; a third must go on."""
    one, other, last = peers
    await run.documents(BASE)
    streams, frames = await _open_equal(run, peers), _frames(run)
    unknown = run.composer.frame(FrameSpec(type=0x0B, hex="2a", wrong=True))
    await _put(run, streams[2], frames[2][:-1], "all but the last byte of a snapshot", last)
    await _put(run, streams[1], frames[1][:-1], "all but the last byte of a snapshot", other)
    await run.write_alone(streams[0], unknown, "a frame of an unknown type", one)
    await run.refused(["unknown-type"], one, "equal")
    await streams[1].reset(RESET_CODE)
    run.ended(streams[1], f"RESET with {RESET_CODE}", other)
    # A barrier behind the RESET on the same connection says that it was processed.
    await send_snapshot(run, other, key="$key")
    await run.write_alone(streams[2], frames[2][-1:], "the last byte of a snapshot", last)
    await run.barrier(last, "equal")
    await run.read(stored(run, key="$third"), last)


@beside_case(
    "MW-6843",
    "runs of three connections on streams of one number must go on apart when one is given up",
    part="reconciliation",
    rules=("TR-025", "NG-016", "NG-014"),
    needs=("documents", "reconciliation"),
)
async def equal_runs(run: CaseRun) -> None:
    """A run is found by the number of its stream alone, so that a second first message ends it."""
    await _run_on_each(run, PEERS)


@beside_case(
    "MW-6943",
    "runs of three connections of one endpoint id must go on apart when one is given up",
    part="reconciliation",
    rules=("TR-025", "NG-016", "NG-014"),
    needs=("documents", "reconciliation"),
)
async def equal_runs_of_one_id(run: CaseRun) -> None:
    """A run is found by endpoint id and stream, so that a second first message ends it."""
    await _run_on_each(run, await _connect_of_one_id(run))


async def _run_on_each(run: CaseRun, peers: Sequence[str]) -> None:
    """Begin a run on each connection, and give up the first; the others must go on."""
    await _open_equal(run, peers)
    message = bytes.fromhex(EMPTY_RANGE)
    runs = [Conversation(run, on, "equal") for on in peers]
    for one in runs:
        await one.ask(message)
    stream = await runs[0].stream()
    await stream.reset(RESET_CODE)
    run.ended(stream, f"RESET with {RESET_CODE}", peers[0])
    await stream.wait_for(lambda: stream.read_over, run.deadline_s)
    for one in runs[1:]:
        await one.ask(message)
    for one in runs[1:]:
        await one.end()


@case(
    "MW-6844",
    "two connections without proof must both end at the deadline, while a third proves itself",
    part="handshake",
    rules=("TR-025", "HS-035", "ER-017"),
    needs=("accepts", "documents", "dialect:secret", "deadline:handshake_s"),
    isolation="peer",
    negative=True,
    control="MW-5601",
    let={"key": "tracks:$case"},
)
async def unproven_together(run: CaseRun) -> None:
    """All handshakes have one deadline, which a later one or a finished one takes away."""
    for on in UNPROVEN:
        await connect(run, on, ConnectSpec(handshake=False))
        await run_handshake(run, on, "hs", HandshakeSpec(answer="none", result="nothing"))
    await run.documents(BASE)
    await run.read(await send_snapshot(run, "C"), "C")
    for on in UNPROVEN:
        await run.closed(["handshake-timeout"], on, within="handshake_s")
    connection = await run.connection("C")
    if connection.closed is not None:
        raise CaseFailed("connection-lost", "the connection that had proven itself was ended")
    await run.read(stored(run), "C")
