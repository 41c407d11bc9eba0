"""A name that nothing uses is found, and the list of allowed ones cannot rot."""

from pathlib import Path

import pytest

import check_dead_names

SOURCES = {
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


def problems(root: Path, allowed: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return what the tool prints of the sources, with a list of allowed names."""
    for name, source in {**SOURCES, check_dead_names.LIST: allowed}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
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
