"""Cases of the codec harness itself: what an adapter writes besides its answers, and their form.

These cases send no requests of their own. They are judged by every conversation of a run, so they
are judged whenever a codec case is selected; selected alone, they ask every codec request.
"""

from __future__ import annotations

from dataclasses import dataclass

from meshwire_conformance.catalogue.case import BOTH_VALID, HARNESS, Case, digest_of

PART = "harness"


@dataclass(frozen=True, slots=True)
class Demand:
    """What a case judges: the lines as such, the shape of each answer, or the answer to hello."""

    name: str


LINES, SHAPE, HELLO = Demand("lines"), Demand("shape"), Demand("hello")


def _case(case_id: str, rule: str, demand: Demand, title: str, hunts: str) -> Case:
    return Case(
        id=case_id,
        title=title,
        kind=HARNESS,
        part=PART,
        rules=(rule,),
        results=BOTH_VALID,
        source="hand",
        digest=digest_of([case_id, rule, demand.name, title]),
        hunts=hunts,
        body=demand,
    )


CASES = (
    _case(
        "MW-6001",
        "CH-001",
        LINES,
        "one line a request, in the order of the requests, and nothing else",
        "a stray print on standard output, an answer written twice, answers out of order",
    ),
    _case(
        "MW-6002",
        "CH-003",
        SHAPE,
        "an answer has the id as it was given, and either a result or an error",
        "an id given back as a text, a result beside an error",
    ),
    _case(
        "MW-6003",
        "CH-010",
        HELLO,
        "the answer to hello has the members of its table",
        "another version of the harness, a kind that does not exist, a member left out",
    ),
)
