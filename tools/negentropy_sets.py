"""Sets of items, for the tests, the fuzzer and the benchmarks."""

from collections.abc import Iterable
from hashlib import sha256

from meshwire_reference.negentropy import Vector

Item = tuple[int, bytes]


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
