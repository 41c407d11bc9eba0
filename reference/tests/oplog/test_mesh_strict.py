"""The mesh manager at level `strict`."""

from random import Random

import pytest

from meshwire_reference.oplog.mesh_manager import (
    DUPLICATE,
    GOING_AWAY,
    MESH_FULL,
    WRONG_NODE,
    EndLink,
    LinkEnd,
    MeshAction,
    OpenLink,
    RecordSkipped,
)
from meshwire_reference.oplog.mesh_records import RENDEZVOUS, NodeRecord, RecordRules
from meshwire_reference.oplog.mesh_strict import StrictMesh
from meshwire_reference.oplog.rendezvous import SESSION_MIN_S
from meshwire_spec.numbers import OPLOG_MESH_FIRST_SCAN_S, OPLOG_MESH_SCAN_S

WALL_MS = 1_800_000_000_517
FIRST, SCAN = OPLOG_MESH_FIRST_SCAN_S, OPLOG_MESH_SCAN_S
# In the middle of the ids below, so that some are before it on the ring and some after.
OWN = "50" * 32
A, B, C, D, E = (f"{digits}" * 32 for digits in ("60", "70", "80", "20", "30"))
LOST = LinkEnd(1006)


def record(peer: str, address: str = "", age_s: float = 7.0) -> NodeRecord:
    """Return the record of a peer."""
    where = address or f"ws://{peer[:2]}.example:4000/crdt-sync"
    return NodeRecord(peer, where, (WALL_MS - age_s * 1000) / 1000)


class Manager(StrictMesh):
    """A manager of a node that knows some peers; `at` is the time."""

    def __init__(self, cap: int, *peers: str, seed: int = 1) -> None:
        super().__init__(RecordRules(OWN), cap, 0.0, Random(seed).random)
        self.records = [record(peer) for peer in peers]
        self.at_s = 0.0

    def scan(self) -> list[MeshAction]:
        """Return what the next scan does."""
        while True:
            assert self.deadline is not None
            before, self.at_s = self.scans, self.deadline
            actions = self.look(self.records, self.at_s, WALL_MS)
            if self.scans > before:
                return actions
            self.passed = actions

    def pass_on(self) -> list[MeshAction]:
        """Return what the next pass does, be it a scan or not."""
        assert self.deadline is not None
        self.at_s = self.deadline
        return self.look(self.records, self.at_s, WALL_MS)

    def accept(self, peer: str | None, *, for_mesh: bool = True) -> tuple[int, list[MeshAction]]:
        """Take a session that a peer has dialled; return its number and what to do."""
        number = self.take_session()
        return number, self.greeted(number, peer, for_mesh=for_mesh)


def opened(actions: list[MeshAction]) -> dict[str, int]:
    """Return the numbers of what is dialled by peer."""
    return {one.peer: one.number for one in actions if isinstance(one, OpenLink)}


def ends(actions: list[MeshAction]) -> list[tuple[str, int]]:
    """Return what is ended, with its code."""
    return [(one.peer, one.code) for one in actions if isinstance(one, EndLink)]


def linked(manager: Manager) -> int:
    """Let a manager of cap 1 or 2 link with its successor; return the number of the link."""
    ((peer, number),) = opened(manager.scan()).items()
    assert manager.greeted(number, peer, for_mesh=False) == []
    return number


def test_the_next_id_on_the_ring_is_dialled_first() -> None:
    """And beyond the end of the ring it goes on from its beginning."""
    assert list(opened(Manager(2, D, C, B, A).scan())) == [A]
    assert list(opened(Manager(2, D, E).scan())) == [D]


def test_the_others_are_chosen_at_random_up_to_half_the_cap() -> None:
    """The other half is for those that dial."""
    chosen = {tuple(opened(Manager(4, A, B, C, D, E, seed=seed).scan())) for seed in range(40)}

    assert chosen == {(A, other) for other in (B, C, D, E)}


def test_places_that_nobody_takes_are_used_at_the_next_scan() -> None:
    """All of them."""
    manager = Manager(4, A, B, C, D, E)
    for peer, number in opened(manager.scan()).items():
        manager.greeted(number, peer, for_mesh=False)
    more = opened(manager.scan())

    assert len(more) == 2
    assert len(manager.peers | more.keys()) == 4


def test_the_cap_counts_both_directions() -> None:
    """A peer that dials a full node is refused."""
    manager = Manager(2, A, B, C, D, E)
    linked(manager)
    _, admitted = manager.accept(E)
    number, refused = manager.accept(B)

    assert admitted == []
    assert refused == [EndLink(number, B, MESH_FULL, "mesh-full")]
    assert manager.peers == {A, E}


def test_a_nearer_peer_takes_the_place_of_another() -> None:
    """The one that is nearest on its side stays, and so does the new one."""
    manager = Manager(2, B, D)
    linked(manager)
    manager.accept(D)
    before = manager.peers
    _, nearer_after = manager.accept(A)
    _, nearer_before = manager.accept(E)

    assert before == {B, D}
    assert ends(nearer_after) == [(B, MESH_FULL)]
    assert ends(nearer_before) == [(D, MESH_FULL)]
    assert manager.peers == {A, E}


def test_a_cap_of_one_lets_nobody_take_a_place() -> None:
    """With one link there is no ring."""
    manager = Manager(1, B)
    linked(manager)
    _, actions = manager.accept(A)

    assert ends(actions) == [(A, MESH_FULL)]


def test_a_new_next_node_replaces_the_old_one_once_it_is_linked() -> None:
    """The links are never more than the cap."""
    manager = Manager(2, B, D)
    linked(manager)
    manager.accept(D)
    manager.records.append(record(A))
    ((peer, number),) = opened(manager.scan()).items()
    before = manager.peers
    actions = manager.greeted(number, A, for_mesh=False)

    assert (peer, before) == (A, {B, D})
    assert ends(actions) == [(B, MESH_FULL)]
    assert manager.peers == {A, D}


def test_sessions_that_are_not_of_the_mesh_do_not_count() -> None:
    """Those of a node that has this one as its rendezvous, and of deployed peers, stay."""
    manager = Manager(1, A)
    linked(manager)
    found = [manager.accept(peer, for_mesh=False)[1] for peer in (B, None)]

    assert found == [[], []]
    assert manager.peers == {A}


def test_of_two_that_dial_each_other_the_lower_id_keeps_its_dial() -> None:
    """The other one ends its own, whatever comes first."""
    lower, higher = Manager(2, A), Manager(2, D)
    kept, given_up = opened(lower.scan())[A], opened(higher.scan())[D]

    assert lower.accept(A)[1] == []
    assert lower.greeted(kept, A, for_mesh=False) == []
    assert higher.accept(D)[1] == [EndLink(given_up, D, DUPLICATE, "duplicate")]
    assert (lower.peers, higher.peers) == ({A}, {D})


def test_the_higher_id_ends_its_dial_also_if_that_is_up_later() -> None:
    """The link of the peer was there before its own was answered."""
    manager = Manager(2, D)
    number = opened(manager.scan())[D]
    manager.greeted(number, D, for_mesh=False)
    _, actions = manager.accept(D)

    assert actions == [EndLink(number, D, DUPLICATE, "duplicate")]
    assert manager.peers == {D}


def test_who_is_connected_anyway_is_not_dialled() -> None:
    """The rendezvous, by its address or by what it says; a dial under way is given up."""
    manager = Manager(2, A, B)
    manager.accept(A, for_mesh=False)
    first = opened(manager.scan())
    _, actions = manager.accept(B, for_mesh=False)
    rules = RecordRules(OWN, rendezvous=("ws://60.example:4000/crdt-sync",))
    other = StrictMesh(rules, 2, 0.0, lambda: 0.0)

    assert list(first) == [B]
    assert ends(actions) == [(B, DUPLICATE)]
    skip = RecordSkipped(A, RENDEZVOUS, record(A).address)
    assert other.look([record(A)], FIRST, WALL_MS) == [skip]


def test_oneself_and_others_than_the_record_says_are_left() -> None:
    """They count as tried."""
    manager = Manager(2, A, B)
    number = opened(manager.scan())[A]
    other = manager.greeted(number, C, for_mesh=False)
    manager.ended(number, LinkEnd(WRONG_NODE, 0.1), manager.at_s)
    second = opened(manager.pass_on())
    own = manager.greeted(second[B], OWN, for_mesh=False)
    caller, refused = manager.accept(OWN)

    assert ends(other) == [(A, WRONG_NODE)]
    assert list(second) == [B]
    assert ends(own) == [(B, WRONG_NODE)]
    assert refused == [EndLink(caller, "", WRONG_NODE, "own-node")]
    assert manager.peers == set()


def test_a_peer_that_names_nobody_is_taken_for_its_record() -> None:
    """As deployed ones."""
    manager = Manager(2, A)

    assert manager.greeted(opened(manager.scan())[A], None, for_mesh=False) == []
    assert manager.peers == {A}


@pytest.mark.parametrize("cap", [1, 2, 3])
def test_dead_records_keep_no_place(cap: int) -> None:
    """Three of them before a live one: it is linked by the second scan (D-150)."""
    manager = Manager(cap, A, B, C, D)
    actions = manager.scan()
    while D not in manager.peers:
        assert manager.scans <= 2
        for peer, number in opened(actions).items():
            if peer == D:
                manager.greeted(number, D, for_mesh=False)
            else:
                manager.ended(number, LOST, manager.at_s)
        actions = manager.pass_on()

    assert manager.peers == {D}


def test_a_failed_peer_comes_after_all_that_were_not_tried() -> None:
    """Then the one that failed longest ago."""
    manager = Manager(1, A, B, C)
    tried = []
    actions = manager.scan()
    for _ in range(6):
        ((peer, number),) = opened(actions).items()
        tried.append(peer)
        manager.ended(number, LOST, manager.at_s)
        actions = manager.pass_on()

    assert set(tried[:3]) == {A, B, C}
    assert tried[3:] == tried[:3]


@pytest.mark.parametrize(
    ("failures", "marked_s"), [(1, 60), (2, 120), (3, 240), (4, 480), (5, 600), (9, 600)]
)
def test_a_failed_peer_counts_as_tried_for_twice_as_long_each_time(
    failures: int, marked_s: int
) -> None:
    """OP-081: up to ten minutes; after them it may take the place of one that is farther."""
    manager = Manager(2, A)
    actions = manager.scan()
    for _ in range(failures - 1):
        manager.ended(opened(actions)[A], LOST, manager.at_s)
        actions = manager.pass_on()
    manager.ended(opened(actions)[A], LOST, manager.at_s)
    failed_s = manager.at_s
    for peer in (B, C):
        manager.records.append(record(peer))
        manager.accept(peer)
    while not opened(manager.scan()):
        assert manager.at_s < failed_s + 2 * marked_s

    assert marked_s <= manager.at_s - failed_s < marked_s + SCAN


def test_waits_between_passes_double() -> None:
    """As those of a rendezvous, within a fifth."""
    manager = Manager(1, A)
    actions, waits = manager.scan(), []
    for _ in range(4):
        manager.ended(opened(actions)[A], LOST, manager.at_s)
        before = manager.at_s
        actions = manager.pass_on()
        waits.append(manager.at_s - before)

    assert all(0.8 * 2**n <= wait <= 1.2 * 2**n for n, wait in enumerate(waits))


def test_dials_of_a_pass_are_bounded_however_many_records_there_are() -> None:
    """A thousand dead ones cost no more than the cap at once."""
    peers = [f"{number:064x}" for number in range(1, 1001)]
    manager = Manager(4, *peers)
    most = 0
    actions = manager.scan()
    while manager.at_s < FIRST + 5 * SCAN:
        most = max(most, len(opened(actions)))
        for number in opened(actions).values():
            manager.ended(number, LOST, manager.at_s)
        actions = manager.pass_on()

    assert most == manager.cap


def test_a_link_that_ends_is_replaced_before_the_next_scan() -> None:
    """Its place is free at once, and the peer comes again if there is no other."""
    manager = Manager(2, A)
    number = linked(manager)
    manager.ended(number, LinkEnd(1006, SESSION_MIN_S), manager.at_s + 5)

    assert manager.peers == set()
    assert list(opened(manager.pass_on())) == [A]
    assert manager.scans == 1


def test_a_peer_that_has_moved_is_linked_there_and_then_left_here() -> None:
    """The old link stays until the new one is up."""
    manager = Manager(2, A)
    old = linked(manager)
    manager.records = [record(A, "ws://moved.example:4000/crdt-sync")]
    (dial,) = manager.scan()
    assert isinstance(dial, OpenLink)
    before = manager.peers
    actions = manager.greeted(dial.number, A, for_mesh=False)

    assert dial.address == "ws://moved.example:4000/crdt-sync"
    assert before == manager.peers == {A}
    assert actions == [EndLink(old, A, GOING_AWAY, "moved")]


def test_a_peer_that_is_not_at_its_new_address_keeps_its_old_link() -> None:
    """The new one is tried again, but not at every pass."""
    manager = Manager(2, A)
    linked(manager)
    manager.records = [record(A, "ws://moved.example:4000/crdt-sync")]
    (dial,) = manager.scan()
    assert isinstance(dial, OpenLink)
    manager.ended(dial.number, LOST, manager.at_s)

    assert opened(manager.pass_on()) == {}
    assert manager.peers == {A}


def test_a_peer_that_moves_once_more_is_dialled_there_at_the_next_pass() -> None:
    """OP-082: that it was not at another address says nothing of the new one."""
    manager = Manager(2, A)
    linked(manager)
    manager.records = [record(A, "ws://moved.example:4000/crdt-sync")]
    manager.ended(opened(manager.scan())[A], LOST, manager.at_s)
    manager.records = [record(A, "ws://again.example:4000/crdt-sync")]
    (dial,) = manager.pass_on()

    assert isinstance(dial, OpenLink)
    assert dial.address == "ws://again.example:4000/crdt-sync"


def test_a_stale_peer_is_dropped() -> None:
    """It was dialled by this node; a link that it has dialled itself stays."""
    manager = Manager(2, A, D)
    linked(manager)
    manager.accept(D)
    manager.records = [record(A, age_s=600.0), record(D, age_s=600.0)]

    assert ends(manager.scan()) == [(A, GOING_AWAY)]
    assert manager.peers == {D}


def test_of_several_records_of_a_node_the_newest_counts() -> None:
    """Whatever their order."""
    manager = Manager(2)
    manager.records = [
        record(A, "ws://old.example/crdt-sync", 90.0),
        record(A, "ws://new.example/crdt-sync", 30.0),
        record(A, "ws://older.example/crdt-sync", 99.0),
    ]
    (dial,) = manager.scan()

    assert isinstance(dial, OpenLink)
    assert dial.address == "ws://new.example/crdt-sync"


def test_who_had_to_give_way_tries_those_between() -> None:
    """A nearer node has taken its place, so the marks of those up to it count no more."""
    manager = Manager(2, A, B)
    manager.ended(opened(manager.scan())[A], LOST, manager.at_s)
    second = opened(manager.pass_on())[B]
    manager.greeted(second, B, for_mesh=False)
    manager.ended(second, LinkEnd(MESH_FULL, 5.0), manager.at_s + 5)

    assert list(opened(manager.pass_on())) == [A]
