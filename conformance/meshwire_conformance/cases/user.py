"""What a case asks the target for as its own user, over the control socket."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from meshwire_conformance.errors import SuiteFault
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.evidence import CaseFailed, Sending
from meshwire_conformance.targets.control import BadReply, ControlSocket
from meshwire_spec.schemas.control import ControlReply, StatsOut

USER = "of the control socket"
"""The user of the target, in the place of a peer in a report."""
NO_REPLY = "no-reply"


async def ask(run: CaseRun, do: str, **members: Any) -> ControlReply:
    """Send a request and return its reply, which may be an error; fails if none comes."""
    path = run.session.target.facts.control
    if path is None:
        raise SuiteFault(f"{run.case_id} needs `control`")
    said = json.dumps({"do": do, **members})
    run.evidence.sent.append(Sending(USER, None, said))
    run.session.settings.trace({"asked": do, "case": run.case_id, **members})
    try:
        return await ControlSocket(path).ask(do, run.deadline_s, **members)
    except TimeoutError as exc:
        raise CaseFailed(
            NO_REPLY,
            f"no reply to `{do}` came",
            expected=("a reply",),
            received=("nothing within the deadline",),
            missed=True,
        ) from exc
    except BadReply as exc:
        raise CaseFailed("bad-reply", str(exc), expected=("a reply",)) from exc


async def do(run: CaseRun, what: str, **members: Any) -> ControlReply:
    """Send a request that has to be carried out, and return its reply."""
    reply = await ask(run, what, **members)
    if reply.error:
        error = reply.error
        raise CaseFailed(
            f"refused {error.code}",
            f"the target did not carry out `{what}`: {error.message}",
            expected=("a reply without `error`",),
            received=(f"error {error.code}",),
        )
    return reply


async def put(run: CaseRun, key: str, **fields: Any) -> dict[str, Any]:
    """Write fields of the document of this key as the user; return all that it has then."""
    reply = await do(run, "put", **_named(run, key), fields=fields)
    if not reply.document:
        raise CaseFailed("bad-reply", "the reply to `put` has no document")
    return reply.document.fields


async def ask_to_put(run: CaseRun, key: str, **fields: Any) -> ControlReply:
    """Write fields as the user, where the target may refuse that; return the reply."""
    return await ask(run, "put", **_named(run, key), fields=fields)


async def delete(run: CaseRun, key: str) -> None:
    """Delete the document of this key as the user."""
    await do(run, "delete", **_named(run, key))


async def fields_of(run: CaseRun, key: str) -> dict[str, Any] | None:
    """Return the fields of a document as the user sees them, None if there is no document."""
    reply = await ask(run, "get", **_named(run, key))
    if reply.error and reply.error.code == "no-document":
        return None
    if not reply.document:
        raise CaseFailed("bad-reply", "the reply to `get` has neither a document nor `no-document`")
    return reply.document.fields


async def advance(run: CaseRun, seconds: float, wall_ms: int | None = None) -> None:
    """Put the clocks of the target forward, and set that of its calendar if a time is given."""
    more = {} if wall_ms is None else {"wall_ms": wall_ms}
    await do(run, "clock", advance_s=seconds, **more)


async def wall_ms(run: CaseRun) -> int:
    """Return the time of the calendar of the target in ms since 1970."""
    reply = await do(run, "clock")
    if not reply.clock:
        raise CaseFailed("bad-reply", "the reply to `clock` has no time")
    return reply.clock.wall_ms


async def counters(run: CaseRun) -> StatsOut:
    """Return the counters of the target."""
    reply = await do(run, "stats")
    if not reply.stats:
        raise CaseFailed("bad-reply", "the reply to `stats` has no counters")
    return reply.stats


async def wait_for_loss(run: CaseRun) -> None:
    """Wait until the target has noticed that a connection which it has dialled is lost."""
    loop = asyncio.get_running_loop()
    end_s = loop.time() + run.deadline_s
    while True:
        peers = (await do(run, "peers")).peers
        if not peers:
            raise CaseFailed("bad-reply", "the reply to `peers` has none")
        if any(one.addresses and not one.connected and one.why for one in peers.known):
            return
        if loop.time() > end_s:
            raise CaseFailed(
                "still-connected", "the target lists a closed connection as open", missed=True
            )


def _named(run: CaseRun, key: str) -> dict[str, str]:
    """Return the members of a request that name the document of a key."""
    collection, _, document = run.scope.text(key).partition(":")
    return {"collection": collection, "document": document}
