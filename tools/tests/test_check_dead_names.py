"""A name that nothing uses is found, and the list of allowed ones cannot rot."""

from pathlib import Path

import pytest

import check_dead_names

SOURCES = {
    "tools/use.py": "from meshwire_reference.node import used\nused()\n",
    "reference/meshwire_reference/node.py": (
        "def used(): return 1\ndef dead(): return used()\ndef tested(): return 2\n"
    ),
    "reference/meshwire_reference/testing/bench.py": "def bench(): pass\ndef lost(): pass\n",
    "reference/tests/test_node.py": (
        "from meshwire_reference.node import tested\n"
        "from meshwire_reference.testing.bench import bench\n"
        "def helper(): return 5\n"
        "def test_it(): assert tested() == bench()\n"
    ),
}


def plant(root: Path, sources: dict[str, str]) -> None:
    """Write files below `root`."""
    for name, source in sources.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")


def problems(root: Path, allowed: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return what the tool prints of the sources, with a list of allowed names."""
    plant(root, {**SOURCES, check_dead_names.LIST: allowed})
    status = check_dead_names.main(["--root", str(root)])
    lines = capsys.readouterr().out.splitlines()
    assert status == bool(lines)
    return lines


def test_dead_names_are_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Tests keep alive what is for tests, and nothing else."""
    assert problems(tmp_path, "allowed = []", capsys) == [
        "reference/meshwire_reference/node.py:2: nothing uses the function dead",
        "reference/meshwire_reference/node.py:3: nothing uses the function tested",
        "reference/meshwire_reference/testing/bench.py:2: nothing uses the function lost",
        "reference/tests/test_node.py:3: nothing uses the function helper",
    ]


def test_module_that_nothing_imports_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A tool keeps a module alive, a test does not."""
    plant(
        tmp_path,
        {
            "spec/meshwire_spec/__init__.py": "",
            "spec/meshwire_spec/render.py": "def render(): pass\n",
            "spec/meshwire_spec/orphan.py": "import meshwire_spec.orphan\n",
            "spec/tests/test_orphan.py": "import meshwire_spec.orphan\n",
            "tools/sync.py": "from meshwire_spec.render import render\nrender()\n",
            check_dead_names.LIST: "allowed = []",
        },
    )
    check_dead_names.main(["--root", str(tmp_path)])

    assert "orphan.py:1: nothing uses the module meshwire_spec.orphan" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("init", "module"),
    [("X = 1\n", ""), ("from .part import X\nX\n", "X = 1\n")],
    ids=["alone", "with a module"],
)
def test_package_that_nothing_outside_imports_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], init: str, module: str
) -> None:
    """Imports by its own modules do not count as a use."""
    place = "spec/meshwire_spec"
    sources = {
        f"{place}/__init__.py": "",
        f"{place}/used/__init__.py": "",
        f"{place}/used/part.py": "Y = 1\n",
        "tools/sync.py": "from meshwire_spec.used.part import Y\nY\n",
        f"{place}/orphan/__init__.py": init,
        **({f"{place}/orphan/part.py": module} if module else {}),
        check_dead_names.LIST: "allowed = []",
    }
    plant(tmp_path, sources)

    assert check_dead_names.main(["--root", str(tmp_path)]) == 1
    modules = [line for line in capsys.readouterr().out.splitlines() if " module " in line]
    assert modules == [
        f"{place}/orphan/__init__.py:1: nothing uses the module meshwire_spec.orphan"
    ]


def test_allowed_names_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Names are allowed by pattern, path and kind."""
    allowed = """
[[allowed]]
names = ["dead", "t*ed"]
path = "reference/meshwire_reference/*"
kind = "function"
reason = "called by a framework"

[[allowed]]
names = ["lost", "helper"]
reason = "the same"
"""

    assert problems(tmp_path, allowed, capsys) == []


def test_list_does_not_rot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An entry that allows nothing, or has no reason, is a problem."""
    allowed = """
[[allowed]]
names = ["dead", "tested", "lost", "helper", "used"]
reason = "the framework"

[[allowed]]
names = ["dead"]
kind = "class"
reason = " "
"""

    assert problems(tmp_path, allowed, capsys) == [
        "tools/dead_names.toml: used (*) allows nothing: remove it",
        "tools/dead_names.toml: dead have no reason",
        "tools/dead_names.toml: dead (*) allows nothing: remove it",
    ]


def test_entry_allows_names_of_its_path_and_kind_alone() -> None:
    """The same name in another file, or of another kind, is not allowed."""
    entry = check_dead_names.Allowed(("dead",), "why", path="spec/*", kind="function")
    allowed = check_dead_names.AllowList((entry,))
    covered = [
        list(allowed.covers(check_dead_names.Dead(path, 1, kind, "dead")))
        for path, kind in (
            ("spec/a.py", "function"),
            ("tools/a.py", "function"),
            ("spec/a.py", "class"),
        )
    ]

    assert covered == [[(0, "dead")], [], []]
