"""The counters of every node of a run equal what its network and its users have counted."""

from __future__ import annotations

from collections import Counter

import pytest
from prometheus_client.parser import text_string_to_metric_families

from meshwire_reference.backend.statistics import NodeStatistics
from meshwire_reference.control.prometheus import exposition
from meshwire_reference.simulation.course import run
from meshwire_reference.simulation.links import Side
from meshwire_reference.simulation.node import SimulatedNode
from meshwire_reference.simulation.plan import BRIEF, Plan, StepKind, draw_plan
from meshwire_reference.simulation.record import RunRecord
from meshwire_reference.simulation.visitor import ACKNOWLEDGED
from meshwire_reference.simulation.world import World
from meshwire_reference.wire.frames import FrameReader

HARMLESS = frozenset(
    (
        StepKind.EDIT,
        StepKind.LOCAL_EDIT,
        StepKind.DELETE,
        StepKind.LOCAL_DELETE,
        StepKind.DISCONNECT,
        StepKind.HOSTILE,
    )
)
"""Steps after which the network still has counted all that the nodes have: no node crashes."""


class CountingWorld(World):
    """A run whose network counts bytes and frames by node and peer."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan, RunRecord())
        self.bytes: Counter[tuple[str, int, str]] = Counter()
        self.frames: Counter[tuple[str, int, str, int]] = Counter()

    def note_sent(self, side: Side, stream: int, data: bytes) -> None:
        """Count what a node sends."""
        super().note_sent(side, stream, data)
        self._count("sent", side, data, is_whole=True)

    def note_arrival(self, side: Side, stream: int, data: bytes) -> None:
        """Count what reaches a node."""
        super().note_arrival(side, stream, data)
        # An application may send a part of a frame, or what is none.
        self._count("received", side, data, is_whole=isinstance(side.other.host, SimulatedNode))

    def _count(self, way: str, side: Side, data: bytes, *, is_whole: bool) -> None:
        if not isinstance(side.host, SimulatedNode):
            return
        number, peer = side.host.number, peer_of(side.other)
        self.bytes[way, number, peer] += len(data)
        # A heartbeat is no frame.
        for frame in FrameReader().feed(data) if is_whole and data[:1] == b"\0" else ():
            self.frames[way, number, peer, frame.type] += 1


def peer_of(side: Side) -> str:
    """Return the endpoint id of the host of a side."""
    host = side.host
    peer = host.identity.endpoint_id if isinstance(host, SimulatedNode) else vars(host)["peer_id"]
    return bytes(peer).hex()


def frames_of(world: CountingWorld, way: str, number: int, peer: str) -> dict[str, int]:
    """Return the frames that the network has counted, by type."""
    return {
        f"0x{kind:02x}": times
        for (one, of, to, kind), times in world.frames.items()
        if (one, of, to) == (way, number, peer)
    }


@pytest.fixture(scope="module")
def world() -> CountingWorld:
    """Return a run of several nodes that is over."""
    plan = draw_plan(4, BRIEF)
    world = CountingWorld(
        plan.only(steps=[step.number for step in plan.steps if step.kind in HARMLESS])
    )
    run(world)
    return world


def test_bytes_and_frames_are_those_of_the_network(world: CountingWorld) -> None:
    """By peer, and in all: D-154."""
    for number, node in world.nodes.items():
        statistics = node.core.statistics
        sent = received = 0
        for peer, counts in statistics.by_peer().items():
            assert counts.numbers["sent_bytes"] == world.bytes["sent", number, peer]
            assert counts.numbers["received_bytes"] == world.bytes["received", number, peer]
            assert counts.by_label["sent_frames"] == frames_of(world, "sent", number, peer)
            if frames := frames_of(world, "received", number, peer):
                assert counts.by_label["frames"] == frames
            sent += counts.numbers["sent_bytes"]
            received += counts.numbers["received_bytes"]
        assert (statistics.sent_bytes, statistics.received_bytes) == (sent, received)
        assert sent
        assert received


def test_outcomes_are_those_of_users_and_logs(world: CountingWorld) -> None:
    """Every acknowledged write of a node's own user, every refusal that is logged."""
    writes = Counter(
        step.node for step in world.outcome.acknowledged if step.kind is StepKind.LOCAL_EDIT
    )
    refused: Counter[str] = Counter()
    for number, node in world.nodes.items():
        assert node.core.statistics.applied["local change"] == writes[number]
        refused += node.core.statistics.refused
    logged = {
        name.removeprefix("Refusal: "): times
        for name, times in world.record.counts.items()
        if name.startswith("Refusal: ")
    }
    assert refused == logged
    assert world.record.counts[f"{StepKind.LOCAL_EDIT}: {ACKNOWLEDGED}"] == writes.total()
    assert writes.total()


def test_prometheus_reads_what_the_network_has_counted(world: CountingWorld) -> None:
    """The text of one node, by the parser of the library."""
    node = world.nodes[0]
    counted = node.core.statistics
    statistics = NodeStatistics(counted.snapshot(), counted.by_peer(), {"sessions": 1})
    text, content_type = exposition(lambda: statistics, "")
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }
    assert content_type.startswith("text/plain")
    assert samples["meshwire_now_sessions",] == 1
    total = 0
    for peer in counted.by_peer():
        sent = samples["meshwire_peer_sent_bytes_total", ("peer", peer)]
        assert sent == world.bytes["sent", 0, peer]
        total += int(sent)
    assert samples["meshwire_sent_bytes_total",] == total
    for kind, times in counted.sent_frames.items():
        assert samples["meshwire_sent_frames_total", ("type", f"0x{kind:02x}")] == times
        assert times == sum(
            more for (way, of, _, one), more in world.frames.items()
            if (way, of, one) == ("sent", 0, kind)
        )  # fmt: skip
