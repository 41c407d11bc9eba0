"""The sample of mutants that operators make: edits, the file, reasons, and the page."""

from dataclasses import replace
from pathlib import Path

import pytest
from mutant_rows import apply_edits, read_rows

from operator_draw import edit_of, modules, mutant_in, row_of
from operator_sample import (
    COULD_NOT_RUN,
    EQUAL,
    NOTICED,
    OPEN,
    SURVIVED,
    UNFINISHED,
    UNSEEN,
    Draw,
    Drawn,
    MalformedReason,
    Reason,
    change_of,
    page_text,
    read_reasons,
    read_sample,
    reason_problems,
    sample_text,
)

SOURCE = """def one(value):
    if value:
        return 1 + 2
    return 3


def two(value):
    if value:

        return 1 + 2
    return 3
"""
TEST = "tools/tests/test_operator_sample.py::TestEdits::test_a_line_that_occurs_once_is_the_edit"


def drawn(name: str, state: str = "", module: str = "core.node") -> Drawn:
    """A mutant of the sample."""
    made = Drawn(
        name, f"meshwire_reference.{module}", "AddNot", 7, "if a:\n    b", "if not a:\n    b"
    )
    return replace(made, state=state, case="MW-5001" if state == NOTICED else "")


def sample(*mutants: Drawn) -> Draw:
    """A sample of 900 mutants."""
    return Draw(11, mutants, 900, 2)


class TestEdits:
    """The edit of lines that makes a mutant."""

    def test_a_line_that_occurs_once_is_the_edit(self) -> None:
        """Without its indentation."""
        edit = edit_of("victim", SOURCE, SOURCE.replace("def two(value)", "def two(not_value)"))

        assert edit is not None
        assert (edit.find, edit.put) == ("def two(value):", "def two(not_value):")

    @pytest.mark.parametrize("at", [1, 2])
    def test_lines_beside_it_are_added_until_it_does(self, at: int) -> None:
        """Up to the whole module."""
        parts = SOURCE.split("1 + 2")
        text = "1 + 2".join(parts[:at]) + "1 - 2" + "1 + 2".join(parts[at:])
        edit = edit_of("victim", SOURCE, text)

        assert edit is not None
        assert apply_edits(SOURCE, [edit]) == text

    def test_lines_may_vanish(self) -> None:
        """As with a decorator."""
        text = SOURCE.replace("    if value:\n\n", "")

        edit = edit_of("victim", SOURCE, text)

        assert edit is not None
        assert apply_edits(SOURCE, [edit]) == text

    def test_the_hook_reads_the_row_that_is_written(self, tmp_path: Path) -> None:
        """With every character, for several mutants as for one."""
        odd = replace(drawn("odd"), find='x = "a\\"\n\ty = é\x01"', put="x = '''\\'''")
        mutant = mutant_in(tmp_path, odd, drawn("plain"))

        rows = read_rows(tmp_path)

        assert mutant.name == "odd,plain"
        assert [row.edits for row in rows.values()] == [
            row_of(one).edits for one in (odd, drawn("plain"))
        ]

    def test_the_command_names_the_table(self, tmp_path: Path) -> None:
        """Which the hook reads in place of the usual one."""
        command = mutant_in(tmp_path, drawn("one")).command(tmp_path / "record")

        assert f"MUTANT_TABLE={tmp_path}" in command
        assert "MUTANT_ROWS=one" in command

    def test_modules_are_those_of_the_packages(self) -> None:
        """With subpackages, without empty ones."""
        found = modules()

        assert "meshwire_reference.core.peer.session" in found
        assert "meshwire_reference.transport.lab.link" in found
        assert not [name for name in found if ".node." in name or name.endswith("__init__")]


class TestFiles:
    """The sample and the reasons as files."""

    def test_a_sample_is_read_as_it_was_written(self, tmp_path: Path) -> None:
        """One mutant per line."""
        written = sample(drawn("one", NOTICED), drawn("two"))
        path = tmp_path / "sample.json"
        path.write_text(sample_text(written), "utf-8")

        assert read_sample(path) == written
        assert len(path.read_text("utf-8").splitlines()) == 4

    @pytest.mark.parametrize("text", ['sort = "odd"\nwhy = "x"', 'sort = "equal"', 'other = "x"'])
    def test_a_malformed_reason_is_an_error(self, tmp_path: Path, text: str) -> None:
        """An unknown sort, no reason, or an unknown member."""
        (tmp_path / "reasons.toml").write_text(f'[[reason]]\nids = ["one"]\n{text}\n')

        with pytest.raises(MalformedReason):
            read_reasons(tmp_path / "reasons.toml")

    @pytest.mark.parametrize(
        ("reasons", "problem"),
        [
            ([], "one: survives without a reason"),
            ([Reason(("one", "two"), EQUAL, "x")], "two: a reason, but it does not survive"),
            ([Reason(("one",), EQUAL, "x"), Reason(("one",), OPEN, "x")], "one: two reasons"),
            ([Reason(("one",), UNSEEN, "x", "no/such.py::test")], "no test no/such.py::test"),
            ([Reason(("one",), UNSEEN, "x", f"{TEST}_too")], "no test"),
        ],
    )
    def test_each_survivor_has_one_reason(self, reasons: list[Reason], problem: str) -> None:
        """And a test that it names exists."""
        found = "\n".join(
            reason_problems(sample(drawn("one", SURVIVED), drawn("two", NOTICED)), reasons)
        )

        assert problem in found

    def test_one_reason_is_no_problem(self) -> None:
        """With a test that exists, for several mutants."""
        mutants = sample(drawn("one", SURVIVED), drawn("two", COULD_NOT_RUN))

        assert not list(reason_problems(mutants, [Reason(("one", "two"), UNSEEN, "x", TEST)]))


class TestPage:
    """The generated part of the page."""

    def test_the_share_is_of_the_mutants_that_differ(self) -> None:
        """Equal ones are taken out; unfinished ones make it a range."""
        mutants = [drawn(str(number), NOTICED) for number in range(6)]
        mutants += [drawn("equal", SURVIVED), drawn("unseen", SURVIVED), drawn("open", SURVIVED)]
        mutants += [drawn("hung", COULD_NOT_RUN), drawn("begun", UNFINISHED), drawn("later")]
        reasons = [Reason(("equal",), EQUAL, "x"), Reason(("unseen",), UNSEEN, "y", "a::b")]

        text = page_text(sample(*mutants), reasons)

        assert "| `core` | 60.0 % to 70.0 % | 11 | 6 | 1 | 1 | 1 | 1 | 1 |" in text
        assert "| `all` | 60.0 % to 70.0 % | 11 | 6 | 1 | 1 | 1 | 1 | 1 |" in text
        assert "Of the sample 11 were run." in text

    def test_each_survivor_is_there_with_its_reason(self) -> None:
        """And with the unit test that notices it."""
        text = page_text(
            sample(drawn("one", SURVIVED), drawn("two", NOTICED)),
            [Reason(("one",), UNSEEN, "Because.", "a/b.py::test")],
        )

        assert text.count("line 7") == 1
        assert "Because. Noticed by `a/b.py::test`." in text

    def test_a_change_is_the_lines_that_differ(self) -> None:
        """Without those beside them."""
        assert change_of(drawn("one")) == "`if a:` to `if not a:`"
        assert change_of(replace(drawn("one"), put="    b")) == "`if a:` to nothing"

    def test_the_committed_page_has_a_reason_for_each(self) -> None:
        """So that no survivor goes unread."""
        assert not list(reason_problems(read_sample(), read_reasons()))
        assert page_text(read_sample(), read_reasons())
