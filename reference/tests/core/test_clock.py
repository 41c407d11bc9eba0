"""A node whose calendar stands before 1970, as that of a device without a battery does."""

from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.documents.table import Table
from meshwire_reference.testing import author
from meshwire_reference.testing.bench import Bench
from meshwire_reference.wire.batches import StreamFrame, decode_sync_batch
from meshwire_reference.wire.frames import FrameReader
from meshwire_reference.wire.liveness import decode_heartbeat
from meshwire_spec.numbers import BATCH_TTL, FrameType


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


def read(data: bytes) -> list[StreamFrame]:
    """Return the frames of a stream."""
    return FrameReader().feed(data)
