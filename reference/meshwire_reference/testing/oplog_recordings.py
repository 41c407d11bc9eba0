"""Recordings of the ancestor of the deployed library, read for tests."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from meshwire_reference.oplog.nodes import ListNode
from meshwire_reference.oplog.operations import SignedOperation
from meshwire_reference.oplog.outcomes import Level
from meshwire_reference.oplog.replica import Replica, ReplicaSettings
from meshwire_reference.oplog.schema import PIPELINE, TYPES
from meshwire_reference.oplog.tagged import read_tagged

FOLDER = Path(__file__).parents[3] / "vectors" / "oplog"
DOCUMENTS = {"pipeline": PIPELINE, "types": TYPES}


def lines(name: str) -> Iterator[dict[str, Any]]:
    """Yield the objects of one file of recordings."""
    with (FOLDER / "recorded" / f"{name}.jsonl").open() as source:
        yield from map(json.loads, source)


def scenarios() -> Iterator[tuple[dict[str, Any], list[SignedOperation]]]:
    """Yield each scenario with its operations in the order in which they are applied."""
    shared: dict[str, list[SignedOperation]] = {}
    later = []
    for line in lines("apply"):
        if line["kind"] == "ops":
            shared[line["ref"]] = [read_tagged(value) for value in line["ops"]]
        elif line["kind"] == "scenario":
            later.append(line)
    for line in later:
        if "ops" in line:
            operations = [read_tagged(value) for value in line["ops"]]
        else:
            operations = shared[line["ops_ref"]]
        yield line, [operations[index] for index in line["order"]]


def new_replica(document: str, level: Level) -> Replica:
    """Return an empty replica of a document of the recordings."""
    return Replica(ReplicaSettings(level=level, schema=DOCUMENTS[document]))


def orders(replica: Replica) -> dict[str, Any]:
    """Return the elements of each list at the top, in the form of the recordings."""
    return {
        name: [[part.id.hex(), part.is_deleted, part.node is not None] for part in node.walk()]
        for name, node in replica.document.fields.items()
        if isinstance(node, ListNode)
    }


def waiting(replica: Replica) -> dict[str, int]:
    """Return how many operations wait inside each list at the top."""
    return {
        name: node.waiting_count
        for name, node in replica.document.fields.items()
        if isinstance(node, ListNode)
    }
