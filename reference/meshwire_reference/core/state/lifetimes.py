"""How long documents of collections with an implicit lifetime live.

The age of a document is counted from the last change that took effect at this node (D-84), on the
clock that never jumps, so that no setting of the calendar ends a document or keeps it. Over a
restart the calendar counts. There is one deadline for each key, which each change puts off (D-85).

A document that has ended is remembered by its heads for one lifetime more: a peer that still holds
it would bring it back unchanged.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from meshwire_reference.core.document_calls import Heads, Life
from meshwire_reference.core.state.policy import Collections
from meshwire_spec.numbers import DeletionPolicy

MS_PER_S: Final = 1000
ENDED_MAX: Final = 65536
"""Documents that have ended and are remembered; of more the oldest are forgotten."""
CHECKED_AT_ONCE: Final = 512
"""Documents whose age is checked in one turn."""


@dataclass(frozen=True, slots=True)
class Living:
    """A document that will end, and when its last change took effect."""

    life: Life
    written_s: float
    heads: Heads


def _steps(keys: list[str]) -> Iterator[list[str]]:
    """Yield the keys in groups, each of which is checked in one turn."""
    for at in range(0, len(keys), CHECKED_AT_ONCE):
        yield keys[at : at + CHECKED_AT_ONCE]


class Lifetimes:
    """The documents that end by themselves, and those that have ended, by key."""

    def __init__(self, collections: Collections) -> None:
        self._collections = collections
        self._living: dict[str, Living] = {}
        # When documents began that the user has written, and that are not stored yet.
        self._beginning: dict[str, int] = {}
        self._ended: OrderedDict[str, tuple[float, Heads]] = OrderedDict()

    def lifetime_s(self, key: str) -> float | None:
        """Return the lifetime of a document, or None if it has none."""
        row = self._collections.row(key)
        return row.ttl_s if row.deletion is DeletionPolicy.IMPLICIT_TTL else None

    def restore(self, key: str, life: Life | None, heads: Heads, now_s: float, now_ms: int) -> None:
        """Take up a document of the store; one of which nothing is known begins now."""
        if self.lifetime_s(key) is None:
            return
        found = life or Life(0, now_ms)
        age_s = max(0, now_ms - found.written_ms) / MS_PER_S
        self._living[key] = Living(found, now_s - age_s, heads)

    def note_written(self, key: str, heads: Heads, now_s: float, now_ms: int) -> Life | None:
        """Begin the lifetime of a document anew; return what the store keeps of it."""
        if self.lifetime_s(key) is None:
            return None
        before, began_ms = self._living.get(key), self._beginning.pop(key, now_ms)
        life = Life(began_ms if before is None else before.life.began_ms, now_ms)
        self._living[key] = Living(life, now_s, heads)
        self._ended.pop(key, None)
        return life

    def forget(self, key: str) -> None:
        """Forget a document that is gone for another reason."""
        self._living.pop(key, None)

    def begin(self, key: str, now_ms: int) -> int:
        """Return when a document began, now for one that is not held; 0 where that is not known."""
        living = self._living.get(key)
        if living is not None:
            return living.life.began_ms
        self._beginning[key] = now_ms
        return now_ms

    def is_over(self, key: str, now_s: float) -> bool:
        """Return True if the lifetime of a document has passed."""
        # DC-080
        living, lifetime_s = self._living.get(key), self.lifetime_s(key)
        return (
            living is not None and lifetime_s is not None and now_s - living.written_s > lifetime_s
        )

    def end(self, key: str, now_s: float) -> None:
        """Remember that a document has ended."""
        living = self._living.pop(key)
        self._ended[key] = now_s, living.heads
        self._ended.move_to_end(key)
        if len(self._ended) > ENDED_MAX:
            self._ended.popitem(last=False)

    def has_returned(self, key: str, heads: Heads, now_s: float) -> bool:
        """Return True if a document with these heads is one that has ended."""
        at_s, ended = self._ended.get(key, (0.0, ()))
        lifetime_s = self.lifetime_s(key)
        if not ended or lifetime_s is None:
            return False
        return sorted(ended) == sorted(heads) and now_s - at_s <= lifetime_s

    def over(self, now_s: float) -> Iterator[tuple[str, ...]]:
        """Yield the keys of documents whose lifetime has passed, a few in each step.

        Those that have ended a lifetime ago are forgotten, in steps without a key.
        """
        for some in _steps(list(self._ended)):
            for key in some:
                self._forget_if_old(key, now_s)
            yield ()
        for some in _steps(list(self._living)):
            yield tuple(key for key in some if self.is_over(key, now_s))

    def _forget_if_old(self, key: str, now_s: float) -> None:
        """Forget that a document has ended, if that was a lifetime ago."""
        at_s, _ = self._ended.get(key, (now_s, ()))
        lifetime_s = self.lifetime_s(key)
        if lifetime_s is None or now_s - at_s > lifetime_s:
            self._ended.pop(key, None)

    def __len__(self) -> int:
        """Return how many documents will end."""
        return len(self._living)
