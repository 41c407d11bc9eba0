"""Which lines a case runs, and which cases a row can reach."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mutant_rows import Edit, Row

import case_lines
from case_lines import Ran, edited, reached, read, spans_of, statements, write
from meshwire_conformance.catalogue.case import BOTH_VALID, SOCKET, Case
from mutants import HOOK

SOURCE = """LIMIT = 3


@decorated
def answer(count, limit=LIMIT):
    if count > limit:
        return None
    try:
        for one in range(count):
            send(
                one,
            )
    except ValueError:
        return False
    match count:
        case 1:
            return True
        case _:
            return count
"""


def case(name: str) -> Case:
    """A case over connections."""
    return Case(name, name, SOCKET, "transport", ("TR-001",), BOTH_VALID, "hand", "")


CASES = [case("MW-5001"), case("MW-5002"), case("MW-5003")]


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node of one module, `core.one`."""
    folder = tmp_path / "meshwire_reference"
    (folder / "core").mkdir(parents=True)
    (folder / "core" / "one.py").write_text(SOURCE, "utf-8")
    monkeypatch.setattr(case_lines, "NODE", folder)
    statements.cache_clear()
    return folder


def row(find: str, put: str = "pass", module: str = "meshwire_reference.core.one") -> Row:
    """A row with one edit."""
    return Row("one", "TR-001", "fails", (Edit(module, find, put),), ("MW-5001",))


@pytest.mark.parametrize(
    ("find", "spans"),
    [
        ("if count > limit:", [(6, 6)]),
        ("        return None\n", [(7, 7)]),
        ("                one,", [(10, 12)]),
        ("except ValueError:", [(13, 13)]),
        ("    try:\n        for one", [(8, 8), (9, 9)]),
        ("case 1:", [(16, 16)]),
        ("            return True\n        case _:", [(17, 17), (18, 18)]),
    ],
)
@pytest.mark.usefixtures("node")
def test_a_row_edits_statements(find: str, spans: list[tuple[int, int]]) -> None:
    """Of those with a body, what stands before it."""
    assert edited(row(find)) == [("core.one", span) for span in spans]


@pytest.mark.parametrize("find", ["LIMIT = 3", "@decorated", "limit=LIMIT"])
@pytest.mark.usefixtures("node")
def test_an_edit_outside_of_functions_reaches_every_case(find: str) -> None:
    """It runs when the module is loaded."""
    assert edited(row(find)) is None
    assert reached(row(find), CASES, {}) == CASES


def test_an_edit_of_another_package_reaches_every_case() -> None:
    """Its lines are not measured."""
    assert edited(row("LIMIT = 3", module="meshwire_spec.numbers")) is None


@pytest.mark.usefixtures("node")
def test_a_case_that_runs_no_edited_statement_is_left_out() -> None:
    """One that the row names and one that was not measured are kept."""
    ran = {
        one.id: Ran(one.digest, "n", {"core.one": lines})
        for one, lines in zip(CASES, ([(6, 6)], [(5, 6)], [(6, 7)]), strict=True)
    }
    edit = row("        return None\n")

    assert [one.id for one in reached(edit, CASES, ran)] == ["MW-5001", "MW-5003"]
    del ran["MW-5002"]
    assert reached(edit, CASES, ran) == CASES


def test_what_was_measured_holds_for_the_same_node_and_case(tmp_path: Path) -> None:
    """A changed case and a changed node are measured again."""
    path = tmp_path / "build" / "lines.json"
    ran = {
        "MW-5001": Ran(CASES[0].digest, "n", {"core.one": [(1, 2)]}),
        "MW-5002": Ran("changed", "n", {}),
    }
    assert read(CASES, "n", path) == {}
    write(ran, path)

    assert set(read(CASES, "n", path)) == {"MW-5001"}
    assert read(CASES, "other", path) == {}


def test_lines_of_several_processes_are_one_list_of_ranges() -> None:
    """As the hook writes them: one at a time, in any order, some twice."""
    assert spans_of("a:3\na:1\nb.c:7\na:2\na:3\na:9\n") == {"a": [(1, 3), (9, 9)], "b.c": [(7, 7)]}


@pytest.mark.process
def test_the_hook_writes_each_line_of_the_node_that_runs_in_a_function(
    node: Path, tmp_path: Path
) -> None:
    """Also of a process that is killed afterwards; what runs at loading is left out."""
    (node / "__init__.py").touch()
    (node / "two.py").write_text("X = 1\ndef f(n):\n    if n:\n        return 1\n    return 2\n")
    lines = tmp_path / "lines"
    path = os.pathsep.join((str(HOOK), str(node.parent)))
    program = "import os, meshwire_reference.two as two; two.f(0); os.kill(os.getpid(), 9)"
    environment = {**os.environ, "PYTHONPATH": path, "MUTANT_LINES": str(lines), "MUTANT_ROWS": ""}
    subprocess.run([sys.executable, "-c", program], env=environment, check=False)

    assert lines.read_text().splitlines() == ["two:3", "two:5"]
