"""Requests to a codec harness as the lines that are sent: vectors, and whole reconciliations."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec
from msgspec import UNSET

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.catalogue.reconciliations import part_items
from meshwire_spec.schemas.reconciliation import Items, ReconciliationRun, Role
from meshwire_spec.schemas.vectors import Vector


@dataclass(frozen=True, slots=True)
class Ask:
    """One request for one case; `step` is what it is in the course of a run."""

    id: int
    case: Case
    op: str
    line: str
    step: object = None


def _line(number: int, op: str, **members: Any) -> str:
    return json.dumps({"id": number, "op": op, **members}, separators=(",", ":"))


def asks_of(case: Case, vector: Vector, first: int) -> Iterator[Ask]:
    """Requests of one vector, numbered from `first`.

    A value without bytes is to be encoded, and nothing else. Bytes are decoded; a positive's value
    is encoded again; an answer of the handshake is computed. What decodes although it is refused
    is not encoded: senders may refuse it too.
    """
    kind = vector.kind
    if vector.unencodable:
        yield Ask(first, case, "encode", _line(first, "encode", kind=kind, value=vector.value))
        return
    if not vector.respond or vector.written_value is not msgspec.UNSET:
        line = _line(first, "decode", kind=kind, data=vector.hex)
        yield Ask(first, case, "decode", line)
        first += 1
    if case.results["strict"] == "valid":
        line = _line(first, "encode", kind=kind, value=vector.value)
        yield Ask(first, case, "encode", line)
        first += 1
    if vector.respond:
        members = msgspec.to_builtins(vector.respond)
        yield Ask(first, case, "formation_respond", _line(first, "formation_respond", **members))


OPEN = "negentropy_open"
INITIATE = "negentropy_initiate"
RECONCILE = "negentropy_reconcile"
CLOSE = "negentropy_close"
RUN_PREFIX = "negentropy_"
OPERATIONS = frozenset((OPEN, INITIATE, RECONCILE, CLOSE))
"""Operations that a harness offers all of, or that are not asked of it."""
ROLES: tuple[Role, ...] = ("client", "server")


@dataclass(frozen=True, slots=True)
class Step:
    """One request of a run and its right answer.

    `sent` is the message given, if one is, and `at` the index of the one expected. `reply` is what
    comes back: bytes in hex, "" where the client is done. `found` is how many ids it has and needs
    by this message, `ends` whether all of them are known then. A `bad` message is to be refused.
    """

    op: str
    role: str
    members: str
    sent: str = ""
    at: int = 0
    reply: str | None = None
    found: tuple[int, int] = (0, 0)
    ends: bool = False
    bad: bool = False


def steps_of(run: ReconciliationRun) -> Iterator[Step]:
    """Every request of a run in order, each side's from its opening to its closing."""
    if run.bad is not UNSET:
        yield from _side(run, run.bad_role)
        return
    for role in ROLES:
        if (run.only or role) == role:
            yield from _side(run, role)


def _side(run: ReconciliationRun, role: Role) -> Iterator[Step]:
    messages = run.messages
    side = run.side(role)
    text = f"[{','.join(part for part in map(_part_text, side.items) if part)}]"
    yield Step(OPEN, role, f'"role":"{role}","frame_limit":{side.frame_limit},"items":{text}')
    first = ROLES.index(role)
    if role == "client":
        yield Step(INITIATE, role, "", reply=messages[0])
    for at in range(1 - first, len(messages), 2):
        if run.bad is not UNSET and at + 1 == len(messages):
            break
        yield _reconcile(run, role, at)
    if run.bad is not UNSET:
        yield Step(RECONCILE, role, f'"message":"{run.bad}"', sent=run.bad, bad=True)
    yield Step(CLOSE, role, "")


def _reconcile(run: ReconciliationRun, role: Role, at: int) -> Step:
    messages = run.messages
    reply = messages[at + 1] if at + 1 < len(messages) else ""
    is_client = role == "client"
    found = run.found[at // 2] if is_client and run.found else (0, 0)
    ends = is_client and run.bad is UNSET and at + 2 >= len(messages)
    members = f'"message":"{messages[at]}"'
    return Step(RECONCILE, role, members, messages[at], at + 1, reply, found, ends)


@cache
def _part_text(part: Items) -> str:
    """Items of a part of a set as they stand in a request; many sets share their parts."""
    return ",".join(f'["{timestamp}","{name.hex()}"]' for timestamp, name in part_items(part))


def asks_of_run(case: Case, run: ReconciliationRun, first: int) -> Iterator[Ask]:
    """Requests of one run, numbered from `first`; a session has the number of its opening."""
    session = first
    for number, step in enumerate(steps_of(run), start=first):
        if step.op == OPEN:
            session = number
        more = f",{step.members}" if step.members else ""
        line = f'{{"id":{number},"op":"{step.op}","session":{session}{more}}}'
        yield Ask(number, case, step.op, line, step)


def ids_in(result: Any, member: str) -> list[bytes] | None:
    """Ids that an answer lists, or None where it lists none in the shape of the page."""
    names = result.get(member) if isinstance(result, dict) else None
    if not isinstance(names, list):
        return None
    try:
        return [bytes.fromhex(name) for name in names]
    except (TypeError, ValueError):
        return None


def union(found: Sequence[Sequence[bytes]]) -> list[bytes]:
    """All ids found over a run, in order, each once."""
    return sorted({name for ids in found for name in ids})
