"""What an author makes: as the ancestor made it, and as a correct node makes it."""

import re

import pytest

from meshwire_reference.oplog.authoring import OperationAuthor, Unauthored
from meshwire_reference.oplog.nodes import ListNode
from meshwire_reference.oplog.operations import ROOT, Path, SignedOperation
from meshwire_reference.oplog.outcomes import Level, State
from meshwire_reference.oplog.signatures import Signer
from meshwire_reference.oplog.tagged import read_content, write_tagged
from meshwire_reference.oplog.values import ABSENT, JsonValue
from meshwire_reference.testing.oplog_recordings import lines, new_replica, orders, scenarios

CALL = re.compile(r"(\w+)((?:\[0\])*)\.(\w+)\((.*)\)")
ITEM = {
    "story_id": "1", "stage": "1_backlog", "name": "n", "agent": "", "retry_count": 0.0,
    "blocked": False, "depends_on": "", "claimed_by": "", "claimed_at": 0.0,
}  # fmt: skip


def signer(name: str) -> Signer:
    """Return the key of an author of the recordings."""
    seeds = {line["name"]: bytes.fromhex(line["seed"]) for line in lines("authors")}
    return Signer(seeds[name])


def list_at(author: OperationAuthor, field: str, depth: int) -> tuple[Path, ListNode]:
    """Return the list of a field, or `depth` lists further in, each the first element."""
    path: Path = (field,)
    node: object = author.replica.document.fields[field]
    for _ in range(depth):
        assert isinstance(node, ListNode)
        first = node.walk()[1]
        path, node = (*path, first.id), first.node
    assert isinstance(node, ListNode)
    return path, node


def call(author: OperationAuthor, text: str, value: JsonValue) -> SignedOperation:
    """Make the call of the recordings that `text` describes, with `value`."""
    found = CALL.fullmatch(text)
    assert found is not None
    field, steps, method, arguments = found.groups()
    depth = steps.count("[")
    if method == "set" and not depth:
        return author.set((field,), value)
    if method == "set":
        path, node = list_at(author, field, depth - 1)
        return author.set((*path, node.walk()[1].id), value)
    path, node = list_at(author, field, depth)
    if method == "delete":
        return author.delete(path, node.walk()[1].id)
    if method == "insert":
        return author.insert(path, ROOT, value)
    present = [element.id for element in node.walk() if not element.is_deleted]
    return author.insert(path, present[int(arguments.partition(",")[0])], value)


def test_wire_makes_the_recorded_operations() -> None:
    """Each local call makes the recorded operation, and the view that it led to."""
    count = 0
    for line, operations in scenarios():
        if "local" not in line:
            continue
        replica = new_replica(line["doc"], Level.WIRE)
        for operation in operations:
            replica.apply(operation)
        author = OperationAuthor(signer("r"), replica)
        wanted = line["local"]["op"]
        content = read_content(wanted["inner"]["content"])
        value = None if content is ABSENT else content
        made = [call(author, text, value) for text in line["local"]["call"].split("; ")]

        assert write_tagged(made[-1]) == wanted, line["n"]
        assert replica.view() == line["local"]["view_after"], line["n"]
        assert orders(replica) == line["local"]["lists_after"], line["n"]
        count += 1
    assert count == 16


def test_strict_names_the_signer_and_declares_the_insertion() -> None:
    """A set inside an item has the signer as inner author and depends on the item (D-162)."""
    author = OperationAuthor(signer("a"), new_replica("pipeline", Level.STRICT))
    inserted = author.append(("items",), dict(ITEM))
    changed = author.set(("items", inserted.inner.id, "stage"), "2_current")

    assert changed.inner.author == changed.author == signer("a").author
    assert changed.depends_on == (inserted.signed_digest,)
    assert changed.inner.sequence == inserted.inner.sequence + 1
    assert author.replica.view() == {"items": [{**ITEM, "stage": "2_current"}], "nodes": []}


def test_strict_deletions_advance_the_sequence() -> None:
    """Two changes by one author never share a sequence (D-124)."""
    author = OperationAuthor(signer("a"), new_replica("types", Level.STRICT))
    first = author.append(("ls",), "A")
    second = author.append(("ls",), "B")
    deleted = author.delete(("ls",), first.inner.id)
    third = author.insert(("ls",), second.inner.id, "C")

    assert [o.inner.sequence for o in (first, second, deleted, third)] == [1, 2, 3, 4]


@pytest.mark.parametrize("level", Level)
def test_what_cannot_be_made_is_an_error(level: Level) -> None:
    """A missing target, a value that does not fit, the root: nothing is signed or changed."""
    replica = new_replica("pipeline", level)
    author = OperationAuthor(signer("b"), replica)
    for attempt in (
        lambda: author.set(("items", "x"), "y"),
        lambda: author.set(("items",), "y"),
        lambda: author.insert(("items",), b"\7" * 32, dict(ITEM)),
        lambda: author.delete(("items",), ROOT),
        lambda: author.append(("stage",), "x"),
        lambda: author.append(("items",), {"name": "only"}),
    ):
        with pytest.raises(Unauthored):
            attempt()

    assert replica.view() == {"items": [], "nodes": []}


def test_what_a_wire_author_makes_a_strict_replica_takes() -> None:
    """Sets of a deployed peer have the item as inner author, which is allowed (D-116)."""
    author = OperationAuthor(signer("a"), new_replica("pipeline", Level.WIRE))
    receiver = new_replica("pipeline", Level.STRICT)
    inserted = author.append(("items",), dict(ITEM))
    changed = author.set(("items", inserted.inner.id, "name"), "m")

    assert receiver.apply(changed).state is State.MISSING
    assert receiver.apply(inserted).state is State.OK
    assert receiver.view() == author.replica.view()
