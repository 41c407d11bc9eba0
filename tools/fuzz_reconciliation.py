"""Compare the suite's own client and server with the crate `negentropy` on random pairs of sets.

Usage: python tools/fuzz_reconciliation.py [--pairs 20000] [--seed 1].

Every message must be the same from both, and the client must learn exactly what each side lacks.
Exit status 1 at the first difference, 2 without cargo.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from random import Random

from meshwire_conformance.protocol.negentropy import Item, Reconciliation
from meshwire_spec.numbers import NEGENTROPY_ID, NEGENTROPY_TIMESTAMP_MAX
from reconciliation_oracle import CrateAnswer, CrateFault, Oracle, build

SIZES = (0, 1, 5, 31, 32, 33, 40, 100, 300, 600)
EXTRA = (0, 1, 3, 50, 200, 400)
SPANS = (0, 1, 3, 100, 2**31, 2**53, NEGENTROPY_TIMESTAMP_MAX)
SHARED = (0, 0, 0, 1, 5, 24)
"""Numbers of bytes that the ids of a pair may have in common."""
LIMITS = (0, 0, 4096, 4097, 4500, 5000, 65536)
ROUNDS_MAX = 200
FORGET_EVERY = 100


class Difference(Exception):
    """The crate and the suite differ, or a run does not find the difference of the sets."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Both sets and limits of one run."""

    sets: tuple[list[Item], list[Item]]
    limits: tuple[int, int]


def draw(random: Random) -> Pair:
    """Return two sets with a common part, and their limits."""
    span, shared = random.choice(SPANS), random.choice(SHARED)
    prefix = random.randbytes(shared)

    def items(count: int) -> list[Item]:
        size = NEGENTROPY_ID - shared
        return [(random.randint(0, span), prefix + random.randbytes(size)) for _ in range(count)]

    common = items(random.choice(SIZES))
    sets = ([*common, *items(random.choice(EXTRA))], [*common, *items(random.choice(EXTRA))])
    for side in sets:
        random.shuffle(side)
    return Pair(sets, (random.choice(LIMITS), random.choice(LIMITS)))


def hold(pair: Pair, oracle: Oracle) -> int:
    """Compare one run and return its number of messages; raises Difference."""
    client = Reconciliation(pair.sets[0], pair.limits[0], client=True)
    server = Reconciliation(pair.sets[1], pair.limits[1], client=False)
    sessions = (
        oracle.open("client", pair.sets[0], pair.limits[0]),
        oracle.open("server", pair.sets[1], pair.limits[1]),
    )
    message = client.initiate()
    if message != oracle.initiate(sessions[0]):
        raise Difference("the first message")
    have: set[bytes] = set()
    need: set[bytes] = set()
    for round_number in range(1, ROUNDS_MAX + 1):
        reply = _same(server, oracle, sessions[1], message).reply
        assert reply is not None
        answer = _same(client, oracle, sessions[0], reply)
        have.update(answer.have)
        need.update(answer.need)
        if answer.reply is None:
            _exact(pair, have, need)
            return 2 * round_number
        message = answer.reply
    raise Difference(f"no end after {ROUNDS_MAX} rounds")


def _same(side: Reconciliation, oracle: Oracle, session: int, message: bytes) -> CrateAnswer:
    own = side.reconcile(message)
    said = CrateAnswer("", own.reply, own.have, own.need)
    if said != oracle.reconcile(session, message):
        raise Difference(f"the answer to {message.hex()}")
    return said


def _exact(pair: Pair, have: set[bytes], need: set[bytes]) -> None:
    ours, theirs = ({name for _, name in side} for side in pair.sets)
    if (have, need) != (ours - theirs, theirs - ours):
        raise Difference("what the client has and needs")


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
