"""Measure the CRDT of `oplog/1` in CPU time, beside the raw rate of the signature check.

Each figure is the best of three runs in this process. The ancestor's figures, from a machine of
the same kind, are printed beside: a register set is one signature check there too.
"""

import argparse
import asyncio
import gc
import resource
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from time import process_time

from meshwire_reference.oplog.authoring import OperationAuthor
from meshwire_reference.oplog.hub import Hub
from meshwire_reference.oplog.operations import ROOT, SignedOperation, digest_text, hash_text
from meshwire_reference.oplog.outcomes import Level
from meshwire_reference.oplog.replica import Replica, ReplicaSettings
from meshwire_reference.oplog.schema import PIPELINE, TYPES, StructSchema
from meshwire_reference.oplog.signatures import Signer, is_signed
from meshwire_reference.oplog.values import JsonValue
from meshwire_reference.store.operations import OperationLog

SIGNER = Signer(b"\x33" * 32)
ITEM: dict[str, JsonValue] = {
    "story_id": "100", "stage": "1_backlog", "name": "Name of 100", "agent": "",
    "retry_count": 0.0, "blocked": False, "depends_on": "", "claimed_by": "", "claimed_at": 0.0,
}  # fmt: skip

# Operations that are stored together, as a node does.
STORED_TOGETHER = 64
# What the ancestor does in a CPU second.
ANCESTOR = {"register sets": 9875, "chained inserts": 7701, "nine-field items": 3974}


def author(schema: StructSchema) -> OperationAuthor:
    """Return an author with an empty replica."""
    return OperationAuthor(SIGNER, Replica(ReplicaSettings(schema=schema)))


def register_sets(count: int) -> list[SignedOperation]:
    """Return sets of one register."""
    maker = author(TYPES)
    return [maker.set(("rs",), f"value {number}") for number in range(count)]


def chained_inserts(count: int) -> list[SignedOperation]:
    """Return insertions of texts, each after the one before."""
    maker = author(TYPES)
    made = [maker.insert(("ls",), ROOT, "text 0")]
    for number in range(1, count):
        made.append(maker.insert(("ls",), made[-1].inner.id, f"text {number}"))
    return made


def nine_field_items(count: int) -> list[SignedOperation]:
    """Return insertions of items, each after the one before."""
    maker = author(PIPELINE)
    made = [maker.insert(("items",), ROOT, dict(ITEM))]
    for number in range(1, count):
        item = {**ITEM, "story_id": str(number)}
        made.append(maker.insert(("items",), made[-1].inner.id, item))
    return made


def rate(count: int, run: Callable[[], object]) -> float:
    """Return how many of `count` are done in a CPU second, the best of three runs."""
    best = float("inf")
    for _ in range(3):
        gc.collect()
        start = process_time()
        run()
        best = min(best, process_time() - start)
    return count / best


def apply_all(schema: StructSchema, operations: Sequence[SignedOperation]) -> Replica:
    """Return a new strict replica with these operations."""
    replica = Replica(ReplicaSettings(level=Level.STRICT, schema=schema))
    for signed in operations:
        replica.apply(signed)
    return replica


def logged_rate(schema: StructSchema, operations: Sequence[SignedOperation]) -> float:
    """Return the rate of a node that stores what it applies, the best of three runs."""

    async def run(folder: Path) -> float:
        log = OperationLog(folder)
        await log.open(bytes(32))
        hub = Hub(Replica(ReplicaSettings(schema=schema)))
        start = process_time()
        part: list[str] = []
        for signed in operations:
            part += hub.take(signed, 1)
            if len(part) >= STORED_TOGETHER:
                await log.append(part)
                part = []
        await log.append(part)
        spent = process_time() - start
        await log.close()
        return spent

    best = float("inf")
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            best = min(best, asyncio.run(run(Path(folder))))
    return len(operations) / best


def raw_rate(operations: Sequence[SignedOperation]) -> float:
    """Return the rate of the library's check alone, with digests that are there already."""
    triples = [
        (
            signed.author,
            hash_text(digest_text(signed.inner.id, signed.inner.path, signed.depends_on)),
            signed.signed_digest,
        )
        for signed in operations
    ]
    return rate(len(triples), lambda: [is_signed(*triple) for triple in triples])


def main() -> None:
    """Print one line for each sort of operation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=3000, help="operations of a sort")
    parser.add_argument("--chain", type=int, default=0, help="length of a chain in reverse")
    options = parser.parse_args()
    sets = register_sets(options.count)
    raw = raw_rate(sets)
    print(f"{'signature check alone':24}{raw:10.0f}/s")
    for name, schema, made in (
        ("register sets", TYPES, sets),
        ("chained inserts", TYPES, chained_inserts(options.count)),
        ("nine-field items", PIPELINE, nine_field_items(options.count)),
    ):
        found = rate(len(made), partial(apply_all, schema, made))
        print(f"{name:24}{found:10.0f}/s{found / raw:8.2f} of it, ancestor {ANCESTOR[name]}/s")
    logged = logged_rate(TYPES, sets)
    print(f"{'register sets, stored':24}{logged:10.0f}/s{logged / raw:8.2f} of it")
    if options.chain:
        chain = chained_inserts(options.chain)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = process_time()
        replica = apply_all(TYPES, chain[::-1])
        spent = process_time() - start
        more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        count = len(replica.received)
        print(f"chain of {count} in reverse: {spent:.1f} s, {more:.0f} MiB more")


if __name__ == "__main__":
    main()
