"""The index of the suite: written, compared, and stale."""

from pathlib import Path

import pytest

import make_index


@pytest.fixture
def path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return the path of an index that is not there yet."""
    path = tmp_path / "index.json"
    monkeypatch.setattr(make_index, "INDEX_FILE", path)
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
        "the index of the suite is stale: run python tools/make_index.py"
    ]
