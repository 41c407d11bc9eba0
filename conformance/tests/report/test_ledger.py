"""The ledger of known failures cannot rot."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from meshwire_conformance.errors import UsageError
from meshwire_conformance.report.ledger import (
    KnownFailure,
    apply_ledger,
    expiries,
    ledger_file,
    read_ledger,
    read_ledgers,
)
from meshwire_conformance.run.loading import load_catalogue
from meshwire_conformance.verdicts import TOO_SLOW, CaseResult, ExitCode, Verdict, exit_code

CASE = "MW-1001"
ENTRY = KnownFailure(CASE, "D-04", "accepted")
PREDICTED = KnownFailure(CASE, "D-04", "accepted", predicted=True)


def judged(verdict: Verdict, known: KnownFailure, symptom: str = "") -> CaseResult:
    """The result after the ledger is applied."""
    (result,) = apply_ledger([CaseResult(CASE, verdict, symptom=symptom)], {CASE: known})
    return result


def test_a_known_failure_with_its_symptom_is_excused() -> None:
    """It no longer fails the run, and the report still shows it."""
    result = judged(Verdict.FAIL, ENTRY, "accepted")

    assert result.verdict is Verdict.KNOWN_FAILING
    assert exit_code([result]) is ExitCode.PASSED


def test_another_symptom_fails() -> None:
    """A case that breaks in a new way is news."""
    result = judged(Verdict.FAIL, ENTRY, "no-answer")

    assert result.verdict is Verdict.FAIL
    assert "no-answer" in result.reasons[0]


def test_a_case_that_was_too_slow_to_judge_is_no_violation() -> None:
    """Nothing is known of its failure, so the ledger neither holds nor breaks."""
    result = judged(Verdict.COULD_NOT_RUN, ENTRY, TOO_SLOW)

    assert result.verdict is Verdict.COULD_NOT_RUN
    assert exit_code([result]) is ExitCode.INCOMPLETE


def test_a_stale_entry_fails() -> None:
    """A case that passes must be removed from the ledger."""
    assert judged(Verdict.PASS, ENTRY).verdict is Verdict.FAIL
    assert judged(Verdict.PASS, ENTRY).symptom == "stale"


def test_a_predicted_failure_that_passes_is_reported_and_no_failure() -> None:
    """A prediction was never seen; when it does not come true the report says so."""
    result = judged(Verdict.PASS, PREDICTED)

    assert result.verdict is Verdict.PASS
    assert result.notes == ("predicted to fail: D-04",)


def test_an_open_case_can_be_known_and_others_stay() -> None:
    """Could-not-run with the known symptom is excused; not applicable says nothing."""
    known = KnownFailure(CASE, "its control is known", "control-failed")

    assert judged(Verdict.COULD_NOT_RUN, known, "control-failed").verdict is Verdict.KNOWN_FAILING
    assert judged(Verdict.NOT_APPLICABLE, known).verdict is Verdict.NOT_APPLICABLE


@pytest.mark.parametrize(
    "text",
    [
        "no toml",
        "[[other]]\nid = 'MW-1001'",
        "[[known]]\nid = 'MW-1001'",
        "[[known]]\nid = 'MW-0000'\nreason = 'r'\nsymptom = 's'",
        "[[known]]\nid = 'MW-1001'\nreason = 'r'\nsymptom = 's'\nmore = 1",
        "[[known]]\nid = 'MW-1001'\nreason = 1\nsymptom = 's'",
        "known = 3",
        "[[known]]\nid = 'MW-1001'\nreason = ' '\nsymptom = 's'",
        "[[known]]\nid = 'MW-1001'\nreason = 'r'\nsymptom = 's'\nexpires = 'soon'",
        "[[known]]\nid = 'MW-1001'\nreason = 'r'\nsymptom = 's'\n" * 2,
    ],
)
def test_anything_odd_in_the_file_is_a_usage_error(tmp_path: Path, text: str) -> None:
    """A ledger that is not understood never excuses anything."""
    path = tmp_path / "ledger.toml"
    path.write_text(text)

    with pytest.raises(UsageError):
        read_ledger(path, load_catalogue())


def test_an_entry_excuses_nothing_from_the_day_it_expires() -> None:
    """So that a known failure is looked at again; until then it is like any other."""
    entry = replace(ENTRY, expires=date(2027, 3, 1))
    failed = CaseResult(CASE, Verdict.FAIL, symptom="accepted")
    before, after = (
        apply_ledger([failed], {CASE: entry}, day)[0]
        for day in (date(2027, 2, 28), date(2027, 3, 1))
    )

    assert before.verdict is Verdict.KNOWN_FAILING
    assert after.verdict is Verdict.FAIL
    assert "known until 2027-03-01" in after.reasons[0]


def test_a_run_knows_what_has_expired_and_what_soon_will() -> None:
    """A fortnight before, of cases that are known to fail; of those that pass there is no day."""
    day = date(2027, 3, 1)
    entry = replace(ENTRY, expires=day)
    ends = {
        date(2027, 2, 14): ({}, {}),
        date(2027, 2, 15): ({}, {CASE: day}),
        date(2027, 2, 28): ({}, {CASE: day}),
        day: ({CASE: day}, {}),
    }
    for today, found in ends.items():
        failed = CaseResult(CASE, Verdict.FAIL, symptom="accepted")
        other = CaseResult(CASE, Verdict.FAIL, symptom="no-answer")
        passed = CaseResult(CASE, Verdict.PASS)
        judged_then = apply_ledger([failed], {CASE: entry}, today)
        otherwise = apply_ledger([other, passed], {CASE: entry}, today)

        assert expiries(judged_then, {CASE: entry}, today) == found, today
        assert expiries(otherwise, {CASE: entry}, today) == ({}, {})
    assert expiries(judged_then, {CASE: ENTRY}, day) == ({}, {})


def test_a_flaky_case_may_pass_or_fail_as_it_says(tmp_path: Path) -> None:
    """With another symptom it is news; it cannot be in both ledgers."""
    path = tmp_path / "flaky.toml"
    path.write_text("[[known]]\nid = 'MW-1001'\nreason = 'r'\nsymptom = 'accepted'\n")
    flaky = read_ledgers(None, path, load_catalogue())[CASE]

    assert judged(Verdict.PASS, flaky).verdict is Verdict.PASS
    assert judged(Verdict.FAIL, flaky, "accepted").verdict is Verdict.KNOWN_FAILING
    assert judged(Verdict.FAIL, flaky, "no-answer").verdict is Verdict.FAIL
    with pytest.raises(UsageError, match="both ledgers"):
        read_ledgers(path, path, load_catalogue())


def test_a_ledger_is_read(tmp_path: Path) -> None:
    """Id, reason, symptom, and whether it is only predicted."""
    path = tmp_path / "ledger.toml"
    path.write_text(
        "[[known]]\nid = 'MW-1001'\nreason = 'D-04'\nsymptom = 'accepted'\npredicted = true\n"
    )

    assert read_ledger(path, load_catalogue()) == {CASE: PREDICTED}


def test_a_missing_ledger_is_a_usage_error(tmp_path: Path) -> None:
    """One clear line, not a traceback, with the command that writes one."""
    with pytest.raises(UsageError, match=r"cannot be read.*`meshwire ledger write .*/none\.toml "):
        read_ledger(tmp_path / "none.toml", load_catalogue())


def test_a_ledger_of_the_suite_is_known_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of the same name comes first; the error for an unknown name lists those there are."""
    monkeypatch.chdir(tmp_path)
    known = read_ledger(Path("peat-mesh"), load_catalogue())
    with pytest.raises(UsageError, match=r"the suite has .*peat-mesh"):
        ledger_file(Path("peat"))
    Path("peat-mesh").touch()

    assert known
    assert ledger_file(Path("peat-mesh")) == Path("peat-mesh")
    assert ledger_file(Path("no.toml")) == Path("no.toml")
