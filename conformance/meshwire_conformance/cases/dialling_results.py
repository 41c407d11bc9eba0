"""Cases about what follows the response of a target that dials: the result, or a rejection.

Some cases send frames before the result, and one sends a frame after it on the same stream.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from meshwire_conformance.cases.dialling import PROVES, dialler_case, is_served
from meshwire_conformance.cases.planting import NOTHING, plant, stored
from meshwire_conformance.socket_suite.calls import Call, take_call
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.content import BASE, Wanted
from meshwire_conformance.socket_suite.evidence import CaseFailed
from meshwire_conformance.socket_suite.reconciling import EMPTY_RANGE, take_answer
from meshwire_conformance.targets.transport import Stream
from meshwire_spec.numbers import RESULT_ACCEPTED, RESULT_REJECTED, FrameType
from meshwire_spec.schemas.steps import FrameSpec

PLANTS = ("documents", *PROVES)
LET = {"key": "tracks:$case"}
PEAT_REJECTS = 1
"""Code with which deployed acceptors close a connection that they reject (HS-051)."""

planted_case = partial(dialler_case, needs=PLANTS, let=LET)
"""Registers a case with a document of its own."""


def _rejected_by(case_id: str, rules: tuple[str, ...], result: int) -> None:
    """Register a case with a result that rejects the target (HS-018)."""

    async def is_rejected(run: CaseRun) -> None:
        await plant(run)
        call = await take_call(run)
        await call.take_proof()
        await call.send_result(result)
        await call.finish()
        run.watch(run.scope.names["key"], "A")
        if call.connection.closed is None:
            await run.send_read(run.scope.names["key"])
        await is_served(run)

    is_rejected.__doc__ = "A result other than 1 counts as accepted, or the node dials no more."
    title = f"after the result {result} the target must send no frame, and may dial again"
    planted_case(case_id, title, rules=rules)(is_rejected)


_rejected_by("MW-6025", ("HS-018", "HS-037", "HS-044"), RESULT_REJECTED)
_rejected_by("MW-6026", ("HS-018", "HS-037", "HS-044"), RESULT_ACCEPTED + 1)
_rejected_by("MW-6027", ("HS-018", "HS-037", "HS-044"), 0xFF)


async def _close_at_once(call: Call) -> None:
    await call.take_first()
    await call.connection.close(PEAT_REJECTS, "rejected")


async def _close_before_result(call: Call) -> None:
    await call.take_proof()
    await call.connection.close(PEAT_REJECTS, "rejected")


def _closed_by(
    case_id: str, title: str, rules: tuple[str, ...], close: Callable[[Call], Awaitable[None]]
) -> None:
    """Register a case in which the suite rejects the target as deployed acceptors do (HS-051)."""

    async def is_closed(run: CaseRun) -> None:
        call = await take_call(run)
        await close(call)
        await is_served(run)

    is_closed.__doc__ = "A close in place of the result ends the node, or it never dials again."
    dialler_case(case_id, title, rules=rules, level="wire")(is_closed)


_closed_by(
    "MW-6028",
    "a close with code 1 before the challenge must be a rejection",
    ("HS-051", "HS-044"),
    _close_at_once,
)
_closed_by(
    "MW-6029",
    "a close with code 1 before the result must be a rejection",
    ("HS-051", "HS-044"),
    _close_before_result,
)


# --- Frames about the time of the result --------------------------------------------------------


@planted_case(
    "MW-6030",
    "a target that dials must send no frame before it has the result",
    rules=("HS-037",),
)
async def no_frame_before_the_result(run: CaseRun) -> None:
    """The side that dials counts as proven at once, and offers its documents."""
    await plant(run)
    call = await take_call(run)
    await call.take_first()
    await call.check_echo()
    await call.take_response(await call.send_challenge())
    await call.check_echo()
    if call.gate.early:
        raise CaseFailed(
            "too-early",
            "the target opened a stream before it had the result",
            expected=("the stream of the handshake alone",),
            received=(f"{call.gate.early} streams more",),
        )
    await call.send_result(RESULT_ACCEPTED)
    await run.expect(stored(run), "A")


async def _send_early(run: CaseRun, spec: FrameSpec) -> tuple[Call, bytes, Stream]:
    """Send a challenge, then a frame on a new stream; return call, nonce and that stream."""
    call = await take_call(run)
    await call.take_first()
    nonce = await call.send_challenge()
    return call, nonce, await run.send(spec, "A", "early")


@planted_case(
    "MW-6031",
    "a frame that came before the result 1 must take effect",
    rules=("TR-002",),
)
async def frame_before_acceptance(run: CaseRun) -> None:
    """Streams that were opened before the result are refused, or never read."""
    await run.documents(BASE)
    call, nonce, _ = await _send_early(run, FrameSpec(type="snapshot", document="base"))
    await call.take_response(nonce)
    await call.send_result(RESULT_ACCEPTED)
    await run.barrier("A", "early")
    await run.read(stored(run), "B")


@planted_case(
    "MW-6032",
    "a frame that came before the result 0 must have no effect",
    rules=("HS-037",),
    negative=True,
    control="MW-6031",
)
async def frame_before_rejection(run: CaseRun) -> None:
    """The side that dials reads streams before it is accepted."""
    await run.documents(BASE)
    call, nonce, stream = await _send_early(run, FrameSpec(type="snapshot", document="base"))
    await stream.finish()
    await call.take_response(nonce)
    await call.check_echo()
    if stream.finished:
        raise CaseFailed("too-early", "the barrier of a stream came before the result")
    await call.send_result(RESULT_REJECTED)
    await call.connection.close()
    await run.read(Wanted(run.scope.names["key"], heads=NOTHING), "B")


async def _accept_after(run: CaseRun, spec: FrameSpec) -> None:
    """Send a frame, then complete the handshake once the target has received that frame."""
    call, nonce, _ = await _send_early(run, spec)
    await call.take_response(nonce)
    await call.check_echo()
    await call.send_result(RESULT_ACCEPTED)


@dialler_case(
    "MW-6037",
    "a read of a deleted document that came before the result 1 must be answered after it",
    rules=("TR-002", "DC-005"),
    let={"key": "nodes:$case"},
)
async def early_read(run: CaseRun) -> None:
    """Answers that are due at the moment of the result are dropped."""
    await run.send(FrameSpec(type="tombstone", reason="gone"), "B")
    await run.barrier("B")
    key = run.scope.names["key"]
    await _accept_after(run, FrameSpec(type="delta"))
    await run.barrier("A", "early")
    # Once as an offer, and once as the answer.
    first = await run.expect(Wanted(key, type=FrameType.TOMBSTONE), "A")
    after = run.subscription(key).arrivals.index(first) + 1
    await run.expect(Wanted(key, type=FrameType.TOMBSTONE), "A", after=after)


@dialler_case(
    "MW-6038",
    "a reconciliation that began before the result 1 must be answered after it",
    rules=("TR-002", "NG-014"),
    needs=(*PROVES, "reconciliation"),
)
async def early_run(run: CaseRun) -> None:
    """Answers that are due at the moment of the result are dropped."""
    await _accept_after(run, FrameSpec(type="negentropy-init", hex=EMPTY_RANGE))
    await take_answer(run, await run.stream("A", "early"), bytes.fromhex(EMPTY_RANGE))
    await run.barrier("A", "early")


@planted_case(
    "MW-6039",
    "a frame after the result 1 on the handshake stream must have no effect, and end nothing",
    rules=("HS-055",),
    negative=True,
    control="MW-6031",
)
async def bytes_after_the_result(run: CaseRun) -> None:
    """The stream of the handshake becomes one of frames, or the connection is closed."""
    await run.documents(BASE)
    call = await take_call(run)
    await call.take_proof()
    call.gate.admitted = True
    frame = run.composer.frame(FrameSpec(type="snapshot", document="base"))
    await call.write(bytes((RESULT_ACCEPTED,)) + frame, "result 1 and a frame")
    await call.finish()
    await run.read(Wanted(f"notes:{run.scope.names['case']}", heads=NOTHING))
    await run.read(Wanted(run.scope.names["key"], heads=NOTHING), "B")
