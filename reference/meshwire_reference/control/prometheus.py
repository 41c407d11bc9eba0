"""The counters of a node as text of Prometheus: the doorway of the library `prometheus-client`.

Each counter is there in all, as `meshwire_NAME_total`, and by peer, as `meshwire_peer_NAME_total`
with the label `peer`, so that a sum over one name counts nothing twice.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

from meshwire_reference.backend.statistics import (
    COUNTERS,
    CounterRow,
    CountsSnapshot,
    NodeStatistics,
)

GAUGES: Final[Mapping[str, str]] = {
    "kept_documents": "Documents that the node holds, deleted ones too.",
    "kept_tombstones": "Tombstones that the node holds.",
    "sessions": "Connections that are open.",
    "streams": "Streams in use or requested.",
    "documents": "Documents with work that is not over.",
    "held": "Connections with effects that wait for a write.",
    "outbound_bytes": "Bytes made for peers and not sent.",
    "inbound_bytes": "Bytes of frames that have begun to come.",
}
"""What a node is at, by name, with its help."""
LAST: Final = "When the last document or tombstone was taken or sent, in seconds since 1970."
MS_PER_S: Final = 1000


class NodeCollector(Collector):
    """Collects the counters of one node."""

    def __init__(self, read: Callable[[], NodeStatistics]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """Yield every counter as it is now."""
        statistics = self._read()
        parts: dict[str | None, CountsSnapshot] = {None: statistics.total}
        peers: dict[str | None, CountsSnapshot] = dict(statistics.by_peer.items())
        for row in COUNTERS:
            yield family(f"meshwire_{row.name}", row, parts)
            yield family(f"meshwire_peer_{row.name}", row, peers)
        for name, value in statistics.now.items():
            yield GaugeMetricFamily(f"meshwire_now_{name}", GAUGES[name], value=value)
        yield last_exchange(statistics)


def family(name: str, row: CounterRow, parts: Mapping[str | None, CountsSnapshot]) -> Metric:
    """Return the numbers of one counter; `parts` are those of peers, by None the ones in all."""
    labels = [*(["peer"] if None not in parts else []), *([row.label] if row.label else [])]
    metric = CounterMetricFamily(name, row.means, labels=labels)
    for peer, counts in parts.items():
        named = [] if peer is None else [peer]
        if row.label:
            for value, number in counts.by_label[row.name].items():
                metric.add_metric([*named, value], number)
        else:
            metric.add_metric(named, counts.numbers[row.name])
    return metric


def last_exchange(statistics: NodeStatistics) -> Metric:
    """Return when something was exchanged last with each peer."""
    metric = GaugeMetricFamily("meshwire_peer_last_exchange_seconds", LAST, labels=["peer"])
    for peer, counts in statistics.by_peer.items():
        if counts.last_ms is not None:
            metric.add_metric([peer], counts.last_ms / MS_PER_S)
    return metric


def exposition(read: Callable[[], NodeStatistics], accept: str) -> tuple[bytes, str]:
    """Return the text for what a client accepts, and its content type."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(NodeCollector(read))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type
