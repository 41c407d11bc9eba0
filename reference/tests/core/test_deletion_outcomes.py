"""What deleting, writing again, time and a stale peer end in, by the policy of a collection.

Three nodes hold a document, and one of them goes away. Meanwhile the first deletes it, writes it
again, and its lifetime passes; then the third comes back. The table is that of the page on
documents, with the calendar of the second node right, and two hours off.
"""

from __future__ import annotations

from itertools import count
from random import Random
from typing import Final, TypeAlias

import pytest

from meshwire_reference.core.document_calls import (
    DELETION_MARKS,
    Edit,
    Edited,
    Fields,
    Listed,
)
from meshwire_reference.core.effects import LocalRefusal
from meshwire_reference.core.inputs import Deletion, LocalOperation, StoreOpened
from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.documents.table import Table
from meshwire_reference.testing.bench import Bench
from meshwire_reference.testing.joined import JoinedBenches
from meshwire_spec.numbers import EXPIRY_SWEEP_S, collection_of

HOUR_MS: Final = 3_600_000
WEEK_S: Final = 7 * 24 * 3600.0
PAUSE_S: Final = 10.0
WITHOUT_LIFETIME_S: Final = 24 * 3600.0
ALL: Final = frozenset((0, 1, 2))
NONE: Final[frozenset[int]] = frozenset()
AWAY: Final = frozenset((2,))
"""The node that does not hear of the deletion."""
DELETED, EXPIRES = LocalRefusal.DELETED, LocalRefusal.EXPIRES

Row: TypeAlias = tuple[frozenset[int], object, frozenset[int], frozenset[int], frozenset[int]]
"""Who shows the document once it is deleted, what writing it again gives and who shows it then, who
does when its lifetime has passed, and who does once the third node is back."""

TABLE: Final[dict[str, Row]] = {
    # A tombstone, and a document may return after it has expired.
    "tracks": (AWAY, DELETED, AWAY, AWAY, ALL),
    # A tombstone, and a document that returns is deleted again.
    "nodes": (AWAY, DELETED, AWAY, AWAY, NONE),
    # A tombstone, and a document that returns is rejected: it stays where it is.
    "alerts": (AWAY, DELETED, AWAY, AWAY, AWAY),
    # Marks in the document, which a later edit takes away.
    "notes": (AWAY, Edited, ALL, ALL, ALL),
    # Neither: the document ends by itself, everywhere.
    "beacons": (ALL, Edited, ALL, NONE, NONE),
}
NOT_HEARD: Final = frozenset((1, 2))
AHEAD: Final[dict[str, Row]] = {
    **TABLE,
    # Two hours are more than the lifetime of its tombstones, so one that comes has expired.
    "tracks": (NOT_HEARD, DELETED, NOT_HEARD, ALL, ALL),
}
"""The same where the calendar of the second node is two hours ahead."""


class Nodes:
    """Three nodes on a line, that remember expired tombstones."""

    def __init__(self, off_ms: int) -> None:
        self.network = JoinedBenches(Random(1))
        self.benches = [self._bench(number) for number in range(3)]
        self.benches[1].now_ms += off_ms
        self.numbers = count(1)

    @staticmethod
    def _bench(number: int) -> Bench:
        table = Table(bytes((number + 1,)) * 16)
        settings = Settings(Dialect.OPEN, heartbeat_s=0, graveyard_s=WEEK_S)
        return Bench(lambda call: table.answer(call, None), settings)

    def meet(self, *links: tuple[int, int]) -> None:
        """Connect nodes in the place of those that are connected, and carry everything."""
        self.network.cut()
        for one, other in links:
            self.network.link(self.benches[one], self.benches[other], (one + 1, other + 1))
        self.network.run(self.benches, PAUSE_S)

    def do(self, at: int, operation: Edit | Deletion | Fields) -> object:
        """Carry out an operation of the user of a node; return its result."""
        number = next(self.numbers)
        self.benches[at].feed(LocalOperation(number, operation))
        return self.benches[at].done[number]

    def shown(self, key: str) -> frozenset[int]:
        """Return the nodes whose users see the document."""
        found = {at: self.do(at, Fields(key)) for at in range(len(self.benches))}
        return frozenset(
            at
            for at, one in found.items()
            if isinstance(one, Listed) and one.fields is not None and not one.deleted
        )

    def wait(self, seconds: float) -> None:
        """Let time pass, without connections."""
        self.network.cut()
        for bench in self.benches:
            bench.advance(seconds)


@pytest.mark.parametrize("collection", TABLE)
@pytest.mark.parametrize(
    ("off_h", "table"), [(0, TABLE), (2, AHEAD), (-2, TABLE)], ids=["right", "ahead", "behind"]
)
def test_the_policy_decides_what_becomes_of_a_document(
    collection: str, off_h: int, table: dict[str, Row]
) -> None:
    """TS-032, TS-048, DC-077, DC-079, DC-080: none comes back that may not, none is lost."""
    key, nodes = f"{collection}:x1", Nodes(off_h * HOUR_MS)
    nodes.do(0, Edit(key, {"by": 7}))
    nodes.meet((0, 1), (1, 2))
    assert nodes.shown(key) == ALL
    nodes.meet((0, 1))
    deletion = nodes.do(0, Deletion(key, "user"))
    nodes.meet((0, 1))
    deleted = nodes.shown(key)
    again = nodes.do(0, Edit(key, {"by": 8}, DELETION_MARKS))
    nodes.meet((0, 1))
    written = nodes.shown(key)
    lifetime_s = collection_of(key).ttl_s or WITHOUT_LIFETIME_S
    nodes.wait(1.2 * lifetime_s + EXPIRY_SWEEP_S)
    nodes.meet((0, 1))
    expired = nodes.shown(key)
    nodes.meet((0, 1), (1, 2))

    kind = again if isinstance(again, LocalRefusal) else type(again)
    assert (deleted, kind, written, expired, nodes.shown(key)) == table[collection]
    assert (deletion is EXPIRES) is (collection == "beacons")


def test_a_document_that_ended_is_written_again_by_another_actor() -> None:
    """DC-079: a peer that still holds the old one takes the new one, and both agree."""
    nodes, key = Nodes(0), "platforms:p1"
    nodes.do(0, Edit(key, {"by": 7}))
    nodes.meet((0, 1))
    nodes.network.cut()
    nodes.benches[0].advance(3600 + 2 * EXPIRY_SWEEP_S)
    assert nodes.shown(key) == {1}
    nodes.do(0, Edit(key, {"by": 8}))
    nodes.do(0, Edit(key, {"by": 9}))
    nodes.meet((0, 1))

    seen = [nodes.do(at, Fields(key)) for at in (0, 1)]
    assert seen[0] == seen[1]
    assert [bench.refusals for bench in nodes.benches] == [[], [], []]


def test_the_lifetime_goes_on_over_a_restart() -> None:
    """DC-077: by the calendar, with what the store says; without that it begins at the start."""
    nodes, key = Nodes(0), "beacons:b1"
    nodes.do(0, Edit(key, {"by": 7}))
    (write,) = nodes.benches[0].writes
    assert write.life is not None
    for lives, is_left in (({key: write.life}, False), ({}, True)):
        bench = nodes._bench(0)
        bench.now_ms += HOUR_MS
        bench.feed(StoreOpened({key: 100}, lives=lives))
        bench.advance(EXPIRY_SWEEP_S + 1)
        assert (key in bench.core.keys) is is_left
