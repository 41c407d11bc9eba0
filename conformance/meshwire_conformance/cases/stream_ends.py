"""Cases about the credit for streams that end in each way in which their sender can end them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from meshwire_conformance.cases.planting import send_snapshot
from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.connecting import check_echo, lab_connection
from meshwire_conformance.socket_suite.content import BASE
from meshwire_conformance.socket_suite.evidence import CaseFailed
from meshwire_conformance.targets.transport import Stream
from meshwire_spec.schemas.steps import FrameSpec

GRANTED_MAX = 256
"""Greatest number of streams at once that these cases use up."""
CUT = 20
RESET_CODE = 258
UNKNOWN = 0x0B
"""A frame type that no registry has."""

End = Callable[[CaseRun, Stream], Awaitable[None]]
"""Ends a stream of the suite, which is open and on which nothing was sent."""


async def _reset(run: CaseRun, stream: Stream) -> None:
    await stream.reset(RESET_CODE)
    run.ended(stream, f"RESET with {RESET_CODE}")


def _heartbeat(run: CaseRun) -> bytes:
    return run.composer.heartbeat(FrameSpec(type="heartbeat"))


def _ignored(run: CaseRun) -> bytes:
    return run.composer.frame(FrameSpec(type="windowed-history", hex="5a" * CUT))


def _after(make: Callable[[CaseRun], bytes], end: End) -> End:
    """Return the end of a stream that comes after some bytes."""

    async def write_and_end(run: CaseRun, stream: Stream) -> None:
        data = make(run)
        await run.write_alone(stream, data, f"{len(data)} bytes")
        await end(run, stream)

    return write_and_end


async def _finish(run: CaseRun, stream: Stream) -> None:
    await stream.finish()
    run.ended(stream, "FIN")


async def _await_refusal(run: CaseRun, stream: Stream) -> None:
    """Wait until the target stops the stream, then reset it, as a stopped sender does."""
    await stream.wait_for(lambda: stream.stop_code is not None, run.deadline_s)
    run.check_connection(stream.connection)
    if stream.stop_code is None:
        raise CaseFailed("no-refusal", "a fault on a stream was not refused", missed=True)
    await stream.reset(0)


async def _await_fin(run: CaseRun, stream: Stream) -> None:
    await _finish(run, stream)
    await run.wait_finished(stream)


async def _await_reset(run: CaseRun, stream: Stream) -> None:
    await _reset(run, stream)
    await stream.wait_for(lambda: stream.read_over, run.deadline_s)


UNI: Mapping[str, End] = {
    "FIN behind a heartbeat": _after(_heartbeat, _finish),
    "FIN behind a heartbeat and further bytes": _after(
        lambda run: _heartbeat(run) + bytes(CUT), _finish
    ),
    "FIN alone": _finish,
    "FIN inside a heartbeat": _after(lambda run: _heartbeat(run)[:-1], _finish),
    "RESET alone": _reset,
    "RESET inside a heartbeat": _after(lambda run: _heartbeat(run)[:-1], _reset),
    "RESET behind a heartbeat": _after(_heartbeat, _reset),
    "RESET after a refusal": _after(lambda _run: b"\x02", _await_refusal),
}
"""Ways in which a uni stream ends."""
BIDI: Mapping[str, End] = {
    "FIN alone": _await_fin,
    "FIN behind a frame": _after(_ignored, _await_fin),
    "RESET alone": _await_reset,
    "RESET inside a frame": _after(lambda run: _ignored(run)[:-1], _await_reset),
    "RESET behind a frame": _after(_ignored, _await_reset),
    "RESET after a refusal": _after(
        lambda run: run.composer.frame(FrameSpec(type=UNKNOWN, hex="2a", wrong=True)),
        _await_refusal,
    ),
}
"""Ways in which a bidi stream ends."""


async def _use_up(run: CaseRun, ends: Mapping[str, End], *, uni: bool) -> None:
    """End more streams in each way than the target grants at once; a document must still pass."""
    await run.documents(BASE)
    connection = await lab_connection(run, "A")
    assert connection.lab.peer is not None, "the preambles were exchanged"
    windows = connection.lab.peer.windows
    granted = windows.max_streams_uni if uni else windows.max_streams_bidi
    if granted > GRANTED_MAX:
        run.note(f"the target grants {granted} streams at once: they were not used up")
        return
    for how, end in ends.items():
        for number in range(granted + 1):
            stream = await run.open("A", f"{how} {number}", uni=uni)
            await end(run, stream)
        await check_echo(run, connection)
    await run.read(await send_snapshot(run, "A"), "A")


@case(
    "MW-6958",
    "uni streams must give their credit back however they end",
    part="lab-binding",
    rules=("LB-046", "TR-003"),
    needs=("documents", "binding:tcp"),
    isolation="peer",
    let={"key": "notes:$case"},
)
async def ends_of_uni_streams(run: CaseRun) -> None:
    """A stream that was cut off or refused counts as open for ever."""
    await _use_up(run, UNI, uni=True)


@case(
    "MW-6959",
    "bidi streams must give their credit back however they end",
    part="lab-binding",
    rules=("LB-046", "TR-024", "ER-011"),
    needs=("documents", "binding:tcp"),
    isolation="peer",
    let={"key": "notes:$case"},
)
async def ends_of_bidi_streams(run: CaseRun) -> None:
    """A stream that was cut off or refused counts as open for ever."""
    await _use_up(run, BIDI, uni=False)
