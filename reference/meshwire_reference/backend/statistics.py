"""The counters of a node as values: in all, of each peer, and what the node is at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from meshwire_reference.core.counts import COUNTERS, CounterRow, CountsSnapshot
from meshwire_reference.node.driver import Node

__all__ = ["COUNTERS", "CounterRow", "CountsSnapshot", "NodeStatistics", "statistics_of"]


@dataclass(frozen=True, slots=True)
class NodeStatistics:
    """Every counter of a node since its start, as it was at one moment; nothing changes in it.

    `by_peer` has the peers of which something was counted last, by endpoint id; `now` has what is
    held and under way.
    """

    total: CountsSnapshot
    by_peer: Mapping[str, CountsSnapshot]
    now: Mapping[str, int]


def statistics_of(node: Node) -> NodeStatistics:
    """Return the counters of a node as they are now. Source: rows A-14, A-75, N-16, N-18, D-154."""
    counted = node.statistics
    now = {"kept_documents": len(node.keys), "kept_tombstones": node.tombstones}
    now |= asdict(node.outstanding)
    return NodeStatistics(counted.snapshot(), counted.by_peer(), now)
