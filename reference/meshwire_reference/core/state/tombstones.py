"""The tombstones that a node holds: their order, their age, and what a new one changes.

Two tombstones for one document are compared as received, by lamport, then time, then author, then
encoded bytes, and the greater is kept (D-71). So every node ends with the same bytes, in whatever
order they came. Only the age looks at a clock, and only there a time in the future is clamped.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from dataclasses import replace as replace_fields
from enum import StrEnum
from typing import Final

from meshwire_reference.core.document_calls import KeptTombstone
from meshwire_reference.core.state.policy import obeys_tombstones, tombstone_ttl_s
from meshwire_reference.wire.tombstones import Tombstone, decode_tombstone, encode_tombstone
from meshwire_spec.numbers import (
    CLOCK_AHEAD_MAX_MS,
    TOMBSTONE_COLLECTION,
    TOMBSTONE_GRACE_PERCENT,
    collection_of,
)


class OfferOutcome(StrEnum):
    """The result of an offered tombstone."""

    NEW = "new"
    REPLACED = "replaced"
    DUPLICATE = "duplicate"
    LESSER = "lesser"
    EXPIRED = "expired"
    POLICY = "policy"


KEPT = frozenset((OfferOutcome.NEW, OfferOutcome.REPLACED))
"""Outcomes after which the tombstone is held and must be passed on."""


SWEPT_AT_ONCE: Final = 512
"""Tombstones whose age is checked in one turn."""


@dataclass(frozen=True, slots=True)
class HeldTombstone:
    """A tombstone that is held, and when it was received."""

    tombstone: Tombstone
    content: bytes
    received_ms: int

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
    reckoned = min(held.tombstone.deleted_at, held.received_ms + CLOCK_AHEAD_MAX_MS)
    return now_ms - reckoned


def is_current(held: HeldTombstone, now_ms: int) -> bool:
    """Return True if the age of a tombstone does not exceed its lifetime."""
    return age_ms(held, now_ms) <= lifetime_ms(held)


def has_expired(held: HeldTombstone, now_ms: int) -> bool:
    """Return True if the age of a tombstone exceeds its lifetime and the grace after it."""
    return age_ms(held, now_ms) * 100 > lifetime_ms(held) * (100 + TOMBSTONE_GRACE_PERCENT)


def lifetime_ms(held: HeldTombstone) -> int:
    """Return the lifetime of a tombstone in ms."""
    return tombstone_ttl_s(collection_of(held.tombstone.collection)) * 1000


class Tombstones:
    """The tombstones of a node by the key of their document."""

    def __init__(self) -> None:
        self._held: dict[str, HeldTombstone] = {}
        self.lamport = 0
        """The greatest Lamport time of every tombstone that was ever kept."""

    def restore(self, kept: Iterable[KeptTombstone], lamport: int) -> None:
        """Hold the tombstones of the store again; those that have expired guard nothing."""
        self.lamport = lamport
        for one in kept:
            tombstone = decode_tombstone(one.content)
            held = HeldTombstone(tombstone, one.content, one.received_ms)
            self._held[document_key(tombstone)] = held

    def offer(self, tombstone: Tombstone, now_ms: int) -> OfferOutcome:
        """Keep a tombstone if it is greater than the one held; the caller passes it on if taken."""
        key = document_key(tombstone)
        # TS-031
        if not obeys_tombstones(key):
            return OfferOutcome.POLICY
        # TS-010, TS-036
        tombstone = replace_fields(tombstone, extra=b"")
        offered = HeldTombstone(tombstone, encode_tombstone(tombstone), now_ms)
        # TS-032
        if has_expired(offered, now_ms):
            return OfferOutcome.EXPIRED
        held = self.active(key, now_ms)
        outcome = OfferOutcome.NEW if held is None else self._compare(held, offered)
        if outcome in KEPT:
            self._held[key] = offered
            self.lamport = max(self.lamport, tombstone.lamport)
        return outcome

    @staticmethod
    def _compare(held: HeldTombstone, offered: HeldTombstone) -> OfferOutcome:
        # TS-039
        if offered.content == held.content:
            return OfferOutcome.DUPLICATE
        # TS-004
        return OfferOutcome.REPLACED if offered.order > held.order else OfferOutcome.LESSER

    def put_back(self, key: str, held: HeldTombstone | None) -> None:
        """Hold for a key what was held for it before: a write of its tombstone is lost."""
        self._held.pop(key, None)
        if held is not None:
            self._held[key] = held

    def active(self, key: str, now_ms: int) -> HeldTombstone | None:
        """Return the tombstone that guards a key, or None; an expired one guards nothing."""
        held = self._held.get(key)
        # TS-043
        return None if held is None or has_expired(held, now_ms) else held

    def offerable(self, now_ms: int) -> Iterator[HeldTombstone]:
        """Return an iterator over the tombstones held now that are current when their turn comes.

        A connection offers these to its peer.
        """
        # TS-033
        return (held for held in list(self._held.values()) if is_current(held, now_ms))

    def sweep(self, now_ms: int) -> Iterator[tuple[str, ...]]:
        """Remove every expired tombstone, a few in each step; yield the keys of their documents."""
        keys = list(self._held)
        for at in range(0, len(keys), SWEPT_AT_ONCE):
            some = ((key, self._held.get(key)) for key in keys[at : at + SWEPT_AT_ONCE])
            over = tuple(key for key, held in some if held and has_expired(held, now_ms))
            for key in over:
                del self._held[key]
            yield over

    def __len__(self) -> int:
        return len(self._held)
