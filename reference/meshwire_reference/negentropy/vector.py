"""A set of items that does not change once it is sealed."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import accumulate, islice, repeat
from operator import eq, lt
from struct import error as StructError  # noqa: N812 - it is a class
from typing import Final, Literal

from meshwire_reference.negentropy.storage import NO_ITEM, Misused, item_keys, separate
from meshwire_reference.wire.reconciliation import TIMESTAMP
from meshwire_spec.numbers import NEGENTROPY_ID, NEGENTROPY_TIMESTAMP_MAX

LITTLE: Literal["little"] = "little"
NEAR: Final = 4
"""Items around the expected rank of a bound that are searched first: peers split alike."""
FAR: Final = 16
"""Growth factor of the search steps beyond that window."""


def _refuse(part: object) -> None:
    """Raise Misused: what a sealed vector does with the parts of an item."""
    raise Misused("a sealed vector takes no items")


class Vector:
    """Items in one sorted list, with the sum of ids before each.

    Insert every item, then seal; only a sealed vector serves sessions. Equal items count once.
    """

    __slots__ = ("_add_identity", "_add_timestamp", "_identities", "_keys", "_sums", "_timestamps")

    def __init__(self) -> None:
        self._timestamps: list[int] = []
        self._identities: list[bytes] = []
        self._add_timestamp: Callable[[int], None] = self._timestamps.append
        self._add_identity: Callable[[bytes], None] = self._identities.append
        self._keys: list[bytes] = []
        self._sums: list[int] = []

    def insert(self, timestamp: int, identity: bytes) -> None:
        """Add an item; raises Misused after `seal` and for an invalid item."""
        # Checked here and not by `check_item`: the call would take a third of the time.
        if len(identity) != NEGENTROPY_ID or not 0 <= timestamp <= NEGENTROPY_TIMESTAMP_MAX:
            raise Misused(NO_ITEM)
        self._add_timestamp(timestamp)
        self._add_identity(identity)

    def extend(self, timestamps: Sequence[int], identities: Sequence[bytes]) -> None:
        """Add many items, each by its timestamp and the id at the same place.

        Raises Misused after `seal`, for an invalid item, and for lists of two lengths; then none
        is added.
        """
        self._check(is_sealed=False)
        is_sound = len(timestamps) == len(identities)
        if timestamps and is_sound:
            is_sound = set(map(len, identities)) == {NEGENTROPY_ID}
            is_sound &= min(timestamps) >= 0 and max(timestamps) <= NEGENTROPY_TIMESTAMP_MAX
        if not is_sound:
            raise Misused(NO_ITEM)
        self._timestamps += timestamps
        self._identities += identities

    def seal(self) -> None:
        """Sort and sum the items; none can be added afterwards.

        Raises Misused if sealed, and where a timestamp is no int or an id no bytes.
        """
        self._check(is_sealed=False)
        identities = self._identities
        # All at once: a check per item would double the time.
        if not set(map(type, identities)) <= {bytes}:
            raise Misused(NO_ITEM)
        try:
            keys = item_keys(self._timestamps, identities)
        except StructError as fault:
            raise Misused(NO_ITEM) from fault
        # One pass tells sorted from unsorted and finds equal items at the same time.
        if not all(map(lt, keys, islice(keys, 1, None))):
            keys.sort()
            identities = [key[TIMESTAMP:] for key in keys]
            # Equal items have equal ids beside each other, and the new ids are quicker to go over.
            if any(map(eq, identities, islice(identities, 1, None))):
                keys = list(dict.fromkeys(keys))
                identities = [key[TIMESTAMP:] for key in keys]
        numbers = map(int.from_bytes, identities, repeat(LITTLE))
        self._sums = list(accumulate(numbers, initial=0))
        self._keys = keys
        # No method: a cycle would keep the items until the garbage is collected.
        self._add_timestamp = self._add_identity = _refuse
        self._timestamps = []
        # Kept beside the keys, so that a list of ids is a slice; long runs consist mostly of them.
        self._identities = identities

    def _check(self, *, is_sealed: bool) -> None:
        if bool(self._sums) is not is_sealed:
            raise Misused("the vector is not sealed" if is_sealed else "the vector is sealed")

    @property
    def size(self) -> int:
        """Number of items; raises Misused unless sealed."""
        self._check(is_sealed=True)
        return len(self._keys)

    def locate(self, bound: bytes, first: int, expected: int) -> tuple[int, int]:
        """Return rank and sum at the first item that is not below a bound (see Storage)."""
        keys = self._keys
        end = len(keys)
        low = max(expected - NEAR, first)
        high = low + 2 * NEAR
        if high < end:
            rank = bisect_left(keys, bound, low, high)
            if low < rank < high:
                return rank, self._sums[rank]
        elif low > end:
            low = end
        if low > first and keys[low - 1] >= bound:
            rank = bisect_left(keys, bound, first, low)
        else:
            width = FAR
            while low + width < end and keys[low + width] < bound:
                low += width
                width *= FAR
            rank = bisect_left(keys, bound, low, min(low + width, end))
        return rank, self._sums[rank]

    def cut(self, rank: int) -> tuple[int, bytes]:
        """Return the sum at a rank and the shortest bound there (see Storage)."""
        below, above = self._keys[rank - 1], self._keys[rank]
        timestamp = above[:TIMESTAMP]
        if below[:TIMESTAMP] != timestamp:
            return self._sums[rank], timestamp
        return self._sums[rank], separate(below, above)

    def key(self, rank: int) -> bytes:
        """Return the key of an item."""
        return self._keys[rank]

    def ids(self, lower: int, upper: int) -> list[bytes]:
        """Return the ids of the ranks from `lower` to before `upper`."""
        return self._identities[lower:upper]
