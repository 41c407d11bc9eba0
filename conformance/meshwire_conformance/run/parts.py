"""The parts of the suite: which cases each of them judges, and the function that runs it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from meshwire_conformance.catalogue.case import OPLOG_SESSION, SOCKET, Case
from meshwire_conformance.contracts import Part
from meshwire_conformance.targets.base import SCHEMES


@dataclass(frozen=True, slots=True)
class SuitePart:
    """A part of the suite.

    `takes` returns True for the cases that it judges, `needs` describes the target that it needs,
    and `load` imports the module of the part and returns its function.
    """

    takes: Callable[[Case], bool]
    needs: str
    load: Callable[[], Part]


def _codec() -> Part:
    from meshwire_conformance.codec_suite.part import run  # noqa: PLC0415 - a row of PARTS

    return run


def _socket() -> Part:
    from meshwire_conformance.socket_suite.part import run  # noqa: PLC0415 - heavy: a row of PARTS

    return run


def _oplog() -> Part:
    from meshwire_conformance.oplog_suite.part import run  # noqa: PLC0415 - heavy: a row of PARTS

    return run


PARTS: Mapping[str, SuitePart] = {
    "codec": SuitePart(
        lambda case: case.kind not in (SOCKET, OPLOG_SESSION), "a codec harness", _codec
    ),
    "socket": SuitePart(lambda case: case.kind == SOCKET, "a connection", _socket),
    "oplog": SuitePart(lambda case: case.kind == OPLOG_SESSION, "a WebSocket", _oplog),
}
"""Every part by the name that `targets.base.SCHEMES` uses; a new profile is a module and a row."""


def part_over(scheme: str) -> SuitePart:
    """Return the part that runs over a scheme."""
    return PARTS[SCHEMES[scheme].part]


def needs_of(case: Case) -> str:
    """Return a description of the target that the part for this case needs."""
    return next(part.needs for part in PARTS.values() if part.takes(case))
