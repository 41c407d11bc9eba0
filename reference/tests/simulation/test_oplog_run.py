"""Five nodes of `oplog/1` under every fault that they know, at each level and mixed."""

from collections import Counter
from dataclasses import replace

import pytest

from meshwire_reference.oplog.hub import Hub
from meshwire_reference.oplog.nodes import ListElement, ListNode
from meshwire_reference.simulation.oplog_run import KINDS, MIXES, judge_oplog

SEEDS = range(8)


@pytest.mark.parametrize("mix", sorted(MIXES))
def test_nodes_converge_and_fall_silent(mix: str) -> None:
    """No stored operation is lost; views differ in ties of deployed peers alone (D-162, D-164)."""
    verdicts = [judge_oplog(seed, MIXES[mix]) for seed in SEEDS]
    problems = {one.seed: one.problems for one in verdicts if one.problems}
    counts = sum((one.counts for one in verdicts), Counter())

    assert problems == {}
    assert [kind for kind in KINDS if not counts[f"fault: {kind}"]] == []
    assert counts["author: contradicts itself"] > 0


def test_strict_nodes_never_differ_in_a_tie() -> None:
    """Theirs are broken by author and digest; those of deployed peers by arrival."""
    ties = {
        mix: sum(judge_oplog(seed, MIXES[mix]).ties for seed in SEEDS) for mix in ("strict", "wire")
    }

    assert ties["strict"] == 0
    assert ties["wire"] > 0


def test_an_order_by_arrival_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two items that one author has inserted with one sequence the id decides (OP-029)."""
    insert = ListNode.insert

    def by_arrival(self: ListNode, element: ListElement, origin: bytes) -> None:
        insert(self, replace(element, rank=(*element.rank[:2], b"")), origin)

    monkeypatch.setattr(ListNode, "insert", by_arrival)
    problems = (one for seed in range(30) for one in judge_oplog(seed, MIXES["strict"]).problems)

    assert any("orders items otherwise" in one for one in problems)


def test_a_seed_has_one_course() -> None:
    """What has happened is drawn from the seed alone."""
    first, second = (judge_oplog(7, MIXES["mixed"]) for _ in range(2))

    assert first == second


def test_an_operation_that_is_not_sent_on_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that tells nobody what others wrote loses what it has for its other peers."""
    take = Hub.next_message

    def only_own(self: Hub, session: object) -> str | bytes | None:
        while (message := take(self, session)) is not None:  # type: ignore[arg-type] # a session
            if isinstance(message, str):
                return message
        return None

    monkeypatch.setattr(Hub, "next_message", only_own)
    problems = [one for seed in SEEDS for one in judge_oplog(seed, MIXES["strict"]).problems]

    assert any("lacks" in one for one in problems)
