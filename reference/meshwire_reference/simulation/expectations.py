"""What must occur over many seeds: every fault, transition and reason but those listed here."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from meshwire_reference.simulation.bad_streams import HOSTILE
from meshwire_reference.simulation.plan import FAULTS
from meshwire_reference.simulation.transitions import transition_names

REFUSED: Final = (*HOSTILE, "document-limit", "internal")
"""Reasons for which a node of the run refuses a stream at some time."""
NEVER: Final[Mapping[str, str]] = MappingProxyType({})
"""Transitions that no run causes, each with the reason."""


def expected_names() -> Iterator[str]:
    """Yield the name of everything that must be counted at least once."""
    yield from (f"fault: {kind}" for kind in FAULTS)
    yield from (f"refused: {reason}" for reason in REFUSED)
    yield from (name for name in transition_names() if name not in NEVER)
