"""Connect rules and cases: every rule is shown by a case or says why no case can show it.

Vectors and transcripts are read as data, Python cases with `ast`; the reference is never read.
Usage: python tools/trace.py [--check] [--list]. Exit status 0 fine, 1 problems, one line each.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pages import SPEC, PageRule, all_rules
from sync_spec import prose_problems
from vector_files import TODO, read_json

ROOT = SPEC.parent
VECTORS = ROOT / "vectors"
CASES = ROOT / "conformance" / "meshwire_conformance" / "cases"
TRANSCRIPT = ".transcript.json"
SESSIONS = "sessions"
"""Folder of the transcripts of signed operations."""
CASE_ID = re.compile(r"^MW-\d{4,}$")
RULE_ID = re.compile(r"^[A-Z]{2}-\d{3}$")
SATISFIES: Mapping[str, frozenset[str]] = {
    "codec": frozenset({"codec"}),
    "socket": frozenset({"socket", "python"}),
    "harness": frozenset({"python"}),
    "every": frozenset({"codec"}),
}
"""Sorts of cases that show a rule, by its mark."""


@dataclass(frozen=True, slots=True)
class TracedCase:
    """One case for tracing: its id, the rules that it cites, its sort and its file.

    A case with TODO in a member is not finished, and shows no rule.
    """

    id: str
    rules: tuple[str, ...]
    sort: str
    place: str
    is_finished: bool = True


def _objects(content: Any) -> Iterator[dict[str, Any]]:
    """Yield the objects with an id and rules, at the top or in a list one level below."""
    candidates = [content] if isinstance(content, dict) else content
    for candidate in candidates:
        if not isinstance(candidate, dict):
            continue
        if "id" in candidate:
            yield candidate
        else:
            for value in candidate.values():
                if isinstance(value, list):
                    yield from (v for v in value if isinstance(v, dict) and "id" in v)


def data_cases(folder: Path) -> list[TracedCase]:
    """Return the cases of every JSON file below a folder."""
    found = []
    for path in sorted(folder.rglob("*.json")):
        is_transcript = path.name.endswith(TRANSCRIPT) or path.parent.name == SESSIONS
        sort = "socket" if is_transcript else "codec"
        place = str(path.relative_to(folder.parent))
        for item in _objects(read_json(path)):
            if CASE_ID.match(str(item["id"])):
                rules = tuple(str(rule) for rule in item.get("rules", ()))
                is_finished = TODO not in json.dumps(item)
                found.append(TracedCase(item["id"], rules, sort, place, is_finished))
    return found


def _texts(node: ast.expr | None) -> tuple[str, ...]:
    if isinstance(node, ast.Tuple | ast.List):
        return tuple(text for item in node.elts for text in _texts(item))
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return (node.value,)
    return ()


def _calls(path: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            values = [*node.args, *(keyword.value for keyword in node.keywords)]
            texts = [text for value in values for text in _texts(value)]
            ids = [text for text in texts if CASE_ID.match(text)]
            rules = tuple(text for text in texts if RULE_ID.match(text))
            if ids and rules:
                yield ids[0], rules


def python_cases(folder: Path) -> list[TracedCase]:
    """Return the cases written in Python: calls with a case id and rule ids as literals."""
    return [
        TracedCase(name, rules, "python", path.name)
        for path in sorted(folder.rglob("*.py"))
        for name, rules in _calls(path)
    ]


def rule_problems(rules: Sequence[PageRule], cases: Sequence[TracedCase]) -> list[str]:
    """Return the rules without a case, and excluded rules with one."""
    sorts: dict[str, set[str]] = defaultdict(set)
    for case in cases:
        for rule_id in case.rules if case.is_finished else ():
            sorts[rule_id].add(case.sort)
    every = {case.sort for case in cases}
    problems = []
    for rule in rules:
        if rule.excluded and sorts[rule.id]:
            problems.append(f"{rule.id} is excluded, and yet a case cites it")
        for way in rule.seen:
            shown = every if way == "every" else sorts[rule.id]
            if not shown & SATISFIES[way]:
                problems.append(f"{rule.id} ({rule.page}) has no {way} case: {rule.text}")
    return problems


def case_problems(rules: Sequence[PageRule], cases: Sequence[TracedCase]) -> list[str]:
    """Return the cases unfinished or without a valid rule, and duplicate ids."""
    levels = {rule.id: rule.level for rule in rules}
    places: dict[str, str] = {}
    problems = []
    for case in cases:
        if not case.is_finished:
            problems.append(f"{case.id} ({case.place}) is not finished: {TODO} stands in it")
        if not case.rules:
            problems.append(f"{case.id} ({case.place}) cites no rule")
        for rule_id in case.rules:
            level = levels.get(rule_id)
            if level is None or level == "withdrawn":
                what = "unknown" if level is None else "withdrawn"
                problems.append(f"{case.id} ({case.place}) cites the {what} rule {rule_id}")
        if case.id in places:
            problems.append(f"{case.id} is given twice: {places[case.id]}, {case.place}")
        places[case.id] = case.place
    return problems


def table(rules: Sequence[PageRule], cases: Sequence[TracedCase]) -> list[str]:
    """Return one line per rule: id, level, its mark, and the number of cases of each sort."""
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for case in cases:
        for rule_id in case.rules:
            counts[rule_id, case.sort] += 1
    lines = []
    for rule in rules:
        where = ", ".join(rule.seen) or f"excluded: {rule.excluded}"
        shown = " ".join(
            f"{sort}={counts[rule.id, sort]}" for sort in ("codec", "socket", "python")
        )
        lines.append(f"{rule.id}  {rule.level:9}  {shown}  {where}")
    return lines


def main(arguments: list[str] | None = None) -> int:
    """Run the tool; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="say only what is wrong")
    parser.add_argument("--list", action="store_true", help="print every rule with its cases")
    options = parser.parse_args(arguments)
    rules = all_rules()
    cases = [*data_cases(VECTORS), *python_cases(CASES)]
    problems = [str(problem) for problem in prose_problems()]
    problems += [*rule_problems(rules, cases), *case_problems(rules, cases)]
    for line in [*(table(rules, cases) if options.list else []), *problems]:
        print(line)
    if not options.check:
        print(f"{len(rules)} rules, {len(cases)} cases, {len(problems)} problems")
    return 1 if problems else 0
