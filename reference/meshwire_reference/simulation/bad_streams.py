"""Bytes that break a rule, each with the reason for which a node refuses their stream."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from meshwire_reference.simulation.schedule import START_MS
from meshwire_reference.wire.batches import (
    StreamFrame,
    SyncBatch,
    encode_stream_frame,
    encode_sync_batch,
)
from meshwire_spec.numbers import (
    BATCH_KEY,
    CREATED_AHEAD_MAX_MS,
    NEGENTROPY_KEY,
    TOMBSTONE_BATCH_KEY,
    FrameType,
)

KEY: Final = "notes:hostile"


def _frame(kind: FrameType, payload: bytes, key: str = KEY) -> bytes:
    return encode_stream_frame(StreamFrame(key, kind, payload))


def _ahead() -> bytes:
    """Return a batch made two days ahead of every clock of a run."""
    created_at = START_MS + 2 * CREATED_AHEAD_MAX_MS
    return encode_sync_batch(SyncBatch(7, created_at, 5, 0, ()))


@dataclass(frozen=True, slots=True)
class HostileStream:
    """The bytes of one stream, and how it is opened and ended."""

    data: bytes
    bidi: bool = True
    fin: bool = True


HOSTILE: Final[Mapping[str, HostileStream]] = MappingProxyType(
    {
        "truncated": HostileStream(_frame(FrameType.DELTA, b"abcdef")[:-3]),
        "bad-utf8": HostileStream(b"\x00\x02\xff\xfe\x00" + bytes(4)),
        "unknown-type": HostileStream(b"\x00\x03a:b\x7f" + bytes(4)),
        "length-limit": HostileStream(b"\x00\x03a:b\x00\xff\xff\xff\xff"),
        "bad-key": HostileStream(_frame(FrameType.DELTA, b"", "no collection")),
        "bad-document": HostileStream(_frame(FrameType.SNAPSHOT, b"\x85\x6f\x4a\x83 no document")),
        "count-limit": HostileStream(
            _frame(FrameType.TOMBSTONE_BATCH, b"\xff\xff\xff\x00", TOMBSTONE_BATCH_KEY)
        ),
        "created-ahead": HostileStream(_frame(FrameType.BATCH, _ahead(), BATCH_KEY)),
        "unexpected-message": HostileStream(
            _frame(FrameType.NEGENTROPY_RESPONSE, b"a", NEGENTROPY_KEY)
        ),
        "bad-version": HostileStream(_frame(FrameType.NEGENTROPY_INIT, b"\x00", NEGENTROPY_KEY)),
        "bad-marker": HostileStream(b"\x02" + bytes(8), bidi=False),
        "frame-stall": HostileStream(_frame(FrameType.DELTA, b"abcdef")[:-3], fin=False),
    }
)
"""One stream for each reason."""
