"""Whether a dialled peer is still there: probes, their answers, and the end of a silent one."""

from meshwire_reference.core.inputs import StreamData, StreamReset, TimerFired
from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.documents.table import Table
from meshwire_reference.testing.author import read
from meshwire_reference.testing.bench import OWN_BIDI, STREAM_STEP, Bench
from meshwire_spec.numbers import DEAD_PEER_S, REASONS

SOON = 0.01


def make_bench(dead_peer_s: float = DEAD_PEER_S) -> Bench:
    """Return an open node that sends no heartbeats."""
    table = Table(b"\x09" * 16)
    settings = Settings(Dialect.OPEN, heartbeat_s=0, dead_peer_s=dead_peer_s)
    return Bench(lambda call: table.answer(call, None), settings)


def probes(bench: Bench, connection: int) -> list[int]:
    """Return the empty streams that the node has finished and still holds."""
    return [
        stream
        for (of, stream), seen in bench.streams.items()
        if of == connection
        and stream % STREAM_STEP == OWN_BIDI
        and seen.finished
        and not seen.data
        and not seen.released
    ]


def answer(bench: Bench, connection: int) -> None:
    """Finish the half of each probe, as TR-020 demands."""
    for stream in probes(bench, connection):
        bench.report(connection, StreamData(stream, b"", fin=True))


def test_a_peer_that_answers_nothing_is_left_in_time() -> None:
    """LV-010: two probes, then the end, within the deadline."""
    bench = make_bench()
    connection = bench.connect(dialled=True)
    bench.advance(DEAD_PEER_S - SOON)
    sent = len(probes(bench, connection))
    still = dict(bench.closed)
    bench.advance(2 * SOON)

    assert sent == 2
    assert still == {}
    assert bench.closed == {connection: REASONS["shutdown"].code}
    assert [one.connection for one in bench.silent] == [connection]


def test_a_peer_that_answers_stays() -> None:
    """For an hour without a word, with its probes released."""
    bench = make_bench()
    connection = bench.connect(dialled=True)
    for _ in range(1800):
        bench.advance(2.0)
        answer(bench, connection)

    assert bench.closed == {}
    assert probes(bench, connection) == []


def test_a_peer_that_resets_a_probe_is_there() -> None:
    """It does not hold to the barrier, and lives."""
    bench = make_bench()
    connection = bench.connect(dialled=True)
    for _ in range(10):
        bench.advance(2.0)
        for stream in probes(bench, connection):
            bench.report(connection, StreamReset(stream))

    assert bench.closed == {}
    assert probes(bench, connection) == []


def test_whatever_comes_counts() -> None:
    """A frame or a heartbeat once in a while: no probe is sent."""
    bench = make_bench()
    connection = bench.connect(dialled=True)
    for _ in range(20):
        bench.advance(1.5)
        bench.send(connection, read("notes:n1"))

    assert bench.closed == {}
    assert probes(bench, connection) == []


def test_a_peer_that_dialled_is_not_probed() -> None:
    """It may not read yet (D-23), and only it can dial again."""
    bench = make_bench()
    connection = bench.connect()
    bench.advance(60.0)

    assert bench.closed == {}
    assert probes(bench, connection) == []


def test_without_credit_nothing_is_known() -> None:
    """A probe that waits for its stream has not been sent."""
    bench = make_bench()
    bench.hold_streams = True
    connection = bench.connect(dialled=True)
    bench.advance(60.0)
    still = dict(bench.closed)
    bench.let_go()
    bench.advance(DEAD_PEER_S)

    assert still == {}
    assert bench.closed == {connection: REASONS["shutdown"].code}


def test_a_node_that_was_busy_gives_the_peer_more_time() -> None:
    """What has come meanwhile is read after the timer."""
    bench = make_bench()
    connection = bench.connect(dialled=True)
    bench.advance(DEAD_PEER_S - SOON)
    bench.now_s += 3.0
    bench.feed(TimerFired())
    still = dict(bench.closed)
    bench.advance(DEAD_PEER_S / 3)

    assert still == {}
    assert list(bench.closed) == [connection]


def test_the_operator_can_rule_it_out() -> None:
    """With 0 nobody is probed."""
    bench = make_bench(dead_peer_s=0)
    connection = bench.connect(dialled=True)
    bench.advance(600.0)

    assert bench.closed == {}
    assert probes(bench, connection) == []
