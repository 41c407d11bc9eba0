"""Check the size of packages, the uniqueness of names, and the places and assertions of tests."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from modules import PACKAGE_FOLDERS, Module

MODULES_MAX = 20
REASON = re.compile(r"More than 20 modules: \S")
# A public name of a class or a type: capitals, and at least one small letter.
TYPE_NAME = re.compile(r"[A-Z]\w*[a-z]\w*")
TOOLS = "tools"
# Tools without their tests.
TOOL_FOLDERS = (TOOLS, f"{TOOLS}/bench")
# Folders of tests that mirror no package: programs that tests start, and what was captured.
TEST_FOLDERS = frozenset(("programs", "captured", "mutants"))
# Functions of pytest that let a test fail, besides `assert`.
SHOWING = frozenset(("raises", "warns", "fail"))


def size_problems(root: Path, modules: Mapping[str, Module]) -> Iterator[str]:
    """Yield the packages with too many modules whose `__init__` gives no reason."""
    for package in modules.values():
        if not package.is_package:
            continue
        count = sum(
            module.path.parent == package.path.parent and not module.is_package
            for module in modules.values()
        )
        if count > MODULES_MAX and not REASON.search((root / package.path).read_text()):
            yield (
                f"{package.path}: {count} modules: merge some, or say why: "
                f"`More than {MODULES_MAX} modules: ...`"
            )


def defined_types(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield the public classes and type aliases of a module, with their lines."""
    for node in tree.body:
        match node:
            case ast.ClassDef(name=name):
                found = [name]
            case ast.Assign(targets=targets):
                found = [target.id for target in targets if isinstance(target, ast.Name)]
            case ast.AnnAssign(target=ast.Name(id=name)):
                found = [name]
            case _:
                continue
        yield from ((name, node.lineno) for name in found if TYPE_NAME.fullmatch(name))


def name_problems(root: Path, modules: Mapping[str, Module]) -> Iterator[str]:
    """Yield the names of types that a top package, or the tools, define twice."""
    sources = [(module.name.split(".")[0], module.path, module.tree) for module in modules.values()]
    sources += [
        (TOOLS, path.relative_to(root), ast.parse(path.read_text()))
        for folder in TOOL_FOLDERS
        for path in sorted((root / folder).glob("*.py"))
    ]
    places: dict[tuple[str, str], list[str]] = defaultdict(list)
    for package, path, tree in sources:
        for name, line in defined_types(tree):
            places[package, name].append(f"{path}:{line}")
    for (_, name), found in sorted(places.items()):
        if len(found) > 1:
            yield f"{found[0]}: {name} is also defined at {', '.join(found[1:])}"


def mirror_problems(root: Path, modules: Mapping[str, Module]) -> Iterator[str]:
    """Yield the test files whose folder does not mirror the package that they test.

    The folder must be a package. A file that is named after a module must be in the folder of a
    module with that name; any other name is a subject of the whole package.
    """
    for package, folder in PACKAGE_FOLDERS.items():
        homes: dict[str, set[Path]] = defaultdict(set)
        for module in modules.values():
            parts = module.name.split(".")
            if parts[0] == package and len(parts) > 1:
                homes[parts[-1]].add(Path(*parts[1:-1]))
        packages = {Path(*m.name.split(".")[1:]) for m in modules.values() if m.is_package}
        tests = root / folder / "tests"
        for path in sorted(tests.rglob("test_*.py")):
            home = path.relative_to(tests).parent
            if home.parts and home.parts[0] in TEST_FOLDERS:
                continue
            shown, name = path.relative_to(root), path.stem.removeprefix("test_")
            if home not in packages:
                yield f"{shown}: {package} has no package {'.'.join(home.parts)}"
            elif name in homes and home not in homes[name] and name != home.name:
                wanted = " or ".join(sorted(str(tests.relative_to(root) / h) for h in homes[name]))
                yield f"{shown}: the module {name} is tested in {wanted}"


def assertion_problems(root: Path) -> Iterator[str]:
    """Yield the tests that assert nothing themselves, so that a reader does not see what holds."""
    for folder in (*PACKAGE_FOLDERS.values(), TOOLS):
        for path in sorted((root / folder / "tests").rglob("test_*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test_"):
                    continue
                if not any(map(_shows, ast.walk(node))):
                    yield f"{path.relative_to(root)}:{node.lineno}: {node.name} asserts nothing"


def _shows(node: ast.AST) -> bool:
    match node:
        case ast.Assert():
            return True
        case ast.Attribute(value=ast.Name(id="pytest"), attr=name):
            return name in SHOWING
    return False
