"""Hold every import of the three packages to the import rules: which module may take which.

The rules are the table RULES and DOORWAYS below. Imports are read with `ast`, never executed.
"""

import argparse
import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE_FOLDERS = {
    "meshwire_spec": "spec",
    "meshwire_reference": "reference",
    "meshwire_conformance": "conformance",
}

# Clock, randomness, environment and sockets reach these packages as arguments only.
PURE_FORBIDDEN = frozenset(
    ("asyncio", "socket", "ssl", "threading", "time", "random", "secrets", "os"),
)

# The few facts the reference shares with the suite; a wrong schema must not hide in both.
SHARED_WITH_REFERENCE = ("meshwire_spec.numbers", "meshwire_spec.states")

# The layers of the reference, lowest first: a layer takes itself and what stands below it.
# The parts of one layer do not take each other; the simulation runs stores and transports.
REFERENCE_LAYERS: tuple[tuple[str, ...], ...] = (
    # Document calls and the outside of sync messages are plain values, which the core may take.
    ("wire", "negentropy", "oplog", "extras"),
    ("core",),
    ("mutants",),
    ("documents", "store", "transport"),
    ("node",),
    ("backend",),
    ("harness", "testing"),
    ("cli", "__main__"),
)


@dataclass(frozen=True, slots=True)
class Rule:
    """Which of our own modules a part may take, and which foreign ones it must not."""

    part: str
    allowed: tuple[str, ...]
    forbidden: frozenset[str] = frozenset()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Violation:
    """One import that breaks a rule."""

    path: Path
    line: int
    module: str
    imported: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.module} imports {self.imported}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Import:
    """One imported name and the line it stands on."""

    name: str
    line: int


def reference_rules() -> tuple[Rule, ...]:
    """Turn the layers into one rule per part: what stands below, itself, the shared facts."""
    rules = []
    below: list[str] = []
    for layer in REFERENCE_LAYERS:
        names = tuple(f"meshwire_reference.{name}" for name in layer)
        for name in names:
            pure = layer in REFERENCE_LAYERS[:2]
            rules.append(
                Rule(
                    part=name,
                    allowed=(*SHARED_WITH_REFERENCE, *below, name),
                    forbidden=PURE_FORBIDDEN if pure else frozenset(),
                    reason="imports in the reference point down only",
                ),
            )
        below.extend(names)
    return tuple(rules)


RULES: tuple[Rule, ...] = (
    Rule(
        part="meshwire_spec",
        allowed=("meshwire_spec",),
        forbidden=PURE_FORBIDDEN,
        reason="the specification takes nothing of the other packages",
    ),
    *reference_rules(),
    Rule(
        part="meshwire_reference",
        allowed=(*SHARED_WITH_REFERENCE, "meshwire_reference"),
        reason="the reference takes numbers and states of the specification, nothing else",
    ),
    Rule(
        part="meshwire_conformance",
        allowed=("meshwire_spec", "meshwire_conformance"),
        reason="the suite reaches the reference through a process only",
    ),
)

# Foreign package -> the only modules of ours (or packages of ours) that may take it.
DOORWAYS: dict[str, tuple[str, ...]] = {
    "construct": (
        "meshwire_spec.fields",
        "meshwire_spec.layouts",
        "meshwire_spec.codec",
        "meshwire_spec.render",
    ),
    "automerge": ("meshwire_reference.documents", "meshwire_conformance.documents"),
    "aioquic": ("meshwire_reference.transport", "meshwire_conformance.targets"),
    "iroh": ("meshwire_reference.transport", "meshwire_conformance.targets"),
    "websockets": ("meshwire_reference.transport", "meshwire_conformance.targets"),
}


def is_within(module: str, part: str) -> bool:
    """Say whether `module` is `part` or a module of it."""
    return module == part or module.startswith(f"{part}.")


def imports_of(tree: ast.Module, module: str, *, is_package: bool) -> Iterator[Import]:
    """Yield every import of a module, also the ones inside functions and type-checking blocks.

    A relative import is resolved; `from a import b` yields `a.b`, since b may be a module.
    """
    parts = module.split(".")
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                keep = len(parts) - node.level + (1 if is_package else 0)
                base = ".".join((*parts[:keep], *([base] if base else [])))
            for alias in node.names:
                yield Import(f"{base}.{alias.name}", node.lineno)
        elif isinstance(node, ast.Call) and (name := dynamic_import(node)):
            yield Import(name, node.lineno)


def dynamic_import(call: ast.Call) -> str | None:
    """Return the module that `import_module("x")` or `__import__("x")` loads, else None."""
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if name not in ("import_module", "__import__") or not call.args:
        return None
    first = call.args[0]
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None


def breach(module: str, imported: str) -> str | None:
    """Return why `module` must not take `imported`, or None where it may."""
    top = imported.split(".", maxsplit=1)[0]
    # The first rule whose part holds the module is the narrowest: RULES lists parts before wholes.
    rule = next((rule for rule in RULES if is_within(module, rule.part)), None)
    if rule is not None and top in PACKAGE_FOLDERS:
        # `from meshwire_spec import numbers` arrives here as meshwire_spec.numbers.
        if not any(is_within(imported, allowed) for allowed in rule.allowed):
            return rule.reason
        return None
    if rule is not None and top in rule.forbidden:
        return f"{top} is forbidden here: clock, randomness and IO arrive as arguments"
    doorways = DOORWAYS.get(top)
    if doorways is not None and not any(is_within(module, doorway) for doorway in doorways):
        return f"{top} belongs to {', '.join(doorways)} only"
    return None


def violations_of(path: Path, module: str, shown: Path) -> list[Violation]:
    """Return the violations of one source file, which must be valid Python."""
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    return [
        Violation(shown, found.line, module, found.name, reason)
        for found in imports_of(tree, module, is_package=path.name == "__init__.py")
        if (reason := breach(module, found.name))
    ]


def check(root: Path) -> tuple[list[Violation], int]:
    """Return the violations under `root` and how many modules were read."""
    violations = []
    count = 0
    for package, folder in PACKAGE_FOLDERS.items():
        for path in sorted((root / folder / package).rglob("*.py")):
            parts = path.relative_to(root / folder).with_suffix("").parts
            module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            violations.extend(violations_of(path, module, path.relative_to(root)))
            count += 1
    return violations, count


def main(arguments: list[str] | None = None) -> int:
    """Print every violation, one a line; return 1 when there is one, 2 when nothing was read."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent)
    root: Path = parser.parse_args(arguments).root
    violations, count = check(root)
    for violation in violations:
        print(violation)
    if not count:
        print(f"check_imports: no modules under {root}", file=sys.stderr)
        return 2
    print(f"check_imports: {count} modules, {len(violations)} violations")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
