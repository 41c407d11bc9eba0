"""How often each transition of the core occurs in a run.

The tables of the core are replaced by ones that count, for as long as a run lasts; nothing else
about the core changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, Final

from meshwire_reference.core.peer import handshake, handshake_h2, inbound, session
from meshwire_reference.core.reconciliation import client
from meshwire_reference.core.sending import initial_exchange
from meshwire_reference.simulation.record import RunRecord

MACHINES: Final[Mapping[str, tuple[Any, str]]] = {
    "session": (session, "SESSION"),
    "inbound stream": (inbound, "INBOUND_STREAM"),
    "initial exchange": (initial_exchange, "INITIAL_EXCHANGE"),
    "own run": (client, "OWN_RUN"),
    "acceptor": (handshake.Acceptor, "table"),
    "acceptor of H2": (handshake_h2.AcceptorH2, "table"),
    "detection": (handshake_h2.Detection, "table"),
    "initiator": (handshake.Initiator, "table"),
}
"""Where the core looks each table up."""


class CountedTable(dict[tuple[StrEnum, StrEnum], StrEnum]):
    """A table that counts what is looked up in it."""

    def __init__(
        self, name: str, table: Mapping[tuple[StrEnum, StrEnum], StrEnum], record: RunRecord
    ) -> None:
        super().__init__(table)
        self._names = {place: transition_name(name, place) for place in table}
        self._counts = record.counts

    def __getitem__(self, place: tuple[StrEnum, StrEnum]) -> StrEnum:
        found = super().__getitem__(place)
        self._counts[self._names[place]] += 1
        return found


def transition_name(machine: str, place: tuple[StrEnum, StrEnum]) -> str:
    """Return under which name a transition is counted."""
    return f"transition: {machine}: {place[0].value}, {place[1].value}"


@contextmanager
def counted(record: RunRecord) -> Iterator[None]:
    """Count the transitions of every core in a record."""
    before = {name: getattr(owner, table) for name, (owner, table) in MACHINES.items()}
    for name, (owner, table) in MACHINES.items():
        setattr(owner, table, CountedTable(name, before[name], record))
    try:
        yield
    finally:
        for name, (owner, table) in MACHINES.items():
            setattr(owner, table, before[name])


def transition_names() -> Iterator[str]:
    """Yield the name of every transition of the core."""
    for name, (owner, table) in MACHINES.items():
        for place in getattr(owner, table):
            yield transition_name(name, place)
