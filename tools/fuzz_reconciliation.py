"""Compare the suite's and the reference's sides of runs with the crate on random pairs of sets.

Usage: python tools/fuzz_reconciliation.py [--pairs 20000] [--seed 1].

Each message of a run of the crate must be answered with the same bytes and ids by the suite's plain
side and by the reference over a live index and over a sealed vector. Where no id has two timestamps
and no two ids are almost the same, the run must find exactly the difference of the sets. Exit
status 1 at the first difference, 2 without cargo.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, Protocol

from meshwire_conformance.protocol.negentropy import Item
from meshwire_conformance.protocol.negentropy import Reconciliation as Plain
from meshwire_reference.negentropy import Index, Reconciliation
from meshwire_spec.numbers import NEGENTROPY_ID, NEGENTROPY_TIMESTAMP_MAX
from negentropy_sets import sealed
from reconciliation_oracle import CrateAnswer, CrateFault, Oracle, build

EDGES: Final = (0, 1, 127, 128, 2**31, 2**32, 2**53, 2**63, NEGENTROPY_TIMESTAMP_MAX - 40)
SPANS: Final = (0, 0, 1, 3, 40, 10**6, NEGENTROPY_TIMESTAMP_MAX)
SIZES: Final = ((0, 3), (0, 33), (30, 34), (0, 300), (100, 1500), (1000, 6000))
SIZE_WEIGHTS: Final = (2, 6, 3, 6, 4, 1)
TELLING: Final = 30
"""Longest shared prefix of ids in bytes; the two bytes left make sets of equal sums likely."""
SHARED: Final = (0, 0, 0, 1, 3, TELLING)
APART: Final = (0.0, 0.003, 0.02, 0.2, 1.0)
"""Fractions of the items that only one side holds."""
SELDOM: Final = 0.1
FRAME_LIMITS: Final = (0, 0, 4096, 4097, 4128, 5000, 8192, 60000)
ROUNDS_MAX: Final = 10_000
FORGET_EVERY: Final = 100


class Difference(Exception):
    """A side and the crate differ, or a run does not find the difference of the sets."""


class Answer(Protocol):
    """The result of a message, in a common form for suite and reference."""

    @property
    def reply(self) -> bytes | None:
        """The next message, None at the end."""

    @property
    def have(self) -> Sequence[bytes]:
        """Ids that the peer lacks."""

    @property
    def need(self) -> Sequence[bytes]:
        """Ids that only the peer holds."""


class Side(Protocol):
    """One side of a run."""

    def initiate(self) -> bytes:
        """Return the first message."""

    def reconcile(self, message: bytes) -> Answer:
        """Return the result of a message."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Sets and frame limits of client and server."""

    sets: tuple[list[Item], list[Item]]
    limits: tuple[int, int]


def draw_items(random: Random) -> list[Item]:
    """Return items of one of many shapes: spread or equal timestamps, ids that share prefixes."""
    low, high = random.choices(SIZES, SIZE_WEIGHTS)[0]
    base, span, shared = random.choice(EDGES), random.choice(SPANS), random.choice(SHARED)
    prefix = random.randbytes(shared)
    return [
        (
            min(base + random.randint(0, span), NEGENTROPY_TIMESTAMP_MAX),
            prefix + random.randbytes(NEGENTROPY_ID - shared),
        )
        for _ in range(random.randint(low, high))
    ]


def draw(random: Random) -> Pair:
    """Return two sets with a large, small or empty intersection, and their limits."""
    items = draw_items(random)
    if items and random.random() < SELDOM:
        # The same ids at other timestamps.
        items += [
            (random.choice(EDGES) + random.randint(0, 40), name)
            for _, name in random.choices(items, k=3)
        ]
    apart = random.choice(APART)
    ours, theirs = [], []
    for item in items:
        side = random.random()
        if side >= apart / 2:
            ours.append(item)
        if not apart / 2 <= side < apart:
            theirs.append(item)
    random.shuffle(ours)
    # Equal items count once.
    theirs += random.choices(theirs, k=2) if theirs and random.random() < SELDOM else []
    return Pair((ours, theirs), (random.choice(FRAME_LIMITS), random.choice(FRAME_LIMITS)))


def sides_of(items: list[Item], limit: int, *, client: bool) -> dict[str, Side]:
    """Return each implementation's side over these items by its name."""
    return {
        "suite": Plain(items, limit, client=client),
        "reference over an index": Reconciliation(Index(items), limit),
        "reference over a vector": Reconciliation(sealed(items), limit),
    }


def hold(pair: Pair, oracle: Oracle) -> int:
    """Compare one run and return its number of messages; raises Difference."""
    clients = sides_of(pair.sets[0], pair.limits[0], client=True)
    servers = sides_of(pair.sets[1], pair.limits[1], client=False)
    crate_client, crate_server = map(oracle.open, pair.sets, pair.limits)
    message = oracle.initiate(crate_client)
    for name, side in clients.items():
        if side.initiate() != message:
            raise Difference(f"the first message of the {name}")
    have: set[bytes] = set()
    need: set[bytes] = set()
    for round_number in range(1, ROUNDS_MAX + 1):
        reply = _same(servers, oracle.reconcile(crate_server, message), message).reply
        assert reply is not None
        answer = _same(clients, oracle.reconcile(crate_client, reply), reply)
        have.update(answer.have)
        need.update(answer.need)
        if answer.reply is None:
            _check_found(pair, have, need)
            return 2 * round_number
        message = answer.reply
    raise Difference(f"no end after {ROUNDS_MAX} rounds")


def _same(sides: dict[str, Side], expected: CrateAnswer, message: bytes) -> CrateAnswer:
    """Return the crate's answer to a message; raises Difference unless every side gives it too."""
    for name, side in sides.items():
        own = side.reconcile(message)
        said = CrateAnswer("", own.reply, tuple(sorted(own.have)), tuple(sorted(own.need)))
        if said != expected:
            raise Difference(f"the answer of the {name} to {message.hex()}")
    return expected


def _check_found(pair: Pair, have: set[bytes], need: set[bytes]) -> None:
    ours, theirs = (set(side) for side in pair.sets)
    names = _names(ours | theirs)
    if len(names) < len(ours | theirs) or len({name[:TELLING] for name in names}) < len(names):
        return
    if (have, need) != (_names(ours - theirs), _names(theirs - ours)):
        raise Difference("what the client has and needs")


def _names(items: Iterable[Item]) -> set[bytes]:
    return {name for _, name in items}


def main() -> int:
    """Compare all pairs and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    messages = several = 0
    try:
        program = build()
    except CrateFault as fault:
        print(f"fuzz_reconciliation: {fault}", file=sys.stderr)
        return 2
    with Oracle(program) as oracle:
        for number in range(options.pairs):
            pair = draw(Random(f"{options.seed}:{number}"))  # noqa: S311 - seeded on purpose
            try:
                count = hold(pair, oracle)
            except Difference as difference:
                print(f"pair {number} of seed {options.seed}: {difference}", file=sys.stderr)
                return 1
            messages += count
            several += count > 2  # noqa: PLR2004 - one question and its answer
            if number % FORGET_EVERY == 0:
                oracle.forget()
    print(f"{options.pairs} pairs, {several} of several rounds, {messages} messages the same")
    return 0


if __name__ == "__main__":
    sys.exit(main())
