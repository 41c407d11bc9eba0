"""Cases about dialect H2 of the handshake, and about nodes that know both dialects.

Those about the redial of a target take its calls until one is in the other dialect.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from meshwire_conformance.cases.dialling import (
    PROVES,
    WAITS,
    dialler_case,
    is_served,
    spoiled_case,
    waits_for_a_challenge,
)
from meshwire_conformance.cases.planting import NOTHING
from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.errors import SuiteFault
from meshwire_conformance.socket_suite.calls import Call, take_call, take_call_in_other_dialect
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.connecting import check_echo, connect, run_handshake
from meshwire_conformance.socket_suite.content import Wanted
from meshwire_conformance.socket_suite.evidence import CaseFailed
from meshwire_conformance.targets.handshake import (
    OTHER,
    RESPONSES,
    HandshakeFailed,
    challenge_bytes,
    read_result,
    response_bytes,
)
from meshwire_conformance.targets.tcp import TcpConnection
from meshwire_spec.numbers import HMAC, NONCE, REASONS, RESPONSE_H2_MAX, RESULT_ACCEPTED
from meshwire_spec.schemas.steps import ConnectSpec, HandshakeSpec

EXTRA = bytes.fromhex("5aa55ac3")
"""Bytes inside the length of a response, after its HMAC."""
REJECTED = REASONS["authentication-failed"].code
OPENS = HandshakeSpec(answer="none", result="nothing")
"""A handshake as far as the challenge."""

acceptor_case = partial(
    case, part="handshake", level="wire", needs=("accepts", "dialect:H2"), isolation="peer"
)
"""Registers a case about a target of H2 that is dialled."""
redial_case = partial(dialler_case, needs=(*PROVES, "detection"))
"""Registers a case about a target that dials again in the other dialect."""


# --- H2 ----------------------------------------------------------------------------------------


async def _is_accepted(run: CaseRun, data: bytes, *, piece: int) -> None:
    """Send a response in pieces; raises CaseFailed unless it is accepted."""
    stream = await run.stream("X", "hs")
    for at in range(0, len(data), piece):
        kind = RESPONSES["H2"] if piece >= len(data) else ""
        await run.write(stream, data[at : at + piece], "response", "X", kind=kind)
        if isinstance(stream.connection, TcpConnection):
            # The target has read this piece before it gets the next one.
            await check_echo(run, stream.connection)
    try:
        result = await read_result(stream, run.deadline_s)
    except HandshakeFailed as exc:
        raise CaseFailed("no-result", str(exc), missed=True) from exc
    if result != RESULT_ACCEPTED:
        raise CaseFailed("rejected", "the response is right, and was rejected")
    await run.read(Wanted(f"notes:{run.scope.names['case']}", heads=NOTHING), "X")


async def _right_response(run: CaseRun) -> bytes:
    """Begin a handshake on a connection of its own, and return the right response."""
    formation = run.session.target.formation
    if formation is None:
        raise SuiteFault(f"{run.case_id} needs a formation, which its `needs` does not list")
    await connect(run, "X", ConnectSpec(handshake=False))
    await run_handshake(run, "X", "hs", OPENS)
    return response_bytes(formation.answer(run.nonces[-1]), "H2")


@acceptor_case(
    "MW-6612",
    "a response in H2 that comes in pieces of three bytes must be accepted once it is whole",
    rules=("HS-032", "HS-010"),
)
async def response_in_pieces(run: CaseRun) -> None:
    """What one read returns is taken for the whole response."""
    await _is_accepted(run, await _right_response(run), piece=3)


@acceptor_case(
    "MW-6613",
    "a response in H2 with bytes after its HMAC, inside its length, must be accepted",
    rules=("HS-032", "HS-016"),
)
async def response_with_extra(run: CaseRun) -> None:
    """The length of a response has to be 32, or these bytes are read as those after it."""
    response = await _right_response(run)
    size = len(response) - 4 + len(EXTRA)
    data = size.to_bytes(4, "little") + response[4:] + EXTRA
    await _is_accepted(run, data, piece=len(data))


async def _is_refused(run: CaseRun, size: int) -> None:
    """Send a right response cut or continued to a size; raises CaseFailed unless it is refused."""
    code = (await _right_response(run))[4:]
    data = (code + bytes(size))[:size]
    stream = await run.stream("X", "hs")
    await run.write(stream, size.to_bytes(4, "little") + data, f"response of {size} bytes", "X")
    await run.closed(["length-limit", "authentication-failed"], "X")
    if stream.received == bytes((RESULT_ACCEPTED,)):
        raise CaseFailed("accepted", f"a response of {size} bytes was accepted")


refused_case = partial(acceptor_case, level="strict", negative=True, control="MW-6600")
"""Registers a case about a response that a target of H2 must refuse."""


@refused_case(
    "MW-6606",
    "a right response without its last byte, after a length of 31",
    rules=("HS-015", "HS-040"),
)
async def short_response(run: CaseRun) -> None:
    """A response is compared as far as it goes."""
    await _is_refused(run, HMAC - 1)


@refused_case(
    "MW-6607",
    "a right response continued to 257 bytes, after that length",
    rules=("HS-015", "HS-040"),
)
async def long_response(run: CaseRun) -> None:
    """The length of a response has no bound, and an unproven peer makes the node keep bytes."""
    await _is_refused(run, RESPONSE_H2_MAX + 1)


@dialler_case(
    "MW-6630",
    "the first message of a target that dials in H2 must be the version byte, and nothing else",
    rules=("HS-059", "HS-010"),
    level="wire",
    needs=("dials", "dialect:H2"),
)
async def writes_its_version_first(run: CaseRun) -> None:
    """A connector waits for the challenge, or sends what follows it with the version."""
    await waits_for_a_challenge(run, "the version byte")


@spoiled_case(
    "MW-6631",
    "a challenge in H2 whose length exceeds 1024 must end the connection",
    rules=("HS-014",),
    level="wire",
    needs=("dials", "dialect:H2"),
)
async def long_challenge(run: CaseRun) -> None:
    """The length of a challenge has no bound."""
    call = await take_call(run)
    await call.take_first()
    await call.write((1025).to_bytes(4, "little"), "a length of 1025")
    await call.check_abandoned()


# --- The other dialect -------------------------------------------------------------------------


async def _dials_in_other(run: CaseRun, take_own: Callable[[Call], Awaitable[None]]) -> None:
    """Take a call in the other dialect, complete its handshake, and read over it."""
    call = await take_call_in_other_dialect(run, "other", take_own)
    await call.accept()
    await run.read(Wanted(f"notes:{run.scope.names['case']}-none", heads=NOTHING), "other")


async def _reject_version(call: Call) -> None:
    await call.take_first()
    await call.connection.close(REJECTED, "unsupported version")


async def _challenge_otherwise(call: Call) -> None:
    await call.take_first()
    other = OTHER[call.dialect]
    data = challenge_bytes(call.formation.formation_id, bytes(range(NONCE)), other)
    await call.write(data, f"a challenge of {other}")
    await call.check_abandoned()


async def _close(call: Call) -> None:
    await call.connection.close()


@redial_case(
    "MW-6640",
    "after a close with code 1 before the challenge the target must dial in the other dialect",
    rules=("HS-065", "HS-051"),
)
async def other_after_a_close(run: CaseRun) -> None:
    """A node of one dialect is dialled again and again in the other one."""
    await _dials_in_other(run, _reject_version)


@redial_case(
    "MW-6641",
    "a challenge of the other dialect must not be answered, and be followed by a dial in that one",
    rules=("HS-065",),
)
async def other_after_its_challenge(run: CaseRun) -> None:
    """The rest of a challenge is waited for that is whole in the other dialect."""
    await _dials_in_other(run, _challenge_otherwise)


@redial_case(
    "MW-6642",
    "a target that has no byte of a challenge at its deadline must dial in the other dialect",
    rules=("HS-065", "HS-056"),
    needs=(*WAITS, "detection"),
    serial=True,
)
async def other_after_silence(run: CaseRun) -> None:
    """An acceptor that waits for the rest of a length is always dialled in the same way."""
    call = await take_call(run)
    await call.take_first()
    await run.closed(["handshake-timeout"], within="handshake_s")
    await _dials_in_other(run, _close)


# --- Reflection --------------------------------------------------------------------------------


async def _challenge_of_target(run: CaseRun) -> bytes:
    """Dial the target and return the nonce of its challenge, which stays without an answer."""
    await connect(run, "X", ConnectSpec(handshake=False))
    await run_handshake(run, "X", "hs", OPENS)
    return run.nonces[-1]


async def _reflected(run: CaseRun) -> Call:
    call = await take_call(run)
    await call.take_first()
    await call.send_challenge(nonce=await _challenge_of_target(run))
    return call


@spoiled_case(
    "MW-6650",
    "the target's own challenge must not be answered by it over a connection that it has dialled",
    rules=("HS-066",),
    needs=("accepts", *PROVES),
)
async def own_challenge(run: CaseRun) -> None:
    """A peer without the secret has the node answer the challenge of the node."""
    call = await _reflected(run)
    await call.check_abandoned()
    # The challenge itself stays good for a member.
    await run_handshake(run, "X", "hs", HandshakeSpec(resume=True))
    await is_served(run)
