"""The diagram of packages shows the imports of the code, no more and no less."""

from pathlib import Path

import pytest

import package_map
from modules import read_modules

SOURCES = {
    "spec/meshwire_spec/__init__.py": "",
    "spec/meshwire_spec/numbers.py": "",
    "spec/meshwire_spec/fields.py": "from meshwire_spec.numbers import LIMIT",
    "reference/meshwire_reference/__init__.py": "",
    "reference/meshwire_reference/extras.py": "",
    "reference/meshwire_reference/wire/__init__.py": "",
    "reference/meshwire_reference/wire/frames.py": "from meshwire_spec import numbers",
    "reference/meshwire_reference/core/__init__.py": "",
    "reference/meshwire_reference/core/node.py": (
        "from meshwire_reference import extras\nfrom meshwire_reference.wire import frames"
    ),
    "reference/meshwire_reference/core/limits/__init__.py": "",
    "reference/meshwire_reference/core/limits/room.py": "import struct",
}
TRUE = """
subgraph the reference
  reference.core["<b>core</b>"] --> reference.wire
end
%% a comment
reference.wire --> spec.numbers
spec --> spec.numbers
"""


def problems(root: Path, diagram: str) -> list[str]:
    """Return what the check says of the sources with one diagram."""
    for name, source in SOURCES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    page = f"# Map\n\n```mermaid\ngraph TD\n{diagram}\n```\n"
    (root / package_map.MAP).write_text(page, encoding="utf-8")
    return package_map.map_problems(root, read_modules(root))


def test_true_map_passes(tmp_path: Path) -> None:
    """Subgraphs, labels and comments are read past; plain modules need no name."""
    assert problems(tmp_path, TRUE) == []


def test_printed_map_is_a_true_one(tmp_path: Path) -> None:
    """The output of `--map` has the arrows of the code and every drawn name."""
    problems(tmp_path, "spec & spec.numbers & reference.wire\nreference.core --> spec.numbers")
    lines = package_map.map_lines(tmp_path, read_modules(tmp_path))

    assert lines == [
        "reference.core --> reference.wire",
        "reference.wire --> spec.numbers",
        "spec --> spec.numbers",
        "spec.numbers",
    ]
    assert problems(tmp_path, "\n".join(lines)) == []


def test_module_is_left_out_by_name(tmp_path: Path) -> None:
    """No arrow is drawn to what the diagram leaves out; the rest is held as ever."""
    told = "%% left out: spec.numbers\nspec\nreference.wire\nreference.core --> reference.wire"

    assert problems(tmp_path, told) == []
    assert problems(tmp_path, f"{told}\nspec --> reference.wire") == [
        "ARCHITECTURE.md: spec --> reference.wire is drawn, and the code has no such import"
    ]


PLANTED = [
    (
        TRUE.replace("reference.wire --> spec.numbers", "spec.numbers"),
        "wire/frames.py:1: reference.wire --> spec.numbers is not in ARCHITECTURE.md",
    ),
    (
        TRUE.replace("--> reference.wire", "--> reference.wire & spec.numbers"),
        "reference.core --> spec.numbers is drawn, and the code has no such import",
    ),
    (
        TRUE + "reference.core.frames\n",
        "ARCHITECTURE.md: the map shows reference.core.frames, which does not exist",
    ),
    (
        "spec --> spec.numbers\nreference.wire --> spec.numbers\n",
        "ARCHITECTURE.md: the map does not show the package meshwire_reference.core",
    ),
    (
        TRUE + "reference.core --> reference.core.limits\n",
        "reference.core --> reference.core.limits is drawn, and the code has no such import",
    ),
    (TRUE + "%% left out: spec.gone\n", "the map shows spec.gone, which does not exist"),
    (TRUE + "reference.core -.-> spec\n", "ARCHITECTURE.md: not a name of a package:"),
]


@pytest.mark.parametrize(("diagram", "expected"), PLANTED)
def test_planted_difference_is_found(tmp_path: Path, diagram: str, expected: str) -> None:
    """An arrow too few or too many, a name too few or too many, a line that is none of these."""
    assert any(expected in problem for problem in problems(tmp_path, diagram))


def test_missing_map_is_a_problem(tmp_path: Path) -> None:
    """A tree without the page, or a page without the diagram, never passes."""
    without_page = package_map.map_problems(tmp_path, {})
    (tmp_path / package_map.MAP).write_text("# Map\n")

    assert [*without_page, *package_map.map_problems(tmp_path, {})] == [
        "ARCHITECTURE.md is missing: it holds the map of the packages",
        "ARCHITECTURE.md: no Mermaid block that begins with `graph`",
    ]
