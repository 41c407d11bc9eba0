"""What was measured of the mutants: which case noticed each row, in the file that is committed.

A result holds for a row and for the cases that it names as they were. So it has a digest of each:
a row that was changed has no result, and a changed case makes one doubtful.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec

from meshwire_conformance.catalogue.case import SOCKET, Case
from meshwire_conformance.verdicts import CaseResult, Verdict
from mutants import ROOT, Row, names_field

RESULTS: Final = ROOT / "conformance" / "mutants" / "results.json"
DIGITS: Final = 12
"""Hex digits of a digest: they detect changes, nobody forges them."""


class State(StrEnum):
    """What became of a mutant."""

    NOTICED = "noticed"
    SURVIVED = "survived"
    CRASHED = "crashed"
    UNDECIDED = "undecided"
    """Cases of its rule could not run, or the row was not applied."""


HIDDEN: Final = frozenset((State.SURVIVED, State.UNDECIDED))
"""What may become of a row that only an idle machine shows."""


class Outcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The result of one row.

    `row` and `cases` are the digests of the row and of the cases that it names, `by` is the case
    that noticed, `seconds` the time until then. `beside` are failed cases of other rules, which do
    not count, and `why` says what went wrong.
    """

    row: str
    cases: str
    state: State
    seconds: float
    by: str = ""
    beside: tuple[str, ...] = ()
    why: str = ""


def digest_of_row(row: Row) -> str:
    """Return the digest of a row; the words that describe its mistake or survival do not count.

    Members without a value do not either, so that a new member of rows changes no digest.
    """
    told = {**asdict(row), "mistake": "", "survives": bool(row.survives)}
    return _digest({name: value for name, value in told.items() if value})


def digest_of_cases(row: Row, by_id: Mapping[str, Case]) -> str:
    """Return the digest of the cases that a row names."""
    return _digest([by_id[name].digest for name in row.noticed_by if name in by_id])


def _digest(content: object) -> str:
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def allowed_rules(row: Row) -> frozenset[str]:
    """Return the rules of which a case has to cite one to notice a row."""
    return frozenset((row.rule, *row.also))


def is_kill(row: Row, case: Case, result: CaseResult) -> bool:
    """Return True if a result shows the mistake of a row: a failure of a case about its rule.

    For a row of the codec it must be of the row's kind too, and name the row's field.
    """
    if result.verdict is not Verdict.FAIL or not allowed_rules(row) & set(case.rules):
        return False
    return not row.kind or (case.kind == row.kind and names_field(row, result))


def is_of_kind(row: Row, case: Case) -> bool:
    """Return True if a case is run against what a row mutates: the node, or the codec of a kind."""
    return case.kind == (row.kind or SOCKET)


def read_results(path: Path = RESULTS) -> dict[str, Outcome]:
    """Return the results by the id of their row; empty without a file."""
    if not path.exists():
        return {}
    return msgspec.json.decode(path.read_bytes(), type=dict[str, Outcome])


def write_results(outcomes: Mapping[str, Outcome], path: Path = RESULTS) -> None:
    """Write the results, one line for each row, so that changes of two rows merge."""
    path.write_text(results_text(outcomes), "utf-8")


def results_text(outcomes: Mapping[str, Outcome]) -> str:
    """Return the content of the file of results."""
    lines = (
        f"{json.dumps(name)}: {msgspec.json.encode(outcomes[name]).decode()}"
        for name in sorted(outcomes)
    )
    return "{\n" + ",\n".join(lines) + "\n}\n"


def result_problems(rows: Iterable[Row], outcomes: Mapping[str, Outcome]) -> list[str]:
    """Return the problems of the results, compared with the rows as they are now."""
    known = {row.id: row for row in rows}
    said = [f"{name}: a result without a row" for name in outcomes if name not in known]
    for name, row in known.items():
        outcome = outcomes.get(name)
        if outcome is None:
            said.append(f"{name}: not measured")
        elif outcome.row != digest_of_row(row):
            said.append(f"{name}: changed since it was measured")
        elif row.idle and outcome.state in HIDDEN:
            continue
        elif (outcome.state is State.NOTICED) == bool(row.survives):
            wrong = f"{outcome.by} notices it" if row.survives else f"it {outcome.state}"
            said.append(f"{name}: {wrong}, and the row says otherwise")
    return said


def doubtful(
    rows: Iterable[Row], outcomes: Mapping[str, Outcome], by_id: Mapping[str, Case]
) -> list[str]:
    """Return the ids of the rows of which a named case has changed since they were measured."""
    return [
        row.id
        for row in rows
        if row.id in outcomes and outcomes[row.id].cases != digest_of_cases(row, by_id)
    ]
