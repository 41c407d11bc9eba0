"""Decides whether a target offers what a case needs, and finds out what it does not state.

A target that is dialled by its address states nothing, and a case about a part that it does not
offer would be unfair. So for each optional capability there is a request that only a node with that
part answers.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace

from meshwire_conformance.catalogue.case import DIALS_OVER, SHOWS, Case
from meshwire_conformance.documents.client import INSTALL_LINE, Unavailable
from meshwire_conformance.protocol.frame_content import whole_frame
from meshwire_conformance.socket_suite.calibration import FLOOR_S, PROBE
from meshwire_conformance.socket_suite.content import Doorway, open_doorway
from meshwire_conformance.socket_suite.peers import Session
from meshwire_conformance.targets.attach import Target
from meshwire_conformance.targets.control import BadReply, ControlSocket
from meshwire_conformance.targets.handshake import (
    H1,
    OTHER,
    Gate,
    HandshakeFailed,
    NoAnswer,
    prove,
    take_proof,
)
from meshwire_conformance.targets.transport import Connection, Overdue
from meshwire_conformance.verdicts import TOO_SLOW, CaseResult, Verdict
from meshwire_spec.codec import Malformed, Message, decode, encode
from meshwire_spec.numbers import ENDPOINT_ID, NEGENTROPY_KEY, FrameType
from meshwire_spec.schemas.control import StatusOut

MANY = 8
"""Connections that cases which do not depend on who dials may need: shared ones, and their own."""
ANY_PROOF = "secret"
"""The dialect of a case that fits every one with a handshake."""
INSTALL_DOCUMENTS = f"needs Automerge: {INSTALL_LINE}"


async def open_documents() -> Doorway | None:
    """Return the doorway to Automerge, or None if it is not installed."""
    try:
        return await open_doorway()
    except Unavailable:
        return None


def unmet(case: Case, target: Target, documents: Doorway | None) -> CaseResult | None:
    """Return the verdict of a case that cannot be run against this target, or None if it can."""
    why_not = _check_roles(case, target)
    if why_not is not None:
        return CaseResult(case.id, Verdict.NOT_APPLICABLE, (why_not,))
    for need in case.needs:
        if need == "documents":
            if documents is None:
                return CaseResult(case.id, Verdict.COULD_NOT_RUN, (INSTALL_DOCUMENTS,))
            continue
        name = need.removeprefix("without:")
        if name in target.facts.unsure:
            why = f"the target {_SAID[None]} {name}; a greater --timeout-scale gives it more time"
            return CaseResult(case.id, Verdict.COULD_NOT_RUN, (why,), symptom=TOO_SLOW)
        why_not = _why_not(need, target)
        if why_not is not None:
            return CaseResult(case.id, Verdict.NOT_APPLICABLE, (why_not,))
    return None


def _check_roles(case: Case, target: Target) -> str | None:
    """Return why a case cannot be run where the target dials every connection, or None."""
    if not target.is_called or target.listener is None or "dials" in case.needs:
        return None
    dials = len(target.listener.addresses)
    return None if dials >= MANY else f"needs {MANY} addresses that the target dials"


def _why_not(need: str, target: Target) -> str | None:
    kind, _, name = need.partition(":")
    check = _CHECKS.get(kind)
    return _check_capability(need, target) if check is None else check(name, target)


def _check_dialect(name: str, target: Target) -> str | None:
    spoken = target.facts.dialect
    if name == ANY_PROOF and spoken != "open":
        return None
    return None if spoken == name else f"the target speaks dialect {spoken}"


def _check_binding(name: str, target: Target) -> str | None:
    return None if target.binding == name else f"the target is reached over {target.binding}"


def _check_shows(name: str, target: Target) -> str | None:
    shown = name in target.dialler.shows
    return None if shown else f"{target.binding} cannot show this: {name}"


def _check_deadline(name: str, target: Target) -> str | None:
    return None if name in target.facts.deadlines else f"the target declares no {name}"


def _check_cap(size: str, target: Target) -> str | None:
    cap = target.facts.payload_cap
    return None if cap <= int(size) else f"the target takes payloads of {cap} bytes"


def _check_dials(number: str, target: Target) -> str | None:
    if target.listener is None:
        return "the target was given no address of the suite to dial"
    wanted, given = int(number or 1), len(target.listener.addresses)
    return None if given >= wanted else f"needs {wanted} addresses that the target dials"


def _check_dials_over(binding: str, target: Target) -> str | None:
    if target.listener is None or target.listener.binding == binding:
        return _check_dials("", target)
    return f"the target dials over {target.listener.binding}"


def _check_dials_named(_name: str, target: Target) -> str | None:
    return None if target.named else "the target was given no address that names an endpoint"


def _check_accepts(_name: str, target: Target) -> str | None:
    return "the target dials every connection" if target.is_called else None


def _check_process(_name: str, target: Target) -> str | None:
    return None if target.node is not None else "the suite did not start this target"


def _check_control(_name: str, target: Target) -> str | None:
    if target.facts.control is None:
        return "the target names no control socket"
    return _check_capability("control", target)


def _check_enrollment(_name: str, target: Target) -> str | None:
    if target.facts.enrollment is None:
        return "the target names no address at which it enrolls"
    return _check_capability("enrollment", target)


def _check_capability(name: str, target: Target) -> str | None:
    return None if name in target.facts.capabilities else f"the target does not offer {name}"


def _check_without(name: str, target: Target) -> str | None:
    return f"the target offers {name}" if name in target.facts.capabilities else None


_CHECKS: dict[str, Callable[[str, Target], str | None]] = {
    "dialect": _check_dialect,
    "binding": _check_binding,
    SHOWS: _check_shows,
    "deadline": _check_deadline,
    "cap": _check_cap,
    "process": _check_process,
    "dials": _check_dials,
    DIALS_OVER: _check_dials_over,
    "dials-named": _check_dials_named,
    "accepts": _check_accepts,
    "without": _check_without,
    "control": _check_control,
    "enrollment": _check_enrollment,
}
"""Checks by the kind of need; any other need is a capability."""


ASKED_MAX = 2
"""Times that a target is asked for a capability before it counts as unsure."""
_SAID = {True: "offers", False: "does not offer", None: "does not show in time whether it offers"}
NO_ITEMS = bytes.fromhex("6100000200")
"""The first message of a client that holds nothing."""


async def find_capabilities(session: Session, cases: Iterable[Case]) -> None:
    """Find out which unstated capabilities the target has, if a case depends on them."""
    target = session.target
    wanted = {need.removeprefix("without:") for case in cases for need in case.needs}
    found: dict[str, bool | None] = {}
    for name in sorted(target.facts.unsaid & wanted):
        for _ in range(ASKED_MAX):
            found[name] = await _offers(name, session)
            if found[name] is not None:
                break
        note = f"asked, since it says nothing: the target {_SAID[found[name]]} {name}"
        session.settings.trace({"note": note})
    target.facts = replace(
        target.facts,
        capabilities=target.facts.capabilities | {name for name in found if found[name]},
        unsure=frozenset(name for name in found if found[name] is None),
    )
    if target.formation is not None:
        detects = "detection" in target.facts.capabilities
        target.formation = replace(target.formation, detects=detects)


async def _offers(name: str, session: Session) -> bool | None:
    """Return whether the target offers a capability, None if it does not show that in time."""
    deadline_s = FLOOR_S * session.settings.timeout_scale
    try:
        connection = await session.peer(PROBE).connection()
        async with asyncio.timeout(deadline_s):
            return await _QUESTIONS[name](session, connection, deadline_s)
    except (Overdue, TimeoutError):
        return None
    except ConnectionError:
        return False


async def _begins_a_run(session: Session, connection: Connection, deadline_s: float) -> bool | None:
    """Return True if the target has begun a run by the time at which it answers another one."""
    await _answers_a_run(session, connection, deadline_s)
    return session.inbox.has_refused_run(PROBE)


async def _answers_a_run(
    _session: Session, connection: Connection, deadline_s: float
) -> bool | None:
    """Return True if a reconciliation is answered on its stream (NG-014)."""
    fields = {
        "key": NEGENTROPY_KEY,
        "type": int(FrameType.NEGENTROPY_INIT),
        "payload": NO_ITEMS,
    }
    stream = await connection.open()
    await stream.write(encode(Message("stream_frame", fields)))
    await stream.finish()
    if not await stream.wait_for(lambda: stream.read_over or stream.refused, deadline_s):
        return None
    try:
        answer = decode("stream_frame", bytes(stream.received[: whole_frame(stream.received)]))
    except Malformed:
        return False
    return bool(answer.fields["type"] == FrameType.NEGENTROPY_RESPONSE)


async def _serves_both(session: Session, _connection: Connection, deadline_s: float) -> bool | None:
    """Return True if the target completes a handshake in the other dialect too (HS-062).

    An acceptor of H1 alone takes the version of H2 for half a length, and waits for the rest.
    """
    target = session.target
    formation = target.formation
    if formation is None or target.is_called:
        return False
    other = replace(formation, dialect=OTHER[formation.dialect])
    again = await target.dial(session.peer(PROBE).dial(), deadline_s)
    try:
        await prove(again, other, deadline_s / 2)
    except NoAnswer:
        return False if formation.dialect == H1 else None
    except HandshakeFailed:
        return False
    finally:
        await again.close()
    return True


async def _proves_itself(
    session: Session, _connection: Connection, deadline_s: float
) -> bool | None:
    """Return True if the target proves itself to a peer that it has accepted (HS-070)."""
    target = session.target
    formation = target.formation
    if formation is None or target.is_called:
        return False
    gate = Gate(session.peer(PROBE).dial())
    again = await target.dial(replace(session.peer(PROBE).dial(), on_stream=gate), deadline_s)
    is_accepted = False
    try:
        await prove(again, formation, deadline_s / 2)
        is_accepted = True
        await take_proof(again, gate, formation, deadline_s / 2)
    except NoAnswer:
        return False if is_accepted else None
    except HandshakeFailed:
        return False
    finally:
        await again.close()
    return True


async def _serves_its_user(
    session: Session, _connection: Connection, deadline_s: float
) -> bool | None:
    """Return True if the target says at its control socket what it is."""
    return await _status(session, deadline_s) is not None


async def _takes_roles(session: Session, _connection: Connection, deadline_s: float) -> bool | None:
    """Return True if the target takes there the role of a peer that does not exist."""
    path = session.target.facts.control
    if path is None:
        return None
    nobody = secrets.token_hex(ENDPOINT_ID)
    try:
        reply = await ControlSocket(path).ask("role", deadline_s, endpoint_id=nobody, role=None)
    except BadReply:
        return None
    return reply.assigned is True


async def _serves_tests(
    session: Session, _connection: Connection, deadline_s: float
) -> bool | None:
    """Return True if the target says there that it was started for tests."""
    status = await _status(session, deadline_s)
    return status is not None and status.for_tests is True


async def _enrolls(session: Session, _connection: Connection, _deadline_s: float) -> bool | None:
    """Return True if the target names where it enrolls: nothing else would show it."""
    return session.target.facts.enrollment is not None


async def _demands_certificates(
    session: Session, _connection: Connection, deadline_s: float
) -> bool | None:
    """Return True if the target takes there that it is to demand no certificates."""
    path = session.target.facts.control
    if path is None:
        return None
    try:
        reply = await ControlSocket(path).ask("trust", deadline_s, mesh_id="", roots=[])
    except BadReply:
        return None
    return reply.trusted is True


async def _status(session: Session, deadline_s: float) -> StatusOut | None:
    path = session.target.facts.control
    if path is None:
        return None
    try:
        return (await ControlSocket(path).ask("status", deadline_s)).status or None
    except BadReply:
        return None


_QUESTIONS: Mapping[str, Callable[[Session, Connection, float], Awaitable[bool | None]]] = {
    "reconciliation": _answers_a_run,
    "reconciles": _begins_a_run,
    "detection": _serves_both,
    "mutual-proof": _proves_itself,
    "control": _serves_its_user,
    "roles": _takes_roles,
    "enrollment": _enrolls,
    "certificates": _demands_certificates,
    "test-control": _serves_tests,
}
"""Requests that find out optional capabilities, by capability."""
