"""Requests to a codec harness, written out as the lines that are sent."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from meshwire_conformance.catalogue.case import Case
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
