"""Checks the reasons for which rules have no case.

A rule that no case can show is marked on its page with `<!-- excluded: REASON; KEY: VALUE -->`. At
least one key says what checks the rule meanwhile, or what must exist first:

- `test: PATH::NAME` a test of the reference or the suite, which must exist;
- `code: PATH::NAME` the code that ensures it in every case, which must exist;
- `rules: ID, ID` rules it follows from, each of which a case shows;
- `until: NAME` what is missing, which must not exist: a dotted name of a package, or else a word
  that no code of the packages has in a string or as the name of a function or class.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from pages import PageRule
from repository import Repository

MEMBER = re.compile(r"; (?P<key>test|code|rules|until): (?P<value>[^;]+)")
OURS = re.compile(r"^meshwire_(?:spec|reference|conformance)\.")


def _is_there(value: str, repository: Repository) -> bool:
    path, _, name = value.partition("::")
    return repository.defines(Path(path), name) if name else path in repository.files


def _member_problem(key: str, value: str, shown: set[str], repository: Repository) -> str | None:
    """Return what is wrong with one member of a reason, or None."""
    if key == "rules":
        missing = [name for name in value.split(", ") if name not in shown]
        return f"no case shows {', '.join(missing)}" if missing else None
    if key != "until":
        return None if _is_there(value, repository) else f"there is no {key} {value}"
    if OURS.match(value):
        return f"{value} exists now" if repository.resolves(value) else None
    place = repository.says(value)
    return f"{place} has {value!r} now" if place else None


def exclusion_problems(rules: Sequence[PageRule], repository: Repository) -> Iterator[str]:
    """Yield the exclusions without a key that can be checked, and those that no longer hold."""
    shown = {rule.id for rule in rules if rule.seen}
    for rule in rules:
        if not rule.excluded:
            continue
        members = list(MEMBER.finditer(rule.excluded))
        if not members:
            yield (
                f"{rule.page}: {rule.id} is excluded without anything to check: "
                "add test, code, rules or until"
            )
        for member in members:
            problem = _member_problem(member["key"], member["value"].strip(), shown, repository)
            if problem:
                yield f"{rule.page}: {rule.id} is excluded, but {problem}"
