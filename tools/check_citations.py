"""Hold the rule ids in comments of the code to the pages: `# FR-004` names a rule that exists.

Usage: python tools/check_citations.py [--list]. Exit status 1 where a comment cites an unknown
rule; --list also prints the rules a socket can show that no comment of the reference cites.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from pages import SPEC, PageRule, all_rules

ROOT = SPEC.parent
FOLDERS = (
    "spec/meshwire_spec",
    "reference/meshwire_reference",
    "conformance/meshwire_conformance",
)
COMMENT = re.compile(r"#.*")
CITATION = re.compile(r"\b(?:TR|FR|BT|TS|NG|LV|HS|DC|ER|LB|CH|EN)-\d{3}\b")


def citations(folder: Path) -> list[tuple[str, Path, int]]:
    """Rule ids in the comments below a folder, each with file and line."""
    return [
        (rule_id, path, number)
        for path in sorted(folder.rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        for comment in COMMENT.findall(line)
        for rule_id in CITATION.findall(comment)
    ]


def problems_of(rules: Sequence[PageRule], found: Sequence[tuple[str, Path, int]]) -> list[str]:
    """Comments that cite a rule which does not exist or was withdrawn."""
    alive = {rule.id for rule in rules if rule.level != "withdrawn"}
    return [f"{path}:{line}: no rule {cited}" for cited, path, line in found if cited not in alive]


def uncited(rules: Sequence[PageRule], found: Sequence[tuple[str, Path, int]]) -> list[PageRule]:
    """Rules that a socket can show and no comment cites."""
    cited = {rule_id for rule_id, _, _ in found}
    return [rule for rule in rules if "socket" in rule.seen and rule.id not in cited]


def main(arguments: list[str] | None = None) -> int:
    """Run the tool; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="the same; for the generators' sake")
    parser.add_argument("--list", action="store_true", help="print uncited socket rules as well")
    options = parser.parse_args(arguments)
    rules = all_rules()
    problems = [
        problem for folder in FOLDERS for problem in problems_of(rules, citations(ROOT / folder))
    ]
    for line in problems:
        print(line)
    if options.list:
        for rule in uncited(rules, citations(ROOT / "reference" / "meshwire_reference")):
            print(f"{rule.id} is cited nowhere in the reference: {rule.text}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
