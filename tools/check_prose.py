"""Find banned idioms in code, comments, pages and vectors.

Usage: python tools/check_prose.py [--check]. Exit status 1 if a text has an idiom of `IDIOMS`.

Exempt, because they record the words of others or of earlier versions: recorded data of tests, the
ledger of ids with its first titles, and `CHANGELOG.md`.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from repository import Repository

ROOT = Path(__file__).resolve().parents[1]
SUFFIXES = (".py", ".md", ".toml", ".yml", ".yaml", ".go", ".rs", ".js", ".sh", ".css", ".html")
NAMES = ("Makefile", ".pre-commit-config.yaml")
VECTORS = "vectors/"
"""Folder whose JSON files are checked too: their titles, hunts and harms are prose."""
EXEMPT = (
    "CHANGELOG.md",
    "conformance/tests/captured/transcripts/",
    "vectors/ids.json",
)

# The gap between two words of an idiom: blanks, and the margin of a comment or a quote.
GAP = r"[\s#/>*]+"
# Each idiom with its replacement. A blank matches any gap between words, line ends included.
# A word after a dot is a member in code.
IDIOMS = {
    r"so (?:many|much)": "the count or size by its name",
    r"(?:stand|stands|standing|stood) (?:for|behind)": "`is`, `means`, `represents` or `follows`",
    r"(?:is|are|was|were|be|been) told": "`receives`, `is configured`, `is reported`",
    r"(?:tell|tells|telling|told) of": "`reports`, `lists`, `announces`",
    r"(?:let|lets) (?:\w+ ){1,3}have": "`gives` or `sends`",
    r"which is (?:what)": "a sentence of its own",
    r"where there is (?:none)": "the condition by its name",
    r"(?:hold|holds|holding|held) (?:[\w`.]+ ){0,5}against": "`compare with`, `check`, `test`",
    r"(?:does|do|did) not (?:stand)": "`is malformed`, `is invalid`",
    r"(?:bytes?|frames?|entry|message|offset|place) (?:behind)": "`after`",
    r"behind (?:it|them|infinity|its length|its marker)": "`after`",
    r"what (?:comes|came)": "`the answer`, `the frames received`",
    r"makes? (?:of)": "`reads`, `does with`",
    r"(?:asks|asked|speaks?) of": "`sent to`, `concerns`, `names`",
    r"(?:nobody(?:'s)|(?:some|every|any)(?:body))": "`no`, `a` or `every` with the noun",
    r"who(?:ever)": "the peer, caller or process by its name",
    r"has (?:its|a) say": "the action by its verb",
}
PATTERN = re.compile(
    "|".join(rf"(?<![.\w])({idiom.replace(' ', GAP)})\b" for idiom in IDIOMS), re.IGNORECASE
)


def is_checked(path: str) -> bool:
    """Return True if the file at `path`, relative to the root, is checked."""
    named = path.endswith(SUFFIXES) or Path(path).name in NAMES
    vectors = path.startswith(VECTORS) and path.endswith(".json")
    return (named or vectors) and not path.startswith(EXEMPT)


def problems_of(path: str, text: str) -> Iterator[str]:
    """Yield a line for each banned idiom in the text of the file at `path`."""
    advice = tuple(IDIOMS.values())
    for found in PATTERN.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        words = " ".join(re.split(GAP, found.group()))
        number = (found.lastindex or 1) - 1
        yield f'{path}:{line}: "{words}" is banned: write {advice[number]}'


def main(arguments: list[str] | None = None) -> int:
    """Run the tool; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="no effect; accepted as for generators"
    )
    parser.add_argument("--root", type=Path, default=ROOT)
    options = parser.parse_args(arguments)
    problems = [
        problem
        for path in sorted(filter(is_checked, Repository(options.root).files))
        for problem in problems_of(path, (options.root / path).read_text(encoding="utf-8"))
    ]
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
