"""The mesh manager at level `wire`, and which records a node dials at each level."""

import math

import pytest

from meshwire_reference.oplog.authoring import OperationAuthor
from meshwire_reference.oplog.mesh_manager import (
    GOING_AWAY,
    INELIGIBLE,
    DeployedMesh,
    EndLink,
    LinkEnd,
    OpenLink,
    RecordSkipped,
)
from meshwire_reference.oplog.mesh_records import (
    BAD_ADDRESS,
    BAD_ID,
    FUTURE,
    LOCAL_ADDRESS,
    NO_ADDRESS,
    NOT_ALIVE,
    OWN_RECORD,
    STALE,
    NodeRecord,
    RecordRules,
    address_fault,
    read_records,
)
from meshwire_reference.oplog.outcomes import Level
from meshwire_reference.oplog.replica import Replica, ReplicaSettings
from meshwire_reference.oplog.signatures import Signer
from meshwire_spec.numbers import OPLOG_MESH_FIRST_SCAN_S, OPLOG_MESH_SCAN_S

WALL_MS = 1_800_000_000_517
OWN = "0a" * 32
FIRST = OPLOG_MESH_FIRST_SCAN_S


def node_id(number: int) -> str:
    """Return the id of a node, larger than `OWN` and those before it."""
    return f"{number + 0x10:02x}" * 32


def record(
    number: int, age_s: float = 7.0, address: str | None = None, *, alive: bool = True
) -> NodeRecord:
    """Return the record of a node that was last seen a while ago, in both of its members."""
    seen_ms = WALL_MS - age_s * 1000
    where = f"ws://192.0.2.{number}:4000/crdt-sync" if address is None else address
    return NodeRecord(node_id(number), where, seen_ms / 1000, seen_ms, alive=alive)


def deployed(cap: int) -> DeployedMesh:
    """Return a manager that starts at the time 0."""
    return DeployedMesh(RecordRules(OWN, is_strict=False), cap, 0.0)


def opened(actions: list[object]) -> list[str]:
    """Return which peers are dialled, in order."""
    return [one.peer for one in actions if isinstance(one, OpenLink)]


def test_a_cap_of_zero_never_scans() -> None:
    """Whatever the document names (T-063, T-069)."""
    manager = deployed(0)

    assert manager.deadline is None
    assert manager.look([record(1)], 10_000.0, WALL_MS) == []
    assert manager.peers == set()


def test_a_new_manager_has_no_connection() -> None:
    """Nor has one whose first scan finds no records (T-062, T-064)."""
    manager = deployed(3)
    before = manager.peers

    assert before == set()
    assert manager.look([], FIRST, WALL_MS) == []
    assert manager.peers == set()


def test_scans_are_at_ten_seconds_and_then_every_minute() -> None:
    """Those that were missed are not made up for (T-065)."""
    manager = deployed(1)
    times = []
    for now_s in (0.0, 9.9, 10.0, 69.9, 70.0, 200.0, 249.9, 250.0):
        before = manager.scans
        manager.look([], now_s, WALL_MS)
        if manager.scans > before:
            times.append(now_s)

    assert times == [10.0, 70.0, 200.0, 250.0]
    assert manager.deadline == 310.0


FAULTS = [
    (record(1), None),
    (record(1, 599.9), None),
    (record(1, 600.0), STALE),
    (record(1, alive=False), NOT_ALIVE),
    (record(1, address=""), NO_ADDRESS),
    (NodeRecord(OWN, "ws://192.0.2.1:4000/crdt-sync", WALL_MS / 1000), OWN_RECORD),
    # The milliseconds count, where they are there.
    (NodeRecord(node_id(1), "ws://192.0.2.1/crdt-sync", 5.0, float(WALL_MS)), None),
    (NodeRecord(node_id(1), "ws://192.0.2.1/crdt-sync", WALL_MS / 1000, 5.0), STALE),
    (NodeRecord(node_id(1), "ws://192.0.2.1/crdt-sync", WALL_MS / 1000), None),
    (NodeRecord(node_id(1), "ws://192.0.2.1/crdt-sync", math.nan), STALE),
]


@pytest.mark.parametrize(("one", "fault"), FAULTS)
def test_which_records_are_dialled(one: NodeRecord, fault: str | None) -> None:
    """Alive, with an address, of another node, and fresh."""
    assert RecordRules(OWN).fault(one, WALL_MS) == fault


def test_now_has_whole_seconds_at_level_wire() -> None:
    """So a record is fresh for up to a second longer (D-130)."""
    late = record(1, 600.2)

    assert RecordRules(OWN, is_strict=False).fault(late, WALL_MS) is None
    assert RecordRules(OWN).fault(late, WALL_MS) == STALE


def test_a_record_of_the_future_is_not_dialled() -> None:
    """A minute ahead at most; deployed nodes dial it for ever."""
    strict, wire = RecordRules(OWN), RecordRules(OWN, is_strict=False)

    assert strict.fault(record(1, -60.0), WALL_MS) is None
    assert strict.fault(record(1, -60.1), WALL_MS) == FUTURE
    assert strict.fault(record(1, -86_400), WALL_MS) == FUTURE
    assert wire.fault(record(1, -86_400), WALL_MS) is None


def test_an_id_that_is_no_key_is_not_dialled() -> None:
    """It has 64 hexadecimal digits in small letters."""
    where = "ws://192.0.2.1:4000/crdt-sync"
    found = [
        RecordRules(OWN).fault(NodeRecord(one, where, WALL_MS / 1000), WALL_MS)
        for one in ("", "ab", "AB" * 32, "zz" * 32, "ab" * 33, "ab" * 32)
    ]

    assert found == [BAD_ID] * 5 + [None]


ADDRESSES = [
    ("ws://192.0.2.1:4000/crdt-sync", None),
    ("wss://node.example/crdt-sync", None),
    ("ws://[2001:db8::1]:4000/crdt-sync", None),
    ("ws://0.0.0.0:4000/crdt-sync", BAD_ADDRESS),
    ("ws://0.1.2.3:4000/crdt-sync", BAD_ADDRESS),
    ("ws://[::]:4000/crdt-sync", BAD_ADDRESS),
    ("ws://[::ffff:0.0.0.0]:4000/crdt-sync", BAD_ADDRESS),
    ("ws://0:4000/crdt-sync", BAD_ADDRESS),
    ("ws://127.1:4000/crdt-sync", BAD_ADDRESS),
    ("ws://2130706433:4000/crdt-sync", BAD_ADDRESS),
    ("ws://0x7f000001:4000/crdt-sync", BAD_ADDRESS),
    ("ws://224.0.0.1:4000/crdt-sync", BAD_ADDRESS),
    ("ws://255.255.255.255:4000/crdt-sync", BAD_ADDRESS),
    ("ws://[ff02::1]:4000/crdt-sync", BAD_ADDRESS),
    ("ws://239.1.2.3:4000/crdt-sync", BAD_ADDRESS),
    ("ws://169.254.169.254:4000/crdt-sync", BAD_ADDRESS),
    ("ws://240.0.0.1:4000/crdt-sync", BAD_ADDRESS),
    ("ws://[fe80::1]:4000/crdt-sync", BAD_ADDRESS),
    ("ws://[fe80::1%25lo]:4000/crdt-sync", BAD_ADDRESS),
    ("ws://[fd00::1%25lo]:4000/crdt-sync", BAD_ADDRESS),
    ("ws://[::ffff:169.254.169.254]:4000/crdt-sync", BAD_ADDRESS),
    ("ws://[::ffff:255.255.255.255]:4000/crdt-sync", BAD_ADDRESS),
    ("ws://[::192.0.2.1]:4000/crdt-sync", BAD_ADDRESS),
    ("ws://[4000::1]:4000/crdt-sync", BAD_ADDRESS),
    ("ws://[64:ff9b::e000:1]:4000/crdt-sync", BAD_ADDRESS),
    ("ws://[2002::1]:4000/crdt-sync", BAD_ADDRESS),
    ("ws://[64:ff9b::192.0.2.1]:4000/crdt-sync", None),
    ("ws://[2002:c000:201::1]:4000/crdt-sync", None),
    ("ws://[2001:0:c000:201::3fff:fdfe]:4000/crdt-sync", None),
    ("ws://10.0.0.1:4000/crdt-sync", None),
    ("ws://172.16.0.1:4000/crdt-sync", None),
    ("ws://192.168.0.1:4000/crdt-sync", None),
    ("ws://[fd00::1]:4000/crdt-sync", None),
    ("ws://[::127.0.0.1]:4000/crdt-sync", LOCAL_ADDRESS),
    ("ws://[64:ff9b::7f00:1]:4000/crdt-sync", LOCAL_ADDRESS),
    ("ws://[64:ff9b:1::7f00:1]:4000/crdt-sync", LOCAL_ADDRESS),
    ("ws://[2002:7f00:1::1]:4000/crdt-sync", LOCAL_ADDRESS),
    ("ws://[2001:0:c000:201::80ff:fffe]:4000/crdt-sync", LOCAL_ADDRESS),
    ("ws://127.0.0.1:4000/crdt-sync", LOCAL_ADDRESS),
    ("ws://127.9.8.7:4000/crdt-sync", LOCAL_ADDRESS),
    ("ws://[::1]:4000/crdt-sync", LOCAL_ADDRESS),
    ("ws://[::ffff:127.0.0.1]:4000/crdt-sync", LOCAL_ADDRESS),
    ("ws://localhost:4000/crdt-sync", LOCAL_ADDRESS),
    ("ws://a.localhost.:4000/crdt-sync", LOCAL_ADDRESS),
    ("http://192.0.2.1:4000/crdt-sync", BAD_ADDRESS),
    ("ws://192.0.2.1:4000/", BAD_ADDRESS),
    ("ws://192.0.2.1:4000/crdt-sync?token=x", BAD_ADDRESS),
    ("ws://192.0.2.1:4000/crdt-sync#x", BAD_ADDRESS),
    ("ws://user@192.0.2.1:4000/crdt-sync", BAD_ADDRESS),
    ("ws://192.0.2.1:0/crdt-sync", BAD_ADDRESS),
    ("ws://192.0.2.1:70000/crdt-sync", BAD_ADDRESS),
    ("ws://192.0.2.1:x/crdt-sync", BAD_ADDRESS),
    ("ws:///crdt-sync", BAD_ADDRESS),
    ("ws://[::1/crdt-sync", BAD_ADDRESS),
    ("ws://a\nb/crdt-sync", BAD_ADDRESS),
    ("ws://n\u00f6de.example/crdt-sync", BAD_ADDRESS),
    ("ws://" + "a" * 600 + "/crdt-sync", BAD_ADDRESS),
    ("nonsense", BAD_ADDRESS),
]


@pytest.mark.parametrize(("address", "fault"), ADDRESSES)
def test_which_addresses_are_not_dialled(address: str, fault: str | None) -> None:
    """Those of this machine only where that is allowed, those of no machine never."""
    allowed = None if fault == LOCAL_ADDRESS else fault

    assert address_fault(address, allows_loopback=False) == fault
    assert address_fault(address, allows_loopback=True) == allowed


def test_records_are_read_off_the_document() -> None:
    """In the order of the list, a value that is not there as none."""
    replica = Replica(ReplicaSettings(level=Level.STRICT))
    author = OperationAuthor(Signer(b"\x07" * 32), replica)
    for number, seen_ms in ((1, 7.0), (2, None)):
        value = {"node_id": node_id(number), "address": "a", "last_seen": 3.0}
        author.append(("nodes",), {**value, "last_seen_ms": seen_ms, "alive": True})

    assert list(read_records(replica.document)) == [
        NodeRecord(node_id(1), "a", 3.0, 7.0),
        NodeRecord(node_id(2), "a", 3.0, None),
    ]


def test_no_more_are_dialled_than_the_cap() -> None:
    """In the order of the list, and those that are held stay (T-066: a cap that holds)."""
    manager = deployed(2)
    first = manager.look([record(3), record(1), record(2)], FIRST, WALL_MS)
    second = manager.look([record(2), record(3), record(1)], FIRST + 60, WALL_MS)

    assert opened(first) == [node_id(3), node_id(1)]
    assert second == []
    assert manager.peers == {node_id(3), node_id(1)}


def test_who_is_not_eligible_any_more_is_dropped_first() -> None:
    """Its place goes to the next of the list in the same scan."""
    manager = deployed(1)
    first = manager.look([record(1), record(2)], FIRST, WALL_MS)
    gone = [record(1, alive=False), record(2)]
    second = manager.look(gone, FIRST + OPLOG_MESH_SCAN_S, WALL_MS)

    assert first == [OpenLink(1, node_id(1), record(1).address)]
    assert second == [
        RecordSkipped(node_id(1), NOT_ALIVE, record(1).address),
        EndLink(1, node_id(1), GOING_AWAY, INELIGIBLE),
        OpenLink(2, node_id(2), record(2).address),
    ]


def test_a_connection_that_has_ended_keeps_its_place_until_the_next_scan() -> None:
    """And may get it again, so that those after it never do (T-067, T-068, D-150)."""
    manager = deployed(1)
    records = [record(1), record(2)]
    manager.look(records, FIRST, WALL_MS)
    manager.ended(1, LinkEnd(1006), FIRST + 1)
    between = manager.peers
    nothing = manager.look(records, FIRST + 30, WALL_MS)
    again = manager.look(records, FIRST + 60, WALL_MS)

    assert between == {node_id(1)}
    assert nothing == []
    assert opened(again) == [node_id(1)]


def test_a_changed_address_is_ignored_at_level_wire() -> None:
    """The old connection is kept (D-159)."""
    manager = deployed(1)
    manager.look([record(1)], FIRST, WALL_MS)
    moved = record(1, address="ws://192.0.2.77:4000/crdt-sync")

    assert manager.look([moved], FIRST + 60, WALL_MS) == []


def test_nobody_is_taken_for_the_rendezvous_at_level_wire() -> None:
    """Another connection to it is opened (D-129, X-18)."""
    rules = RecordRules(OWN, is_strict=False, rendezvous=(record(1).address,))
    manager = DeployedMesh(rules, 1, 0.0)

    assert opened(manager.look([record(1)], FIRST, WALL_MS)) == [node_id(1)]


def test_a_stopped_manager_scans_no_more() -> None:
    """Its driver ends the connections (X-20)."""
    manager = deployed(1)
    manager.stop()

    assert manager.deadline is None
    assert manager.look([record(1)], 10_000.0, WALL_MS) == []


def test_why_a_record_is_not_dialled_is_told_once() -> None:
    """And again when the reason is another one, but never of the node itself."""
    manager = deployed(1)
    own = NodeRecord(OWN, "x", WALL_MS / 1000)
    told = [
        manager.look([one, own], FIRST + 60 * scan, WALL_MS)
        for scan, one in enumerate((record(1, 900.0), record(1, 960.0), record(1, address="")))
    ]

    stale = RecordSkipped(node_id(1), STALE, record(1).address)
    assert told == [[stale], [], [RecordSkipped(node_id(1), NO_ADDRESS, "")]]
