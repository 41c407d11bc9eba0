"""The check of the inventory finds each way in which a row can be wrong."""

from pathlib import Path

import pytest

import check_inventory
import pages
import tracing

RULES = pages.parse_rules(
    "x.md",
    "**FR-901**{#FR-901} (wire) A node MUST. <!-- seen: codec -->\n\n"
    "**FR-902**{#FR-902} (withdrawn) It was so.",
)
CASES = {
    "MW-0901": tracing.TracedCase("MW-0901", ("FR-901",), "codec", "x.json"),
    "MW-0902": tracing.TracedCase("MW-0902", ("FR-903",), "codec", "x.json"),
}
TESTS = "def test_it():\n    pass\n\n\nclass TestThem:\n    def test_two(self):\n        pass\n"

SOUND = (
    "| N-01 | a fact | [FR-901](x.md#FR-901) | MW-0901 |",
    "| N-01 | a fact | - | `a/test_x.py::test_it`, `a/test_x.py::TestThem::test_two` |",
    "| N-01 | a fact | - | withdrawn because [D-90](93-deployed.md#D-90) |",
    "| N-01 | a fact | - | of that program alone |",
)
BAD = {
    "no rule FR-999": "| N-01 | a fact | FR-901, FR-999 | MW-0901 |",
    "no rule FR-902": "| N-01 | a fact | FR-901, FR-902 | MW-0901 |",
    "no case or vector MW-0999": "| N-01 | a fact | FR-901 | MW-0901, MW-0999 |",
    "MW-0902 shows none of the rules": "| N-01 | a fact | FR-901 | MW-0901, MW-0902 |",
    "no test a/test_y.py::test_it": "| N-01 | a fact | - | `a/test_y.py::test_it` |",
    "no test a/test_x.py::test_two": "| N-01 | a fact | - | `a/test_x.py::test_two` |",
    "held by nothing": "| N-01 | a fact | FR-901 | part of `oplog/1`, later |",
    "has not the cells": "| N-01 | a fact | MW-0901 |",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with one file of tests."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "test_x.py").write_text(TESTS)
    return tmp_path


def problems(line: str, root: Path) -> list[str]:
    """The problems of one row."""
    alive = {rule.id for rule in RULES if rule.level != "withdrawn"}
    (row,) = check_inventory.rows_of(line)
    return list(check_inventory.row_problems(row, alive, CASES, root))


@pytest.mark.parametrize("line", SOUND)
def test_a_row_that_names_what_exists_or_says_why_not_is_fine(line: str, root: Path) -> None:
    """Cases, tests, and each of the phrases."""
    assert problems(line, root) == []


@pytest.mark.parametrize("text", BAD)
def test_each_fault_of_a_row_is_named(text: str, root: Path) -> None:
    """Each wrong row is reported with its fault."""
    found = problems(BAD[text], root)

    assert [text in problem for problem in found] == [True]


def test_every_row_stands_there_once() -> None:
    """Rows left out, given twice, or of no list are problems of the page."""
    page = check_inventory.PAGE.read_text()
    line = next(line for line in page.splitlines() if line.startswith("| T-018 |"))
    planted = {
        "T-018 is missing": page.replace(line, ""),
        "T-018 stands there 2 times": page.replace(line, f"{line}\n{line}"),
        "the inventory has no T-070": page.replace(line, f"{line}\n{line.replace('018', '070')}"),
    }
    for text, changed in planted.items():
        found = list(check_inventory.id_problems(check_inventory.rows_of(changed)))

        assert found == [text]


def test_the_command_fails_with_a_planted_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A case that nobody has, on the page itself."""
    page = tmp_path / "94-inventory.md"
    page.write_text(check_inventory.PAGE.read_text().replace("MW-2683", "MW-0001"))
    monkeypatch.setattr(check_inventory, "PAGE", page)

    assert check_inventory.main([]) == 1
    assert "94-inventory.md: T-018: no case or vector MW-0001\n" in capsys.readouterr().out
