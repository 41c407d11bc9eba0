"""Cases about a target whose reconciliation takes several messages, and finds something in each.

The suite serves the run. It leaves ranges open for a while, or keeps its answers short, so that
what it lacks shows up in different answers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from meshwire_conformance.cases.planting import EACH_MODE, plant_each_mode, stored
from meshwire_conformance.cases.reconciling_client import client_case, take_run
from meshwire_conformance.protocol.negentropy import Item, Reconciliation
from meshwire_conformance.protocol.negentropy_messages import Bound, Range, read_message
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.evidence import CaseFailed
from meshwire_conformance.socket_suite.reconciling import (
    answer_of,
    id_of,
    invented,
    item_of,
    message_of,
    own_keys,
    send_documents,
)

DOCUMENTS = 64
"""More than a client lists in its first message, so that it sends fingerprints."""
MANY = 160
"""Documents whose ids fill more than one short answer."""
EVERY = 3
"""One document of each three is lacking, where answers are short."""
SHORT_ANSWER = 1024
"""Bytes of a frame limit that a few lists of ids exceed."""
OPEN = bytes(range(1, 17))
"""A fingerprint that no set has: it leaves a range open."""
START: Bound = (0, b"")


def _leaving_open(held: list[Item], message: bytes, withheld: Collection[bytes]) -> bytes:
    """Return an answer to each range of a message, which leaves those with these ids open."""
    ranges: list[Range] = []
    lower = START
    for part in read_message(message):
        if any(lower <= (0, name) < part.upper for name in withheld):
            ranges.append(Range(part.upper, OPEN))
        else:
            ranges += _answer_to(held, lower, part)
        lower = part.upper
    return message_of(ranges)


def _answer_to(held: list[Item], lower: Bound, part: Range) -> list[Range]:
    """Return the ranges of the answer to one range."""
    asked = [part] if lower == START else [Range(lower, None), part]
    ranges = [one for one in read_message(answer_of(held, message_of(asked))) if one.upper > lower]
    if not ranges or ranges[-1].upper != part.upper:
        ranges.append(Range(part.upper, None))
    return ranges


async def check_found(run: CaseRun, lacking: Sequence[str], keys: Iterable[str]) -> None:
    """Fail unless every document that the suite lacks comes, before each that both sides hold."""
    peer = run.peer("A").name
    came = [await run.expect(stored(run, key=key), "A") for key in lacking]
    last = max(came, key=lambda one: one.order)
    early = [
        key
        for key in keys
        if key not in lacking
        and any(
            one.peer == peer and one.order < last.order for one in run.subscription(key).arrivals
        )
    ]
    if early:
        raise CaseFailed(
            "out-of-order",
            "a document that both sides hold came before one that the run has found missing",
            expected=(f"{lacking[came.index(last)]} before it",),
            received=(f"{early[0]} first",),
        )


async def plant_many(run: CaseRun, count: int) -> list[str]:
    """Give the target documents over the connection of the peer B; return their keys by id."""
    keys = sorted(own_keys(run, count), key=id_of)
    for key in keys:
        run.subscription(key)
    await send_documents(run, keys, "B")
    return keys


def _found_in_turn(
    case_id: str, title: str, rules: tuple[str, ...], turns: Sequence[float], hunts: str
) -> None:
    """Register a case in which each answer finds the document at one place, from 0 to 1.

    A range stays in front for two answers at most, as NG-020 demands.
    """

    async def found(run: CaseRun) -> None:
        keys = await plant_many(run, DOCUMENTS)
        lacking = [keys[round(place * (DOCUMENTS - 1))] for place in turns]
        held = [item_of(key) for key in keys if key not in lacking]
        later = [id_of(key) for key in lacking]

        def answer(items: list[Item], message: bytes) -> bytes:
            del later[:1]
            return _leaving_open(items, message, later)

        served = await take_run(run)
        # Items that only the suite has are found too, in the same answers.
        await served.serve([*held, *invented(run, len(turns))], answer=answer)
        await check_found(run, lacking, keys)

    found.__doc__ = hunts
    client_case(case_id, title, rules=rules, let={})(found)


_found_in_turn(
    "MW-6885",
    "documents that three answers find missing, in the order of their ids, must all be sent first",
    ("NG-025", "NG-017"),
    (0.0, 0.5, 1.0),
    "What an answer finds replaces what the answers before it found.",
)
_found_in_turn(
    "MW-6886",
    "documents that three answers find missing, beginning with the last, must all be sent first",
    ("NG-025", "NG-017"),
    (1.0, 0.0, 0.5),
    "What was found behind a range that is still open is forgotten when the range is settled.",
)
_found_in_turn(
    "MW-6887",
    "documents that four answers find missing, from the middle on, must all be sent first",
    ("NG-025", "NG-017"),
    (0.5, 0.0, 1.0, 0.25),
    "Only what the first or the last answer of a run finds is sent before the rest.",
)


def _short_answer(items: list[Item], message: bytes) -> bytes:
    reply = Reconciliation(items, SHORT_ANSWER, client=False).reconcile(message).reply
    assert reply is not None, "a server always has an answer"
    return reply


@client_case(
    "MW-6888",
    "documents that answers of 1024 bytes find missing must all be sent first",
    rules=("NG-025", "NG-017"),
    let={},
)
async def found_by_short_answers(run: CaseRun) -> None:
    """The ranges after a short answer count as settled, or its findings replace earlier ones."""
    keys = await plant_many(run, MANY)
    lacking = keys[::EVERY]
    served = await take_run(run)
    held = [item_of(key) for key in keys if key not in lacking]
    await served.serve(held, answer=_short_answer)
    await check_found(run, lacking, keys)


@client_case(
    "MW-6884",
    "a document of each sync mode that the run finds missing must be sent in the type of its mode",
    part="documents",
    rules=("DC-033", "DC-034", "NG-025"),
    let=EACH_MODE,
)
async def found_in_its_type(run: CaseRun) -> None:
    """What a run finds is sent as a snapshot, or as a delta, whatever its collection."""
    keys = await plant_each_mode(run)
    served = await take_run(run)
    await served.serve([])
    for key in keys:
        await run.expect(stored(run, key=key), "A")
