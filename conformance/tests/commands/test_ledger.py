"""`meshwire ledger` and `meshwire report` as their users meet them."""

import json
import subprocess
import sys
import tomllib
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from unittest.mock import Mock

import pytest

from meshwire_conformance.commands import ledger

pytestmark = pytest.mark.process

PEER = Path(__file__).parents[1] / "programs" / "buggy_codec.py"


def codec(*bugs: int) -> str:
    """The target with these bugs."""
    return f"stdio:'{sys.executable}' '{PEER}' {' '.join(map(str, bugs))}".rstrip()


def meshwire(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command run to its end."""
    command = [sys.executable, "-m", "meshwire_conformance.commands.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)


def test_a_ledger_is_written_pruned_and_green_in_four_commands(tmp_path: Path) -> None:
    """Of a codec with five bugs, three of which are mended meanwhile."""
    path = tmp_path / "known.toml"
    written = meshwire("ledger", "write", str(path), codec(1, 2, 3, 4, 5), "--reason", "issue 12")
    before = path.read_text()
    checked = meshwire("check", codec(4, 5), "--known-failing", str(path))
    pruned = meshwire("ledger", "prune", str(path), codec(4, 5))
    green = meshwire("check", codec(4, 5), "--known-failing", str(path))

    assert written.returncode == 0, written.stderr
    assert "entries in" in written.stdout
    entries = tomllib.loads(before)["known"]
    assert {type(entry["expires"]) for entry in entries} == {date}
    assert checked.returncode == 1
    lines = checked.stdout.splitlines()
    assert " 0 new" in lines[-3]
    assert "`meshwire ledger prune" in lines[-2]
    assert "FAIL" not in checked.stdout + checked.stderr
    assert pruned.returncode == 0, pruned.stderr
    assert "removed MW-1163  issue 12" in pruned.stdout
    assert green.returncode == 0, green.stdout
    assert green.stdout.splitlines()[-2].endswith(" known, 0 new")


def test_an_entry_expires_90_days_after_it_was_drafted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in days of UTC, whatever the hour is."""
    now = Mock(now=lambda zone: datetime(2027, 1, 2, 23, 59, tzinfo=zone))
    monkeypatch.setattr(ledger, "datetime", now)

    assert ledger._expiry("") == date(2027, 4, 2)


def test_a_draft_without_reasons_is_refused_until_they_are_written(tmp_path: Path) -> None:
    """From a report of a run; a file that exists is replaced only by force."""
    path, run = tmp_path / "known.toml", tmp_path / "run.json"
    meshwire("check", codec(1), "--only", "LV-*", "--report", f"json={run}")
    first = meshwire("ledger", "write", str(path), str(run), "--expires", "never")
    refused = meshwire("check", codec(1), "--known-failing", str(path), "--only", "LV-*")
    again = meshwire("ledger", "write", str(path), str(run))
    forced = meshwire("ledger", "write", str(path), str(run), "--force", "--reason", "r")
    alike = meshwire("ledger", "diff", str(path), str(path))

    assert first.returncode == 0, first.stderr
    assert "expires" not in first.stdout
    assert (refused.returncode, again.returncode, forced.returncode) == (2, 2, 0)
    assert "empty reason" in refused.stderr
    assert "to add entries, write another file" in again.stderr
    assert (alike.returncode, alike.stdout) == (0, "0 changes\n")


@pytest.mark.parametrize(("days", "code", "word"), [(13, 0, "expires soon"), (-1, 1, "expired")])
def test_a_quiet_check_names_the_entries_that_expire(
    tmp_path: Path, days: int, code: int, word: str
) -> None:
    """Of a run that is green until then, and red from then on."""
    path = tmp_path / "known.toml"
    # The command reads the day itself; a day more or less changes nothing.
    day = datetime.now(UTC).date() + timedelta(days=days)  # noqa: TID251 - as above
    path.write_text(
        '[[known]]\nid = "MW-1163"\nreason = "r"\nsymptom = "wrong-reason truncated"\n'
        f"expires = {day}\n"
    )
    chosen = ("--only", "MW-1163", "--known-failing", str(path), "--quiet")
    done = meshwire("check", codec(1), *chosen)

    assert done.returncode == code, done.stdout + done.stderr
    assert f"{word} in the ledger 1 (MW-1163)" in done.stdout
    assert str(day) in done.stdout


def test_a_draft_asks_for_reasons_only_where_an_entry_lacks_one(tmp_path: Path) -> None:
    """A known cause is a reason, so that there may be nothing to write."""
    path = tmp_path / "known.toml"
    hint = "write a reason"
    explained = meshwire("ledger", "write", str(path), codec(3))
    checked = meshwire("check", codec(3), "--known-failing", str(path))
    lacking = meshwire("ledger", "write", str(path), codec(1), "--force")
    empty = sum(not entry["reason"] for entry in tomllib.loads(path.read_text())["known"])
    given = meshwire("ledger", "write", str(path), codec(1), "--force", "--reason", "r")

    assert hint not in explained.stdout
    assert checked.returncode == 0, checked.stderr
    assert f"that have none ({empty})" in lacking.stdout
    assert hint not in given.stdout


def test_a_planted_change_is_all_that_a_report_diff_shows(tmp_path: Path) -> None:
    """One way it is worse, the other way it is not."""
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    meshwire("check", codec(), "--only", "LV-*", "--report", f"json={old}")
    meshwire("check", codec(1), "--only", "LV-*", "--report", f"json={new}")
    worse = meshwire("report", "diff", str(old), str(new))
    better = meshwire("report", "diff", str(new), str(old))
    (tmp_path / "other.json").write_text(json.dumps({"report": 1}))
    wrong = meshwire("report", "diff", str(old), str(tmp_path / "other.json"))

    assert worse.returncode == 1
    assert "broken since:" in worse.stdout
    assert "MW-1163" in worse.stdout
    assert better.returncode == 0
    assert "mended:" in better.stdout
    assert wrong.returncode == 2
    assert len(wrong.stderr.splitlines()) == 1


@pytest.mark.parametrize("target", ["stdio:./none", f"stdio:'{sys.executable}' none.py"])
def test_a_target_that_does_not_start_changes_no_ledger(tmp_path: Path, target: str) -> None:
    """Nothing is known of its cases, which is said; a ledger without entries would excuse none."""
    path = tmp_path / "known.toml"
    entry = '[[known]]\nid = "MW-1163"\nreason = "r"\nsymptom = "accepted"\n'
    written = meshwire("ledger", "write", str(path), target, "--reason", "r")
    existed = path.exists()
    path.write_text(entry)
    pruned = meshwire("ledger", "prune", str(path), target)
    checked = meshwire("check", target, "--known-failing", str(path))

    assert (written.returncode, pruned.returncode, checked.returncode) == (3, 3, 3)
    assert not existed
    assert path.read_text() == entry
    assert "none" in written.stderr
    assert "none" in pruned.stderr


def test_a_run_at_another_level_prunes_nothing(tmp_path: Path) -> None:
    """A case that passes at `wire` may fail at `strict`."""
    path, run = tmp_path / "known.toml", tmp_path / "run.json"
    meshwire(*("check", codec(), "--only", "MW-1163", "--level", "wire", "--report", f"json={run}"))
    entry = '[[known]]\nid = "MW-1163"\nreason = "r"\nsymptom = "accepted"\n'
    path.write_text(entry)
    refused = meshwire("ledger", "prune", str(path), str(run))
    kept = path.read_text()
    pruned = meshwire("ledger", "prune", str(path), str(run), "--level", "wire")

    assert (refused.returncode, kept) == (2, entry)
    assert "say --level wire" in refused.stderr
    assert (pruned.returncode, path.read_text()) == (0, "")


def test_a_report_that_does_not_exist_is_said(tmp_path: Path) -> None:
    """A wrong name is not taken for a target."""
    done = meshwire("ledger", "write", str(tmp_path / "known.toml"), "nosuch.json")

    assert done.returncode == 2
    assert "neither the file of a report nor a target" in done.stderr


@pytest.mark.parametrize(
    "command",
    [("ledger",), ("ledger", "write"), ("ledger", "prune"), ("ledger", "diff"), ("report", "diff")],
)
def test_help_has_an_example(command: tuple[str, ...]) -> None:
    """A stranger sees how it is called."""
    done = meshwire(*command, "--help")

    assert done.returncode == 0
    assert "Example: meshwire" in done.stdout
