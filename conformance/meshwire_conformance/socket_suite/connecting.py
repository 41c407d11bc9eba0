"""Connections of a single case: wrong preambles, wrong handshakes, hand-written records."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from meshwire_conformance.errors import SuiteFault
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.case_streams import no_connection
from meshwire_conformance.socket_suite.evidence import CaseFailed, NotApplicable, Sending
from meshwire_conformance.targets.handshake import (
    EARLY,
    FIRSTS,
    H2,
    OTHER,
    RESPONSES,
    Formation,
    HandshakeFailed,
    first_bytes,
    read_challenge,
    read_result,
    response_bytes,
)
from meshwire_conformance.targets.lab_records import Preamble, Windows, record
from meshwire_conformance.targets.listening import Listener
from meshwire_conformance.targets.tcp import TcpConnection, TcpDialler
from meshwire_conformance.targets.transport import Connection, Dial, ProbedConnection, Stream
from meshwire_spec.codec import encode, from_value
from meshwire_spec.numbers import (
    ALPN,
    HMAC,
    LAB_MAGIC,
    LAB_VERSION,
    RESULT_ACCEPTED,
    RESULT_REJECTED,
)
from meshwire_spec.schemas.steps import ConnectSpec, HandshakeSpec

PREAMBLE = "lab_preamble"
"""The kind of the first message of a connection."""
LAB = "tcp"
ONLY_LAB = "the case sends what the lab binding alone has, and the target dials over another"
_PING = bytes.fromhex("6469616c6c696e67")
"""Bytes that come back once everything before them has."""


async def connect(run: CaseRun, name: str, options: ConnectSpec) -> None:
    """Connect a peer of the case's own, normally or with the faults that `options` names."""
    peer = run.own_peer(name)
    if peer.is_called:
        await run.connection(name)
        return
    dial = peer.dial()
    if options.same_as is not None:
        dial = Dial(run.peer(options.same_as).identity, dial.on_stream, dial.order)
    try:
        peer.adopt(await _dial(run, name, dial, options))
    except ConnectionError as exc:
        raise no_connection(exc) from exc


async def _dial(run: CaseRun, name: str, dial: Dial, options: ConnectSpec) -> Connection:
    target = run.session.target
    preamble = _wrong_preamble(dial.identity, options)
    if preamble is not None:
        dial = Dial(dial.identity, dial.on_stream, dial.order, preamble)
        run.evidence.sent.append(Sending(name, None, "preamble", preamble.encode(), PREAMBLE))
        return await dial_raw(run, dial)
    if not options.handshake:
        return await target.dial(dial, run.deadline_s)
    return await run.session.connect(dial)


async def dial_raw(run: CaseRun, dial: Dial) -> TcpConnection:
    """Return a connection of the lab binding, without waiting for the preamble of the target."""
    dialler = run.session.target.dialler
    if isinstance(dialler, TcpDialler | Listener):
        connection = await dialler.dial_raw(dial, run.deadline_s)
        if isinstance(connection, TcpConnection):
            return connection
    raise without_lab(run)


def without_lab(run: CaseRun) -> Exception:
    """Return what to raise where a case uses the lab binding over a connection of another one.

    A target may dial over another transport than the one on which it listens.
    """
    listener = run.session.target.listener
    if run.terms.dials and listener is not None and listener.binding != LAB:
        return NotApplicable(ONLY_LAB)
    return SuiteFault(f"{run.case_id} needs the lab binding, which its `needs` does not list")


def _wrong_preamble(identity: bytes, options: ConnectSpec) -> Preamble | None:
    """Return the preamble with the faults that `options` names, or None if it names none."""
    if options.preamble is not None:
        return Preamble(identity, whole=bytes.fromhex(options.preamble))
    alpn = None if options.alpn is None else options.alpn.encode()
    if options.alpn_hex is not None:
        alpn = bytes.fromhex(options.alpn_hex)
    if (options.magic, options.version, alpn) == (None, None, None):
        return None
    return Preamble(
        identity,
        alpn=ALPN.encode() if alpn is None else alpn,
        magic=LAB_MAGIC if options.magic is None else bytes.fromhex(options.magic),
        version=LAB_VERSION if options.version is None else options.version,
    )


async def adopt_lab(run: CaseRun, on: str, windows: Windows) -> TcpConnection:
    """Connect a peer of the case's own with these windows.

    Raises NotApplicable if the target dials and the windows grant no stream for its handshake.
    """
    target = run.session.target
    if target.is_called and target.formation is not None and not windows.max_streams_bidi:
        raise NotApplicable("the handshake of a target that dials takes a stream")
    peer = run.own_peer(on)
    dial = peer.dial()
    preamble = Preamble(dial.identity, windows=windows)
    connection = await run.session.connect(replace(dial, preamble=preamble))
    if not isinstance(connection, TcpConnection):
        raise without_lab(run)
    peer.adopt(connection)
    return connection


async def lab_connection(run: CaseRun, on: str) -> TcpConnection:
    """Return the connection of a peer, which must use the lab binding."""
    connection = run.peer(on).last or await run.connection(on)
    if not isinstance(connection, TcpConnection):
        raise without_lab(run)
    return connection


def _in_its_role(run: CaseRun, value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a record with the stream number that fits the side of the suite.

    Cases number streams as the dialling side does, except cases about a target that dials.
    """
    body = value.get("body", {})
    if "stream_id" not in body or run.terms.dials or not run.session.target.is_called:
        return value
    number = int(body["stream_id"]) ^ 1
    return {**value, "body": {**body, "stream_id": str(number)}}


async def send_record(
    run: CaseRun, on: str, value: Mapping[str, Any], *, echo: str | None = None
) -> None:
    """Write one record by hand: a value of the schema, or `type` and `hex` for a wrong one."""
    connection = await lab_connection(run, on)
    if "hex" in value:
        body = bytes.fromhex(value["hex"])
        data = record(value["type"], body)
        if "length" in value:
            data = data[:1] + int(value["length"]).to_bytes(4, "big") + body
    else:
        data = encode(from_value("lab_record", _in_its_role(run, value)))
    run.evidence.sent.append(Sending(on, None, "lab record", data, "lab_record"))
    await connection.raw(data)
    if echo is None:
        return
    wanted = bytes.fromhex(echo)
    await connection.signal.wait_for(
        lambda: wanted in connection.pongs or connection.closed is not None, run.deadline_s
    )
    run.check_connection(connection)
    if wanted not in connection.pongs:
        raise CaseFailed(
            "no-pong",
            "the PING was not echoed",
            expected=(f"PONG {echo}",),
            received=tuple(f"PONG {pong.hex()}" for pong in connection.pongs) or ("nothing",),
            missed=True,
        )


async def check_echo(run: CaseRun, connection: ProbedConnection) -> None:
    """Fail unless a PING comes back: what the target sent before has then arrived."""
    if not await connection.ping(_PING, run.deadline_s):
        run.check_connection(connection)
        raise CaseFailed("no-pong", "the PING was not echoed", missed=True)
    if isinstance(connection, TcpConnection):
        connection.pongs.clear()


_ANSWERS: dict[str, Callable[[bytes], bytes]] = {
    "right": lambda response: response,
    "wrong": lambda response: (
        response[:-HMAC] + bytes((response[-HMAC] ^ 0x01,)) + response[1 - HMAC :]
    ),
    "short": lambda response: response[:-1],
    "long": lambda response: response + b"\x5a",
    "none": lambda response: response[:0],
}


async def run_handshake(run: CaseRun, on: str, name: str, spec: HandshakeSpec) -> None:
    """Run one handshake as `spec` says, on a new connection."""
    formation = run.session.target.formation
    if formation is None:
        raise SuiteFault(f"{run.case_id} needs a formation, which its `needs` does not list")
    stream = await run.stream(on, name)
    dialect = _dialect_of(spec, formation)
    if not spec.resume:
        await _take_challenge(run, on, stream, spec, formation)
    response = response_bytes(formation.answer(run.nonces[-1]), dialect)
    if spec.dialect == "early":
        # Its length went before the challenge.
        response = response[len(EARLY) :]
    answer = _ANSWERS[spec.answer](response)
    if answer:
        what = f"{spec.answer} answer"
        kind = "" if spec.dialect == "early" else RESPONSES[dialect]
        await run.write(stream, answer, what, on, kind=kind)
    if spec.answer == "short":
        await stream.finish()
    if spec.result != "nothing":
        wrote_at = stream.connection.wrote_at
        await _check_result(run, stream, spec.result)
        if spec.result == "rejected":
            stream.connection.rejected_at = wrote_at


def _dialect_of(spec: HandshakeSpec, formation: Formation) -> str:
    if spec.dialect == "early":
        return H2
    return OTHER[formation.dialect] if spec.dialect == "other" else formation.dialect


async def _take_challenge(
    run: CaseRun, on: str, stream: Stream, spec: HandshakeSpec, formation: Formation
) -> None:
    dialect = _dialect_of(spec, formation)
    data, kind = first_bytes(run.scope.text(spec.formation_id), dialect), FIRSTS[dialect]
    if spec.dialect == "early":
        data, kind = EARLY, ""
    await run.write(stream, data, "first message", on, kind=kind)
    try:
        formation_id, nonce = await read_challenge(stream, run.deadline_s, dialect)
    except HandshakeFailed as exc:
        raise CaseFailed("no-challenge", str(exc), missed=True) from exc
    check_formation(formation_id, formation, "challenge")
    if nonce in run.nonces:
        raise CaseFailed(
            "same-nonce",
            "two challenges have one nonce",
            expected=("32 bytes that no challenge before had",),
            received=(nonce.hex(),),
        )
    run.nonces.append(nonce)


def check_formation(named: str, formation: Formation, message: str) -> None:
    """Fail if a message of the target names another formation."""
    if named != formation.formation_id:
        raise CaseFailed(
            "wrong-formation",
            f"the {message} names another formation",
            expected=(formation.formation_id,),
            received=(named,),
        )


def check_response(response: bytes, formation: Formation, nonce: bytes) -> None:
    """Fail if the response of the target does not answer a challenge with this nonce."""
    wanted = formation.answer(nonce)
    if response != wanted:
        raise CaseFailed(
            "wrong-response",
            "the response is not that of the formation and the nonce",
            expected=(wanted.hex(),),
            received=(response.hex(),),
        )


async def _check_result(run: CaseRun, stream: Stream, wanted: str) -> None:
    accepted = wanted == "accepted"
    try:
        result = await read_result(stream, run.deadline_s)
    except HandshakeFailed as exc:
        # Deployed acceptors close so fast that their result byte is lost.
        closed = stream.connection.closed
        if not run.strict and not accepted and closed is not None:
            run.evidence.unbound = True
            return
        raise CaseFailed("no-result", str(exc), missed=True) from exc
    if result != (RESULT_ACCEPTED if accepted else RESULT_REJECTED):
        raise CaseFailed(
            "accepted" if result == RESULT_ACCEPTED else f"result {result}",
            f"the result is {result}",
            expected=(f"result {wanted}",),
            received=(f"result {result}",),
        )


# --- Connections that the target has dialled -----------------------------------------------------
