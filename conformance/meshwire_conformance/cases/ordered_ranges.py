"""Cases about the order of bounds, and about the range that messages of a run leave in front."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from meshwire_conformance.cases.reconciling_client import client_case, take_run
from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.protocol.negentropy_messages import INFINITE, Bound, Range
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.evidence import CaseFailed
from meshwire_conformance.socket_suite.reconciling import Conversation, message_of

FAR = 771
"""A timestamp at which no item of a node lies."""
NEEDS = ("reconciliation",)
PREFIXES = tuple(
    map(
        bytes.fromhex,
        (
            *("", "00", "0000", "00" * 32, "0001", "00ff", "01", "0100", "7f", "7f80", "80"),
            *("8000", "80ff", "ff", "ff00", "ff" * 31, "ff" * 32),
        ),
    )
)
"""Prefixes in ascending order; some differ by bytes of zero alone, or where a sign may be seen."""
OPEN = bytes(range(1, 17))
"""A fingerprint that no set has: it leaves a range open."""
STEPS = 6
"""Messages of a run whose ranges in front have one bound: three times as many as may be equal."""


def _lists(bounds: Sequence[Bound]) -> bytes:
    """Return a message that skips to the first bound, and has an empty list up to each later one.

    A server without items there answers with the same message.
    """
    first, *others = bounds
    return message_of([Range(first, None), *(Range(bound, ()) for bound in others)])


@case(
    "MW-6939",
    "ranges whose bounds differ by zeros at the end of a prefix alone must be answered",
    part="reconciliation",
    rules=("NG-011", "NG-014"),
    needs=NEEDS,
)
async def bounds_that_increase(run: CaseRun) -> None:
    """Prefixes are filled up to ids before they are compared, or compared by signed bytes."""
    bounds = [(FAR, prefix) for prefix in PREFIXES]
    conversation = Conversation(run)
    for message in (_lists([*bounds, (FAR + 1, b"")]), *map(_lists, pairwise(bounds))):
        await conversation.ask(message, message)
    await conversation.end()


@case(
    "MW-6940",
    "bounds that are equal, or whose prefixes go back, must be refused whatever differs in them",
    part="reconciliation",
    rules=("NG-011", "NG-022"),
    needs=NEEDS,
    negative=True,
    control="MW-6939",
)
async def bounds_that_do_not(run: CaseRun) -> None:
    """Only the length of prefixes is compared, or a common beginning, or a signed byte."""
    pairs = [(above, below) for below, above in pairwise(PREFIXES)]
    pairs += [(prefix, prefix) for prefix in PREFIXES]
    for number, pair in enumerate(pairs):
        conversation = Conversation(run, name=f"pair {number}")
        await conversation.say(_lists([(FAR, prefix) for prefix in pair]))
        await run.refused(["bad-bound"], conversation.on, conversation.name)


# --- The range in front --------------------------------------------------------------------------


def _fronts() -> Iterable[tuple[str, list[tuple[Bound, Bound]]]]:
    """Yield lists of ranges, of which no two in a row are equal, though they share a bound."""
    places = [(FAR, bytes((number, 3))) for number in range(1, STEPS + 2)]
    first, last = places[0], (FAR + 1, b"")
    yield "one upper bound", [(place, last) for place in places[:-1]]
    yield "one lower bound", [(first, place) for place in reversed(places[1:])]
    yield "two in turn", [(places[number % 2], last) for number in range(STEPS)]
    yield "one behind the other", list(pairwise(places))


@case(
    "MW-6956",
    "messages that leave other ranges in front with one bound in common must all be answered",
    part="reconciliation",
    rules=("NG-020", "NG-014"),
    needs=NEEDS,
)
async def fronts_with_one_bound(run: CaseRun) -> None:
    """Only one bound of the range in front is compared, or an earlier range counts as repeated."""
    for name, ranges in _fronts():
        conversation = Conversation(run, name=name)
        for bounds in ranges:
            message = _lists(bounds)
            await conversation.ask(message, message)
        await conversation.end()


@client_case(
    "MW-6957",
    "a client must go on while the range in front of its messages becomes shorter",
    rules=("NG-020", "NG-062"),
    let={},
)
async def front_of_a_client(run: CaseRun) -> None:
    """Only the upper bound of the range in front is compared, so that a long run is refused."""
    served = await take_run(run)
    message: bytes | None = served.begun.message
    # So near to the end that the client lists what it holds, up to infinity each time.
    for number in range(STEPS):
        lower = (0, bytes((0xF9 + number, 3)))
        await served.say(message_of([Range(lower, None), Range(INFINITE, OPEN)]))
        message = await served.next()
        if message is None:
            raise CaseFailed(
                "ended-early",
                "a shorter range was left open each time, and the run ended",
                expected=("a message about the range that is open",),
                received=(f"no message after {number + 1} answers",),
            )
    await served.serve([], message)
