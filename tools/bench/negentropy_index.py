"""Time the live index of reconciliation, and what hostile messages cost.

The first run after 10,000 random edits, and after a single one, is compared with the first run over
a vector that was sealed right before; the three take turns and the best of each counts.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from meshwire_reference.negentropy import Index, Reconciliation, RunRefused, Storage, Vector
from negentropy_sets import identity, numbered, sealed

EDITS: Final = 10_000
DIFFERENCES: Final = 10
ROUNDS: Final = 5
MILLISECONDS: Final = 1000
MESSAGE: Final = 131_072
FRAME_LIMIT: Final = 65_536
HOSTILE: Final = {
    "skips": (b"\x02\x00\x00", b""),
    "id lists of none": (b"\x02\x00\x02\x00", b""),
    "fingerprints": (b"\x02\x00\x01" + bytes(16), b""),
    "fingerprints far apart": (b"\x8f\x20\x00\x01" + bytes(16), b""),
    "ids": (b"\x02\x00\x02\x01" + bytes(32), b""),
    "one list": (bytes(32), b"\x00\x00\x02\x9f\x7f"),
    "a varint without end": (b"\xff", b""),
}


def timed(call: Callable[[], object]) -> float:
    """Return the seconds that one call takes."""
    start = perf_counter()
    call()
    return perf_counter() - start


def client_time(ours: Storage, theirs: Storage) -> float:
    """Return the seconds that the client of a run takes."""
    client, server = Reconciliation(ours), Reconciliation(theirs)
    start = perf_counter()
    query: bytes | None = client.initiate()
    total = perf_counter() - start
    while query is not None:
        reply = server.reconcile(query).reply
        assert reply is not None
        start = perf_counter()
        query = client.reconcile(reply).reply
        total += perf_counter() - start
    return total


class IndexPair:
    """Two indexes that change alike, but for ten items that only the first holds."""

    def __init__(self, size: int) -> None:
        self._random = Random(size)  # noqa: S311 - to be repeated
        self._held = list(range(0, 2 * size, 2))
        self._unused = list(range(1, 2 * size, 2))
        self._random.shuffle(self._unused)
        self._own = [(size // 5 * part, identity(10**9 + part)) for part in range(DIFFERENCES)]
        self.ours = Index([*numbered(self._held), *self._own])
        self.theirs = Index(numbered(self._held))

    def edit(self, count: int) -> float:
        """Make `count` deletes and `count` inserts; return the seconds that our index took."""
        pairs = []
        for _ in range(count):
            place = self._random.randrange(len(self._held))
            old, new = self._held[place], self._unused.pop()
            self._held[place] = new
            pairs.append((old, identity(old), new, identity(new)))
        for index in (self.theirs, self.ours):
            start = perf_counter()
            for old, old_identity, new, new_identity in pairs:
                index.delete(old, old_identity)
                index.insert(new, new_identity)
        return perf_counter() - start

    def rebuilt(self) -> Vector:
        """Return what ours holds as a sealed vector."""
        return sealed([*numbered(self._held), *self._own])


def bench_index(size: int) -> None:
    """Print the time of the edits, and of the first runs after them and after a sealing."""
    pair = IndexPair(size)
    edits, batch, single, vector = [], [], [], []
    for _ in range(ROUNDS):
        edits.append(pair.edit(EDITS // 2))
        batch.append(client_time(pair.ours, pair.theirs))
        pair.edit(1)
        single.append(client_time(pair.ours, pair.theirs))
        rebuilt = pair.rebuilt()
        vector.append(client_time(rebuilt, pair.theirs))
        assert Reconciliation(rebuilt).initiate() == Reconciliation(pair.ours).initiate()
    print(
        f"{size} items: {EDITS} inserts and deletes {min(edits):.3f} s; client, "
        f"{DIFFERENCES} differences: sealed vector {min(vector) * MILLISECONDS:.2f} ms, "
        f"index after {EDITS} edits {min(batch) * MILLISECONDS:.2f} ms "
        f"({min(batch) / min(vector):.2f}x), "
        f"after one more {min(single) * MILLISECONDS:.2f} ms ({min(single) / min(vector):.2f}x)",
        flush=True,
    )


def answer(store: Storage, message: bytes) -> None:
    """Answer a message or refuse it."""
    session = Reconciliation(store, FRAME_LIMIT)
    try:
        session.reconcile(message)
    except RunRefused:
        return


def bench_hostile(size: int) -> None:
    """Print the time that each hostile message costs a passive side, and one of half its length."""
    store = sealed(numbered(range(size)))
    for name, (piece, head) in HOSTILE.items():
        times = []
        for length in (MESSAGE // 2, MESSAGE):
            message = b"\x61" + head + piece * ((length - 1 - len(head)) // len(piece))
            times.append(min(timed(partial(answer, store, message)) for _ in range(ROUNDS)))
        print(
            f"{MESSAGE} bytes of {name}, {size} items: {times[1] * MILLISECONDS:.1f} ms, "
            f"{times[1] / max(times[0], 1e-9):.2f}x of half"
        )


def main() -> None:
    """Print one line for each size, and one for each hostile message."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000])
    for size in parser.parse_args().sizes:
        bench_index(size)
    bench_hostile(100_000)


if __name__ == "__main__":
    main()
