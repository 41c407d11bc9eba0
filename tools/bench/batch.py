"""Time the reference's batch codec against a bare `struct` loop, as a ratio within one run.

The bare loop builds the same objects and checks nothing: what the codec takes beyond it is the
price of its checks. Codec and bare loop take turns, and the best round of each counts.
"""

import argparse
from collections.abc import Callable
from functools import partial
from struct import Struct
from time import perf_counter

from meshwire_reference.wire.batches import (
    SyncBatch,
    SyncEntry,
    decode_sync_batch,
    encode_sync_batch,
)

HEADER = Struct(">QQBI")
KEY_LENGTH = Struct(">H")
TYPE_AND_LENGTH = Struct(">BI")


def bare_decode(data: bytes) -> SyncBatch:
    """Decode a batch that is known to be sound."""
    batch_id, created_at, ttl, count = HEADER.unpack_from(data)
    entries = []
    position = HEADER.size
    for _ in range(count):
        (size,) = KEY_LENGTH.unpack_from(data, position)
        position += KEY_LENGTH.size
        key = data[position : position + size].decode()
        position += size
        frame_type, size = TYPE_AND_LENGTH.unpack_from(data, position)
        position += TYPE_AND_LENGTH.size
        entries.append(SyncEntry(key, frame_type, data[position : position + size]))
        position += size
    return SyncBatch(batch_id, created_at, ttl, count, tuple(entries))


def bare_encode(batch: SyncBatch) -> bytes:
    """Encode a batch that is known to fit."""
    parts = [HEADER.pack(batch.batch_id, batch.created_at, batch.ttl, len(batch.entries))]
    for entry in batch.entries:
        key = entry.key.encode()
        parts.append(KEY_LENGTH.pack(len(key)))
        parts.append(key)
        parts.append(TYPE_AND_LENGTH.pack(entry.type, len(entry.payload)))
        parts.append(entry.payload)
    return b"".join(parts)


def best_of(rounds: int, repeats: int, *calls: Callable[[], object]) -> list[float]:
    """Return the best time of one call of each, in seconds; the calls take turns."""
    best = [float("inf")] * len(calls)
    for _ in range(rounds):
        for index, call in enumerate(calls):
            start = perf_counter()
            for _ in range(repeats):
                call()
            best[index] = min(best[index], (perf_counter() - start) / repeats)
    return best


def make_batch(count: int, payload_size: int) -> SyncBatch:
    """Return a batch of snapshots with keys of a usual length and lopsided payloads."""
    payload = bytes(range(1, 250)) * (payload_size // 249 + 1)
    entries = tuple(
        SyncEntry(f"beacons:node-{index:08}", 1, payload[:payload_size]) for index in range(count)
    )
    return SyncBatch(0x0102030405060708, 1_700_000_000_123, 5, count, entries)


def main() -> None:
    """Print one line per direction and size: entries a second of each, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--payload", type=int, default=100, help="bytes a payload")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    for count in (1, 20, 1000, 10_000):
        batch = make_batch(count, options.payload)
        data = encode_sync_batch(batch)
        assert bare_decode(data) == decode_sync_batch(data) == batch
        assert bare_encode(batch) == data
        repeats = max(1, 10_000 // count)
        times = {
            "decode": best_of(
                options.rounds,
                repeats,
                partial(decode_sync_batch, data),
                partial(bare_decode, data),
            ),
            "encode": best_of(
                options.rounds,
                repeats,
                partial(encode_sync_batch, batch),
                partial(bare_encode, batch),
            ),
        }
        for name, (codec, bare) in times.items():
            print(
                f"{name} {count:6} entries of {options.payload} bytes: "
                f"{count / codec:10,.0f} entries/s, bare {count / bare:10,.0f}, "
                f"ratio {codec / bare:.2f}"
            )


if __name__ == "__main__":
    main()
