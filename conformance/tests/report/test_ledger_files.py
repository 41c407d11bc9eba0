"""Ledgers as files: drafted from a run, pruned without loss, compared."""

import tomllib
from dataclasses import replace
from datetime import date
from pathlib import Path

import msgspec
import pytest

from meshwire_conformance.errors import UsageError
from meshwire_conformance.report.comparison import compare, comparison_lines
from meshwire_conformance.report.ledger import KnownFailure, read_ledger
from meshwire_conformance.report.ledger_files import changes, drafted, passing, pruned
from meshwire_conformance.run.loading import load_listing
from meshwire_conformance.verdicts import TOO_SLOW
from meshwire_spec.schemas.report import Judge, ReportedCase, ReportedRun, ReportFile

DAY = date(2027, 3, 1)
HOSTILE = 'a"\x00\\ ]] \n\x7f\x1b[31m\u202e'
HAND_WRITTEN = """# Ours.

# Both are one bug.
[[known]]
id = "MW-1001"
reason = "bug 1"
symptom = "accepted"

[[known]]
reason = "bug 1"
id = 'MW-1002'
symptom = "accepted"

# Another.
[[known]]
id = "MW-1003"   # with a remark
reason = "[[known]] in a text"
symptom = "no-answer"
"""


def case(name: str, verdict: str, symptom: str = "", cause: str = "") -> ReportedCase:
    """A case of a report."""
    return ReportedCase(
        id=name,
        kind="heartbeat",
        part="liveness",
        title=f"title of {name}",
        rules=["LV-001"],
        verdict=verdict,  # type: ignore[arg-type] # one of the names
        symptom=symptom,
        reasons=[],
        cause=cause,
        sent=[],
        expected=[],
        received=[],
        notes=[],
        unbound=False,
        slow=False,
        variant="",
        duration_s=0.0,
        again="",
    )


def report(*runs: list[ReportedCase], target: str = "stdio:codec") -> ReportFile:
    """A report of these runs."""
    digest = "0" * 64
    judge = Judge(version="0", spec_revision="0", digest=digest, selection_digest=digest)
    shown = [
        ReportedRun(name=f"run {number}", faults=[], parts={}, cases=cases)
        for number, cases in enumerate(runs)
    ]
    return ReportFile(
        report=1,
        suite=judge,
        target=target,
        level="strict",
        seed=0,
        exit_code=1,
        duration_s=0.0,
        runs=shown,
    )


def test_a_draft_has_what_failed_grouped_by_cause() -> None:
    """With symptoms of all runs; what passed or was not judged is left out."""
    first = [
        case("MW-1001", "fail", "accepted", "numbers are little endian"),
        case("MW-1002", "pass"),
        case("MW-1003", "could-not-run", TOO_SLOW),
        case("MW-1004", "fail", "no-answer"),
        case("MW-1005", "fail", "accepted", "numbers are little endian"),
        case("MW-1006", "could-not-run", "control-failed"),
        case("MW-1007", "fail", "stale"),
    ]
    second = [case("MW-1004", "fail", "no-code")]

    draft = drafted(report(first, second), "", DAY)
    found = {entry["id"]: entry for entry in tomllib.loads(draft.text)["known"]}

    assert draft.entries == 4
    assert draft.unexplained == sum(not entry["reason"] for entry in found.values()) > 0
    assert drafted(report(first, second), "issue 12", DAY).unexplained == 0
    assert list(found) == ["MW-1001", "MW-1005", "MW-1004", "MW-1006"]
    assert found["MW-1004"]["symptom"] == "no-answer | no-code"
    assert found["MW-1004"]["reason"] == ""
    assert found["MW-1001"]["reason"] == "numbers are little endian"
    assert found["MW-1001"]["expires"] == DAY
    assert "# numbers are little endian (2 cases in that run)" in draft.text


def test_text_of_a_target_cannot_break_out_of_a_draft(tmp_path: Path) -> None:
    """Quotes, escapes, newlines and NUL are one value, and comments stay in their lines."""
    hostile = [case("MW-1001", "fail", HOSTILE, HOSTILE)]

    draft = drafted(report(hostile, target=HOSTILE), HOSTILE, None)
    (tmp_path / "known.toml").write_text(draft.text)
    entry = read_ledger(tmp_path / "known.toml", load_listing())["MW-1001"]

    assert (entry.symptom, entry.reason) == (HOSTILE, HOSTILE)


def test_an_entry_is_removed_where_every_run_passed() -> None:
    """One that failed in one dialect, or was not judged, stays."""
    first = [case("MW-1001", "pass"), case("MW-1002", "pass"), case("MW-1003", "fail", "stale")]
    second = [case("MW-1001", "pass"), case("MW-1002", "known-failing", "accepted")]
    third = [case("MW-1004", "not-applicable"), case("MW-1005", "pass")]
    known = ("MW-1001", "MW-1002", "MW-1003", "MW-1004")

    assert passing(report(first, second, third), known) == ["MW-1001", "MW-1003"]


@pytest.mark.parametrize(
    "remove", [set(), {"MW-1001"}, {"MW-1002"}, {"MW-1003"}, {"MW-1001", "MW-1002"}]
)
def test_pruning_leaves_everything_else_as_it_is(remove: set[str]) -> None:
    """Comments too; that of a group stays while the group has an entry."""
    text = pruned(HAND_WRITTEN, remove)
    ids = [entry["id"] for entry in tomllib.loads(text)["known"]]

    assert ids == [name for name in ("MW-1001", "MW-1002", "MW-1003") if name not in remove]
    assert "# Ours." in text
    assert ("# Both are one bug." in text) == bool(set(ids) - {"MW-1003"})
    assert ("# Another." in text) == ("MW-1003" in ids)
    assert text == HAND_WRITTEN or remove


ONE = 'reason = "r"\nsymptom = "accepted"\nid = "MW-1001"\n'
TWO = ONE.replace("MW-1001", "MW-1002")
OTHER_FORMS = {
    "one line": 'known = [{id = "MW-1001", reason = "r"}, {id = "MW-1002", reason = "r"}]\n',
    "a quoted name": f'[["known"]]\n{ONE}[["known"]]\n{TWO}',
    "a quoted member": f"[[known]]\n{ONE.replace('id', chr(34) + 'id' + chr(34))}[[known]]\n{TWO}",
    "a line in a text": f'[[known]]\n{TWO}note = """\n[[known]]\nid = "MW-1001"\n"""\n',
}


@pytest.mark.parametrize("form", OTHER_FORMS)
def test_a_ledger_that_cannot_be_pruned_is_never_said_to_be(form: str) -> None:
    """It is valid TOML, and would lose an entry or keep one without a word."""
    with pytest.raises(UsageError, match="remove by hand: MW-1001"):
        pruned(OTHER_FORMS[form], {"MW-1001"})


def test_blanks_around_an_entry_do_not_keep_it() -> None:
    """As TOML allows them."""
    text = f"  [[ known ]]\n  {ONE.replace('id', '  id')}\n[[known]] # b\n{TWO}"

    assert [one["id"] for one in tomllib.loads(pruned(text, {"MW-1001"}))["known"]] == ["MW-1002"]


def test_nothing_is_left_of_a_ledger_that_is_not_needed() -> None:
    """A file without entries is a ledger too."""
    text = pruned(HAND_WRITTEN, {"MW-1001", "MW-1002", "MW-1003"})

    assert tomllib.loads(text) == {}


def test_two_ledgers_are_compared_member_by_member() -> None:
    """Added, removed, changed."""
    one = KnownFailure("MW-1001", "r", "accepted")
    old = {"MW-1001": one, "MW-1002": one}
    new = {"MW-1001": replace(one, symptom="no-code"), "MW-1003": one}

    assert [line[:9] for line in changes(old, new)] == ["~ MW-1001", "- MW-1002", "+ MW-1003"]
    assert changes(old, old) == []


def test_a_comparison_of_reports_shows_exactly_what_changed() -> None:
    """Broken, new, mended, otherwise; what ended alike is counted alone."""
    old = report(
        [
            case("MW-1001", "pass"),
            case("MW-1002", "fail", "accepted"),
            case("MW-1003", "fail", "accepted"),
            case("MW-1004", "fail", "accepted"),
            case("MW-1005", "pass"),
            case("MW-1006", "fail", "accepted"),
        ]
    )
    new = report(
        [
            case("MW-1001", "fail", "accepted"),
            case("MW-1002", "pass"),
            case("MW-1003", "fail", "no-code"),
            case("MW-1004", "fail", "accepted"),
            case("MW-1005", "pass"),
            case("MW-1007", "fail", "no-answer"),
        ]
    )

    found = compare(old, new)
    lines = list(comparison_lines(found))

    assert found.is_worse
    assert {sort: [one.case for one in found.changes[sort]] for sort in found.changes} == {
        "broken": ["MW-1001"],
        "mended": ["MW-1002"],
        "otherwise": ["MW-1003"],
        "gone": ["MW-1006"],
        "new": ["MW-1007"],
    }
    assert lines[-1] == "1 broken, 1 new, 1 mended, 2 alike"
    assert not compare(old, old).is_worse
    assert list(comparison_lines(compare(old, old))) == ["0 broken, 0 new, 0 mended, 6 alike"]


def test_a_case_that_could_not_run_is_bad_on_either_side_of_a_comparison() -> None:
    """Also one that only one of the runs has."""
    old = report([case("MW-1001", "could-not-run"), case("MW-1002", "pass")])
    new = report([case("MW-1002", "could-not-run"), case("MW-1003", "could-not-run")])
    found = compare(old, new)

    assert {sort: [one.case for one in found.changes[sort]] for sort in found.changes} == {
        "broken": ["MW-1002"],
        "gone": ["MW-1001"],
        "new": ["MW-1003"],
    }


def test_unlike_runs_are_compared_with_a_word() -> None:
    """Another target or suite is said before the changes."""
    other = msgspec.structs.replace(report([]), target="stdio:\x1b[2J", level="wire")

    assert compare(report([]), other).notes == [
        "another target: stdio:codec -> stdio:\\x1b[2J",
        "another level: strict -> wire",
    ]
