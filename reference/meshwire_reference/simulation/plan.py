"""The plan of a run: nodes, links and steps, all drawn from one seed.

A plan can be made smaller without being drawn again: `only` keeps some steps and some nodes. What
happens on the way (delays, what a crash leaves) is drawn from the seed by place, not by order, so
that a smaller plan resembles the one that it was made of.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random
from typing import Final

from meshwire_spec.numbers import PAYLOAD_MAX


class StepKind(StrEnum):
    """What happens in a step."""

    EDIT = "edit"
    DELETE = "delete"
    LOSE = "stream lost"
    DUPLICATE = "stream duplicated"
    CUT = "stream reset half-way"
    CUT_LATE = "stream reset after it was sent"
    DELAY = "streams delayed and reordered"
    SLOW = "slow reader"
    DISCONNECT = "connection lost"
    PARTITION = "partition"
    CRASH = "crash"
    CRASH_COMMIT = "crash at the end of a commit"
    WORKER_DEATH = "worker death"
    WORKER_DEATHS = "worker death at a call, twice"
    CLOCK_STEP = "clock step"
    STORE_FAILURE = "store failure"


FAULTS: Final = tuple(kind for kind in StepKind if kind not in (StepKind.EDIT, StepKind.DELETE))


@dataclass(frozen=True, slots=True)
class PlanStep:
    """One step; `other` is the second node of a step about a link, `amount` its length or size."""

    number: int
    at_s: float
    kind: StepKind
    node: int
    other: int = 0
    key: str = ""
    amount: float = 0.0


@dataclass(frozen=True, slots=True)
class Scale:
    """How large a plan is."""

    nodes: tuple[int, int] = (5, 6)
    """Least and greatest number of nodes."""
    edits: int = 200
    deletes: int = 20
    faults: int = 10
    documents: int = 40
    span_s: float = 60.0
    """Seconds in which all steps happen."""


FULL: Final = Scale()
LIVE: Final = ("notes", "beacons", "track_history", "platforms")
"""Collections whose documents are never deleted: whole histories and newest states."""
MORTAL: Final = ("tracks", "alerts", "nodes")
"""Collections that obey tombstones."""
SMALL_CAP: Final = 1600
"""A payload cap below the size of a document that several applications have written."""
SMALL_CAP_SHARE: Final = 0.25
"""Share of the seeds with that cap."""
MORTAL_SHARE: Final = 0.25
"""Share of the edits of documents that are deleted at some time."""
PAIR: Final = 2
SKEW_MAX_MS: Final = 90_000


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a run is made of."""

    seed: int
    nodes: tuple[int, ...]
    links: tuple[tuple[int, int], ...]
    """Pairs of nodes of which the first dials the second."""
    steps: tuple[PlanStep, ...]
    payload_cap: int = PAYLOAD_MAX
    skews_ms: tuple[int, ...] = ()
    """How far the clock of each node is off, by number of the node."""

    @property
    def has_large_documents(self) -> bool:
        """True if a document may be as large as a payload, so that applications may read first."""
        return self.payload_cap == PAYLOAD_MAX

    def only(
        self, nodes: Collection[int] | None = None, steps: Collection[int] | None = None
    ) -> Plan:
        """Return the plan with these nodes and steps alone, and what concerns nodes that stay."""
        kept = self.nodes if nodes is None else tuple(n for n in self.nodes if n in nodes)
        return replace(
            self,
            nodes=kept,
            links=tuple(link for link in self.links if set(link) <= set(kept)),
            steps=tuple(
                step
                for step in self.steps
                if (steps is None or step.number in steps) and step.node in kept
            ),
        )


def draw_plan(seed: int, scale: Scale = FULL) -> Plan:
    """Return the plan of a seed."""
    chance = Random(f"plan {seed}")  # noqa: S311 - drawn from a seed, no secret
    count = chance.randint(*scale.nodes)
    links = _draw_links(chance, count)
    keys = [f"{chance.choice(LIVE)}:l{number}" for number in range(scale.documents)]
    mortal = [f"{chance.choice(MORTAL)}:m{number}" for number in range(scale.deletes)]
    drawn: list[tuple[StepKind, int, int, str, float]] = []
    for _ in range(scale.edits):
        key = chance.choice(mortal if mortal and chance.random() < MORTAL_SHARE else keys)
        drawn.append((StepKind.EDIT, chance.randrange(count), 0, key, chance.random()))
    drawn += [(StepKind.DELETE, chance.randrange(count), 0, key, chance.random()) for key in mortal]
    for _ in range(scale.faults):
        one, other = chance.choice(links)
        if chance.getrandbits(1):
            one, other = other, one
        drawn.append((chance.choice(FAULTS), one, other, "", chance.random()))
    times = sorted(chance.uniform(0, scale.span_s) for _ in drawn)
    chance.shuffle(drawn)
    steps = tuple(
        PlanStep(number, round(at_s, 3), *one)
        for number, (at_s, one) in enumerate(zip(times, drawn, strict=True))
    )
    return Plan(
        seed,
        tuple(range(count)),
        links,
        steps,
        SMALL_CAP if chance.random() < SMALL_CAP_SHARE else PAYLOAD_MAX,
        tuple(chance.randint(-SKEW_MAX_MS, SKEW_MAX_MS) for _ in range(count)),
    )


def _draw_links(chance: Random, count: int) -> tuple[tuple[int, int], ...]:
    """Return a ring, or for two nodes a line, and a few links across."""
    links = {(at, (at + 1) % count) for at in range(count if count > PAIR else count - 1)}
    for _ in range(chance.randint(0, count // 2)):
        one, other = chance.sample(range(count), 2)
        if (other, one) not in links:
            links.add((one, other))
    return tuple(sorted(links))
