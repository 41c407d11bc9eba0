"""What the suite and the pages say of one id: a rule, a case, a reason, or a defect of peers."""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from textwrap import wrap

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.catalogue.catalogue import Catalogue
from meshwire_conformance.catalogue.data_files import data_folder
from meshwire_conformance.errors import UsageError
from meshwire_conformance.explain.field_rows import rows_of
from meshwire_conformance.explain.hexdump import Mark
from meshwire_conformance.explain.values import printable
from meshwire_conformance.hints import did_you_mean
from meshwire_spec.numbers import REASONS
from meshwire_spec.rules import Rule, load_rules, rules_by_id
from meshwire_spec.schemas.vectors import Vector

WIDTH = 100
"""Characters of a line."""
LABEL = 10
"""Characters of the labels at the left."""
LISTED = 8
"""Most cases that one line lists."""
HUNTED = 5
"""Most mistakes that are listed for a rule."""
DEPLOYED_PAGE = "93-deployed.md"
_DEFECT = re.compile(
    r"^\| \*\*(D-\d+)\*\*\{#[^}]*\} ([^|]*)\|([^|]*)\|([^|]*)\|([^|]*)\|([^|]*)\|", re.MULTILINE
)
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")


def explained(name: str, catalogue: Catalogue) -> list[str]:
    """Return what is known of an id or a reason, as lines; raises UsageError if nothing is."""
    rules, word = rules_by_id(), name.strip()
    upper = word.upper()
    if upper in rules:
        return list(_of_rule(rules[upper], catalogue))
    if upper in catalogue.by_id:
        return list(_of_case(catalogue.by_id[upper], catalogue))
    if word.lower() in REASONS:
        return list(_of_reason(word.lower(), catalogue))
    if upper in defects():
        return list(_of_defect(upper, catalogue))
    known = [*rules, *catalogue.by_id, *REASONS, *defects()]
    hint = did_you_mean(upper, known) or did_you_mean(word.lower(), list(REASONS))
    raise UsageError(
        f"{printable(word[:60])!r} is no rule, case, reason or defect; {hint}".rstrip("; ")
    )


def names_of(catalogue: Catalogue) -> list[str]:
    """Return everything that can be explained."""
    return [*rules_by_id(), *catalogue.by_id, *REASONS, *defects()]


@cache
def defects() -> dict[str, Sequence[str]]:
    """Return the columns of each row of the page on deployed peers, by the id of the defect."""
    folder = data_folder("_pages", "spec")
    text = (folder / DEPLOYED_PAGE).read_text(encoding="utf-8")
    return {
        found[1]: [_LINK.sub(r"\1", column).strip() for column in found.groups()[1:]]
        for found in _DEFECT.finditer(text)
    }


def _said(label: str, text: str) -> Iterator[str]:
    if text:
        first = f"  {label:<{LABEL}}"
        yield from wrap(
            printable(text), WIDTH, initial_indent=first, subsequent_indent=" " * len(first)
        )


def _of_rule(rule: Rule, catalogue: Catalogue) -> Iterator[str]:
    cases = [case for case in catalogue.cases if rule.id in case.rules]
    yield f"{rule.id}  (level {rule.level}, page {rule.page}#{rule.anchor})"
    yield from _said("", rule.text)
    yield ""
    hunted = {case.hunts: case.harm for case in cases if case.hunts}
    for hunts, harm in list(hunted.items())[:HUNTED]:
        yield from _said("hunts", hunts)
        yield from _said("harm", harm)
    yield from _said("kinds", ", ".join(rule.kinds))
    if rule.reason:
        yield from _said("reason", f"{rule.reason} ({_code(rule.reason)})")
    yield from _said("deployed", rule.deployed)
    for defect in rule.defects:
        yield from _said(defect, defects()[defect][1] if defect in defects() else "")
    yield from _said("excluded", rule.excluded)
    yield from _cases_lines(cases, rule.id)
    yield from _bytes_of(_shown_case(cases, rule.reason))


def _shown_case(cases: Sequence[Case], reason: str) -> Case | None:
    """Return the case whose bytes show a rule best: the shortest that its reason refuses."""
    vectors = [case for case in cases if isinstance(case.body, Vector) and case.body.hex]
    fitting = [case for case in vectors if reason and reason in (_vector(case).reasons or ())]
    return min(fitting or vectors, key=lambda case: len(_vector(case).hex), default=None)


def _vector(case: Case) -> Vector:
    assert isinstance(case.body, Vector)
    return case.body


def _code(reason: str) -> str:
    row = REASONS[reason]
    return f"code {row.code:#x}, of a {row.scope}: {row.means}"


def _cases_lines(cases: Sequence[Case], only: str) -> Iterator[str]:
    if not cases:
        return
    more = ", ..." if len(cases) > LISTED else ""
    listed = ", ".join(case.id for case in cases[:LISTED])
    yield from _said("cases", f"{len(cases)}: {listed}{more}")
    yield from _said("run", f"meshwire check TARGET --only {only}")


def _bytes_of(case: Case | None) -> Iterator[str]:
    if case is None:
        return
    vector = _vector(case)
    yield ""
    yield from _said("bytes", f"of {case.id}: {case.title}")
    at = list(vector.at or ())
    mark = Mark(at[0], at[1] - at[0], vector.field or "here") if len(at) == 2 else None  # noqa: PLR2004 - first byte and end
    rows = () if vector.unencodable else rows_of(case.kind, vector.data, mark)
    yield from (f"    {printable(row)}" for row in rows)


def _of_case(case: Case, catalogue: Catalogue) -> Iterator[str]:
    yield f"{case.id}  {case.title}  ({case.kind}, page {case.part})"
    for rule in case.rules:
        found = rules_by_id().get(rule)
        yield from _said(rule, found.text if found else "")
    yield ""
    demands = ", ".join(f"{level} {result}" for level, result in case.results.items())
    yield from _said("demands", demands)
    yield from _said("hunts", case.hunts)
    yield from _said("harm", case.harm)
    yield from _said("needs", ", ".join(case.needs))
    if case.control:
        control = catalogue.by_id.get(case.control)
        yield from _said("control", f"{case.control}  {control.title if control else ''}")
    for rule in case.rules:
        found = rules_by_id().get(rule)
        yield from _said("deployed", found.deployed if found else "")
    yield from _said("source", case.source)
    yield from _said("run", f"meshwire check TARGET --only {case.id}")
    if isinstance(case.body, Vector):
        yield from _bytes_of(case)


def _of_reason(reason: str, catalogue: Catalogue) -> Iterator[str]:
    yield f"{reason}  ({_code(reason)})"
    yield ""
    rules = [rule for rule in load_rules() if rule.reason == reason]
    for rule in rules:
        yield from _said(rule.id, f"{rule.text} ({', '.join(rule.kinds) or rule.page})")
    ids = {rule.id for rule in rules}
    cases = [case for case in catalogue.cases if ids & set(case.rules)]
    yield from _cases_lines(cases, rules[0].id if rules else reason)
    yield from _bytes_of(_shown_case(cases, reason))


def _of_defect(defect: str, catalogue: Catalogue) -> Iterator[str]:
    evidence, does, consequence, correct, demanded = defects()[defect]
    yield f"{defect}  ({evidence}, page {DEPLOYED_PAGE}#{defect})"
    yield from _said("deployed", does)
    yield from _said("harm", consequence)
    yield from _said("correct", correct)
    yield from _said("rules", demanded)
    ids = {rule.id for rule in load_rules() if rule.id in demanded or defect in rule.defects}
    for rule in sorted(ids):
        yield from _said(rule, rules_by_id()[rule].text)
    cases = [case for case in catalogue.cases if ids & set(case.rules)]
    yield from _cases_lines(cases, min(ids) if ids else defect)
