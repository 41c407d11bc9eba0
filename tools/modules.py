"""Read the modules of the three packages: their names, syntax trees and imports, never run."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PACKAGE_FOLDERS = {
    "meshwire_spec": "spec",
    "meshwire_reference": "reference",
    "meshwire_conformance": "conformance",
}


@dataclass(frozen=True, slots=True)
class Import:
    """One imported name and the line of the import."""

    name: str
    line: int


@dataclass(frozen=True, slots=True)
class Module:
    """One source file: its dotted name, its path below the root, and its syntax tree."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def is_package(self) -> bool:
        """Return True for an `__init__.py`."""
        return self.path.name == "__init__.py"

    def imports(self) -> Iterator[Import]:
        """Yield every import, also those inside functions and type-checking blocks.

        A relative import is resolved; `from a import b` yields `a.b`, since b may be a module.
        """
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = self._base(node)
                names = [f"{base}.{alias.name}" for alias in node.names]
            else:
                continue
            yield from (Import(name, node.lineno) for name in names)

    def _base(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = self.name.split(".")
        keep = len(parts) - node.level + (1 if self.is_package else 0)
        return ".".join((*parts[:keep], *([node.module] if node.module else [])))


def read_modules(root: Path) -> dict[str, Module]:
    """Return every module of the three packages under `root` by its name."""
    found = {}
    for package, folder in PACKAGE_FOLDERS.items():
        for path in sorted((root / folder / package).rglob("*.py")):
            parts = path.relative_to(root / folder).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
            found[name] = Module(name, path.relative_to(root), tree)
    return found


def is_within(module: str, part: str) -> bool:
    """Return True if `module` is `part` or a module below it."""
    return module == part or module.startswith(f"{part}.")


def resolve(name: str, modules: Mapping[str, Module]) -> str | None:
    """Return the module that an imported name is or comes from, or None for a foreign one."""
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name or None
