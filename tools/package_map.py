"""Compare the diagram of packages in ARCHITECTURE.md with the imports of the code.

The diagram is the Mermaid block whose first line is `graph`. A line `a --> b & c` says that
package a imports from b and c; `a["text"]` alone names a package that imports nothing. Names are
module names without the prefix `meshwire_`. A module belongs to the longest name drawn that holds
it; plain modules at the top of a package need no name of their own.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from modules import Module, is_within, resolve

MAP = "ARCHITECTURE.md"
PREFIX = "meshwire_"
BLOCK = re.compile(r"^```mermaid\ngraph [A-Z]{2}\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
NAME = re.compile(r"^(?P<name>[a-z_]+(?:\.[a-z_]+)*)(?:\[.*\])?$")
SKIPPED = re.compile(r"^(?:subgraph .*|end|direction [A-Z]{2}|%%.*)?$")
ARROW = "-->"


class MapError(Exception):
    """The diagram holds a line that is no arrow, name or comment."""


def _names(text: str) -> list[str]:
    names = []
    for part in text.split("&"):
        match = NAME.match(part.strip())
        if match is None:
            raise MapError(f"not a name of a package: {part.strip()!r}")
        names.append(match["name"])
    return names


def parse_map(text: str) -> tuple[set[str], set[tuple[str, str]]]:
    """Return the drawn packages and arrows of the page; raises MapError for an odd line."""
    match = BLOCK.search(text)
    if match is None:
        raise MapError("no Mermaid block that begins with `graph`")
    drawn: set[str] = set()
    arrows: set[tuple[str, str]] = set()
    for line in match["body"].splitlines():
        if SKIPPED.match(line.strip()):
            continue
        left, arrow, right = line.partition(ARROW)
        sources, targets = _names(left), _names(right) if arrow else []
        drawn.update(sources, targets)
        arrows |= {(source, target) for source in sources for target in targets}
    return drawn, arrows


def owner(module: str, drawn: set[str]) -> str | None:
    """Return the longest drawn name that holds `module`, or None."""
    short = module.removeprefix(PREFIX)
    return max((name for name in drawn if is_within(short, name)), key=len, default=None)


def undrawn(modules: Mapping[str, Module], drawn: set[str]) -> Iterator[str]:
    """Yield the packages with modules that no drawn name holds, and names that hold nothing."""
    packages = {module.name for module in modules.values() if module.is_package}
    for package in sorted(packages):
        if owner(package, drawn) is None and "." in package:
            yield f"{MAP}: the map does not show the package {package}"
    for name in sorted(drawn):
        if f"{PREFIX}{name}" not in modules:
            yield f"{MAP}: the map shows {name}, which does not exist"


def imported_arrows(
    modules: Mapping[str, Module], drawn: set[str]
) -> dict[tuple[str, str], tuple[Path, int]]:
    """Return the arrows between drawn packages in the code, each with one import behind it."""
    found: dict[tuple[str, str], tuple[Path, int]] = {}
    for module in modules.values():
        source = owner(module.name, drawn)
        for item in module.imports():
            target_module = resolve(item.name, modules)
            target = owner(target_module, drawn) if target_module else None
            if source and target and source != target:
                found.setdefault((source, target), (module.path, item.line))
    return found


def map_lines(root: Path, modules: Mapping[str, Module]) -> list[str]:
    """Return the lines of the diagram as the code has them, for the packages that are drawn."""
    drawn, _ = parse_map((root / MAP).read_text(encoding="utf-8"))
    coded = imported_arrows(modules, drawn)
    targets = {name: sorted(target for source, target in coded if source == name) for name in drawn}
    return [
        f"{name} {ARROW} {' & '.join(targets[name])}" if targets[name] else name
        for name in sorted(drawn)
    ]


def map_problems(root: Path, modules: Mapping[str, Module]) -> list[str]:
    """Return each difference between the diagram below `root` and the imports of `modules`."""
    page = root / MAP
    try:
        drawn, arrows = parse_map(page.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return [f"{MAP} is missing: it holds the map of the packages"]
    except MapError as error:
        return [f"{MAP}: {error}"]
    coded = imported_arrows(modules, drawn)
    problems = list(undrawn(modules, drawn))
    problems += [
        f"{path}:{line}: {source} --> {target} is not in {MAP}"
        for (source, target), (path, line) in sorted(coded.items())
        if (source, target) not in arrows
    ]
    problems += [
        f"{MAP}: {source} --> {target} is drawn, and the code has no such import"
        for source, target in sorted(arrows - coded.keys())
    ]
    return problems
