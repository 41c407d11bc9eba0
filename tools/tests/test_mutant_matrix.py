"""The matrix of mutants and cases: which cases have a row of their own."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec.structs import replace as replace_line
from mutant_rows import Edit, Row, RowError

import mutant_matrix
from meshwire_conformance.catalogue.case import BOTH_VALID, SOCKET, Case
from meshwire_conformance.verdicts import CaseResult, Verdict
from mutant_matrix import (
    Line,
    main,
    matrix_text,
    measure,
    measure_all,
    most_useful,
    of_node,
    owners,
    read_matrix,
    report,
    rows_of_file,
)
from mutant_results import digest_of_row

ROW = Row("one", "TR-001", "fails", (Edit("a", "b", "c"),), ("MW-5001",))
OTHER = replace(ROW, id="two")


def case(name: str, *rules: str) -> Case:
    """A case over connections about these rules."""
    return Case(name, name, SOCKET, "transport", rules, BOTH_VALID, "hand", "")


CASES = [case("MW-5001", "TR-001", "TR-002"), case("MW-5002", "TR-001"), case("MW-5003", "DC-001")]
BY_ID = {one.id: one for one in CASES}


def line(failed: str, why: str = "", row: Row = ROW) -> Line:
    """The line of a row."""
    return Line(digest_of_row(row), failed, why)


@pytest.mark.parametrize(
    ("failed", "why", "names"),
    [
        ("5001", "", ["MW-5001"]),
        ("5001 5002", "", ["MW-5001", "MW-5002"]),
        ("5001 5003", "", []),
        ("", "", []),
        ("5001", "crash of one: KeyError", []),
    ],
)
def test_a_row_of_its_own_fails_cases_of_one_rule_alone(
    failed: str, why: str, names: list[str]
) -> None:
    """Siblings may fail too; a crash shows nothing."""
    assert owners(line(failed, why), BY_ID) == set(names)


def test_a_coarse_row_is_no_row_of_its_own() -> None:
    """Its run ended early, so that other cases might have failed too."""
    coarse = replace_line(line("5001"), coarse=True)

    assert not owners(coarse, BY_ID)


def test_rows_that_name_cases_without_a_row_of_their_own_come_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was measured meanwhile counts."""
    many = replace(ROW, id="many", noticed_by=("MW-5001", "MW-5002"))
    last = replace(ROW, id="last", noticed_by=("MW-5003",))
    lines: dict[str, Line] = {}
    monkeypatch.setattr(mutant_matrix, "reached", lambda _row, cases, _ran: cases)
    order = most_useful([ROW, last, many], lines, CASES, {})

    assert next(order) == many
    lines["many"] = line("5001 5002", row=many)
    assert list(order) == [last, ROW]


@pytest.mark.parametrize(
    ("failing", "expected"),
    [
        ("5001 5002", line("5001 5002")),
        ("5001 5002 5003", Line(digest_of_row(ROW), "5001 5002 5003", "", coarse=True)),
    ],
)
def test_a_run_ends_when_no_rule_is_common_to_the_cases_that_failed(
    failing: str, expected: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two cases cite TR-001, so the failure of a case that does not ends the run."""

    async def judge(
        _mutant: object, _cases: object, _scale: float, enough: Callable[[CaseResult], bool]
    ) -> tuple[list[CaseResult], list[str]]:
        results = [CaseResult(f"MW-{number}", Verdict.FAIL) for number in failing.split()]
        results.append(CaseResult("MW-5009", Verdict.PASS))
        asked = [enough(one) for one in results]
        return results[: asked.index(True) + 1] if True in asked else results, []

    monkeypatch.setattr(mutant_matrix, "judge", judge)
    monkeypatch.setattr(mutant_matrix, "reached", lambda _row, cases, _ran: cases)

    assert asyncio.run(measure(ROW, CASES, {})) == expected


def test_lines_of_changed_rows_are_not_read(tmp_path: Path) -> None:
    """They are measured again."""
    path = tmp_path / "matrix.json"
    path.write_text(matrix_text({"one": line("5001"), "two": line("5002"), "gone": line("")}))

    assert read_matrix({"one": ROW, "two": replace(OTHER, rule="TR-002")}, path) == {
        "one": line("5001")
    }
    assert read_matrix({"one": ROW}, tmp_path / "absent.json") == {}


@pytest.mark.parametrize(
    ("lines", "status", "says"),
    [
        ({"one": line("5001")}, 0, "1 of 2 rows of the node are measured"),
        ({"one": line("5001"), "two": line("5002 5003")}, 1, "no row of its own: MW-5002 MW-5003"),
        ({"one": line("5001 5002"), "two": line("")}, 1, "fails with no row: MW-5003"),
        (
            {"one": line("5001 5002"), "two": line("5003")},
            0,
            "3 of 3 cases have a row",
        ),
    ],
)
def test_a_whole_table_must_have_a_row_for_each_case(
    lines: dict[str, Line], status: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A part of it says what it can."""
    assert report([ROW, OTHER], lines, CASES) == status
    assert says in capsys.readouterr().out


def test_rows_are_kept_as_they_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So an interrupted run loses one row for each worker; none begins after the end."""

    async def fake(row: Row, _cases: list[Case], _ran: object) -> Line:
        return line("5001", row=row)

    monkeypatch.setattr(mutant_matrix, "measure", fake)
    monkeypatch.setattr(mutant_matrix, "MATRIX", tmp_path / "matrix.json")
    lines: dict[str, Line] = {}

    asyncio.run(measure_all([ROW, OTHER], lines, CASES, {}, 0.0))
    assert lines == {}
    asyncio.run(measure_all([ROW, OTHER], lines, CASES, {}, float("inf")))

    assert read_matrix({"one": ROW, "two": OTHER}, tmp_path / "matrix.json") == lines
    assert set(lines) == {"one", "two"}


def test_only_rows_of_the_node_are_in_the_matrix() -> None:
    """Those of the codec are for vectors."""
    assert of_node([ROW, replace(ROW, kind="heartbeat", field="marker")]) == [ROW]


def test_an_unknown_file_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """And exit status 2."""
    assert main(["--check", "--file", "absent.toml"]) == 2
    assert capsys.readouterr().err == "no file absent.toml in conformance/mutants/rows\n"
    with pytest.raises(RowError):
        rows_of_file({}, "absent.toml")
