"""Find names that nothing uses, with vulture, and hold them to a reviewed list.

Usage: python tools/check_dead_names.py [--check]. Exit status 1 where a name is used by nothing
and is not in tools/dead_names.toml, or an entry of that file is no longer needed.

A name of the packages and tools must be used by them: tests alone do not keep it alive. Names of
tests and of `meshwire_reference.testing` may be used by either.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

import msgspec
import vulture

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
# Helpers of tests: what is in these folders is judged with the tests.
FOR_TESTS = ("*/tests/*", "*/meshwire_reference/testing/*", "*/conftest.py")
CONFIDENCE_MIN = 60
# What these decorators are put on is called by those who read the registry.
REGISTERED = ["@case", "@app.command", "@app.callback", "@*.command", "@*.callback", "@pytest.*"]
# pytest calls these by name.
CALLED_BY_PYTEST = ["test_*", "Test*", "pytest_*", "pytestmark"]


class Allowed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Names that may be used by nothing vulture sees, all for one reason.

    `names` and `path` are patterns; `kind` is vulture's word for what the name is.
    """

    names: tuple[str, ...]
    reason: str
    path: str = "*"
    kind: str = "*"


class AllowList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file of allowed names."""

    allowed: tuple[Allowed, ...]

    def covers(self, item: vulture.core.Item, path: str) -> Iterator[tuple[int, str]]:
        """Yield number and pattern of each entry that allows a name of the file at `path`."""
        for number, entry in enumerate(self.allowed):
            if fnmatch(path, entry.path) and fnmatch(item.typ, entry.kind):
                for pattern in entry.names:
                    if fnmatch(item.name, pattern):
                        yield number, pattern


def read_list(path: Path) -> AllowList:
    """Return the allowed names; raises msgspec.ValidationError for a file of another form."""
    return msgspec.toml.decode(path.read_bytes(), type=AllowList)


def _is_for_tests(path: Path) -> bool:
    return any(fnmatch(str(path), pattern) for pattern in FOR_TESTS)


def _unused(paths: Iterable[Path]) -> Iterator[vulture.core.Item]:
    scan = vulture.Vulture(ignore_names=CALLED_BY_PYTEST, ignore_decorators=REGISTERED)
    scan.scavenge([str(path) for path in paths])
    yield from scan.get_unused_code(min_confidence=CONFIDENCE_MIN)


def dead_names(root: Path) -> list[vulture.core.Item]:
    """Return the names of product and tests below `root` that nothing uses."""
    product = [
        path
        for folder in PRODUCT
        for path in sorted((root / folder).rglob("*.py"))
        if not path.match("*/tests/*")
    ]
    tests = [path for folder in (*TESTS, "tools/tests") for path in _files(root / folder)]
    return [
        *(item for item in _unused(product) if not _is_for_tests(item.filename)),
        *(item for item in _unused([*product, *tests]) if _is_for_tests(item.filename)),
    ]


def _files(place: Path) -> list[Path]:
    return [place] if place.is_file() else sorted(place.rglob("*.py"))


def problems_of(
    root: Path, names: Sequence[vulture.core.Item], allowed: AllowList
) -> Iterator[str]:
    """Yield the dead names that are not allowed, and the entries of the list that allow nothing."""
    needed = set()
    for item in names:
        path = str(item.filename.relative_to(root))
        covering = list(allowed.covers(item, path))
        needed.update(covering)
        if not covering:
            yield f"{path}:{item.first_lineno}: nothing uses the {item.typ} {item.name}"
    for number, entry in enumerate(allowed.allowed):
        if not entry.reason.strip():
            yield f"{LIST}: {', '.join(entry.names)} have no reason"
        for pattern in entry.names:
            if (number, pattern) not in needed:
                yield f"{LIST}: {pattern} ({entry.path}) allows nothing: remove it"


def main(arguments: list[str] | None = None) -> int:
    """Run the tool; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="the same; for the generators' sake")
    parser.add_argument("--root", type=Path, default=ROOT)
    options = parser.parse_args(arguments)
    root: Path = options.root
    problems = list(problems_of(root, dead_names(root), read_list(root / LIST)))
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
