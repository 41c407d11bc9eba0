"""Version 2 of an operation: canonical JSON, its envelope, and when it is written."""

import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from meshwire_reference.oplog.authoring import OperationAuthor
from meshwire_reference.oplog.canonical import CANONICAL_VERSION, canonical_content
from meshwire_reference.oplog.frames import announcement, decode_binary, encode_live
from meshwire_reference.oplog.hub import Hub
from meshwire_reference.oplog.operations import ROOT, has_valid_id
from meshwire_reference.oplog.outcomes import Level, State
from meshwire_reference.oplog.replica import Replica, ReplicaSettings
from meshwire_reference.oplog.schema import TYPES
from meshwire_reference.oplog.signatures import Signer
from meshwire_reference.oplog.spelling import operation_json, read_operation_json
from meshwire_reference.oplog.values import JsonValue, Unreadable
from meshwire_spec.schemas.oplog import CanonicalFrame

ALICE = Signer(b"\x31" * 32)
ITEM: dict[str, JsonValue] = {
    "story_id": "1", "stage": "todo", "name": "n", "agent": "", "retry_count": -0.0,
    "blocked": False, "depends_on": "", "claimed_by": "", "claimed_at": 1e21,
}  # fmt: skip


def hub(**settings: Any) -> Hub:
    """Return a hub whose operator has chosen version 2."""
    return Hub(Replica(ReplicaSettings(**settings)), version=CANONICAL_VERSION)


def author(node: Hub) -> OperationAuthor:
    """Return an author on its replica."""
    return OperationAuthor(ALICE, node.replica, node.writes)


def test_what_is_written_is_read_and_applied_elsewhere() -> None:
    """As a text of a bulk and as a message of its own, in whatever order its members are."""
    here, there = hub(), hub()
    made = author(here)
    item = made.insert(("items",), ROOT, ITEM)
    where = ("items", item.inner.id)
    signed = [item, made.set((*where, "stage"), "done"), made.delete(("items",), item.inner.id)]

    for one in signed:
        text = operation_json(one)
        msgspec.json.decode(text, type=CanonicalFrame)
        backwards = json.dumps(_backwards(json.loads(text)))
        assert one.inner.version == CANONICAL_VERSION
        assert read_operation_json(text) == read_operation_json(backwards) == one
        assert decode_binary(encode_live(text)) == one
        assert there.replica.apply(one).state is State.OK
    assert there.replica.view() == here.replica.view()


def _backwards(value: Any) -> Any:
    """Return a value with the members of every object in the opposite order."""
    if isinstance(value, list):
        return [_backwards(part) for part in value]
    if isinstance(value, dict):
        return {name: _backwards(value[name]) for name in reversed(value)}
    return value


def test_a_path_is_signed_in_full() -> None:
    """In version 1 an item whose id has the same six digits could be put in its place."""
    here = hub()
    made = author(here)
    item = made.insert(("items",), ROOT, ITEM)
    write = made.set(("items", item.inner.id, "stage"), "done")
    near = item.inner.id[:3] + bytes(29)
    path = ("items", near, *write.inner.path[2:])

    for forged in (
        replace(write, inner=replace(write.inner, path=path)),
        replace(write, depends_on=()),
        replace(write, inner=replace(write.inner, version=1)),
    ):
        assert hub().replica.apply(forged).state is State.DIGEST_MISMATCH


def test_the_signer_is_the_inner_author() -> None:
    """The item, which version 1 allows, is none."""
    here = Hub(Replica(ReplicaSettings(level=Level.WIRE, schema=TYPES)))
    # At level wire an author names the item.
    made = OperationAuthor(ALICE, here.replica, lambda: CANONICAL_VERSION)
    item = made.insert(("ls",), ROOT, "x")
    outcomes = hub(schema=TYPES).replica

    assert outcomes.apply(item).state is State.OK
    forged = Hub(Replica(ReplicaSettings(level=Level.WIRE)))
    made = OperationAuthor(ALICE, forged.replica, lambda: CANONICAL_VERSION)
    item = made.insert(("items",), ROOT, ITEM)
    write = made.set(("items", item.inner.id, "stage"), "done")
    target = hub().replica
    assert write.inner.author == item.inner.id
    assert target.apply(item).state is State.OK
    assert target.apply(write).reason == "inner-author"


def test_content_has_one_form() -> None:
    """Members sorted by UTF-16, one zero, nothing that is no JSON."""
    found = canonical_content({"\ufb33": -0.0, "\U0001f600": [{"b": None, "a": True}]})

    assert json.dumps(found) == json.dumps({"\U0001f600": [{"a": True, "b": None}], "\ufb33": 0.0})
    for wrong in (float("nan"), ["\ud800"], {"\ud800": 1.0}):
        with pytest.raises(Unreadable):
            canonical_content(wrong)  # type: ignore[arg-type] # a list of texts is one of values


def test_version_2_is_written_while_every_peer_reads_it() -> None:
    """A peer that has said nothing yet may be a deployed one; others get version 1."""
    node = hub()
    made = author(node)

    def version() -> int:
        return made.append(("items",), ITEM).inner.version

    assert version() == CANONICAL_VERSION
    first, second = node.open_session(), node.open_session()
    assert list(node.take_text(announcement(), first)) == []
    assert version() == 1
    for text in ('{"type":"bulk","ops":[],"versions":[1,"2",true]}', '{"versions":2}', "[2]"):
        list(node.take_text(text, second))
    assert version() == 1
    list(node.take_text('{"type":"bulk","ops":[],"versions":[1,2,3]}', second))
    assert version() == CANONICAL_VERSION
    node.close_session(second)
    assert Hub(node.replica).writes() == 1


def test_the_first_bulk_names_the_versions_at_strict_alone() -> None:
    """And a node at level wire takes nothing of version 2, as deployed peers do."""
    made = author(hub())
    signed = made.append(("items",), ITEM)
    node, wire = hub(), hub(level=Level.WIRE)

    assert node.next_message(node.open_session()) == announcement()
    assert wire.next_message(wire.open_session()) == '{"type":"bulk","ops":[]}'
    assert node.take_binary(encode_live(operation_json(signed)), node.open_session())
    assert wire.take_binary(encode_live(operation_json(signed)), wire.open_session()) == []
    assert wire.counts["unknown-version"] == 1


@pytest.mark.parametrize("sequence", [2**53, -1, 1.0, "1"])
def test_a_sequence_without_canonical_form_is_unreadable(sequence: object) -> None:
    """It is refused before anything is hashed."""
    value = json.loads(operation_json(author(hub()).append(("items",), ITEM)))
    value["op"]["inner"]["seq"] = sequence

    with pytest.raises(Unreadable, match="bad-sequence"):
        read_operation_json(json.dumps(value))
    assert has_valid_id(author(hub()).append(("items",), ITEM).inner)
