"""Compare the diagram of packages in ARCHITECTURE.md with the imports of the code.

The diagram is the Mermaid block whose first line is `graph`. A line `a --> b & c` says that
package a imports from b and c; `a["text"]` alone names a package that imports nothing. Names are
module names without the prefix `meshwire_`. A module belongs to the longest name drawn that holds
it; plain modules at the top of a package need no name of their own. A comment
`%% left out: a` names a module to and from which no arrow is drawn.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from modules import Module, is_within, resolve

MAP = "ARCHITECTURE.md"
PREFIX = "meshwire_"
BLOCK = re.compile(r"^```mermaid\ngraph [A-Z]{2}\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
NAME = re.compile(r"^(?P<name>[a-z_]+(?:\.[a-z_]+)*)(?:\[.*\])?$")
LEFT_OUT = re.compile(r"^%% left out: (?P<name>[a-z_.]+)$")
SKIPPED = re.compile(r"^(?:subgraph .*|end|direction [A-Z]{2}|%%.*)?$")
ARROW = "-->"


class MapError(Exception):
    """The diagram has a line that is no arrow, name or comment."""


def _names(text: str) -> list[str]:
    names = []
    for part in text.split("&"):
        match = NAME.match(part.strip())
        if match is None:
            raise MapError(f"not a name of a package: {part.strip()!r}")
        names.append(match["name"])
    return names


@dataclass(slots=True)
class PackageMap:
    """The names and arrows of a diagram, and the modules that it leaves out."""

    drawn: set[str] = field(default_factory=set)
    arrows: set[tuple[str, str]] = field(default_factory=set)
    left_out: set[str] = field(default_factory=set)

    def owner(self, module: str) -> str | None:
        """Return the longest drawn name that holds a module; None if there is none, or left out."""
        short = module.removeprefix(PREFIX)
        names = self.drawn | self.left_out
        found = max((name for name in names if is_within(short, name)), key=len, default=None)
        return None if found in self.left_out else found


def parse_map(text: str) -> PackageMap:
    """Return the diagram of the page; raises MapError for an odd line."""
    match = BLOCK.search(text)
    if match is None:
        raise MapError("no Mermaid block that begins with `graph`")
    found = PackageMap()
    for line in map(str.strip, match["body"].splitlines()):
        if left_out := LEFT_OUT.match(line):
            found.left_out.add(left_out["name"])
        elif not SKIPPED.match(line):
            left, arrow, right = line.partition(ARROW)
            sources, targets = _names(left), _names(right) if arrow else []
            found.drawn.update(sources, targets)
            found.arrows |= {(source, target) for source in sources for target in targets}
    return found


def undrawn(modules: Mapping[str, Module], shown: PackageMap) -> Iterator[str]:
    """Yield the packages with modules that no drawn name holds, and names that hold nothing."""
    packages = {module.name for module in modules.values() if module.is_package}
    for package in sorted(packages):
        if shown.owner(package) is None and "." in package:
            yield f"{MAP}: the map does not show the package {package}"
    for name in sorted(shown.drawn | shown.left_out):
        if f"{PREFIX}{name}" not in modules:
            yield f"{MAP}: the map shows {name}, which does not exist"


def imported_arrows(
    modules: Mapping[str, Module], shown: PackageMap
) -> dict[tuple[str, str], tuple[Path, int]]:
    """Return the arrows between drawn packages in the code, each with one import that proves it."""
    found: dict[tuple[str, str], tuple[Path, int]] = {}
    for module in modules.values():
        source = shown.owner(module.name)
        for item in module.imports():
            target_module = resolve(item.name, modules)
            target = shown.owner(target_module) if target_module else None
            if source and target and source != target:
                found.setdefault((source, target), (module.path, item.line))
    return found


def map_lines(root: Path, modules: Mapping[str, Module]) -> list[str]:
    """Return the lines of the diagram as the code has them, for the packages that are drawn."""
    shown = parse_map((root / MAP).read_text(encoding="utf-8"))
    coded = imported_arrows(modules, shown)
    lines = []
    for name in sorted(shown.drawn):
        targets = sorted(target for source, target in coded if source == name)
        lines.append(f"{name} {ARROW} {' & '.join(targets)}" if targets else name)
    return lines


def map_problems(root: Path, modules: Mapping[str, Module]) -> list[str]:
    """Return each difference between the diagram below `root` and the imports of `modules`."""
    page = root / MAP
    try:
        shown = parse_map(page.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return [f"{MAP} is missing: it holds the map of the packages"]
    except MapError as error:
        return [f"{MAP}: {error}"]
    coded = imported_arrows(modules, shown)
    problems = list(undrawn(modules, shown))
    problems += [
        f"{path}:{line}: {source} --> {target} is not in {MAP}"
        for (source, target), (path, line) in sorted(coded.items())
        if (source, target) not in shown.arrows
    ]
    problems += [
        f"{MAP}: {source} --> {target} is drawn, and the code has no such import"
        for source, target in sorted(shown.arrows - coded.keys())
    ]
    return problems
