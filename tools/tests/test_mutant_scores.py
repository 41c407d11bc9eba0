"""Scores of mutants: when a search ends, what counts, what is kept, and what the page says."""

import asyncio
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs
from mutant_rows import Edit, Row

import mutant_scores
from meshwire_conformance.catalogue.case import BOTH_VALID, SOCKET, Case
from meshwire_conformance.run.loading import load_catalogue
from meshwire_conformance.verdicts import CaseResult, Verdict
from mutant_page import MARK, package_of, page_text
from mutant_results import (
    Outcome,
    State,
    digest_of_cases,
    digest_of_row,
    doubtful,
    is_kill,
    read_results,
    result_problems,
    write_results,
)
from mutant_scores import (
    SAMPLED_S,
    Store,
    default_seed,
    is_quick,
    main,
    measure,
    measure_again,
    measure_all,
    progress_line,
    sample_of,
    surprises,
)
from mutants import CRASHED, HURRIED, Enough, Mutant
from turns import all_wait

ROW = Row(
    "late-answer",
    "TR-001",
    "answers late",
    (Edit("meshwire_reference.transport.lab.link", "a", "b"),),
    ("MW-1",),
)
SURVIVOR = replace(ROW, id="slow-answer", noticed_by=(), survives="it shows in a year | or later")


def case(name: str, *rules: str, kind: str = SOCKET, digest: str = "") -> Case:
    """A case about these rules."""
    return Case(name, name, kind, "transport", rules, BOTH_VALID, "hand", digest)


CASES = (case("MW-1", "TR-001"), case("MW-2", "TR-001"), case("MW-3", "DC-001"))
BY_ID = {one.id: one for one in CASES}


def outcome(state: State = State.NOTICED, by: str = "MW-1", row: Row = ROW) -> Outcome:
    """The outcome of a row as it is now."""
    return Outcome(digest_of_row(row), digest_of_cases(row, BY_ID), state, 1.5, by)


class FakeJudge:
    """Judges by a table; a case that is not in it passes. Ends a run at the first that is enough.

    With a list of verdicts a case has the first of them in its first run, and so on.
    """

    def __init__(
        self, verdicts: Mapping[str, Verdict | list[Verdict]], problems: Sequence[str] = ()
    ) -> None:
        self.runs: list[tuple[tuple[str, ...], float]] = []
        self._verdicts = dict(verdicts)
        self._problems = list(problems)

    async def __call__(
        self, mutant: Mutant, cases: Sequence[Case], scale: float, enough: Enough | None
    ) -> tuple[list[CaseResult], list[str]]:
        """Return the verdicts up to the first that is enough."""
        self.runs.append((tuple(one.id for one in cases), scale))
        results = []
        for one in cases:
            verdict = self._verdicts.get(one.id, Verdict.PASS)
            if isinstance(verdict, list):
                verdict = verdict.pop(0)
            results.append(CaseResult(one.id, verdict))
            if enough is not None and enough(results[-1]):
                break
        return results, self._problems


def measured(judge: FakeJudge, row: Row = ROW, cases: Sequence[Case] = CASES) -> Outcome:
    """The outcome of a row with a fake judge."""
    return asyncio.run(measure(row, cases, judge))


class TestSearch:
    """The steps in which cases are run against a mutant."""

    def test_a_named_case_that_notices_is_enough(self) -> None:
        """No other case is run."""
        judge = FakeJudge({"MW-1": Verdict.FAIL})

        found = measured(judge)

        assert (found.state, found.by, found.beside) == (State.NOTICED, "MW-1", ())
        assert judge.runs == [(("MW-1",), HURRIED)]

    def test_where_the_named_cases_miss_those_about_the_rule_follow(self) -> None:
        """And the rest is not run if one of them notices."""
        judge = FakeJudge({"MW-2": Verdict.FAIL})

        assert measured(judge).by == "MW-2"
        assert judge.runs == [(("MW-1",), HURRIED), (("MW-1",), 1.0), (("MW-2",), HURRIED)]

    def test_a_failure_of_another_rule_does_not_count(self) -> None:
        """It is listed beside, and the mutant survives."""
        judge = FakeJudge({"MW-3": Verdict.FAIL})

        found = measured(judge)

        assert (found.state, found.by, found.beside) == (State.SURVIVED, "", ("MW-3",))
        assert [cases for cases, _ in judge.runs[1:]] == [("MW-1",), ("MW-2",), ("MW-3",)]

    def test_a_rule_that_the_row_allows_counts(self) -> None:
        """As its own does."""
        row = replace(ROW, also=("DC-001",), noticed_by=("MW-3",))

        assert measured(FakeJudge({"MW-3": Verdict.FAIL}), row).by == "MW-3"

    @pytest.mark.parametrize("verdict", [Verdict.COULD_NOT_RUN, Verdict.PASS])
    def test_named_cases_that_miss_run_again_with_full_deadlines(self, verdict: Verdict) -> None:
        """Since hurried deadlines decide nothing on a busy machine."""
        judge = FakeJudge({"MW-1": [verdict, Verdict.FAIL]})

        assert measured(judge).by == "MW-1"
        assert judge.runs == [(("MW-1",), HURRIED), (("MW-1",), 1.0)]

    def test_others_about_the_rule_run_again_if_they_could_not(self) -> None:
        """One that passed has decided."""
        judge = FakeJudge({"MW-2": [Verdict.COULD_NOT_RUN, Verdict.FAIL]})

        assert measured(judge).by == "MW-2"
        assert judge.runs[2:] == [(("MW-2",), HURRIED), (("MW-2",), 1.0)]

    def test_a_case_that_never_runs_leaves_the_row_undecided(self) -> None:
        """A could-not-run is no kill, and no survival either."""
        found = measured(FakeJudge({"MW-2": Verdict.COULD_NOT_RUN}))

        assert (found.state, found.why) == (State.UNDECIDED, "MW-2 could not run")

    def test_a_crash_does_not_count(self) -> None:
        """Also if a case about the rule fails because of it."""
        judge = FakeJudge({"MW-1": Verdict.FAIL}, [f"{CRASHED} late-answer: KeyError: 7"])

        found = measured(judge)

        assert (found.state, found.by) == (State.CRASHED, "")
        assert found.why == "crash of late-answer: KeyError: 7"

    def test_a_row_that_was_not_applied_is_undecided(self) -> None:
        """Not a survivor."""
        assert measured(FakeJudge({}, ["never applied"])).state is State.UNDECIDED

    def test_a_row_that_survives_is_run_with_the_cases_about_its_rule(self) -> None:
        """One of them may have learned to notice it."""
        judge = FakeJudge({})

        assert measured(judge, SURVIVOR).state is State.SURVIVED
        assert [cases for cases, _ in judge.runs] == [("MW-1", "MW-2")]

    @pytest.mark.parametrize("verdict", [one for one in Verdict if one is not Verdict.FAIL])
    def test_only_a_failure_is_a_kill(self, verdict: Verdict) -> None:
        """Every other verdict is none."""
        assert not is_kill(ROW, CASES[0], CaseResult("MW-1", verdict))

    def test_a_kill_of_the_codec_names_kind_and_field(self) -> None:
        """A failure of another kind, or about another field, is none."""
        row = replace(ROW, kind="heartbeat", field="sent_at")
        about = CaseResult("MW-1", Verdict.FAIL, ("sent_at is 2, not 1",))
        beats = case("MW-1", "TR-001", kind="heartbeat")

        assert is_kill(row, beats, about)
        assert not is_kill(row, case("MW-1", "TR-001", kind="tombstone"), about)
        assert not is_kill(row, beats, replace(about, reasons=("marker is 2, not 1",)))


class TestRound:
    """A whole round: workers, the file to resume from, samples."""

    def test_rows_are_shared_by_the_workers(self) -> None:
        """Each is measured once."""
        rows = [replace(ROW, id=f"row-{number}") for number in range(5)]
        noted: list[str] = []

        async def fake(row: Row) -> Outcome:
            await all_wait()
            return outcome(row=row)

        asyncio.run(measure_all(rows, fake, lambda name, _: noted.append(name), beside=2))

        assert sorted(noted) == [row.id for row in rows]

    def test_a_row_that_surprises_in_a_sample_is_measured_once_more(self) -> None:
        """A busy machine may leave its cases undecided; what it becomes then counts."""
        rows = [replace(ROW, id="as-said"), replace(ROW, id="undecided"), SURVIVOR]
        done = {
            "as-said": outcome(row=rows[0]),
            "undecided": outcome(State.UNDECIDED, "", rows[1]),
            SURVIVOR.id: outcome(State.SURVIVED, "", SURVIVOR),
        }
        again: list[str] = []

        async def fake(row: Row) -> Outcome:
            again.append(row.id)
            return outcome(row=row)

        asyncio.run(measure_again(rows, done, fake, done.__setitem__))

        assert again == ["undecided"]
        assert list(surprises(rows, done)) == []

    def test_no_row_begins_after_the_end(self) -> None:
        """So a long round can be run in pieces."""
        noted: list[str] = []

        async def fake(row: Row) -> Outcome:
            return outcome(row=row)

        asyncio.run(measure_all([ROW], fake, lambda name, _: noted.append(name), 2, ends_s=0.0))

        assert noted == []

    def test_a_round_is_resumed(self, tmp_path: Path) -> None:
        """Half a line and rows that were changed are left out."""
        path = tmp_path / "build" / "mutants.jsonl"
        store = Store(path)
        store.add(ROW.id, outcome())
        store.add(SURVIVOR.id, outcome(State.SURVIVED, "", SURVIVOR))
        with path.open("ab") as file:
            file.write(b'["late-answer",{"row":')
        edited = replace(SURVIVOR, rule="TR-002")

        found = store.read({ROW.id: ROW, SURVIVOR.id: edited}, BY_ID)
        store.clear()

        assert found == {ROW.id: outcome()}
        assert store.read({ROW.id: ROW}, BY_ID) == {}

    def test_a_sample_is_that_of_its_seed(self) -> None:
        """In whatever order the rows come; the seed of a table moves with a row."""
        rows = [replace(ROW, id=f"row-{number}") for number in range(50)]

        one = sample_of(rows, 10, "7")

        assert one == sample_of(reversed(rows), 10, "7")
        assert one != sample_of(rows, 10, "8")
        assert len(sample_of(rows, 99, "7")) == 50
        assert default_seed(rows) == default_seed(reversed(rows))
        assert default_seed(rows) != default_seed([replace(row, rule="DC-001") for row in rows])

    def test_a_sample_has_rows_that_are_noticed_in_a_short_time(self) -> None:
        """A gate waits for none of the others."""
        slow = Outcome("", "", State.NOTICED, SAMPLED_S + 1, "MW-1")

        assert is_quick({ROW.id: outcome()})(ROW)
        for outcomes in ({}, {ROW.id: slow}, {ROW.id: outcome(State.SURVIVED, "")}):
            assert not is_quick(outcomes)(ROW)

    def test_a_row_that_became_something_else_is_a_surprise(self) -> None:
        """Unless nothing surprises."""
        rows = [ROW, SURVIVOR]
        as_said = {ROW.id: outcome(), SURVIVOR.id: outcome(State.SURVIVED, "", SURVIVOR)}
        otherwise = {
            ROW.id: outcome(State.SURVIVED, ""),
            SURVIVOR.id: outcome(State.NOTICED, "MW-2", SURVIVOR),
        }

        assert list(surprises(rows, as_said)) == []
        assert list(surprises(rows, otherwise)) == [
            "late-answer survived: no case of its rule fails",
            "slow-answer says that it survives, and MW-2 notices it",
        ]
        assert list(surprises([ROW], {ROW.id: outcome(by="MW-2")})) == [
            "late-answer: none of the named cases notices it, MW-2 does: name that"
        ]

    @pytest.mark.parametrize("has_colour", [False, True])
    def test_a_line_says_what_became_of_a_row(self, *, has_colour: bool) -> None:
        """With a colour only where one is wanted."""
        line = progress_line(3, 40, "late-answer", outcome(), has_colour=has_colour)

        assert ("\x1b[" in line) == has_colour
        assert line.replace("\x1b[32m", "").replace("\x1b[0m", "") == (
            " 3/40 noticed   late-answer by MW-1, 1.5 s"
        )


class TestResults:
    """The file of results, compared with the rows."""

    def test_results_survive_the_file(self, tmp_path: Path) -> None:
        """One line for each row."""
        path = tmp_path / "results.json"
        results = {ROW.id: outcome(), SURVIVOR.id: outcome(State.SURVIVED, "", SURVIVOR)}

        write_results(results, path)

        assert read_results(path) == results
        assert len(path.read_text().splitlines()) == 4

    def test_words_change_no_digest_and_everything_else_does(self) -> None:
        """A mistake that is described better need not be measured again."""
        assert digest_of_row(replace(ROW, mistake="answers too late")) == digest_of_row(ROW)
        for changed in (
            replace(ROW, rule="TR-002"),
            replace(ROW, noticed_by=("MW-2",)),
            replace(ROW, edits=(Edit(ROW.edits[0].module, "a", "c"),)),
            replace(ROW, also=("DC-001",)),
            replace(ROW, crashes=True),
        ):
            assert digest_of_row(changed) != digest_of_row(ROW)

    def test_rows_without_a_result_of_their_own_are_problems(self) -> None:
        """Missing, changed, gone, or another than the row says."""
        edited = replace(ROW, rule="TR-002")
        noticed = outcome(State.NOTICED, "MW-2", SURVIVOR)

        assert result_problems([ROW], {ROW.id: outcome()}) == []
        assert result_problems([ROW], {}) == ["late-answer: not measured"]
        assert result_problems([edited], {ROW.id: outcome()}) == [
            "late-answer: changed since it was measured"
        ]
        assert result_problems([], {ROW.id: outcome()}) == ["late-answer: a result without a row"]
        assert result_problems([ROW], {ROW.id: outcome(State.SURVIVED, "")}) == [
            "late-answer: it survived, and the row says otherwise"
        ]
        assert result_problems([SURVIVOR], {SURVIVOR.id: noticed}) == [
            "slow-answer: MW-2 notices it, and the row says otherwise"
        ]

    def test_a_busy_machine_may_hide_what_a_row_says_that_it_hides(self) -> None:
        """It is a survivor of the page then, and no error; a crash is one."""
        row = replace(ROW, idle=True)
        hidden = {row.id: outcome(State.SURVIVED, "", row)}

        assert result_problems([row], hidden) == list(surprises([row], hidden)) == []
        assert "shows only as time" in page_text(MARK, [row], hidden)
        crashed = {row.id: outcome(State.CRASHED, "", row)}
        assert result_problems([row], crashed) != []

    def test_a_changed_case_makes_a_result_doubtful(self) -> None:
        """It is reported, and no error."""
        changed = {**BY_ID, "MW-1": case("MW-1", "TR-001", digest="other")}

        assert doubtful([ROW], {ROW.id: outcome()}, BY_ID) == []
        assert doubtful([ROW], {ROW.id: outcome()}, changed) == ["late-answer"]


class TestPage:
    """The page that is made from the results."""

    def test_scores_survivors_and_every_mutant(self) -> None:
        """The part before them is written by hand."""
        results = {ROW.id: outcome(), SURVIVOR.id: outcome(State.SURVIVED, "", SURVIVOR)}

        page = page_text(f"# Mutants\n{MARK}old\n", [ROW, SURVIVOR], results)

        rule = "[TR-001](02-transport.md#TR-001)"
        assert page.startswith(f"# Mutants\n{MARK}\n2 of 2 rows have been measured.\n\n| Package |")
        assert "| `transport/lab` | 2 | 1 | 50.0 % |" in page
        assert (
            f"| `slow-answer` | {rule} | answers late | it shows in a year \\| or later |" in page
        )
        assert f"| `late-answer` | `transport/lab` | {rule} | answers late | MW-1 | 1.5 |" in page
        assert "old" not in page
        assert page == page_text(page, [ROW, SURVIVOR], results)

    def test_a_survivor_without_reason_is_said_to_have_none(self) -> None:
        """So is a notice by a case that the row does not name."""
        lost = page_text(MARK, [ROW], {ROW.id: outcome(State.CRASHED, "")})
        other = page_text(MARK, [ROW], {ROW.id: outcome(by="MW-2")})

        assert "**no reason given** (crashed: no case)" in lost
        assert "MW-2 (not named by the row)" in other
        assert "Every mutant was noticed." in other

    def test_a_package_is_that_of_the_first_edit(self) -> None:
        """Each transport has a score of its own."""
        core = replace(ROW, edits=(Edit("meshwire_reference.core.peer.session", "a", "b"),))

        assert (package_of(ROW), package_of(core)) == ("transport/lab", "core")


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table of one row, with results and page of its own."""
    real = replace(ROW, noticed_by=("MW-5108",))
    monkeypatch.setattr(mutant_scores, "read_rows", lambda: {real.id: real})
    monkeypatch.setattr(mutant_scores, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(mutant_scores, "read_page", (tmp_path / "page.md").read_text)
    place = tmp_path / "results.json"
    monkeypatch.setattr(mutant_scores, "read_results", lambda: read_results(place))
    monkeypatch.setattr(mutant_scores, "write_results", lambda found: write_results(found, place))
    (tmp_path / "page.md").write_text(MARK)
    digest = digest_of_cases(real, load_catalogue().by_id)
    result = Outcome(digest_of_row(real), digest, State.NOTICED, 1.5, "MW-5108")
    write_results({real.id: result}, place)
    return tmp_path


class TestCommand:
    """The command: what is checked without a run, and bad input."""

    def test_the_page_is_checked_against_the_results(
        self, tree: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """It is stale until it is written."""
        assert main(["--check"]) == 1
        assert "page.md is stale" in capsys.readouterr().out
        assert main(["--page"]) == 0
        assert main(["--check"]) == 0
        (tree / "page.md").write_text((tree / "page.md").read_text() + "more\n")
        assert main(["--check"]) == 1

    @pytest.mark.usefixtures("tree")
    def test_an_unknown_row_is_one_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        """It says where the rows are."""
        assert main(["--row", "absent"]) == 2
        assert capsys.readouterr().err == ("no row absent: conformance/mutants/rows has them\n")

    def test_the_rows_whose_cases_have_changed_are_measured(
        self, tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """None while each was measured with its cases as they are; else those, and no others."""
        chosen: list[list[str]] = []

        def run(_rows: Mapping[str, Row], options: Namespace) -> int:
            chosen.append(options.row)
            return 0

        monkeypatch.setattr(mutant_scores, "run", run)
        place = tree / "results.json"
        (name,) = read_results(place)

        assert main(["--doubtful"]) == 0
        assert chosen == []
        assert "0 rows" in capsys.readouterr().out
        write_results({name: structs.replace(read_results(place)[name], cases="other")}, place)
        assert main(["--doubtful"]) == 0
        assert chosen == [[name]]
