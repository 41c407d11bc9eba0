"""Find banned idioms in code, comments and pages.

Usage: python tools/check_prose.py [--check]. Exit status 1 where a text has an idiom of `IDIOMS`.

Exempt, because their words are part of the suite digest or record what somebody else wrote:

- the vectors, with their titles, hunts and harms, and the strings of the tools in `VECTOR_WORDS`,
  from which hunts and harms are generated;
- the decorators and bodies of the Python cases, whose source is in the digest;
- recorded data of tests, `CHANGELOG.md` and `tools/history`.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import sys
import tokenize
from collections.abc import Collection, Iterator
from pathlib import Path

from repository import Repository

ROOT = Path(__file__).resolve().parents[1]
SUFFIXES = (".py", ".md", ".toml", ".yml", ".yaml", ".go", ".rs", ".js", ".sh", ".css", ".html")
NAMES = ("Makefile", ".pre-commit-config.yaml")
EXEMPT = ("CHANGELOG.md", "tools/history/", "conformance/tests/captured/transcripts/")
CASES = "conformance/meshwire_conformance/cases/"
VECTOR_WORDS = ("tools/vector_mutations.py", "tools/reconciliation_faults.py")

# What may stand between two words of an idiom: blanks, and the margin of a comment or a quote.
GAP = r"[\s#/>*]+"
# Each idiom with what to write in its place. A blank stands between words, wherever a line ends.
# A word behind a dot is a member in code.
IDIOMS = {
    r"so (?:many|much)": "the count or size by its name",
    r"(?:stand|stands|standing|stood) (?:for|behind)": "`is`, `means`, `represents` or `follows`",
    r"(?:is|are|was|were|be|been) told": "`receives`, `is configured`, `is reported`",
    r"(?:tell|tells|telling|told) of": "`reports`, `lists`, `announces`",
    r"(?:let|lets) (?:\w+ ){1,3}have": "`gives` or `sends`",
    r"which is (?:what)": "a sentence of its own",
    r"where there is (?:none)": "the condition by its name",
}
PATTERN = re.compile(
    "|".join(rf"(?<![.\w])({idiom.replace(' ', GAP)})\b" for idiom in IDIOMS), re.IGNORECASE
)


def _case_lines(tree: ast.Module) -> Iterator[int]:
    """Yield the lines of the functions that are registered as cases."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and any(
            ast.unparse(decorator).startswith("case(") for decorator in node.decorator_list
        ):
            first = min(decorator.lineno for decorator in node.decorator_list)
            yield from range(first, (node.end_lineno or first) + 1)


def _string_lines(text: str) -> Iterator[int]:
    """Yield the lines of strings that are not docstrings."""
    docstrings = {
        node.value.lineno
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.STRING and token.start[0] not in docstrings:
            yield from range(token.start[0], token.end[0] + 1)


def exempt_lines(path: str, text: str) -> Collection[int]:
    """Return the numbers of the lines of a file that are part of the suite digest."""
    if path.startswith(CASES):
        return set(_case_lines(ast.parse(text)))
    if path in VECTOR_WORDS:
        return set(_string_lines(text))
    return ()


def is_checked(path: str) -> bool:
    """Return True if the file at `path`, relative to the root, is held to the list."""
    named = path.endswith(SUFFIXES) or Path(path).name in NAMES
    return named and not path.startswith(EXEMPT)


def problems_of(path: str, text: str) -> Iterator[str]:
    """Yield a line for each banned idiom in the text of the file at `path`."""
    exempt = exempt_lines(path, text)
    advice = tuple(IDIOMS.values())
    for found in PATTERN.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        if line not in exempt:
            words = " ".join(re.split(GAP, found.group()))
            number = (found.lastindex or 1) - 1
            yield f'{path}:{line}: "{words}" is banned: write {advice[number]}'


def main(arguments: list[str] | None = None) -> int:
    """Run the tool; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="the same; for the generators' sake")
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
