"""The tombstones that a node holds: their order, their age, and what a new one changes.

Two tombstones for one document are compared as received, by lamport, then time, then author, then
encoded bytes, and the greater is kept (D-71). So every node ends with the same bytes, in whatever
order they came. Only the age looks at a clock, and only there a time in the future is clamped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from dataclasses import replace as replace_fields
from enum import StrEnum
from typing import Final

from meshwire_reference.core.document_calls import KeptTombstone
from meshwire_reference.core.state.policy import PUBLISHED, Collections
from meshwire_reference.wire.tombstones import Tombstone, decode_tombstone, encode_tombstone
from meshwire_spec.numbers import (
    CLOCK_AHEAD_MAX_MS,
    TOMBSTONE_BYTES_MAX,
    TOMBSTONE_COLLECTION,
    TOMBSTONE_GRACE_PERCENT,
    TOMBSTONES_MAX,
    Direction,
)


class OfferOutcome(StrEnum):
    """The result of an offered tombstone."""

    NEW = "new"
    REPLACED = "replaced"
    DUPLICATE = "duplicate"
    LESSER = "lesser"
    EXPIRED = "expired"
    POLICY = "policy"
    FULL = "full"


KEPT = frozenset((OfferOutcome.NEW, OfferOutcome.REPLACED))
"""Outcomes after which the tombstone is held and must be passed on."""


SWEPT_AT_ONCE: Final = 512
"""Tombstones whose age is checked in one turn."""


@dataclass(frozen=True, slots=True)
class HeldTombstone:
    """A tombstone that is held, and when it was received.

    There may be very many, so only what its age needs is kept decoded.
    """

    content: bytes
    received_ms: int
    deleted_at: int
    lifetime_ms: int

    @property
    def tombstone(self) -> Tombstone:
        """The tombstone, decoded anew."""
        return decode_tombstone(self.content)

    @property
    def direction(self) -> Direction:
        """Its direction byte, which is the last one: it is held without `extra`."""
        return Direction(self.content[-1])

    @property
    def order(self) -> tuple[int, int, bytes, bytes]:
        """Position of the tombstone in the total order."""
        return (
            self.tombstone.lamport,
            self.tombstone.deleted_at,
            self.tombstone.deleted_by.encode(),
            self.content,
        )


def document_key(tombstone: Tombstone) -> str:
    """Return the key of the document that a tombstone names."""
    return f"{tombstone.collection}:{tombstone.document_id}"


def frame_key(key: str) -> str:
    """Return the key of a frame that carries the tombstone of a document."""
    return f"{TOMBSTONE_COLLECTION}:{key}"


def age_ms(held: HeldTombstone, now_ms: int) -> int:
    """Return the age of a tombstone; negative for one of the near future."""
    # TS-035
    reckoned = min(held.deleted_at, held.received_ms + CLOCK_AHEAD_MAX_MS)
    return now_ms - reckoned


def is_current(held: HeldTombstone, now_ms: int) -> bool:
    """Return True if the age of a tombstone does not exceed its lifetime."""
    return age_ms(held, now_ms) <= held.lifetime_ms


def expires_ms(held: HeldTombstone) -> int:
    """Return when a tombstone has expired, its grace included: then it guards no longer."""
    return held.lifetime_ms * (100 + TOMBSTONE_GRACE_PERCENT) // 100 - age_ms(held, 0)


def has_expired(held: HeldTombstone, now_ms: int) -> bool:
    """Return True if the age of a tombstone exceeds its lifetime and the grace after it."""
    return age_ms(held, now_ms) * 100 > held.lifetime_ms * (100 + TOMBSTONE_GRACE_PERCENT)


class Tombstones:
    """The tombstones of a node by the key of their document, within two bounds.

    Where a further one exceeds a bound it is not kept: those that are held still guard, and to
    forget one of them would bring its document back.
    """

    def __init__(self) -> None:
        self._collections = PUBLISHED
        self.graveyard_ms = 0
        """Time for which tombstones are remembered once they have expired."""
        self._held: dict[str, HeldTombstone] = {}
        self._size = 0
        self.maximum = TOMBSTONES_MAX
        self.bytes_max = TOMBSTONE_BYTES_MAX
        self.lamport = 0
        """The greatest Lamport time of every tombstone that was ever kept."""

    def follow(self, collections: Collections) -> None:
        """Treat collections by another table than that of the page, before anything is held."""
        self._collections = collections

    def restore(self, kept: Iterable[KeptTombstone], lamport: int) -> None:
        """Hold the tombstones of the store again; those that have expired guard nothing."""
        self.lamport = lamport
        for one in kept:
            tombstone = decode_tombstone(one.content)
            held = self._as_held(tombstone, one.content, one.received_ms)
            self.put_back(document_key(tombstone), held)

    def offer(self, tombstone: Tombstone, now_ms: int, *, reserve_percent: int = 0) -> OfferOutcome:
        """Keep a tombstone if it is greater than the one held; the caller passes it on if taken.

        It may exceed the bounds by `reserve_percent`.
        """
        key = document_key(tombstone)
        # TS-031
        if not self._collections.obeys_tombstones(key):
            return OfferOutcome.POLICY
        # TS-010, TS-036
        tombstone = replace_fields(tombstone, extra=b"")
        offered = self._as_held(tombstone, encode_tombstone(tombstone), now_ms)
        # TS-032
        if has_expired(offered, now_ms):
            return OfferOutcome.EXPIRED
        held = self.active(key, now_ms)
        outcome = OfferOutcome.NEW if held is None else self._compare(held, offered)
        if outcome in KEPT:
            if not self._has_room(key, offered, 100 + reserve_percent):
                return OfferOutcome.FULL
            self.put_back(key, offered)
            self.lamport = max(self.lamport, tombstone.lamport)
        return outcome

    def _as_held(self, tombstone: Tombstone, content: bytes, received_ms: int) -> HeldTombstone:
        """Return a tombstone with its bytes as it is held."""
        lifetime_ms = self._collections.tombstone_lifetime_ms(tombstone.collection)
        return HeldTombstone(content, received_ms, tombstone.deleted_at, lifetime_ms)

    @staticmethod
    def _compare(held: HeldTombstone, offered: HeldTombstone) -> OfferOutcome:
        # TS-039
        if offered.content == held.content:
            return OfferOutcome.DUPLICATE
        # TS-004
        return OfferOutcome.REPLACED if offered.order > held.order else OfferOutcome.LESSER

    def _has_room(self, key: str, offered: HeldTombstone, percent: int) -> bool:
        """Return True if a tombstone is within `percent` of the bounds, in place of its key's."""
        before = self._held.get(key)
        if before is None and len(self._held) >= self.maximum * percent // 100:
            return False
        grows_by = len(offered.content) - (0 if before is None else len(before.content))
        return grows_by <= 0 or self._size + grows_by <= self.bytes_max * percent // 100

    def put_back(self, key: str, held: HeldTombstone | None) -> None:
        """Hold a tombstone for a key, or none, whatever the bounds are."""
        before = self._held.pop(key, None)
        self._size -= 0 if before is None else len(before.content)
        if held is not None:
            self._held[key] = held
            self._size += len(held.content)

    def active(self, key: str, now_ms: int) -> HeldTombstone | None:
        """Return the tombstone that guards a key, or None; an expired one guards nothing."""
        held = self._held.get(key)
        # TS-043
        return None if held is None or has_expired(held, now_ms) else held

    def buried(self, key: str, now_ms: int) -> HeldTombstone | None:
        """Return the tombstone of a key that has expired and is remembered, or None."""
        held = self._held.get(key)
        if held is None or not has_expired(held, now_ms) or self._is_over(held, now_ms):
            return None
        return held

    def _is_over(self, held: HeldTombstone, now_ms: int) -> bool:
        """Return True if a tombstone has expired and is not remembered any more."""
        return has_expired(held, now_ms - self.graveyard_ms)

    def offerable(self, now_ms: int) -> Iterator[HeldTombstone]:
        """Return an iterator over the tombstones held now that are current when their turn comes.

        A connection offers these to its peer.
        """
        # TS-033
        return (held for held in list(self._held.values()) if is_current(held, now_ms))

    def sweep(self, now_ms: int, *, in_grace: bool = False) -> Iterator[tuple[str, ...]]:
        """Remove the tombstones that are over, a few in each step; yield their documents' keys.

        With `in_grace` those are removed too that are no longer offered, or only remembered.
        """
        keys = list(self._held)
        for at in range(0, len(keys), SWEPT_AT_ONCE):
            some = ((key, self._held.get(key)) for key in keys[at : at + SWEPT_AT_ONCE])
            over = tuple(
                key
                for key, held in some
                if held
                and (not is_current(held, now_ms) if in_grace else self._is_over(held, now_ms))
            )
            for key in over:
                self.put_back(key, None)
            yield over

    def __len__(self) -> int:
        return len(self._held)
