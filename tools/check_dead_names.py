"""Find names that nothing uses, with vulture, and compare them with a reviewed list.

Usage: python tools/check_dead_names.py [--check]. Exit status 1 if a name is used by nothing
and is not in tools/dead_names.toml, or an entry of that file is no longer needed.

A name of the packages and tools must be used by them, not only by tests, and a
module or package must be imported by another or by a tool. Names of tests and of
`meshwire_reference.testing`, and of `turns`, may be used by either.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import msgspec
import vulture

from modules import Module, is_within, read_modules, resolve

ROOT = Path(__file__).resolve().parents[1]
LIST = "tools/dead_names.toml"
PRODUCT = (
    "spec/meshwire_spec",
    "reference/meshwire_reference",
    "conformance/meshwire_conformance",
    "conformance/mutants",
    "tools",
)
TESTS = ("spec/tests", "reference/tests", "conformance/tests", "conftest.py")
# Helpers of tests: names in these folders are judged with the tests.
FOR_TESTS = (
    "*/tests/*",
    "*/meshwire_reference/testing/*",
    "*/conftest.py",
    "*/tools/turns.py",
    "*/tools/run_here.py",
)
CONFIDENCE_MIN = 60
# Functions with these decorators are called through a registry.
REGISTERED = [
    "@case",
    "@*_case",
    "@app.command",
    "@app.callback",
    "@*.command",
    "@*.callback",
    "@pytest.*",
]
# pytest calls these by name.
CALLED_BY_PYTEST = ["test_*", "Test*", "pytest_*", "pytestmark"]


class Dead(NamedTuple):
    """A name that nothing uses; `kind` is vulture's word for what it is, or `module`."""

    path: str
    line: int
    kind: str
    name: str


class Allowed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Names that may be used by nothing vulture sees, all for one reason.

    `names`, `path` and `kind` are patterns for the parts of a dead name.
    """

    names: tuple[str, ...]
    reason: str
    path: str = "*"
    kind: str = "*"


class AllowList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file of allowed names."""

    allowed: tuple[Allowed, ...]

    def covers(self, dead: Dead) -> Iterator[tuple[int, str]]:
        """Yield number and pattern of each entry that allows a name."""
        for number, entry in enumerate(self.allowed):
            if fnmatch(dead.path, entry.path) and fnmatch(dead.kind, entry.kind):
                for pattern in entry.names:
                    if fnmatch(dead.name, pattern):
                        yield number, pattern


def read_list(path: Path) -> AllowList:
    """Return the allowed names; raises msgspec.ValidationError for a file of another form."""
    return msgspec.toml.decode(path.read_bytes(), type=AllowList)


def _is_for_tests(path: str) -> bool:
    return any(fnmatch(f"/{path}", pattern) for pattern in FOR_TESTS)


def _unused(root: Path, paths: Iterable[Path]) -> Iterator[Dead]:
    scan = vulture.Vulture(ignore_names=CALLED_BY_PYTEST, ignore_decorators=REGISTERED)
    scan.scavenge([str(path) for path in paths])
    for item in scan.get_unused_code(min_confidence=CONFIDENCE_MIN):
        path = str(item.filename.relative_to(root))
        yield Dead(path, item.first_lineno, item.typ, item.name)


def _unimported(root: Path) -> Iterator[Dead]:
    """Yield the modules and packages that neither another one nor a tool imports.

    An import inside the package does not count. A package is omitted if one of its modules is
    reported already.
    """
    modules = read_modules(root)
    tools = [
        Module(path.stem, path, ast.parse(path.read_text(encoding="utf-8")))
        for path in sorted((root / "tools").rglob("*.py"))
        if not path.match("*/tests/*")
    ]
    imports = {
        (module.name, target)
        for module in [*modules.values(), *tools]
        for item in module.imports()
        if (target := resolve(item.name, modules)) and target != module.name
    }
    packages = {name for name, module in modules.items() if module.is_package}
    dead = modules.keys() - packages - {target for _, target in imports}
    dead |= {
        package
        for package in packages
        if not any(is_within(name, package) for name in dead)
        and all(is_within(by, package) or not is_within(of, package) for by, of in imports)
    }
    for name in sorted(dead):
        yield Dead(str(modules[name].path), 1, "module", name)


def dead_names(root: Path) -> list[Dead]:
    """Return the names of product and tests below `root` that nothing uses."""
    product = [
        path
        for folder in PRODUCT
        for path in sorted((root / folder).rglob("*.py"))
        if not path.match("*/tests/*")
    ]
    tests = [path for folder in (*TESTS, "tools/tests") for path in _files(root / folder)]
    return [
        *(dead for dead in _unused(root, product) if not _is_for_tests(dead.path)),
        *(dead for dead in _unused(root, [*product, *tests]) if _is_for_tests(dead.path)),
        *(dead for dead in _unimported(root) if not _is_for_tests(dead.path)),
    ]


def _files(place: Path) -> list[Path]:
    return [place] if place.is_file() else sorted(place.rglob("*.py"))


def problems_of(names: Sequence[Dead], allowed: AllowList) -> Iterator[str]:
    """Yield the dead names that are not allowed, and the entries of the list that allow nothing."""
    needed = set()
    for dead in names:
        covering = list(allowed.covers(dead))
        needed.update(covering)
        if not covering:
            yield f"{dead.path}:{dead.line}: nothing uses the {dead.kind} {dead.name}"
    for number, entry in enumerate(allowed.allowed):
        if not entry.reason.strip():
            yield f"{LIST}: {', '.join(entry.names)} have no reason"
        for pattern in entry.names:
            if (number, pattern) not in needed:
                yield f"{LIST}: {pattern} ({entry.path}) allows nothing: remove it"


def main(arguments: list[str] | None = None) -> int:
    """Run the tool; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="no effect; accepted as for generators"
    )
    parser.add_argument("--root", type=Path, default=ROOT)
    options = parser.parse_args(arguments)
    root: Path = options.root
    problems = list(problems_of(dead_names(root), read_list(root / LIST)))
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
