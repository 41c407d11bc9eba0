"""Cases about the first bytes of a peer that come one at a time, or in two parts cut anywhere.

What has come must not be judged before it is enough, and nothing of it be lost. The echo of a PING
shows that the target has read one part before it gets the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from meshwire_conformance.cases.both_dialects import redial_case
from meshwire_conformance.cases.planting import NOTHING, stored
from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.errors import SuiteFault
from meshwire_conformance.socket_suite.calls import Call, take_call_in_other_dialect
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.connecting import check_echo, connect, lab_connection
from meshwire_conformance.socket_suite.content import BASE, Wanted
from meshwire_conformance.socket_suite.evidence import CaseFailed
from meshwire_conformance.targets.handshake import (
    EARLY,
    H1,
    H2,
    OTHER,
    Formation,
    HandshakeFailed,
    challenge_bytes,
    first_bytes,
    read_challenge,
    read_result,
    response_bytes,
)
from meshwire_conformance.targets.lab_records import Preamble
from meshwire_conformance.targets.tcp import TcpConnection
from meshwire_conformance.targets.transport import Stream
from meshwire_spec.codec import encode, from_value
from meshwire_spec.numbers import (
    COLLECTION_MAX,
    NONCE,
    REASONS,
    RESULT_ACCEPTED,
    LabRecordType,
)
from meshwire_spec.schemas.steps import ConnectSpec, FrameSpec

REJECTED = REASONS["authentication-failed"].code
APART = 5
"""Bytes of a message that come one at a time: more than are needed to tell the dialect."""
PONG = "0a1b2c3d4e5f6071"
acceptor_case = partial(
    case, part="handshake", needs=("accepts", "dialect:secret", "detection"), isolation="peer"
)
"""Registers a case about a target that serves initiators of both dialects."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """The first message of an initiator, and the dialect in which it goes on.

    `sent` are bytes of the response that the first message already has.
    """

    first: bytes
    dialect: str
    sent: int = 0


def _formation(run: CaseRun) -> Formation:
    formation = run.session.target.formation
    if formation is None:
        raise SuiteFault(f"{run.case_id} needs a formation, which its `needs` does not list")
    return formation


def _beginnings(run: CaseRun) -> Mapping[str, Beginning]:
    """Return how each initiator begins, by its name."""
    name = _formation(run).formation_id
    return {
        H1: Beginning(first_bytes(name, H1), H1),
        H2: Beginning(first_bytes(name, H2), H2),
        "early": Beginning(EARLY, H2, len(EARLY)),
    }


async def _connect(run: CaseRun, name: str) -> Stream:
    """Return the stream of the handshake on a connection of its own."""
    await connect(run, name, ConnectSpec(handshake=False))
    return await run.open(name, "hs")


async def _write(run: CaseRun, stream: Stream, data: bytes, what: str, on: str) -> None:
    """Write bytes, and wait until the target has read them."""
    await run.write(stream, data, what, on)
    if isinstance(stream.connection, TcpConnection):
        await check_echo(run, stream.connection)


def _pieces(data: bytes) -> list[bytes]:
    """Return the first bytes of a message one by one, the rest in one piece, and the last byte.

    More pieces would take a target with a short deadline too long.
    """
    cuts = [*range(min(APART, len(data))), max(APART, len(data) - 1), len(data)]
    return [data[start:end] for start, end in pairwise(cuts) if data[start:end]]


async def _in_pieces(run: CaseRun, stream: Stream, data: bytes, what: str, on: str) -> None:
    """Write a message in pieces; fails if the target goes on before the last one."""
    said = b""
    for piece in _pieces(data):
        _check_waits(stream, said, what)
        await _write(run, stream, piece, f"a piece of a {what}", on)
        said += piece


def _check_waits(stream: Stream, said: bytes, what: str) -> None:
    """Fail if the target has said something after a part of a message."""
    if stream.received or stream.read_over:
        raise CaseFailed(
            "too-early",
            f"the target went on after {len(said)} bytes of a {what}",
            expected=("nothing before the message is whole",),
            received=(stream.received.hex() or "the end of the stream",),
        )


async def _nonce(run: CaseRun, stream: Stream, dialect: str) -> bytes:
    """Return the nonce of the challenge; the case fails if none comes, or of another formation."""
    try:
        named, nonce = await read_challenge(stream, run.deadline_s, dialect)
    except HandshakeFailed as exc:
        raise CaseFailed("no-challenge", str(exc), missed=True) from exc
    if named != _formation(run).formation_id:
        raise CaseFailed("wrong-formation", f"the challenge names the formation {named!r}")
    return nonce


async def _result_of(run: CaseRun, beginning: Beginning, on: str) -> int:
    """Run a handshake whose messages come in pieces, with the right response; return its end."""
    stream = await _connect(run, on)
    await _in_pieces(run, stream, beginning.first, "first message", on)
    nonce = await _nonce(run, stream, beginning.dialect)
    response = response_bytes(_formation(run).answer(nonce), beginning.dialect)
    await _in_pieces(run, stream, response[beginning.sent :], "response", on)
    try:
        return await read_result(stream, run.deadline_s)
    except HandshakeFailed as exc:
        raise CaseFailed("no-result", str(exc), missed=True) from exc


async def _is_served(run: CaseRun, name: str) -> None:
    """Fail unless a handshake that comes in pieces is accepted, and a read answered after it."""
    if await _result_of(run, _beginnings(run)[name], "X") != RESULT_ACCEPTED:
        raise CaseFailed("rejected", "the response is right, and was rejected")
    await run.read(Wanted(f"notes:{run.scope.names['case']}", heads=NOTHING), "X")


@acceptor_case(
    "MW-6920",
    "an initiator of the target's own dialect whose first bytes come one at a time must be served",
    rules=("HS-030", "HS-032", "HS-060"),
    level="wire",
    needs=("accepts", "dialect:secret"),
)
async def own_dialect(run: CaseRun) -> None:
    """What one read returns is taken for a whole message."""
    await _is_served(run, _formation(run).dialect)


@acceptor_case(
    "MW-6921",
    "an initiator of the other dialect whose first bytes come one at a time must be served",
    rules=("HS-062", "HS-032"),
)
async def other_dialect(run: CaseRun) -> None:
    """The dialect is that of what one read returns, or the bytes that told it are lost."""
    await _is_served(run, OTHER[_formation(run).dialect])


@acceptor_case(
    "MW-6922",
    "an early writer whose first bytes come one at a time must be served",
    rules=("HS-063", "HS-032"),
)
async def early_writer(run: CaseRun) -> None:
    """20 00 00 00 is known only if it comes at once, or not counted to the response."""
    await _is_served(run, "early")


RESEMBLING = {"none": "", "32 bytes": "f" * 32, "a NUL and 31 bytes": "\0" + "f" * 31}
"""Ids of other formations; those of 32 bytes begin as an early writer does, for 2 or 3 bytes."""


@acceptor_case(
    "MW-6923",
    "H1 initiators whose ids begin as an early writer, and in single bytes, must be rejected in H1",
    rules=("HS-062", "HS-063", "HS-034"),
)
async def no_early_writer(run: CaseRun) -> None:
    """An early writer is known by fewer bytes than four."""
    for number, (name, formation_id) in enumerate(RESEMBLING.items()):
        beginning = Beginning(first_bytes(formation_id, H1), H1)
        if await _result_of(run, beginning, f"X{number}") == RESULT_ACCEPTED:
            raise CaseFailed("accepted", f"another formation was accepted: an id of {name}")


@acceptor_case(
    "MW-6924",
    "a first message in two parts must draw the challenge of its dialect, wherever it is cut",
    rules=("HS-030", "HS-062", "HS-063"),
)
async def two_parts(run: CaseRun) -> None:
    """The bytes that told the dialect are lost, or only those after them are kept."""
    for name, beginning in _beginnings(run).items():
        whole = beginning.first
        for cut in range(1, len(whole)):
            on = f"{name} {cut}"
            stream = await _connect(run, on)
            await _write(run, stream, whole[:cut], f"{cut} bytes", on)
            _check_waits(stream, whole[:cut], "first message")
            await run.write(stream, whole[cut:], "the rest", on)
            await _nonce(run, stream, beginning.dialect)
            await stream.connection.close()


@acceptor_case(
    "MW-6925",
    "a frame of an open initiator at an acceptor of both dialects, in pieces, must be refused",
    rules=("HS-038", "HS-040", "HS-017", "HS-037"),
    needs=("accepts", "dialect:secret", "detection", "documents"),
    negative=True,
    control="MW-6921",
    let={"key": "tracks:$case"},
)
async def open_initiator(run: CaseRun) -> None:
    """Bytes that fit no dialect are read as a frame, or waited for to the deadline."""
    await run.documents(BASE)
    stream = await _connect(run, "X")
    frame = run.composer.frame(FrameSpec(type="snapshot", document="base"))
    connection = stream.connection
    for piece in _pieces(frame):
        if connection.closed is not None:
            break
        await run.write(stream, piece, "a piece of a frame", "X")
        if isinstance(connection, TcpConnection):
            await connection.ping(bytes.fromhex(PONG), run.deadline_s)
    await run.closed(["length-limit", "authentication-failed"], "X")
    await run.read(Wanted(run.scope.names["key"], heads=NOTHING), "B")


@case(
    "MW-6926",
    "first frames that begin in single bytes at an open target must take effect, also after 01",
    part="handshake",
    rules=("HS-039", "FR-001", "TR-002"),
    level="wire",
    needs=("accepts", "dialect:open", "documents"),
    isolation="peer",
)
async def open_target(run: CaseRun) -> None:
    """The first stream of a connection is read as a handshake, or its first byte as a version."""
    await run.documents(BASE)
    name = run.scope.names["case"]
    # The length of this key begins with 01, and that of the other one is 20 in its second byte.
    keys = (f"{'c' * COLLECTION_MAX}:{name}".ljust(0x0120, "i"), f"notes:{name}".ljust(0x20, "i"))
    for number, key in enumerate(keys):
        on = f"X{number}"
        stream = await _connect(run, on)
        frame = run.composer.frame(FrameSpec(type="snapshot", key=key, document="base"))
        await _in_pieces(run, stream, frame, "frame", on)
        await run.barrier(on, "hs")
        await run.read(stored(run, key=key), "B")


@case(
    "MW-6927",
    "a preamble that comes in pieces must be read, and the record that its last byte comes with",
    part="lab-binding",
    rules=("LB-001", "LB-050", "LB-055"),
    level="wire",
    needs=("accepts", "binding:tcp"),
    isolation="peer",
)
async def preamble_in_bytes(run: CaseRun) -> None:
    """What one read returns is taken for a whole preamble, or what follows it is lost."""
    preamble = Preamble(run.own_peer("X").identity).encode()
    await connect(run, "X", ConnectSpec(preamble=preamble[:1].hex()))
    connection = await lab_connection(run, "X")
    # The echo on another connection shows that the target has had the time to read each byte.
    other = await lab_connection(run, "other")
    for piece in _pieces(preamble[1:-1]):
        await connection.raw(piece)
        await check_echo(run, other)
    ping = encode(
        from_value("lab_record", {"type": int(LabRecordType.PING), "body": {"payload": PONG}})
    )
    await connection.raw(preamble[-1:] + ping)
    await connection.signal.wait_for(
        lambda: bytes.fromhex(PONG) in connection.pongs or connection.closed is not None,
        run.deadline_s,
    )
    run.check_connection(connection)
    if bytes.fromhex(PONG) not in connection.pongs:
        raise CaseFailed("no-pong", "the PING after the preamble was not echoed", missed=True)


# --- A target that dials -------------------------------------------------------------------------


async def _challenge_otherwise(call: Call) -> None:
    """Challenge in the other dialect in pieces, as long as the connection is there."""
    await call.take_first()
    nonce = bytes(range(NONCE))
    challenge = challenge_bytes(call.formation.formation_id, nonce, OTHER[call.dialect])
    for piece in _pieces(challenge):
        if call.connection.closed is not None:
            break
        await call.write(piece, "a piece of a challenge")
        await call.connection.ping(bytes.fromhex(PONG), call.run.deadline_s)
    await call.check_abandoned()


async def _reject(call: Call) -> None:
    await call.take_first()
    await call.connection.close(REJECTED, "unsupported version")


@redial_case(
    "MW-6928",
    "a challenge of the other dialect, in pieces, must be followed by a dial in that one",
    rules=("HS-065",),
)
async def other_challenge_in_pieces(run: CaseRun) -> None:
    """The other dialect is known only by a challenge that comes at once."""
    call = await take_call_in_other_dialect(run, "other", _challenge_otherwise)
    await call.accept()
    await run.read(Wanted(f"notes:{run.scope.names['case']}-none", heads=NOTHING), "other")


@redial_case(
    "MW-6929",
    "a target that has dialled in the other dialect must take a challenge that comes in pieces",
    rules=("HS-065", "HS-003"),
)
async def pieces_in_other_dialect(run: CaseRun) -> None:
    """What one read returns is taken for the whole challenge, in one of the dialects alone."""
    call = await take_call_in_other_dialect(run, "other", _reject)
    await call.take_first()
    nonce = bytes(range(NONCE))
    stream = await call.stream()
    for piece in _pieces(call.challenge(nonce)):
        _check_waits(stream, b"", "challenge")
        await call.write(piece, "a piece of a challenge")
        await call.check_echo()
    await call.take_response(nonce)
    await call.send_result(RESULT_ACCEPTED)
    await call.finish()
    await run.read(Wanted(f"notes:{run.scope.names['case']}-none", heads=NOTHING), "other")
