"""Cases about a target that dials: its side of the handshake, and of the opening."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from meshwire_conformance.cases.binding import trickle
from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.connecting import Call, take_call
from meshwire_conformance.socket_suite.content import Wanted
from meshwire_conformance.socket_suite.evidence import CaseFailed
from meshwire_conformance.socket_suite.reconciling import take_answer
from meshwire_conformance.targets.lab import Preamble
from meshwire_spec.codec import Message, encode
from meshwire_spec.numbers import (
    ENDPOINT_ID,
    FORMATION_ID_MAX,
    HANDSHAKE_S,
    NONCE,
    RESULT_ACCEPTED,
    RESULT_REJECTED,
    FrameType,
)
from meshwire_spec.schemas.steps import DocumentSpec, FrameSpec

PROVES = ("dials", "dialect:H1")
PLANTS = ("documents", "dials", "dialect:H1")
NOTHING = frozenset[str]()
BASE = {"base": DocumentSpec(actor="0a0b0c0d", fields={"name": "alpha"})}
LET = {"key": "tracks:$case"}
PEAT_REJECTS = 1
"""Code with which deployed acceptors close a connection that they reject (HS-051)."""
EMPTY_RANGE = "610108a55ac33c0ff00f5a000108a55ac33c0ff00f5b0200"
"""A message about a range in which no document lies; its answer is the same."""
CUT_AT = 7
"""Bytes of a challenge before its stream ends."""


async def _plant(run: CaseRun) -> None:
    """Give the target a document over a connection that the suite has dialled."""
    await run.documents(BASE)
    await run.send(FrameSpec(type="snapshot", document="base"), "B")
    await run.barrier("B")


def _planted(run: CaseRun) -> Wanted:
    return Wanted(run.scope.names["key"], heads=run.contents.made["base"].heads)


async def _is_served(run: CaseRun, name: str = "again") -> None:
    """Take a further connection of the target, and let it succeed."""
    call = await take_call(run, name)
    await call.accept()
    await run.read(Wanted(f"notes:{run.scope.names['case']}-none", heads=NOTHING), name)


@case(
    "MW-6010",
    "a target that dials must prove itself, and then answer a read",
    part="handshake",
    rules=("TR-002", "DC-003"),
    level="wire",
    needs=("dials",),
    isolation="peer",
    let={"key": "notes:$case"},
)
async def answers_where_it_dialled(run: CaseRun) -> None:
    """The streams of the side that was dialled are not read."""
    await run.read(Wanted(run.scope.names["key"], heads=NOTHING))


@case(
    "MW-6011",
    "the first message of a target that dials must be its formation id, and nothing else",
    part="handshake",
    rules=("HS-010",),
    level="wire",
    needs=PROVES,
    isolation="peer",
)
async def names_its_formation_first(run: CaseRun) -> None:
    """The length of the id is big endian, or bytes follow before the challenge."""
    call = await take_call(run)
    await call.take_formation_id()
    stream = await call.stream()
    await call.check_echo()
    if stream.received or stream.finished:
        raise CaseFailed(
            "too-early",
            "the target went on before it had a challenge",
            expected=("nothing behind the formation id",),
            received=(stream.received.hex() or "FIN",),
        )


@case(
    "MW-6012",
    "the responses of a target that dials must answer the nonces of their challenges",
    part="handshake",
    rules=("HS-003",),
    level="wire",
    needs=PROVES,
    isolation="peer",
    let={"key": "notes:$case"},
)
async def answers_each_nonce(run: CaseRun) -> None:
    """The HMAC is not over nonce and formation id, or a response is sent again."""
    for name in ("A", "again"):
        await _is_served(run, name)


@case(
    "MW-6013",
    "a challenge that comes byte by byte must be answered once it is whole",
    part="handshake",
    rules=("HS-010", "HS-003"),
    level="wire",
    needs=PROVES,
    isolation="peer",
)
async def challenge_in_pieces(run: CaseRun) -> None:
    """What one read returns is taken for the whole challenge."""
    call = await take_call(run)
    await call.take_formation_id()
    nonce = bytes(range(NONCE))
    fields = {"formation_id": call.formation.formation_id, "nonce": nonce}
    for byte in encode(Message("formation_challenge", fields)):
        await call.write(bytes((byte,)), "a byte of a challenge")
        call.connection.flush()
    await call.take_response(nonce)


# --- Connections that the target has to abandon ------------------------------------------------


async def _other_formation(call: Call) -> None:
    await call.take_formation_id()
    await call.send_challenge("meshwire-other")


async def _longer_formation(call: Call) -> None:
    await call.take_formation_id()
    await call.send_challenge(f"{call.formation.formation_id}x")


async def _shorter_formation(call: Call) -> None:
    await call.take_formation_id()
    await call.send_challenge(call.formation.formation_id[:-1])


async def _empty_formation(call: Call) -> None:
    await call.take_formation_id()
    await call.send_challenge("")


async def _end_at_once(call: Call) -> None:
    await call.take_formation_id()
    await (await call.stream()).finish()


async def _reset_at_once(call: Call) -> None:
    await call.take_formation_id()
    await (await call.stream()).reset(0)


async def _end_in_challenge(call: Call) -> None:
    await call.take_formation_id()
    name = call.formation.formation_id.encode()
    data = len(name).to_bytes(2, "little") + name
    await call.write(data[:CUT_AT], "the beginning of a challenge")
    await (await call.stream()).finish()


async def _end_before_result(call: Call) -> None:
    await call.take_formation_id()
    await call.take_response(await call.send_challenge())
    await (await call.stream()).finish()


async def _reset_before_result(call: Call) -> None:
    await call.take_formation_id()
    await call.take_response(await call.send_challenge())
    await (await call.stream()).reset(0)


async def _not_utf8(call: Call) -> None:
    await call.take_formation_id()
    name = call.formation.formation_id.encode()[:-1] + b"\xff"
    await call.write(len(name).to_bytes(2, "little") + name + bytes(NONCE), "challenge")


def _abandons(
    case_id: str,
    title: str,
    rules: tuple[str, ...],
    spoil: Callable[[Call], Awaitable[None]],
    hunts: str,
) -> None:
    """Register a case in which the suite spoils a handshake, so that the target abandons it."""

    async def abandons(run: CaseRun) -> None:
        call = await take_call(run)
        await spoil(call)
        await call.check_abandoned()

    abandons.__doc__ = hunts
    case(
        case_id,
        title,
        part="handshake",
        rules=rules,
        level="wire",
        needs=PROVES,
        isolation="peer",
        negative=True,
        control="MW-6012",
    )(abandons)


_abandons(
    "MW-6014",
    "a challenge of another formation must end the connection",
    ("HS-050",),
    _other_formation,
    "The secret is used for whatever formation the acceptor names.",
)
_abandons(
    "MW-6015",
    "a challenge of a formation whose id is longer must end the connection",
    ("HS-050",),
    _longer_formation,
    "Only the beginning of the id is compared.",
)
_abandons(
    "MW-6016",
    "a challenge of a formation whose id is shorter must end the connection",
    ("HS-050",),
    _shorter_formation,
    "The id is compared only as far as the challenge has it.",
)
_abandons(
    "MW-6017",
    "a challenge with an empty formation id must end the connection",
    ("HS-050",),
    _empty_formation,
    "A challenge without an id counts as one of any formation.",
)
_abandons(
    "MW-6018",
    "a challenge whose formation id is not UTF-8 must end the connection",
    ("HS-050",),
    _not_utf8,
    "Bytes that do not decode are replaced, or end the program.",
)
_abandons(
    "MW-6019",
    "FIN before the challenge must end the connection",
    ("HS-053",),
    _end_at_once,
    "The end of the stream is not noticed, and the connection stays for ever.",
)
_abandons(
    "MW-6020",
    "RESET before the challenge must end the connection",
    ("HS-053",),
    _reset_at_once,
    "A RESET of the handshake stream is not noticed.",
)
_abandons(
    "MW-6021",
    "FIN inside the challenge must end the connection",
    ("HS-053",),
    _end_in_challenge,
    "The rest of the challenge is waited for.",
)
_abandons(
    "MW-6022",
    "FIN in place of the result must end the connection",
    ("HS-053",),
    _end_before_result,
    "An end without a result counts as accepted.",
)
_abandons(
    "MW-6023",
    "RESET in place of the result must end the connection",
    ("HS-053",),
    _reset_before_result,
    "An end without a result counts as accepted.",
)


@case(
    "MW-6024",
    "a challenge with a formation id of 256 bytes must be refused",
    part="handshake",
    rules=("HS-017",),
    needs=PROVES,
    isolation="peer",
    negative=True,
    control="MW-6012",
)
async def long_formation_id(run: CaseRun) -> None:
    """The limit of the id holds for acceptors alone, or is checked when the id has come."""
    call = await take_call(run)
    await call.take_formation_id()
    size = FORMATION_ID_MAX + 1
    # The length alone suffices: no byte of the id follows.
    await call.write(size.to_bytes(2, "little"), f"a length of {size}")
    await run.closed(["length-limit"])


# --- Results -----------------------------------------------------------------------------------


def _rejected_by(case_id: str, rules: tuple[str, ...], result: int) -> None:
    """Register a case with a result that rejects the target (HS-018)."""

    async def is_rejected(run: CaseRun) -> None:
        await _plant(run)
        call = await take_call(run)
        await call.take_formation_id()
        await call.take_response(await call.send_challenge())
        await call.send_result(result)
        await (await call.stream()).finish()
        run.watch(run.scope.names["key"], "A")
        if call.connection.closed is None:
            await run.send_read(run.scope.names["key"])
        await _is_served(run)

    is_rejected.__doc__ = "A result other than 1 counts as accepted, or the node dials no more."
    case(
        case_id,
        f"after the result {result} the target must send no frame, and may dial again",
        part="handshake",
        rules=rules,
        needs=PLANTS,
        isolation="peer",
        let=LET,
    )(is_rejected)


_rejected_by("MW-6025", ("HS-018", "HS-037", "HS-044"), RESULT_REJECTED)
_rejected_by("MW-6026", ("HS-018", "HS-037", "HS-044"), RESULT_ACCEPTED + 1)
_rejected_by("MW-6027", ("HS-018", "HS-037", "HS-044"), 0xFF)


async def _close_at_once(call: Call) -> None:
    await call.take_formation_id()
    await call.connection.close(PEAT_REJECTS, "rejected")


async def _close_before_result(call: Call) -> None:
    await call.take_formation_id()
    await call.take_response(await call.send_challenge())
    await call.connection.close(PEAT_REJECTS, "rejected")


def _closed_by(
    case_id: str, title: str, rules: tuple[str, ...], close: Callable[[Call], Awaitable[None]]
) -> None:
    """Register a case in which the suite rejects the target as deployed acceptors do (HS-051)."""

    async def is_closed(run: CaseRun) -> None:
        call = await take_call(run)
        await close(call)
        await _is_served(run)

    is_closed.__doc__ = "A close in place of the result ends the node, or it never dials again."
    case(
        case_id,
        title,
        part="handshake",
        rules=rules,
        level="wire",
        needs=PROVES,
        isolation="peer",
    )(is_closed)


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


# --- Frames and the handshake --------------------------------------------------------------------


@case(
    "MW-6030",
    "a target that dials must send no frame before it has the result",
    part="handshake",
    rules=("HS-037",),
    needs=PLANTS,
    isolation="peer",
    let=LET,
)
async def no_frame_before_the_result(run: CaseRun) -> None:
    """The side that dials counts as proven at once, and offers its documents."""
    await _plant(run)
    call = await take_call(run)
    await call.take_formation_id()
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
    await run.expect(_planted(run), "A")


@case(
    "MW-6031",
    "a frame that came before the result 1 must take effect",
    part="handshake",
    rules=("TR-002",),
    needs=PLANTS,
    isolation="peer",
    let=LET,
)
async def frame_before_acceptance(run: CaseRun) -> None:
    """Streams that were opened before the result are refused, or never read."""
    await run.documents(BASE)
    call = await take_call(run)
    await call.take_formation_id()
    nonce = await call.send_challenge()
    await run.send(FrameSpec(type="snapshot", document="base"), "A", "early")
    await call.take_response(nonce)
    await call.send_result(RESULT_ACCEPTED)
    await run.barrier("A", "early")
    await run.read(_planted(run), "B")


@case(
    "MW-6032",
    "a frame that came before the result 0 must have no effect",
    part="handshake",
    rules=("HS-037",),
    needs=PLANTS,
    isolation="peer",
    negative=True,
    control="MW-6031",
    let=LET,
)
async def frame_before_rejection(run: CaseRun) -> None:
    """The side that dials reads streams before it is accepted."""
    await run.documents(BASE)
    call = await take_call(run)
    await call.take_formation_id()
    nonce = await call.send_challenge()
    stream = await run.send(FrameSpec(type="snapshot", document="base"), "A", "early")
    await stream.finish()
    await call.take_response(nonce)
    await call.check_echo()
    if stream.finished:
        raise CaseFailed("too-early", "the barrier of a stream came before the result")
    await call.send_result(RESULT_REJECTED)
    await call.connection.close()
    await run.read(Wanted(run.scope.names["key"], heads=NOTHING), "B")


async def _accept_behind(run: CaseRun, spec: FrameSpec) -> None:
    """Complete a handshake behind a frame on another stream, which the target has then received."""
    call = await take_call(run)
    await call.take_formation_id()
    nonce = await call.send_challenge()
    await run.send(spec, "A", "early")
    await call.take_response(nonce)
    await call.check_echo()
    await call.send_result(RESULT_ACCEPTED)


@case(
    "MW-6037",
    "a read of a deleted document that came before the result 1 must be answered after it",
    part="handshake",
    rules=("TR-002", "DC-005"),
    needs=PROVES,
    isolation="peer",
    let={"key": "nodes:$case"},
)
async def early_read(run: CaseRun) -> None:
    """Answers that are due at the moment of the result are dropped."""
    await run.send(FrameSpec(type="tombstone", reason="gone"), "B")
    await run.barrier("B")
    key = run.scope.names["key"]
    await _accept_behind(run, FrameSpec(type="delta"))
    await run.barrier("A", "early")
    # Once as an offer, and once as the answer.
    first = await run.expect(Wanted(key, type=FrameType.TOMBSTONE), "A")
    after = run.subscription(key).arrivals.index(first) + 1
    await run.expect(Wanted(key, type=FrameType.TOMBSTONE), "A", after=after)


@case(
    "MW-6038",
    "a reconciliation that began before the result 1 must be answered after it",
    part="handshake",
    rules=("TR-002", "NG-014"),
    needs=(*PROVES, "reconciliation"),
    isolation="peer",
)
async def early_run(run: CaseRun) -> None:
    """Answers that are due at the moment of the result are dropped."""
    await _accept_behind(run, FrameSpec(type="negentropy-init", hex=EMPTY_RANGE))
    await take_answer(run, await run.stream("A", "early"), bytes.fromhex(EMPTY_RANGE))
    await run.barrier("A", "early")


@case(
    "MW-6039",
    "a frame after the result 1 on the handshake stream must have no effect, and end nothing",
    part="handshake",
    rules=("HS-055",),
    needs=PLANTS,
    isolation="peer",
    negative=True,
    control="MW-6031",
    let=LET,
)
async def bytes_after_the_result(run: CaseRun) -> None:
    """The stream of the handshake becomes one of frames, or the connection is closed."""
    await run.documents(BASE)
    call = await take_call(run)
    await call.take_formation_id()
    await call.take_response(await call.send_challenge())
    call.gate.admitted = True
    frame = run.composer.frame(FrameSpec(type="snapshot", document="base"))
    await call.write(bytes((RESULT_ACCEPTED,)) + frame, "result 1 and a frame")
    await (await call.stream()).finish()
    await run.read(Wanted(f"notes:{run.scope.names['case']}", heads=NOTHING))
    await run.read(Wanted(run.scope.names["key"], heads=NOTHING), "B")


# --- Deadlines ---------------------------------------------------------------------------------

WAITS = (*PROVES, "deadline:handshake_s")


@case(
    "MW-6074",
    "a target that dials must give up on a side that sends no challenge",
    part="handshake",
    rules=("HS-056",),
    needs=WAITS,
    isolation="peer",
    negative=True,
    control="MW-6012",
)
async def no_challenge(run: CaseRun) -> None:
    """The deadline of a handshake runs in the side that was dialled alone."""
    call = await take_call(run)
    await call.take_formation_id()
    await run.closed(["handshake-timeout"], within="handshake_s")


@case(
    "MW-6075",
    "a challenge that continues byte by byte must end at the deadline of the target",
    part="handshake",
    rules=("HS-056",),
    needs=WAITS,
    isolation="peer",
    negative=True,
    control="MW-6012",
)
async def trickled_challenge(run: CaseRun) -> None:
    """Each byte starts the deadline again, so that a connection without proof never ends."""
    call = await take_call(run)
    await call.take_formation_id()
    await call.write(FORMATION_ID_MAX.to_bytes(2, "little"), "length of the id")
    await trickle(run, "A", b"f" * (FORMATION_ID_MAX - 1), (await call.stream()).write)


# --- Preambles ---------------------------------------------------------------------------------

_OWN = Preamble(bytes(ENDPOINT_ID)).encode()
_ALPN_AT = 6


def _refused_preamble(
    case_id: str, title: str, rules: tuple[str, ...], preamble: bytes, reason: str
) -> None:
    """Register a case with a preamble of the suite that a target which has dialled refuses."""

    async def is_refused(run: CaseRun) -> None:
        await take_call(run, preamble=preamble)
        await run.closed([reason])

    is_refused.__doc__ = "A preamble is checked by the side that was dialled alone."
    case(
        case_id,
        title,
        part="lab-binding",
        rules=rules,
        level="wire",
        needs=PROVES,
        isolation="peer",
        negative=True,
        control="MW-6012",
    )(is_refused)


_refused_preamble(
    "MW-6033",
    "a preamble of the other side with another magic",
    ("LB-002", "LB-028"),
    b"MWLC" + _OWN[4:],
    "bad-magic",
)
_refused_preamble(
    "MW-6034",
    "a preamble of the other side with version 2",
    ("LB-003", "LB-028"),
    _OWN[:4] + b"\x02" + _OWN[5:],
    "bad-version",
)
_refused_preamble(
    "MW-6035",
    "a preamble of the other side with another ALPN",
    ("LB-005", "LB-028"),
    _OWN[:_ALPN_AT] + b"C" + _OWN[_ALPN_AT + 1 :],
    "wrong-alpn",
)


@case(
    "MW-6036",
    "a target that dials must give up on a side that sends no preamble",
    part="lab-binding",
    rules=("LB-008",),
    level="wire",
    needs=("dials", "dialect:H1", "deadline:handshake_s"),
    isolation="peer",
    negative=True,
    control="MW-6012",
)
async def no_preamble(run: CaseRun) -> None:
    """The deadline of a preamble runs in the side that was dialled alone."""
    await take_call(run, preamble=b"")
    await run.closed(["handshake-timeout"], within="handshake_s")


@case(
    "MW-6076",
    "a target that dials must write its preamble without waiting for that of its peer",
    part="lab-binding",
    rules=("LB-001",),
    level="wire",
    needs=("dials", "dialect:H1"),
    isolation="peer",
)
async def early_preamble(run: CaseRun) -> None:
    """The side that dials lets the other one speak first, so that two such sides wait for ever."""
    call = await take_call(run, preamble=b"")
    handshake_s = run.session.target.facts.deadlines.get("handshake_s", HANDSHAKE_S)
    # A target that waits may write its own only at the end of its deadline.
    came = await call.connection.ready(run.terms.deadline.beyond(handshake_s))
    if came:
        await call.connection.raw(_OWN)
    if not came or call.connection.closed is not None:
        raise CaseFailed("no-preamble", "no preamble came before that of the suite", missed=True)
    await call.check_echo()
