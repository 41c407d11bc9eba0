"""Repeats what missed a deadline, and decides what a second miss means.

Theory. The machine is shared, so a passed deadline alone proves nothing about a target. A case that
missed one is repeated alone, under a deadline from a fresh calibration, while probes read the
canary, one after the other. If it passes then, it passes and is marked as slow. If it misses again,
the probes decide. If they were prompt, the case fails. If they were slow, the case could not be
judged. If the suite itself was late, that says nothing about the target, and the case is repeated
again, a few times.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from meshwire_conformance.socket_suite.attempts import Attempt, noted
from meshwire_conformance.targets.probes import Beside
from meshwire_conformance.verdicts import TOO_SLOW, TOO_SLOW_REASON, Verdict, unjudged

LAST_PATIENCE = 4
"""A target that answered no read gets this multiple of the deadline for the last one of a run."""
REPETITIONS_MAX = 4
"""A case is repeated at most this often, where each time the suite itself was late."""
UNANSWERED_REASON = (
    "too slow to judge: the target answered no read for a while, and answers again; a greater "
    "--timeout-scale gives it more time"
)


def decided(first: Attempt, second: Attempt, beside: Beside) -> Attempt:
    """Return which of two attempts counts; the second one is a repetition."""
    result = second.result
    before = f"beside others: {first.result.symptom}"
    if result.verdict is Verdict.PASS:
        note = f"{before}; repeated it held"
        return replace(second, result=replace(noted(result, note), slow=True))
    result = noted(result, f"{before}; repeated: {result.symptom}")
    if second.missed:
        result = noted(result, beside.describe())
        if second.suite_late or not (beside.prompt or beside.gone):
            result = unjudged(result, TOO_SLOW_REASON)
    return replace(second, result=result)


async def until_in_time(repeat: Callable[[int], Awaitable[Attempt]]) -> Attempt:
    """Repeat a case until the suite was in time for it, or too often; return the last attempt.

    `repeat` gets the number of the attempt; that of the first repetition is 2.
    """
    for number in range(2, 2 + REPETITIONS_MAX):
        attempt = await repeat(number)
        if not (attempt.suite_late and attempt.result.symptom == TOO_SLOW):
            break
    return attempt
