"""What a target offers beyond the profile, found out where it does not say.

A target that is dialled by its address alone states nothing, and a case about a part that it does
not offer would be as unfair to it as none at all. So each optional capability has a question whose
answer only a node that offers the part gives.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.protocol.frame_content import whole_frame
from meshwire_conformance.socket_suite.calibration import PROBE
from meshwire_conformance.socket_suite.deadlines import FLOOR_S
from meshwire_conformance.socket_suite.peers import Session
from meshwire_conformance.targets.transport import Connection
from meshwire_spec.codec import Malformed, Message, decode, encode
from meshwire_spec.numbers import NEGENTROPY_KEY, FrameType

NO_ITEMS = bytes.fromhex("6100000200")
"""The first message of a client that holds nothing."""


async def find_capabilities(session: Session, cases: Iterable[Case]) -> None:
    """Find out what the target of a session leaves unsaid, as far as cases depend on it."""
    target = session.target
    wanted = {need.removeprefix("without:") for case in cases for need in case.needs}
    found = set()
    for name in sorted(target.facts.unsaid & wanted):
        deadline_s = FLOOR_S * session.settings.timeout_scale
        try:
            connection = await session.peer(PROBE).connection()
            async with asyncio.timeout(deadline_s):
                offers = await _QUESTIONS[name](connection, deadline_s)
        except (ConnectionError, TimeoutError):
            offers = False
        if offers:
            found.add(name)
        said = "offers" if offers else "does not offer"
        session.settings.trace({"note": f"asked, since it says nothing: the target {said} {name}"})
    target.facts = replace(target.facts, capabilities=target.facts.capabilities | found)


async def _answers_a_run(connection: Connection, deadline_s: float) -> bool:
    """Whether a reconciliation is answered on its stream (NG-014)."""
    fields = {
        "key": NEGENTROPY_KEY,
        "type": int(FrameType.NEGENTROPY_INIT),
        "payload": NO_ITEMS,
    }
    stream = await connection.open()
    await stream.write(encode(Message("stream_frame", fields)))
    await stream.finish()
    await stream.wait_for(lambda: stream.read_over or stream.refused, deadline_s)
    try:
        answer = decode("stream_frame", bytes(stream.received[: whole_frame(stream.received)]))
    except Malformed:
        return False
    return bool(answer.fields["type"] == FrameType.NEGENTROPY_RESPONSE)


_QUESTIONS: Mapping[str, Callable[[Connection, float], Awaitable[bool]]] = {
    "reconciliation": _answers_a_run,
}
"""How each optional capability is asked for."""
