"""Check that citations name existing rules, cases, files, modules, classes and functions.

Read are the pages, README, ARCHITECTURE, CONTRIBUTING and the READMEs of folders, comments and
docstrings of every Python file, and comments of TOML files. A citation is

- a rule id (FR-004) or a case id (MW-1001) anywhere in them;
- the id of a row of the inventory (A-01), and in Python a letter with a digit (H1);
- the id of a deployed defect (D-01), there and in the vectors and the TOML files of the suite;
- a path below one of our top folders, or in Markdown any name in backticks that ends like a file
  or folder of ours (`numbers.py`, `layouts/`); `NAME.py::Name.method` names something in the file;
- a page or a Python file in backticks (`README.md`, `peer/inbound.py`), also in Python;
- any path with a slash that ends in .py;
- in backticks a target of the Makefile (`make check`);
- a dotted name of one of our packages (meshwire_reference.core.node), members included;
- in backticks a class after its module (`fields.Block`) or, in Python, alone (`Block`), members
  included.

A rule that a socket can show is cited by a comment of the reference, above the line that
implements it; UNCITED lists those that no line implements.

Usage: python tools/check_citations.py. Exit status 1 if a citation names nothing or one is
missing, if the ledger of defects has no row or no status for one, or if a rule is excluded
for a reason that no longer holds (see `exclusions`).
"""

from __future__ import annotations

import argparse
import ast
import builtins
import io
import re
import sys
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from exclusions import exclusion_problems
from pages import SPEC, PageRule, all_rules, anchors_of
from repository import Repository
from tracing import CASES, VECTORS, data_cases, python_cases

ROOT = SPEC.parent
PAGES = ("spec/*.md", "*.md", "conformance/**/*.md", "vectors/**/*.md", "tools/**/*.md")
TOML = ("pyproject.toml", "conformance/**/*.toml", "tools/*.toml")
TOML_COMMENT = re.compile(r"(?:^|\s)#\s.*")
DATA = ("vectors/**/*.json", "conformance/**/*.toml")
LEDGER = Path("spec/93-deployed.md")
DEFECTS = 171
COLUMNS = ("Deployed peers", "Consequence", "A correct node", "Rule")
# It names things that no longer exist.
HISTORY = ("CHANGELOG.md",)
RULE = re.compile(r"\b(?!MW-)[A-Z]{2}-\d{3}\b")
CASE = re.compile(r"\bMW-\d{4,}\b")
DEFECT = re.compile(r"\bD-\d+\b")
INVENTORY = Path("spec/94-inventory.md")
INVENTORY_ROW = re.compile(r"^\| ([A-Z]-\d{2,3}) \|", re.MULTILINE)
# A row of the inventory, or a name like the dialects' below.
SHORT = re.compile(r"(?<![\w.#/-])(?!D-)[A-Z](?:-\d{2,3}|\d)\b(?![\w-])")
# Dialects of the handshake, and the version of negentropy.
SHORT_NAMES = frozenset(("H1", "H2", "V1"))
ROW = re.compile(r"^\| \*\*(?P<id>D-\d+)\*\*\{#(?P=id)\}[^|]*\|(?P<cells>.*)\|$", re.MULTILINE)
STATUS = re.compile(r"\[[A-Z]{2}-\d{3}\]\(|part not written yet \(|no rule: ")
PATH = re.compile(
    r"\b(?P<path>(?:spec|reference|conformance|vectors|tools)/[\w./-]*\w/?)(?:::(?P<name>[\w.:]+))?"
)
SHORT_PATH = re.compile(
    r"^(?P<path>\w[\w.-]*(?:/[\w.-]+)*(?:/|\.(?:py|json|toml|md|txt|yaml)))(?:::(?P<name>[\w.:]+))?$"
)
PYTHON = re.compile(r"(?<![\w./*<{-])(?P<path>\w[\w-]*(?:/[\w-]+)+\.py)\b(?:::(?P<name>[\w.:]+))?")
DOTTED = re.compile(r"\bmeshwire_(?:spec|reference|conformance)(?:\.\w+)+")
CLASS = re.compile(
    r"^(?:(?P<module>[a-z_]+(?:\.[a-z_]+)*)\.)?(?P<name>[A-Z]\w*[a-z]\w*(?:\.\w+)*)$"
)
UNTIL = re.compile(r"; until: [^;]+")
QUOTED = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
MAKE = re.compile(r"^make (?P<target>[a-z][\w-]*)(?= |$)")
TARGET = re.compile(r"^([a-z][\w-]*)(?: [a-z][\w -]*)?:", re.MULTILINE)
PLACEHOLDER = "NAME"
# Rules about the node as a whole, or about what it does not do: no single line implements them.
UNCITED = frozenset(
    ("TR-001", "TR-007", "TR-009", "TR-010", "TR-011", "TR-022", "BT-019", "BT-035", "TS-011",
     "TS-027", "TS-034", "NG-023", "HS-037", "HS-044", "DC-015", "DC-016", "DC-037", "ER-013",
     "ER-015", "ER-016", "ER-017"),
)  # fmt: skip
# Names of other projects that comments use and no import of ours mentions.
FOREIGN = frozenset(("Debug", "PanicException", "Struct"))


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of prose: a line of a page, a comment, or a docstring, with its first line number."""

    path: Path
    line: int
    text: str
    is_page: bool


def page_texts(root: Path) -> Iterator[Text]:
    """Yield the lines of the pages, without names that an exclusion declares missing."""
    for pattern in PAGES:
        for path in sorted(root.glob(pattern)):
            shown = path.relative_to(root)
            if not any(shown.match(old) for old in HISTORY):
                for number, line in enumerate(path.read_text().splitlines(), 1):
                    yield Text(shown, number, UNTIL.sub("", line), is_page=True)


def code_texts(repository: Repository, folder: Path = Path()) -> Iterator[Text]:
    """Yield comments and docstrings of the Python files below a folder."""
    for path, source in repository.sources.items():
        if not path.is_relative_to(folder) or any(path.match(old) for old in HISTORY):
            continue
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT:
                yield Text(path, token.start[0], token.string, is_page=False)
        for node in ast.walk(repository.tree(path)):
            # A string statement is a docstring, also one below a constant.
            match node:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    yield Text(path, node.lineno, text, is_page=False)


def toml_texts(root: Path) -> Iterator[Text]:
    """Yield the comments of TOML files."""
    for pattern in TOML:
        for path in sorted(root.glob(pattern)):
            for number, line in enumerate(path.read_text().splitlines(), 1):
                if match := TOML_COMMENT.search(line):
                    yield Text(path.relative_to(root), number, match[0], is_page=False)


def data_texts(root: Path) -> Iterator[Text]:
    """Yield the lines of vectors and of the suite's TOML files that name a defect."""
    for pattern in DATA:
        for path in sorted(root.glob(pattern)):
            for number, line in enumerate(path.read_text().splitlines(), 1):
                if DEFECT.search(line):
                    yield Text(path.relative_to(root), number, line, is_page=False)


def ledger_ids(root: Path) -> set[str]:
    """Return the ids of the defects that the ledger has an anchor for."""
    path = root / LEDGER
    anchors = anchors_of(path.read_text()) if path.exists() else ()
    return {name for name in anchors if DEFECT.fullmatch(name)}


def defect_problems(text: Text, defects: set[str]) -> Iterator[str]:
    """Yield the ids of defects that the ledger does not have."""
    cited = dict.fromkeys(DEFECT.findall(text.text))
    yield from (f"no defect {name}" for name in cited if name not in defects)


def inventory_ids(root: Path) -> set[str]:
    """Return the ids of the rows of the inventory."""
    path = root / INVENTORY
    return set(INVENTORY_ROW.findall(path.read_text())) if path.exists() else set()


def short_problems(text: Text, known: set[str]) -> Iterator[str]:
    """Yield the short names, such as A-01 or H1, that name no row of the inventory and no dialect.

    A letter and a digit mean something else on pages, which show code.
    """
    for name in dict.fromkeys(SHORT.findall(text.text)):
        if name not in known and ("-" in name or not text.is_page):
            yield f"nothing is called {name}"


def ledger_problems(page: str) -> Iterator[str]:
    """Yield the defects without a row of four cells, the last of which is a status."""
    rows = {match["id"]: match["cells"].split("|") for match in ROW.finditer(page)}
    for name in (f"D-{number:02d}" for number in range(1, DEFECTS + 1)):
        cells = [cell.strip() for cell in rows.get(name, ())]
        if not cells:
            yield f"{LEDGER}: no row for {name}"
        elif len(cells) != len(COLUMNS) or not all(cells):
            yield f"{LEDGER}: {name} has an empty cell, or not four after its id"
        elif not STATUS.match(cells[-1]):
            yield f"{LEDGER}: {name} names no rule, no missing part, and not why there is no rule"


def rule_problems(text: Text, rules: set[str], cases: set[str]) -> Iterator[str]:
    """Yield the ids that no page and no case has."""
    yield from (f"no rule {name}" for name in RULE.findall(text.text) if name not in rules)
    yield from (f"no case {name}" for name in CASE.findall(text.text) if name not in cases)


def path_problems(text: Text, repository: Repository) -> Iterator[str]:
    """Yield the paths that do not exist, and the names that their files do not define."""
    found = list(PATH.finditer(text.text))
    quoted = [word for quote in QUOTED.findall(text.text) for word in quote.split()]
    short = [match for word in quoted if (match := SHORT_PATH.match(word))]
    found += PYTHON.finditer(text.text)
    found += [match for match in short if text.is_page or match["path"].endswith((".md", ".py"))]
    for path, name in dict.fromkeys((match["path"], match["name"]) for match in found):
        if PLACEHOLDER in path:
            continue
        candidates = repository.paths_ending(path)
        if not candidates:
            yield f"no file or folder {path}"
        elif name and not any(repository.defines(one, name) for one in candidates):
            yield f"{path} defines no {name}"


def make_problems(text: Text, targets: set[str]) -> Iterator[str]:
    """Yield the targets that the Makefile does not have."""
    for quote in QUOTED.findall(text.text):
        match = MAKE.match(quote)
        if match and match["target"] not in targets:
            yield f"no target {match['target']} in the Makefile"


def make_targets(root: Path) -> set[str]:
    """Return the targets of the Makefile."""
    path = root / "Makefile"
    return set(TARGET.findall(path.read_text())) if path.exists() else set()


def name_problems(text: Text, repository: Repository) -> Iterator[str]:
    """Yield the modules, classes and members that do not exist."""
    for name in DOTTED.findall(text.text):
        if not repository.resolves(name):
            yield f"no {name}"
    for quote in QUOTED.findall(text.text):
        match = CLASS.match(quote)
        if match is None:
            continue
        module, name = match["module"], match["name"]
        if text.is_page and not module and name.partition(".")[0] not in repository.bases:
            continue
        if module and repository.modules_ending(module):
            if not any(repository.defines(one, name) for one in repository.modules_ending(module)):
                yield f"no {quote}"
        elif not module and not _is_known(name, repository):
            yield f"no class {name}"
        elif module and module.split(".")[0] not in repository.imported:
            yield f"no module {module}"


def _is_known(name: str, repository: Repository) -> bool:
    first, _, member = name.partition(".")
    if member and first in repository.bases:
        return repository.has_member(first, member)
    if member:
        return first in repository.imported or any(
            repository.defines(path, name) for path in repository.sources
        )
    known = first in repository.names or first in repository.imported
    return known or hasattr(builtins, first) or first in FOREIGN


def problems_of(repository: Repository, rules: Sequence[PageRule], cases: set[str]) -> list[str]:
    """Return every citation of a checkout that names nothing."""
    alive = {rule.id for rule in rules if rule.level != "withdrawn"}
    known = {rule.id for rule in rules}
    defects = ledger_ids(repository.root)
    short = inventory_ids(repository.root) | SHORT_NAMES
    targets = make_targets(repository.root)
    found = [
        (text, problem)
        for text in [
            *page_texts(repository.root),
            *code_texts(repository),
            *toml_texts(repository.root),
        ]
        for problem in [
            *rule_problems(text, known if text.is_page else alive, cases),
            *defect_problems(text, defects),
            *short_problems(text, short),
            *path_problems(text, repository),
            *make_problems(text, targets),
            *name_problems(text, repository),
        ]
    ]
    found += [
        (text, problem)
        for text in data_texts(repository.root)
        for problem in defect_problems(text, defects)
    ]
    return [f"{text.path}:{text.line}: {problem}" for text, problem in found]


def uncited(repository: Repository, rules: Sequence[PageRule]) -> Iterator[str]:
    """Yield the rules that a socket can show and no comment of the reference cites."""
    cited = {
        name
        for text in code_texts(repository, Path("reference/meshwire_reference"))
        for name in RULE.findall(text.text)
    }
    for rule in rules:
        if "socket" in rule.seen and rule.id not in cited | UNCITED:
            yield f"{rule.page}: no comment of the reference cites {rule.id}: {rule.text}"
        if rule.id in cited & UNCITED:
            yield f"{rule.id} is cited: take it off UNCITED"


def main(arguments: list[str] | None = None) -> int:
    """Run the tool; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--check", action="store_true", help="no effect; accepted as for generators"
    )
    parser.parse_args(arguments)
    rules = all_rules()
    cases = {case.id for case in [*data_cases(VECTORS), *python_cases(CASES)]}
    repository = Repository(ROOT)
    problems = [
        *problems_of(repository, rules, cases),
        *uncited(repository, rules),
        *ledger_problems((ROOT / LEDGER).read_text()),
        *exclusion_problems(rules, repository),
    ]
    for line in problems:
        print(line)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
