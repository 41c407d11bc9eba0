"""Which changes a peer has from other peers already, learned from the copies that it sends.

Two peers of this node that are linked with each other have the changes of both without its help:
around a triangle each change would cross the third edge twice more, once in each direction. Such a
peer sends a copy of what this node has just relayed to it. From then on changes of the same source
and collection are announced to it by their heads (DC-085). It asks for what it lacks, as it does
where the other link is lost; then changes are relayed again, for a number of them that doubles each
time. So a peer that returns what it was sent, as deployed ones do (D-55), is announced to ever more
rarely. What is not answered is relayed after all, since the breaker of a deployed peer may have
ended what it sends (D-49).
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

OPERATOR: Final = 0
"""Connection number used for changes made by this node's own user."""
PATHS_MAX: Final = 1024
"""Sources and collections that are remembered for one peer; the one noted longest ago goes."""
RELAYED_MAX: Final = 16384
"""Documents that are remembered for one peer; the one relayed the longest time ago goes."""
ANNOUNCED_MAX: Final = 256
"""Announcements without an answer, beside which changes are relayed."""
ANSWER_S: Final = 5.0
"""Seconds after which a change is relayed whose announcement has no answer."""
PAUSE_MAX: Final = 1024
"""Greatest number of changes that are relayed before the next one is announced."""

Route = tuple[int, str]
"""The connection on which changes arrive, and their collection."""
NameT = TypeVar("NameT")
ValueT = TypeVar("ValueT")


class _Recent(OrderedDict[NameT, ValueT], Generic[NameT, ValueT]):
    """What was put last under each name, for at most `most` names."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def put(self, name: NameT, value: ValueT) -> None:
        """Put a value under a name, in the place of any other."""
        self[name] = value
        self.move_to_end(name)
        if len(self) > self._most:
            self.popitem(last=False)


@dataclass(slots=True)
class _Trial:
    """How announcements of one route fared."""

    step: int = 1
    pause: int = 0
    """Changes that are relayed before the next one is announced."""

    def fail(self) -> None:
        """Note that the peer has lacked a change that was announced."""
        self.step = min(2 * self.step, PAUSE_MAX)
        self.pause = self.step


class Copies:
    """What one peer has shown of the changes that this node relays to it."""

    def __init__(self) -> None:
        self._relayed: _Recent[str, Route] = _Recent(RELAYED_MAX)
        self._trials: _Recent[Route, _Trial] = _Recent(PATHS_MAX)
        # By document, the oldest first: the route, and when an answer is due.
        self._announced: OrderedDict[str, tuple[Route, float]] = OrderedDict()

    @property
    def due_s(self) -> float | None:
        """The monotonic time at which the next answer is due, None if none is."""
        return next((due_s for _, due_s in self._announced.values()), None)

    def announces(self, key: str, source: int, now_s: float) -> bool:
        """Return True if a change that arrived on the connection `source` is to be announced.

        Otherwise it is to be relayed, as a change of this node's own user always is.
        """
        self._relayed.pop(key, None)
        self._announced.pop(key, None)
        if source == OPERATOR:
            return False
        route = source, key.partition(":")[0]
        trial = self._trials.get(route)
        if trial is not None and not trial.pause and len(self._announced) < ANNOUNCED_MAX:
            self._announced[key] = route, now_s + ANSWER_S
            return True
        if trial is not None:
            trial.pause = max(0, trial.pause - 1)
        self._relayed.put(key, route)
        return False

    def note_copy(self, key: str) -> None:
        """Note that the peer has sent changes, in a frame of their own, that are held already."""
        route = self._relayed.pop(key, None)
        if route is not None:
            self._trials.put(route, self._trials.get(route) or _Trial())

    def note_delta(self, key: str, *, asks: bool) -> None:
        """Note a delta of the peer; `asks` is True if it asks for changes."""
        route, _ = self._announced.pop(key, (None, 0.0))
        trial = None if route is None else self._trials.get(route)
        if trial is not None and asks:
            trial.fail()
        elif trial is not None:
            trial.step = 1

    def take_unanswered(self, now_s: float) -> list[str]:
        """Return the documents whose announcements should have been answered by now."""
        overdue = [key for key, (_, due_s) in self._announced.items() if due_s <= now_s]
        for key in overdue:
            self.note_delta(key, asks=True)
        return overdue
