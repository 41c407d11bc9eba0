"""A set of items that changes continually and serves sessions at any time.

Items are in blocks of about a thousand. Each block keeps the sums of its ids from its start on, and
the index keeps, for each block, the number and the sum of the items before it. An edit updates the
later sums in its block and the two numbers of the later blocks; nothing is deferred, so that the
first run after an edit costs what every run costs.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Generator, Iterable
from heapq import merge
from itertools import accumulate, groupby, islice
from typing import Final

from meshwire_reference.negentropy.storage import Misused, item_key, separate
from meshwire_reference.wire.reconciliation import TIMESTAMP

BLOCK: Final = 1000
"""Items of a new block; one of twice the size is split, one under a quarter is merged."""


class _Block:
    """A part of the order: keys, and before each (and after the last) the sum of ids so far."""

    __slots__ = ("keys", "sums")

    def __init__(self, keys: list[bytes]) -> None:
        self.keys = keys
        self.sums = list(accumulate(map(_number, keys), initial=0))


def _number(key: bytes) -> int:
    return int.from_bytes(key[TIMESTAMP:], "little")


class Index:
    """Items in sorted blocks; items may be inserted and deleted between messages of a session."""

    __slots__ = ("_block_size", "_blocks", "_firsts", "_ranks", "_size", "_totals")

    def __init__(self, items: Iterable[tuple[int, bytes]] = (), block_size: int = BLOCK) -> None:
        """Take the first items; equal ones count once. Raises Misused for an invalid item.

        An edit costs least if a block has as many items as there are blocks.
        """
        if block_size < 1:
            raise Misused("a block has room for an item at least")
        self._block_size = block_size
        keys = sorted({item_key(timestamp, identity) for timestamp, identity in items})
        pieces = (keys[at : at + block_size] for at in range(0, len(keys), block_size))
        self._fill([_Block(piece) for piece in pieces])

    @classmethod
    def in_slices(cls, items: Iterable[tuple[int, bytes]]) -> Generator[None, None, "Index"]:
        """Return the index of items, and yield between slices of the work, each for one block.

        The first slice takes all of the items of one block. Raises Misused as `Index` does.
        """
        source = iter(items)
        runs: list[list[bytes]] = []
        while run := sorted({item_key(*item) for item in islice(source, BLOCK)}):
            runs.append(run)
            if len(run) == BLOCK:
                yield
        ordered = (key for key, _ in groupby(merge(*runs)))
        blocks: list[_Block] = []
        while piece := list(islice(ordered, BLOCK)):
            blocks.append(_Block(piece))
            if len(piece) == BLOCK:
                yield
        index = cls()
        index._fill(blocks)
        return index

    def _fill(self, blocks: list[_Block]) -> None:
        """Take the blocks of an index that has none."""
        self._blocks = blocks or [_Block([])]
        self._size = sum(len(block.keys) for block in blocks)
        # Of each block: its first key (b"" for the first), and rank and sum before it.
        self._firsts: list[bytes] = []
        self._ranks: list[int] = []
        self._totals: list[int] = []
        self._count()

    def _count(self) -> None:
        """Recompute where each block begins, after blocks were added or removed."""
        self._firsts = [b"", *(block.keys[0] for block in self._blocks[1:])]
        sizes = (len(block.keys) for block in self._blocks[:-1])
        self._ranks = list(accumulate(sizes, initial=0))
        totals = (block.sums[-1] for block in self._blocks[:-1])
        self._totals = list(accumulate(totals, initial=0))

    def _find(self, key: bytes) -> tuple[int, int]:
        """Return the block that a key belongs to, and its place there."""
        number = bisect_right(self._firsts, key) - 1
        return number, bisect_left(self._blocks[number].keys, key)

    def holds(self, timestamp: int, identity: bytes) -> bool:
        """Return True if an item is in the set; raises Misused for an invalid item."""
        key = item_key(timestamp, identity)
        number, place = self._find(key)
        return self._blocks[number].keys[place : place + 1] == [key]

    def insert(self, timestamp: int, identity: bytes) -> None:
        """Add an item, if it is not in the set yet. Raises Misused for an invalid item."""
        key = item_key(timestamp, identity)
        number, place = self._find(key)
        block = self._blocks[number]
        if block.keys[place : place + 1] == [key]:
            return
        block.keys.insert(place, key)
        block.sums.insert(place, block.sums[place])
        self._shift(number, place + 1, 1, _number(key))
        if len(block.keys) >= 2 * self._block_size:
            self._replace(number, number + 1, block.keys)

    def delete(self, timestamp: int, identity: bytes) -> None:
        """Remove an item; raises Misused if it is not in the set."""
        key = item_key(timestamp, identity)
        number, place = self._find(key)
        block = self._blocks[number]
        if block.keys[place : place + 1] != [key]:
            raise Misused("an item that is not in the index cannot be deleted")
        del block.keys[place]
        del block.sums[place]
        self._shift(number, place, -1, -_number(key))
        if len(block.keys) < max(self._block_size // 4, 1) and len(self._blocks) > 1:
            first = max(number - 1, 0)
            joined = self._blocks[first].keys + self._blocks[first + 1].keys
            self._replace(first, first + 2, joined)

    def _shift(self, number: int, place: int, count: int, amount: int) -> None:
        """Update every later sum and rank after an edit."""
        sums = self._blocks[number].sums
        sums[place:] = [total + amount for total in sums[place:]]
        behind = number + 1
        self._ranks[behind:] = [rank + count for rank in self._ranks[behind:]]
        self._totals[behind:] = [total + amount for total in self._totals[behind:]]
        self._size += count

    def _replace(self, first: int, after: int, keys: list[bytes]) -> None:
        """Replace blocks by keys, split into equal blocks if they are too many for one."""
        half = len(keys) if len(keys) <= self._block_size else len(keys) // 2
        self._blocks[first:after] = [_Block(piece) for piece in (keys[:half], keys[half:]) if piece]
        self._count()

    @property
    def size(self) -> int:
        """Number of items."""
        return self._size

    def locate(self, bound: bytes, first: int, expected: int) -> tuple[int, int]:
        """Return rank and sum at the first item that is not below a bound (see Storage)."""
        number, place = self._find(bound)
        return self._ranks[number] + place, self._totals[number] + self._blocks[number].sums[place]

    def _place(self, rank: int) -> tuple[int, int]:
        number = bisect_right(self._ranks, rank) - 1
        return number, rank - self._ranks[number]

    def cut(self, rank: int) -> tuple[int, bytes]:
        """Return the sum at a rank and the shortest bound there (see Storage)."""
        number, place = self._place(rank)
        block = self._blocks[number]
        below = block.keys[place - 1] if place else self._blocks[number - 1].keys[-1]
        return self._totals[number] + block.sums[place], separate(below, block.keys[place])

    def key(self, rank: int) -> bytes:
        """Return the key of an item."""
        number, place = self._place(rank)
        return self._blocks[number].keys[place]

    def ids(self, lower: int, upper: int) -> list[bytes]:
        """Return the ids of the ranks from `lower` to before `upper`."""
        identities: list[bytes] = []
        number, place = self._place(lower)
        while lower < upper:
            piece = self._blocks[number].keys[place : place + upper - lower]
            identities += [key[TIMESTAMP:] for key in piece]
            lower += len(piece)
            number, place = number + 1, 0
        return identities
