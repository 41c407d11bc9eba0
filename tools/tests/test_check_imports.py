"""The import rules: one planted violation for each, and what stays allowed."""

from itertools import chain
from pathlib import Path

import pytest

import check_imports
from modules import PACKAGE_FOLDERS, read_modules

PLANTED = [
    ("spec/meshwire_spec/numbers.py", "import meshwire_reference"),
    ("spec/meshwire_spec/codec.py", "from meshwire_conformance import run"),
    ("spec/meshwire_spec/numbers.py", "import time"),
    ("spec/meshwire_spec/codec.py", "from datetime import UTC"),
    ("reference/meshwire_reference/core/node.py", "from datetime import datetime"),
    ("reference/meshwire_reference/core/state/x.py", "import uuid"),
    ("reference/meshwire_reference/wire/frames.py", "from pathlib import Path"),
    ("reference/meshwire_reference/negentropy/tree.py", "import subprocess"),
    ("spec/meshwire_spec/layouts/frames.py", "from os import environ"),
    ("reference/meshwire_reference/wire/frames.py", "from meshwire_spec import codec"),
    ("reference/meshwire_reference/wire/frames.py", "from meshwire_spec.layouts import frames"),
    ("reference/meshwire_reference/wire/frames.py", "from meshwire_spec.rules import RULES"),
    ("reference/meshwire_reference/wire/frames.py", "from meshwire_reference import core"),
    ("reference/meshwire_reference/wire/frames.py", "from ..core import session"),
    ("reference/meshwire_reference/wire/frames.py", "from meshwire_reference.oplog import queue"),
    ("reference/meshwire_reference/oplog/queue.py", "from meshwire_reference import wire"),
    ("reference/meshwire_reference/oplog/queue.py", "from nacl import signing"),
    ("reference/meshwire_reference/negentropy/tree.py", "import meshwire_reference.store"),
    ("reference/meshwire_reference/core/node.py", "from meshwire_reference.transport import tcp"),
    ("reference/meshwire_reference/core/node.py", "from meshwire_reference import documents"),
    ("reference/meshwire_reference/core/peer/x.py", "from meshwire_reference import documents"),
    ("reference/meshwire_reference/core/peer/x.py", "from meshwire_reference.core import node"),
    (
        "reference/meshwire_reference/core/effects.py",
        "import meshwire_reference.core.state.tombstones",
    ),
    (
        "reference/meshwire_reference/core/limits/quotas.py",
        "from meshwire_reference.core import context",
    ),
    (
        "reference/meshwire_reference/core/context.py",
        "from meshwire_reference.core.streams import Streams",
    ),
    ("reference/meshwire_reference/store/memory.py", "from meshwire_reference import node"),
    ("reference/meshwire_reference/store/memory.py", "from meshwire_reference import transport"),
    ("reference/meshwire_reference/documents/worker.py", "from meshwire_reference import store"),
    ("reference/meshwire_reference/transport/lab/tcp.py", "from meshwire_reference import node"),
    ("reference/meshwire_reference/core/sync_messages.py", "import meshwire_reference.store"),
    ("reference/meshwire_reference/store/sqlite.py", "import meshwire_reference.node.driver"),
    ("reference/meshwire_reference/node/driver.py", "import meshwire_reference.backend"),
    ("reference/meshwire_reference/backend.py", "from meshwire_reference.cli.app import main"),
    ("reference/meshwire_reference/harness/serve.py", "from meshwire_reference import cli"),
    ("reference/meshwire_reference/cli/extra.py", "import meshwire_spec.fields"),
    ("reference/meshwire_reference/cli/app.py", "import meshwire_conformance"),
    ("conformance/meshwire_conformance/run/extra.py", "import meshwire_reference"),
    ("conformance/meshwire_conformance/targets/tcp.py", "from meshwire_conformance import run"),
    ("conformance/meshwire_conformance/protocol/x.py", "import meshwire_conformance.targets"),
    ("conformance/meshwire_conformance/report/text.py", "import meshwire_conformance.self_check"),
    ("conformance/meshwire_conformance/cases/frames.py", "import meshwire_reference.wire"),
    (
        "conformance/meshwire_conformance/commands/main.py",
        "def f():\n    import meshwire_reference",
    ),
    ("spec/meshwire_spec/states.py", "import construct"),
    ("reference/meshwire_reference/wire/frames.py", "from construct import Struct"),
    ("conformance/meshwire_conformance/catalogue/vectors.py", "import construct as c"),
    ("reference/meshwire_reference/store/memory.py", "import automerge"),
    ("conformance/meshwire_conformance/run/runner.py", "from automerge.core import Document"),
    ("reference/meshwire_reference/node/driver.py", "import aioquic.asyncio"),
    ("conformance/meshwire_conformance/run/runner.py", "from iroh import Endpoint"),
    ("reference/meshwire_reference/core/node.py", "import websockets"),
    ("reference/meshwire_reference/node/driver.py", "import zeroconf"),
    ("reference/meshwire_reference/discovery/announced.py", "import ifaddr"),
    ("reference/meshwire_reference/node/driver.py", "import prometheus_client"),
    ("conformance/meshwire_conformance/run/runner.py", "from allpairspy import AllPairs"),
    ("conformance/meshwire_conformance/run/runner.py", "import dpkt"),
    ("conformance/meshwire_conformance/explain/parts.py", "from pcapng import FileScanner"),
    *(
        (f"reference/meshwire_reference/{part}/module.py", f"import {name}")
        for part in ("core", "core/peer", "core/state", "wire", "negentropy", "oplog")
        for name in sorted(check_imports.PURE_FORBIDDEN)
    ),
]

ALLOWED = [
    ("spec/meshwire_spec/fields.py", "import construct\nfrom meshwire_spec import numbers"),
    ("spec/meshwire_spec/layouts/frames.py", "from construct import Struct"),
    ("reference/meshwire_reference/wire/frames.py", "from meshwire_spec import numbers, states"),
    ("reference/meshwire_reference/wire/frames.py", "from .errors import Malformed\nimport struct"),
    ("reference/meshwire_reference/core/node.py", "from meshwire_reference import wire"),
    ("reference/meshwire_reference/transport/iroh/endpoint.py", "import asyncio\nimport iroh"),
    ("reference/meshwire_reference/documents/worker.py", "import automerge"),
    ("reference/meshwire_reference/cli/app.py", "from meshwire_reference import backend, node"),
    ("conformance/meshwire_conformance/documents/library.py", "import automerge.core"),
    ("conformance/meshwire_conformance/targets/iroh.py", "import iroh"),
    (
        "conformance/meshwire_conformance/run/runner.py",
        "import time\nfrom meshwire_spec import codec",
    ),
]


def plant(root: Path, name: str, source: str) -> None:
    """Write one module below `root`."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source, encoding="utf-8")


@pytest.mark.parametrize(("name", "source"), PLANTED)
def test_planted_violation_is_found(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    source: str,
) -> None:
    """A module that breaks a rule is named with its line, and the exit code is 1."""
    plant(tmp_path, name, source)

    assert check_imports.main(["--root", str(tmp_path)]) == 1
    assert f"\n{name}:" in f"\n{capsys.readouterr().out}"


@pytest.mark.parametrize(("name", "source"), ALLOWED)
def test_allowed_import_passes(tmp_path: Path, name: str, source: str) -> None:
    """Permitted imports are not reported."""
    plant(tmp_path, name, source)

    assert check_imports.check(tmp_path) == ([], 1)


APP = "reference/meshwire_reference/cli/app.py"


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("import importlib\nimportlib.import_module('meshwire_spec.numbers')", [1, 2]),
        ("from importlib import import_module\nimport_module(name)", [1, 2]),
        ("from importlib import import_module as im\nim(name)", [1]),
        ("import importlib as i\ngetattr(i, 'import' + '_module')(name)", [1]),
        ("import importlib.metadata\ngetattr(importlib, name)", [1]),
        ("from importlib.util import find_spec", [1]),
        ("from importlib import resources, machinery", [1]),
        ("from importlib import *", [1]),
        ("def f(name):\n    return __import__(f'meshwire_reference.{name}')", [2]),
        ("f = __import__\nf(name)", [1]),
        ("import builtins\nload = builtins.__import__", [2]),
        ("import builtins\nload = getattr(builtins, '__import__')", [2]),
        ("from pkgutil import resolve_name", [1]),
        ("def f():\n    import runpy", [2]),
    ],
)
def test_module_named_in_a_string_is_found(tmp_path: Path, source: str, lines: list[int]) -> None:
    """No module is imported by a string, wherever the string comes from."""
    plant(tmp_path, APP, source)

    problems = list(check_imports.dynamic_problems(read_modules(tmp_path)))

    assert [problem.partition(": ")[0] for problem in problems] == [f"{APP}:{n}" for n in lines]


@pytest.mark.parametrize(
    ("name", "source"),
    [
        (APP, "from importlib import resources"),
        (APP, "from importlib.metadata import version"),
        (APP, '"""What `import_module` does is not done here."""'),
        (
            "conformance/meshwire_conformance/targets/bundle.py",
            "from importlib.util import find_spec",
        ),
    ],
)
def test_data_and_versions_of_packages_may_be_read(tmp_path: Path, name: str, source: str) -> None:
    """And it may be asked whether the reference is installed."""
    plant(tmp_path, name, source)

    assert list(check_imports.dynamic_problems(read_modules(tmp_path))) == []


CIRCLES = [
    ("from meshwire_spec import b", "import meshwire_spec.c", "from .a import name"),
    ("def f():\n    from meshwire_spec import b", "from .c import name", "from . import a"),
    (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from meshwire_spec.b import B",
        "from meshwire_spec.c import C",
        "from meshwire_spec.a import A",
    ),
]


@pytest.mark.parametrize("sources", CIRCLES)
def test_circle_of_files_is_found(tmp_path: Path, sources: tuple[str, ...]) -> None:
    """A circle is named once, in the direction of its imports, also one inside functions."""
    for name, source in zip("abc", sources, strict=True):
        plant(tmp_path, f"spec/meshwire_spec/{name}.py", source)

    (problem,) = check_imports.circle_problems(read_modules(tmp_path))

    ways = [
        " -> ".join(f"meshwire_spec.{name}" for name in way) for way in ("abca", "bcab", "cabc")
    ]
    assert any(problem.endswith(f": import circle: {way}") for way in ways)


def test_every_circle_is_found(tmp_path: Path) -> None:
    """Two circles are two problems; a module that both use is in neither."""
    for one, other in ("ab", "ba", "cd", "dc"):
        plant(tmp_path, f"spec/meshwire_spec/{one}.py", f"from . import {other}, e")
    plant(tmp_path, "spec/meshwire_spec/e.py", "import struct")

    assert len(list(check_imports.circle_problems(read_modules(tmp_path)))) == 2


def test_every_doorway_has_a_planted_violation() -> None:
    """No doorway of the table goes untested."""
    sources = "\n".join(source for _, source in PLANTED)

    assert [name for name in check_imports.DOORWAYS if name not in sources] == []


def test_every_layer_refuses_what_stands_above() -> None:
    """Each part is shown red for every part of each layer above it."""
    planted = [
        (f"{package}.{part}.module", f"{package}.{above}")
        for package, layers in check_imports.LAYERS.items()
        for height, layer in enumerate(layers)
        for part in layer
        for above in chain.from_iterable(layers[height + 1 :])
        if not above.startswith(f"{part}.")
    ]

    missed = [pair for pair in planted if check_imports.breach(*pair) is None]

    assert planted
    assert missed == []


@pytest.mark.parametrize("package", check_imports.LAYERS)
def test_package_that_no_layer_lists_is_found(tmp_path: Path, package: str) -> None:
    """A new package is held to no layer until it is listed in one."""
    folder = PACKAGE_FOLDERS[package.split(".", maxsplit=1)[0]]
    plant(tmp_path, f"{folder}/{package.replace('.', '/')}/new/__init__.py", "")

    (problem,) = check_imports.unlisted_problems(read_modules(tmp_path))

    assert problem.endswith(f"{package}.new is in no layer of tools/check_imports.py")


def test_layer_names_what_exists_or_is_reserved(tmp_path: Path) -> None:
    """A name of a layer without a module is a problem, unless it is reserved."""
    plant(tmp_path, "conformance/meshwire_conformance/extras.py", "")

    problems = "\n".join(check_imports.absent_problems(read_modules(tmp_path)))

    assert "no meshwire_conformance.verdicts, which a layer lists" in problems
    assert "meshwire_conformance.extras" not in problems
    assert not [name for name in check_imports.RESERVED if f".{name}," in problems]


def test_empty_tree_is_an_error(tmp_path: Path) -> None:
    """A root without modules is a usage error, never a pass."""
    assert check_imports.main(["--root", str(tmp_path)]) == 2


def test_difference_from_the_map_is_a_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A tree that keeps every rule fails where the page draws another one."""
    plant(tmp_path, "spec/meshwire_spec/a.py", "")
    (tmp_path / "ARCHITECTURE.md").write_text("```mermaid\ngraph TD\nspec.b\n```\n")

    assert check_imports.main(["--root", str(tmp_path)]) == 1
    assert "ARCHITECTURE.md: the map shows spec.b, which does not exist" in capsys.readouterr().out


HOME = "reference/meshwire_reference"
SORTS = [
    (
        {f"{HOME}/cli/app.py": "import importlib\nimportlib.import_module('a')"},
        "names a module in a string",
    ),
    (
        {
            "spec/meshwire_spec/a.py": "import meshwire_spec.b",
            "spec/meshwire_spec/b.py": "import meshwire_spec.a",
        },
        "import circle",
    ),
    (
        {f"{HOME}/core/a.py": "class One: ...", f"{HOME}/wire/b.py": "class One: ..."},
        "One is also defined",
    ),
    (
        {f"{HOME}/core/__init__.py": "", "reference/tests/gone/test_x.py": ""},
        "has no package gone",
    ),
    (
        {f"{HOME}/core/{name}.py": "" for name in ("__init__", *(f"m{n}" for n in range(21)))},
        "21 modules",
    ),
]


@pytest.mark.parametrize(("sources", "said"), SORTS)
def test_every_sort_of_problem_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], sources: dict[str, str], said: str
) -> None:
    """The tool prints the problems of every check that it has."""
    for name, source in sources.items():
        plant(tmp_path, name, source)

    assert check_imports.main(["--root", str(tmp_path)]) == 1
    assert said in capsys.readouterr().out
