"""The map of the Python cases: a table with a row for each module, under the page of most cases.

`make_index.py` writes it, so it is as old as the index at most.
"""

import ast
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from meshwire_conformance.catalogue.case import HARNESS, Case
from meshwire_conformance.catalogue.data_files import PACKAGE
from meshwire_conformance.catalogue.python_cases import PythonCase

FOLDER = PACKAGE / "cases"
MAP_FILE = FOLDER / "README.md"
ADAPTER = "adapter"
"""The module with the cases of the harness, which are no functions."""
HEAD = """\
# The cases in Python

A case is here if it needs a loop or a branch; every other one is a transcript in `vectors/`.
Each module is listed once, under the page that most of its cases belong to.
`python tools/make_index.py` writes this file.
"""


def map_text(cases: Iterable[Case], folder: Path = FOLDER) -> str:
    """Return the map of every module in the folder, with those of the cases that it has."""
    of_module: dict[str, list[Case]] = {path.stem: [] for path in sorted(folder.glob("[!_]*.py"))}
    for case in cases:
        name = _module_of(case)
        if name is not None:
            of_module[name].append(case)
    pages = {name: _page_of(found) for name, found in of_module.items()}
    lines = [HEAD]
    for page in sorted(set(pages.values())):
        lines += [
            f"## {page}\n",
            "| Module | Its subject | Rules | Cases |",
            "| --- | --- | --- | --- |",
        ]
        lines += [
            _row(name, summary_of(folder / f"{name}.py"), found)
            for name, found in of_module.items()
            if pages[name] == page
        ]
        lines.append("")
    return "\n".join(lines)


def _module_of(case: Case) -> str | None:
    if isinstance(case.body, PythonCase):
        return case.body.run.__module__.rpartition(".")[2]
    return ADAPTER if case.kind == HARNESS else None


def _page_of(cases: Iterable[Case]) -> str:
    """Return the page that most cases belong to, the first in the alphabet of several."""
    counts = Counter(case.part for case in cases)
    return min(counts, key=lambda page: (-counts[page], page), default="what several modules use")


def summary_of(path: Path) -> str:
    """Return the first paragraph of a module's docstring, without what most begin with."""
    found = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    line = " ".join(found.partition("\n\n")[0].split()).removesuffix(".")
    return line.removeprefix("Cases about ")


def _row(name: str, summary: str, cases: list[Case]) -> str:
    rules = sorted({rule for case in cases for rule in case.rules})
    ids = ", ".join(_ranges(sorted(case.id for case in cases)))
    return f"| [`{name}.py`]({name}.py) | {summary} | {', '.join(rules)} | {ids} |"


def _ranges(ids: list[str]) -> Iterator[str]:
    """Yield ids, those in a row as the first and the last."""
    at = 0
    while at < len(ids):
        end = at
        while end + 1 < len(ids) and _number(ids[end + 1]) == _number(ids[end]) + 1:
            end += 1
        yield ids[at] if end == at else f"{ids[at]} to {ids[end]}"
        at = end + 1


def _number(case_id: str) -> int:
    return int(case_id.rpartition("-")[2])
