"""Cases about streams and ends of streams in each state of the handshake of a target that dials."""

from __future__ import annotations

from meshwire_conformance.cases.dialling import PROVES, dialler_case
from meshwire_conformance.cases.planting import NOTHING, stored
from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.socket_suite.calls import accept_call, take_call
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.content import BASE, Wanted
from meshwire_conformance.socket_suite.evidence import CaseFailed
from meshwire_conformance.targets.lab_records import record
from meshwire_conformance.targets.transport import Stream
from meshwire_spec.numbers import RESULT_ACCEPTED, LabRecordType
from meshwire_spec.schemas.steps import FrameSpec

NO_HEARTBEAT = bytes.fromhex("020000018bcfe56802")
"""Nine bytes whose first is not the marker of a heartbeat."""


@dialler_case(
    "MW-6410",
    "a STOP of the initiator's half, and a RESET after the result, must end nothing",
    rules=("HS-057",),
    needs=(*PROVES, "binding:tcp"),
    let={"key": "notes:$case"},
)
async def late_ends(run: CaseRun) -> None:
    """A node loses its connections to every acceptor that drops the half which it has read."""
    call = await take_call(run)
    await call.take_proof()
    stream = await call.stream()
    await stream.stop(0)
    run.ended(stream, "STOP with 0")
    await call.check_echo()
    await call.send_result(RESULT_ACCEPTED)
    await call.check_echo()
    await stream.reset(258)
    run.ended(stream, "RESET with 258")
    # The half that this STOP names has ended with the result.
    body = stream.number.to_bytes(8, "big") + (258).to_bytes(8, "big")
    await call.lab.raw(record(LabRecordType.STOP, body))
    await run.read(Wanted(run.scope.names["key"], heads=NOTHING))


@dialler_case(
    "MW-6411",
    "streams that come before the challenge and before the result must be read after it",
    rules=("TR-002", "LV-002"),
    needs=(*PROVES, "documents"),
    negative=True,
    control="MW-6031",
    let={"key": "tracks:$case"},
)
async def streams_in_each_state(run: CaseRun) -> None:
    """Streams are dropped in one state of the handshake, or are read before its end."""
    await run.documents(BASE)
    call = await take_call(run)
    await call.take_first()
    await run.send(FrameSpec(type="snapshot", document="base"), "A", "early")
    await _open_uni(run, "first")
    await call.check_echo()
    await call.take_response(await call.send_challenge())
    await _open_uni(run, "second")
    await call.check_echo()
    await call.send_result(RESULT_ACCEPTED)
    for name in ("first", "second"):
        await run.refused(["bad-marker"], "A", name)
    await run.barrier("A", "early")
    await run.read(stored(run), "B")


async def _open_uni(run: CaseRun, name: str) -> Stream:
    """Open a uni stream with bytes that are no heartbeat."""
    stream = await run.open("A", name, uni=True)
    await run.write(stream, NO_HEARTBEAT, "a heartbeat with the marker 0x02", kind="heartbeat")
    return stream


@case(
    "MW-6508",
    "a heartbeat of the target must come on a uni stream that ends after it",
    part="liveness",
    rules=("LV-001",),
    level="wire",
    needs=("dials", "dialect:open", "binding:tcp"),
    isolation="peer",
)
async def own_heartbeat(run: CaseRun) -> None:
    """The stream stays open, so that heartbeats end with the credit for streams."""
    connection = await accept_call(run, "A")

    def beats() -> list[Stream]:
        streams = connection.streams.values()
        return [stream for stream in streams if stream.uni and not stream.ours]

    await connection.signal.wait_for(lambda: bool(beats()), run.deadline_s)
    run.check_connection(connection)
    if not beats():
        run.note("no heartbeat came within the deadline; when one is sent is the target's choice")
        return
    stream = beats()[0]
    await stream.wait_for(lambda: stream.read_over, run.deadline_s)
    if not stream.finished:
        raise CaseFailed(
            "no-fin",
            "the stream of a heartbeat did not end",
            expected=("FIN after nine bytes",),
            received=(f"{len(stream.received)} bytes",),
            missed=True,
        )
