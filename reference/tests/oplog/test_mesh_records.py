"""The record that a node keeps of itself."""

import pytest

from meshwire_reference.oplog.authoring import OperationAuthor
from meshwire_reference.oplog.mesh_records import NodeRecord, OwnRecord, is_same_place, read_records
from meshwire_reference.oplog.outcomes import Level
from meshwire_reference.oplog.replica import Replica, ReplicaSettings
from meshwire_reference.oplog.signatures import Signer

WALL_MS = 1_800_000_000_517
ADDRESS = "ws://192.0.2.7:4000/crdt-sync"
OWN = Signer(b"\x07" * 32)
OTHER = Signer(b"\x08" * 32)


def new_author(signer: Signer, level: Level = Level.STRICT) -> OperationAuthor:
    """Return an author of a new document."""
    return OperationAuthor(signer, Replica(ReplicaSettings(level=level)))


def records(author: OperationAuthor) -> list[NodeRecord]:
    """Return the records of its document."""
    return list(read_records(author.replica.document))


@pytest.mark.parametrize("level", list(Level))
def test_a_node_keeps_one_record_of_itself(level: Level) -> None:
    """Renewed in place, in both of its times."""
    author = new_author(OWN, level)
    own = OwnRecord(author, ADDRESS)
    first = list(own.renew(WALL_MS))
    second = list(own.renew(WALL_MS + 240_000))
    seen_ms = float(WALL_MS + 240_000)

    assert [one.inner.path[0] for one in first] == ["nodes"]
    assert [one.inner.path[2] for one in second] == ["last_seen", "last_seen_ms"]
    assert records(author) == [NodeRecord(OWN.author.hex(), ADDRESS, seen_ms / 1000, seen_ms)]


def test_a_node_that_comes_back_elsewhere_says_so() -> None:
    """In the record that it has."""
    author = new_author(OWN)
    list(OwnRecord(author, ADDRESS).renew(WALL_MS))
    list(OwnRecord(author, "ws://192.0.2.8:4000/crdt-sync").renew(WALL_MS))

    assert [one.address for one in records(author)] == ["ws://192.0.2.8:4000/crdt-sync"]


def test_copies_of_the_own_record_are_deleted_and_what_is_wrong_is_put_right() -> None:
    """Any author can write one; records of others are left alone."""
    author = new_author(OWN)
    own = OwnRecord(author, ADDRESS)
    list(own.renew(WALL_MS))
    rogue = OperationAuthor(OTHER, author.replica)
    said = {"node_id": OWN.author.hex(), "address": "x", "last_seen": 1.0, "last_seen_ms": None}
    for node_id in (OWN.author.hex(), OTHER.author.hex()):
        rogue.append(("nodes",), {**said, "node_id": node_id, "alive": False})
    (first, *_) = [one.id for one in author.replica.document.fields["nodes"].walk()[1:]]  # type: ignore[union-attr] # a list
    rogue.set(("nodes", first, "alive"), value=False)
    list(own.renew(WALL_MS))

    assert [(one.node_id, one.alive) for one in records(author)] == [
        (OWN.author.hex(), True),
        (OTHER.author.hex(), False),
    ]


def test_places_are_the_same_by_host_and_port() -> None:
    """Whatever the path, and with the port that a scheme has."""
    assert is_same_place("ws://a:80/crdt-sync", "ws://a/x")
    assert is_same_place("wss://a/crdt-sync", "wss://A:443/crdt-sync")
    assert not is_same_place("ws://a:81/crdt-sync", "ws://a/crdt-sync")
    assert not is_same_place("ws://a:x/crdt-sync", "ws://a:x/crdt-sync")
    assert not is_same_place("", "")
