"""The state and log of runs: no state outlives its stream."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest

from meshwire_reference.core import inputs
from meshwire_reference.core.state.document_index import identify_key
from meshwire_reference.negentropy import Run, Vector
from meshwire_reference.testing.bench import OWN_BIDI, STREAM_STEP, Bench
from meshwire_reference.testing.reconciling import EMPTY, INIT, RESPONSE, fill, make_bench, message
from meshwire_reference.wire.batches import StreamFrame
from meshwire_reference.wire.frames import FrameReader
from meshwire_spec.numbers import NEGENTROPY_KEY

MALFORMED = bytes.fromhex("61000003")


def holding(*names: str) -> Bench:
    """Return an open node that holds some documents."""
    bench = make_bench()
    fill(bench, [*names])
    return bench


def count_runs() -> int:
    """Return how many runs there are in this process."""
    gc.collect()
    return sum(isinstance(found, Run) for found in gc.get_objects())


def finish(bench: Bench, connection: int, stream: int) -> None:
    """The peer is done."""
    bench.write(connection, stream, b"", fin=True)


def reset(bench: Bench, connection: int, stream: int) -> None:
    """The peer gives its half up."""
    bench.report(connection, inputs.StreamReset(stream))


def spoil(bench: Bench, connection: int, stream: int) -> None:
    """The peer sends what is refused."""
    bench.write(connection, stream, message(MALFORMED, RESPONSE))


def leave(bench: Bench, connection: int, _stream: int) -> None:
    """The connection goes."""
    bench.disconnect(connection)


@pytest.mark.parametrize("end", [finish, reset, spoil, leave])
def test_a_served_run_is_gone_with_its_stream(end: Callable[[Bench, int, int], None]) -> None:
    """N-15, N-20: however the stream ends, and a message that is refused ends it."""
    bench = holding("notes:a")
    connection = bench.connect()
    before = count_runs()
    stream = bench.open(connection)
    bench.write(connection, stream, message(EMPTY, INIT))
    assert count_runs() == before + 1
    end(bench, connection, stream)

    assert count_runs() == before


def test_a_run_that_a_peer_begins_is_none_of_our_own() -> None:
    """N-17: it is answered, and counted as frames that came and nothing else."""
    bench = holding("notes:a")
    bench.send(bench.connect(), StreamFrame(NEGENTROPY_KEY, INIT, EMPTY))

    assert bench.runs == []
    assert bench.core.statistics.frames[INIT] == 1


@pytest.mark.parametrize("ours", [1, 40])
def test_an_own_run_is_told_once_with_its_rounds_and_bytes(ours: int) -> None:
    """N-16, T-020: one line a run, with the length of every message that travelled."""
    bench = holding(*(f"notes:{number}" for number in range(ours)))
    connection = bench.connect(dialled=True, reconciles=True)
    stream = next(number for _, number in bench.streams if number % STREAM_STEP == OWN_BIDI)
    items = Vector()
    items.insert(0, identify_key("notes:other"))
    items.seal()
    server = Run(items)
    answered: list[bytes] = []
    while len(said := said_on(bench, connection, stream)) > len(answered):
        reply = server.receive(said[-1]).reply
        assert reply is not None
        answered.append(reply)
        bench.write(connection, stream, message(reply, RESPONSE))

    (told,) = bench.runs
    assert told.rounds == len(answered) >= 1
    assert told.sent_bytes == sum(map(len, said)) > 0
    assert told.received_bytes == sum(map(len, answered))
    assert (told.have, told.need, told.reason) == (ours, 1, None)
    counts = bench.core.statistics
    assert counts.runs == {
        "begun": 1,
        "completed": 1,
        "rounds": len(answered),
        "have": ours,
        "need": 1,
    }
    header = len(message(b"", RESPONSE))
    assert counts.frame_bytes[RESPONSE] == sum(map(len, answered)) + header * len(answered)
    sent = counts.sent_frame_bytes[INIT] + counts.sent_frame_bytes[RESPONSE]
    assert sent == sum(map(len, said)) + header * len(said)


def said_on(bench: Bench, connection: int, stream: int) -> list[bytes]:
    """Return the messages of a run that the node has sent so far."""
    content = bytes(bench.streams[connection, stream].data)
    return [frame.payload for frame in FrameReader().feed(content)]


def test_runs_of_both_sides_are_counted() -> None:
    """N-16, D-154: begun and served ones apart, also one that goes with its connection."""
    bench = holding("notes:a")
    served = bench.connect(peer=7)
    bench.send(served, StreamFrame(NEGENTROPY_KEY, INIT, EMPTY))
    own = bench.connect(peer=9, dialled=True, reconciles=True)
    began = bench.core.statistics.of("09" * 32).snapshot()
    bench.disconnect(own)
    counts = bench.core.statistics

    assert counts.of("07" * 32).runs == {"served": 1, "rounds": 1}
    assert counts.of("07" * 32).sent_frames[RESPONSE] == 1
    assert began.by_label["runs"] == {"begun": 1}
    assert counts.of("09" * 32).runs == {"begun": 1, "incomplete": 1}
    assert counts.runs == {"served": 1, "rounds": 1, "begun": 1, "incomplete": 1}
