"""Cases about the handshake of a target that dials, and about the preamble of its peer.

Those about ids that resemble that of the formation have a target that accepts beside it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Awaitable, Callable
from functools import partial

from meshwire_conformance.cases.binding import trickle
from meshwire_conformance.cases.planting import NOTHING
from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.socket_suite.calls import Call, take_call
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.connecting import connect, run_handshake
from meshwire_conformance.socket_suite.content import Wanted
from meshwire_conformance.socket_suite.evidence import CaseFailed, NotApplicable
from meshwire_conformance.targets.handshake import H1
from meshwire_conformance.targets.lab_records import Preamble
from meshwire_spec.numbers import ENDPOINT_ID, FORMATION_ID_MAX, HANDSHAKE_S, NONCE
from meshwire_spec.schemas.steps import ConnectSpec, HandshakeSpec

PROVES = ("dials", "dialect:secret")
WAITS = (*PROVES, "deadline:handshake_s")
CUT_AT = 7
"""Bytes of a challenge before its stream ends."""

dialler_case = partial(case, part="handshake", needs=PROVES, isolation="peer")
"""Registers a case about the handshake of a target that dials."""
spoiled_case = partial(dialler_case, negative=True, control="MW-6012")
"""Registers a case in which the target must not accept what the suite does."""


async def is_served(run: CaseRun, name: str = "again") -> None:
    """Take a further connection of the target, complete its handshake, and read over it."""
    call = await take_call(run, name)
    await call.accept()
    await run.read(Wanted(f"notes:{run.scope.names['case']}-none", heads=NOTHING), name)


async def waits_for_a_challenge(run: CaseRun, first: str) -> None:
    """Take a call; fails unless the target sends its first message and then nothing.

    `first` names that message. The echo of a PING shows that nothing is on its way.
    """
    call = await take_call(run)
    await call.take_first()
    stream = await call.stream()
    await call.check_echo()
    if stream.received or stream.finished:
        raise CaseFailed(
            "too-early",
            "the target went on before it had a challenge",
            expected=(f"nothing behind {first}",),
            received=(stream.received.hex() or "FIN",),
        )


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


@dialler_case(
    "MW-6011",
    "the first message of a target that dials must be its formation id, and nothing else",
    rules=("HS-010",),
    level="wire",
    needs=("dials", "dialect:H1"),
)
async def names_its_formation_first(run: CaseRun) -> None:
    """The length of the id is big endian, or bytes follow before the challenge."""
    await waits_for_a_challenge(run, "the formation id")


@dialler_case(
    "MW-6012",
    "the responses of a target that dials must answer the nonces of their challenges",
    rules=("HS-003",),
    level="wire",
    let={"key": "notes:$case"},
)
async def answers_each_nonce(run: CaseRun) -> None:
    """The HMAC is not over nonce and formation id, or a response is sent again."""
    for name in ("A", "again"):
        await is_served(run, name)


@dialler_case(
    "MW-6013",
    "a challenge that comes byte by byte must be answered once it is whole",
    rules=("HS-010", "HS-003"),
    level="wire",
)
async def challenge_in_pieces(run: CaseRun) -> None:
    """What one read returns is taken for the whole challenge."""
    call = await take_call(run)
    await call.take_first()
    nonce = bytes(range(NONCE))
    for byte in call.challenge(nonce):
        await call.write(bytes((byte,)), "a byte of a challenge")
        call.connection.flush()
    await call.take_response(nonce)


# --- Connections that the target has to abandon ------------------------------------------------


Change = Callable[[str], str]
"""Makes another formation id from the right one."""
Spoil = Callable[[Call], Awaitable[None]]
"""The suite's side of a handshake that it spoils."""


def _challenge_of(change: Change) -> Spoil:
    """Return a handshake whose challenge has another formation id, made from the right one."""

    async def spoil(call: Call) -> None:
        await call.take_first()
        await call.send_challenge(change(call.formation.formation_id))

    return spoil


async def _end_at_once(call: Call) -> None:
    await call.take_first()
    await call.finish()


async def _reset_at_once(call: Call) -> None:
    await call.take_first()
    await (await call.stream()).reset(0)


async def _end_in_challenge(call: Call) -> None:
    await call.take_first()
    await call.write(call.challenge(bytes(NONCE))[:CUT_AT], "the beginning of a challenge")
    await call.finish()


async def _end_before_result(call: Call) -> None:
    await call.take_proof()
    await call.finish()


async def _reset_before_result(call: Call) -> None:
    await call.take_proof()
    await (await call.stream()).reset(0)


async def _not_utf8(call: Call) -> None:
    await call.take_first()
    whole = call.challenge(bytes(NONCE))
    # The last byte of the formation id.
    at = len(whole) - NONCE - 1
    await call.write(whole[:at] + b"\xff" + whole[at + 1 :], "challenge")


def _abandons(case_id: str, title: str, rules: tuple[str, ...], spoil: Spoil, hunts: str) -> None:
    """Register a case in which the suite spoils a handshake, so that the target abandons it."""

    async def abandons(run: CaseRun) -> None:
        call = await take_call(run)
        await spoil(call)
        await call.check_abandoned()

    abandons.__doc__ = hunts
    spoiled_case(case_id, title, rules=rules, level="wire")(abandons)


_abandons(
    "MW-6014",
    "a challenge of another formation must end the connection",
    ("HS-050",),
    _challenge_of(lambda _: "meshwire-other"),
    "The secret is used for whatever formation the acceptor names.",
)
_abandons(
    "MW-6015",
    "a challenge of a formation whose id is longer must end the connection",
    ("HS-050",),
    _challenge_of(lambda right: f"{right}x"),
    "Only the beginning of the id is compared.",
)
_abandons(
    "MW-6016",
    "a challenge of a formation whose id is shorter must end the connection",
    ("HS-050",),
    _challenge_of(lambda right: right[:-1]),
    "The id is compared only as far as the challenge has it.",
)
_abandons(
    "MW-6017",
    "a challenge with an empty formation id must end the connection",
    ("HS-050",),
    _challenge_of(lambda _: ""),
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


# --- Ids that resemble that of the formation ---------------------------------------------------


FULL_WIDTH = 0xFEE0
"""What a printable ASCII character is below its form of full width."""


def _other_form(right: str) -> str:
    """Return the same text in another normal form, one of which the id is in."""
    for form in ("NFC", "NFD"):
        if (other := unicodedata.normalize(form, right)) != right:
            return other
    # What is ASCII has another form only where forms of compatibility count as equal.
    return "".join(chr(ord(one) + FULL_WIDTH) if "!" <= one <= "~" else one for one in right)


RESEMBLING: dict[str, tuple[Change, str]] = {
    "in another case": (str.swapcase, "Ids are compared without regard to case."),
    "with another last letter": (
        lambda right: right[:-1] + ("b" if right.endswith("a") else "a"),
        "Only the lengths of the ids are compared, or only their beginnings.",
    ),
    "in another normal form": (_other_form, "Ids are normalised before they are compared."),
    "with a space after it": (
        lambda right: f"{right} ",
        "Spaces at the end of an id are dropped.",
    ),
    "with a newline after it": (
        lambda right: f"{right}\n",
        "A newline at the end of an id is dropped.",
    ),
    "with a NUL after it": (lambda right: f"{right}\0", "A NUL ends an id."),
    "with U+FEFF before it": (
        lambda right: f"\ufeff{right}",
        "A leading U+FEFF of an id is dropped as a byte order mark.",
    ),
}
"""Ids made from the right one, each with the mistake that takes it for the right one."""


def _resembling(right: str, change: Change) -> str:
    """Return an id made from the right one; raises NotApplicable if there is none."""
    other = change(right)
    if other == right or len(other.encode()) > FORMATION_ID_MAX:
        raise NotApplicable(f"the formation id {right!r} has no such other id")
    return other


def _refuses_resembling(case_id: str, rules: tuple[str, ...], how: str) -> None:
    """Register a case in which the suite challenges with an id that resembles the right one."""
    change, hunts = RESEMBLING[how]
    title = f"a challenge with the id of the formation {how} must end the connection"
    spoil = _challenge_of(lambda right: _resembling(right, change))
    _abandons(case_id, title, rules, spoil, hunts)


def _rejects_resembling(case_id: str, rules: tuple[str, ...], how: str) -> None:
    """Register a case in which the suite dials with an id that resembles the right one."""
    change, hunts = RESEMBLING[how]

    async def rejects(run: CaseRun) -> None:
        assert run.session.target.formation is not None, "the case needs the handshake"
        right = run.session.target.formation.formation_id
        run.scope.names["other"] = _resembling(right, change)
        await connect(run, "X", ConnectSpec(handshake=False))
        spec = HandshakeSpec(formation_id="$other", result="rejected")
        await run_handshake(run, "X", "hs", spec)

    rejects.__doc__ = hunts
    case(
        case_id,
        f"an initiator that names the id of the formation {how} must be rejected",
        part="handshake",
        rules=rules,
        needs=("accepts", "dialect:H1"),
        isolation="peer",
        negative=True,
        control="MW-5601",
    )(rejects)


_refuses_resembling("MW-6550", ("HS-050",), "in another case")
_refuses_resembling("MW-6551", ("HS-050",), "with another last letter")
_refuses_resembling("MW-6552", ("HS-050",), "in another normal form")
_refuses_resembling("MW-6553", ("HS-050",), "with a space after it")
_refuses_resembling("MW-6554", ("HS-050",), "with a newline after it")
_refuses_resembling("MW-6555", ("HS-050",), "with a NUL after it")
_refuses_resembling("MW-6556", ("HS-050",), "with U+FEFF before it")
_rejects_resembling("MW-6560", ("HS-034",), "in another case")
_rejects_resembling("MW-6561", ("HS-034",), "with another last letter")
_rejects_resembling("MW-6562", ("HS-034",), "in another normal form")
_rejects_resembling("MW-6563", ("HS-034",), "with a space after it")
_rejects_resembling("MW-6564", ("HS-034",), "with a newline after it")
_rejects_resembling("MW-6565", ("HS-034",), "with a NUL after it")
_rejects_resembling("MW-6566", ("HS-034",), "with U+FEFF before it")


@spoiled_case(
    "MW-6024",
    "a challenge with a formation id of 256 bytes must be refused",
    rules=("HS-017",),
)
async def long_formation_id(run: CaseRun) -> None:
    """The limit of the id holds for acceptors alone, or is checked when the id has come."""
    call = await take_call(run)
    await call.take_first()
    size = FORMATION_ID_MAX + 1
    data, what = call.challenge(bytes(NONCE), size * "f"), "challenge"
    if call.dialect == H1:
        # The length alone suffices: no byte of the id follows.
        data, what = data[:2], f"a length of {size}"
    await call.write(data, what)
    await run.closed(["length-limit"])


# --- Deadlines ---------------------------------------------------------------------------------


@spoiled_case(
    "MW-6074",
    "a target that dials must give up on a side that sends no challenge",
    rules=("HS-056",),
    needs=WAITS,
)
async def no_challenge(run: CaseRun) -> None:
    """The deadline of a handshake runs in the side that was dialled alone."""
    call = await take_call(run)
    await call.take_first()
    await run.closed(["handshake-timeout"], within="handshake_s")


@spoiled_case(
    "MW-6412",
    "a target that dials must give up on a side that sends no result",
    rules=("HS-056",),
    needs=WAITS,
)
async def no_result(run: CaseRun) -> None:
    """The deadline is over with the challenge, and a connection without a result never ends."""
    call = await take_call(run)
    await call.take_proof()
    await run.closed(["handshake-timeout"], within="handshake_s")


@spoiled_case(
    "MW-6075",
    "a challenge that continues byte by byte must end at the deadline of the target",
    rules=("HS-056",),
    needs=WAITS,
)
async def trickled_challenge(run: CaseRun) -> None:
    """Each byte starts the deadline again, so that a connection without proof never ends."""
    call = await take_call(run)
    await call.take_first()
    whole = call.challenge(bytes(NONCE), FORMATION_ID_MAX * "f")
    head, _, rest = whole.partition(b"f")
    await call.write(head, "what stands before the id")
    await trickle(run, "A", b"f" + rest[: FORMATION_ID_MAX - 2], (await call.stream()).write)


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
    spoiled_case(case_id, title, part="lab-binding", rules=rules, level="wire")(is_refused)


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


@spoiled_case(
    "MW-6036",
    "a target that dials must give up on a side that sends no preamble",
    part="lab-binding",
    rules=("LB-008",),
    level="wire",
    needs=WAITS,
)
async def no_preamble(run: CaseRun) -> None:
    """The deadline of a preamble runs in the side that was dialled alone."""
    await take_call(run, preamble=b"")
    await run.closed(["handshake-timeout"], within="handshake_s")


@dialler_case(
    "MW-6076",
    "a target that dials must write its preamble without waiting for that of its peer",
    part="lab-binding",
    rules=("LB-001",),
    level="wire",
    needs=(*PROVES, "binding:tcp"),
)
async def early_preamble(run: CaseRun) -> None:
    """The side that dials lets the other one speak first, so that two such sides wait for ever."""
    call = await take_call(run, preamble=b"")
    # Where the target gives up, it is because of a silence that is meant.
    run.judge_deadline(call.connection)
    handshake_s = run.session.target.facts.deadlines.get("handshake_s", HANDSHAKE_S)
    # A target that waits may write its own only at the end of its deadline.
    came = await call.connection.ready(run.terms.deadline.beyond(handshake_s))
    if came:
        await call.lab.raw(_OWN)
    if not came or call.connection.closed is not None:
        raise CaseFailed("no-preamble", "no preamble came before that of the suite", missed=True)
    await call.check_echo()
