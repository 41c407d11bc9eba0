"""Cases about the FIN of a half with, or after, the last bytes of the handshake.

A transport may report both at once, so that an acceptor has to look at the bytes first.
"""

from __future__ import annotations

from functools import partial

from meshwire_conformance.cases.planting import NOTHING
from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.errors import SuiteFault
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.connecting import connect, run_handshake
from meshwire_conformance.socket_suite.content import Wanted
from meshwire_conformance.socket_suite.evidence import CaseFailed
from meshwire_conformance.targets.handshake import HandshakeFailed, read_result, response_bytes
from meshwire_conformance.targets.transport import Stream
from meshwire_spec.numbers import RESULT_ACCEPTED, RESULT_REJECTED
from meshwire_spec.schemas.steps import ConnectSpec, HandshakeSpec

OPENS = HandshakeSpec(answer="none", result="nothing")
"""A handshake as far as the challenge."""
AFTER = b"\x5a"

last_case = partial(
    case, part="handshake", needs=("accepts", "documents", "dialect:secret"), isolation="peer"
)
"""Registers a case about a target that is dialled."""


async def _result_of(run: CaseRun, *, spoilt: int = 0, after: bytes = b"") -> int:
    """Send a response and FIN as one, and return the result; `spoilt` changes the response."""
    formation = run.session.target.formation
    if formation is None:
        raise SuiteFault(f"{run.case_id} needs a formation, which its `needs` does not list")
    await connect(run, "X", ConnectSpec(handshake=False))
    await run_handshake(run, "X", "hs", OPENS)
    response = response_bytes(formation.answer(run.nonces[-1]), formation.dialect)
    stream = await run.stream("X", "hs")
    data = response[:-1] + bytes((response[-1] ^ spoilt,)) + after
    # Nothing is sent in between, so that the FIN is on the record of the last byte.
    await run.write_alone(stream, data, "response, with FIN", "X")
    await stream.finish()
    run.ended(stream, "FIN", "X")
    try:
        return await read_result(stream, run.deadline_s)
    except HandshakeFailed as exc:
        raise CaseFailed("no-result", str(exc), missed=True) from exc


async def _is_accepted(run: CaseRun, after: bytes = b"") -> None:
    """Fail unless a right response that comes with FIN is accepted, and the target goes on."""
    if await _result_of(run, after=after) != RESULT_ACCEPTED:
        raise CaseFailed("rejected", "the response is right, and was rejected")
    await run.read(Wanted(f"notes:{run.scope.names['case']}", heads=NOTHING), "X")


@last_case(
    "MW-6941",
    "a right response that comes with FIN must be accepted",
    rules=("HS-046", "HS-032"),
)
async def right_response_with_fin(run: CaseRun) -> None:
    """The end of the half is looked at before the bytes that came with it."""
    await _is_accepted(run)


@last_case(
    "MW-6942",
    "a wrong response that comes with FIN must get the result 0 before the connection ends",
    rules=("HS-046", "HS-033", "HS-036"),
    negative=True,
    control="MW-5601",
)
async def wrong_response_with_fin(run: CaseRun) -> None:
    """The end of the half counts as too early, so that no result is sent."""
    result = await _result_of(run, spoilt=1)
    if result != RESULT_REJECTED:
        raise CaseFailed("accepted", "a response that proves nothing was accepted")
    await run.closed(["authentication-failed"], "X", within="verdict_linger_s")


@last_case(
    "MW-6949",
    "a right response with a byte after it, which comes with FIN, must be accepted",
    rules=("HS-046", "HS-047", "HS-032"),
)
async def longer_response_with_fin(run: CaseRun) -> None:
    """The end of the half, or the byte, ends a handshake that is over."""
    await _is_accepted(run, AFTER)


@last_case(
    "MW-6975",
    "the acceptor must finish its half after the result 0 too, before the connection ends",
    rules=("HS-042", "HS-033", "HS-036"),
    needs=("accepts", "dialect:secret"),
    negative=True,
    control="MW-5618",
)
async def end_of_a_rejection(run: CaseRun) -> None:
    """Only a handshake that has succeeded is ended, and another one is cut by the close."""
    await connect(run, "X", ConnectSpec(handshake=False))
    await run_handshake(run, "X", "hs", HandshakeSpec(answer="wrong", result="rejected"))
    stream = await run.stream("X", "hs")
    await stream.wait_for(lambda: stream.read_over, run.deadline_s)
    check_finished(stream)
    await run.closed(["authentication-failed"], "X", within="verdict_linger_s")


def check_finished(stream: Stream) -> None:
    """Fail unless the target has finished its half of a handshake that is over."""
    if not stream.finished:
        raise CaseFailed(
            "no-fin",
            "the target did not finish its half after the result",
            expected=("FIN",),
            received=("the end of the connection or a RESET" if stream.read_over else "nothing",),
            missed=not stream.read_over,
        )
