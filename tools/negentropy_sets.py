"""Sets of items and runs between them, for the tests, the fuzzer and the benchmark."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from meshwire_reference.negentropy import Reconciliation, Storage, Vector

ROUNDS_MAX: Final = 10_000

Item = tuple[int, bytes]


@dataclass(slots=True)
class Outcome:
    """All messages of a run, by turns from client and server, and what the client learnt."""

    messages: list[bytes] = field(default_factory=list)
    have: list[bytes] = field(default_factory=list)
    need: list[bytes] = field(default_factory=list)


def identity(number: int) -> bytes:
    """Return the id of a numbered item."""
    return sha256(b"i:%d" % number).digest()


def numbered(numbers: Iterable[int], step: int = 1) -> list[Item]:
    """Return numbered items with timestamps `step` apart, all at 0 where it is 0."""
    return [(number * step, identity(number)) for number in numbers]


def sealed(items: Iterable[Item]) -> Vector:
    """Return the items as a sealed vector."""
    vector = Vector()
    insert = vector.insert
    for timestamp, item_identity in items:
        insert(timestamp, item_identity)
    vector.seal()
    return vector


def run_sessions(ours: Storage, theirs: Storage, limits: tuple[int, int] = (0, 0)) -> Outcome:
    """Let the reference reconcile two sets with itself; an endless run is an assertion."""
    client, server = Reconciliation(ours, limits[0]), Reconciliation(theirs, limits[1])
    outcome = Outcome()
    query: bytes | None = client.initiate()
    while query is not None:
        reply = server.reconcile(query).reply
        assert reply is not None
        step = client.reconcile(reply)
        outcome.messages += (query, reply)
        outcome.have += step.have
        outcome.need += step.need
        query = step.reply
        assert len(outcome.messages) < 2 * ROUNDS_MAX, "the run does not end"
    return outcome
