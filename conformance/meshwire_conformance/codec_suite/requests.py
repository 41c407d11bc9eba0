"""Requests to a codec harness as lines: for vectors, and for whole reconciliations."""

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
    """One request of one case; `step` is its place in a run of reconciliation."""

    id: int
    case: Case
    op: str
    line: str
    step: object = None


def _line(number: int, op: str, **members: Any) -> str:
    return json.dumps({"id": number, "op": op, **members}, separators=(",", ":"))


def asks_of(case: Case, vector: Vector, first: int) -> Iterator[Ask]:
    """Yield the requests of one vector, numbered from `first`.

    A value without bytes has one request: encode. Otherwise the bytes are decoded, the value of a
    positive is encoded again, and an answer of the handshake is computed. A value that decodes
    although it is refused is not encoded, since a sender may refuse it too.
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
"""Operations of a run: a harness offers all of them or none."""
ROLES: tuple[Role, ...] = ("client", "server")


@dataclass(frozen=True, slots=True)
class Step:
    """One request of a run and its correct answer.

    `sent` is the message given, if there is one, and `at` the index of the expected message.
    `reply` is the expected answer: bytes in hex, "" if the client is done. `found` is the number of
    ids that it has and needs after this message, `ends` is True if all of them are known then. A
    `bad` message must be refused.
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
    """Yield every request of a run in order, for each side from its opening to its closing."""
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
    """Return the items of one part of a set in the form of a request; the result is shared."""
    return ",".join(f'["{timestamp}","{name.hex()}"]' for timestamp, name in part_items(part))


def asks_of_run(case: Case, run: ReconciliationRun, first: int) -> Iterator[Ask]:
    """Yield the requests of one run, numbered from `first`.

    A session has the number of the request that opens it.
    """
    session = first
    for number, step in enumerate(steps_of(run), start=first):
        if step.op == OPEN:
            session = number
        more = f",{step.members}" if step.members else ""
        line = f'{{"id":{number},"op":"{step.op}","session":{session}{more}}}'
        yield Ask(number, case, step.op, line, step)


def ids_in(result: Any, member: str) -> list[bytes] | None:
    """Return the ids that an answer lists, or None if the member does not have that form."""
    names = result.get(member) if isinstance(result, dict) else None
    if not isinstance(names, list):
        return None
    try:
        return [bytes.fromhex(name) for name in names]
    except (TypeError, ValueError):
        return None


def union(found: Sequence[Sequence[bytes]]) -> list[bytes]:
    """Return all ids found in a run, sorted and unique."""
    return sorted({name for ids in found for name in ids})
