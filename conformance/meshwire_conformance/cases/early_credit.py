"""Cases about credit that comes before it is needed, for each kind of maximum.

It comes with the preamble, before a stream is used, or before there is anything to send. Lower
maxima follow the higher ones and must change nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from meshwire_conformance.cases.binding import NEEDS, lab_case
from meshwire_conformance.cases.planting import NOTHING, plant
from meshwire_conformance.socket_suite.calls import accept_call
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.connecting import (
    adopt_lab,
    check_echo,
    dial_raw,
    run_handshake,
)
from meshwire_conformance.socket_suite.content import Wanted
from meshwire_conformance.socket_suite.evidence import CaseFailed, NotApplicable
from meshwire_conformance.socket_suite.reconciling import take_answer
from meshwire_conformance.targets.lab import LabConnection
from meshwire_conformance.targets.lab_records import Preamble, Windows
from meshwire_conformance.targets.tcp import TcpConnection
from meshwire_conformance.targets.transport import Stream
from meshwire_spec.numbers import LabRecordType
from meshwire_spec.schemas.steps import FrameSpec, HandshakeSpec

ENOUGH_BYTES = 2**24
ENOUGH_STREAMS = 2**12
ANSWER_BYTES = 1026
"""Credit of one stream: the message of a reconciliation, or of a handshake, fits."""
LOWER = (3, 1, 0)
"""Maxima that follow a higher one."""
READS = 5
RUNS = 3
RUN = b"\x61"
"""A message of a reconciliation without ranges; its answer is the same."""


def _lower(lab: LabConnection, record_type: LabRecordType, stream: Stream | None = None) -> None:
    """Send maxima that are lower than the one before."""
    number = b"" if stream is None else stream.number.to_bytes(8, "big")
    for maximum in LOWER:
        lab.write_record(record_type, number + maximum.to_bytes(8, "big"))


async def _connection(
    run: CaseRun, windows: Windows, grant: Callable[[LabConnection], None]
) -> TcpConnection:
    """Return a connection before its handshake, to which `grant` gives credit at its beginning."""
    target = run.session.target
    if target.is_called and target.formation is not None:
        raise NotApplicable("the handshake of a target that dials needs credit of its own")
    peer = run.own_peer("A")
    dial = peer.dial()
    dial = replace(dial, preamble=Preamble(dial.identity, windows=windows))
    connection = await dial_raw(run, dial)
    peer.adopt(connection)
    grant(connection.lab)
    connection.flush()
    if not await connection.ready(run.deadline_s):
        run.check_connection(connection)
        raise CaseFailed("no-preamble", "no preamble came", missed=True)
    return connection


async def _prove(run: CaseRun) -> None:
    """Complete the handshake, if the target needs one."""
    if run.session.target.formation is not None:
        await run_handshake(run, "A", "hs", HandshakeSpec())


async def _reads(run: CaseRun, label: str) -> None:
    """Read some documents at the same time; each must be answered."""
    keys = [f"notes:{run.scope.names['case']}-{label}-{number}" for number in range(READS)]
    for key in keys:
        run.subscription(key)
        await run.send_read(key)
    for key in keys:
        await run.expect(Wanted(key, heads=NOTHING), "A")


async def _early(
    run: CaseRun,
    windows: Windows,
    grant: Callable[[LabConnection], None],
    record_type: LabRecordType,
) -> None:
    """Connect with no credit of one kind, grant it with the preamble, then lower it twice."""
    planted = await plant(run)

    def grant_and_lower(lab: LabConnection) -> None:
        grant(lab)
        _lower(lab, record_type)

    connection = await _connection(run, windows, grant_and_lower)
    await _prove(run)
    await run.read(planted)
    _lower(connection.lab, record_type)
    await _reads(run, "later")


@lab_case(
    "MW-6890",
    "a MAX_DATA that comes with the preamble must count, and lower ones after it must not",
    rules=("LB-043", "LB-040"),
    let={"key": "tracks:$case"},
)
async def early_data(run: CaseRun) -> None:
    """A maximum is kept only once bytes wait for it, or the last one counts."""
    grant = partial(LabConnection.allow_data, count=ENOUGH_BYTES)
    await _early(run, Windows(max_data=0, all_held=True), grant, LabRecordType.MAX_DATA)


@lab_case(
    "MW-6891",
    "a MAX_STREAM_DATA that opens its stream must count, and lower ones after it must not",
    rules=("LB-030", "LB-043", "LB-040"),
    needs=(*NEEDS, "reconciliation"),
)
async def early_stream_data(run: CaseRun) -> None:
    """The record opens a stream and raises nothing, or credit without bytes is forgotten."""
    windows = Windows(max_stream_data=0, held=True)
    connection = await _connection(run, windows, lambda _lab: None)
    names = [f"run {number}" for number in range(RUNS)]
    if run.session.target.formation is not None:
        names.insert(0, "hs")
    # Numbers are given here; the target sees a stream with the first record that names it.
    streams = [await run.open("A", name) for name in names]
    # The last but one opens the lower ones too.
    for stream in (streams[-2], *streams[:-2], streams[-1]):
        connection.lab.release(stream.number, ANSWER_BYTES)
        _lower(connection.lab, LabRecordType.MAX_STREAM_DATA, stream)
    connection.flush()
    await check_echo(run, connection)
    await _prove(run)
    for name in names[-RUNS:]:
        await run.send(FrameSpec(type="negentropy-init", hex=RUN.hex()), "A", name)
        await take_answer(run, await run.stream("A", name), RUN)


@lab_case(
    "MW-6892",
    "a MAX_STREAM_DATA that comes inside a message must count once that is to be answered",
    rules=("LB-043", "LB-040"),
    needs=(*NEEDS, "reconciliation"),
)
async def credit_within_a_message(run: CaseRun) -> None:
    """Credit counts only for a stream on which bytes wait, or for one that has sent some."""
    windows = Windows(max_stream_data=0, held=True)
    connection = await _connection(run, windows, lambda _lab: None)
    if run.session.target.formation is not None:
        stream = await run.open("A", "hs")
        connection.lab.release(stream.number, ANSWER_BYTES)
    await _prove(run)
    data = run.composer.frame(FrameSpec(type="negentropy-init", hex=RUN.hex()))
    for at in range(1, len(data), len(data) // RUNS):
        name = f"cut at {at}"
        stream = await run.open("A", name)
        await run.write(stream, data[:at], f"{at} bytes of a 0x08")
        connection.lab.release(stream.number, ANSWER_BYTES)
        _lower(connection.lab, LabRecordType.MAX_STREAM_DATA, stream)
        connection.flush()
        await check_echo(run, connection)
        await run.write(stream, data[at:], "the rest of it")
        await take_answer(run, stream, RUN)


@lab_case(
    "MW-6893",
    "a MAX_STREAMS_BIDI that comes with the preamble must count, and lower ones after it must not",
    rules=("LB-043", "LB-048"),
    let={"key": "tracks:$case"},
)
async def early_streams(run: CaseRun) -> None:
    """A maximum is kept only once a frame waits for a stream, or the last one counts."""
    grant = partial(LabConnection.allow_streams, count=ENOUGH_STREAMS)
    windows = Windows(max_streams_bidi=0, all_held=True)
    await _early(run, windows, grant, LabRecordType.MAX_STREAMS_BIDI)


@lab_case(
    "MW-6894",
    "a MAX_STREAMS_UNI must let heartbeats come, and lower ones after it change nothing",
    rules=("LB-043", "LB-048"),
    needs=("dials", "dialect:open", "binding:tcp"),
)
async def streams_for_heartbeats(run: CaseRun) -> None:
    """The credit of bidi streams is raised in place of that of uni streams."""
    connection = await accept_call(run, "A", windows=Windows(max_streams_uni=0))
    await check_echo(run, connection)
    connection.lab.allow_streams(ENOUGH_STREAMS, uni=True)
    _lower(connection.lab, LabRecordType.MAX_STREAMS_UNI)
    connection.flush()
    # A younger connection shows that the target sends heartbeats, and when one was due.
    younger = await adopt_lab(run, "younger", Windows())
    await younger.signal.wait_for(lambda: bool(_beats(younger)), run.deadline_s)
    if not _beats(younger):
        run.note("no heartbeat came within the deadline; when one is sent is the target's choice")
        return
    await connection.signal.wait_for(lambda: bool(_beats(connection)), run.deadline_s)
    run.check_connection(connection)
    if not _beats(connection):
        raise CaseFailed(
            "credit-unused",
            "a younger connection got a heartbeat, and one that was given uni streams later none",
            expected=("a heartbeat on each",),
            received=("nothing within the deadline",),
            missed=True,
        )


def _beats(connection: TcpConnection) -> list[Stream]:
    return [one for one in connection.streams.values() if one.uni and not one.ours]
