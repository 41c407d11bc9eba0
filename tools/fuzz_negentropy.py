"""Hold the reference's reconciliation against the Rust crate over random pairs of sets and limits.

Every message of a run must be the same bytes and have and need the same ids. Where no id
stands at two timestamps and no two ids are almost the same, have and need must also be exactly what
the sets differ by. Usage:
python tools/fuzz_negentropy.py [--cases 20000] [--seed 1]. Exit status 0 fine, 1 a difference,
2 no cargo.
"""

import argparse
import sys
from dataclasses import dataclass
from random import Random
from typing import Final

from meshwire_reference.negentropy import Index, Storage
from negentropy_crate import CratePeer, build_peer
from negentropy_sets import Item, Outcome, run_sessions, sealed

TIMESTAMP_MAX: Final = 2**64 - 2
EDGES: Final = (0, 1, 127, 128, 2**31, 2**32, 2**53, 2**63, TIMESTAMP_MAX - 40)
SIZES: Final = ((0, 3), (0, 33), (30, 34), (0, 300), (100, 1500), (1000, 6000))
SIZE_WEIGHTS: Final = (2, 6, 3, 6, 4, 1)
TELLING: Final = 30
"""Shared prefix of the ids, in bytes; the two left make sets of equal sums likely."""
SELDOM: Final = 0.1
SHARED: Final = (0, 0, 0, 1, 3, TELLING)
FRAME_LIMITS: Final = (0, 0, 4096, 4097, 4128, 5000, 8192, 60000)


@dataclass(frozen=True, slots=True)
class Case:
    """Two sets and the frame limits of client and server."""

    limits: tuple[int, int]
    ours: list[Item]
    theirs: list[Item]


def draw_items(random: Random) -> list[Item]:
    """Return items of one of many shapes: spread or equal timestamps, ids that share prefixes."""
    low, high = random.choices(SIZES, SIZE_WEIGHTS)[0]
    size = random.randint(low, high)
    base = random.choice(EDGES)
    span = random.choice((0, 0, 1, 3, 40, 10**6, TIMESTAMP_MAX))
    shared = random.choice(SHARED)
    prefix = random.randbytes(shared)
    return [
        (
            min(base + random.randint(0, span), TIMESTAMP_MAX),
            prefix + random.randbytes(32 - shared),
        )
        for _ in range(size)
    ]


def draw_timestamp(random: Random) -> int:
    """Return any timestamp."""
    return random.choice(EDGES) + random.randint(0, 40)


def draw_case(random: Random) -> Case:
    """Return a pair of sets that share much, little or nothing."""
    items = draw_items(random)
    twins = random.random() < SELDOM  # the same id at another timestamp
    if twins and items:
        items += [(draw_timestamp(random), identity) for _, identity in random.choices(items, k=3)]
    apart = random.choice((0.0, 0.003, 0.02, 0.2, 1.0))
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
    limits = (random.choice(FRAME_LIMITS), random.choice(FRAME_LIMITS))
    return Case(limits, ours, theirs)


def fault_of(case: Case, expected: Outcome, outcome: Outcome) -> str | None:
    """Return how two runs of a case differ, or None."""
    if outcome.messages != expected.messages:
        return "messages"
    # The crate tells `need` in the order of its hash table.
    if outcome.have != expected.have or sorted(outcome.need) != sorted(expected.need):
        return "have or need"
    ours, theirs = set(case.ours), set(case.theirs)
    identities = {identity for _, identity in ours | theirs}
    shares = len({identity[:TELLING] for identity in identities}) < len(identities)
    if not shares and len(identities) == len(ours | theirs):
        # Where a frame was full, ranges that are settled may be gone through again.
        have = {identity for _, identity in ours - theirs}
        need = {identity for _, identity in theirs - ours}
        if (set(outcome.have), set(outcome.need)) != (have, need):
            return "have or need against the sets"
    return None


def check_case(peer: CratePeer, case: Case) -> tuple[str | None, Outcome]:
    """Run a case with the crate, with sealed vectors and with live indexes."""
    expected = peer.run(case.limits, case.ours, case.theirs)
    pairs: tuple[tuple[Storage, Storage], ...] = (
        (sealed(case.ours), sealed(case.theirs)),
        (Index(case.ours), Index(case.theirs)),
    )
    for ours, theirs in pairs:
        fault = fault_of(case, expected, run_sessions(ours, theirs, case.limits))
        if fault:
            return f"{type(ours).__name__}: {fault}", expected
    return None, expected


def main() -> int:
    """Run all cases and print how many, with what they reached."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    program = build_peer()
    if program is None:
        print("fuzz_negentropy: no cargo, nothing was compared", file=sys.stderr)
        return 2
    messages = longest = apart = 0
    with CratePeer(program) as peer:
        for number in range(options.cases):
            case = draw_case(Random(f"{options.seed}:{number}"))  # noqa: S311 - to be repeated
            fault, outcome = check_case(peer, case)
            if fault:
                print(f"case {options.seed}:{number}, limits {case.limits}: {fault}")
                return 1
            messages += len(outcome.messages)
            longest = max(longest, len(outcome.messages) // 2)
            apart += len(outcome.have) + len(outcome.need)
    print(
        f"fuzz_negentropy: {options.cases} cases, {messages} messages the same, "
        f"{apart} ids found, at most {longest} rounds"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
