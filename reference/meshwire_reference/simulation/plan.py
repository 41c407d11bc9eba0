"""The plan of a run: nodes, links and steps, all drawn from one seed.

A plan can be made smaller without being drawn again: `only` keeps some steps and some nodes. What
happens on the way (delays, what a crash leaves) is drawn from the seed by place, not by order, so
that a smaller plan resembles the one that it was made of.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random
from typing import Final

from meshwire_reference.core.settings import Dialect
from meshwire_spec.numbers import PAYLOAD_MAX


class StepKind(StrEnum):
    """What happens in a step."""

    EDIT = "edit"
    LOCAL_EDIT = "local edit"
    DEPLOYED_EDIT = "edit at a deployed peer"
    DELETE = "delete"
    LOCAL_DELETE = "local delete"
    LOSE = "stream lost"
    DUPLICATE = "stream duplicated"
    CUT = "stream reset half-way"
    CUT_LATE = "stream reset after it was sent"
    DELAY = "streams delayed and reordered"
    SLOW = "slow reader"
    DISCONNECT = "connection lost"
    FLAP = "connections lost while they begin"
    PARTITION = "partition"
    CRASH = "crash"
    CRASH_COMMIT = "crash at the end of a commit"
    WORKER_DEATH = "worker death"
    WORKER_DEATHS = "worker death at a call, twice"
    CLOCK_STEP = "clock step"
    STORE_FAILURE = "store failure"
    HOSTILE = "bytes that break a rule"
    WRONG_KEY = "key of another formation"


EDITS: Final = (StepKind.EDIT, StepKind.LOCAL_EDIT, StepKind.DEPLOYED_EDIT)
DELETES: Final = (StepKind.DELETE, StepKind.LOCAL_DELETE)
FAULTS: Final = tuple(kind for kind in StepKind if kind not in EDITS + DELETES)
IN_A_FORMATION: Final = {
    StepKind.EDIT: StepKind.LOCAL_EDIT,
    StepKind.DELETE: StepKind.LOCAL_DELETE,
    StepKind.HOSTILE: StepKind.DISCONNECT,
}
"""Steps of an application that is no member of the formation, and what is done instead."""


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


LIVE: Final = ("notes", "beacons", "track_history", "platforms")
"""Collections whose documents are never deleted: whole histories and newest states."""


class Sort(StrEnum):
    """What is special in a plan."""

    PLAIN = "plain"
    SMALL_CAP = "documents above the payload cap"
    FORMATION = "a formation with both dialects"
    DEPLOYED = "a deployed peer"
    TIGHT = "budgets of a few messages"


@dataclass(frozen=True, slots=True)
class Scale:
    """How large a plan is."""

    nodes: tuple[int, int] = (5, 5)
    """Least and greatest number of nodes."""
    edits: int = 200
    deletes: int = 20
    faults: int = 10
    documents: int = 40
    span_s: float = 60.0
    """Seconds in which all steps happen."""
    kinds: tuple[StepKind, ...] = FAULTS
    """The faults that are drawn."""
    sorts: tuple[Sort, ...] = tuple(Sort)
    """The sorts that are drawn."""
    collections: tuple[str, ...] = LIVE
    """The collections of the documents that are never deleted."""


FULL: Final = Scale()
BRIEF: Final = Scale(edits=60, deletes=8, faults=8, documents=16, span_s=30.0)
"""For every build."""
MORTAL: Final = ("tracks", "alerts", "nodes")
"""Collections that obey tombstones."""
SMALL_CAP: Final = 450
"""A payload cap below the size of a document that several applications have written."""
RECONCILING_SHARE: Final = 0.3
"""Share of the seeds whose nodes reconcile."""
HEADS_SHARE: Final = 0.3
"""Share of the seeds whose nodes compare heads, whether they reconcile by keys or not."""
MORTAL_SHARE: Final = 0.25
"""Share of the edits of documents that are deleted at some time."""
MORE_LINKS_MAX: Final = 2
DEPLOYED_PART: Final = 3
"""Documents of a plan for each one of a plan with a deployed peer."""
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
    dialects: tuple[Dialect, ...] = ()
    """The dialect in which each node dials, by number of the node; none without a formation."""
    reconciles: bool = False
    """True if those who dial reconcile with their peer."""
    compares_heads: bool = False
    """True if every node is configured for runs by heads with every other one."""
    deployed_at: int | None = None
    """The node with a deployed peer beside it."""
    is_tight: bool = False
    """True if nodes may hold the bytes of a few messages alone."""

    @property
    def has_large_documents(self) -> bool:
        """True if a document may be as large as a payload, so that applications may read first."""
        return self.payload_cap == PAYLOAD_MAX

    @property
    def is_connected(self) -> bool:
        """True if every node is linked with every other one, over others or at once."""
        reached = {self.nodes[0]}
        for _ in self.nodes:
            reached.update(*(link for link in self.links if reached & set(link)))
        return reached == set(self.nodes)

    def only(
        self, nodes: Collection[int] | None = None, steps: Collection[int] | None = None
    ) -> Plan:
        """Return the plan with these nodes and steps alone, and what concerns nodes that stay."""
        kept = self.nodes if nodes is None else tuple(n for n in self.nodes if n in nodes)
        return replace(
            self,
            nodes=kept,
            deployed_at=self.deployed_at if self.deployed_at in kept else None,
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
    keys, mortal, deleted = _draw_keys(chance, scale)
    sort = chance.choice(scale.sorts)
    deployed_at = chance.randrange(count) if sort is Sort.DEPLOYED else None
    if deployed_at is not None:
        # It offers each of them every five seconds.
        keys = keys[: 1 + len(keys) // DEPLOYED_PART]
    # The order of the drawing is part of what a seed means.
    drawn = [
        *_draw_edits(chance, scale, count, (keys, mortal), deployed_at),
        *_draw_deletes(chance, count, deleted),
        *_draw_faults(chance, scale, links),
    ]
    times = sorted(chance.uniform(0, scale.span_s) for _ in drawn)
    chance.shuffle(drawn)
    steps = (
        PlanStep(number, round(at_s, 3), *one)
        for number, (at_s, one) in enumerate(zip(times, drawn, strict=True))
    )
    dialects = tuple(chance.choice((Dialect.H1, Dialect.H2)) for _ in range(count))
    return Plan(
        seed,
        tuple(range(count)),
        links,
        tuple(_fit(step, sort) for step in steps),
        SMALL_CAP if sort is Sort.SMALL_CAP else PAYLOAD_MAX,
        tuple(chance.randint(-SKEW_MAX_MS, SKEW_MAX_MS) for _ in range(count)),
        dialects if sort is Sort.FORMATION else (),
        reconciles=chance.random() < RECONCILING_SHARE,
        compares_heads=chance.random() < HEADS_SHARE,
        deployed_at=deployed_at,
        is_tight=sort is Sort.TIGHT,
    )


def _draw_keys(chance: Random, scale: Scale) -> tuple[list[str], list[str], list[str]]:
    """Return the keys of documents that stay, of those that are deleted, and of each deletion."""
    keys = [f"{chance.choice(scale.collections)}:l{number}" for number in range(scale.documents)]
    # Some are deleted more than once.
    buried = range(scale.deletes - scale.deletes // 3)
    mortal = [f"{chance.choice(MORTAL)}:m{number}" for number in buried]
    deleted = mortal + chance.choices(mortal, k=scale.deletes - len(mortal)) if mortal else []
    return keys, mortal, deleted


Drawn = tuple[StepKind, int, int, str, float]
"""A step without its number and time."""


def _draw_edits(
    chance: Random,
    scale: Scale,
    count: int,
    keys: tuple[list[str], list[str]],
    deployed_at: int | None,
) -> Iterator[Drawn]:
    lasting, mortal = keys
    for _ in range(scale.edits):
        key = chance.choice(mortal if mortal and chance.random() < MORTAL_SHARE else lasting)
        at, edit = chance.randrange(count), chance.choice(EDITS)
        if edit is StepKind.DEPLOYED_EDIT and deployed_at is not None:
            at = deployed_at
        yield edit, at, 0, key, chance.random()


def _draw_deletes(chance: Random, count: int, deleted: Sequence[str]) -> Iterator[Drawn]:
    for key in deleted:
        yield chance.choice(DELETES), chance.randrange(count), 0, key, chance.random()


def _draw_faults(chance: Random, scale: Scale, links: Sequence[tuple[int, int]]) -> Iterator[Drawn]:
    for _ in range(scale.faults):
        one, other = chance.choice(links)
        if chance.getrandbits(1):
            one, other = other, one
        yield chance.choice(scale.kinds), one, other, "", chance.random()


def _fit(step: PlanStep, sort: Sort) -> PlanStep:
    """Return a step as a plan of a sort can have it."""
    if step.kind is StepKind.DEPLOYED_EDIT and sort is not Sort.DEPLOYED:
        step = replace(step, kind=StepKind.LOCAL_EDIT)
    if step.kind is StepKind.WRONG_KEY and sort is not Sort.FORMATION:
        step = replace(step, kind=StepKind.CRASH)
    if sort is Sort.FORMATION:
        step = replace(step, kind=IN_A_FORMATION.get(step.kind, step.kind))
    return step


def _draw_links(chance: Random, count: int) -> tuple[tuple[int, int], ...]:
    """Return links that connect all nodes, and up to two more, of which each closes a ring."""
    links = {(chance.randrange(at), at) for at in range(1, count)}
    for _ in range(chance.randint(0, MORE_LINKS_MAX)):
        one, other = sorted(chance.sample(range(count), 2))
        links.add((one, other))
    return tuple(sorted(link if chance.getrandbits(1) else link[::-1] for link in sorted(links)))
