"""Cases of the codec harness itself: the lines and the form of the answers of an adapter.

These cases send no requests of their own. Every conversation of a run judges them, so they are
judged whenever a codec case is selected. Selected alone, they send the requests of all codec cases.
"""

from __future__ import annotations

from dataclasses import dataclass

from meshwire_conformance.catalogue.case import BOTH_VALID, HARNESS, Case, digest_of

PART = "harness"


@dataclass(frozen=True, slots=True)
class Demand:
    """The subject of a case, such as lines of output or the offsets of errors."""

    name: str


LINES, SHAPE, HELLO, STRICT = Demand("lines"), Demand("shape"), Demand("hello"), Demand("strict")
OFFSETS = Demand("offsets")
PLACES, OUTPUT_PLACES = Demand("places"), Demand("output places")


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
        "one line per request, in the order of the requests, and no other output",
        "a print on standard output, an answer written twice, or answers out of order",
    ),
    _case(
        "MW-6002",
        "CH-003",
        SHAPE,
        "each answer with the id of its request, and either a result or an error",
        "an id returned as a string, or a result beside an error",
    ),
    _case(
        "MW-6003",
        "CH-010",
        HELLO,
        "the answer to hello with the members of its table",
        "another version of the harness, an unknown kind, or a missing member",
    ),
    _case(
        "MW-6004",
        "CH-020",
        STRICT,
        "each answer is one strict JSON object in UTF-8",
        "a byte order mark on the first line, NaN, a member written twice, another encoding",
    ),
    _case(
        "MW-6005",
        "CH-023",
        OFFSETS,
        "offsets in all errors of decode with a reason, or in none",
        "an offset of 0 is left out, or written as null",
    ),
    _case(
        "MW-6500",
        "CH-024",
        PLACES,
        "the offset of an error of decode is the byte at which the field at fault begins",
        "an offset inside a nested message, or one behind the length of a field",
    ),
    _case(
        "MW-6501",
        "CH-025",
        OUTPUT_PLACES,
        "the offset of an error of encode is the position of its field in the output",
        "an offset inside a nested message, or one behind the fields before",
    ),
)
