"""A node whose calendar stands before 1970, as that of a device without a battery does."""

from unittest.mock import ANY

import pytest

from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.documents.table import Table
from meshwire_reference.testing import author
from meshwire_reference.testing.bench import Bench
from meshwire_reference.wire.batches import StreamFrame, decode_sync_batch
from meshwire_reference.wire.frames import FrameReader
from meshwire_reference.wire.liveness import Heartbeat, decode_heartbeat, encode_heartbeat
from meshwire_spec.numbers import BATCH_TTL, HEARTBEAT_MARKER, FrameType


def test_batches_and_heartbeats_carry_the_time_zero() -> None:
    """D-156: and nothing else is wrong with them, or with the node."""
    table = Table(b"\x09" * 16)
    bench = Bench(lambda call: table.answer(call, None), Settings(Dialect.OPEN, heartbeat_s=5.0))
    bench.now_ms = -60_000
    bench.send(bench.connect(), author.snapshot("notes:a"))
    late = bench.connect()
    bench.advance(6)
    sent = [bytes(bench.streams[where].data) for where in bench.order if where[0] == late]
    (batch,) = [
        decode_sync_batch(frame.payload)
        for data in sent[:-1]
        for frame in read(data)
        if frame.type == FrameType.BATCH
    ]

    assert (batch.created_at, batch.ttl) == (0, BATCH_TTL)
    assert [entry.key for entry in batch.entries] == ["notes:a"]
    assert decode_heartbeat(sent[-1]).sent_at == 0


@pytest.mark.parametrize(
    ("sent_at", "ahead_s"),
    [(700_000, None), (700_001, 300.001), (100_000, None), (99_999, -300.001), (2**64 - 1, ANY)],
)
def test_a_clock_that_is_far_off_is_an_event(sent_at: int, ahead_s: float | None) -> None:
    """LV-011: five minutes or more, ahead or behind, once for a connection."""
    table = Table(b"\x09" * 16)
    bench = Bench(lambda call: table.answer(call, None), Settings(Dialect.OPEN, heartbeat_s=0))
    bench.now_ms = 400_000
    connection = bench.connect()
    beat = encode_heartbeat(Heartbeat(HEARTBEAT_MARKER, sent_at))
    for _ in range(2):
        bench.write(connection, bench.open(connection, bidi=False), beat, fin=True)

    assert [one.ahead_s for one in bench.clocks_off] == ([] if ahead_s is None else [ahead_s])
    assert bench.core.statistics.heartbeats == 2


def read(data: bytes) -> list[StreamFrame]:
    """Return the frames of a stream."""
    return FrameReader().feed(data)
