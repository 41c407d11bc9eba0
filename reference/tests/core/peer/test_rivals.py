"""Several connections with one endpoint id: which of them stays."""

from random import Random

import pytest

from meshwire_reference.core import inputs
from meshwire_reference.core.document_calls import Call, Done, Result
from meshwire_reference.core.formation import FormationKey
from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.testing.bench import Bench
from meshwire_reference.testing.joined import JoinedBenches
from meshwire_reference.wire.liveness import Heartbeat, encode_heartbeat
from meshwire_spec.numbers import HEARTBEAT_MARKER, REASONS
from meshwire_spec.states import SessionState

OWN, LOWER, HIGHER = 50, 7, 90
"""Bytes of which endpoint ids consist."""
SETTINGS = Settings(Dialect.OPEN, heartbeat_s=5.0, dead_peer_s=6.0)
BEAT = encode_heartbeat(Heartbeat(HEARTBEAT_MARKER, 1))
DIALLED, ACCEPTED = True, False


def answer(_call: Call) -> Result:
    """Play a worker without documents."""
    return Done()


def make_bench(peer: int, *rivals: bool, own: int | None = OWN) -> tuple[Bench, list[int]]:
    """Return a node with connections with one peer, each dialled or accepted."""
    bench = Bench(answer, SETTINGS)
    return bench, [bench.connect(dialled=dialled, peer=peer, own=own) for dialled in rivals]


def beat(bench: Bench, connection: int) -> None:
    """Send a heartbeat as the peer."""
    bench.write(connection, bench.open(connection, bidi=False), BEAT, fin=True)


def beats(bench: Bench, connection: int) -> int:
    """Return how many heartbeats the node has sent on a connection."""
    return sum(
        seen.data[:1] == b"\x01" and stream % 4 == 3
        for (where, stream), seen in bench.streams.items()
        if where == connection
    )


@pytest.mark.parametrize(
    ("peer", "rivals", "stays", "reason"),
    [
        (HIGHER, (ACCEPTED, DIALLED), 1, "conflict-lower-wins"),
        (HIGHER, (DIALLED, ACCEPTED), 0, "conflict-incoming"),
        (LOWER, (ACCEPTED, DIALLED), 0, "conflict-yield"),
        (LOWER, (DIALLED, ACCEPTED), 1, "conflict-outgoing"),
        (LOWER, (ACCEPTED, ACCEPTED), 1, "shutdown"),
        (HIGHER, (ACCEPTED, ACCEPTED), 1, "shutdown"),
        (HIGHER, (DIALLED, DIALLED), 1, "shutdown"),
    ],
)
def test_one_of_two_is_closed_after_a_heartbeat_on_the_other(
    peer: int, rivals: tuple[bool, ...], stays: int, reason: str
) -> None:
    """TR-040 to TR-043: by the lower id, or the newest; each position has its code."""
    bench, connections = make_bench(peer, *rivals)
    assert [beats(bench, one) for one in connections] == [1, 1]
    beat(bench, connections[1 - stays])
    assert bench.closed == {}
    beat(bench, connections[stays])

    assert bench.closed == {connections[1 - stays]: REASONS[reason].code}
    assert [one.stays for one in bench.core.peers] == [True]


def test_of_three_one_stays() -> None:
    """TR-040, TR-041: a restarted peer that this node has dialled before it was noticed."""
    bench, connections = make_bench(HIGHER, ACCEPTED, ACCEPTED, DIALLED)
    beat(bench, connections[2])

    assert set(bench.closed) == set(connections[:2])


def test_a_heartbeat_before_the_second_connection_decides_nothing() -> None:
    """TR-040: its process may be gone since."""
    bench, connections = make_bench(HIGHER, DIALLED)
    beat(bench, connections[0])
    bench.connect(dialled=False, peer=HIGHER, own=OWN)

    assert bench.closed == {}


@pytest.mark.parametrize("own", [None, OWN])
def test_ids_that_are_not_proven_decide_nothing(own: int | None) -> None:
    """TR-044: over the lab binding a peer could end the connection of another one."""
    bench, connections = make_bench(HIGHER, ACCEPTED, DIALLED, own=own)
    for connection in connections:
        beat(bench, connection)

    assert bool(bench.closed) is (own is not None)


def test_other_peers_are_no_rivals() -> None:
    """TR-040: nor is the same one after its connection has ended."""
    bench, connections = make_bench(HIGHER, ACCEPTED)
    bench.disconnect(connections[0])
    for peer in (HIGHER, LOWER):
        beat(bench, bench.connect(dialled=True, peer=peer, own=OWN))

    assert bench.closed == {}


def test_a_node_without_heartbeats_keeps_all() -> None:
    """TR-042: it has none to send."""
    bench = Bench(answer, Settings(Dialect.OPEN, heartbeat_s=0))
    connections = [bench.connect(dialled=one, peer=HIGHER, own=OWN) for one in (True, False)]

    assert [beats(bench, one) for one in connections] == [0, 0]


@pytest.mark.parametrize("code", [100, 101, 102, 103])
def test_the_connection_that_the_peer_keeps_is_watched(code: int) -> None:
    """TR-045: also where this node was dialled, or nobody would notice its end."""
    bench, connections = make_bench(LOWER, ACCEPTED, DIALLED)
    bench.report(connections[1], inputs.ConnectionClosed(code))
    assert [one.stays for one in bench.core.peers] == [True]
    bench.advance(6.1)

    assert bench.closed == {connections[0]: REASONS["shutdown"].code}


def test_nothing_is_kept_of_a_connection_that_stayed_and_has_ended() -> None:
    """Each conflict would leave a number behind otherwise, for as long as the node runs."""
    bench, connections = make_bench(HIGHER, ACCEPTED, DIALLED)
    beat(bench, connections[1])
    rivals = bench.core._rivals
    assert rivals.stays(connections[1])

    bench.disconnect(connections[1])

    assert not rivals.stays(connections[1])


def test_a_connection_that_was_alone_is_kept_in_favour_of_none() -> None:
    """TR-045: an end with code 0 is no conflict."""
    bench, connections = make_bench(LOWER, ACCEPTED, DIALLED)
    bench.report(connections[1], inputs.ConnectionClosed(0))

    assert [one.stays for one in bench.core.peers] == [False]


def test_a_hundred_crossing_dials_leave_one_connection_each() -> None:
    """D-21, D-22: in whatever order what each side sends arrives."""
    left = []
    for seed in range(100):
        random = Random(seed)
        ids = (OWN, HIGHER) if random.random() < 0.5 else (OWN, LOWER)
        one, two = benches = [Bench(answer, SETTINGS), Bench(answer, SETTINGS)]
        network = JoinedBenches(random)
        network.link(one, two, ids, proves_ids=True)
        network.link(two, one, ids[::-1], proves_ids=True)
        network.run(benches, 30.0)
        left.append(
            [
                [(peer.dialled, peer.state is SessionState.READY) for peer in bench.core.peers]
                for bench in benches
            ]
        )
        assert len(network.ended) == 1

    assert all(
        first == [(dialled, True)] and second == [(not dialled, True)]
        for (first, second) in left
        for dialled in [first[0][0]]
    )
    assert len({first[0][0] for first, _ in left}) == 2


@pytest.mark.parametrize("seed", range(6))
def test_two_nodes_that_demand_proofs_keep_one_connection_with_both(seed: int) -> None:
    """D-28: of crossing dials, in the dialects that the seed chooses; documents flow over it."""
    random = Random(seed)
    key = FormationKey.derive("test-formation", b"\x42" * 32)
    benches = []
    for number in range(2):
        settings = Settings(
            Dialect(random.choice(("H1", "H2"))),
            detects=True,
            heartbeat_s=5.0,
            refuses_unproven=True,
            proves=True,
        )
        benches.append(Bench(answer, settings, key, Random(10 * seed + number).randbytes))
    one, two = benches
    network = JoinedBenches(random)
    network.link(one, two, (OWN, HIGHER), proves_ids=True)
    network.link(two, one, (HIGHER, OWN), proves_ids=True)
    network.run(benches, 30.0)

    # Each has dialled once, and got a proof then.
    assert [len(bench.proven) for bench in benches] == [1, 1]
    assert [[peer.dialled for peer in bench.core.peers] for bench in benches] == [[True], [False]]
    assert all(bench.core.is_ready(bench.core.peers[0].connection) for bench in benches)
    assert all(bench.core.statistics.refused == {} for bench in benches)
