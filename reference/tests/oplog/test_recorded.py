"""The recordings of the ancestor, reproduced at both levels but for a table of defects."""

import json
from collections import defaultdict
from typing import Any

import pytest

from meshwire_reference.oplog.debug_text import debug_text
from meshwire_reference.oplog.escapes import ESCAPED_RANGES
from meshwire_reference.oplog.operations import (
    digest_text,
    has_valid_id,
    hash_text,
    id_text,
    path_text,
)
from meshwire_reference.oplog.outcomes import Level, State
from meshwire_reference.oplog.signatures import Signer, is_signed
from meshwire_reference.oplog.tagged import read_tagged, write_tagged
from meshwire_reference.oplog.values import ABSENT
from meshwire_reference.testing.oplog_recordings import (
    FOLDER,
    lines,
    new_replica,
    orders,
    scenarios,
    waiting,
)

DIFFERENCES = json.loads((FOLDER / "levels" / "differences.json").read_text())


def test_texts_and_hashes_are_the_recorded_ones() -> None:
    """Each text is equal byte for byte, and with it each hash and signature."""
    count = 0
    for line in lines("ids"):
        signed = read_tagged(line["op"])
        inner = signed.inner
        text = digest_text(inner.id, inner.path, signed.depends_on)
        digest = hash_text(text)
        signer = Signer(bytes.fromhex(line["signer_seed"]))

        assert path_text(inner.path) == line["path_text"]
        assert text == line["digest_text"]
        assert digest.hex() == line["digest"]
        assert is_signed(signed.author, digest, signed.signed_digest) is line["valid_digest"]
        assert signer.sign(digest) == signed.signed_digest
        assert has_valid_id(inner) is line["valid_hash"]
        assert hash_text(id_text(inner)).hex() == line["id_computed"]
        assert write_tagged(signed) == line["op"]
        # The text of a typed value is not that of the plain value which is sent.
        if line["source"] != "typed":
            content = "" if inner.content is ABSENT else debug_text(inner.content)
            assert (line["content_debug"] or "") == content
            assert id_text(inner) == line["id_text"]
        count += 1
    assert count == 246


def test_the_escaped_code_points_are_the_recorded_ones() -> None:
    """The data of the product and the recording name the same code points."""
    recorded = set()
    for first, last, _ in json.loads((FOLDER / "recorded" / "escapes.json").read_text())["ranges"]:
        recorded.update(range(int(first, 16), int(last, 16) + 1))
    ours = set()
    for part in ESCAPED_RANGES.split():
        first, _, last = part.partition("-")
        ours.update(range(int(first, 16), int(last or first, 16) + 1))

    assert ours == recorded


def test_short_escapes_are_the_recorded_ones() -> None:
    """Six code points have an escape of two characters, every other one its number."""
    for first, _, kind in json.loads((FOLDER / "recorded" / "escapes.json").read_text())["ranges"]:
        written = f"\\u{{{first}}}" if kind == "u" else kind
        assert debug_text(chr(int(first, 16))) == f'String("{written}")'


def test_signatures_of_keys_of_small_order_are_refused() -> None:
    """Every other verdict is the recorded one (D-165)."""
    differing = []
    for line in lines("ed25519"):
        author, digest, signature = (
            bytes.fromhex(line[name]) for name in ("author", "message", "signature")
        )
        if is_signed(author, digest, signature) is not line["valid"]:
            differing.append(line)

    assert [line["n"] for line in differing] == DIFFERENCES["signatures"]["n"]
    assert all(line["valid"] for line in differing)
    assert len(differing) == 19


def test_wire_gives_every_recorded_history() -> None:
    """Outcomes, queues, orders and views are equal after each of the scenarios."""
    count = 0
    for line, operations in scenarios():
        replica = new_replica(line["doc"], Level.WIRE)
        outcomes, queued = [], []
        for operation in operations:
            outcomes.append(replica.apply(operation).state.value)
            queued.append(len(replica.queue))

        assert outcomes == line["outcomes"], line["n"]
        assert queued == line["queue_after"], line["n"]
        assert len(replica.queue) == line["queued"], line["n"]
        assert len(replica.received) == line["received"], line["n"]
        assert waiting(replica) == line["list_queue"], line["n"]
        assert replica.view() == line["view"], line["n"]
        assert "lists" not in line or orders(replica) == line["lists"], line["n"]
        count += 1
    assert count == 482


def _strict_runs() -> tuple[dict[str, dict[int, list[int]]], list[int], dict[str, set[str]]]:
    """Return other outcomes by kind, other views with equal outcomes, and views by history."""
    outcomes: dict[str, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    views: list[int] = []
    histories: dict[str, set[str]] = defaultdict(set)
    for line, operations in scenarios():
        replica = new_replica(line["doc"], Level.STRICT)
        is_same = True
        for index, operation in enumerate(operations):
            found, recorded = replica.apply(operation), line["outcomes"][index]
            if found.state.value != recorded:
                kind = json.dumps([recorded, found.state.value, found.reason or None])
                outcomes[kind][line["n"]].append(index)
                is_same = False
        if is_same and replica.view() != line["view"]:
            views.append(line["n"])
        if "ops_ref" in line:
            histories[line["ops_ref"]].add(json.dumps(replica.view(), sort_keys=True))
            assert not replica.queue, line["n"]
    return outcomes, views, histories


def test_strict_differs_only_where_the_table_says_so() -> None:
    """Each other outcome and view is a row with the defect that it resolves; no row is idle."""
    outcomes, views, histories = _strict_runs()
    wanted: dict[str, Any] = {
        json.dumps([row["recorded"], row["strict"], row["reason"]]): dict(row["at"])
        for row in DIFFERENCES["outcomes"]
    }

    assert outcomes == wanted
    assert views == sorted(n for row in DIFFERENCES["views"] for n in row["n"])
    assert {name: len(found) for name, found in histories.items()} == dict.fromkeys(histories, 1)
    assert len(histories) == 11


@pytest.mark.parametrize("level", Level)
def test_what_crashed_the_ancestor_is_refused(level: Level) -> None:
    """Of each crash one operation is refused, and the replica goes on (D-120, D-121)."""
    count = 0
    for line in lines("panics"):
        if line.get("ops") and line["verdict"] == "panic":
            replica = new_replica(line["doc"], level)
            states = [replica.apply(read_tagged(value)).state for value in line["ops"]]

            assert not {State.OK, State.MISSING}.issuperset(states), line["case"]
            assert isinstance(replica.view(), dict)
            count += 1
    assert count == 40
