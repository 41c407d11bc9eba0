"""The index of the suite and the map of its cases: written, compared, and stale."""

from pathlib import Path

import pytest

import make_index
from case_map import FOLDER


@pytest.fixture
def path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return the path of an index that is not there yet."""
    path = tmp_path / "index.json"
    monkeypatch.setattr(make_index, "INDEX_FILE", path)
    monkeypatch.setattr(make_index, "MAP_FILE", tmp_path / "README.md")
    return path


def test_the_index_is_written_once(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is written is what is compared; an index that is right is left alone."""
    assert make_index.main(["--check"]) == 1
    assert not path.exists()
    assert make_index.main([]) == 0
    assert "cases over connections" in capsys.readouterr().out
    assert make_index.main(["--check"]) == 0
    assert make_index.main([]) == 0
    assert capsys.readouterr().out == ""


def test_a_stale_index_is_one_line(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 1, and the command that mends it."""
    path.write_text("{}")

    assert make_index.main(["--check"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "the index of the suite is stale: run python tools/make_index.py",
        "the map of the cases is stale: run python tools/make_index.py",
    ]


def test_the_map_has_every_module_with_its_rules_and_cases(path: Path) -> None:
    """A module under the page of most of its cases, ids in a row by the first and the last."""
    make_index.main([])
    pages = path.with_name("README.md").read_text("utf-8").split("\n## ")
    page_of = {
        row.split("`")[1]: page for page in pages for row in page.splitlines() if "[`" in row
    }
    (row,) = (row for row in page_of["late_ranges.py"].splitlines() if "late_ranges" in row)

    assert page_of.keys() == {one.name for one in FOLDER.glob("[!_]*.py")}
    assert page_of["late_ranges.py"].startswith("reconciliation\n")
    assert row.split(" | ")[1].startswith("what follows many ranges or ids")
    assert "NG-025" in row
    assert "MW-6912 to MW-6915" in row
