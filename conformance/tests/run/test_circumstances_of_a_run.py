"""The bundled node meets circumstances that differ with the seed, and a failure names them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from meshwire_conformance.catalogue.circumstances import circumstances_of, permitted, rows_of
from meshwire_conformance.report import json as json_report
from meshwire_conformance.report.record import Report
from meshwire_conformance.report.text import lines_of
from meshwire_conformance.run.loading import load_catalogue
from meshwire_conformance.run.runner import Options, check
from meshwire_conformance.targets.bundle import bundled
from meshwire_conformance.verdicts import ExitCode, Verdict
from meshwire_spec.schemas.transcripts import Transcript

CASE = "MW-5001"
OTHER_SEED = 3

pytestmark = [pytest.mark.socket, pytest.mark.process]


def report_of(seed: int) -> Report:
    """The report of one case against the bundled node in dialect open."""
    node = next(one for one in bundled() if one.variant == "open")
    return check([node], "bundled node", Options(only=[CASE], seed=seed))


def test_a_case_runs_and_is_repeated_in_the_circumstances_of_its_seed(tmp_path: Path) -> None:
    """They are in the JSON report, and beside the command that brings them about again."""
    body = load_catalogue().by_id[CASE].body
    assert isinstance(body, Transcript)
    values = permitted(level="strict", over_lab=True, dials=False, is_called=False, reads_on=True)
    rows = rows_of(values, "open", OTHER_SEED)
    wanted = circumstances_of(CASE, body, rows, OTHER_SEED).text()

    found = report_of(OTHER_SEED)
    json_report.write(found, tmp_path / "report.json")
    written = json.loads((tmp_path / "report.json").read_text("ascii"))
    (run,) = found.runs
    (result,) = run.results
    failed = replace(run, results=[replace(result, verdict=Verdict.FAIL, symptom="no-answer")])
    text = "\n".join(lines_of(replace(found, runs=[failed])))

    assert found.exit_code is ExitCode.PASSED
    assert result.circumstances == wanted
    assert written["runs"][0]["cases"][0]["circumstances"] == wanted
    assert wanted in " ".join(text.split())
    assert f"--only {CASE} --seed {OTHER_SEED}" in text
