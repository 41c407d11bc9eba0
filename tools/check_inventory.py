"""Check the page of the inventory: every row occurs once, and everything that it names exists.

The inventory itself is not part of this project; ROWS has the number of rows of each of its lists.
Usage: python tools/check_inventory.py [--check]. Exit status 1 where something is wrong.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pages import SPEC, PageRule, all_rules
from tracing import CASES, VECTORS, TracedCase, data_cases, python_cases

ROOT = SPEC.parent
PAGE = SPEC / "94-inventory.md"
# List -> digits of its ids, number of its rows.
ROWS: Final[Mapping[str, tuple[int, int]]] = {
    "N": (2, 22),
    "T": (3, 69),
    "A": (2, 78),
    "M": (2, 20),
    "C": (2, 25),
    "G": (2, 19),
    "X": (2, 40),
}
ROW = re.compile(r"^\| (?P<id>[NTAMCGX]-\d+) \|(?P<cells>.*)\|$")
CELLS: Final = 3
LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
RULE_ID = re.compile(r"\b(?!MW-)[A-Z]{2}-\d{3}\b")
CASE_ID = re.compile(r"\bMW-\d{4,}\b")
TEST = re.compile(r"`(?P<path>[\w/.-]+\.py)::(?P<name>[\w:]+)`")
WORDS: Final = (
    "withdrawn because D-",
    "of that program alone",
)
"""One of these is given for a row without case and test; the page explains them."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row with its cells, without links."""

    id: str
    cells: tuple[str, ...]

    @property
    def text(self) -> str:
        """All cells."""
        return " | ".join(self.cells)

    @property
    def rules(self) -> set[str]:
        """Ids of the rules in any cell."""
        return set(RULE_ID.findall(self.text))

    @property
    def cases(self) -> list[str]:
        """Ids of the cases and vectors in any cell."""
        return CASE_ID.findall(self.text)

    @property
    def tests(self) -> list[tuple[str, str]]:
        """Tests in any cell, by path and name."""
        return TEST.findall(self.text)


def rows_of(text: str) -> list[Row]:
    """Return the rows of the page in order."""
    return [
        Row(match["id"], tuple(cell.strip() for cell in LINK.sub(r"\1", match["cells"]).split("|")))
        for line in text.splitlines()
        if (match := ROW.match(line))
    ]


def expected_ids() -> list[str]:
    """Return every id of the inventory."""
    return [
        f"{letter}-{number:0{digits}}"
        for letter, (digits, count) in ROWS.items()
        for number in range(1, count + 1)
    ]


def id_problems(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the rows that are missing, duplicate, or of no list."""
    counts = Counter(row.id for row in rows)
    expected = expected_ids()
    yield from (f"{name} is missing" for name in expected if not counts[name])
    yield from (f"{name} stands there {count} times" for name, count in counts.items() if count > 1)
    yield from (f"the inventory has no {name}" for name in counts if name not in set(expected))


def tests_in(path: Path) -> set[str]:
    """Return the names of the tests of a file, methods as `Class::name`."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        names |= {
            prefix + item.name
            for item in inner
            if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)
            and item.name.startswith("test")
        }
    return names


def row_problems(
    row: Row, alive: set[str], cases: Mapping[str, TracedCase], root: Path = ROOT
) -> Iterator[str]:
    """Yield the problems of one row."""
    if len(row.cells) != CELLS or not all(row.cells):
        yield f"{row.id} has not the cells fact, rules, held by"
        return
    yield from (f"{row.id}: no rule {name}" for name in sorted(row.rules - alive))
    for name in row.cases:
        if name not in cases:
            yield f"{row.id}: no case or vector {name}"
        elif row.rules.isdisjoint(cases[name].rules):
            yield f"{row.id}: {name} shows none of the rules of the row"
    for path, name in row.tests:
        if not (root / path).is_file() or name not in tests_in(root / path):
            yield f"{row.id}: no test {path}::{name}"
    if not row.cases and not row.tests and not any(words in row.cells[-1] for words in WORDS):
        yield f"{row.id} is held by nothing, and does not say why"


def problems_of(
    text: str, rules: Sequence[PageRule], cases: Sequence[TracedCase], root: Path = ROOT
) -> list[str]:
    """Return all problems of the text of the page."""
    rows = rows_of(text)
    alive = {rule.id for rule in rules if rule.level != "withdrawn"}
    by_id = {case.id: case for case in cases}
    found = list(id_problems(rows))
    for row in rows:
        found += row_problems(row, alive, by_id, root)
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run the tool; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="print only problems")
    options = parser.parse_args(arguments)
    cases = [*data_cases(VECTORS), *python_cases(CASES)]
    text = PAGE.read_text()
    problems = problems_of(text, all_rules(), cases)
    for problem in problems:
        print(f"{PAGE.name}: {problem}")
    if not options.check:
        print(f"{len(rows_of(text))} rows, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
