"""The table of mutants: how rows are read and applied, in which processes, and what is an error."""

# Longer than 500 lines: rows, edits, hook and tool are tested on the same planted tree.

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import mutant_rows
import pytest
from mutant_rows import Edit, Row, RowError, apply_edits, read_rows

import mutants
from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.contracts import Progress
from meshwire_conformance.errors import Incomplete
from meshwire_conformance.run.loading import load_catalogue
from meshwire_conformance.verdicts import CaseResult, Verdict
from mutants import (
    application_problems,
    check,
    crashes,
    judge,
    log_beside,
    main,
    missed,
    mutant_of,
    run_until,
)

SOURCE = '''"""A module."""


def first(number):
    if number:
        return [
            number,
        ]
    return None


class Second:
    @property
    def value(self):
        if self.number:
            return 1
        return 2

    def other(self):
        return 3
'''
VICTIM = "def answer():\n    return 1\n\n\ndef twice():\n    return 2 * answer()\n"
README = Path(__file__).parents[2] / "conformance" / "mutants" / "README.md"
LIVENESS = "meshwire_reference.wire.liveness"
WORKER = "meshwire_reference.documents.worker"
PRINT = "import victim; print(victim.answer(), victim.twice())"


def edit(find: str, put: str = "X", function: str = "") -> Edit:
    """An edit of the module `victim`."""
    return Edit("victim", find, put, function)


def row_text(name: str, *edits: tuple[str, str, str], noticed_by: str = '["MW-1157"]') -> str:
    """A row of the table, with edits of (module, find, put)."""
    lines = ["[[row]]", f'id = "{name}"', 'rule = "LV-001"', 'mistake = "fails"']
    lines += [f"noticed_by = {noticed_by}"]
    for module, find, put in edits:
        lines += ["[[row.edits]]", f'module = "{module}"', f"find = '{find}'", f"put = '{put}'"]
    return "\n".join(lines) + "\n"


ONE = row_text("one", ("victim", "return 1", "return 10"))
TWO = row_text("two", ("victim", "2 * answer()", "3 * answer()"))


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Return what makes a table of rows with a hook of its own, used by the tool too."""

    def make(*rows: str) -> Path:
        shutil.copytree(mutants.HOOK, tmp_path / "hook", dirs_exist_ok=True)
        (tmp_path / "rows").mkdir(exist_ok=True)
        (tmp_path / "rows" / "all.toml").write_text("\n".join(rows))
        (tmp_path / "victim.py").write_text(VICTIM)
        monkeypatch.setattr(mutants, "HOOK", tmp_path / "hook")
        monkeypatch.setattr(mutants, "read_rows", lambda: read_rows(tmp_path / "rows"))
        return tmp_path

    return make


def start(
    folder: Path, rows: str, *arguments: str, hook: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run Python with the rows applied, and with the module `victim` beside the hook."""
    paths = [*([str(folder / "hook")] if hook else []), str(folder)]
    values = {
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONDONTWRITEBYTECODE": "",
        "MUTANT_ROWS": rows,
    }
    environment = {**os.environ, **values, "MUTANT_RECORD": str(folder / "record")}
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env=environment,
    )


class TestEdits:
    """The place of a text, and its replacement."""

    def test_a_text_that_occurs_once_in_the_function_is_found_there(self) -> None:
        """Also where the module has it more often."""
        edited = apply_edits(SOURCE, [edit("return", "yield", "Second.other")])

        assert SOURCE.replace("return 3", "yield 3") == edited

    def test_a_text_that_has_moved_is_found_in_the_module(self) -> None:
        """Out of its function, or with a function that has another name now."""
        for function in ("first", "Second.gone", "gone"):
            assert "return X" in apply_edits(SOURCE, [edit("3", "X", function)])

    @pytest.mark.parametrize(("find", "count"), [("return", 5), ("nowhere", 0)])
    def test_any_other_text_is_an_error(self, find: str, count: int) -> None:
        """It names the module, the text and how often it occurs."""
        with pytest.raises(RowError, match=f"victim:gone: the text occurs {count} times.*{find}"):
            apply_edits(SOURCE, [edit(find, "X", "gone")])

    def test_lines_are_indented_like_the_line_they_begin_in(self) -> None:
        """In the text to find as in the text to put."""
        found = edit("if self.number:\n    return 1", "for _ in ():\n    pass\nreturn 7", "Second")

        edited = apply_edits(SOURCE, [found])

        assert (
            "        for _ in ():\n            pass\n        return 7\n        return 2" in edited
        )

    def test_a_text_may_begin_deeper_than_it_ends(self) -> None:
        """As the end of a bracket does."""
        edited = apply_edits(SOURCE, [edit("    number,\n]", "    number,\n    7,\n]")])

        assert SOURCE.replace("    number,\n", "    number,\n            7,\n") == edited

    def test_edits_are_found_in_the_unchanged_source(self) -> None:
        """So two of them can swap two texts."""
        edited = apply_edits(SOURCE, [edit("return 1", "return 2"), edit("return 2", "return 1")])

        assert "return 2\n        return 1" in edited

    def test_edits_that_overlap_are_an_error(self) -> None:
        """Neither could be made as it is written."""
        with pytest.raises(RowError, match="two edits overlap"):
            apply_edits(SOURCE, [edit("return 3"), edit("3\n")])


class TestRows:
    """Malformed rows are errors."""

    @pytest.mark.parametrize(
        ("text", "error"),
        [
            (ONE + ONE, "one occurs twice"),
            (row_text("one"), "missing \\['edits'\\]"),
            (row_text("one", *[("victim", "1", "2")] * 7), "7 edits, not 1 to 6"),
            (row_text("one", ("victim", "1", "2"), noticed_by="[]"), "noticed_by or survives"),
            (row_text("one", ("victim", "", "2")), "nothing to find"),
            (ONE.replace("rule", "rules"), "unknown \\['rules'\\], missing \\['rule'\\]"),
            (ONE.replace("mistake", 'kind = "heartbeat"\nmistake'), "kind and field"),
            ("[[rows]]", "holds \\[\\[row\\]\\] only"),
            ("row = ", "all.toml: "),
        ],
    )
    def test_a_malformed_row_is_an_error(
        self, table: Callable[..., Path], text: str, error: str
    ) -> None:
        """It says in which file and row."""
        folder = table(text)

        with pytest.raises(RowError, match=error):
            read_rows(folder / "rows")

    def test_the_indentation_that_lines_share_is_taken_off(
        self, table: Callable[..., Path]
    ) -> None:
        """So a text can be written as it looks best."""
        folder = table(ONE.replace("'return 1'", "'''\n    if a:\n        b\n'''"))

        (found,) = read_rows(folder / "rows").values()

        assert found.edits[0].find == "if a:\n    b"

    def test_the_example_of_the_readme_applies(self, table: Callable[..., Path]) -> None:
        """To the source of today."""
        text = README.read_text("utf-8").split("```toml\n")[1].split("```")[0]
        (row,) = read_rows(table(text) / "rows").values()

        assert list(application_problems([row])) == []

    @pytest.mark.process
    def test_rows_are_checked_without_a_run(self, table: Callable[..., Path]) -> None:
        """Against the sources, the rules, the catalogue and the names that modules define."""
        rows = [
            row_text("absent", (LIVENESS, "no such text", "")),
            row_text("broken", (LIVENESS, "reader = Reader(data)", "reader =")),
            row_text("undefined", (LIVENESS, "reader = Reader(data)", "reader = Raeder(data)")),
            row_text("renamed", (LIVENESS, "Reader(data)", "Reader(data)._never_there")),
            row_text("assigning", (LIVENESS, "Reader(data)", "Reader(data); reader._set_here = 1")),
            row_text("unchanged", (LIVENESS, "Reader(data)", "Reader(data)")),
            row_text("nowhere", ("meshwire_reference.gone", "a", "b")),
            row_text("lawless", (LIVENESS, "Reader(data)", "Reader(b)")).replace("LV", "XX"),
            row_text("caseless", (LIVENESS, "(data)", "()"), noticed_by='["MW-0000"]'),
            row_text("strange", (LIVENESS, "(data)", "()"), noticed_by='["MW-5001"]'),
            row_text(
                "elsewhere", (LIVENESS, "Reader(data)", "Reader(b)"), noticed_by='["MW-1163"]'
            ),
        ]
        folder = table(*(text.replace("mistake", CODEC, 1) for text in rows))

        problems = "\n".join(check(read_rows(folder / "rows")))

        for words in (
            "absent: meshwire_reference.wire.liveness: the text occurs 0 times",
            "broken: ",
            "undefined meshwire_reference.wire.liveness.py:",
            "Undefined name `Raeder`",
            "renamed: no module has the attribute _never_there",
            "unchanged: meshwire_reference.wire.liveness: the edits change nothing",
            "nowhere: no module meshwire_reference.gone",
            "lawless: no rule XX-001",
            "caseless: no case MW-0000",
            "strange: MW-5001 is of the kind socket",
            "elsewhere: none of its cases cites LV-001, or a rule of `also`",
        ):
            assert words in problems
        assert "_set_here" not in problems


CODEC = 'kind = "heartbeat"\nfield = "sent_at"\nmistake'


@pytest.mark.process
class TestHook:
    """An interpreter with the hook on PYTHONPATH applies the rows."""

    def test_edits_are_applied_and_recorded(self, table: Callable[..., Path]) -> None:
        """One line for the module, and rows that are not named change nothing."""
        folder = table(ONE, TWO)

        done = start(folder, "one", "-c", PRINT)

        assert done.stdout == "10 20\n"
        assert (folder / "record").read_text() == "victim\n"

    def test_rows_combine(self, table: Callable[..., Path]) -> None:
        """In one module as in several."""
        assert start(table(ONE, TWO), "one,two", "-c", PRINT).stdout == "10 30\n"

    def test_no_rows_change_nothing(self, table: Callable[..., Path]) -> None:
        """The hook alone is harmless."""
        assert start(table(ONE), "", "-c", PRINT).stdout == "1 2\n"

    def test_compiled_files_are_neither_used_nor_written(self, table: Callable[..., Path]) -> None:
        """One that is there already would win; one of the mutant would outlive it."""
        folder = table(ONE)
        cache = folder / "__pycache__"
        start(folder, "one", "-c", PRINT)

        assert not cache.exists()
        assert start(folder, "", "-c", PRINT, hook=False).stdout == "1 2\n"
        assert cache.exists()
        assert start(folder, "one", "-c", PRINT).stdout == "10 20\n"
        assert start(folder, "", "-c", PRINT, hook=False).stdout == "1 2\n"

    def test_a_program_that_is_started_as_a_module_is_edited(
        self, table: Callable[..., Path]
    ) -> None:
        """As the document worker is: by another process, with -P -m."""
        folder = table(row_text("program", ("program", '"right"', '"wrong"')))
        (folder / "program.py").write_text('print("right")\n')
        outer = f"import subprocess; subprocess.run([{sys.executable!r}, '-P', '-m', 'program'])"

        assert start(folder, "program", "-c", outer).stdout == "wrong\n"
        assert (folder / "record").read_text() == "program\n"

    @pytest.mark.parametrize(
        ("rows", "reason"),
        [
            ("absent", "victim: the text occurs 0 times, not once: 'return 7'"),
            ("broken", "victim: the edited source does not compile"),
            ("nowhere", "no_such_module: no source of this module is found"),
            ("unknown", "no row unknown"),
            ("loaded", "loaded before the hook: os"),
        ],
    )
    def test_a_row_that_does_not_apply_ends_the_process(
        self, table: Callable[..., Path], rows: str, reason: str
    ) -> None:
        """With a status of its own, a line on stderr and the same in the record."""
        folder = table(
            row_text("absent", ("victim", "return 7", "")),
            row_text("broken", ("victim", "return 1", "return (")),
            row_text("nowhere", ("no_such_module", "a", "b")),
            row_text("loaded", ("os", "a", "b")),
        )

        done = start(folder, rows, "-c", f"import victim, no_such_module; {PRINT}")

        assert done.returncode == 70
        assert f"mutant rows {rows}: {reason}" in done.stderr
        assert (folder / "record").read_text().splitlines()[-1].startswith(mutant_rows.FAULT)

    def test_a_record_that_cannot_be_written_ends_the_process(
        self, table: Callable[..., Path]
    ) -> None:
        """The error does not look like the mistake of a mutant."""
        folder = table(ONE)
        (folder / "record").mkdir()

        done = start(folder, "one", "-c", PRINT)

        assert (done.returncode, done.stdout) == (70, "")
        assert done.stderr.startswith("mutant rows one: ")
        assert done.stderr.count("\n") == 1


def codec_row(module: str, find: str, put: str) -> str:
    """A row of the codec, about heartbeats."""
    return row_text("one", (module, find, put)).replace("mistake", CODEC, 1)


def heartbeat_of(folder: Path) -> tuple[list[CaseResult], list[str]]:
    """The verdict of the first heartbeat case against the row `one`, and why it was not applied."""
    mutant = mutant_of("one", read_rows(folder / "rows"))
    return asyncio.run(judge(mutant, [load_catalogue().by_id["MW-1157"]]))


def two_modules() -> mutants.Mutant:
    """Return a mutant that edits the modules `a` and `b`, with arguments for one of two cases."""
    row = Row(
        "one",
        "LV-001",
        "fails",
        (Edit("a", "x", "y"), Edit("b", "x", "y")),
        ("MW-1157", "MW-1158"),
        arguments={"MW-1157": ("--no-x",)},
    )
    return mutants.Mutant("one", (row,), row.noticed_by)


class TestTool:
    """The verdict of the tool about a run."""

    @pytest.mark.parametrize("arguments", [["--row", "one", "--only", "MW-9999"], ["--row", "two"]])
    def test_a_selection_that_runs_nothing_is_an_error(
        self,
        table: Callable[..., Path],
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        arguments: list[str],
    ) -> None:
        """Of an unknown case, or of a row that survives."""
        table(ONE, TWO.replace('noticed_by = ["MW-1157"]', 'survives = "why"'))
        monkeypatch.setattr(sys, "argv", ["mutants.py", *arguments])

        assert main() == 1
        assert capsys.readouterr().out == (
            "nothing was run: no selected row names a selected case\n"
        )

    @pytest.mark.process
    def test_a_row_that_is_never_loaded_is_an_error(self, table: Callable[..., Path]) -> None:
        """Not a mutant that no case notices."""
        results, problems = heartbeat_of(table(codec_row("victim", "return 1", "return 2")))

        assert [result.verdict for result in results] == [Verdict.PASS]
        assert problems == ["one was never applied: victim was not loaded"]

    @pytest.mark.process
    def test_a_row_that_does_not_apply_is_an_error(self, table: Callable[..., Path]) -> None:
        """The record of the hook is reported."""
        _, problems = heartbeat_of(table(codec_row(LIVENESS, "?", "")))

        assert "the text occurs 0 times" in problems[0]

    @pytest.mark.process
    @pytest.mark.parametrize(
        ("put", "status", "says"),
        [
            ('int.from_bytes(reader.fixed(8, "sent_at"), "little")', 0, "noticed one: 1 cases"),
            ('reader.number(U64_BE, "sent_at") + 0', 1, "MW-1157 does not notice one: pass"),
        ],
    )
    def test_the_status_says_whether_every_case_notices(
        self,
        table: Callable[..., Path],
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        put: str,
        status: int,
        says: str,
    ) -> None:
        """0 only then; a case that passes is named."""
        table(codec_row(LIVENESS, 'reader.number(U64_BE, "sent_at")', put))
        monkeypatch.setattr(sys, "argv", ["mutants.py"])

        assert main() == status
        assert says in capsys.readouterr().out

    def test_a_codec_row_demands_that_a_failure_names_its_field(self) -> None:
        """A failure that names another field has not noticed this mistake."""
        row = Row("one", "LV-001", "fails", (), ("MW-1157",), kind="heartbeat", field="sent_at")
        mutant = mutants.Mutant("one", (row,), row.noticed_by)
        about = {
            field: CaseResult("MW-1157", Verdict.FAIL, (f"{field} is 2, not 1",))
            for field in ("sent_at", "marker", "unsent_at", "sent_at_all")
        }

        assert missed(mutant, [about["sent_at"]]) == []
        for field in ("marker", "unsent_at", "sent_at_all"):
            assert missed(mutant, [about[field]]) == [
                "no failure of heartbeat with one names sent_at"
            ]

    def test_every_module_of_a_row_must_be_loaded(self, tmp_path: Path) -> None:
        """The one that was not is named."""
        (tmp_path / "record").write_text("a\n")

        assert mutants.unapplied(two_modules(), tmp_path / "record") == [
            "one was never applied: b was not loaded"
        ]

    @pytest.mark.parametrize("verdict", [one for one in Verdict if one is not Verdict.FAIL])
    def test_a_case_that_does_not_fail_has_not_noticed(self, verdict: Verdict) -> None:
        """Neither has one that could not run."""
        (problem,) = missed(two_modules(), [CaseResult("MW-1157", verdict)])

        assert problem.startswith(f"MW-1157 does not notice one: {verdict}")

    @pytest.mark.parametrize("again", [[], ["one was never applied: b was not loaded"]])
    def test_what_a_slow_run_did_not_load_counts_only_if_the_next_one_did_not_either(
        self, monkeypatch: pytest.MonkeyPatch, again: list[str]
    ) -> None:
        """A process that was ended early has loaded nothing."""
        runs = [
            ([CaseResult("MW-1157", Verdict.COULD_NOT_RUN)], ["one was never applied"]),
            ([CaseResult("MW-1157", Verdict.FAIL)], again),
        ]

        async def judge(
            _mutant: mutants.Mutant, cases: Sequence[Case], **_scale: float
        ) -> tuple[list[CaseResult], list[str]]:
            assert [case.id for case in cases] == ["MW-1157"]
            return runs.pop(0)

        monkeypatch.setattr(mutants, "judge", judge)
        row = Row("one", "LV-001", "fails", (), ("MW-1157",))

        assert asyncio.run(mutants.hold([mutants.Mutant("one", (row,), row.noticed_by)])) == again

    def test_a_run_ends_with_the_first_result_that_is_enough(self) -> None:
        """What it has started is ended before it is over."""
        ended: list[str] = []

        async def run(progress: Progress) -> list[CaseResult]:
            try:
                progress(CaseResult("MW-1157", Verdict.PASS))
                progress(CaseResult("MW-1158", Verdict.FAIL))
                await asyncio.Event().wait()
            finally:
                ended.append("run")
            return []

        found = asyncio.run(run_until(lambda result: result.verdict is Verdict.FAIL, run))

        assert [result.case for result in found] == ["MW-1157", "MW-1158"]
        assert ended == ["run"]

    def test_a_run_without_such_a_result_is_whole(self) -> None:
        """Its own results count, not those that were reported on the way."""

        async def run(progress: Progress) -> list[CaseResult]:
            progress(CaseResult("MW-1157", Verdict.PASS))
            return [CaseResult("MW-1157", Verdict.FAIL)]

        (found,) = asyncio.run(run_until(lambda _: False, run))

        assert found.verdict is Verdict.FAIL

    def test_a_fault_of_a_run_is_raised(self) -> None:
        """As if it were awaited."""

        async def run(progress: Progress) -> list[CaseResult]:
            raise Incomplete("the node printed no ready line")

        with pytest.raises(Incomplete):
            asyncio.run(run_until(lambda _: False, run))

    def test_a_crash_is_a_problem_unless_it_is_the_mistake(self, tmp_path: Path) -> None:
        """What the node notes of itself, and every traceback."""
        mutant = two_modules()
        record = tmp_path / "record"
        log = log_beside(record)
        assert crashes(mutant, record, 99) == []
        log.write_text(
            '{"event": "refused", "reason": "bad-key"}\n'
            '{"event": "failed", "at": "StreamData", "why": "KeyError: 7"}\n'
            "Traceback (most recent call last):\n"
            '  File "session.py", line 1, in <module>\n'
            "AssertionError\n"
            "meshwire-node: internal error: IndexError: pop\n"
            '{"event": "failed", "at": "StreamData", "why": "KeyError: 7"}\n'
        )

        assert crashes(mutant, record, log.stat().st_size) == [
            "crash of one: KeyError: 7",
            "crash of one: AssertionError",
            "crash of one: IndexError: pop",
        ]
        # What is logged after the last case has decided none.
        assert crashes(mutant, record, 60) == []
        (row,) = mutant.rows
        meant = replace(mutant, rows=(replace(row, crashes=True),))
        assert crashes(meant, record, log.stat().st_size) == []

    @pytest.mark.process
    def test_a_codec_that_crashes_is_found_out(self, table: Callable[..., Path]) -> None:
        """Its case fails, and that is no notice."""
        _, problems = heartbeat_of(
            table(codec_row(LIVENESS, "reader = Reader(data)", "raise KeyError(7)"))
        )

        assert problems == ["crash of one: KeyError: 7"]

    def test_arguments_are_those_of_the_case(self) -> None:
        """Another case starts the node without them."""
        mutant = two_modules()

        assert [mutant.arguments(case) for case in mutant.cases] == [("--no-x",), ()]

    @pytest.mark.socket
    @pytest.mark.process
    def test_the_document_worker_of_a_node_is_reached(self, table: Callable[..., Path]) -> None:
        """Its module is loaded by no other process, so the record shows it."""
        text = row_text("one", (WORKER, "def main(", "def main("), noticed_by='["MW-5001"]')
        rows = read_rows(table(text) / "rows")

        results, problems = asyncio.run(
            judge(mutant_of("one", rows), [load_catalogue().by_id["MW-5001"]])
        )

        assert [result.verdict for result in results] == [Verdict.PASS]
        assert problems == []


def test_rows_that_are_read_alone_are_those_of_the_whole_table() -> None:
    """Whatever stands around them; a name that is not there is looked for in the whole table."""
    whole = read_rows()
    names = list(whole)[::7]

    assert read_rows(only=", ".join(names)) == {name: whole[name] for name in names}
    assert read_rows(only=f"{names[0]},no-such-row") == whole
