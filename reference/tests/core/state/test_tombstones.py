"""The order and the age of tombstones, and what a new one changes."""

from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwire_reference.core.document_calls import KeptTombstone
from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.core.state.tombstones import OfferOutcome, Tombstones, document_key
from meshwire_reference.documents.table import Table
from meshwire_reference.testing import author
from meshwire_reference.testing.bench import Bench, Seen
from meshwire_reference.wire.batches import StreamFrame
from meshwire_reference.wire.tombstones import Tombstone, encode_tombstone
from meshwire_spec.numbers import REASONS, Direction, FrameType

NOW = 1_800_000_000_000
TRACKS_TTL_MS = 3600 * 1000
INTERNAL = REASONS["internal"].code
BASE = Tombstone("tracks", "t1", NOW - 5000, 7, "a", "", Direction.BIDIRECTIONAL)


def tombstones() -> st.SearchStrategy[Tombstone]:
    """Return tombstones of one document that differ in whatever the order looks at."""
    return st.builds(
        replace,
        st.just(BASE),
        deleted_at=st.integers(NOW - 3, NOW),
        lamport=st.integers(0, 2),
        deleted_by=st.sampled_from(("a", "b", "ab", "é", "z")),
        reason=st.sampled_from(("", "x", "yy")),
        direction=st.sampled_from(Direction),
        extra=st.sampled_from((b"", b"\x01")),
    )


@given(st.lists(tombstones(), min_size=1, max_size=5))
def test_every_order_of_arrival_ends_with_the_same_bytes(offered: list[Tombstone]) -> None:
    """TS-004: whichever comes first, the greatest is kept."""
    kept = set()
    for order in permutations(offered):
        table = Tombstones()
        for tombstone in order:
            table.offer(tombstone, NOW)
        held = table.active("tracks:t1", NOW)
        assert held is not None
        kept.add(held.content)

    assert len(kept) == 1


@pytest.mark.parametrize(
    "greater",
    [
        replace(BASE, lamport=8, deleted_at=NOW - 9000, deleted_by="0"),
        replace(BASE, deleted_at=NOW - 4999, deleted_by="0"),
        replace(BASE, deleted_by="b"),
        replace(BASE, reason="r"),
        replace(BASE, direction=Direction.SYSTEM_WIDE),
    ],
    ids=["lamport", "time", "author", "reason", "direction"],
)
def test_each_field_decides_in_its_turn(greater: Tombstone) -> None:
    """TS-004: lamport, then time, then author, then the encoded bytes."""
    table = Tombstones()

    assert [table.offer(one, NOW) for one in (BASE, greater, BASE, greater)] == [
        OfferOutcome.NEW,
        OfferOutcome.REPLACED,
        OfferOutcome.LESSER,
        OfferOutcome.DUPLICATE,
    ]


def test_authors_are_ordered_by_their_bytes() -> None:
    """TS-004: U+FF5E comes before U+1F600 in bytes, and after it in units of UTF-16."""
    lesser = replace(BASE, deleted_by="\uff5e")
    greater = replace(BASE, deleted_by="\U0001f600")
    table = Tombstones()

    assert [table.offer(one, NOW) for one in (lesser, greater, lesser)] == [
        OfferOutcome.NEW,
        OfferOutcome.REPLACED,
        OfferOutcome.LESSER,
    ]


def test_trailing_bytes_are_cut() -> None:
    """TS-010, TS-036: what is kept and compared ends with the direction."""
    table = Tombstones()
    table.offer(replace(BASE, extra=b"more"), NOW)
    held = table.active("tracks:t1", NOW)

    assert held is not None
    assert held.content == encode_tombstone(BASE)
    assert table.offer(BASE, NOW) is OfferOutcome.DUPLICATE


@pytest.mark.parametrize("collection", ["audit_logs", "beacons", "notes", "commands"])
def test_other_policies_obey_no_tombstone(collection: str) -> None:
    """TS-031: only where the policy is Tombstone does one count."""
    table = Tombstones()

    assert table.offer(replace(BASE, collection=collection), NOW) is OfferOutcome.POLICY
    assert len(table) == 0


@pytest.mark.parametrize(
    ("age_ms", "offer"),
    [
        (TRACKS_TTL_MS, OfferOutcome.NEW),
        (TRACKS_TTL_MS * 110 // 100, OfferOutcome.NEW),
        (TRACKS_TTL_MS * 110 // 100 + 1, OfferOutcome.EXPIRED),
    ],
)
def test_a_tombstone_lives_its_time_and_a_tenth(age_ms: int, offer: OfferOutcome) -> None:
    """TS-032: the boundary is the lifetime and 10 percent, inclusive."""
    assert Tombstones().offer(replace(BASE, deleted_at=NOW - age_ms), NOW) is offer


def test_one_past_its_lifetime_guards_but_is_not_offered() -> None:
    """TS-033: in the grace after its lifetime a tombstone is kept to itself."""
    table = Tombstones()
    table.offer(replace(BASE, deleted_at=NOW), NOW)
    later = NOW + TRACKS_TTL_MS + 1

    assert table.active("tracks:t1", later) is not None
    assert list(table.offerable(later)) == []


def test_a_time_in_the_future_is_kept_but_expires() -> None:
    """TS-034, TS-035: the year 9999 ends one lifetime and five minutes after receipt."""
    table = Tombstones()
    future = replace(BASE, deleted_at=2**64 - 1)
    table.offer(future, NOW)
    held = table.active("tracks:t1", NOW)
    end = NOW + 5 * 60 * 1000 + TRACKS_TTL_MS

    assert held is not None
    assert held.content == encode_tombstone(future)
    assert [document_key(held.tombstone) for held in table.offerable(end)] == ["tracks:t1"]
    assert list(table.offerable(end + 1)) == []
    assert table.active("tracks:t1", end + TRACKS_TTL_MS) is None


def test_an_expired_one_makes_room_for_a_lesser() -> None:
    """An expired tombstone is replaced without comparison."""
    table = Tombstones()
    table.offer(replace(BASE, lamport=99, deleted_at=NOW), NOW)
    later = NOW + 2 * TRACKS_TTL_MS

    assert table.offer(replace(BASE, deleted_at=later), later) is OfferOutcome.NEW


def test_those_of_a_store_are_held_again() -> None:
    """With the time of their arrival; one that has expired meanwhile guards nothing."""
    before = Tombstones()
    before.offer(replace(BASE, deleted_at=NOW), NOW)
    held = before.active("tracks:t1", NOW)
    assert held is not None
    kept = KeptTombstone(held.content, held.received_ms)
    after = Tombstones()
    after.restore((kept,), 0x0102)

    assert after.active("tracks:t1", NOW + TRACKS_TTL_MS) == held
    assert after.active("tracks:t1", NOW + 2 * TRACKS_TTL_MS) is None
    assert list(after.sweep(NOW + 2 * TRACKS_TTL_MS)) == [("tracks:t1",)]
    assert (len(after), after.lamport) == (0, 0x0102)


def test_the_lamport_time_is_that_of_the_greatest_ever_kept() -> None:
    """D-87: also of one that has expired, and of none that was not kept."""
    table = Tombstones()
    table.offer(replace(BASE, lamport=9, deleted_at=NOW), NOW)
    table.offer(replace(BASE, document_id="t2", lamport=3, deleted_at=NOW), NOW)
    table.offer(replace(BASE, collection="notes", lamport=99, deleted_at=NOW), NOW)
    assert list(table.sweep(NOW + 2 * TRACKS_TTL_MS)) != []

    assert (len(table), table.lamport) == (0, 9)


class TestBounds:
    """A node stores a bounded number of tombstones."""

    def setup_method(self) -> None:
        """Make an open node that holds the documents of three tracks and stores two tombstones."""
        table = Table(b"\x09" * 16)
        settings = Settings(Dialect.OPEN, heartbeat_s=0, tombstones_max=2)
        self.bench = Bench(lambda call: table.answer(call, None), settings)
        self.connection = self.bench.connect()
        for name in ("t1", "t2", "t3"):
            self.bench.send(self.connection, author.snapshot(f"tracks:{name}"))

    def delete(self, *names: str, age_ms: int = 0, lamport: int = 7) -> Seen:
        """Send tombstones, one in each frame."""
        frames = []
        for name in names:
            one = replace(
                BASE,
                document_id=name,
                deleted_at=self.bench.now_ms - age_ms,
                lamport=lamport,
            )
            payload = encode_tombstone(one)
            frames.append(StreamFrame(f"tombstones:tracks:{name}", FrameType.TOMBSTONE, payload))
        return self.bench.send(self.connection, *frames)

    def test_a_further_one_is_refused_and_nothing_is_forgotten(self) -> None:
        """TS-047: with `internal`, in one event a minute."""
        assert self.delete("t1", "t2").finished
        writes = len(self.bench.writes)
        for _ in range(2):
            seen = self.delete("t3")
            assert (seen.reset, seen.stopped) == (INTERNAL, INTERNAL)

        assert len(self.bench.writes) == writes
        assert [(one.held, one.connection) for one in self.bench.full] == [(2, self.connection)]
        assert not self.bench.send(self.connection, author.snapshot("tracks:t1")).reset
        assert len(self.bench.writes) == writes
        self.bench.advance(61.0)
        self.delete("t3")
        assert len(self.bench.full) == 2

    def test_a_greater_one_takes_the_place_of_its_own(self) -> None:
        """That needs no room."""
        self.delete("t1", "t2")
        assert self.delete("t2", lamport=8).finished

    def test_those_in_grace_make_room(self) -> None:
        """They are no longer offered; others are not removed."""
        grace_ms = TRACKS_TTL_MS + TRACKS_TTL_MS // 20
        self.delete("t1", age_ms=grace_ms)
        self.delete("t2")
        assert self.delete("t3").reset == INTERNAL
        self.bench.advance(1.0)
        assert self.bench.dropped == ["tracks:t1"]
        assert self.delete("t3").finished

    def test_their_bytes_are_bounded_too(self) -> None:
        """Also where a greater one is longer."""
        size = len(encode_tombstone(BASE))
        table = Tombstones()
        table.bytes_max = 2 * size
        later = [replace(BASE, document_id=f"t{number}") for number in (2, 3)]
        longer = replace(BASE, lamport=8, reason="r")

        assert [table.offer(one, NOW) for one in (BASE, *later, longer)] == [
            OfferOutcome.NEW,
            OfferOutcome.NEW,
            OfferOutcome.FULL,
            OfferOutcome.FULL,
        ]
        table.put_back("tracks:t2", None)
        assert table.offer(longer, NOW) is OfferOutcome.REPLACED

    def test_the_bytes_of_one_that_is_replaced_are_free_again(self) -> None:
        """TS-047: a document that is deleted again and again takes the room of one tombstone."""
        table = Tombstones()
        table.bytes_max = 2 * len(encode_tombstone(BASE))
        offered = [table.offer(replace(BASE, lamport=7 + times), NOW) for times in range(9)]

        assert offered == [OfferOutcome.NEW, *[OfferOutcome.REPLACED] * 8]
        assert table.offer(replace(BASE, document_id="t2"), NOW) is OfferOutcome.NEW

    def test_what_is_stored_is_held_again_whatever_the_bounds_are(self) -> None:
        """A store may be older than they are."""
        table = Tombstones()
        table.maximum = 1
        later = [replace(BASE, document_id=f"t{number}") for number in (1, 2, 3)]
        table.restore([KeptTombstone(encode_tombstone(one), NOW) for one in later], 7)

        assert len(table) == 3
        assert table.offer(replace(BASE, document_id="t4"), NOW) is OfferOutcome.FULL
