"""Cases about the proof of an acceptor: the handshake H1 once more, in reverse."""

from __future__ import annotations

import secrets
from dataclasses import replace
from functools import partial

from meshwire_conformance.cases.last_bytes import check_finished
from meshwire_conformance.cases.planting import NOTHING, plant, stored
from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.socket_suite.calls import Call, take_call
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.connecting import (
    check_formation,
    check_response,
    connect,
    run_handshake,
)
from meshwire_conformance.socket_suite.content import BASE, Wanted
from meshwire_conformance.socket_suite.evidence import CaseFailed
from meshwire_conformance.targets.handshake import (
    Gate,
    HandshakeFailed,
    challenge_bytes,
    first_bytes,
    give_proof,
    prove,
    read_challenge,
    read_formation_id,
    read_response,
    read_result,
    response_bytes,
)
from meshwire_conformance.targets.transport import Connection, Stream
from meshwire_spec.numbers import HMAC, NONCE, REASONS, RESULT_ACCEPTED, RESULT_REJECTED
from meshwire_spec.schemas.steps import ConnectSpec, FrameSpec, HandshakeSpec

ACCEPTS = ("accepts", "dialect:secret", "mutual-proof")
DIALS = ("documents", "dials", "dialect:secret", "mutual-proof")
SHUTDOWN = REASONS["shutdown"].code

acceptor_case = partial(case, part="handshake", needs=ACCEPTS, isolation="peer")
"""Registers a case about a target that has accepted the suite, and now proves itself."""
dialler_case = partial(
    case, part="handshake", needs=DIALS, isolation="peer", let={"key": "tracks:$case"}
)
"""Registers a case about a target that the suite has accepted, and that awaits a proof."""


# --- The target has accepted --------------------------------------------------------------------


async def _accepted(run: CaseRun) -> tuple[Connection, Stream]:
    """Prove the suite over a new connection; return it and the stream of the target's proof."""
    session, peer = run.session, run.own_peer("X")
    formation = session.target.formation
    assert formation is not None, "the needs of the case say so"
    gate = Gate(peer.dial())
    dial = replace(peer.dial(), on_stream=gate)
    connection = await session.target.dial(dial, run.deadline_s)
    peer.adopt(connection)
    try:
        await prove(connection, formation, run.deadline_s)
        stream = await gate.handshake_stream(connection, run.deadline_s)
        named = await read_formation_id(stream, run.deadline_s)
    except HandshakeFailed as exc:
        raise CaseFailed("no-proof", str(exc), missed=True) from exc
    check_formation(named, formation, "proof")
    return connection, stream


async def _challenge(run: CaseRun, stream: Stream, nonce: bytes) -> None:
    formation = run.session.target.formation
    assert formation is not None, "the needs of the case say so"
    await run.write(
        stream,
        challenge_bytes(formation.formation_id, nonce),
        "challenge",
        "X",
        kind="formation_challenge",
    )


def _end_of(stream: Stream) -> str:
    if stream.finished:
        return "FIN"
    return f"RESET {stream.reset_code}" if stream.read_over else "an open stream"


async def _goes_on(run: CaseRun) -> None:
    await run.read(Wanted(f"notes:{run.scope.names['case']}", heads=NOTHING), "X")


@acceptor_case(
    "MW-7150",
    "an acceptor must prove itself on its first bidi stream, after its result",
    rules=("HS-070", "HS-003"),
)
async def acceptor_proves_itself(run: CaseRun) -> None:
    """Every peer that has the address counts as a member of the formation."""
    _, stream = await _accepted(run)
    formation = run.session.target.formation
    assert formation is not None, "the needs of the case say so"
    nonce = secrets.token_bytes(NONCE)
    await _challenge(run, stream, nonce)
    try:
        response = await read_response(stream, run.deadline_s)
    except HandshakeFailed as exc:
        raise CaseFailed("no-response", str(exc), missed=True) from exc
    check_response(response, formation, nonce)
    await run.write(stream, bytes((RESULT_ACCEPTED,)), "result", "X", kind="formation_result")
    await stream.finish()
    await _goes_on(run)


@acceptor_case(
    "MW-7151",
    "a proof that nobody answers must end in a RESET with code 0, and the connection must go on",
    rules=("HS-075",),
    needs=(*ACCEPTS, "deadline:handshake_s"),
    serial=True,
)
async def proof_without_an_answer(run: CaseRun) -> None:
    """A deployed peer takes the proof for a frame, and loses a stream or its connection."""
    connection, stream = await _accepted(run)
    deadline_s = run.session.target.facts.deadlines["handshake_s"] + run.deadline_s
    await stream.wait_for(lambda: stream.read_over or connection.closed is not None, deadline_s)
    run.check_connection(connection)
    if stream.reset_code != SHUTDOWN:
        raise CaseFailed(
            "not-reset",
            "the stream of the proof was not reset",
            expected=(f"RESET {SHUTDOWN}",),
            received=(_end_of(stream),),
            missed=not stream.read_over,
        )
    await _goes_on(run)


@acceptor_case(
    "MW-7152",
    "a challenge of the target itself must not be answered in its proof",
    rules=("HS-066",),
    negative=True,
    control="MW-7150",
)
async def proof_of_own_challenge(run: CaseRun) -> None:
    """A peer without the secret has the node answer the challenge of the node."""
    await connect(run, "A", ConnectSpec(handshake=False))
    await run_handshake(run, "A", "hs", HandshakeSpec(answer="none", result="nothing"))
    connection, stream = await _accepted(run)
    await _challenge(run, stream, run.nonces[-1])
    await stream.wait_for(
        lambda: bool(stream.received) or stream.read_over or connection.closed is not None,
        run.deadline_s,
    )
    if stream.received or not stream.read_over:
        raise CaseFailed(
            "answered" if stream.received else "not-reset",
            "the target has not given its proof up",
            expected=("the end of the stream",),
            received=(stream.received.hex() or "an open stream",),
            missed=not stream.received,
        )


# --- The target has dialled ---------------------------------------------------------------------


async def _take_unproven(run: CaseRun) -> Call:
    """Give the target a document, take a call of it, and accept it without a proof."""
    await plant(run)
    call = await take_call(run)
    await call.accept()
    return call


async def _give_proof(call: Call) -> None:
    """Prove the suite to a target whose call it has accepted."""
    try:
        await give_proof(call.connection, call.formation, call.run.deadline_s)
    except HandshakeFailed as exc:
        raise CaseFailed("proof-refused", str(exc), missed=True) from exc


@dialler_case(
    "MW-7153",
    "an acceptor that does not prove itself must get no frame, and be refused at the deadline",
    rules=("HS-072", "HS-073"),
    needs=(*DIALS, "deadline:handshake_s"),
    serial=True,
    negative=True,
    control="MW-7154",
)
async def acceptor_without_a_proof(run: CaseRun) -> None:
    """A peer that accepts every response gets the whole store."""
    call = await _take_unproven(run)
    run.watch(run.scope.names["key"], "A")
    await call.check_echo()
    if call.gate.early:
        raise CaseFailed("too-early", "the target opened a stream before it had a proof")
    await run.closed(["handshake-timeout"], within="handshake_s")


@dialler_case(
    "MW-7154",
    "an acceptor that proves itself must get what the target holds",
    rules=("HS-071",),
)
async def acceptor_with_a_proof(run: CaseRun) -> None:
    """The proof is read as a frame, and the connection waits for the rest of it."""
    call = await _take_unproven(run)
    await _give_proof(call)
    await run.expect(stored(run), "A")


@dialler_case(
    "MW-7155",
    "an acceptor whose proof is wrong must get the result 0, and be refused",
    rules=("HS-074",),
    negative=True,
    control="MW-7154",
)
async def acceptor_with_a_wrong_proof(run: CaseRun) -> None:
    """The response of an acceptor is not compared."""
    call = await _take_unproven(run)
    run.watch(run.scope.names["key"], "A")
    stream = await call.connection.open()
    name = call.formation.formation_id
    await run.write(stream, first_bytes(name), "first message", "A", kind="formation_id")
    try:
        await read_challenge(stream, run.deadline_s)
        wrong = response_bytes(bytes(HMAC))
        await run.write(stream, wrong, "wrong answer", "A", kind="formation_response")
        result = await read_result(stream, run.deadline_s)
    except HandshakeFailed as exc:
        raise CaseFailed("no-result", str(exc), missed=True) from exc
    if result != RESULT_REJECTED:
        raise CaseFailed("accepted", "a wrong proof has the result 1")
    await run.closed(["authentication-failed"])


@dialler_case(
    "MW-7156",
    "an acceptor that begins with a frame must be refused, and the frame must have no effect",
    rules=("HS-072", "HS-078"),
    negative=True,
    control="MW-7154",
)
async def acceptor_that_begins_with_a_frame(run: CaseRun) -> None:
    """Frames of an acceptor take effect before its proof."""
    await run.documents(BASE)
    call = await take_call(run)
    await call.accept()
    await run.send(FrameSpec(type="snapshot", document="base"), "A", "first")
    await run.closed(["authentication-failed"])
    again = await take_call(run, "again")
    await again.accept()
    await _give_proof(again)
    await run.read(Wanted(run.scope.names["key"], heads=NOTHING), "again")


async def _begin_proof(run: CaseRun) -> tuple[Call, Stream, bytes]:
    """Accept a call of the target and begin the proof; return both, and the nonce of the proof."""
    call = await take_call(run)
    await call.accept()
    stream = await call.connection.open()
    name = call.formation.formation_id
    await run.write(stream, first_bytes(name), "first message", "A", kind="formation_id")
    try:
        _, nonce = await read_challenge(stream, run.deadline_s)
    except HandshakeFailed as exc:
        raise CaseFailed("no-challenge", str(exc), missed=True) from exc
    return call, stream, nonce


@dialler_case(
    "MW-7157",
    "an acceptor that ends its proof before the response must be refused at once",
    rules=("HS-078",),
    needs=DIALS[1:],
    let={},
    negative=True,
    control="MW-7154",
)
async def proof_that_ends_early(run: CaseRun) -> None:
    """The end of the stream leaves the node waiting up to its deadline."""
    _, stream, _ = await _begin_proof(run)
    await stream.finish()
    await run.closed(["authentication-failed"])


@dialler_case(
    "MW-7158",
    "an acceptor whose response does not come must be refused at the deadline",
    rules=("HS-073",),
    needs=(*DIALS[1:], "deadline:handshake_s"),
    let={},
    serial=True,
    negative=True,
    control="MW-7154",
)
async def proof_without_a_response(run: CaseRun) -> None:
    """A proof that has begun is waited for without end."""
    await _begin_proof(run)
    await run.closed(["handshake-timeout"], within="handshake_s")


@dialler_case(
    "MW-6976",
    "the challenge of a target in a proof must not be answered by it over another connection",
    rules=("HS-066",),
    needs=DIALS[1:],
    let={},
    negative=True,
    control="MW-6977",
)
async def challenge_of_a_proof(run: CaseRun) -> None:
    """An acceptor without the secret has the node prove it, over a second call of the node."""
    call, stream, nonce = await _begin_proof(run)
    again = await take_call(run, "again")
    await again.take_first()
    await again.send_challenge(nonce=nonce)
    await again.check_abandoned()
    # The challenge itself stays good for a member.
    await _end_proof(run, call, stream, nonce, RESULT_ACCEPTED)


@dialler_case(
    "MW-6977",
    "the target must finish its half of a proof after each result",
    rules=("HS-042", "HS-071", "HS-074"),
    needs=DIALS[1:],
    let={},
)
async def ends_of_proofs(run: CaseRun) -> None:
    """The half is left open, or ends with the connection alone."""
    for result in (RESULT_ACCEPTED, RESULT_REJECTED):
        call, stream, nonce = await _begin_proof(run)
        await _end_proof(run, call, stream, nonce, result)
        await call.connection.close()


async def _end_proof(run: CaseRun, call: Call, stream: Stream, nonce: bytes, result: int) -> None:
    """Answer the challenge of a proof; fail unless this result comes, and FIN after it."""
    right = call.formation.answer(nonce)
    data = response_bytes(right if result == RESULT_ACCEPTED else bytes(HMAC))
    await run.write(stream, data, "response", "A", kind="formation_response")
    try:
        got = await read_result(stream, run.deadline_s)
    except HandshakeFailed as exc:
        raise CaseFailed("no-result", str(exc), missed=True) from exc
    if got != result:
        raise CaseFailed("wrong-result", f"the result of the proof is {got}")
    await stream.wait_for(lambda: stream.read_over, run.deadline_s)
    check_finished(stream)
