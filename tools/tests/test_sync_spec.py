"""Generated text is in step with its sources, and --check says where it is not."""

from pathlib import Path

import pytest

import pages
import sync_spec

PAGE = "# T {#t}\n\n**FR-901**{#FR-901} (wire) A node MUST. <!-- seen: codec -->\n"


def test_the_committed_pages_and_rules_are_in_step() -> None:
    """Nothing generated in the tree is stale."""
    harness = sync_spec.HARNESS_FILE.read_text()

    assert sync_spec.RULES_FILE.read_text() == sync_spec.rules_text()
    assert harness == sync_spec.harness_text(harness)
    assert [
        p.name for p in pages.page_paths() if sync_spec.filled(p.read_text()) != p.read_text()
    ] == []


def test_values_of_the_harness_come_from_the_layouts() -> None:
    """A kind that is missing, one that is no more, and a field of another shape are mended."""
    harness = sync_spec.HARNESS_FILE.read_text()
    stale = harness.replace('"heartbeat"', '"heart_rate"').replace('"maximum": 255', '"maximum": 9')

    assert stale != harness
    assert sync_spec.harness_text(stale) == harness


def test_the_committed_pages_keep_their_form() -> None:
    """The prose of every page passes its checks."""
    assert [str(problem) for problem in sync_spec.prose_problems()] == []


def test_kind_that_the_table_of_values_forgets_is_found() -> None:
    """Each kind is named once in the table of values of the harness."""
    page = (pages.SPEC / sync_spec.VALUES_PAGE).read_text()
    forgotten = page.replace("| `heartbeat` |", "| `lab_record` |")

    assert forgotten != page
    assert [problem.text.split()[5] for problem in sync_spec.value_problems(forgotten)] == [
        "heartbeat",
        "lab_record",
    ]


def test_rules_become_one_line_each(tmp_path: Path) -> None:
    """`rules.json` has one rule per line, so that a change of one is a change of one line."""
    (tmp_path / "a.md").write_text(PAGE)

    text = sync_spec.rules_text(tmp_path)

    assert text.splitlines()[1].startswith('{"id": "FR-901", "page": "a.md", ')
    assert len(text.splitlines()) == 3


def test_an_id_given_on_two_pages_is_found(tmp_path: Path) -> None:
    """The same rule id on a second page is a problem."""
    (tmp_path / "a.md").write_text(PAGE)
    (tmp_path / "b.md").write_text(PAGE)

    assert [str(problem) for problem in sync_spec.prose_problems(tmp_path)] == [
        "b.md:0: FR-901 is given on a.md too"
    ]


def test_check_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --check a stale file is named and left alone; without it, it is written."""
    path = tmp_path / "a.md"
    path.write_text("old")

    assert sync_spec._update(path, "new", check=True) == [
        "a.md is stale: run python tools/sync_spec.py"
    ]
    assert path.read_text() == "old"
    assert sync_spec._update(path, "new", check=False) == []
    assert path.read_text() == "new"
    assert capsys.readouterr().out == "wrote a.md\n"
