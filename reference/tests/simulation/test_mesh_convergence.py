"""How long a mesh takes to converge: what is counted, and what loss, latency and runs do to it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meshwire_reference.simulation import mesh_convergence as module
from meshwire_reference.simulation.mesh_convergence import (
    Circumstances,
    NotConverged,
    Reconciling,
    Topology,
    keys_of,
    measure,
)
from meshwire_reference.testing.author import snapshot
from meshwire_reference.wire.batches import StreamFrame, SyncBatch, SyncEntry, encode_sync_batch
from meshwire_spec.numbers import BATCH_KEY, FrameType

PLAIN = Circumstances(documents=20, changed=4, peers=3, loss=0.0, latency_ms=10.0)


@pytest.mark.parametrize(
    ("shape", "links"),
    [
        (Topology.LINE, [(0, 1), (1, 2), (2, 3)]),
        (Topology.RING, [(0, 1), (1, 2), (2, 3), (3, 0)]),
        (Topology.STAR, [(1, 0), (2, 0), (3, 0)]),
        (Topology.FULL, [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]),
    ],
)
def test_the_shapes_of_a_mesh(shape: Topology, links: list[tuple[int, int]]) -> None:
    """Of four nodes; of two every one is a line."""
    assert replace(PLAIN, peers=4, shape=shape).links == links
    assert len(replace(PLAIN, peers=2, shape=shape).links) == 1


def test_a_seed_measures_the_same_again() -> None:
    """And another one other changes."""
    assert measure(PLAIN, 1) == measure(PLAIN, 1)
    assert PLAIN.changed_at(1) != PLAIN.changed_at(2)
    assert set(PLAIN.changed_at(1)) <= set(range(20))


def test_one_document_crosses_each_link_once() -> None:
    """Over two nodes: a batch, or the change that is passed on, and what follows of it."""
    one = replace(PLAIN, documents=1, changed=1, peers=2)
    measured = measure(one, 1)

    assert measured.rounds in {1, 2}
    # A frame takes a tenth more than the latency at most; documents and disk take the rest.
    assert 0.01 <= measured.seconds < 0.01 * 1.1 * measured.rounds + 0.1
    assert measured.more_bytes is not None
    assert measured.more_bytes < measured.sent_bytes


def test_nothing_changed_is_converged_at_once() -> None:
    """What nodes offer all the same is counted as what follows."""
    measured = measure(replace(PLAIN, changed=0), 1)

    assert (measured.seconds, measured.rounds, measured.sent_bytes) == (0.0, 0, 0)
    assert measured.more_bytes


def test_latency_and_loss_cost_time_and_loss_bytes() -> None:
    """Nothing else: the same documents are sent."""
    near = measure(PLAIN, 1)
    far = measure(replace(PLAIN, latency_ms=200.0), 1)
    lossy = measure(replace(PLAIN, loss=0.4), 1)

    assert far.seconds > 0.2 > near.seconds
    assert lossy.seconds > near.seconds
    assert lossy.sent_bytes > near.sent_bytes


def test_runs_by_heads_send_what_differs() -> None:
    """And not every document."""
    offered = measure(replace(PLAIN, changed=1, peers=2), 1)
    compared = measure(replace(PLAIN, changed=1, peers=2, reconciles=Reconciling.HEADS), 1)

    assert compared.sent_bytes < offered.sent_bytes / 2


def test_a_mesh_that_does_not_converge_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given up after a while."""
    monkeypatch.setattr(module, "LIMIT_S", 0.0)
    with pytest.raises(NotConverged, match="with seed 3"):
        measure(PLAIN, 3)


def test_the_frames_about_a_document_are_those_with_its_key_or_an_entry_of_it() -> None:
    """A batch is about each of its entries."""
    frames = [snapshot("notes:n1"), snapshot("notes:n2")]
    entries = tuple(SyncEntry(frame.key, frame.type, frame.payload) for frame in frames)
    payload = encode_sync_batch(SyncBatch(9, 1, 5, len(entries), entries))

    assert keys_of(frames[0]) == ["notes:n1"]
    assert keys_of(StreamFrame(BATCH_KEY, FrameType.BATCH, payload)) == ["notes:n1", "notes:n2"]
