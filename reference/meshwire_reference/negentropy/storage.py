"""The interface of a set of items to a session, and the keys that order items and bounds.

The key of an item is its timestamp in 8 bytes, big endian, and its id; that of a bound is its
timestamp and its prefix. Keys compare as bytes just as items and bounds do, and an infinite bound,
whose timestamp is written as 2^64-1, is above every item.
"""

from collections.abc import Iterable
from struct import Struct
from struct import error as StructError  # noqa: N812 - it is a class
from typing import Final, Protocol

from meshwire_reference.wire.reconciliation import TIMESTAMP
from meshwire_spec.numbers import NEGENTROPY_ID, NEGENTROPY_TIMESTAMP_MAX, REASONS

NO_ITEM: Final = "an item is a timestamp of 0 to 2^64-2 and an id of 32 bytes"

_PACK_KEY: Final = Struct(f">Q{NEGENTROPY_ID}s").pack


class NegentropyError(Exception):
    """Root of every error of reconciliation."""


class RunRefused(NegentropyError):
    """The peer's message cannot be answered; the run is over and its stream is refused.

    `reason` is a name of the closed registry `REASONS` and `code` its application code; `offset`
    is where the field that is wrong starts, None where the message as a whole is refused.
    """

    def __init__(self, reason: str, offset: int | None = None) -> None:
        super().__init__(reason if offset is None else f"{reason} at byte {offset}")
        self.reason = reason
        self.code = REASONS[reason].code
        self.offset = offset


class Misused(NegentropyError):
    """The caller has a bug: a step out of order, or an invalid item."""


class Storage(Protocol):
    """Items in order, each with its rank and the sum of the ids before it.

    Ranks hold until the set changes, so a session uses them within one message only.
    """

    @property
    def size(self) -> int:
        """Number of items."""

    def locate(self, bound: bytes, first: int, expected: int) -> tuple[int, int]:
        """Return rank and sum at the first item that is not below a bound.

        That rank is `first` or above, and likely near `expected`; both only say where to look.
        """

    def cut(self, rank: int) -> tuple[int, bytes]:
        """Return the sum at a rank and the shortest bound between it and the rank before it."""

    def key(self, rank: int) -> bytes:
        """Return the key of an item."""

    def ids(self, lower: int, upper: int) -> list[bytes]:
        """Return the ids of the ranks from `lower` to before `upper`."""


def item_key(timestamp: int, identity: bytes) -> bytes:
    """Return the key of an item; raises Misused if it is invalid."""
    check_item(timestamp, identity)
    try:
        return _PACK_KEY(timestamp, identity)
    except StructError as fault:
        raise Misused(NO_ITEM) from fault


def check_item(timestamp: int, identity: bytes) -> None:
    """Raise Misused unless the id is 32 bytes and the timestamp is below infinity."""
    if len(identity) != NEGENTROPY_ID or not 0 <= timestamp <= NEGENTROPY_TIMESTAMP_MAX:
        raise Misused(NO_ITEM)


def item_keys(timestamps: Iterable[int], identities: Iterable[bytes]) -> list[bytes]:
    """Return the keys of many items, which have been checked."""
    return list(map(_PACK_KEY, timestamps, identities))


def separate(below: bytes, above: bytes) -> bytes:
    """Return the shortest bound that is above one item and not above the next."""
    if below[:TIMESTAMP] != above[:TIMESTAMP]:
        return above[:TIMESTAMP]
    differing = int.from_bytes(below, "big") ^ int.from_bytes(above, "big")
    shared = len(above) - (differing.bit_length() + 7) // 8
    return above[: shared + 1]
