"""Check the modules of the three packages: import rules, map, and the rules of the tree.

The import rules are the tables RULES and DOORWAYS below; `package_map` compares the diagram in
ARCHITECTURE.md, `package_form` the size of packages, the names of classes and the tests. Sources
are read with `ast`, never executed.
"""

import argparse
import ast
import graphlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from modules import PACKAGE_FOLDERS, Module, is_within, read_modules, resolve
from package_form import assertion_problems, mirror_problems, name_problems, size_problems
from package_map import map_lines, map_problems

# Clock, randomness, environment, files and sockets reach these packages as arguments only.
PURE_FORBIDDEN = frozenset(
    ("asyncio", "socket", "ssl", "threading", "subprocess", "time", "datetime", "random",
     "secrets", "uuid", "os", "pathlib"),
)  # fmt: skip

# What imports or runs a module that a string names.
DYNAMIC = frozenset(("importlib", "runpy", "pkgutil"))
DYNAMIC_NAMES = frozenset(("__import__", "import_module"))

# What of them is allowed, and where: it reads data files and versions, or looks for a package
# that may be absent, and runs no module of ours.
DYNAMIC_ALLOWED: dict[str, tuple[str, ...]] = {
    "importlib.resources": tuple(PACKAGE_FOLDERS),
    "importlib.metadata": tuple(PACKAGE_FOLDERS),
    "importlib.util.find_spec": ("meshwire_conformance.targets.bundle",),
}

# The few facts the reference shares with the suite; a wrong schema must not hide in both.
SHARED_WITH_REFERENCE = ("meshwire_spec.numbers", "meshwire_spec.states")

# Names of layers that are reserved for later profiles; no module has them yet.
RESERVED = frozenset(("backend",))

# The layers of the reference, lowest first: a layer takes itself and the layers below it.
# The parts of one layer do not take each other; the first four layers are pure.
REFERENCE_LAYERS: tuple[tuple[str, ...], ...] = (
    ("hosts",),
    ("wire", "oplog", "extras"),
    ("negentropy",),
    ("core",),
    ("discovery", "documents", "store", "transport"),
    ("node",),
    ("backend",),
    ("control", "harness", "testing"),
    ("simulation",),
    ("cli",),
)
PURE_LAYERS = REFERENCE_LAYERS[:4]

# Within the core: values, what is counted and kept, what all parts share, the parts, the node.
CORE_LAYERS: tuple[tuple[str, ...], ...] = (
    ("counts", "document_calls", "formation", "identity", "sync_messages", "timers"),
    ("effects", "inputs"),
    ("limits", "state", "trust"),
    ("settings",),
    ("enrollment",),
    ("context",),
    ("streams",),
    ("sending",),
    ("reconciliation",),
    ("peer",),
    ("frames", "local", "expiry"),
    ("node",),
)

# The same for the suite.
SUITE_LAYERS: tuple[tuple[str, ...], ...] = (
    ("verdicts", "extras", "hints"),
    ("errors",),
    ("protocol", "explain"),
    ("catalogue",),
    ("contracts",),
    ("targets",),
    ("documents",),
    ("socket_suite", "oplog_suite"),
    ("cases",),
    ("codec_suite", "report", "self_check"),
    ("run",),
    ("commands",),
)


LAYERS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "meshwire_reference": REFERENCE_LAYERS,
    "meshwire_reference.core": CORE_LAYERS,
    "meshwire_conformance": SUITE_LAYERS,
}


@dataclass(frozen=True, slots=True)
class Rule:
    """Which of our own modules a part may import, and which foreign ones it must not."""

    part: str
    allowed: tuple[str, ...]
    forbidden: frozenset[str] = frozenset()
    reason: str = ""


def layer_rules(
    package: str,
    layers: Sequence[Sequence[str]],
    pure: Sequence[Sequence[str]],
    shared: tuple[str, ...],
    reason: str,
) -> tuple[Rule, ...]:
    """Return one rule for each part of the layers: what is below, itself, and what is shared."""
    rules = []
    below: list[str] = []
    for layer in layers:
        names = tuple(f"{package}.{name}" for name in layer)
        rules += [
            Rule(
                part=name,
                allowed=(*shared, *below, name),
                forbidden=PURE_FORBIDDEN if layer in pure else frozenset(),
                reason=reason,
            )
            for name in names
        ]
        below.extend(names)
    return tuple(rules)


RULES: tuple[Rule, ...] = (
    Rule(
        part="meshwire_spec",
        allowed=("meshwire_spec",),
        forbidden=PURE_FORBIDDEN,
        reason="the specification imports nothing of the other packages",
    ),
    *layer_rules(
        "meshwire_reference.core",
        CORE_LAYERS,
        CORE_LAYERS,
        (
            *SHARED_WITH_REFERENCE,
            "meshwire_reference.wire",
            "meshwire_reference.negentropy",
        ),
        "imports in the core point down only",
    ),
    *layer_rules(
        "meshwire_reference",
        REFERENCE_LAYERS,
        PURE_LAYERS,
        SHARED_WITH_REFERENCE,
        "imports in the reference point down only",
    ),
    *layer_rules(
        "meshwire_conformance",
        SUITE_LAYERS,
        (),
        ("meshwire_spec",),
        "imports in the suite point down only, and to the reference through a process",
    ),
    Rule(
        part="meshwire_reference",
        allowed=(*SHARED_WITH_REFERENCE, "meshwire_reference"),
        reason="the reference imports numbers and states of the specification, nothing else",
    ),
    Rule(
        part="meshwire_conformance",
        allowed=("meshwire_spec", "meshwire_conformance"),
        reason="the suite reaches the reference through a process only",
    ),
)

# Foreign package -> the only modules of ours (or packages of ours) that may import it.
DOORWAYS: dict[str, tuple[str, ...]] = {
    "allpairspy": ("meshwire_conformance.catalogue.circumstances",),
    "construct": (
        "meshwire_spec.fields",
        "meshwire_spec.layouts",
        "meshwire_spec.codec",
        "meshwire_spec.planting",
        "meshwire_spec.render",
    ),
    "dpkt": ("meshwire_conformance.explain.captures",),
    "pcapng": ("meshwire_conformance.explain.captures",),
    "automerge": (
        "meshwire_reference.documents",
        "meshwire_reference.testing.stock_peer",
        "meshwire_conformance.documents",
    ),
    "aioquic": ("meshwire_reference.transport", "meshwire_conformance.targets"),
    "iroh": ("meshwire_reference.transport", "meshwire_conformance.targets"),
    "nacl": (
        "meshwire_reference.oplog.signatures",
        "meshwire_conformance.protocol.signed_operations",
    ),
    "prometheus_client": ("meshwire_reference.control.prometheus",),
    "websockets": ("meshwire_reference.transport", "meshwire_conformance.targets"),
    "zeroconf": ("meshwire_reference.discovery.mdns",),
    "ifaddr": ("meshwire_reference.discovery.mdns",),
}


def breach(module: str, imported: str) -> str | None:
    """Return why `module` must not import `imported`, or None if it may."""
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


def rule_problems(modules: Mapping[str, Module]) -> Iterator[str]:
    """Yield the imports that break a rule."""
    for module in modules.values():
        for found in module.imports():
            if reason := breach(module.name, found.name):
                yield f"{module.path}:{found.line}: {module.name} imports {found.name}: {reason}"


def unlisted_problems(modules: Mapping[str, Module]) -> Iterator[str]:
    """Yield the modules and packages that no layer lists, so that no rule covers their imports."""
    for package, layers in LAYERS.items():
        listed = {f"{package}.{name}" for layer in layers for name in layer}
        for module in modules.values():
            if module.name.rpartition(".")[0] == package and module.name not in listed:
                yield f"{module.path}: {module.name} is in no layer of tools/check_imports.py"


def absent_problems(modules: Mapping[str, Module]) -> Iterator[str]:
    """Yield the names of layers that neither exist nor are reserved."""
    for package, layers in LAYERS.items():
        for name in (name for layer in layers for name in layer):
            if f"{package}.{name}" not in modules and name not in RESERVED:
                yield f"tools/check_imports.py: no {package}.{name}, which a layer lists"


def dynamic_problems(modules: Mapping[str, Module]) -> Iterator[str]:
    """Yield the lines that may import a module by a string, which no tool can follow."""
    for module in modules.values():
        lines = {
            node.lineno
            for node in ast.walk(module.tree)
            if isinstance(node, ast.expr | ast.stmt) and _is_dynamic(module.name, node)
        }
        for line in sorted(lines):
            yield (
                f"{module.path}:{line}: {module.name} names a module in a string: "
                "put a plain import into the body of a function"
            )


def _is_dynamic(module: str, node: ast.AST) -> bool:
    """Return True if the node refers to a function that imports by a string."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.Constant(value=str(name)):
            return name in DYNAMIC_NAMES
        case ast.Import(names=names):
            # `import importlib.metadata` binds the whole of importlib.
            return any(alias.name.split(".")[0] in DYNAMIC for alias in names)
        case ast.ImportFrom(module=str(base), names=names, level=0):
            found = [f"{base}.{alias.name}" for alias in names]
            return base.split(".")[0] in DYNAMIC and not all(_is_allowed(module, n) for n in found)
    return False


def _is_allowed(module: str, imported: str) -> bool:
    return any(
        is_within(imported, name) and any(is_within(module, part) for part in parts)
        for name, parts in DYNAMIC_ALLOWED.items()
    )


def circle_problems(modules: Mapping[str, Module]) -> Iterator[str]:
    """Yield the circles of files that import each other, one problem for each.

    Imports inside functions and under `if TYPE_CHECKING:` count as well, since readers have to
    follow them just the same.
    """
    graph: dict[str, set[str]] = {
        module.name: {
            target for found in module.imports() if (target := resolve(found.name, modules))
        }
        - {module.name}
        for module in modules.values()
    }
    while True:
        try:
            graphlib.TopologicalSorter(graph).prepare()
        except graphlib.CycleError as error:
            # The circle goes from the imported to the importing module: read it backwards.
            circle: list[str] = list(reversed(error.args[1]))
            yield f"{modules[circle[0]].path}: import circle: {' -> '.join(circle)}"
            graph[circle[0]].discard(circle[1])
        else:
            return


def check(root: Path) -> tuple[list[str], int]:
    """Return the problems of the imports under `root` and how many modules were read."""
    modules = read_modules(root)
    problems = [
        *rule_problems(modules),
        *unlisted_problems(modules),
        *dynamic_problems(modules),
        *circle_problems(modules),
        *size_problems(root, modules),
        *name_problems(root, modules),
        *mirror_problems(root, modules),
        *assertion_problems(root),
    ]
    return problems, len(modules)


def main(arguments: list[str] | None = None) -> int:
    """Print every problem, one per line; return 1 if there is one, 2 if no module was read."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent)
    parser.add_argument("--map", action="store_true", help="print the arrows of the map and end")
    options = parser.parse_args(arguments)
    root: Path = options.root
    if options.map:
        print("\n".join(map_lines(root, read_modules(root))))
        return 0
    problems, count = check(root)
    if not count:
        print(f"check_imports: no modules under {root}", file=sys.stderr)
        return 2
    modules = read_modules(root)
    problems += [*absent_problems(modules), *map_problems(root, modules)]
    for problem in problems:
        print(problem)
    print(f"check_imports: {count} modules, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
