"""The contents of the checkout, by name: files, folders, and the definitions of Python files."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator
from functools import cache, cached_property
from pathlib import Path

from modules import PACKAGE_FOLDERS

# Made by tools or by git, never cited.
SKIPPED = frozenset((".git", "__pycache__", "build", "dist", "site", "target"))
# Foreign base classes without members that a text would cite.
EMPTY_BASES = frozenset(("ABC", "Generic", "Protocol", "object"))


class Repository:
    """A checkout. Paths are relative to its root."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def files(self) -> frozenset[str]:
        """Every file, without hidden folders of tools."""
        found = []
        for folder, names, files in os.walk(self.root):
            names[:] = [
                name
                for name in names
                if name not in SKIPPED and (not name.startswith(".") or name == ".ci")
            ]
            place = Path(folder).relative_to(self.root)
            found += [str(place / name) for name in files]
        return frozenset(found)

    @cached_property
    def folders(self) -> frozenset[str]:
        """Every folder that contains a file."""
        return frozenset(str(parent) for name in self.files for parent in Path(name).parents)

    @cached_property
    def sources(self) -> dict[Path, str]:
        """The text of every Python file."""
        return {
            Path(name): (self.root / name).read_text(encoding="utf-8")
            for name in sorted(self.files)
            if name.endswith(".py")
        }

    @cache  # noqa: B019 - a tool makes one repository and ends
    def tree(self, path: Path) -> ast.Module:
        """Return the syntax tree of a Python file."""
        return ast.parse(self.sources[path])

    @cache  # noqa: B019 - as above
    def members(self, path: Path) -> frozenset[str]:
        """Return the definitions of a file: top-level names, and members after their class."""
        return frozenset(_members(self.tree(path).body))

    @cached_property
    def names(self) -> frozenset[str]:
        """Every name that a file defines at its top level."""
        return frozenset(name for path in self.sources for name in self.members(path))

    @cached_property
    def bases(self) -> dict[str, set[str]]:
        """The classes that files define at their top level, each with its base classes by name."""
        found: dict[str, set[str]] = {}
        for path in self.sources:
            for node in self.tree(path).body:
                if isinstance(node, ast.ClassDef):
                    # `Generic[T]` is Generic, `ast.NodeVisitor` is NodeVisitor.
                    names = (ast.unparse(base).partition("[")[0] for base in node.bases)
                    found.setdefault(node.name, set()).update(n.rpartition(".")[2] for n in names)
        return found

    def has_member(self, name: str, member: str) -> bool:
        """Return True if a class of this name has the member, or inherits from a foreign class.

        Of `member` only the part before a dot is looked for.
        """
        if name not in self.bases:
            return name not in EMPTY_BASES
        return f"{name}.{member.partition('.')[0]}" in self.names or any(
            base == name or self.has_member(base, member) for base in self.bases[name]
        )

    @cached_property
    def imported(self) -> frozenset[str]:
        """Names bound by imports, foreign packages and standard modules."""
        found = set(sys.stdlib_module_names)
        for path in self.sources:
            for node in ast.walk(self.tree(path)):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    found |= {alias.asname or alias.name for alias in node.names}
                    found |= {alias.name.split(".")[0] for alias in node.names}
                    found.add((getattr(node, "module", None) or "").split(".")[0])
        return frozenset(found)

    @cache  # noqa: B019 - as above
    def paths_ending(self, path: str) -> list[Path]:
        """Return the files and folders whose path is `path` or ends with it."""
        wanted = path.removesuffix("/")
        places = self.folders if path.endswith("/") else self.files | self.folders
        return [Path(one) for one in places if one == wanted or one.endswith(f"/{wanted}")]

    @cache  # noqa: B019 - as above
    def modules_ending(self, name: str) -> list[Path]:
        """Return the files of the modules whose dotted name ends with `name`."""
        place = name.replace(".", "/")
        return [
            path
            for ending in (f"{place}.py", f"{place}/__init__.py")
            for path in self.paths_ending(ending)
        ]

    def defines(self, path: Path, name: str) -> bool:
        """Return True if the file defines `name`, also a member after its class."""
        return path in self.sources and name.replace("::", ".") in self.members(path)

    def resolves(self, name: str) -> bool:
        """Return True if a dotted name of one of our packages is a module or a member of one."""
        package, *rest = name.split(".")
        place = Path(PACKAGE_FOLDERS[package], package)
        for index, part in enumerate(rest):
            if str(place / part) in self.folders:
                place /= part
                continue
            if str(place / f"{part}.py") in self.files:
                place, rest = place / f"{part}.py", rest[index + 1 :]
            else:
                place, rest = place / "__init__.py", rest[index:]
            return not rest or self.defines(place, ".".join(rest))
        return True

    @cached_property
    def _said(self) -> dict[Path, str]:
        """The strings and names in the code of the packages, by file."""
        packages = [Path(folder, package) for package, folder in PACKAGE_FOLDERS.items()]
        return {
            path: "\n".join(_texts(self.tree(path)))
            for path in self.sources
            if any(path.is_relative_to(package) for package in packages)
        }

    def says(self, word: str) -> str | None:
        """Return a file of the packages whose code has `word` in a string or as a name, or None."""
        return next((str(path) for path, said in self._said.items() if word in said), None)


def _members(body: list[ast.stmt], prefix: str = "") -> Iterator[str]:
    for node in body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield prefix + name
            case ast.ClassDef(name=name):
                yield prefix + name
                yield from _members(node.body, f"{prefix}{name}.")
            case ast.Assign(targets=targets):
                for target in targets:
                    yield from (
                        prefix + one.id for one in ast.walk(target) if isinstance(one, ast.Name)
                    )
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield prefix + name
            case ast.If():
                yield from _members([*node.body, *node.orelse], prefix)
            case ast.Import() | ast.ImportFrom():
                yield from (prefix + (alias.asname or alias.name) for alias in node.names)
    if prefix:
        yield from _attributes(body, prefix)


def _attributes(body: list[ast.stmt], prefix: str) -> Iterator[str]:
    """Yield the attributes that the methods of a class set on `self`."""
    for statement in body:
        for node in ast.walk(statement):
            match node:
                case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                    yield prefix + name


def _texts(tree: ast.Module) -> Iterator[str]:
    """Yield the strings of the code, docstrings left out, and the names it defines."""
    prose = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if id(node) not in prose:
                yield text
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.ClassDef(name=name):
                yield name
